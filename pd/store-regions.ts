/**
 * Which regions have which kind of peer on a store, with running totals and a random choice in constant time.
 * A voter is in `leaders` or `followers`; pending peers are in `pending` as well. (pd-rules 4.14)
 */
import { IdSet } from "./id-set.js";
import type { RegionInfo } from "./region-info.js";

export type PeerKind = "leader" | "follower" | "learner" | "pending";

export class StoreRegions {
  readonly leaders: IdSet = new IdSet();
  readonly followers: IdSet = new IdSet();
  readonly learners: IdSet = new IdSet();
  readonly pending: IdSet = new IdSet();
  leaderSizeMib = 0;
  leaderKeys = 0;
  regionSizeMib = 0;
  regionKeys = 0;
  /** Regions reported by a heartbeat since PD's start. */
  freshCount = 0;

  get regionCount(): number {
    return this.leaders.size + this.followers.size + this.learners.size;
  }

  set(kind: PeerKind): IdSet {
    switch (kind) {
      case "leader":
        return this.leaders;
      case "follower":
        return this.followers;
      case "learner":
        return this.learners;
      case "pending":
        return this.pending;
    }
  }
}

/** The figures alone of a record whose peers, leader and pending peers are as before: by how much they grew. */
export function adjustFigures(
  stores: ReadonlyMap<number, StoreRegions>,
  region: RegionInfo,
  sizeMib: number,
  keys: number,
  fresh: number,
): void {
  for (const peer of region.meta.peers) {
    const store = stores.get(peer.storeId);
    if (store === undefined) continue;
    if (region.leader?.id === peer.id) {
      store.leaderSizeMib += sizeMib;
      store.leaderKeys += keys;
    }
    store.regionSizeMib += sizeMib;
    store.regionKeys += keys;
    store.freshCount += fresh;
  }
}

/** Adds (`sign` 1) or takes away (-1) one record from the indexes of all its stores. */
export function indexRegion(stores: Map<number, StoreRegions>, region: RegionInfo, sign: 1 | -1): void {
  const { id } = region.meta;
  const update = (set: IdSet): void => (sign === 1 ? set.add(id) : set.delete(id));
  for (const peer of region.meta.peers) {
    let store = stores.get(peer.storeId);
    if (store === undefined) {
      store = new StoreRegions();
      stores.set(peer.storeId, store);
    }
    const leads = region.leader?.id === peer.id;
    if (peer.role === "learner") update(store.learners);
    else update(leads ? store.leaders : store.followers);
    if (leads) {
      store.leaderSizeMib += sign * region.sizeMib;
      store.leaderKeys += sign * region.keys;
    }
    store.regionSizeMib += sign * region.sizeMib;
    store.regionKeys += sign * region.keys;
    if (!region.fromStorage) store.freshCount += sign;
  }
  for (const peer of region.pendingPeers) {
    const store = stores.get(peer.storeId);
    if (store !== undefined) update(store.pending);
  }
}
