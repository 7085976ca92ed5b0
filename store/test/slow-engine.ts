/**
 * An engine that writes later, as LevelDB does: writes and range deletes take effect one after the other, each a while
 * after it was asked; reads see what has taken effect. A crash loses what still waits.
 */
import type { Env } from "../../base/index.js";
import { MemoryEngine } from "../../engine/memory.js";

export class SlowEngine extends MemoryEngine {
  readonly #env: Env;
  readonly #delayMs: number;
  #queue: (() => void)[] = [];
  /** Callbacks run in the process, which may stand still. */
  gate: (run: () => void) => void = (run) => run();

  constructor(env: Env, delayMs: number) {
    super();
    this.#env = env;
    this.#delayMs = delayMs;
  }

  override write(...[batch, options, callback]: Parameters<MemoryEngine["write"]>): void {
    const { gate } = this;
    this.#later(() => super.write(batch, options, (error) => gate(() => callback(error))));
  }
  override deleteRange(...[space, start, end, callback]: Parameters<MemoryEngine["deleteRange"]>): void {
    const { gate } = this;
    this.#later(() => super.deleteRange(space, start, end, (error) => gate(() => callback(error))));
  }

  /** What waits never happens. */
  crash(): void {
    this.#queue = [];
  }

  #later(run: () => void): void {
    this.#queue.push(run);
    if (this.#queue.length === 1) this.#arm();
  }

  #arm(): void {
    const queue = this.#queue;
    this.#env.timers.set(this.#delayMs, () => {
      if (queue !== this.#queue) return;
      const run = queue[0];
      run?.();
      queue.shift();
      if (queue.length > 0) this.#arm();
    });
  }
}
