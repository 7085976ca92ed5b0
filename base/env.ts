/**
 * The doors through which decisions touch the world. Everything below the adapters takes an `Env` first and uses
 * no ambient time, chance, timer or log; so the same classes run on a machine, inside a test, and in the simulator.
 * Network and engine are doors of their own (`proto/rpc.ts`, `base/engine.ts`).
 */

export interface Clock {
  /** Milliseconds with fraction, never going back, not slewed; only differences mean anything. Leases use this. */
  monotonicMs(): number;
  /** Milliseconds since 1970 by the wall clock; may jump either way. For timestamps and display only. */
  wallMs(): number;
}

export interface TimerHandle {
  readonly timerHandle: unique symbol;
}

export interface Timers {
  /** Calls `callback` once after at least `delayMs`. */
  set(delayMs: number, callback: () => void): TimerHandle;
  clear(handle: TimerHandle): void;
  /** Calls `callback` after the input that is ready now has been taken in: the beginning of the next turn. */
  nextTurn(callback: () => void): void;
}

export interface Random {
  /** Uniform in [0, 2^32). */
  u32(): number;
}

/** Uniform integer in [0, bound); `bound` in [1, 2^32]. */
export const randomBelow = (random: Random, bound: number): number =>
  Math.floor((random.u32() / 2 ** 32) * bound);

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export const SILENT_LOGGER: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
};

/** Says whether the code at `site` should do the odd thing now that it may always do. One in `oneIn` of what it would be. */
export type Mischief = (site: string, oneIn: number) => boolean;

export interface Env {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Logger;
  /** CRC-32 (IEEE) as the platform has it, where that is faster than code. */
  readonly crc32?: (bytes: Uint8Array) => number;
  /** The simulator's alone: absent in production, where a site costs one comparison. */
  readonly mischief?: Mischief;
}

/**
 * A site of mischief: true when this code should lose, delay, refuse or shrink something, as the world might make
 * it do.
 */
export const misbehaves = (env: Env, site: string, oneIn = 1): boolean =>
  env.mischief !== undefined && env.mischief(site, oneIn);
