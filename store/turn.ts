/**
 * The turn: everything that arrived since the last one is collected from all regions into one engine batch, written
 * with one fsync, while messages and answers leave once per peer store and client stream. (design 5)
 *
 *   turn n:    write batch n-1 -> its acks, answers, new commits
 *              collect batch n from every region with work; messages that wait for nothing leave
 *              reads of the turn in one multi-get
 *              answers leave
 *   turn n+1:  write batch n ...
 *
 * A batch that must be synced waits for the next turn of the event loop, so that the messages handed out with it are
 * on the wire while this thread waits for the disk, and takes in what comes meanwhile; without messages, as mostly on
 * followers, it is written at once, and so is a batch that needs no sync (only applied effects and commit indexes).
 * Under load a turn puts off the next one by a millisecond: what a region costs in a turn, and a turn itself, is paid
 * once for all commands that came meanwhile.
 * With an engine that writes asynchronously several batches may be under way; they finish in order.
 */
import { type Engine, type EngineBatch, type Env, misbehaves } from "../base/index.js";
import type { PeerFigures } from "../region/figures.js";
import type { Peer, StagedWork } from "../region/peer.js";

export interface TurnHost {
  readonly figures: PeerFigures;
  /** Answers the reads that may be answered now. */
  flushReads(): void;
  /** Sends Raft messages and client answers gathered so far; false when there were none. */
  flushOutput(): boolean;
  /** A batch is in the engine and its peers know it. */
  batchWritten(): void;
}

interface StagedBatch {
  readonly batch: EngineBatch;
  readonly work: StagedWork[];
  mustSync: boolean;
}

/** Fewer regions at once are not worth a pause: what a single one is asked for is answered without any. */
const CROWD_MIN = 4;
/** pause = min(busy time since the last pause, this). Longer ones cost more in waiting than they save in turns. */
const PAUSE_MS_MAX = 1;
/** How late a turn is where that is tried. */
const LATE_TURN_MS = 4;
/** Rounds without sync in one turn before input gets its chance again. */
const ROUNDS_MAX = 16;

/** How late they are taken where that is tried. */
const LATE_READS_MS = 64;

export class TurnLoop {
  readonly #env: Env;
  readonly #engine: Engine;
  readonly #host: TurnHost;
  #dirty = new Set<Peer>();
  #staged: StagedBatch | undefined;
  #scheduled = false;
  #running = false;
  #stopped = false;
  #readsScheduled = false;
  #readsWait = false;
  /** No peer is visited before, but for a batch whose messages are on their way. */
  #pausedUntilMs = 0;
  /** Since the last pause. */
  #busyMs = 0;
  #visits = 0;
  #writesUnderWay = 0;
  /** Writes asked of the engine so far. */
  #writesAsked = 0;
  /** Batches without content that wait behind the write of that number: acknowledgements keep their order. */
  readonly #behind = new Map<number, StagedBatch[]>();
  turns = 0;
  syncedWrites = 0;
  unsyncedWrites = 0;

  constructor(env: Env, engine: Engine, host: TurnHost) {
    this.#env = env;
    this.#engine = engine;
    this.#host = host;
  }

  get isIdle(): boolean {
    return this.#dirty.size === 0 && this.#staged === undefined && this.#writesUnderWay === 0;
  }

  /** The peer has work for this turn. */
  wake(peer: Peer): void {
    this.#dirty.add(peer);
    this.#scheduleWork();
  }

  forget(peer: Peer): void {
    this.#dirty.delete(peer);
  }

  /** Reads or answers wait. They need no visit to a peer, so no pause holds them up. */
  schedule(): void {
    if (this.#readsScheduled || this.#running || this.#stopped) return;
    this.#readsScheduled = true;
    this.#env.timers.nextTurn(() => {
      this.#readsScheduled = false;
      if (this.#stopped) return;
      this.#takeReads();
      this.#host.flushOutput();
    });
  }

  /** However late: what a read was told before is asked once more when its data was taken. */
  #takeReads(): void {
    if (this.#readsWait) return;
    if (!misbehaves(this.#env, "reads are taken late")) return this.#host.flushReads();
    this.#readsWait = true;
    this.#env.timers.set(this.#env.random.u32() % LATE_READS_MS, () => {
      this.#readsWait = false;
      this.schedule();
    });
  }

  #scheduleWork(): void {
    if (this.#scheduled || this.#running || this.#stopped) return;
    this.#scheduled = true;
    const run = (): void => {
      this.#scheduled = false;
      if (!this.#stopped) this.#run();
    };
    const pauseMs = this.#staged === undefined ? this.#pausedUntilMs - this.#env.clock.monotonicMs() : 0;
    // Timers know milliseconds.
    if (misbehaves(this.#env, "a turn is put off", 16)) this.#env.timers.set(LATE_TURN_MS, run);
    else if (pauseMs >= 0.5) this.#env.timers.set(Math.ceil(pauseMs), run);
    else this.#env.timers.nextTurn(run);
  }

  stop(): void {
    this.#stopped = true;
  }

  #run(): void {
    this.turns++;
    const startMs = this.#env.clock.monotonicMs();
    this.#running = true;
    if (this.#staged !== undefined) {
      // What came while it waited goes with it: one fsync for both. Its messages would not leave before that anyway.
      this.#staged = this.#collect(this.#staged);
      this.#write(this.#staged);
    }
    for (let round = 0; round < ROUNDS_MAX && !this.#stopped; round++) {
      if (round > 0 && misbehaves(this.#env, "a turn ends after its first round")) break;
      this.#staged = this.#collect();
      // Acknowledged writes are in the engine by now, so that these reads see them.
      this.#takeReads();
      if (this.#staged === undefined) break;
      // With nothing to bring on its way first, a follower's append say, there is nothing to wait for.
      const hasSent = this.#host.flushOutput();
      if (this.#staged.mustSync && hasSent) break;
      this.#write(this.#staged);
    }
    this.#host.flushOutput();
    this.#running = false;
    this.#host.figures.time("turn", this.#env.clock, startMs);
    this.#pause(startMs);
    if (this.#staged !== undefined || this.#dirty.size > 0) this.#scheduleWork();
  }

  #pause(startMs: number): void {
    const nowMs = this.#env.clock.monotonicMs();
    this.#busyMs += nowMs - startMs;
    // The other half of this turn comes first.
    if (this.#staged !== undefined) return;
    const isCrowded = this.#visits >= CROWD_MIN;
    this.#pausedUntilMs = isCrowded ? nowMs + Math.min(this.#busyMs, PAUSE_MS_MAX) : 0;
    this.#busyMs = 0;
    this.#visits = 0;
  }

  #collect(): StagedBatch | undefined;
  #collect(into: StagedBatch): StagedBatch;
  #collect(into?: StagedBatch): StagedBatch | undefined {
    if (this.#dirty.size === 0) return into;
    const peers = this.#dirty;
    this.#dirty = new Set();
    const staging = into ?? { batch: this.#engine.batch(), work: [], mustSync: false };
    for (const peer of peers) {
      if (misbehaves(this.#env, "a peer waits for the next turn")) {
        this.#dirty.add(peer);
        continue;
      }
      const staged = peer.collect(staging.batch);
      if (staged === undefined) continue;
      this.#visits++;
      staging.work.push(staged);
      // A vote or an ack must not leave before what it promises is on disk.
      if (staged.append?.mustSync || staged.snapshot !== undefined) staging.mustSync = true;
    }
    return staging.work.length === 0 ? undefined : staging;
  }

  #write(staged: StagedBatch): void {
    this.#staged = undefined;
    if (staged.batch.count === 0) return this.#writeNothing(staged);
    this.#writesUnderWay++;
    const number = ++this.#writesAsked;
    if (staged.mustSync) this.syncedWrites++;
    else this.unsyncedWrites++;
    this.#engine.write(staged.batch, { sync: staged.mustSync }, (error) => {
      this.#writesUnderWay--;
      if (error !== undefined) {
        // The engine has told the store, which stops.
        this.#stopped = true;
        return;
      }
      this.#written(staged);
      const behind = this.#behind.get(number);
      this.#behind.delete(number);
      for (const empty of behind ?? []) this.#written(empty);
      this.schedule();
    });
  }

  /** Messages of a peer that wait for an earlier write wait for it in every batch. */
  #writeNothing(staged: StagedBatch): void {
    if (this.#writesUnderWay === 0) return this.#written(staged);
    const behind = this.#behind.get(this.#writesAsked);
    if (behind === undefined) this.#behind.set(this.#writesAsked, [staged]);
    else behind.push(staged);
  }

  #written(staged: StagedBatch): void {
    if (this.#stopped) return;
    for (const work of staged.work) work.peer.written(work);
    this.#host.batchWritten();
  }
}
