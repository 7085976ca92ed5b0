/**
 * How load is spread within regions, as stores report it by buckets: pieces of a region with a border each. A bucket
 * grows hotter with each report above the minimum and colder with each below it; new borders take over what was known
 * of the keys between them. (pd-rules 10.13)
 */
import { compareBytes } from "../../base/index.js";
import type { metapb } from "../../proto/index.js";
import { HOT_READ, HOT_WRITE } from "./hot-peer-cache.js";
import type { Dimension } from "./rates.js";
import type { Direction } from "./store-figures.js";

export interface HotBucket {
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  /** Reports above the minimum, less those below; within `DEGREE_MAX` on both sides. */
  readonly degree: number;
  readonly readBytes: number;
  readonly readKeys: number;
  readonly readQueries: number;
  readonly writtenBytes: number;
  readonly writtenKeys: number;
  readonly writeQueries: number;
}

interface Entry {
  /** For clients, and for splits by size: the newest borders. */
  meta: metapb.IBuckets;
  version: number;
  buckets: readonly HotBucket[];
}

const DEGREE_MAX = 20;
const SECONDS_UNTOLD = 10;
/** A region of TiKV's has tens; more than this is no report. */
const BUCKETS_MAX = 10_000;

export class HotBuckets {
  readonly #byRegion = new Map<number, Entry>();

  /** False when it is malformed. The region must be known. */
  report(report: metapb.Buckets): boolean {
    const { stats, regionId, version, periodInMs } = report;
    const count = report.keys.length - 1;
    if (count < 1 || count > BUCKETS_MAX) return false;
    // Not as parts of what came over the network, which they would keep.
    const keys = report.keys.map((key) => key.slice());
    for (let i = 1; i < count; i++)
      if (compareBytes(keys[i - 1] as Uint8Array, keys[i] as Uint8Array) >= 0) return false;
    const known = this.#byRegion.get(regionId);
    const seconds = (periodInMs || SECONDS_UNTOLD * 1000) / 1000;
    const buckets: HotBucket[] = [];
    for (let i = 0; i < count; i++) {
      const startKey = keys[i] as Uint8Array;
      const endKey = keys[i + 1] as Uint8Array;
      const figures = {
        readBytes: stats?.readBytes[i] ?? 0,
        readKeys: stats?.readKeys[i] ?? 0,
        readQueries: stats?.readQps[i] ?? 0,
        writtenBytes: stats?.writeBytes[i] ?? 0,
        writtenKeys: stats?.writeKeys[i] ?? 0,
        writeQueries: stats?.writeQps[i] ?? 0,
      };
      const before = known === undefined ? 0 : inherited(known.buckets, startKey, endKey);
      const degree = isHot(figures, seconds)
        ? Math.min(DEGREE_MAX, before + 1)
        : Math.max(-DEGREE_MAX, before - 1);
      buckets.push({ startKey, endKey, degree, ...figures });
    }
    const meta = { regionId, version, keys, stats, periodInMs };
    if (known === undefined) this.#byRegion.set(regionId, { meta, version, buckets });
    else {
      known.buckets = buckets;
      // Borders of an older report that was late are not taken back. (4.21)
      if (version > known.version) Object.assign(known, { meta, version });
    }
    return true;
  }

  /** As the store reported it; undefined when it did not. */
  metaOf(regionId: number): metapb.IBuckets | undefined {
    return this.#byRegion.get(regionId)?.meta;
  }

  /** Those hot for so many reports. */
  hot(regionId: number, degree: number): readonly HotBucket[] {
    return (this.#byRegion.get(regionId)?.buckets ?? []).filter((bucket) => bucket.degree >= degree);
  }

  regionIds(): readonly number[] {
    return [...this.#byRegion.keys()];
  }

  forget(regionId: number): void {
    if (this.#byRegion.size > 0) this.#byRegion.delete(regionId);
  }
}

const isBefore = (key: Uint8Array, end: Uint8Array): boolean =>
  end.length === 0 || compareBytes(key, end) < 0;

/** The hottest that overlaps, and where none is hot the coldest. */
function inherited(buckets: readonly HotBucket[], startKey: Uint8Array, endKey: Uint8Array): number {
  let hottest = 0;
  let coldest = 0;
  for (const bucket of buckets) {
    if (!isBefore(bucket.startKey, endKey) || !isBefore(startKey, bucket.endKey)) continue;
    hottest = Math.max(hottest, bucket.degree);
    coldest = Math.min(coldest, bucket.degree);
  }
  return hottest > 0 ? hottest : coldest;
}

function isHot(
  figures: Pick<HotBucket, "readBytes" | "readKeys" | "writtenBytes" | "writtenKeys">,
  seconds: number,
): boolean {
  return (
    figures.readBytes / seconds > HOT_READ.minimum[0] ||
    figures.readKeys / seconds > HOT_READ.minimum[1] ||
    figures.writtenBytes / seconds > HOT_WRITE.minimum[0] ||
    figures.writtenKeys / seconds > HOT_WRITE.minimum[1]
  );
}

/** Buckets count no CPU: what was asked of them stands for it. */
export function bucketLoad(bucket: HotBucket, direction: Direction, dimension: Dimension): number {
  const isRead = direction === "read";
  switch (dimension) {
    case "byte":
      return isRead ? bucket.readBytes : bucket.writtenBytes;
    case "key":
      return isRead ? bucket.readKeys : bucket.writtenKeys;
    default:
      return isRead ? bucket.readQueries : bucket.writeQueries;
  }
}
