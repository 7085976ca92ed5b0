/**
 * Commands on their way: queued here, in the leader's log, or forwarded to the leader. Each ends with one outcome,
 * and the class of a failure is exact: `safe` only when the command is in no log that could still be committed.
 *
 *   queued -> logged (index, term) -> applied, or superseded by another leader's entry: then queued again
 *   queued -> forwarded (request) -> the leader's outcome
 *
 * All that is queued at the beginning of a turn goes into as few entries as fit.
 */
import { type Env, RaftwerkError } from "../base/index.js";
import { commandBytes, encodeBatch, type LogCommand } from "./command.js";
import type { GroupConfig } from "./config.js";
import { failure, failureOf } from "./errors.js";
import type { Item, Outcome } from "./packet.js";
import { Repeats } from "./repeats.js";

export interface Proposal {
  readonly command: LogCommand;
  readonly bytes: number;
  deadlineMs: number;
  /** Logged or handed to the leader: from here on a failure may be `unknown`. */
  place: "queued" | "logged" | "forwarded" | "over";
  /** Not before this tick: a leader that refused must not be asked again at once. */
  notBeforeTick: number;
  /** Of a forwarded one. */
  request: number;
  readonly done: (outcome: Outcome) => void;
}

export interface ProposalHost {
  readonly env: Env;
  readonly config: GroupConfig;
  /** The application's own check; throws to refuse. */
  validate(command: Uint8Array): void;
  /** Adds entries to the log, all or none; the index of the first, or undefined when the log takes none now. */
  append(entries: readonly Uint8Array[]): { readonly first: number; readonly term: number } | undefined;
  /** 0: unknown. */
  leader(): number;
  isLeader(): boolean;
  send(to: number, item: Item): boolean;
  agreedTimeMs(): number;
  wake(): void;
}

const busy = (): Outcome =>
  failure("serverIsBusy", "safe", "too many proposals wait on this member: slow down, or raise waitingMax");

export class Proposals {
  readonly #host: ProposalHost;
  #queue: Proposal[] = [];
  /** By index of the entry. */
  readonly #logged = new Map<number, { readonly term: number; readonly proposals: readonly Proposal[] }>();
  readonly #forwarded = new Map<number, Proposal>();
  readonly #repeats = new Repeats();
  readonly #life: number;
  #nextRequest: number;
  #waitingCount = 0;
  #waitingBytes = 0;
  #tick = 0;
  proposed = 0;
  entries = 0;

  constructor(host: ProposalHost) {
    this.#host = host;
    // Answers to a former life of this member must not meet requests of this one.
    this.#life = host.env.random.u32() * 2 ** 20 + 1;
    this.#nextRequest = this.#life;
  }

  get waiting(): number {
    return this.#waitingCount;
  }

  add(command: LogCommand, timeoutMs: number, done: (outcome: Outcome) => void): Proposal {
    const { config, env } = this.#host;
    const bytes = commandBytes(command);
    const proposal: Proposal = {
      command,
      bytes,
      deadlineMs: env.clock.monotonicMs() + timeoutMs,
      place: "queued",
      notBeforeTick: 0,
      request: 0,
      done,
    };
    if ("data" in command && command.data.length > config.commandBytesMax) {
      const text = `a command of ${command.data.length} bytes, more than commandBytesMax (${config.commandBytesMax})`;
      proposal.place = "over";
      done(failure("invalidArgument", "never", text));
      return proposal;
    }
    if (this.#waitingCount >= config.waitingMax || this.#waitingBytes + bytes > config.waitingBytesMax) {
      proposal.place = "over";
      done(busy());
      return proposal;
    }
    this.#waitingCount++;
    this.#waitingBytes += bytes;
    this.#queue.push(proposal);
    this.#host.wake();
    return proposal;
  }

  #finish(proposal: Proposal, outcome: Outcome): void {
    if (proposal.place === "over") return;
    proposal.place = "over";
    this.#waitingCount--;
    this.#waitingBytes -= proposal.bytes;
    if (proposal.request !== 0) this.#forwarded.delete(proposal.request);
    proposal.done(outcome);
  }

  /** The caller does not want to wait any longer. */
  cancel(proposal: Proposal, reason: string): void {
    const outcome =
      proposal.place === "queued"
        ? failure("cancelled", "safe", `${reason} before it was proposed`)
        : failure("cancelled", "unknown", `${reason} while it was under way: it may take effect`);
    this.#finish(proposal, outcome);
  }

  /** The beginning of a turn: the queue goes into the log, or on to the leader. */
  flush(): void {
    if (this.#queue.length === 0) return;
    const queue = this.#queue.filter(({ place }) => place === "queued");
    this.#queue = [];
    if (this.#host.isLeader()) this.#log(queue);
    else if (this.#host.leader() !== 0) this.#forward(queue);
    else this.#queue = queue;
  }

  #log(queue: readonly Proposal[]): void {
    const { config, env } = this.#host;
    const timeMs = Math.max(this.#host.agreedTimeMs(), Math.floor(env.clock.wallMs()), 0);
    const groups: Proposal[][] = [];
    let bytes = Number.POSITIVE_INFINITY;
    for (const proposal of queue) {
      if (!this.#isValid(proposal)) continue;
      bytes += proposal.bytes;
      if (bytes > config.entryBytesMax) {
        groups.push([]);
        bytes = proposal.bytes;
      }
      groups[groups.length - 1]?.push(proposal);
    }
    if (groups.length === 0) return;
    const { sessionTtlMs } = config;
    const entries = groups.map((group) =>
      encodeBatch({ timeMs, sessionTtlMs, commands: group.map(({ command }) => command) }),
    );
    const place = this.#host.append(entries);
    if (place === undefined) {
      this.#queue = [...groups.flat(), ...this.#queue];
      return;
    }
    groups.forEach((proposals, i) => {
      for (const proposal of proposals) proposal.place = "logged";
      this.#logged.set(place.first + i, { term: place.term, proposals });
      this.proposed += proposals.length;
    });
    this.entries += groups.length;
  }

  #isValid(proposal: Proposal): boolean {
    if (!("data" in proposal.command)) return true;
    try {
      this.#host.validate(proposal.command.data);
      return true;
    } catch (error) {
      const known = error instanceof RaftwerkError ? failureOf(error) : undefined;
      const message = error instanceof Error ? error.message : String(error);
      this.#finish(proposal, known ?? failure("commandRefused", "never", message));
      return false;
    }
  }

  #forward(queue: readonly Proposal[]): void {
    for (const proposal of queue) {
      const request = this.#nextRequest++;
      const { command } = proposal;
      // Requests are forwarded in the order of their numbers: the first that waits has the lowest.
      const [settled = request] = this.#forwarded.keys();
      const item = { kind: "propose", life: this.#life, settled, request, command } as const;
      const isSent = proposal.notBeforeTick <= this.#tick && this.#host.send(this.#host.leader(), item);
      if (!isSent) {
        this.#queue.push(proposal);
        continue;
      }
      proposal.place = "forwarded";
      proposal.request = request;
      this.#forwarded.set(request, proposal);
    }
  }

  /** A member asks this one, as leader. */
  receive(from: number, { life, settled, request, command }: Extract<Item, { kind: "propose" }>): void {
    if (!this.#repeats.isNew(from, life, request, settled)) return;
    const answer = (outcome: Outcome): void => {
      this.#host.send(from, { kind: "outcome", request, outcome });
    };
    if (!this.#host.isLeader()) return answer(failure("groupUnavailable", "safe", "not the leader any more"));
    this.add(command, this.#host.config.timeoutMs, answer);
  }

  /** A member left for good. */
  forget(id: number): void {
    this.#repeats.forget(id);
  }

  /** The leader's outcome of a forwarded proposal. */
  answered(request: number, outcome: Outcome): void {
    const proposal = this.#forwarded.get(request);
    if (proposal === undefined) return;
    const isAgain =
      outcome.kind === "failed" && outcome.retry === "safe" && outcome.code === "groupUnavailable";
    if (!isAgain) return this.#finish(proposal, outcome);
    this.#forwarded.delete(request);
    proposal.request = 0;
    proposal.place = "queued";
    proposal.notBeforeTick = this.#tick + 1;
    this.#queue.push(proposal);
  }

  /** Entry `index` of `term` is being applied; the proposals in it by position, if they are ours. */
  take(index: number, term: number): readonly Proposal[] | undefined {
    const logged = this.#logged.get(index);
    if (logged === undefined) return undefined;
    this.#logged.delete(index);
    if (logged.term === term) return logged.proposals;
    // Another leader's entry is committed in its place: ours never will be.
    for (const proposal of logged.proposals) {
      if (proposal.place !== "logged") continue;
      proposal.place = "queued";
      this.#queue.push(proposal);
    }
    return undefined;
  }

  finish(proposal: Proposal, outcome: Outcome): void {
    this.#finish(proposal, outcome);
  }

  /** A snapshot stands for all entries up to `index`: what became of ours among them cannot be known. */
  skipped(index: number): void {
    for (const [at, { proposals }] of this.#logged) {
      if (at > index) continue;
      this.#logged.delete(at);
      for (const proposal of proposals) this.#lost(proposal, "a snapshot took the place of its log entry");
    }
  }

  #lost(proposal: Proposal, why: string): void {
    this.#finish(proposal, failure("undeterminedResult", "unknown", `${why}: it may have taken effect`));
  }

  /** Leader or term changed: whoever waits for the old leader waits no longer than `graceMs`. */
  leaderChanged(graceMs: number): void {
    const latest = this.#host.env.clock.monotonicMs() + graceMs;
    for (const proposal of this.#forwarded.values()) {
      proposal.deadlineMs = Math.min(proposal.deadlineMs, latest);
    }
    if (this.#host.isLeader()) return;
    for (const { proposals } of this.#logged.values()) {
      for (const proposal of proposals) proposal.deadlineMs = Math.min(proposal.deadlineMs, latest);
    }
  }

  tick(): void {
    this.#tick++;
    const nowMs = this.#host.env.clock.monotonicMs();
    for (const proposal of this.#queue) {
      if (proposal.place !== "queued" || proposal.deadlineMs > nowMs) continue;
      const text = "no leader took the proposal in time: it had no effect";
      this.#finish(proposal, failure("groupUnavailable", "safe", text));
    }
    for (const { proposals } of this.#logged.values()) {
      for (const proposal of proposals) {
        if (proposal.deadlineMs <= nowMs) this.#lost(proposal, "it was not committed in time");
      }
    }
    for (const proposal of [...this.#forwarded.values()]) {
      if (proposal.deadlineMs <= nowMs) this.#lost(proposal, "the leader did not answer in time");
    }
  }

  /** The member stops. */
  stop(reason: string): void {
    for (const proposal of this.#queue) {
      this.#finish(proposal, failure("closed", "safe", `${reason}: it had no effect`));
    }
    for (const { proposals } of this.#logged.values()) {
      for (const proposal of proposals) this.#lost(proposal, reason);
    }
    for (const proposal of [...this.#forwarded.values()]) this.#lost(proposal, reason);
    this.#queue = [];
    this.#logged.clear();
  }
}
