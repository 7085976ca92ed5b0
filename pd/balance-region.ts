/**
 * Evens out the data of stores: one peer a round, from a fuller store to an emptier one that keeps the replicas at
 * least as far apart. Peers that still wait for their snapshot go first, the leader's only after the followers'.
 * (pd-rules 9.24 to 9.27)
 */
import type { BalanceScope } from "./balance-leader.js";
import { BalanceSolver } from "./balance-solver.js";
import { Diagnosis } from "./diagnosis.js";
import type { Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import { RetryQuota } from "./retry-quota.js";
import { BaseScheduler, type SchedulerHost } from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";
import type { PeerKind } from "./store-regions.js";

export const BALANCE_REGION = "balance-region-scheduler";
const FEW_REGIONS = 100;
const EMPTY_MIB = 1;
const ORDER: readonly PeerKind[] = ["pending", "follower", "leader", "learner"];

export class BalanceRegion extends BaseScheduler {
  readonly name: string;
  override readonly diagnosis: Diagnosis = new Diagnosis();
  readonly #scope: BalanceScope;
  readonly #quota = new RetryQuota();
  /** Why the regions that were drawn last may not move. */
  #lastReject = "";

  constructor(host: SchedulerHost, scope?: BalanceScope) {
    super(host, "region", scope === undefined ? "region" : "range");
    const { regions } = host.controller.view.cluster;
    this.#scope = scope ?? {
      name: BALANCE_REGION,
      kinds: ["region"],
      source: () => regions,
      tolerantSizeRatio: 0,
    };
    this.name = this.#scope.name;
  }

  run(): number {
    const { view } = this;
    const solver = new BalanceSolver(view, "region", this.#scope.source(), this.#scope.tolerantSizeRatio);
    // Free space comes with the stores' heartbeats: until it tells of them, moves that have just ended count on. (9.11)
    if (view.weighsSpace()) {
      for (const operator of this.host.controller.recentlyFinished()) {
        const region = view.cluster.regions.byId(operator.regionId);
        if (region !== undefined) solver.add(operator, region);
      }
    }
    const stores = view.stores();
    this.#quota.keepOnly(new Set(stores.map((store) => store.id)));
    // A leaving store gives as well as the checkers that empty it; it takes nothing. (7.43)
    const ranked = stores.sort((left, right) => solver.byScore(left, right));
    for (const [i, source] of ranked.slice(0, -1).entries()) {
      const problem = view.regionSourceProblem(source);
      if (problem !== undefined) {
        this.diagnosis.reject(source.id, 0, problem);
        view.leftOut("source", this.name, source.id, problem);
        this.note(source.id, `gives no peers: ${problem}`);
        continue;
      }
      const operator = this.#from(source, ranked.slice(i + 1), solver);
      if (operator === undefined) {
        this.#quota.failed(source.id);
        continue;
      }
      const refused = this.submit(operator);
      if (refused === undefined) {
        this.#quota.succeeded(source.id);
        this.host.notes.clear("store", source.id, this.name);
        return 1;
      }
      this.note(source.id, `${operator.brief} of region ${operator.regionId}: ${refused}`);
    }
    return 0;
  }

  #from(source: StoreInfo, below: readonly StoreInfo[], solver: BalanceSolver): Operator | undefined {
    const worthwhile = below.filter((target) => solver.isWorthwhile(source, target));
    if (worthwhile.length === 0) {
      this.diagnosis.reject(source.id, 0, "StoreScoreDisallowed");
      this.note(source.id, "balanced: no store is so much emptier that a move is worth it");
      return undefined;
    }
    const tries = this.#quota.of(source.id);
    let reason = "no region on it may move now";
    for (let i = 0; i < tries; i++) {
      const region = this.#pickFrom(source);
      if (region === undefined) {
        this.diagnosis.reject(source.id, 1, this.#lastReject);
        reason = `no region on it may move now: ${this.#lastReject}`;
        break;
      }
      const target = this.#target(region, source, worthwhile, solver);
      if (typeof target === "string") {
        reason = target;
        continue;
      }
      const role = peerOnStore(region, source.id)?.role === "learner" ? "learner" : "voter";
      const details = {
        "source-score": solver.score(source),
        "target-score": solver.score(target),
        tolerance: solver.tolerance,
      };
      const builder = new OperatorBuilder(this.view, this.name, region, { details });
      const built = builder.addPeer(target.id, role).removePeer(source.id).build(this.#scope.kinds);
      if (built.kind === "built") {
        this.moves(source.id, target.id);
        return built.operator;
      }
      this.diagnosis.reject(source.id, 2, "CreateOperatorFailed");
      reason = built.reason;
      break;
    }
    this.note(source.id, reason);
    return undefined;
  }

  protected override onDenied(): void {
    this.#lastReject = "RegionLabelReject";
  }

  #pickFrom(source: StoreInfo): RegionInfo | undefined {
    this.#lastReject = "NoTargetRegion";
    const on = this.#scope.source().onStore(source.id);
    for (const kind of ORDER) {
      const found = this.pick(on.set(kind), (region) => this.#mayMove(region, kind, source));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #mayMove(region: RegionInfo, kind: PeerKind, source: StoreInfo): boolean {
    const reject = (reason: string): boolean => {
      this.#lastReject = reason;
      this.diagnosis.reject(source.id, 1, reason);
      return false;
    };
    if (region.leader === undefined) return reject("RegionNoLeader");
    if (!this.isFree(region)) return false;
    if (region.downPeers.length > 0) return reject("RegionUnhealthy");
    if (kind !== "pending" && region.pendingPeers.length > 0) return reject("RegionUnhealthy");
    if (!this.view.isReplicated(region)) return reject("RegionNotReplicated");
    const sender = this.view.senderProblem(region, "medium");
    if (sender !== undefined) return reject(sender);
    if (this.host.statistics.isRegionHot(region.meta.id)) return reject("RegionHot");
    // Empty regions are moved where that costs little, and by a range that wants to be spread.
    const few = this.view.cluster.regions.count < FEW_REGIONS || this.countedKind === "range";
    return region.sizeMib > EMPTY_MIB || few || reject("RegionEmpty");
  }

  /** From the emptiest up; text says why there is none. */
  #target(
    region: RegionInfo,
    source: StoreInfo,
    worthwhile: readonly StoreInfo[],
    solver: BalanceSolver,
  ): StoreInfo | string {
    const { view } = this;
    const keepsPlacement = view.safeguard(region, source.id);
    let reason = "no emptier store gains by the regions tried";
    for (let i = worthwhile.length - 1; i >= 0; i--) {
      const store = worthwhile[i] as StoreInfo;
      if (peerOnStore(region, store.id) !== undefined) continue;
      const problem =
        (solver.isWorthwhile(source, store, region.sizeMib) ? undefined : "StoreScoreDisallowed") ??
        view.regionTargetProblem(store) ??
        view.temporaryTargetProblem(store) ??
        (keepsPlacement(store) ? undefined : "StoreNotMatchRule");
      if (problem === undefined) return store;
      this.diagnosis.reject(store.id, 2, problem);
      view.leftOut("target", this.name, store.id, problem);
      reason =
        problem === "StoreNotMatchRule"
          ? `store ${store.id}: the replicas would stand closer together, or a placement rule forbids it`
          : `store ${store.id}: ${problem}`;
    }
    return reason;
  }
}
