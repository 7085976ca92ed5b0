/**
 * Spreads the regions of a group evenly by counting what it has placed, not by size: the regions of a table that is
 * being loaded are empty, and only counting spreads them. (pd-rules 5.10 to 5.17)
 */
import type { OperatorController } from "./operator-controller.js";
import { OperatorBuilder } from "./operator-builder.js";
import { priorityLevel } from "./operator.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import type { StoreInfo } from "./store-info.js";

export type ScatterResult =
  | { readonly kind: "started" }
  /** The region stands well already, or is under way. */
  | { readonly kind: "nothing" }
  | { readonly kind: "refused"; readonly reason: string };

const SCATTER_DESC = "scatter-region";
const GROUP_KEPT_MS = 180_000;

interface GroupCounts {
  readonly peers: Map<number, number>;
  readonly leaders: Map<number, number>;
  usedMs: number;
}

export class RegionScatterer {
  readonly #controller: OperatorController;
  readonly #groups = new Map<string, GroupCounts>();
  readonly #onUnreplicated: (regionId: number) => void;

  constructor(controller: OperatorController, onUnreplicated: (regionId: number) => void) {
    this.#controller = controller;
    this.#onUnreplicated = onUnreplicated;
  }

  scatter(region: RegionInfo, groupName = "", skipStoreLimit = false): ScatterResult {
    const { view } = this.#controller;
    const { id } = region.meta;
    if (!view.isReplicated(region)) {
      this.#onUnreplicated(id);
      return { kind: "refused", reason: `region ${id} is not fully replicated` };
    }
    const running = this.#controller.operator(id);
    if (running?.desc === SCATTER_DESC) return { kind: "nothing" };
    if (running !== undefined && priorityLevel(running.priority) >= priorityLevel("high")) {
      return { kind: "refused", reason: `the operator of region ${id} already exist` };
    }
    if (region.leader === undefined) return { kind: "refused", reason: `region ${id} has no leader` };
    const group = this.#group(groupName);
    const stores = this.#choosePeers(region, group);
    const leader = this.#chooseLeader(region, stores, group);
    const stays = stores.every((storeId) => peerOnStore(region, storeId) !== undefined);
    if (stays && leader === region.leader.storeId) {
      count(group, stores, leader);
      return { kind: "nothing" };
    }
    const options = { forceLeader: true, ignoresStoreLimit: skipStoreLimit };
    const builder = new OperatorBuilder(view, SCATTER_DESC, region, options);
    for (const peer of region.meta.peers)
      if (!stores.includes(peer.storeId)) builder.removePeer(peer.storeId);
    for (const storeId of stores) {
      if (peerOnStore(region, storeId) === undefined) builder.addPeer(storeId, "voter");
    }
    const built = builder.setLeader(leader).build(["admin"], "high");
    if (built.kind === "refused") {
      count(
        group,
        region.meta.peers.map((peer) => peer.storeId),
        region.leader.storeId,
      );
      return built;
    }
    const refused = this.#controller.add(built.operator);
    if (refused !== undefined) return { kind: "refused", reason: refused };
    count(group, stores, leader);
    return { kind: "started" };
  }

  #group(name: string): GroupCounts {
    const nowMs = this.#controller.view.nowMs();
    for (const [other, group] of this.#groups) {
      if (nowMs - group.usedMs > GROUP_KEPT_MS) this.#groups.delete(other);
    }
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { peers: new Map(), leaders: new Map(), usedMs: nowMs };
      this.#groups.set(name, group);
    }
    group.usedMs = nowMs;
    return group;
  }

  /** One store for each peer; a store that has given least to the group so far, the old one if it is as good. */
  #choosePeers(region: RegionInfo, group: GroupCounts): number[] {
    const chosen: number[] = [];
    const waiting = region.meta.peers.map((peer) => peer.storeId);
    for (let old = waiting.shift(); old !== undefined; old = waiting.shift()) {
      const own = chosen.includes(old) ? undefined : old;
      const best = this.#best(region, old, chosen, group);
      const keep = own !== undefined && (best === undefined || placed(group, own) <= placed(group, best));
      const target = keep ? own : best;
      if (target !== undefined) chosen.push(target);
    }
    return chosen;
  }

  #best(region: RegionInfo, old: number, chosen: readonly number[], group: GroupCounts): number | undefined {
    const { view } = this.#controller;
    const beside = view.storesOf(region, old);
    const oldStore = view.store(old);
    const present = oldStore === undefined ? -1 : view.locationScore(beside, oldStore);
    let best: StoreInfo | undefined;
    for (const store of view.stores()) {
      if (chosen.includes(store.id) || view.regionTargetProblem(store) !== undefined) continue;
      if (store.isDisconnected(view.nowMs()) || store.isBusy) continue;
      if (
        view.locationScore(
          beside.filter((other) => other !== store),
          store,
        ) < present
      )
        continue;
      if (best === undefined || placed(group, store.id) < placed(group, best.id)) best = store;
    }
    return best?.id;
  }

  /** The old leader if it is as good: a transfer that gains nothing is not made. */
  #chooseLeader(region: RegionInfo, stores: readonly number[], group: GroupCounts): number {
    const { view } = this.#controller;
    const old = region.leader?.storeId ?? 0;
    const led = (storeId: number): number => group.leaders.get(storeId) ?? 0;
    let best = stores.includes(old) ? old : 0;
    for (const storeId of stores) {
      const store = view.store(storeId);
      if (store === undefined || view.leaderTargetProblem(store) !== undefined) continue;
      if (best === 0 || led(storeId) < led(best)) best = storeId;
    }
    return best === 0 ? (stores[0] ?? 0) : best;
  }
}

const placed = (group: GroupCounts, storeId: number): number => group.peers.get(storeId) ?? 0;

function count(group: GroupCounts, stores: readonly number[], leader: number): void {
  for (const storeId of stores) group.peers.set(storeId, placed(group, storeId) + 1);
  group.leaders.set(leader, (group.leaders.get(leader) ?? 0) + 1);
}
