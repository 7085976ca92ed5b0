/**
 * Timestamps: 46 bits of milliseconds, 18 bits of counter, strictly increasing for ever. (pd-rules 2.7 to 2.15)
 *
 * Invariant: `physical < window` always, where `window` (unix ns) is stored before memory moves. A new leader starts
 * above the stored window, so it never waits for the clock and never repeats what an earlier one handed out.
 * `physical` follows the wall clock forward in any step; when the clock stands still or jumps back it stays, and is
 * moved 1 ms at a time when half of the counter is used. The window is stored ahead of need, so that requests do not
 * wait for the disk.
 */
import type { Env, TimerHandle } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import { type Leadership, lostLeadership } from "./leadership.js";
import type { MetaEntry, MetaStore } from "./meta-store.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";

export const LOGICAL_BITS = 18;
export const LOGICAL_LIMIT: number = 1 << LOGICAL_BITS;
const LOGICAL_HALF = LOGICAL_LIMIT / 2;
const GUARD_MS = 1;
const TRIES_MAX = 10;
const UPDATE_FAILURES_MAX = 3;
const NS_PER_MS = 1_000_000n;
/** Above both, timestamps that lag behind the clock are told of. */
const LAG_TOLD_MS = 150;
const LAG_TOLD_UPDATES = 3;

export type ClockEvent = "back" | "ahead" | "behind";

export interface TimestampOptions {
  readonly saveIntervalMs: number;
  readonly updateIntervalMs: number;
  /** The wall clock went back, is ahead by more than a few updates, or stands behind: worth an alarm, nothing else. */
  readonly onClock?: (event: ClockEvent) => void;
}

export interface ResetOptions {
  /** Take what is smaller than now as done, and any distance ahead. */
  readonly forceUseLarger: boolean;
  /** How far ahead of now is allowed otherwise. */
  readonly maxGapMs: number;
}

export interface Timestamp {
  readonly physicalMs: number;
  /** The last counter value of the batch. */
  readonly logical: number;
}

export type TimestampCallback = (error: Error | undefined, timestamp: Timestamp | undefined) => void;

/** As one number, the form in which transactions carry it. */
export const composeTimestamp = (timestamp: Timestamp): bigint =>
  (BigInt(timestamp.physicalMs) << BigInt(LOGICAL_BITS)) + BigInt(timestamp.logical);

export const physicalOf = (timestamp: bigint): number => Number(timestamp >> BigInt(LOGICAL_BITS));

const failed = (text: string): RaftwerkError =>
  new RaftwerkError("pdUnavailable", `[PD:tso:ErrGenerateTimestamp]generate timestamp failed, ${text}`, {
    retry: "safe",
  });

interface Waiting {
  readonly count: number;
  tries: number;
  readonly callback: TimestampCallback;
}

export class TimestampOracle {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  readonly #leadership: Leadership;
  readonly #options: TimestampOptions;
  /** 0 until synchronised. */
  #physicalMs = 0;
  #logical = 0;
  #lastWallMs = Number.NEGATIVE_INFINITY;
  /** Upper bound of `physical` as stored. */
  #windowMs = 0;
  #saving = false;
  #updateFailures = 0;
  #timer: TimerHandle | undefined;
  readonly #waiting: Waiting[] = [];

  constructor(
    env: Env,
    metaStore: MetaStore,
    keys: MetaKeys,
    leadership: Leadership,
    options: TimestampOptions,
  ) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#leadership = leadership;
    this.#options = options;
  }

  get physicalMs(): number {
    return this.#physicalMs;
  }

  get windowMs(): number {
    return this.#windowMs;
  }

  /** Reads the stored window and starts above it. Requests wait until this has called back. */
  start(callback: (error: Error | undefined) => void): void {
    this.#metaStore.get(this.#keys.timestamp, (error, stored) => {
      if (error !== undefined) return callback(error);
      // Rounded up: a bound between two milliseconds belongs to the later one.
      const lastMs =
        stored === undefined ? 0 : Number((decodeUint64(stored.value) + NS_PER_MS - 1n) / NS_PER_MS);
      const nowMs = Math.floor(this.#env.clock.wallMs());
      const nextMs = nowMs - lastMs < GUARD_MS ? lastMs + GUARD_MS : nowMs;
      this.#windowMs = lastMs;
      this.#saving = true;
      this.#store(stored, nextMs + this.#options.saveIntervalMs, (saveError) => {
        if (saveError !== undefined) return callback(saveError);
        this.#physicalMs = nextMs;
        this.#logical = 0;
        this.#timer = this.#env.timers.set(this.#options.updateIntervalMs, () => this.#tick());
        this.#serve();
        callback(undefined);
      });
    });
  }

  stop(): void {
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
    this.#timer = undefined;
    this.#reset();
    // Nobody would answer them any more, and whoever asked would wait on a stream that looks well.
    for (const { callback } of this.#waiting.splice(0))
      callback(failed("requested pd is not leader of cluster"), undefined);
  }

  /**
   * Takes `count` timestamps; the answer names the last. Answers at once except in the first moments and on
   * overflow.
   */
  generate(count: number, callback: TimestampCallback): void {
    if (!(count > 0)) return callback(failed("tso count should be positive"), undefined);
    if (!this.#leadership.isServing()) {
      return callback(failed("requested pd is not leader of cluster"), undefined);
    }
    if (count >= LOGICAL_LIMIT) {
      return callback(failed("generate tso maximum number of retries exceeded"), undefined);
    }
    if (this.#waiting.length > 0) {
      this.#waiting.push({ count, tries: 0, callback });
      return;
    }
    const waiting: Waiting = { count, tries: 0, callback };
    if (!this.#attempt(waiting)) this.#waiting.push(waiting);
  }

  /** Moves the clock to at least this timestamp's successor (PD's reset-ts). (2.16) */
  resetTo(timestamp: bigint, options: ResetOptions, callback: (error: Error | undefined) => void): void {
    const physicalMs = physicalOf(timestamp);
    const logical = Number(timestamp & BigInt(LOGICAL_LIMIT - 1));
    const refuse = (text: string): void =>
      callback(
        new RaftwerkError(
          "invalidArgument",
          `[PD:tso:ErrResetUserTimestamp]reset user timestamp failed, ${text}`,
          { retry: "never" },
        ),
      );
    if (this.#physicalMs === 0) return callback(failed("requested pd is not leader of cluster"));
    const isPast = physicalMs < this.#physicalMs;
    if (isPast || (physicalMs === this.#physicalMs && logical <= this.#logical)) {
      if (options.forceUseLarger) return callback(undefined);
      return refuse(`the specified ${isPast ? "ts" : "counter"} is smaller than now`);
    }
    if (!options.forceUseLarger && physicalMs - this.#physicalMs >= options.maxGapMs) {
      return refuse("the specified ts is too larger than now");
    }
    if (this.#saving) return refuse("a timestamp window is being stored, try again");
    const apply = (): void => {
      if (physicalMs < this.#physicalMs) return;
      this.#physicalMs = physicalMs;
      this.#logical = logical;
    };
    if (this.#windowMs - physicalMs > GUARD_MS) {
      apply();
      return callback(undefined);
    }
    this.#save(physicalMs + this.#options.saveIntervalMs, (error) => {
      if (error === undefined) apply();
      callback(error);
    });
  }

  /** True when the request was answered, false when it must wait for the next update. */
  #attempt(waiting: Waiting): boolean {
    for (;;) {
      if (!this.#leadership.isServing()) {
        waiting.callback(failed("requested pd is not leader of cluster"), undefined);
        return true;
      }
      if (waiting.tries >= TRIES_MAX) {
        waiting.callback(failed("generate tso maximum number of retries exceeded"), undefined);
        return true;
      }
      if (this.#physicalMs === 0) return false;
      if (this.#logical + waiting.count < LOGICAL_LIMIT) {
        this.#logical += waiting.count;
        waiting.callback(undefined, { physicalMs: this.#physicalMs, logical: this.#logical });
        return true;
      }
      // Overflow. The counter is marked full so that the next update makes room. Here the clock is only followed,
      // and no window is stored: a burst must neither hammer the disk nor run ahead of real time.
      waiting.tries += 1;
      this.#logical = LOGICAL_LIMIT;
      const nowMs = Math.floor(this.#env.clock.wallMs());
      if (nowMs <= this.#physicalMs || this.#windowMs - nowMs <= GUARD_MS) return false;
      this.#advance(nowMs);
    }
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      if (!this.#attempt(this.#waiting[0] as Waiting)) return;
      this.#waiting.shift();
    }
  }

  #tick(): void {
    this.#timer = this.#env.timers.set(this.#options.updateIntervalMs, () => this.#tick());
    if (!this.#leadership.isServing() || this.#physicalMs === 0) {
      this.#serve();
      return;
    }
    this.#watchClock();
    const nextMs = this.#nextPhysicalMs();
    if (nextMs !== undefined && this.#windowMs - nextMs > GUARD_MS) this.#advance(nextMs);
    const wantedMs = nextMs ?? this.#physicalMs;
    if (!this.#saving && this.#windowMs - wantedMs <= this.#saveAheadMs()) this.#extendWindow(wantedMs);
    this.#serve();
  }

  #watchClock(): void {
    const wallMs = this.#env.clock.wallMs();
    if (wallMs < this.#lastWallMs) {
      this.#env.log.error("system time jumps backward", { ms: Math.round(this.#lastWallMs - wallMs) });
      this.#options.onClock?.("back");
    }
    this.#lastWallMs = wallMs;
    // Negative while the clock is behind what was handed out. (2.15)
    const lagMs = wallMs - this.#physicalMs;
    if (lagMs < 0) this.#options.onClock?.("behind");
    if (lagMs <= Math.max(LAG_TOLD_MS, LAG_TOLD_UPDATES * this.#options.updateIntervalMs)) return;
    this.#env.log.warn("timestamps lag behind the clock: it jumped, or PD was held up", {
      ms: Math.round(lagMs),
    });
    this.#options.onClock?.("ahead");
  }

  /** A fifth of the interval before the end: time enough for a slow disk. */
  #saveAheadMs(): number {
    return Math.max(GUARD_MS, this.#options.saveIntervalMs / 5);
  }

  #nextPhysicalMs(): number | undefined {
    const nowMs = Math.floor(this.#env.clock.wallMs());
    if (nowMs - this.#physicalMs > GUARD_MS) return nowMs;
    return this.#logical > LOGICAL_HALF ? this.#physicalMs + 1 : undefined;
  }

  #advance(nextMs: number): void {
    if (nextMs <= this.#physicalMs) return;
    this.#physicalMs = nextMs;
    this.#logical = 0;
  }

  #extendWindow(wantedMs: number): void {
    this.#save(wantedMs + this.#options.saveIntervalMs, (error) => {
      if (error === undefined) {
        this.#updateFailures = 0;
        // Still waiting for room in the window: take it now instead of one interval later.
        const nextMs = this.#physicalMs === 0 ? undefined : this.#nextPhysicalMs();
        if (nextMs !== undefined && this.#windowMs - nextMs > GUARD_MS) this.#advance(nextMs);
        return this.#serve();
      }
      this.#updateFailures += 1;
      this.#env.log.warn("storing the timestamp window failed", { error: error.message });
      if (this.#updateFailures < UPDATE_FAILURES_MAX) return;
      this.#reset();
      this.#leadership.resign(`the timestamp window cannot be stored: ${error.message}`);
      this.#serve();
    });
  }

  #reset(): void {
    this.#physicalMs = 0;
    this.#logical = 0;
  }

  #save(windowMs: number, callback: (error: Error | undefined) => void): void {
    this.#saving = true;
    this.#metaStore.get(this.#keys.timestamp, (error, stored) => {
      if (error === undefined) return this.#store(stored, windowMs, callback);
      this.#saving = false;
      callback(error);
    });
  }

  /** In place of what was read under this leadership, unless it has changed. */
  #store(
    stored: MetaEntry | undefined,
    windowMs: number,
    callback: (error: Error | undefined) => void,
  ): void {
    const done = (error: Error | undefined): void => {
      this.#saving = false;
      callback(error);
    };
    const next = BigInt(windowMs) * NS_PER_MS;
    const previous = stored === undefined ? 0n : decodeUint64(stored.value);
    if (previous >= next) {
      const text = `saving timestamp ${next} is less than or equal to the previous one ${previous}`;
      return done(new RaftwerkError("pdUnavailable", text, { retry: "safe" }));
    }
    const key = this.#keys.timestamp;
    const unchanged =
      stored === undefined
        ? ({ kind: "createRevision", key, equals: 0 } as const)
        : ({ kind: "modRevision", key, equals: stored.modRevision } as const);
    const onSuccess = [{ kind: "put", key, value: encodeUint64(next) } as const];
    this.#leadership.transact({ compares: [unchanged], onSuccess }, (error, result) => {
      if (error !== undefined) return done(error);
      if (!result.succeeded) return done(lostLeadership());
      this.#windowMs = windowMs;
      done(undefined);
    });
  }
}
