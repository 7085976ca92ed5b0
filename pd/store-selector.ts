/**
 * Chooses stores for peers: first the places that keep replicas apart, then the emptiest of them.
 * (pd-rules 7.29 to 7.36)
 */
import type { RegionInfo } from "./region-info.js";
import { peerOnStore } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import { locationScore, type StoreInfo } from "./store-info.js";

export type Selection =
  | { readonly kind: "store"; readonly store: StoreInfo }
  /** The best stores cannot take a peer just now: wait. */
  | { readonly kind: "later" }
  | { readonly kind: "none" };

/** How far apart replicas shall stand, and which stores may hold them at all. */
export interface PlacementDemand {
  readonly locationLabels: readonly string[];
  /** Empty: no demand. */
  readonly isolationLevel: string;
  /** Besides the state of the store: the constraints of a rule, a better place than now. */
  readonly accept?: (store: StoreInfo) => boolean;
}

/** Demands of the settings, for clusters without placement rules. */
export const demandOfConfig = (view: SchedulingView): PlacementDemand => ({
  locationLabels: view.config.locationLabels,
  isolationLevel: view.config.text("replication.isolation-level"),
});

/**
 * Two stages: the first ignores what will pass and keeps the stores with the best location, the second drops what is
 * busy now. A briefly busy best store must delay the placement, not displace it.
 */
export function selectStoreToAdd(
  view: SchedulingView,
  region: RegionInfo,
  beside: readonly StoreInfo[],
  demand: PlacementDemand = demandOfConfig(view),
): Selection {
  let bestLocation = -1;
  let best: StoreInfo[] = [];
  for (const store of view.stores()) {
    if (peerOnStore(region, store.id) !== undefined) continue;
    const problem = view.regionTargetProblem(store);
    if (problem !== undefined) {
      view.leftOut("target", view.usesRules ? "rule-checker" : "replica-checker", store.id, problem);
      continue;
    }
    if (demand.accept !== undefined && !demand.accept(store)) continue;
    if (!isolates(demand, beside, store)) continue;
    const location = locationScore(demand.locationLabels, beside, store);
    if (location > bestLocation) {
      bestLocation = location;
      best = [];
    }
    if (location === bestLocation) best.push(store);
  }
  if (best.length === 0) return { kind: "none" };
  const influence = view.influenceNow();
  const ready = best.filter((store) => view.temporaryTargetProblem(store) === undefined);
  if (ready.length === 0) return { kind: "later" };
  const score = (store: StoreInfo): number => view.regionScore(store, influence);
  return { kind: "store", store: ready.reduce((left, right) => (score(right) < score(left) ? right : left)) };
}

/** Whether the isolation level lets `store` stand beside the others. (7.32) */
export function isolates(demand: PlacementDemand, others: readonly StoreInfo[], store: StoreInfo): boolean {
  if (demand.isolationLevel === "") return true;
  const until = demand.locationLabels.indexOf(demand.isolationLevel) + 1;
  const keys = demand.locationLabels.slice(0, until);
  return others.every((other) => keys.some((key) => store.label(key) !== other.label(key)));
}

/**
 * Which voter to give up: an unhealthy one before all others, because giving up a healthy one could cost the quorum;
 * then the one that adds least to the location, then the fullest store. The leader only if nothing else is left.
 */
export function selectPeerToRemove(
  view: SchedulingView,
  region: RegionInfo,
  storeIds: readonly number[],
  locationLabels: readonly string[] = view.config.locationLabels,
): number {
  const influence = view.influenceNow();
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
      locationScore(
        locationLabels,
        storeIds.flatMap((other) => (other === storeId ? [] : (view.store(other) ?? []))),
        store,
      ),
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
