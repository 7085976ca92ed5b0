/**
 * Quiet peers that a change of another store concerns, and how many of them are looked at in a tick. A store that dies,
 * returns or is restarted concerns every region that it has a replica of: were all of them awake at once, their ticks
 * and heartbeats would take more time than there is, the store that spends it would fall silent in its turn, and wake
 * the regions of the others. So they stand in line, and
 *
 *   peers under way on behalf of the line <= window
 *
 * where the window follows what the loop can do: it grows while ticks come in time, and halves when one is late. Whom a
 * client asks for leaves the line at once.
 */
import type { Peer } from "../region/peer.js";

/** Why a quiet peer has to be looked at. Bits: several may hold at once. */
export const REASON = {
  /** The store of its leader is dead. Void if that store is alive again when its turn comes. */
  leaderDead: 1,
  /** The process of its leader is gone, though the store may be alive. */
  leaderGone: 2,
  /** A leader that hears no quorum. */
  noQuorum: 4,
  /** A leader: a replica that did not agree to fall quiet, because its store was dead, can be heard again. */
  lacking: 8,
  /** Another store took this one for dead: the region may have gone on without this peer. */
  doubt: 16,
  /** It was read from disk, and knows no leader. */
  started: 32,
  /** A leader: PD was told that a replica is down, and it is not any more. */
  report: 64,
} as const;

/** The lines, in the order in which they are served. */
export const LINE = { urgent: 0, other: 1, startedFirst: 2, started: 3 } as const;
export type LineName = keyof typeof LINE;

const WINDOW_FIRST = 512;
export const WINDOW_MIN = 64;
export const WINDOW_MAX = 4_096;
const WINDOW_STEP = 64;
/** Begun in one tick at most. */
export const BEGUN_PER_TICK_MAX = 512;
/** A tick that comes after so many of its lengths is late, and one within so many in time. */
const LATE_TICKS = 2;
const TIMELY_TICKS = 1.5;

export class WakeLine {
  readonly #tickMs: number;
  /** By `LINE`. Invariant: a peer stands in one line at most. */
  readonly #lines: readonly Map<Peer, number>[] = [new Map(), new Map(), new Map(), new Map()];
  #window = WINDOW_FIRST;
  #lastTickMs: number | undefined;

  constructor(tickMs: number) {
    this.#tickMs = tickMs;
  }

  get window(): number {
    return this.#window;
  }

  get length(): number {
    return this.#lines.reduce((sum, line) => sum + line.size, 0);
  }

  add(peer: Peer, reason: number, name: LineName): void {
    const at = LINE[name];
    const [reasons, held] = this.#find(peer);
    if (held >= 0 && held <= at) {
      this.#lines[held]?.set(peer, reasons | reason);
      return;
    }
    if (held >= 0) this.#lines[held]?.delete(peer);
    this.#lines[at]?.set(peer, reasons | reason);
  }

  /** Its reasons, without taking it out; 0 when it does not stand in line. */
  reasonsOf(peer: Peer): number {
    return this.#find(peer)[0];
  }

  /** Takes a peer out of the line, with its reasons; 0 when it did not stand there. */
  take(peer: Peer): number {
    const [reasons, held] = this.#find(peer);
    if (held >= 0) this.#lines[held]?.delete(peer);
    return reasons;
  }

  /** Those whose turn it is, in order. Whoever is looked at has to be taken out. */
  *waiting(withStarted: boolean): Iterable<Peer> {
    for (const [at, line] of this.#lines.entries()) {
      if (at >= LINE.startedFirst && !withStarted) return;
      yield* line.keys();
    }
  }

  /** How many may be begun in this tick, when so many are under way. Once a tick. */
  room(nowMs: number, underWay: number): number {
    const sinceMs = nowMs - (this.#lastTickMs ?? nowMs);
    this.#lastTickMs = nowMs;
    if (sinceMs > LATE_TICKS * this.#tickMs)
      this.#window = Math.max(WINDOW_MIN, Math.floor(this.#window / 2));
    else if (this.length === 0) this.#window += Math.sign(WINDOW_FIRST - this.#window);
    else if (sinceMs <= TIMELY_TICKS * this.#tickMs)
      this.#window = Math.min(WINDOW_MAX, this.#window + WINDOW_STEP);
    return Math.max(0, Math.min(BEGUN_PER_TICK_MAX, this.#window - underWay));
  }

  #find(peer: Peer): readonly [number, number] {
    for (let at = 0; at < this.#lines.length; at++) {
      const reasons = this.#lines[at]?.get(peer);
      if (reasons !== undefined) return [reasons, at];
    }
    return [0, -1];
  }
}
