/**
 * 29 Recovery is idempotent, and 30 what was durable stays: a cluster at rest loses power everywhere, again in
 * the midst of its recovery, and holds the same keys afterwards.
 *
 *   keys(recover(crash(recover(crash(s))))) = keys(s)
 */
import { toHex } from "../../base/index.js";
import { DATA_KEY_SPACES, type Row } from "../../base/engine.js";
import { expiryOf } from "../../region/raw-value.js";
import type { SimCluster } from "../cluster.js";

const FIRST = Uint8Array.of(0);

/** Every row that some store holds; those that expire are left out, since they may go meanwhile. */
export function rowsOf(cluster: SimCluster): ReadonlySet<string> {
  const all = new Set<string>();
  for (const { disk } of cluster.stores) {
    for (const space of DATA_KEY_SPACES) {
      const take = (_error: Error | undefined, { rows }: { readonly rows: readonly Row[] }): void => {
        for (const { key, value } of rows)
          if (expiryOf(value) === 0) all.add(`${space} ${toHex(key)} ${toHex(value)}`);
      };
      disk.memory.scan(space, { start: FIRST, end: undefined, limit: 1 << 30 }, take as never);
    }
  }
  return all;
}

/** The first row that one has and the other has not. */
export function firstDifference(before: ReadonlySet<string>, after: ReadonlySet<string>): string | undefined {
  for (const row of before) if (!after.has(row)) return `lost ${row}`;
  for (const row of after) if (!before.has(row)) return `new ${row}`;
  return undefined;
}
