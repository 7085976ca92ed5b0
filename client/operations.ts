/**
 * The operations under way, one timer for the deadlines of all. Kept in an array, each at its place: what has ended is
 * replaced by the last, so that nothing of it stays (pending-answers.ts says what sets and maps would keep).
 */
import type { Env, TimerHandle } from "../base/index.js";

const SWEEP_MS = 100;

export interface Pending {
  place: number;
  ended: ((operation: never) => void) | undefined;
  start(): void;
  expire(nowMs: number): void;
  abort(): void;
}

export class Operations {
  readonly #env: Env;
  readonly #all: Pending[] = [];
  #sweep: TimerHandle | undefined;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Starts the operation, or aborts it when its caller has done so already. */
  run(operation: Pending, signal: AbortSignal | undefined): void {
    operation.place = this.#all.push(operation) - 1;
    if (signal === undefined) operation.ended = this.#ended;
    else {
      const onAbort = (): void => operation.abort();
      operation.ended = () => {
        this.#remove(operation);
        signal.removeEventListener("abort", onAbort);
      };
      if (signal.aborted) return operation.abort();
      signal.addEventListener("abort", onAbort);
    }
    this.#watch();
    operation.start();
  }

  close(): void {
    for (const operation of [...this.#all]) operation.abort();
    if (this.#sweep !== undefined) this.#env.timers.clear(this.#sweep);
  }

  readonly #ended = (operation: Pending): void => this.#remove(operation);

  #remove(operation: Pending): void {
    const last = this.#all.pop() as Pending;
    if (last !== operation) {
      this.#all[operation.place] = last;
      last.place = operation.place;
    }
    operation.place = -1;
    operation.ended = undefined;
  }

  #watch(): void {
    this.#sweep ??= this.#env.timers.set(SWEEP_MS, () => {
      this.#sweep = undefined;
      const nowMs = this.#env.clock.monotonicMs();
      for (const operation of [...this.#all]) operation.expire(nowMs);
      if (this.#all.length > 0) this.#watch();
    });
  }
}
