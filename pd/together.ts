/** Steps that do not need each other, all begun at once. */
export type Step = (done: (error: Error | undefined) => void) => void;

/** Calls back once, when every step has ended, with the first error: nothing goes on behind a failure. */
export function together(steps: readonly Step[], callback: (error: Error | undefined) => void): void {
  let left = steps.length;
  let first: Error | undefined;
  if (left === 0) return callback(undefined);
  for (const step of steps) {
    step((error) => {
      first ??= error;
      left -= 1;
      if (left === 0) callback(first);
    });
  }
}
