/** How often stores were left out, by whom and why, under PD's names of its filters. (pd-rules 7.43 to 7.46) */
import type { PdMetrics } from "./metrics.js";

export type FilterSide = "source" | "target";

const FILTERS: Readonly<Record<string, string>> = {
  StoreRemoved: "store-state-tombstone-filter",
  StoreRemoving: "store-state-offline-filter",
  StoreDown: "store-state-down-filter",
  StoreDisconnected: "store-state-disconnect-filter",
  StoreBusy: "store-state-busy-filter",
  StoreRejectLeader: "store-state-reject-leader-filter",
  StoreRemovePeerThrottled: "store-state-exceed-remove-limit-filter",
  StoreAddPeerThrottled: "store-state-exceed-add-limit-filter",
  StoreSnapshotThrottled: "store-state-too-many-snapshots-filter",
  StorePendingPeerThrottled: "store-state-too-many-pending-peers-filter",
  StoreLowSpace: "storage-threshold-filter",
  StoreSpecialUse: "special-use-filter",
  StoreAlreadyHasPeer: "exclude-filter",
  StoreNotMatchRule: "rule-fit-filter",
  StoreNotMatchIsolation: "isolation-filter",
};

/** Asked for each store and region: what was counted once is found without a key. */
export class FilterFigures {
  readonly #metrics: PdMetrics;
  readonly #name: string;
  readonly #side: FilterSide;
  readonly #counters = new Map<string, Map<string, Map<number, { value: number }>>>();

  constructor(metrics: PdMetrics, side: FilterSide) {
    this.#metrics = metrics;
    this.#side = side;
    this.#name = `pd_schedule_${side}_filter`;
  }

  /** `scope`: the scheduler or checker that looked; a reason that is no filter of PD's is not counted. */
  count(scope: string, storeId: number, reason: string): void {
    const type = FILTERS[reason];
    if (type === undefined) return;
    let ofScope = this.#counters.get(scope);
    if (ofScope === undefined) {
      ofScope = new Map();
      this.#counters.set(scope, ofScope);
    }
    let ofType = ofScope.get(type);
    if (ofType === undefined) {
      ofType = new Map();
      ofScope.set(type, ofType);
    }
    let counter = ofType.get(storeId);
    if (counter === undefined) {
      counter = this.#metrics.counter(this.#name, { scope, type, [this.#side]: String(storeId) });
      ofType.set(storeId, counter);
    }
    counter.value += 1;
  }
}
