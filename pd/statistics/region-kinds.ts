/**
 * Regions that need attention, by what is wrong with them, kept up with the heartbeats; and how far apart the
 * replicas of all regions stand. (pd-rules 10.15 to 10.17)
 */
import { EMPTY_REGION_SIZE_MIB, type RegionInfo } from "../region-info.js";
import { IdSet } from "../id-set.js";
import type { SchedulingView } from "../scheduling-view.js";

export const REGION_KINDS = [
  "miss-peer",
  "extra-peer",
  "down-peer",
  "pending-peer",
  "offline-peer",
  "learner-peer",
  "empty-region",
  "oversized-region",
  "undersized-region",
] as const;
export type RegionKind = (typeof REGION_KINDS)[number];

const KEYS_PER_MIB = 10_000;

/** Bits in the order of `REGION_KINDS`. */
export function kindBits(view: SchedulingView, region: RegionInfo): number {
  const { meta } = region;
  const wanted = wantedPeers(view, region);
  let bits = 0;
  if (wanted > 0 && meta.peers.length < wanted) bits |= 1;
  if (wanted > 0 && meta.peers.length > wanted) bits |= 2;
  if (region.downPeers.length > 0) bits |= 4;
  if (region.pendingPeers.length > 0) bits |= 8;
  for (const peer of meta.peers) {
    if (peer.role === "learner") bits |= 32;
    if (view.store(peer.storeId)?.isRemoving === true) bits |= 16;
  }
  if (region.sizeMib <= EMPTY_REGION_SIZE_MIB) bits |= 64;
  const { maxMib, maxKeys } = view.config.regionSizes;
  if (region.sizeMib >= maxMib || region.keys >= maxKeys) bits |= 128;
  if (isUndersized(view, region)) bits |= 256;
  return bits;
}

/** 0 while the region lies across borders of rules. */
function wantedPeers(view: SchedulingView, region: RegionInfo): number {
  if (!view.usesRules) return view.config.maxReplicas;
  let sum = 0;
  for (const rule of view.cluster.rules.appliedTo(region.meta)) sum += rule.count;
  return sum;
}

/** As small as what would be merged. */
export function isUndersized(view: SchedulingView, region: RegionInfo): boolean {
  const sizeMib = view.config.number("schedule.max-merge-region-size");
  const keys = view.config.number("schedule.max-merge-region-keys") || sizeMib * KEYS_PER_MIB;
  return region.sizeMib <= sizeMib && region.keys <= keys;
}

export class RegionKinds {
  readonly #view: SchedulingView;
  readonly #sets: readonly Set<number>[] = REGION_KINDS.map(() => new Set<number>());
  /** Kinds of regions that have any. */
  readonly #bits = new Map<number, number>();
  /** Each region in the set of its level. */
  readonly #levels = new Map<string, IdSet>();

  constructor(view: SchedulingView) {
    this.#view = view;
  }

  observe(region: RegionInfo): void {
    const { id } = region.meta;
    this.#setBits(id, kindBits(this.#view, region));
  }

  /** Levels cost more than kinds and change with the peers only. */
  observeIsolation(region: RegionInfo): void {
    const { id } = region.meta;
    const level = isolationLevelOf(this.#view, region);
    let ids = this.#levels.get(level);
    if (ids === undefined) {
      ids = new IdSet();
      this.#levels.set(level, ids);
    }
    if (ids.has(id)) return;
    this.#forgetLevel(id);
    ids.add(id);
  }

  #forgetLevel(id: number): void {
    for (const ids of this.#levels.values()) ids.delete(id);
  }

  forget(regionId: number): void {
    this.#setBits(regionId, 0);
    this.#forgetLevel(regionId);
  }

  ids(kind: RegionKind): ReadonlySet<number> {
    return this.#sets[REGION_KINDS.indexOf(kind)] as Set<number>;
  }

  has(kind: RegionKind, regionId: number): boolean {
    return this.ids(kind).has(regionId);
  }

  /** Regions per level at which their replicas are all apart; `none` where some share everything. */
  isolationCounts(): ReadonlyMap<string, number> {
    return new Map([...this.#levels].map(([level, ids]) => [level, ids.size]));
  }

  #setBits(id: number, bits: number): void {
    const old = this.#bits.get(id) ?? 0;
    if (old === bits) return;
    const changed = old ^ bits;
    for (let i = 0; i < REGION_KINDS.length; i++) {
      if ((changed & (1 << i)) === 0) continue;
      if ((bits & (1 << i)) !== 0) this.#sets[i]?.add(id);
      else this.#sets[i]?.delete(id);
    }
    if (bits === 0) this.#bits.delete(id);
    else this.#bits.set(id, bits);
  }
}

/** (10.17) */
export const isolationLevelOf = (view: SchedulingView, region: RegionInfo): string =>
  isolationLevel(view.config.locationLabels, view.storesOf(region));

interface Labelled {
  /** Empty where the store has none. */
  label(key: string): string;
}

/** The first of the labels at which no two of the stores are in the same place; `none` where two share them all. */
export function isolationLevel(locationLabels: readonly string[], stores: readonly Labelled[]): string {
  let groups: (readonly Labelled[])[] = [stores];
  if (stores.length === 1) return locationLabels[0] ?? "none";
  for (const key of locationLabels) {
    groups = groups.flatMap((group) => {
      const shared = group.filter((store) => {
        const own = store.label(key);
        return group.some((other) => {
          if (other === store) return false;
          const value = other.label(key);
          return own === "" || value === "" || own === value;
        });
      });
      if (shared.length < 2) return [];
      const byValue = new Map<string, Labelled[]>();
      for (const store of shared) {
        const value = store.label(key);
        byValue.set(value, [...(byValue.get(value) ?? []), store]);
      }
      // A store without the label is where everybody is.
      if (byValue.has("")) return [shared];
      return [...byValue.values()].filter((together) => together.length >= 2);
    });
    if (groups.length === 0) return key;
  }
  return "none";
}
