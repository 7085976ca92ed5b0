/**
 * How many peers a store may gain or lose a minute: a token bucket per store and direction. A region costs 1000
 * tokens, a small one 200, an empty one nothing, so that an empty cluster spreads at once. (pd-rules 6.29 to 6.31)
 */
import { UNLIMITED_RATE } from "./config.js";

export type LimitKind = "add-peer" | "remove-peer";

/** What schedulers ask for before they know the region: a full-size one. */
export const FULL_COST = 1000;
const SMALL_COST = 200;
const SMALL_MIB = 20;
const EMPTY_MIB = 1;

export function regionCost(sizeMib: number): number {
  if (sizeMib > SMALL_MIB) return FULL_COST;
  return sizeMib > EMPTY_MIB ? SMALL_COST : 0;
}

export class TokenBucket {
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

  #fill(nowMs: number): void {
    const seconds = Math.max(0, nowMs - this.#filledMs) / 1000;
    this.#filledMs = nowMs;
    this.#tokens = Math.min(this.#capacity, this.#tokens + seconds * this.#refillPerSecond);
  }
}
