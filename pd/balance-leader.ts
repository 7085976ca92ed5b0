/**
 * Evens out leaders: a round takes leaders from the stores with most, then brings leaders to the stores with fewest,
 * until it has found as many transfers as one round may make. (pd-rules 9.20 to 9.23)
 */
import { BalanceSolver } from "./balance-solver.js";
import { addInfluence, type Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import { RetryQuota } from "./retry-quota.js";
import type { Scheduler, SchedulerHost } from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";

export const BALANCE_LEADER = "balance-leader-scheduler";
const BATCH = 4;
const PICKS = 10;

export class BalanceLeader implements Scheduler {
  readonly name = BALANCE_LEADER;
  readonly kind = "leader";
  readonly #host: SchedulerHost;
  readonly #quota = new RetryQuota();

  constructor(host: SchedulerHost) {
    this.#host = host;
  }

  stop(): void {}

  run(): number {
    const { view } = this.#host.controller;
    const solver = new BalanceSolver(view, "leader");
    const stores = view.stores();
    this.#quota.keepOnly(new Set(stores.map((store) => store.id)));
    const sources = stores.filter((store) => view.leaderSourceProblem(store) === undefined);
    const targets = stores.filter((store) => this.#targetProblem(store) === undefined);
    let started = 0;
    while (started < BATCH) {
      if (this.#host.controller.count("leader") >= view.config.number("schedule.leader-schedule-limit"))
        break;
      sources.sort((left, right) => solver.byScore(left, right));
      targets.sort((left, right) => solver.score(left) - solver.score(right) || right.id - left.id);
      const operator = this.#out(sources, solver) ?? this.#in(targets, solver);
      if (operator === undefined) break;
      const region = view.cluster.regions.byId(operator.regionId);
      if (region === undefined || this.#host.controller.add(operator) !== undefined) break;
      addInfluence(solver.influence, operator, region);
      started += 1;
    }
    return started;
  }

  #targetProblem(store: StoreInfo): string | undefined {
    const { notes, controller } = this.#host;
    const problem = controller.view.leaderTargetProblem(store);
    if (problem === undefined) notes.clear("store", store.id, this.name);
    else notes.note("store", store.id, this.name, `takes no leaders: ${problem}`);
    return problem;
  }

  #out(sources: readonly StoreInfo[], solver: BalanceSolver): Operator | undefined {
    return this.#try(sources, "leaders", (region, source) => this.#transferFrom(region, source, solver));
  }

  #in(targets: readonly StoreInfo[], solver: BalanceSolver): Operator | undefined {
    return this.#try(targets, "followers", (region, target) => this.#transferTo(region, target, solver));
  }

  #try(
    stores: readonly StoreInfo[],
    set: "leaders" | "followers",
    plan: (region: RegionInfo, store: StoreInfo) => Operator | undefined,
  ): Operator | undefined {
    const { view } = this.#host.controller;
    for (const store of stores) {
      const ids = view.cluster.regions.onStore(store.id)[set];
      const picks = Math.min(PICKS, this.#quota.of(store.id), ids.size);
      for (let i = 0; i < picks; i++) {
        const region = view.cluster.regions.byId(ids.pick(view.env.random) ?? 0);
        if (region === undefined || !this.#mayMove(region)) continue;
        const operator = plan(region, store);
        if (operator === undefined) continue;
        this.#quota.succeeded(store.id);
        return operator;
      }
      this.#quota.failed(store.id);
    }
    return undefined;
  }

  #mayMove(region: RegionInfo): boolean {
    if (region.pendingPeers.length > 0 || region.downPeers.length > 0) return false;
    return this.#host.controller.operator(region.meta.id) === undefined;
  }

  #transferFrom(region: RegionInfo, source: StoreInfo, solver: BalanceSolver): Operator | undefined {
    const { view } = this.#host.controller;
    let best: StoreInfo | undefined;
    for (const peer of region.meta.peers) {
      if (peer.role !== "voter" || peer.storeId === source.id) continue;
      const store = view.store(peer.storeId);
      if (store === undefined || view.leaderTargetProblem(store) !== undefined) continue;
      if (best === undefined || solver.score(store) < solver.score(best)) best = store;
    }
    return best !== undefined && solver.isWorthwhile(source, best) ? this.#build(region, best) : undefined;
  }

  #transferTo(region: RegionInfo, target: StoreInfo, solver: BalanceSolver): Operator | undefined {
    const { view } = this.#host.controller;
    const source = view.store(region.leader?.storeId ?? 0);
    if (source === undefined || view.leaderSourceProblem(source) !== undefined) return undefined;
    if (peerOnStore(region, target.id)?.role !== "voter") return undefined;
    return solver.isWorthwhile(source, target) ? this.#build(region, target) : undefined;
  }

  #build(region: RegionInfo, target: StoreInfo): Operator | undefined {
    const { notes, controller } = this.#host;
    const built = new OperatorBuilder(controller.view, this.name, region)
      .setLeader(target.id)
      .build(["leader"]);
    if (built.kind === "built") return built.operator;
    notes.note("region", region.meta.id, this.name, built.reason);
    return undefined;
  }
}
