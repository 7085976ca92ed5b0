/** What every part of PD shares: the doors to the world, the settings, and the one way to write as leader. */
import type { Env } from "../base/index.js";
import type { PdConfig } from "./config.js";
import type { IdAllocator } from "./id-allocator.js";
import type { MetaKeys } from "./keys.js";
import { type Leadership, lostLeadership } from "./leadership.js";
import type { MetaCompare, MetaOperation, MetaStore } from "./meta-store.js";
import type { PdMetrics } from "./metrics.js";

export interface PdContext {
  readonly env: Env;
  readonly clusterId: bigint;
  readonly keys: MetaKeys;
  readonly metaStore: MetaStore;
  readonly leadership: Leadership;
  readonly ids: IdAllocator;
  readonly config: PdConfig;
  readonly metrics: PdMetrics;
}

/** exp 0.5 ms x2: PD's own. */
const TRANSACTION_SECONDS = Array.from({ length: 13 }, (_, i) => 0.0005 * 2 ** i);

/** Writes as leader: the guard goes with every transaction. Answers false when another compare failed. */
export function writeGuarded(
  context: PdContext,
  operations: readonly MetaOperation[],
  callback: (error: Error | undefined) => void,
  compares: readonly MetaCompare[] = [],
): void {
  const startedMs = context.env.clock.monotonicMs();
  context.leadership.transact({ compares, onSuccess: operations }, (error, result) => {
    const labels = { result: error === undefined && result.succeeded ? "success" : "failed" };
    const seconds = (context.env.clock.monotonicMs() - startedMs) / 1000;
    context.metrics.observe("pd_txn_handle_txns_duration_seconds", labels, seconds, TRANSACTION_SECONDS);
    context.metrics.increment("pd_txn_txns_count", labels);
    if (error !== undefined) return callback(error);
    callback(result.succeeded ? undefined : lostLeadership());
  });
}

export type RestoreMark = Parameters<MetaKeys["marker"]>[0];

/** Whether data is being restored, as the tool that does it has said. */
export function readMark(
  context: PdContext,
  mark: RestoreMark,
  callback: (error: Error | undefined, marked: boolean) => void,
): void {
  context.metaStore.get(context.keys.marker(mark), (error, found) =>
    callback(error, error === undefined && found !== undefined),
  );
}

/** Every entry with this prefix, in pages. */
export function readPrefix(
  metaStore: MetaStore,
  prefix: Uint8Array,
  visit: (key: Uint8Array, value: Uint8Array) => void,
  callback: (error: Error | undefined) => void,
): void {
  const end = prefix.slice();
  end[end.length - 1] = (end[end.length - 1] as number) + 1;
  const page = (start: Uint8Array): void => {
    metaStore.range({ start, end, limit: 1000 }, (error, result) => {
      if (error !== undefined) return callback(error);
      for (const entry of result.entries) visit(entry.key, entry.value);
      const last = result.entries.at(-1);
      if (!result.more || last === undefined) return callback(undefined);
      const next = new Uint8Array(last.key.length + 1);
      next.set(last.key);
      page(next);
    });
  };
  page(prefix);
}
