/**
 * How much a store may take, give and send. Version 1: a token bucket per store and direction; a region costs 1000
 * tokens, a small one 200, an empty one nothing, so that an empty cluster spreads at once. Version 2: windows over
 * the snapshots a store sends, widened and narrowed by what the stores report. (pd-rules 6.29 to 6.32)
 */
import { UNLIMITED_RATE } from "./config.js";

export type LimitKind = "add-peer" | "remove-peer" | "send-snapshot";

/** What schedulers ask for before they know the region: a full-size one. */
export const FULL_COST = 1000;
const SMALL_COST = 200;
/** Regions up to this size cost less. */
export const SMALL_MIB = 20;
const EMPTY_MIB = 1;

export function regionCost(sizeMib: number): number {
  if (sizeMib > SMALL_MIB) return FULL_COST;
  return sizeMib > EMPTY_MIB ? SMALL_COST : 0;
}

export interface Limiter {
  /** `level` is that of the operator's priority, 0 to 3. */
  available(cost: number, nowMs: number, level?: number): boolean;
  take(cost: number, nowMs: number, level?: number): void;
  /** The operator that took it has ended. */
  acknowledge(cost: number): void;
}

export const NO_LIMIT: Limiter = { available: () => true, take() {}, acknowledge() {} };

export class TokenBucket implements Limiter {
  readonly #perMinute: number;
  readonly #refillPerSecond: number;
  readonly #capacity: number;
  #tokens: number;
  #filledMs: number;

  constructor(perMinute: number, nowMs: number) {
    this.#perMinute = perMinute;
    const perSecond = perMinute / 60;
    this.#refillPerSecond = perSecond * FULL_COST;
    this.#capacity = Math.max(FULL_COST, this.#refillPerSecond);
    this.#tokens = this.#capacity;
    this.#filledMs = nowMs;
  }

  get perMinute(): number {
    return this.#perMinute;
  }

  /** A rate of 0 is no limit at all, as in PD. */
  get #unlimited(): boolean {
    return this.#perMinute === 0 || this.#perMinute >= UNLIMITED_RATE;
  }

  available(cost: number, nowMs: number): boolean {
    if (this.#unlimited || cost === 0) return true;
    this.#fill(nowMs);
    return this.#tokens >= cost;
  }

  /** Taken also below zero: an urgent operator does not ask, but is counted. */
  take(cost: number, nowMs: number): void {
    if (this.#unlimited) return;
    this.#fill(nowMs);
    this.#tokens -= cost;
  }

  acknowledge(): void {}

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#filledMs) / 1000;
    this.#filledMs = nowMs;
    this.#tokens = Math.min(this.#capacity, this.#tokens + seconds * this.#refillPerSecond);
  }
}

const WINDOWS = 4;
const WINDOW_MIN = 10;
const CAPACITY_INITIAL = 100;
const PROPORTIONAL = 20;
const INTEGRAL = 10;

/** Snapshots in MiB that a store sends at a time; lower levels have less of the whole. (6.32) */
export class SlidingWindows implements Limiter {
  #capacity = CAPACITY_INITIAL;
  #errorSum = 0;
  readonly #used: number[] = new Array<number>(WINDOWS).fill(0);

  get capacity(): number {
    return this.#capacity;
  }

  available(_cost: number, _nowMs: number, level = 0): boolean {
    return this.#window(level) !== undefined;
  }

  take(cost: number, _nowMs: number, level = 0): void {
    const window = this.#window(level) ?? 0;
    this.#used[window] = (this.#used[window] as number) + cost;
  }

  acknowledge(cost: number): void {
    let left = cost;
    for (let i = WINDOWS - 1; i >= 0 && left > 0; i--) {
      const returned = Math.min(left, this.#used[i] as number);
      this.#used[i] = (this.#used[i] as number) - returned;
      left -= returned;
    }
  }

  /** Above zero: the stores had time left. Means something only while the windows are full. */
  feedback(error: number): void {
    if (this.#hasRoom(0)) return;
    this.#errorSum += error;
    this.#capacity = Math.max(CAPACITY_INITIAL, PROPORTIONAL * error + INTEGRAL * this.#errorSum);
  }

  #window(level: number): number | undefined {
    for (let i = 0; i <= Math.min(level, WINDOWS - 1); i++) if (this.#hasRoom(i)) return i;
    return undefined;
  }

  #hasRoom(window: number): boolean {
    const capacity = Math.max(WINDOW_MIN, this.#capacity >> window);
    return (this.#used[window] as number) + WINDOW_MIN <= capacity;
  }
}
