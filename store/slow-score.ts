/**
 * How slow this store's disk is, as TiKV tells PD and clients: 1 is the best, 100 the worst. It grows with the share of
 * synced writes that took too long, doubles at most in each period, and falls evenly, from the worst to the best in
 * five minutes. PD takes the leaders away from a store at 100 (`evict-slow-store-scheduler`).
 *
 * Invariant: 1 <= value <= 100.
 */
const SLOW_MS = 500;
const PERIOD_MS = 10_000;
/** A share of slow writes from which the score doubles. */
const DOUBLING_SHARE = 0.1;
const RECOVERY_MS = 300_000;
const WORST = 100;

export class SlowScore {
  #value = 1;
  #writes = 0;
  #slow = 0;
  #updatedMs: number;

  constructor(nowMs: number) {
    this.#updatedMs = nowMs;
  }

  /** Whole, from 1 to 100. */
  get value(): number {
    return Math.floor(this.#value);
  }

  /** A synced write has ended. */
  observe(durationMs: number): void {
    this.#writes++;
    if (durationMs >= SLOW_MS) this.#slow++;
  }

  tick(nowMs: number): void {
    const elapsedMs = nowMs - this.#updatedMs;
    if (elapsedMs < PERIOD_MS) return;
    if (this.#slow === 0) this.#value = Math.max(1, this.#value - (WORST * elapsedMs) / RECOVERY_MS);
    else {
      const share = this.#slow / this.#writes;
      this.#value = Math.min(WORST, this.#value * (1 + Math.min(share, DOUBLING_SHARE) / DOUBLING_SHARE));
    }
    this.#updatedMs = nowMs;
    this.#writes = 0;
    this.#slow = 0;
  }
}
