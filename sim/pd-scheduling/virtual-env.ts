/**
 * A virtual clock with a heap of timers, and a meta store that takes everything and forgets it: PD without a
 * machine.
 */
import { type Env, SeededRandom, SILENT_LOGGER, type TimerHandle } from "../../base/index.js";
import type { MetaStore } from "../../pd/meta-store.js";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

export class VirtualEnv implements Env {
  #nowMs = 1;
  #order = 0;
  readonly #heap: Timer[] = [];
  readonly random: SeededRandom;
  readonly log = SILENT_LOGGER;
  readonly clock = { monotonicMs: (): number => this.#nowMs, wallMs: (): number => WALL_MS + this.#nowMs };
  readonly timers: Env["timers"];

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.timers = {
      set: (delayMs, callback) => this.#add(delayMs, callback),
      clear: (handle) => {
        (handle as unknown as Timer).callback = undefined;
      },
      nextTurn: (callback) => void this.#add(0, callback),
    };
  }

  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (let timer = this.#heap[0]; timer !== undefined && timer.dueMs <= endMs; timer = this.#heap[0]) {
      this.#pop();
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      timer.callback?.();
    }
    this.#nowMs = endMs;
  }

  /** Time goes by without what was due in it, for measuring something else. */
  skip(ms: number): void {
    this.#nowMs += ms;
  }

  #add(delayMs: number, callback: () => void): TimerHandle {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback };
    const heap = this.#heap;
    let i = heap.push(timer) - 1;
    for (let parent = (i - 1) >> 1; i > 0 && isBefore(timer, heap[parent] as Timer); parent = (i - 1) >> 1) {
      heap[i] = heap[parent] as Timer;
      i = parent;
    }
    heap[i] = timer;
    return timer as unknown as TimerHandle;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Timer;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child += 1;
      if (!isBefore(heap[child] as Timer, last)) break;
      heap[i] = heap[child] as Timer;
      i = child;
    }
    heap[i] = last;
  }
}

const WALL_MS = 1_760_000_000_000;
const isBefore = (left: Timer, right: Timer): boolean =>
  left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);

/** Every write succeeds at once and nothing is ever found. */
export const FORGETFUL_STORE: MetaStore = {
  get: (_key, callback) => callback(undefined, undefined),
  range: (_range, callback) => callback(undefined, { entries: [], more: false, revision: 1 }),
  put: (_key, _value, callback) => callback(undefined, 1),
  delete: (_key, callback) => callback(undefined, 1),
  transact: ({ reads = [] }, callback) =>
    callback(undefined, { succeeded: true, revision: 1, entries: reads.map(() => undefined) }),
  transactOutOfLine: (transaction, callback) => FORGETFUL_STORE.transact(transaction, callback),
  grantLease: (_seconds, callback) => callback(undefined, 1),
  keepAliveLease: (_id, callback) => callback(undefined, 1),
  revokeLease: (_id, callback) => callback(undefined, undefined),
  watch: () => ({ cancel() {} }),
  close: (callback) => callback(undefined),
};
