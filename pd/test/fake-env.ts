/** A virtual clock with timers for tests: time moves only when the test says so. */
import { type Env, type Logger, SeededRandom, type TimerHandle } from "../../base/index.js";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class FakeEnv implements Env {
  #nowMs = 1000;
  #wallOffsetMs: number;
  #order = 0;
  readonly #timers = new Set<Timer>();
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
      clear: (handle) => void this.#timers.delete(handle as unknown as Timer),
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
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        if (timer.dueMs > endMs) continue;
        if (
          next === undefined ||
          timer.dueMs < next.dueMs ||
          (timer.dueMs === next.dueMs && timer.order < next.order)
        ) {
          next = timer;
        }
      }
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
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
