/** A call of our own code, which calls back, as a promise. */
export function settled<T>(
  run: (done: (error: Error | undefined, result: T | undefined) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) =>
    run((error, result) => (error === undefined ? resolve(result as T) : reject(error))),
  );
}
