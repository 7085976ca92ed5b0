/**
 * Tells writers that are refused when to come again: as if they stood in a line behind what is under way, which moves
 * as fast as writes were finished of late. Told the same moment, all would come back at once and be refused again;
 * what they send costs the store as much as what it takes.
 */
import type { ByteBudget } from "../base/index.js";

const SAMPLE_MS_MIN = 250;
/** After a longer time without a refusal what was learned is old. */
const SAMPLE_MS_MAX = 2_000;
const BYTES_PER_MS_FIRST = 16_384;
const WAIT_MS_MIN = 50;
/** A store that has recovered must not stay idle for long. */
const WAIT_MS_MAX = 2_000;

export class BusyLine {
  readonly #budget: ByteBudget;
  readonly #nowMs: () => number;
  #sampledMs = Number.NEGATIVE_INFINITY;
  #sampledBytes = 0;
  #bytesPerMs = BYTES_PER_MS_FIRST;
  /** Of those sent away and not due yet. */
  #lineBytes = 0;

  /** `budget`: writes under way. */
  constructor(budget: ByteBudget, nowMs: () => number) {
    this.#budget = budget;
    this.#nowMs = nowMs;
  }

  /** Puts a refused write of so many bytes into the line; how long it should stay away. */
  waitMs(bytes: number): number {
    this.#sample();
    this.#lineBytes += bytes;
    const ms = (this.#budget.bytes + this.#lineBytes) / this.#bytesPerMs;
    return Math.round(Math.min(Math.max(ms, WAIT_MS_MIN), WAIT_MS_MAX));
  }

  #sample(): void {
    const nowMs = this.#nowMs();
    const passedMs = nowMs - this.#sampledMs;
    if (passedMs < SAMPLE_MS_MIN) return;
    const finished = this.#budget.returnedBytes - this.#sampledBytes;
    this.#sampledMs = nowMs;
    this.#sampledBytes = this.#budget.returnedBytes;
    if (passedMs > SAMPLE_MS_MAX) {
      this.#lineBytes = 0;
      this.#bytesPerMs = BYTES_PER_MS_FIRST;
      return;
    }
    this.#bytesPerMs = Math.max(1, (this.#bytesPerMs + finished / passedMs) / 2);
    this.#lineBytes = Math.max(0, this.#lineBytes - finished);
  }
}
