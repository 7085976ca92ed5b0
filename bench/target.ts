/** What a bench may do to a key-value server, and the closed loop that does it for some seconds. */
import { randomBytes, randomInt } from "node:crypto";
import { compareBytes } from "../base/index.js";
import type { RawClient } from "../client/index.js";
import { distribution, type Distribution } from "./latencies.js";
import { recordKey } from "./ycsb.js";

interface BatchPair {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface Target {
  put(key: Uint8Array, value: Uint8Array): Promise<void>;
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Reads [start, end) forward; resolves with the number of rows. The end is told because etcd counts a range to its
   * end, whatever the limit.
   */
  scan(start: Uint8Array, end: Uint8Array, rowsMax: number): Promise<number>;
  batchPut(pairs: readonly BatchPair[]): Promise<void>;
}

export function raftwerkTarget(client: RawClient): Target {
  return {
    put: (key, value) => client.put(key, value),
    get: (key) => client.get(key),
    scan: async (start, end, rowsMax) => (await client.scanAll({ start, end, limit: rowsMax })).length,
    batchPut: (pairs) => client.batchPut(pairs),
  };
}

export type LoadKind = "put" | "get" | "scan" | "batchPut";

export interface LoadShape {
  readonly kind: LoadKind;
  readonly inFlight: number;
  /** Records that were loaded: 0 to this. */
  readonly records: number;
  readonly valueBytes: number;
  /** Rows of a scan, pairs of a batch. */
  readonly rows: number;
}

export interface LoadFigure {
  readonly operations: number;
  /** Keys read or written. */
  readonly items: number;
  readonly seconds: number;
  readonly itemsPerSecond: number;
  readonly latency: Distribution;
  readonly errors: number;
  readonly firstError: string | undefined;
}

/** Incompressible values, each cut anew out of noise. */
export function valueMaker(bytes: number): () => Uint8Array {
  const noise = randomBytes(bytes + 65_536);
  return () => {
    const at = Math.floor(Math.random() * 65_536);
    return noise.subarray(at, at + bytes);
  };
}

const randomRecord = (records: number): Uint8Array => recordKey(Math.floor(Math.random() * records));

function operation(target: Target, shape: LoadShape): () => Promise<number> {
  const value = valueMaker(shape.valueBytes);
  const { records, rows } = shape;
  if (shape.kind === "put") return () => target.put(randomRecord(records), value()).then(() => 1);
  if (shape.kind === "get") {
    return async () => {
      const key = randomRecord(records);
      if ((await target.get(key)) === undefined) throw new Error("a record that was loaded is missing");
      return 1;
    };
  }
  if (shape.kind === "scan") {
    const sorted = Array.from({ length: records }, (_, i) => recordKey(i)).sort(compareBytes);
    return () => {
      const at = Math.floor(Math.random() * (records - rows));
      return target.scan(sorted[at] as Uint8Array, sorted[at + rows] as Uint8Array, rows);
    };
  }
  return async () => {
    // Neighbours in load order, distinct keys: etcd refuses a transaction that writes a key twice.
    const first = randomInt(Math.max(1, records - rows));
    await target.batchPut(
      Array.from({ length: rows }, (_, i) => ({ key: recordKey(first + i), value: value() })),
    );
    return rows;
  };
}

/** As many operations in flight as `inFlight` says; what ends within the time counts, after a warm-up. */
export async function closedLoop(
  target: Target,
  shape: LoadShape,
  seconds: number,
  warmUpSeconds = Math.min(1, seconds / 4),
): Promise<LoadFigure> {
  const one = operation(target, shape);
  const measuredFrom = performance.now() + warmUpSeconds * 1000;
  const end = measuredFrom + seconds * 1000;
  const latencies: number[] = [];
  let items = 0;
  let errors = 0;
  let firstError: string | undefined;
  const worker = async (): Promise<void> => {
    for (;;) {
      const began = performance.now();
      if (began >= end) return;
      try {
        const done = await one();
        const now = performance.now();
        if (now < measuredFrom || now > end) continue;
        latencies.push(now - began);
        items += done;
      } catch (error) {
        errors++;
        firstError ??= error instanceof Error ? error.message : String(error);
        if (errors > 1_000) return;
      }
    }
  };
  await Promise.all(Array.from({ length: shape.inFlight }, worker));
  return {
    operations: latencies.length,
    items,
    seconds,
    itemsPerSecond: items / seconds,
    latency: distribution(latencies),
    errors,
    firstError,
  };
}

/** Puts records 0 to `records` in batches. */
export async function load(target: Target, records: number, valueBytes: number): Promise<void> {
  const value = valueMaker(valueBytes);
  const size = Math.max(1, Math.min(100, Math.floor(400_000 / (valueBytes + 32))));
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < records) {
      const first = next;
      next = Math.min(records, first + size);
      const pairs = Array.from({ length: next - first }, (_, i) => ({
        key: recordKey(first + i),
        value: value(),
      }));
      await target.batchPut(pairs);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}
