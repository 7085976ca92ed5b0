/**
 * Cuts a hot region in two where it is too hot to be moved as a whole, or too large: at the half of what its hot
 * buckets carry, or at the middle one of its borders. (pd-rules 9.38)
 */
import { compareBytes } from "../../base/index.js";
import type { Operator } from "../operator.js";
import type { RegionInfo } from "../region-info.js";
import type { SchedulingView } from "../scheduling-view.js";
import { splitOperator } from "../split-operator.js";
import { bucketLoad, type HotBucket } from "../statistics/hot-buckets.js";
import type { Dimension } from "../statistics/rates.js";
import type { Direction } from "../statistics/store-figures.js";

/** A key at which the region can be split. */
const isInside = ({ meta }: RegionInfo, key: Uint8Array): boolean =>
  compareBytes(key, meta.startKey) > 0 &&
  (meta.endKey.length === 0 ? key.length > 0 : compareBytes(key, meta.endKey) < 0);

const overlaps = ({ meta }: RegionInfo, { startKey, endKey }: HotBucket): boolean =>
  (endKey.length === 0 || compareBytes(meta.startKey, endKey) < 0) &&
  (meta.endKey.length === 0 || compareBytes(startKey, meta.endKey) < 0);

/** Text is the reason why there is none. */
export function keyAtHalfLoad(
  region: RegionInfo,
  hotBuckets: readonly HotBucket[],
  direction: Direction,
  dimensions: readonly Dimension[],
): Uint8Array | string {
  const buckets = hotBuckets.filter((bucket) => overlaps(region, bucket));
  if (buckets.length === 0) return "it is too hot to be moved, and none of its buckets is hot";
  if (buckets.length === 1) return "it is too hot to be moved, and one bucket carries it alone";
  const sumOf = (dimension: Dimension): number =>
    buckets.reduce((sum, bucket) => sum + bucketLoad(bucket, direction, dimension), 0);
  const dimension = dimensions.find((one) => sumOf(one) > 0);
  if (dimension === undefined) return "it is too hot to be moved, and its buckets do not tell by what";
  const half = sumOf(dimension) / 2;
  let sum = 0;
  let found: HotBucket | undefined;
  for (const bucket of buckets) {
    if (sum >= half) break;
    sum += bucketLoad(bucket, direction, dimension);
    found = bucket;
  }
  const { startKey, endKey } = found as HotBucket;
  const key = isInside(region, endKey) ? endKey : startKey;
  return isInside(region, key) ? key : "it is too hot to be moved, and has no border of a bucket inside";
}

export function keyAtMiddle(region: RegionInfo, keys: readonly Uint8Array[]): Uint8Array | string {
  const inside = keys.filter((key) => isInside(region, key));
  return inside[Math.floor(inside.length / 2)] ?? "it is too large to be moved, and has no border inside";
}

export function hotSplit(
  view: SchedulingView,
  region: RegionInfo,
  direction: Direction,
  key: Uint8Array | string,
): Operator | string {
  if (typeof key === "string") return key;
  return splitOperator(view, `split-hot-${direction}-region`, region, "usekey", [key]);
}
