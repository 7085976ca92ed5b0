/**
 * Consecutive writes of a turn become one log entry: one Raft round, one log value, one apply for many clients.
 * Invariant: all gathered writes were admitted under the same epoch version.
 */
import { WriteBatchEncoder } from "./command.js";
import type { Waiter, WriteDone } from "./proposals.js";

export interface GatheredWrites {
  readonly data: Uint8Array;
  readonly waiters: readonly Waiter[];
  readonly createdMs: number;
}

export class WriteGatherer {
  readonly #encoder = new WriteBatchEncoder();
  #waiters: Waiter[] = [];
  #createdMs = 0;
  #swaps = 0;

  get bytes(): number {
    return this.#waiters.length === 0 ? 0 : this.#encoder.bytes;
  }

  get isEmpty(): boolean {
    return this.#waiters.length === 0;
  }

  /** `fill` adds the operations; `isSwap` tells that they are one compare-and-swap. */
  add(
    epochVersion: number,
    nowMs: number,
    fill: (encoder: WriteBatchEncoder) => void,
    isSwap: boolean,
    done: WriteDone,
  ): void {
    if (this.#waiters.length === 0) {
      this.#encoder.start(epochVersion);
      this.#createdMs = nowMs;
      this.#swaps = 0;
    }
    fill(this.#encoder);
    this.#waiters.push({ done, swapIndex: isSwap ? this.#swaps++ : -1 });
  }

  /** Hands over what was gathered; empty afterwards. */
  take(): GatheredWrites {
    const waiters = this.#waiters;
    this.#waiters = [];
    return { data: this.#encoder.finish(), waiters, createdMs: this.#createdMs };
  }
}
