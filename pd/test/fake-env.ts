/** A virtual clock with timers for tests: time moves only when the test says so. */
import { type Env, type Logger, SeededRandom, type TimerHandle } from "../../base/index.js";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  /** Undefined once it has run or was cleared. */
  callback: (() => void) | undefined;
}

const isBefore = (left: Timer, right: Timer): boolean =>
  left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);

/** The earliest first; cleared ones stay until their time. */
class TimerHeap {
  #timers: Timer[] = [];

  get first(): Timer | undefined {
    return this.#timers[0];
  }

  add(timer: Timer): void {
    const timers = this.#timers;
    let at = timers.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, timers[parent] as Timer)) break;
      timers[at] = timers[parent] as Timer;
      at = parent;
    }
    timers[at] = timer;
  }

  dropFirst(): void {
    const timers = this.#timers;
    const last = timers.pop();
    if (last === undefined || timers.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= timers.length) break;
      if (child + 1 < timers.length && isBefore(timers[child + 1] as Timer, timers[child] as Timer))
        child += 1;
      if (!isBefore(timers[child] as Timer, last)) break;
      timers[at] = timers[child] as Timer;
      at = child;
    }
    timers[at] = last;
  }

  clear(): void {
    this.#timers = [];
  }
}

export class FakeEnv implements Env {
  #nowMs = 1000;
  #wallOffsetMs: number;
  #order = 0;
  readonly #timers = new TimerHeap();
  readonly random: SeededRandom;
  readonly log: Logger;
  readonly lines: string[] = [];
  readonly clock: { monotonicMs: () => number; wallMs: () => number };
  readonly timers: Env["timers"];

  constructor(seed = 1, wallMs = 1_760_000_000_000) {
    this.random = new SeededRandom(seed);
    this.#wallOffsetMs = wallMs - this.#nowMs;
    const write = (message: string, fields?: object): void =>
      void this.lines.push(`${message} ${fields === undefined ? "" : JSON.stringify(fields)}`);
    this.log = { debug() {}, info: write, warn: write, error: write };
    this.clock = { monotonicMs: () => this.#nowMs, wallMs: () => this.#nowMs + this.#wallOffsetMs };
    this.timers = {
      set: (delayMs, callback) => this.#add(delayMs, callback),
      clear: (handle) => {
        (handle as unknown as Timer).callback = undefined;
      },
      nextTurn: (callback) => void this.#add(0, callback),
    };
  }

  /** Moves only the wall clock, as an operator or NTP would. */
  jumpWall(deltaMs: number): void {
    this.#wallOffsetMs += deltaMs;
  }

  /** Work takes time: the clock goes on within a turn, and nothing that is due runs. */
  spend(ms: number): void {
    this.#nowMs += ms;
  }

  /** Runs everything that becomes due in the next `ms`, in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      const next = this.#timers.first;
      if (next === undefined || next.dueMs > endMs) break;
      this.#timers.dropFirst();
      const { callback } = next;
      if (callback === undefined) continue;
      next.callback = undefined;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      callback();
    }
    this.#nowMs = Math.max(this.#nowMs, endMs);
  }

  /** What is due now: turns and finished writes. */
  settle(): void {
    this.advance(0);
  }

  /** Everything that was under way is gone, as at a crash. */
  dropTimers(): void {
    this.#timers.clear();
  }

  #add(delayMs: number, callback: () => void): TimerHandle {
    const timer: Timer = { dueMs: this.#nowMs + delayMs, order: this.#order++, callback };
    this.#timers.add(timer);
    return timer as unknown as TimerHandle;
  }
}
