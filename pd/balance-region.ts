/**
 * Evens out the data of stores: one peer a round, from a fuller store to an emptier one that keeps the replicas at
 * least as far apart. Peers that still wait for their snapshot go first, the leader's only after the followers'.
 * (pd-rules 9.24 to 9.27)
 */
import { BalanceSolver } from "./balance-solver.js";
import type { Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import { RetryQuota } from "./retry-quota.js";
import type { Scheduler, SchedulerHost } from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";
import type { PeerKind } from "./store-regions.js";

export const BALANCE_REGION = "balance-region-scheduler";
const PICKS = 10;
const FEW_REGIONS = 100;
const EMPTY_MIB = 1;
const ORDER: readonly PeerKind[] = ["pending", "follower", "leader", "learner"];

export class BalanceRegion implements Scheduler {
  readonly name = BALANCE_REGION;
  readonly kind = "region";
  readonly #host: SchedulerHost;
  readonly #quota = new RetryQuota();

  constructor(host: SchedulerHost) {
    this.#host = host;
  }

  stop(): void {}

  run(): number {
    const { controller, notes } = this.#host;
    const { view } = controller;
    const solver = new BalanceSolver(view, "region");
    const stores = view.stores();
    this.#quota.keepOnly(new Set(stores.map((store) => store.id)));
    // A leaving store is emptied by the replica checker.
    const ranked = stores
      .filter((store) => !store.isRemoving)
      .sort((left, right) => solver.byScore(left, right));
    for (const [i, source] of ranked.slice(0, -1).entries()) {
      const problem = view.regionSourceProblem(source, EMPTY_MIB);
      if (problem !== undefined) {
        notes.note("store", source.id, this.name, `gives no peers: ${problem}`);
        continue;
      }
      const operator = this.#from(source, ranked.slice(i + 1), solver);
      if (operator === undefined) {
        this.#quota.failed(source.id);
        continue;
      }
      const refused = controller.add(operator);
      if (refused === undefined) {
        this.#quota.succeeded(source.id);
        notes.clear("store", source.id, this.name);
        return 1;
      }
      notes.note(
        "store",
        source.id,
        this.name,
        `${operator.brief} of region ${operator.regionId}: ${refused}`,
      );
    }
    return 0;
  }

  #from(source: StoreInfo, below: readonly StoreInfo[], solver: BalanceSolver): Operator | undefined {
    const { notes, controller } = this.#host;
    const worthwhile = below.filter((target) => solver.isWorthwhile(source, target));
    if (worthwhile.length === 0) {
      notes.note(
        "store",
        source.id,
        this.name,
        "balanced: no store is so much emptier that a move is worth it",
      );
      return undefined;
    }
    const tries = this.#quota.of(source.id);
    let reason = "no region on it may move now";
    for (let i = 0; i < tries; i++) {
      const region = this.#pick(source);
      if (region === undefined) break;
      const target = this.#target(region, source, worthwhile, solver);
      if (typeof target === "string") {
        reason = target;
        continue;
      }
      const role = peerOnStore(region, source.id)?.role === "learner" ? "learner" : "voter";
      const builder = new OperatorBuilder(controller.view, this.name, region);
      const built = builder.addPeer(target.id, role).removePeer(source.id).build(["region"]);
      if (built.kind === "built") return built.operator;
      reason = built.reason;
    }
    notes.note("store", source.id, this.name, reason);
    return undefined;
  }

  #pick(source: StoreInfo): RegionInfo | undefined {
    const { view } = this.#host.controller;
    const on = view.cluster.regions.onStore(source.id);
    for (const kind of ORDER) {
      const ids = on.set(kind);
      for (let i = 0; i < Math.min(PICKS, ids.size); i++) {
        const region = view.cluster.regions.byId(ids.pick(view.env.random) ?? 0);
        if (region !== undefined && this.#mayMove(region, kind)) return region;
      }
    }
    return undefined;
  }

  #mayMove(region: RegionInfo, kind: PeerKind): boolean {
    const { controller } = this.#host;
    const { view } = controller;
    if (region.leader === undefined || controller.operator(region.meta.id) !== undefined) return false;
    if (region.downPeers.length > 0 || !view.isReplicated(region)) return false;
    if (kind !== "pending" && region.pendingPeers.length > 0) return false;
    return region.sizeMib > EMPTY_MIB || view.cluster.regions.count < FEW_REGIONS;
  }

  /** From the emptiest up; text says why there is none. */
  #target(
    region: RegionInfo,
    source: StoreInfo,
    worthwhile: readonly StoreInfo[],
    solver: BalanceSolver,
  ): StoreInfo | string {
    const { view } = this.#host.controller;
    const beside = view.storesOf(region, source.id);
    const present = view.locationScore(beside, source);
    let reason = "no emptier store gains by the regions tried";
    for (let i = worthwhile.length - 1; i >= 0; i--) {
      const store = worthwhile[i] as StoreInfo;
      if (peerOnStore(region, store.id) !== undefined) continue;
      if (!solver.isWorthwhile(source, store, region.sizeMib)) continue;
      const problem =
        view.regionTargetProblem(store) ??
        view.temporaryTargetProblem(store, region.sizeMib) ??
        (view.hasRoom(source, "remove-peer", region.sizeMib) ? undefined : "StoreRemovePeerThrottled") ??
        (view.isolates(beside, store) && view.locationScore(beside, store) >= present
          ? undefined
          : "the replicas would stand closer together");
      if (problem === undefined) return store;
      reason = `store ${store.id}: ${problem}`;
    }
    return reason;
  }
}
