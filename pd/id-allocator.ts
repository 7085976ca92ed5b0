/**
 * Ids for regions, peers and stores: one sequence, handed out from a window (base, end] whose end is stored before
 * the first id of it leaves. After a crash the rest of the window is lost, never reused. (pd-rules 2.1 to 2.6)
 *
 * The next window is stored ahead, when half of the current one is used, so that decisions that need ids at once
 * (`take`) nearly always find some.
 */
import { assert, type Env, misbehaves } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import { type Leadership, lostLeadership } from "./leadership.js";
import type { MetaStore } from "./meta-store.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";

export const ID_WINDOW = 1000;
/** A request for more ids than this is a mistake or an attack; ids are finite in 2^53. */
export const ID_COUNT_MAX = 1 << 20;

/** A window that could not be stored is tried again this often before the requests that need it fail. */
const TRIES_MAX = 10;
const RETRY_MS = 100;
const RAISE_RETRY_MS = 10;

export type IdCallback = (error: Error | undefined, lastId: number) => void;

export class IdAllocator {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  readonly #leadership: Leadership;
  /** The last id handed out. */
  #base = 0;
  /** The last id of the stored window. */
  #end = 0;
  #extending = false;
  #failures = 0;
  readonly #waiting: { readonly count: number; readonly callback: IdCallback }[] = [];

  constructor(env: Env, metaStore: MetaStore, keys: MetaKeys, leadership: Leadership) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#leadership = leadership;
  }

  /** Starts above everything an earlier leader may have handed out. Who asks before that waits. */
  rebase(callback: (error: Error | undefined) => void): void {
    this.#extend(this.#window(), true, (error) => {
      callback(error);
      this.#serve();
    });
  }

  /** Answers the last id of the batch: the caller owns `last - count + 1 .. last`. */
  allocate(count: number, callback: IdCallback): void {
    assert(count >= 1 && count <= ID_COUNT_MAX, () => `id count out of range: ${count}`);
    this.#waiting.push({ count, callback });
    this.#serve();
  }

  /** One id now, or undefined when the window is used up: then try again a moment later. */
  take(): number | undefined {
    const free = this.#waiting.length === 0 && this.#base < this.#end && this.#leadership.isServing();
    if (!free) {
      this.#extendIfLow(1);
      return undefined;
    }
    this.#base += 1;
    this.#extendIfLow(0);
    return this.#base;
  }

  /** No id up to this one is handed out from now on; what was handed out above it already stays so. */
  raiseTo(id: number, callback: (error: Error | undefined) => void): void {
    if (id <= this.#base) return callback(undefined);
    // A window is being stored: after it.
    if (this.#extending) return void this.#env.timers.set(RAISE_RETRY_MS, () => this.raiseTo(id, callback));
    this.#extend(this.#window(), true, callback, id);
  }

  /** The end of the stored window, for metrics. */
  get windowEnd(): number {
    return this.#end;
  }

  #window(): number {
    return misbehaves(this.#env, "PD stores a small window of ids", 2) ? 4 : ID_WINDOW;
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const next = this.#waiting[0] as { count: number; callback: IdCallback };
      if (this.#base + next.count > this.#end) return this.#extendIfLow(next.count);
      this.#waiting.shift();
      this.#base += next.count;
      next.callback(undefined, this.#base);
    }
    this.#extendIfLow(0);
  }

  #extendIfLow(needed: number): void {
    const left = this.#end - this.#base;
    const window = this.#window();
    if (this.#extending || left >= Math.max(needed, window / 2)) return;
    const windows = Math.max(1, Math.ceil((needed - left) / window));
    this.#extend(windows * window, false, (error) => {
      if (error === undefined) {
        this.#failures = 0;
        return this.#serve();
      }
      this.#failures += 1;
      if (this.#failures <= TRIES_MAX && this.#leadership.isServing()) {
        this.#env.timers.set(RETRY_MS, () => this.#serve());
        return;
      }
      this.#failures = 0;
      for (const waiting of this.#waiting.splice(0)) waiting.callback(error, 0);
    });
  }

  /**
   * Guarded twice: by the leader key against a deposed leader, by the value read against any other writer.
   */
  #extend(step: number, fresh: boolean, callback: (error: Error | undefined) => void, above = 0): void {
    this.#extending = true;
    const done = (error: Error | undefined): void => {
      this.#extending = false;
      callback(error);
    };
    this.#metaStore.get(this.#keys.ids, (readError, stored) => {
      if (readError !== undefined) return done(readError);
      const previous = stored === undefined ? 0 : Number(decodeUint64(stored.value));
      // A window of which nobody knows that it was stored, an earlier attempt's: start above it.
      const elsewhere = fresh || previous !== this.#end;
      // Never below what this process has seen, even if the store was put back to an older state.
      const start = Math.max(previous, this.#end, above);
      const end = start + step;
      const unchanged =
        stored === undefined
          ? ({ kind: "createRevision", key: this.#keys.ids, equals: 0 } as const)
          : ({ kind: "value", key: this.#keys.ids, equals: stored.value } as const);
      const transaction = {
        compares: [unchanged],
        onSuccess: [{ kind: "put", key: this.#keys.ids, value: encodeUint64(BigInt(end)) } as const],
      };
      this.#leadership.transact(transaction, (error, result) => {
        if (error !== undefined) return done(error);
        if (!result.succeeded) return done(lostLeadership());
        if (elsewhere) this.#base = start;
        this.#end = end;
        done(undefined);
      });
    });
  }
}
