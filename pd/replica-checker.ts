/**
 * Keeps every region at `max-replicas` voters on good stores: leaves joint state, promotes or removes learners that
 * were left over, replaces peers of down and leaving stores, adds what is missing, removes what is too much, and
 * moves replicas apart. One plan at a time per region, the most urgent first. (pd-rules 8.9, 8.11, 8.13)
 *
 * A peer is down only if its leader says so and PD has not heard from its store for `max-store-down-time`: either
 * alone may be a fault of the network between two of them.
 */
import { type CheckResult, HEALTHY, noStore, planned, waiting } from "./checkers/check-result.js";
import { leaveJointState } from "./checkers/joint-state-checker.js";
import { OperatorBuilder } from "./operator-builder.js";
import { isInJointState, isUnhealthy, peerOnStore, type RegionInfo, voters } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import { placementText } from "./store-problems.js";
import { demandOfConfig, selectPeerToRemove, selectStoreToAdd } from "./store-selector.js";

export class ReplicaChecker {
  readonly #view: SchedulingView;

  constructor(view: SchedulingView) {
    this.#view = view;
  }

  /** `mayPromote`: learners that are ready become voters, the learner checker's part. */
  check(region: RegionInfo, mayPromote = true): CheckResult {
    if (region.leader === undefined) return waiting("the region has no leader");
    if (isInJointState(region.meta)) return leaveJointState(this.#view, region);
    const checks: readonly (() => CheckResult)[] = [
      () => this.#down(region),
      () => this.#offline(region),
      () => this.#learners(region, mayPromote),
      () => this.#missing(region),
      () => this.#extra(region),
      () => this.#location(region),
    ];
    let blocked: CheckResult = HEALTHY;
    for (const check of checks) {
      const result = check();
      if (result.kind === "operator") return result;
      if (result.kind === "waiting" && blocked.kind === "healthy") blocked = result;
    }
    return blocked;
  }

  get #maxReplicas(): number {
    return this.#view.config.maxReplicas;
  }

  #down(region: RegionInfo): CheckResult {
    if (!this.#view.config.flag("schedule.enable-remove-down-replica")) return HEALTHY;
    for (const { peer } of region.downPeers) {
      const store = this.#view.store(peer.storeId);
      if (store === undefined || peerOnStore(region, peer.storeId)?.id !== peer.id) continue;
      if (this.#view.isDown(store)) return this.#fix(region, peer.storeId, "down");
    }
    return HEALTHY;
  }

  #offline(region: RegionInfo): CheckResult {
    if (!this.#view.config.flag("schedule.enable-replace-offline-replica")) return HEALTHY;
    for (const peer of region.meta.peers) {
      const store = this.#view.store(peer.storeId);
      // A store that PD does not know: PD may have lost data itself, and must not act on that.
      if (store === undefined || store.isUp) continue;
      return this.#fix(region, peer.storeId, "offline");
    }
    return HEALTHY;
  }

  /** With too many voters the peer is removed, else replaced, never first removed. */
  #fix(region: RegionInfo, storeId: number, status: "down" | "offline"): CheckResult {
    const isLearner = peerOnStore(region, storeId)?.role === "learner";
    if (isLearner || voters(region).length > this.#maxReplicas) {
      const builder = new OperatorBuilder(this.#view, `remove-extra-${status}-replica`, region);
      return planned(builder.removePeer(storeId).build(["replica"], "high"));
    }
    const beside = this.#view.storesOf(region, storeId);
    const selection = selectStoreToAdd(this.#view, region, beside);
    if (selection.kind !== "store")
      return noStore(selection, `to replace the ${status} peer on store ${storeId}`, () =>
        placementText(this.#view, region, beside, demandOfConfig(this.#view)),
      );
    const builder = new OperatorBuilder(this.#view, `replace-${status}-replica`, region);
    builder.addPeer(selection.store.id, "voter").removePeer(storeId);
    return planned(builder.build(["replica"], "high"));
  }

  /** A plan that ended half-way leaves a learner: finish it while voters are missing, else take it away. */
  #learners(region: RegionInfo, mayPromote: boolean): CheckResult {
    const learner = region.meta.peers.find((peer) => peer.role === "learner");
    if (learner === undefined) return HEALTHY;
    if (voters(region).length >= this.#maxReplicas) {
      const builder = new OperatorBuilder(this.#view, "remove-orphan-peer", region);
      return planned(builder.removePeer(learner.storeId).build(["replica"]));
    }
    if (!mayPromote) return waiting("the learner checker is paused");
    if (isUnhealthy(region, learner.id)) return waiting(`learner ${learner.id} is not ready`);
    const builder = new OperatorBuilder(this.#view, "promote-learner", region);
    return planned(builder.promoteLearner(learner.storeId).build(["replica"], "high"));
  }

  #missing(region: RegionInfo): CheckResult {
    if (!this.#view.config.flag("schedule.enable-make-up-replica")) return HEALTHY;
    if (region.meta.peers.length >= this.#maxReplicas) return HEALTHY;
    const beside = this.#view.storesOf(region);
    const selection = selectStoreToAdd(this.#view, region, beside);
    if (selection.kind !== "store")
      return noStore(selection, "to add a replica", () =>
        placementText(this.#view, region, beside, demandOfConfig(this.#view)),
      );
    const builder = new OperatorBuilder(this.#view, "make-up-replica", region);
    return planned(builder.addPeer(selection.store.id, "voter").build(["replica"], "high"));
  }

  #extra(region: RegionInfo): CheckResult {
    if (!this.#view.config.flag("schedule.enable-remove-extra-replica")) return HEALTHY;
    const all = voters(region);
    if (all.length <= this.#maxReplicas) return HEALTHY;
    const storeId = selectPeerToRemove(
      this.#view,
      region,
      all.map((peer) => peer.storeId),
    );
    const builder = new OperatorBuilder(this.#view, "remove-extra-replica", region);
    return planned(builder.removePeer(storeId).build(["replica"]));
  }

  /** Only a strictly better place, so that two equal ones do not take turns. */
  #location(region: RegionInfo): CheckResult {
    const view = this.#view;
    if (!view.config.flag("schedule.enable-location-replacement")) return HEALTHY;
    if (!view.hasLocations() || !view.isReplicated(region)) return HEALTHY;
    if (region.downPeers.length > 0 || region.pendingPeers.length > 0) return HEALTHY;
    const source = selectPeerToRemove(
      view,
      region,
      region.meta.peers.map((peer) => peer.storeId),
    );
    const sourceStore = view.store(source);
    if (sourceStore === undefined) return HEALTHY;
    const beside = view.storesOf(region, source);
    const present = view.locationScore(beside, sourceStore);
    const better = (store: Parameters<typeof view.locationScore>[1]): boolean =>
      view.locationScore(beside, store) > present;
    const selection = selectStoreToAdd(view, region, beside, { ...demandOfConfig(view), accept: better });
    if (selection.kind !== "store") return HEALTHY;
    const builder = new OperatorBuilder(view, "move-to-better-location", region);
    builder.addPeer(selection.store.id, "voter").removePeer(source);
    return planned(builder.build(["replica"]));
  }
}
