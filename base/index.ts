/** The base: ids, bytes, errors, assertions, and the doors to the world (`Env`, `Engine`) as interfaces. */
export { assert, AssertionError, must, unreachable } from "./assert.js";
export * from "./byte-budget.js";
export * from "./bytes.js";
export * from "./engine.js";
export { misbehaves, randomBelow, SILENT_LOGGER } from "./env.js";
export type { Clock, Env, LogFields, Logger, Mischief, Random, TimerHandle, Timers } from "./env.js";
export { RaftwerkError } from "./errors.js";
export type { ErrorCode, RaftwerkErrorOptions, RetryClass } from "./errors.js";
export * from "./ids.js";
export * from "./memcomparable.js";
export { packBytes } from "./packed.js";
export { SeededRandom } from "./random.js";
