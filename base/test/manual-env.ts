/**
 * An `Env` whose time moves only when a test says so. Timers run in the order in which they are due; `nextTurn` runs at
 * the next `settle`, or before the time moves.
 */
import { type Env, type Logger, SeededRandom, type TimerHandle } from "../index.js";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class ManualEnv implements Env {
  nowMs = 10_000;
  /** Wall clock minus monotonic clock. */
  wallOffsetMs = 1_700_000_000_000;
  readonly random: SeededRandom;
  readonly lines: string[] = [];
  readonly log: Logger;
  readonly clock: Env["clock"];
  readonly timers: Env["timers"];
  #order = 0;
  #timers: Timer[] = [];

  constructor(seed = 1) {
    this.random = new SeededRandom(seed);
    const line = (message: string): void => void this.lines.push(message);
    this.log = { debug() {}, info: line, warn: line, error: line };
    this.clock = { monotonicMs: () => this.nowMs, wallMs: () => this.nowMs + this.wallOffsetMs };
    this.timers = {
      set: (delayMs, callback) => this.#add(delayMs, callback),
      clear: (handle) => {
        this.#timers = this.#timers.filter((timer) => (timer as unknown) !== handle);
      },
      nextTurn: (callback) => void this.#add(0, callback),
    };
  }

  /** Runs what is due now, what that makes due included. */
  settle(): void {
    for (let rounds = 0; ; rounds++) {
      const due = this.#timers.filter((timer) => timer.dueMs <= this.nowMs);
      if (due.length === 0) return;
      if (rounds > 10_000) throw new Error("timers never come to rest");
      due.sort((left, right) => left.dueMs - right.dueMs || left.order - right.order);
      const first = due[0] as Timer;
      this.#timers = this.#timers.filter((timer) => timer !== first);
      first.callback();
    }
  }

  /** Lets `ms` pass, running timers at their times. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      this.settle();
      const next = Math.min(...this.#timers.map((timer) => timer.dueMs));
      if (next > endMs) break;
      this.nowMs = next;
    }
    this.nowMs = endMs;
    this.settle();
  }

  get timersSet(): number {
    return this.#timers.length;
  }

  #add(delayMs: number, callback: () => void): TimerHandle {
    const timer: Timer = { dueMs: this.nowMs + delayMs, order: this.#order++, callback };
    this.#timers.push(timer);
    return timer as unknown as TimerHandle;
  }
}
