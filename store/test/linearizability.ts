/**
 * Is there an order of the operations on one register that respects real time and explains every answer? All written
 * values differ, so that each value's write and its reads stand together in any such order. (Gibbons and Korach, 1997)
 *
 * Of a value, let `firstEnd` be when the first of its operations had ended, `lastBegin` when the last of them began. Value
 * a cannot come wholly before value b when an operation of b had ended before one of a began. The history is explained
 * exactly when no read precedes its write and no two values forbid each other both orders.
 */
export interface Operation {
  readonly kind: "write" | "read";
  /** What was written, or what a read returned. */
  readonly value: string | undefined;
  readonly beganAt: number;
  /** Undefined: nobody knows whether it took effect. It may have done so at any time later, or never. */
  endedAt: number | undefined;
}

interface Value {
  readonly operations: Operation[];
  writtenAt: number;
  firstEnd: number;
  lastBegin: number;
}

/** Operations that contradict each other, or undefined when the history can be explained. */
export function unexplained(history: readonly Operation[]): readonly Operation[] | undefined {
  const wasRead = new Set(history.filter((each) => each.kind === "read").map((each) => each.value));
  const initial: Value = {
    operations: [],
    writtenAt: Number.NEGATIVE_INFINITY,
    firstEnd: Number.NEGATIVE_INFINITY,
    lastBegin: Number.NEGATIVE_INFINITY,
  };
  const values = new Map<string | undefined, Value>([[undefined, initial]]);
  for (const operation of history) {
    // A write of unknown outcome that nobody saw may well never have happened.
    if (operation.endedAt === undefined && !wasRead.has(operation.value)) continue;
    let value = values.get(operation.value);
    if (value === undefined) {
      value = {
        operations: [],
        writtenAt: Number.POSITIVE_INFINITY,
        firstEnd: Number.POSITIVE_INFINITY,
        lastBegin: 0,
      };
      values.set(operation.value, value);
    }
    value.operations.push(operation);
    if (operation.kind === "write") value.writtenAt = operation.beganAt;
    value.firstEnd = Math.min(value.firstEnd, operation.endedAt ?? Number.POSITIVE_INFINITY);
    value.lastBegin = Math.max(value.lastBegin, operation.beganAt);
  }
  const all = [...values.values()];
  for (const [at, left] of all.entries()) {
    const early = left.operations.find((each) => (each.endedAt ?? left.writtenAt) < left.writtenAt);
    if (early !== undefined || left.writtenAt === Number.POSITIVE_INFINITY) return left.operations;
    for (const right of all.slice(at + 1)) {
      if (right.firstEnd < left.lastBegin && left.firstEnd < right.lastBegin) {
        return [...left.operations, ...right.operations];
      }
    }
  }
  return undefined;
}
