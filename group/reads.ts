/**
 * Linearizable reads. All reads of a turn share one round: the commit index of the moment, once the leader is known
 * to lead still. A read is answered when this member has applied up to that index. A round that gets no answer is
 * repeated: reads have no effect.
 *
 * Lease: a round that was confirmed proves that a majority heard the leader after the round began, and will not elect
 * another for an election timeout by their clocks. Until then, less a margin, the leader answers at once.
 */
import { type Env, type RaftwerkError, toHex } from "../base/index.js";
import { ByteWriter } from "./wire.js";
import { type GroupConfig, leaseMs } from "./config.js";
import { unavailable } from "./errors.js";

export interface ReadHost {
  readonly env: Env;
  readonly config: GroupConfig;
  /** False: there is no leader to ask. */
  readIndex(context: Uint8Array): boolean;
  /** The leader, with its quorum heard of, and no transfer begun. */
  inLease(): boolean;
  term(): number;
  commitIndex(): number;
  /** Undefined while a snapshot is being restored. */
  appliedIndex(): number | undefined;
  wake(): void;
}

export interface PendingRead {
  readonly deadlineMs: number;
  readonly done: (error: RaftwerkError | undefined) => void;
  isOver: boolean;
}

interface Round {
  readonly beganMs: number;
  readonly term: number;
  readonly atTick: number;
  readonly reads: readonly PendingRead[];
}

/** Rounds without an answer are asked anew after this many ticks. */
const REPEAT_TICKS = 3;

export class Reads {
  readonly #host: ReadHost;
  #queue: PendingRead[] = [];
  readonly #rounds = new Map<string, Round>();
  /** Confirmed, waiting for entries to be applied; by index, ascending. */
  #confirmed: { readonly index: number; readonly reads: readonly PendingRead[] }[] = [];
  #nextContext: number;
  #leaseTerm = 0;
  #leaseUntilMs = Number.NEGATIVE_INFINITY;
  #tick = 0;
  waiting = 0;
  rounds = 0;
  leased = 0;

  constructor(host: ReadHost) {
    this.#host = host;
    this.#nextContext = host.env.random.u32() * 2 ** 20 + 1;
  }

  add(timeoutMs: number, done: (error: RaftwerkError | undefined) => void): PendingRead {
    const deadlineMs = this.#host.env.clock.monotonicMs() + timeoutMs;
    const read: PendingRead = { deadlineMs, done, isOver: false };
    this.waiting++;
    this.#queue.push(read);
    this.#host.wake();
    return read;
  }

  cancel(read: PendingRead, error: RaftwerkError): void {
    this.#finish(read, error);
  }

  #finish(read: PendingRead, error: RaftwerkError | undefined): void {
    if (read.isOver) return;
    read.isOver = true;
    this.waiting--;
    read.done(error);
  }

  #hasLease(): boolean {
    const { config, env } = this.#host;
    return (
      config.reads === "lease" &&
      this.#leaseTerm === this.#host.term() &&
      this.#host.inLease() &&
      env.clock.monotonicMs() < this.#leaseUntilMs
    );
  }

  /** The beginning of a turn. */
  ask(): void {
    if (this.#queue.length === 0) return;
    const reads = this.#queue;
    if (this.#hasLease()) {
      this.#queue = [];
      this.leased += reads.length;
      this.#confirm(this.#host.commitIndex(), reads);
      return;
    }
    const context = new ByteWriter(8).varint(this.#nextContext++).finish();
    const round = {
      beganMs: this.#host.env.clock.monotonicMs(),
      term: this.#host.term(),
      atTick: this.#tick,
      reads,
    };
    if (!this.#host.readIndex(context)) return;
    this.#queue = [];
    this.#rounds.set(toHex(context), round);
    this.rounds++;
  }

  /** The round with this context was confirmed at `index`. */
  answered(context: Uint8Array, index: number): void {
    const key = toHex(context);
    const round = this.#rounds.get(key);
    if (round === undefined) return;
    this.#rounds.delete(key);
    if (round.term === this.#host.term() && this.#host.inLease()) {
      this.#leaseTerm = round.term;
      this.#leaseUntilMs = Math.max(this.#leaseUntilMs, round.beganMs + leaseMs(this.#host.config));
    }
    this.#confirm(index, round.reads);
  }

  #confirm(index: number, reads: readonly PendingRead[]): void {
    this.#confirmed.push({ index, reads });
    this.applied();
  }

  /** More entries were applied. */
  applied(): void {
    if (this.#confirmed.length === 0) return;
    const applied = this.#host.appliedIndex();
    if (applied === undefined) return;
    const ready = this.#confirmed.filter(({ index }) => index <= applied);
    if (ready.length === 0) return;
    this.#confirmed = this.#confirmed.filter(({ index }) => index > applied);
    for (const { reads } of ready) for (const read of reads) this.#finish(read, undefined);
  }

  tick(): void {
    this.#tick++;
    const nowMs = this.#host.env.clock.monotonicMs();
    for (const [key, round] of this.#rounds) {
      if (this.#tick - round.atTick < REPEAT_TICKS) continue;
      this.#rounds.delete(key);
      this.#queue.push(...round.reads);
    }
    const late = (read: PendingRead): void => {
      if (read.deadlineMs > nowMs) return;
      this.#finish(
        read,
        unavailable("no leader confirmed the read in time: ask again, or ask another member"),
      );
    };
    this.#queue = this.#queue.filter(({ isOver }) => !isOver);
    for (const read of this.#queue) late(read);
    for (const { reads } of this.#rounds.values()) reads.forEach(late);
    for (const { reads } of this.#confirmed) reads.forEach(late);
  }

  stop(error: RaftwerkError): void {
    const all = [
      ...this.#queue,
      ...[...this.#rounds.values()].flatMap(({ reads }) => reads),
      ...this.#confirmed.flatMap(({ reads }) => reads),
    ];
    this.#queue = [];
    this.#rounds.clear();
    this.#confirmed = [];
    for (const read of all) this.#finish(read, error);
  }
}
