/**
 * Assertions that stay on in production. A failed assertion means a bug of ours, never bad input: the process (a
 * store, PD) or the seed (the simulator) stops, because going on could damage data.
 */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws `AssertionError` unless `condition` holds. Pass a closure when the message costs anything to build. */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) {
    throw new AssertionError(typeof message === "string" ? message : message());
  }
}

/** Unwraps a value that cannot be absent here. */
export function must<T>(value: T | undefined | null, message: string | (() => string)): T {
  assert(value !== undefined && value !== null, message);
  return value;
}

/** The end of an exhaustive `switch`. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value: ${String(value)}`);
}
