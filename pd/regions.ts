/**
 * The map of the key space: tree, ids and per-store indexes, changed only by accepted heartbeats. A heartbeat is
 * accepted by epoch, then term; what overlaps it and is not newer disappears, because after a merge the source
 * vanishes only this way and after a split the old wide record is cut by whichever child reports first.
 * (pd-rules 4.8 to 4.14)
 */
import { compareBytes, equalBytes } from "../base/index.js";
import type { RegionInfo, RegionMeta } from "./region-info.js";
import { regionChange, sameRange } from "./region-change.js";
import { RegionTree } from "./region-tree.js";
import { indexRegion, StoreRegions } from "./store-regions.js";

export type PutResult =
  | { readonly kind: "stale"; readonly reason: string }
  | {
      readonly kind: "accepted";
      readonly previous: RegionInfo | undefined;
      /** Records of other regions that had to give way. */
      readonly removed: readonly RegionInfo[];
      /** The metadata changed and must be stored. */
      readonly save: boolean;
      /** The record of now: the given one, or the one before where that says the same. */
      readonly region: RegionInfo;
      /** Followers of PD should hear of it. */
      readonly sync: boolean;
    };

export class Regions {
  readonly #tree = new RegionTree();
  readonly #byId = new Map<number, RegionInfo>();
  readonly #stores = new Map<number, StoreRegions>();
  /** Flow that agrees in all but its last digits is the same. (`flow-round-by-digit`) */
  flowDigits = 3;
  #sizeMib = 0;
  #freshCount = 0;

  get count(): number {
    return this.#byId.size;
  }

  get sizeMib(): number {
    return this.#sizeMib;
  }

  /** Regions reported by a heartbeat since PD's start. */
  get freshCount(): number {
    return this.#freshCount;
  }

  get averageSizeMib(): number {
    return this.count === 0 ? 1 : Math.max(1, this.#sizeMib / this.count);
  }

  byId(id: number): RegionInfo | undefined {
    return this.#byId.get(id);
  }

  find(key: Uint8Array): RegionInfo | undefined {
    return this.#tree.find(key);
  }

  all(): IterableIterator<RegionInfo> {
    return this.#byId.values();
  }

  /** From the region containing `start` on; `end` empty is unbounded, `limit` <= 0 is none. */
  scan(start: Uint8Array, end: Uint8Array, limit: number): RegionInfo[] {
    const found: RegionInfo[] = [];
    this.#tree.scan(start, (region) => {
      if (end.length > 0 && compareBytes(region.meta.startKey, end) >= 0) return false;
      found.push(region);
      return limit <= 0 || found.length < limit;
    });
    return found;
  }

  /** The left neighbour, only if the keys touch. */
  previous(region: RegionInfo): RegionInfo | undefined {
    const { startKey } = region.meta;
    if (startKey.length === 0) return undefined;
    const before = this.#tree.before(startKey);
    return before !== undefined && equalBytes(before.meta.endKey, startKey) ? before : undefined;
  }

  /** The right neighbour, only if the keys touch. */
  next(region: RegionInfo): RegionInfo | undefined {
    const { endKey } = region.meta;
    if (endKey.length === 0) return undefined;
    const after = this.#tree.find(endKey);
    return after !== undefined && equalBytes(after.meta.startKey, endKey) ? after : undefined;
  }

  /** Gaps of the key space as [start, end) pairs; an empty end is the end of the key space. */
  holes(): { readonly start: Uint8Array; readonly end: Uint8Array }[] {
    const found: { start: Uint8Array; end: Uint8Array }[] = [];
    let covered: Uint8Array | undefined = new Uint8Array(0);
    this.#tree.scan(new Uint8Array(0), (region) => {
      const { startKey, endKey } = region.meta;
      if (covered !== undefined && compareBytes(covered, startKey) < 0) {
        found.push({ start: covered, end: startKey });
      }
      covered = endKey.length === 0 ? undefined : endKey;
      return true;
    });
    if (covered !== undefined) found.push({ start: covered, end: new Uint8Array(0) });
    return found;
  }

  onStore(storeId: number): StoreRegions {
    return this.#stores.get(storeId) ?? NO_REGIONS;
  }

  /** Why the record would be refused; undefined when it is acceptable. */
  staleReason(region: RegionInfo): string | undefined {
    const { meta } = region;
    const origin = this.#byId.get(meta.id);
    const wholeSpace = meta.startKey.length === 0 && meta.endKey.length === 0;
    // A region made anew by recovery tools starts at epoch 1/1 and must win over what it replaces.
    if (meta.epoch.version === 1 && meta.epoch.confVer === 1 && !wholeSpace) return undefined;
    if (origin === undefined || !sameRange(origin.meta, meta)) {
      for (const other of this.#tree.overlaps(meta.startKey, meta.endKey)) {
        if (other.meta.epoch.version > meta.epoch.version) return staleText(region, other);
      }
    }
    if (origin === undefined) return undefined;
    const older =
      (region.term > 0 && region.term < origin.term) ||
      meta.epoch.version < origin.meta.epoch.version ||
      meta.epoch.confVer < origin.meta.epoch.confVer;
    return older ? staleText(region, origin) : undefined;
  }

  put(region: RegionInfo): PutResult {
    const reason = this.staleReason(region);
    if (reason !== undefined) return { kind: "stale", reason };
    const { meta } = region;
    const previous = this.#byId.get(meta.id);
    if (previous !== undefined && previous.term > region.term && region.term === 0) {
      // A report without a term (an old store) must not make an older term acceptable again.
      region = { ...region, term: previous.term };
    }
    const change = regionChange(previous, region, this.flowDigits);
    if (!change.update && previous !== undefined) {
      return { kind: "accepted", previous, removed: [], region: previous, ...change };
    }
    const removed: RegionInfo[] = [];
    if (previous === undefined || !sameRange(previous.meta, meta)) {
      for (const other of this.#tree.overlaps(meta.startKey, meta.endKey)) {
        if (other.meta.id !== meta.id) removed.push(other);
      }
      if (previous !== undefined) this.#tree.remove(previous.meta.startKey, meta.id);
      for (const other of removed) this.#drop(other);
    }
    this.#tree.put(region);
    if (previous !== undefined) this.#unindex(previous);
    this.#byId.set(meta.id, region);
    this.#index(region);
    return { kind: "accepted", previous, removed, region, save: change.save, sync: change.sync };
  }

  remove(id: number): RegionInfo | undefined {
    const region = this.#byId.get(id);
    if (region !== undefined) this.#drop(region);
    return region;
  }

  #drop(region: RegionInfo): void {
    this.#tree.remove(region.meta.startKey, region.meta.id);
    this.#byId.delete(region.meta.id);
    this.#unindex(region);
  }

  #index(region: RegionInfo): void {
    indexRegion(this.#stores, region, 1);
    this.#sizeMib += region.sizeMib;
    if (!region.fromStorage) this.#freshCount += 1;
  }

  #unindex(region: RegionInfo): void {
    indexRegion(this.#stores, region, -1);
    this.#sizeMib -= region.sizeMib;
    if (!region.fromStorage) this.#freshCount -= 1;
  }
}

const NO_REGIONS = new StoreRegions();

const staleText = (region: RegionInfo, origin: RegionInfo): string =>
  `region is stale: region ${describeMeta(region.meta)} origin ${describeMeta(origin.meta)}`;

export const describeMeta = (meta: RegionMeta): string =>
  `id:${meta.id} region_epoch:<conf_ver:${meta.epoch.confVer} version:${meta.epoch.version} >`;
