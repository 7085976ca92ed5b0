/**
 * How far stores are with filling or emptying, how fast that goes, and when it will be done. Fed every ten seconds;
 * the speed is that of a window of samples, so that it neither jumps nor sticks. (pd-rules 3.28 to 3.30)
 */
export type ProgressAction = "preparing" | "removing" | "draining";

export interface ProgressState {
  /** 0 to 1. */
  readonly percent: number;
  /** Units of what is moved (MiB, leaders) a second. */
  readonly speed: number;
  /** Number.MAX_VALUE while nothing moves. */
  readonly leftSeconds: number;
}

export const SAMPLE_SECONDS = 10;
const WINDOW_SAMPLES = 60;

interface Tracked {
  target: number;
  readonly samples: number[];
}

export class Progress {
  readonly #tracked = new Map<string, Tracked>();

  /** `done` of `target`; a target only grows. */
  update(action: ProgressAction, storeId: number, done: number, target: number): void {
    const key = `${action} ${storeId}`;
    let tracked = this.#tracked.get(key);
    if (tracked === undefined) {
      tracked = { target, samples: [] };
      this.#tracked.set(key, tracked);
    }
    tracked.target = Math.max(tracked.target, target);
    tracked.samples.push(done);
    if (tracked.samples.length > WINDOW_SAMPLES) tracked.samples.shift();
  }

  /** What was to be moved when it began, for an action that began with everything still there. */
  targetOf(action: ProgressAction, storeId: number): number | undefined {
    return this.#tracked.get(`${action} ${storeId}`)?.target;
  }

  end(action: ProgressAction, storeId: number): void {
    this.#tracked.delete(`${action} ${storeId}`);
  }

  of(action: ProgressAction, storeId: number): ProgressState | undefined {
    const tracked = this.#tracked.get(`${action} ${storeId}`);
    if (tracked === undefined) return undefined;
    const { samples, target } = tracked;
    const first = samples[0] ?? 0;
    const last = samples.at(-1) ?? 0;
    const speed =
      samples.length < 2 ? 0 : Math.max(0, (last - first) / ((samples.length - 1) * SAMPLE_SECONDS));
    const percent = target === 0 ? 1 : Math.min(1, Math.max(0, last / target));
    const left = target - last <= 0 ? 0 : (target - last) / speed;
    return { percent, speed, leftSeconds: Number.isFinite(left) ? left : Number.MAX_VALUE };
  }

  /** Stores with this action under way. */
  stores(action: ProgressAction): number[] {
    const prefix = `${action} `;
    return [...this.#tracked.keys()].flatMap((key) =>
      key.startsWith(prefix) ? [Number(key.slice(prefix.length))] : [],
    );
  }

  /** The plain average over all stores with this action. */
  average(action: ProgressAction): ProgressState | undefined {
    const all = this.stores(action).flatMap((id) => this.of(action, id) ?? []);
    if (all.length === 0) return undefined;
    const mean = (pick: (state: ProgressState) => number): number =>
      Math.min(
        Number.MAX_VALUE,
        all.reduce((sum, state) => sum + pick(state) / all.length, 0),
      );
    return {
      percent: mean((state) => state.percent),
      speed: mean((state) => state.speed),
      leftSeconds: mean((state) => state.leftSeconds),
    };
  }
}
