/**
 * Empties stores of leaders, before a restart or because they serve badly: no leader comes in any more, and those there
 * leave in batches, regions that are healthy first. (pd-rules 9.40)
 */
import type { Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { isUnhealthy, type RegionInfo } from "./region-info.js";
import type { Scheduler, SchedulerHost } from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";

export const EVICT_LEADER = "evict-leader-scheduler";
export const EVICT_BATCH = 3;

export class EvictLeader implements Scheduler {
  readonly name = EVICT_LEADER;
  readonly kind = "leader";
  readonly #host: SchedulerHost;
  readonly #stores = new Map<number, StoreInfo>();

  constructor(host: SchedulerHost) {
    this.#host = host;
  }

  get storeIds(): number[] {
    return [...this.#stores.keys()];
  }

  /** False when the store is unknown or already empties. */
  addStore(store: StoreInfo): boolean {
    if (this.#stores.has(store.id)) return false;
    this.#stores.set(store.id, store);
    store.leaderInPauses += 1;
    return true;
  }

  removeStore(storeId: number): boolean {
    const store = this.#stores.get(storeId);
    if (store === undefined) return false;
    this.#stores.delete(storeId);
    store.leaderInPauses = Math.max(0, store.leaderInPauses - 1);
    this.#host.notes.clear("store", storeId, this.name);
    return true;
  }

  stop(): void {
    for (const id of this.storeIds) this.removeStore(id);
  }

  run(): number {
    let started = 0;
    for (const storeId of this.storeIds) {
      for (const healthy of [true, false]) {
        if (started < EVICT_BATCH) started += this.#evict(storeId, healthy, EVICT_BATCH - started);
      }
    }
    return started;
  }

  #evict(storeId: number, healthy: boolean, most: number): number {
    const { controller, notes } = this.#host;
    const { view } = controller;
    let started = 0;
    for (const id of [...view.cluster.regions.onStore(storeId).leaders.values()]) {
      if (started >= most) break;
      const region = view.cluster.regions.byId(id);
      if (region === undefined || controller.operator(id)?.priority === "urgent") continue;
      const isHealthy = region.pendingPeers.length === 0 && region.downPeers.length === 0;
      if (isHealthy !== healthy) continue;
      const operator = this.#plan(region, storeId);
      if (typeof operator === "string") {
        notes.note("region", id, this.name, operator);
        continue;
      }
      const refused = controller.add(operator);
      if (refused === undefined) {
        notes.clear("region", id, this.name);
        started += 1;
      } else {
        notes.note("region", id, this.name, refused);
      }
    }
    return started;
  }

  /** Names every store that may lead, so that the leader's store may choose who has caught up most. */
  #plan(region: RegionInfo, from: number): Operator | string {
    const { view } = this.#host.controller;
    const candidates: number[] = [];
    for (const peer of region.meta.peers) {
      if (peer.storeId === from || peer.role !== "voter" || isUnhealthy(region, peer.id)) continue;
      const store = view.store(peer.storeId);
      if (store !== undefined && view.leaderTargetProblem(store) === undefined) candidates.push(peer.storeId);
    }
    const target = candidates.reduce(
      (best, id) => (best === 0 || view.leaderCount(id) < view.leaderCount(best) ? id : best),
      0,
    );
    if (target === 0) return `no other store may lead instead of store ${from}`;
    const brief =
      `evict leader: from store ${from} to one in [${candidates.join(" ")}], ` +
      `or to ${target} (for compatibility)`;
    const built = new OperatorBuilder(view, this.name, region)
      .setLeader(target, candidates)
      .build(["leader"], "urgent", brief);
    return built.kind === "built" ? built.operator : built.reason;
  }
}
