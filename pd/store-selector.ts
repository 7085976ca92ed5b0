/**
 * Chooses stores for peers: first the places that keep replicas apart, then the emptiest of them.
 * (pd-rules 7.29 to 7.36)
 */
import type { RegionInfo } from "./region-info.js";
import { peerOnStore } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import type { StoreInfo } from "./store-info.js";

export type Selection =
  | { readonly kind: "store"; readonly store: StoreInfo }
  /** The best stores cannot take a peer just now: wait. */
  | { readonly kind: "later" }
  | { readonly kind: "none" };

/**
 * Two stages: the first ignores what will pass and keeps the stores with the best location, the second drops what is
 * busy now. A briefly busy best store must delay the placement, not displace it.
 */
export function selectStoreToAdd(
  view: SchedulingView,
  region: RegionInfo,
  beside: readonly StoreInfo[],
  accept: (store: StoreInfo) => boolean = () => true,
): Selection {
  let bestLocation = -1;
  let best: StoreInfo[] = [];
  for (const store of view.stores()) {
    if (peerOnStore(region, store.id) !== undefined) continue;
    if (view.regionTargetProblem(store) !== undefined) continue;
    if (!view.isolates(beside, store) || !accept(store)) continue;
    const location = view.locationScore(beside, store);
    if (location > bestLocation) {
      bestLocation = location;
      best = [];
    }
    if (location === bestLocation) best.push(store);
  }
  if (best.length === 0) return { kind: "none" };
  const influence = view.influence();
  const ready = best.filter((store) => view.temporaryTargetProblem(store, region.sizeMib) === undefined);
  if (ready.length === 0) return { kind: "later" };
  const score = (store: StoreInfo): number => view.regionScore(store, influence);
  return { kind: "store", store: ready.reduce((left, right) => (score(right) < score(left) ? right : left)) };
}

/**
 * Which voter to give up: an unhealthy one before all others, because giving up a healthy one could cost the quorum;
 * then the one that adds least to the location, then the fullest store. The leader only if nothing else is left.
 */
export function selectPeerToRemove(
  view: SchedulingView,
  region: RegionInfo,
  storeIds: readonly number[],
): number {
  const influence = view.influence();
  const nowMs = view.nowMs();
  const rank = (storeId: number): readonly number[] => {
    const store = view.store(storeId);
    if (store === undefined) return [0, 0, 0, 0, 0];
    const peer = peerOnStore(region, storeId);
    const down = region.downPeers.some((other) => other.peer.id === peer?.id) || store.isDisconnected(nowMs);
    const pending = region.pendingPeers.some((other) => other.id === peer?.id);
    return [
      down ? 0 : pending ? 1 : 2,
      store.isUp ? 1 : 0,
      view.locationScore(view.storesOf(region, storeId), store),
      region.leader?.storeId === storeId ? 1 : 0,
      -view.regionScore(store, influence),
    ];
  };
  let chosen = 0;
  let chosenRank: readonly number[] = [];
  for (const storeId of storeIds) {
    const own = rank(storeId);
    const i = own.findIndex((value, index) => value !== chosenRank[index]);
    if (chosen === 0 || (i >= 0 && (own[i] as number) < (chosenRank[i] as number))) {
      chosen = storeId;
      chosenRank = own;
    }
  }
  return chosen;
}
