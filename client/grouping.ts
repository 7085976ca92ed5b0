/** Splits a batch by the regions of its keys, and large groups into requests of bounded size. */
import type { CachedRegion } from "./region-cache.js";

export interface GroupLimits {
  readonly bytesMax: number;
  readonly countMax: number;
}

export async function groupByRegion<T>(
  items: readonly T[],
  keyOf: (item: T) => Uint8Array,
  weight: (item: T) => number,
  locate: (key: Uint8Array) => Promise<CachedRegion>,
  limits: GroupLimits,
): Promise<T[][]> {
  const open = new Map<number, { items: T[]; bytes: number }>();
  const groups: T[][] = [];
  for (const item of items) {
    const { id } = await locate(keyOf(item));
    let group = open.get(id);
    if (group === undefined || group.items.length >= limits.countMax || group.bytes >= limits.bytesMax) {
      group = { items: [], bytes: 0 };
      open.set(id, group);
      groups.push(group.items);
    }
    group.items.push(item);
    group.bytes += weight(item);
  }
  return groups;
}
