/**
 * Evens out leaders: a round takes leaders from the stores with most, then brings leaders to the stores with fewest,
 * until it has found as many transfers as one round may make. (pd-rules 9.20 to 9.23)
 */
import { BalanceSolver, type RegionSource } from "./balance-solver.js";
import { Diagnosis } from "./diagnosis.js";
import { type Operator, type OperatorKind } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { peerOnStore, type RegionInfo } from "./region-info.js";
import { RetryQuota } from "./retry-quota.js";
import {
  BaseScheduler,
  type SchedulerHost,
  settingsOk,
  settingsRefused,
  type SettingsReply,
} from "./scheduler.js";
import type { StoreInfo } from "./store-info.js";

export const BALANCE_LEADER = "balance-leader-scheduler";
const BATCH = 4;
const BATCH_MAX = 100;
const WHOLE = [{ "start-key": "", "end-key": "" }];
export const SAME_CONFIG = "Config is the same with origin, so do nothing.";

/** How the balance of a range differs from that of everything. */
export interface BalanceScope {
  readonly name: string;
  readonly kinds: readonly OperatorKind[];
  readonly source: () => RegionSource;
  /** In place of `tolerant-size-ratio`. */
  readonly tolerantSizeRatio: number;
}

export class BalanceLeader extends BaseScheduler {
  readonly name: string;
  override readonly diagnosis: Diagnosis = new Diagnosis();
  readonly #scope: BalanceScope;
  readonly #quota = new RetryQuota();
  #batch = BATCH;

  constructor(host: SchedulerHost, scope?: BalanceScope) {
    super(host, "leader", scope === undefined ? "leader" : "range");
    const { regions } = host.controller.view.cluster;
    this.#scope = scope ?? {
      name: BALANCE_LEADER,
      kinds: ["leader"],
      source: () => regions,
      tolerantSizeRatio: 0,
    };
    this.name = this.#scope.name;
  }

  override settings(): Record<string, unknown> {
    return { ranges: WHOLE, batch: this.#batch };
  }

  override loadSettings(stored: Readonly<Record<string, unknown>>): void {
    if (isBatch(stored["batch"])) this.#batch = stored["batch"];
  }

  override change(body: Readonly<Record<string, unknown>>): SettingsReply {
    const { batch } = body;
    if (batch === undefined) return settingsRefused("Config item is not found.");
    if (!isBatch(batch)) {
      return settingsRefused("invalid batch size which should be an integer between 1 and 100");
    }
    if (batch === this.#batch) return settingsOk(SAME_CONFIG);
    this.#batch = batch;
    return settingsOk();
  }

  run(): number {
    const { view } = this;
    const solver = new BalanceSolver(view, "leader", this.#scope.source(), this.#scope.tolerantSizeRatio);
    const stores = view.stores();
    this.#quota.keepOnly(new Set(stores.map((store) => store.id)));
    const sources = stores.filter((store) => this.#sourceProblem(store) === undefined);
    const targets = stores.filter((store) => this.#targetProblem(store) === undefined);
    let started = 0;
    while (started < this.#batch && this.limitReached() === undefined) {
      sources.sort((left, right) => solver.byScore(left, right));
      targets.sort((left, right) => solver.score(left) - solver.score(right) || right.id - left.id);
      const operator = this.#out(sources, solver) ?? this.#in(targets, solver);
      if (operator === undefined) break;
      const region = view.cluster.regions.byId(operator.regionId);
      if (region === undefined || this.submit(operator) !== undefined) break;
      solver.add(operator, region);
      started += 1;
    }
    return started;
  }

  #sourceProblem(store: StoreInfo): string | undefined {
    const problem = this.view.leaderSourceProblem(store);
    if (problem === undefined) return undefined;
    this.diagnosis.reject(store.id, 0, problem);
    this.view.leftOut("source", this.name, store.id, problem);
    return problem;
  }

  #targetProblem(store: StoreInfo): string | undefined {
    const problem = this.view.leaderTargetProblem(store) ?? this.view.specialUseProblem(store);
    if (problem === undefined) this.host.notes.clear("store", store.id, this.name);
    else {
      this.note(store.id, `takes no leaders: ${problem}`);
      this.view.leftOut("target", this.name, store.id, problem);
    }
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
    for (const store of stores) {
      const ids = this.#scope.source().onStore(store.id)[set];
      const tries = this.#quota.of(store.id);
      for (let i = 0; i < Math.min(tries, ids.size); i++) {
        const region = this.pick(ids, (other) => this.#mayMove(other, store), 1);
        const operator = region === undefined ? undefined : plan(region, store);
        if (operator === undefined) continue;
        this.#quota.succeeded(store.id);
        return operator;
      }
      this.#quota.failed(store.id);
    }
    return undefined;
  }

  protected override onDenied(region: RegionInfo): void {
    if (region.leader !== undefined) this.diagnosis.reject(region.leader.storeId, 1, "RegionLabelReject");
  }

  #mayMove(region: RegionInfo, store: StoreInfo): boolean {
    if (!this.isWell(region)) {
      this.diagnosis.reject(store.id, 1, "RegionUnhealthy");
      return false;
    }
    if (!this.host.statistics.isRegionHot(region.meta.id)) return true;
    this.diagnosis.reject(store.id, 1, "RegionHot");
    return false;
  }

  #transferFrom(region: RegionInfo, source: StoreInfo, solver: BalanceSolver): Operator | undefined {
    const { view } = this;
    const mayLead = view.leaderSafeguard(region);
    let best: StoreInfo | undefined;
    for (const peer of region.meta.peers) {
      if (peer.role !== "voter" || peer.storeId === source.id) continue;
      const store = view.store(peer.storeId);
      if (store === undefined) continue;
      const problem =
        view.leaderTargetProblem(store) ??
        view.specialUseProblem(store) ??
        (mayLead(store) ? undefined : "StoreNotMatchRule");
      if (problem !== undefined) {
        this.diagnosis.reject(store.id, 2, problem);
        view.leftOut("target", this.name, store.id, problem);
      } else if (best === undefined || solver.score(store) < solver.score(best)) best = store;
    }
    return best === undefined ? undefined : this.#transfer(region, source, best, solver);
  }

  #transferTo(region: RegionInfo, target: StoreInfo, solver: BalanceSolver): Operator | undefined {
    const { view } = this;
    const source = view.store(region.leader?.storeId ?? 0);
    if (source === undefined || view.leaderSourceProblem(source) !== undefined) return undefined;
    if (peerOnStore(region, target.id)?.role !== "voter" || !view.leaderSafeguard(region)(target)) {
      return undefined;
    }
    return this.#transfer(region, source, target, solver);
  }

  #transfer(
    region: RegionInfo,
    source: StoreInfo,
    target: StoreInfo,
    solver: BalanceSolver,
  ): Operator | undefined {
    if (!solver.isWorthwhile(source, target)) {
      this.diagnosis.reject(target.id, 2, "StoreScoreDisallowed");
      return undefined;
    }
    const details = {
      "source-score": solver.score(source),
      "target-score": solver.score(target),
      tolerance: solver.tolerance,
    };
    const built = new OperatorBuilder(this.view, this.name, region, { details })
      .setLeader(target.id)
      .build(this.#scope.kinds);
    if (built.kind === "built") {
      this.moves(source.id, target.id);
      return built.operator;
    }
    this.diagnosis.reject(target.id, 2, "CreateOperatorFailed");
    this.host.notes.note("region", region.meta.id, this.name, built.reason);
    return undefined;
  }
}

const isBatch = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= BATCH_MAX;
