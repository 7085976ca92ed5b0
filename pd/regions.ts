/**
 * The map of the key space: tree, ids and per-store indexes, changed only by accepted heartbeats. A heartbeat is
 * accepted by epoch, then term; what overlaps it and is not newer disappears, because after a merge the source
 * vanishes only this way and after a split the old wide record is cut by whichever child reports first.
 * (pd-rules 4.8 to 4.14)
 */
import { EMPTY_BYTES } from "../base/index.js";
import { CompactMeta, keyBytes, keyText } from "./compact-meta.js";
import type { RegionInfo, RegionMeta } from "./region-info.js";
import { regionChange } from "./region-change.js";
import { RegionTable } from "./region-table.js";
import { type KeptRegion, type RegionEntry, RegionTree } from "./region-tree.js";
import { adjustFigures, indexRegion, StoreRegions } from "./store-regions.js";

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
  readonly #byId = new RegionTable();
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
    return this.#byId.get(id)?.region;
  }

  find(key: Uint8Array): RegionInfo | undefined {
    return this.#tree.find(keyText(key));
  }

  *all(): IterableIterator<RegionInfo> {
    for (const { region } of this.#byId.values()) yield region;
  }

  /** From the region containing `start` on; `end` empty is unbounded, `limit` <= 0 is none. */
  scan(start: Uint8Array, end: Uint8Array, limit: number): RegionInfo[] {
    const found: RegionInfo[] = [];
    const endText = keyText(end);
    this.#tree.scan(keyText(start), (region) => {
      if (endText !== "" && region.meta.start >= endText) return false;
      found.push(region);
      return limit <= 0 || found.length < limit;
    });
    return found;
  }

  /** The left neighbour, only if the keys touch. */
  previous(region: RegionInfo): RegionInfo | undefined {
    const { start } = CompactMeta.of(region.meta);
    if (start === "") return undefined;
    const before = this.#tree.before(start);
    return before?.meta.end === start ? before : undefined;
  }

  /** The right neighbour, only if the keys touch. */
  next(region: RegionInfo): RegionInfo | undefined {
    const { end } = CompactMeta.of(region.meta);
    if (end === "") return undefined;
    const after = this.#tree.find(end);
    return after?.meta.start === end ? after : undefined;
  }

  /** Gaps of the key space as [start, end) pairs; an empty end is the end of the key space. */
  holes(): { readonly start: Uint8Array; readonly end: Uint8Array }[] {
    const found: { start: Uint8Array; end: Uint8Array }[] = [];
    let covered: string | undefined = "";
    this.#tree.scan("", ({ meta }) => {
      if (covered !== undefined && covered < meta.start) {
        found.push({ start: keyBytes(covered), end: keyBytes(meta.start) });
      }
      covered = meta.end === "" ? undefined : meta.end;
      return true;
    });
    if (covered !== undefined) found.push({ start: keyBytes(covered), end: EMPTY_BYTES });
    return found;
  }

  onStore(storeId: number): StoreRegions {
    return this.#stores.get(storeId) ?? NO_REGIONS;
  }

  /** Why the record would be refused; undefined when it is acceptable. */
  staleReason(region: RegionInfo): string | undefined {
    return this.#staleReason(
      CompactMeta.of(region.meta),
      region.term,
      this.#byId.get(region.meta.id)?.region,
    );
  }

  #staleReason(meta: CompactMeta, term: number, origin: KeptRegion | undefined): string | undefined {
    // A region made anew by recovery tools starts at epoch 1/1 and must win over what it replaces.
    if (meta.version === 1 && meta.confVer === 1 && !(meta.start === "" && meta.end === "")) return undefined;
    if (origin === undefined || !meta.hasRangeOf(origin.meta)) {
      for (const other of this.#tree.overlaps(meta.start, meta.end)) {
        if (other.meta.version > meta.version) return staleText(meta, other.meta);
      }
    }
    if (origin === undefined) return undefined;
    const older =
      (term > 0 && term < origin.term) ||
      meta.version < origin.meta.version ||
      meta.confVer < origin.meta.confVer;
    return older ? staleText(meta, origin.meta) : undefined;
  }

  put(given: RegionInfo): PutResult {
    const meta = CompactMeta.of(given.meta);
    const entry = this.#byId.get(meta.id);
    const previous = entry?.region;
    const reason = this.#staleReason(meta, given.term, previous);
    if (reason !== undefined) return { kind: "stale", reason };
    // A report without a term (an old store) must not make an older term acceptable again.
    const term = given.term === 0 ? (previous?.term ?? 0) : given.term;
    const isKept = meta === given.meta && term === given.term;
    const region = (isKept ? given : { ...given, meta, term }) as KeptRegion;
    const change = regionChange(previous, region, this.flowDigits);
    if (!change.update && previous !== undefined) {
      return { kind: "accepted", previous, removed: NONE, region: previous, ...change };
    }
    if (entry !== undefined && previous !== undefined && previous.meta.hasRangeOf(meta)) {
      this.#replace(entry, previous, region);
      return { kind: "accepted", previous, removed: NONE, region, save: change.save, sync: change.sync };
    }
    const removed = this.#tree.overlaps(meta.start, meta.end).filter((other) => other.meta.id !== meta.id);
    if (previous !== undefined) {
      this.#tree.remove(previous.meta.start, meta.id);
      this.#unindex(previous);
    }
    for (const other of removed) this.#drop(other);
    this.#shareKeys(meta);
    const added: RegionEntry = { region };
    this.#tree.put(added);
    this.#byId.put(added);
    this.#index(region);
    return { kind: "accepted", previous, removed, region, save: change.save, sync: change.sync };
  }

  /** Another record of the same range. Mostly only figures differ, and then the sets of ids stay as they are. */
  #replace(entry: RegionEntry, previous: KeptRegion, region: KeptRegion): void {
    const { meta } = region;
    if (meta !== previous.meta) {
      meta.start = previous.meta.start;
      meta.end = previous.meta.end;
    }
    entry.region = region;
    const sameSets =
      meta.peers === previous.meta.peers &&
      region.leader?.id === previous.leader?.id &&
      (region.pendingPeers === previous.pendingPeers ||
        region.pendingPeers.length + previous.pendingPeers.length === 0);
    if (!sameSets) {
      this.#unindex(previous);
      return this.#index(region);
    }
    const sizeMib = region.sizeMib - previous.sizeMib;
    const fresh = Number(!region.fromStorage) - Number(!previous.fromStorage);
    adjustFigures(this.#stores, region, sizeMib, region.keys - previous.keys, fresh);
    this.#sizeMib += sizeMib;
    this.#freshCount += fresh;
  }

  /** A border is kept once for both sides of it. */
  #shareKeys(meta: CompactMeta): void {
    const before = this.#tree.before(meta.start);
    if (before?.meta.end === meta.start) meta.start = before.meta.end;
    const after = meta.end === "" ? undefined : this.#tree.find(meta.end);
    if (after?.meta.start === meta.end) meta.end = after.meta.start;
  }

  remove(id: number): RegionInfo | undefined {
    const region = this.#byId.get(id)?.region;
    if (region !== undefined) this.#drop(region);
    return region;
  }

  #drop(region: KeptRegion): void {
    this.#tree.remove(region.meta.start, region.meta.id);
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

const NONE: readonly RegionInfo[] = [];

const NO_REGIONS = new StoreRegions();

const staleText = (meta: CompactMeta, origin: CompactMeta): string =>
  `region is stale: region ${describeMeta(meta)} origin ${describeMeta(origin)}`;

export const describeMeta = (meta: RegionMeta): string =>
  `id:${meta.id} region_epoch:<conf_ver:${meta.epoch.confVer} version:${meta.epoch.version} >`;
