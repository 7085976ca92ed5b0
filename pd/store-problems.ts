/** What keeps a store from taking or giving something, in words: for people who ask why nothing moves. */
import { formatDurationMs } from "./duration.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import { isolates, type PlacementDemand } from "./store-selector.js";
import type { StoreInfo } from "./store-info.js";

const SHOWN_STORES_MAX = 5;

/** A code of the filters, with the setting that decides it. */
export function problemText(view: SchedulingView, store: StoreInfo, code: string): string {
  const { config } = view;
  const silent = `${Math.round(store.silentMs(view.nowMs()) / 1000)} s`;
  const downAfter = formatDurationMs(config.number("schedule.max-store-down-time"));
  const limit = config.storeLimit(store.id);
  switch (code) {
    case "StoreRemoved":
      return "is buried";
    case "StoreRemoving":
      return "is leaving";
    case "StoreDown":
      return `has been silent for ${silent}, longer than max-store-down-time ${downAfter}: its peers are replaced`;
    case "StoreDisconnected":
      return `has been silent for ${silent}: its peers are replaced once that is max-store-down-time ${downAfter}`;
    case "StoreBusy":
      return "says that it is busy";
    case "StoreLowSpace":
      return `is low on space (low-space-ratio ${config.number("schedule.low-space-ratio")})`;
    case "StoreSpecialUse":
      return "is kept for a special use by its label";
    case "StoreAddPeerThrottled":
      return `has used up its add-peer limit of ${limit["add-peer"]} a minute`;
    case "StoreRemovePeerThrottled":
      return `has used up its remove-peer limit of ${limit["remove-peer"]} a minute`;
    case "StoreSnapshotThrottled":
      return `sends or takes more than max-snapshot-count ${config.number("schedule.max-snapshot-count")} snapshots`;
    case "StorePendingPeerThrottled":
      return `has more than max-pending-peer-count ${config.number("schedule.max-pending-peer-count")} pending peers`;
    case "StoreRejectLeader":
      return "takes no leaders: an eviction, a stop, a slow disk or label-property forbids it";
    default:
      return code;
  }
}

/** Why each store is not the one that gets a peer, grouped by reason. */
export function placementText(
  view: SchedulingView,
  region: RegionInfo,
  beside: readonly StoreInfo[],
  demand: PlacementDemand,
): string {
  const byReason = new Map<string, number[]>();
  for (const store of view.stores()) {
    const code = view.regionTargetProblem(store);
    const passing = view.temporaryTargetProblem(store);
    const reason =
      peerOnStore(region, store.id) !== undefined
        ? "has a peer of it already"
        : code !== undefined
          ? problemText(view, store, code)
          : demand.accept?.(store) === false
            ? "does not match the rule, or is no better place"
            : !isolates(demand, beside, store)
              ? `is not apart from the others at level ${demand.isolationLevel}`
              : passing === undefined
                ? "could take it, and stands closer to the others than the best"
                : problemText(view, store, passing);
    byReason.set(reason, [...(byReason.get(reason) ?? []), store.id]);
  }
  return [...byReason]
    .map(([reason, ids]) => {
      const shown = ids.slice(0, SHOWN_STORES_MAX).join(", ");
      const more = ids.length > SHOWN_STORES_MAX ? ` and ${ids.length - SHOWN_STORES_MAX} more` : "";
      return `store ${shown}${more} ${reason}`;
    })
    .join("; ");
}
