/**
 * Spreads the regions of a group evenly by counting what it has placed, not by size: the regions of a table that is
 * being loaded are empty, and only counting spreads them. Each peer keeps its role, and goes only where its placement
 * rule lets it stand. (pd-rules 5.10 to 5.17)
 */
import type { OperatorController } from "./operator-controller.js";
import { OperatorBuilder } from "./operator-builder.js";
import { priorityLevel } from "./operator.js";
import type { RegionFit } from "./placement/fit.js";
import { isVoter, type Peer, peerOnStore, type RegionInfo } from "./region-info.js";
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

/** Where a peer goes; it stays when that is its own store. */
interface Placement {
  readonly peer: Peer;
  readonly storeId: number;
}

export class RegionScatterer {
  readonly #controller: OperatorController;
  readonly #groups = new Map<string, GroupCounts>();
  readonly #isHot: (regionId: number) => boolean;
  readonly #onUnreplicated: (regionId: number) => void;

  constructor(
    controller: OperatorController,
    isHot: (regionId: number) => boolean,
    onUnreplicated: (regionId: number) => void,
  ) {
    this.#controller = controller;
    this.#isHot = isHot;
    this.#onUnreplicated = onUnreplicated;
  }

  scatter(region: RegionInfo, groupName = "", skipStoreLimit = false): ScatterResult {
    const { id } = region.meta;
    const done = this.#hindrance(region, groupName);
    if (done !== undefined) return done;
    const group = this.#group(groupName);
    const placements = this.#choosePeers(region, group);
    const leader = this.#chooseLeader(region, placements, group);
    if (leader === undefined) return refused(`region ${id} has no store that may lead it`);
    const stores = placements.map(({ storeId }) => storeId);
    const stays = placements.every(({ peer, storeId }) => peer.storeId === storeId);
    if (stays && leader === region.leader?.storeId) {
      count(group, stores, leader);
      return { kind: "nothing" };
    }
    const built = this.#plan(region, placements, leader, groupName, skipStoreLimit);
    if (built.kind === "refused") {
      const present = region.meta.peers.map((peer) => peer.storeId);
      count(group, present, region.leader?.storeId ?? 0);
      return built;
    }
    const reason = this.#controller.add(built.operator);
    if (reason !== undefined) return refused(reason);
    count(group, stores, leader);
    return { kind: "started" };
  }

  /** Why nothing is to be done, or nothing can be. (5.12) */
  #hindrance(region: RegionInfo, groupName: string): ScatterResult | undefined {
    const { id } = region.meta;
    if (!this.#controller.view.isReplicated(region)) {
      this.#onUnreplicated(id);
      return refused(`region ${id} is not fully replicated`);
    }
    const running = this.#controller.operator(id);
    if (running !== undefined && priorityLevel(running.priority) >= priorityLevel("high")) {
      const isOurs = running.desc === SCATTER_DESC && running.details["group"] === groupName;
      return isOurs ? { kind: "nothing" } : refused(`the operator of region ${id} already exist`);
    }
    if (region.leader === undefined) return refused(`region ${id} has no leader`);
    return this.#isHot(id) ? refused(`region ${id} is hot`) : undefined;
  }

  #plan(
    region: RegionInfo,
    placements: readonly Placement[],
    leader: number,
    group: string,
    skipStoreLimit: boolean,
  ): ReturnType<OperatorBuilder["build"]> {
    const builder = new OperatorBuilder(this.#controller.view, SCATTER_DESC, region, {
      forceLeader: true,
      storeLimit: skipStoreLimit ? "none" : "removals",
      details: { group },
    });
    const moved = placements.filter(({ peer, storeId }) => peer.storeId !== storeId);
    for (const { peer } of moved) builder.removePeer(peer.storeId);
    for (const { peer, storeId } of moved) builder.addPeer(storeId, isVoter(peer) ? "voter" : "learner");
    return builder.setLeader(leader).build(["admin"], "high");
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

  /**
   * One store for each peer: the one that has taken least of the group so far, the old one if it is as good. Where
   * that is the store of another peer, that one stays and this one chooses again. (5.14)
   */
  #choosePeers(region: RegionInfo, group: GroupCounts): Placement[] {
    const chosen = new Map<number, Placement>();
    for (const peer of region.meta.peers) {
      if (chosen.has(peer.storeId)) continue;
      const isSafe = this.#controller.view.safeguard(region, peer.storeId);
      for (;;) {
        const storeId = this.#best(peer.storeId, chosen, isSafe, group);
        const other = storeId === peer.storeId ? undefined : peerOnStore(region, storeId);
        chosen.set(storeId, { peer: other ?? peer, storeId });
        if (other === undefined) break;
      }
    }
    return [...chosen.values()];
  }

  #best(
    old: number,
    chosen: ReadonlyMap<number, unknown>,
    isSafe: (store: StoreInfo) => boolean,
    group: GroupCounts,
  ): number {
    const { view } = this.#controller;
    let best = old;
    for (const store of view.stores()) {
      if (placed(group, store.id) >= placed(group, best) || chosen.has(store.id)) continue;
      if (view.regionTargetProblem(store) !== undefined) continue;
      if (store.isDisconnected(view.nowMs()) || store.isBusy || !isSafe(store)) continue;
      best = store.id;
    }
    return best;
  }

  /** The old leader if it is as good: a transfer that gains nothing is not made. (5.15) */
  #chooseLeader(
    region: RegionInfo,
    placements: readonly Placement[],
    group: GroupCounts,
  ): number | undefined {
    const { view } = this.#controller;
    const fit = view.usesRules ? view.fit(region) : undefined;
    const old = region.leader?.storeId ?? 0;
    const led = (storeId: number): number => group.leaders.get(storeId) ?? 0;
    const candidates = placements.filter(({ peer }) => mayLead(fit, peer)).map(({ storeId }) => storeId);
    let best = candidates.includes(old) ? old : undefined;
    for (const storeId of candidates) {
      const store = view.store(storeId);
      if (store === undefined || view.leaderTargetProblem(store) !== undefined) continue;
      if (best === undefined || led(storeId) < led(best)) best = storeId;
    }
    return best;
  }
}

const refused = (reason: string): ScatterResult & { readonly kind: "refused" } => ({
  kind: "refused",
  reason,
});

/** By its role, and by the rule that it serves. */
function mayLead(fit: RegionFit | undefined, peer: Peer): boolean {
  if (!isVoter(peer) || peer.role === "demotingVoter" || peer.isWitness) return false;
  const role = fit?.fitOf(peer.storeId)?.rule.role;
  return fit === undefined || role === "voter" || role === "leader";
}

const placed = (group: GroupCounts, storeId: number): number => group.peers.get(storeId) ?? 0;

function count(group: GroupCounts, stores: readonly number[], leader: number): void {
  for (const storeId of stores) group.peers.set(storeId, placed(group, storeId) + 1);
  group.leaders.set(leader, (group.leaders.get(leader) ?? 0) + 1);
}
