/**
 * Runs operators: one per region, driven by heartbeats and, because heartbeats are rare and commands get lost, by a
 * push of its own. A change of membership that no step explains ends the plan; a split does not.
 * (pd-rules 6.20 to 6.33)
 */
import type { TimerHandle } from "../base/index.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import { type Operator, type OperatorKind, type OperatorState, priorityLevel } from "./operator.js";
import { confVerUsed, type Step, stepProblem } from "./operator-step.js";
import type { RegionInfo } from "./region-info.js";
import { commandFor } from "./rpc-regions.js";
import type { SchedulingView } from "./scheduling-view.js";
import { isQuickStep, stepCommand } from "./step-command.js";
import { type LimitKind, regionCost, SMALL_MIB } from "./store-limit.js";
import { RunningInfluence } from "./running-influence.js";
import { WaitingOperators } from "./waiting-operators.js";

const PUSH_TICK_MS = 500;
const QUICK_PUSH_MS = 2000;
const SLOW_PUSH_MS = 5000;
const RECORD_KEPT_MS = 600_000;
const RECORDS_MAX = 10_000;
const FAST_OPERATOR_MS = 10_000;
const FAST_OPERATORS_MAX = 1000;
const RELATED = "related merge region";
const FINISH_SECONDS = [
  0.5, 1, 2, 4, 8, 16, 20, 40, 60, 90, 120, 180, 240, 300, 480, 600, 720, 900, 1200, 1800, 3600,
];

export class OperatorController {
  readonly #view: SchedulingView;
  readonly #streams: HeartbeatStreams;
  readonly #running = new Map<number, Operator>();
  /** The last ended operator of each region, oldest first. */
  readonly #records = new Map<number, Operator>();
  readonly #counts = new Map<OperatorKind, number>();
  readonly #fast: Operator[] = [];
  /** Operators that have not begun. */
  readonly waiting: WaitingOperators;
  /** Every operator that ends, however it ends. */
  onEnded: (operator: Operator) => void = () => {};
  readonly #influence = new RunningInfluence();
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(viewOf: (running: RunningInfluence) => SchedulingView, streams: HeartbeatStreams) {
    this.#view = viewOf(this.#influence);
    this.#streams = streams;
    this.waiting = new WaitingOperators(this.#view.env.random);
  }

  get view(): SchedulingView {
    return this.#view;
  }

  operator(regionId: number): Operator | undefined {
    return this.#running.get(regionId);
  }

  operators(): Operator[] {
    return [...this.#running.values()];
  }

  record(regionId: number): Operator | undefined {
    this.#forgetOldRecords();
    return this.#records.get(regionId);
  }

  records(fromWallMs: number): Operator[] {
    this.#forgetOldRecords();
    return [...this.#records.values()].filter((operator) => operator.finishedWallMs >= fromWallMs);
  }

  /** Running operators counted in this kind. */
  count(kind: OperatorKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  countByDesc(desc: string): number {
    let found = 0;
    for (const operator of this.#running.values()) if (operator.desc === desc) found += 1;
    return found;
  }

  /** Operators that ended in success within 10 s, remembered for as long: figures of stores lag behind. (9.11) */
  recentlyFinished(): readonly Operator[] {
    const oldestMs = this.#view.nowMs() - FAST_OPERATOR_MS;
    while (this.#fast[0] !== undefined && this.#fast[0].finishedMs < oldestMs) this.#fast.shift();
    return this.#fast;
  }

  /**
   * By schedulers and checkers: into the queue of its priority, then one of those that wait is started. Of one
   * author only so many may wait. (6.20, 6.21)
   */
  addWaiting(...operators: readonly Operator[]): string | undefined {
    const [first] = operators;
    if (first === undefined) return "nothing to add";
    const most = this.#view.config.number("schedule.scheduler-max-waiting-operator");
    const reason =
      this.#refusal(first) ?? (this.waiting.countOf(first.desc) >= most ? "exceed wait limit" : undefined);
    if (reason !== undefined) return this.#cancelNew(operators, reason);
    this.#count(first, "create");
    this.waiting.put(operators);
    this.promote();
    return first.state === "canceled" ? first.reason : undefined;
  }

  /** Starts one of the waiting operators; those that can no longer start are canceled on the way. */
  promote(): void {
    for (let next = this.waiting.take(); next !== undefined; next = this.waiting.take()) {
      const refused = next.map((operator) => this.#refusal(operator)).find((reason) => reason !== undefined);
      const reason =
        refused ??
        (this.exceedsStoreLimit(...next) ? "exceed store limit" : undefined) ??
        this.#namePeers(next);
      if (reason === undefined) {
        for (const operator of next) this.#start(operator);
        return;
      }
      this.#cancelNew(next, reason);
    }
  }

  #cancelNew(operators: readonly Operator[], reason: string): string {
    for (const operator of operators) {
      operator.state = reason === "expired" ? "expired" : "canceled";
      operator.reason = reason;
      this.#count(operator, `cancel-${reason.replaceAll(" ", "-")}`);
    }
    return reason;
  }

  #count(operator: Operator, event: string): void {
    const { metrics } = this.#view.cluster.context;
    metrics.increment("pd_schedule_operators_count", { type: operator.desc, event });
  }

  /** Starts the operators (one, or the two of a merge), or cancels them and answers why. */
  add(...operators: readonly Operator[]): string | undefined {
    const refused = operators
      .map((operator) => this.#refusal(operator))
      .find((reason) => reason !== undefined);
    const reason =
      refused ??
      (this.exceedsStoreLimit(...operators) ? "exceed store limit" : undefined) ??
      this.#namePeers(operators);
    if (reason !== undefined) return this.#cancelNew(operators, reason);
    for (const operator of operators) {
      this.#count(operator, "create");
      this.#start(operator);
    }
    return undefined;
  }

  /** Last of all that may stand in the way: ids are not given back. */
  #namePeers(operators: readonly Operator[]): string | undefined {
    const named = operators.every((operator) => operator.namePeers(() => this.#view.takeId()));
    return named ? undefined : "no id is at hand, try again in a moment";
  }

  #start(operator: Operator): void {
    const old = this.#running.get(operator.regionId);
    if (old !== undefined) this.#end(old, "replaced", "replaced by an operator of higher priority");
    const nowMs = this.#view.nowMs();
    operator.state = "started";
    operator.startedMs = nowMs;
    operator.startedWallMs = this.#view.env.clock.wallMs();
    this.#running.set(operator.regionId, operator);
    this.#influence.changed(operator);
    this.#counts.set(operator.countedKind, this.count(operator.countedKind) + 1);
    const level = priorityLevel(operator.priority);
    for (const { storeId, kind, cost } of this.#limitedStores(operator)) {
      const store = this.#view.store(storeId);
      if (store !== undefined) this.#view.limiterOf(store, kind).take(cost, nowMs, level);
    }
    this.#count(operator, "start");
    this.#view.env.log.info("add operator", { region: operator.regionId, operator: operator.toText() });
    const region = this.#view.cluster.regions.byId(operator.regionId);
    if (region !== undefined) this.#send(operator, region);
    this.#armPush();
  }

  /** Whether some store concerned lacks room for all of them together; urgent operators do not ask. (6.29) */
  exceedsStoreLimit(...operators: readonly Operator[]): boolean {
    const costs = new Map<string, LimitedStore & { readonly level: number }>();
    for (const operator of operators) {
      if (operator.priority === "urgent") continue;
      const level = priorityLevel(operator.priority);
      for (const { storeId, kind, cost } of this.#limitedStores(operator)) {
        const key = `${storeId} ${kind}`;
        costs.set(key, { storeId, kind, level, cost: (costs.get(key)?.cost ?? 0) + cost });
      }
    }
    const nowMs = this.#view.nowMs();
    for (const { storeId, kind, cost, level } of costs.values()) {
      const store = this.#view.store(storeId);
      if (store === undefined || this.#view.limiterOf(store, kind).available(cost, nowMs, level)) continue;
      const { metrics } = this.#view.cluster.context;
      const desc = operators[0]?.desc ?? "";
      metrics.increment("pd_schedule_operator_exceeded_store_limit", { desc });
      return true;
    }
    return false;
  }

  /** By the user. */
  cancel(regionId: number, reason: string): boolean {
    const operator = this.#running.get(regionId);
    if (operator === undefined) return false;
    this.#end(operator, "canceled", reason);
    return true;
  }

  /** For every accepted heartbeat. */
  onHeartbeat(region: RegionInfo): void {
    const operator = this.#running.get(region.meta.id);
    if (operator === undefined) return;
    // A peer that became visible is in the stores' own figures now.
    this.#influence.changed(operator);
    this.#dispatch(operator, region, true);
  }

  /** The operator ends with its next push; until then it moves nothing that anybody could count. */
  onRegionRemoved(regionId: number): void {
    const operator = this.#running.get(regionId);
    if (operator !== undefined) this.#influence.changed(operator);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#view.env.timers.clear(this.#timer);
    this.#running.clear();
    this.#counts.clear();
  }

  #refusal(operator: Operator): string | undefined {
    const region = this.#view.cluster.regions.byId(operator.regionId);
    if (region === undefined) return "region not found";
    const { epoch } = region.meta;
    if (epoch.version !== operator.epoch.version || epoch.confVer !== operator.epoch.confVer)
      return "epoch not match";
    const old = this.#running.get(operator.regionId);
    if (old !== undefined && priorityLevel(old.priority) >= priorityLevel(operator.priority))
      return "already exist";
    if (operator.state !== "created") return "not in create status";
    if (operator.isExpired(this.#view.nowMs())) return "expired";
    return undefined;
  }

  /** Moves the operator on; `fromHeartbeat` means the region is news, so that staleness can be judged. */
  #dispatch(operator: Operator, region: RegionInfo, fromHeartbeat: boolean): void {
    const before = operator.currentStep;
    operator.check(region, this.#view.nowMs(), this.#observeStep);
    if (operator.currentStep !== before) this.#influence.changed(operator);
    if (operator.state === "success") {
      this.#end(operator, "success", "");
      return this.promote();
    }
    if (operator.state === "timeout") return this.#end(operator, "timeout", "timeout");
    if (fromHeartbeat || operator.currentStep !== before) {
      const stale = this.#staleReason(operator, region);
      if (stale !== undefined) return this.#end(operator, "canceled", stale);
    }
    this.#send(operator, region);
  }

  #staleReason(operator: Operator, region: RegionInfo): string | undefined {
    const { step } = operator;
    if (step === undefined) return undefined;
    if (operator.relatedRegionId !== undefined && region.meta.epoch.version > operator.epoch.version) {
      return "epoch not match";
    }
    const problem = stepProblem(step, region, this.#view);
    if (problem !== undefined) return `stale status: ${problem}`;
    // The current step is included: it may have taken effect in this very heartbeat.
    let explained = 0;
    for (const done of operator.steps.slice(0, operator.currentStep + 1))
      explained += confVerUsed(done, region);
    const grown = region.meta.epoch.confVer - operator.epoch.confVer;
    return grown > explained ? "epoch not match" : undefined;
  }

  #send(operator: Operator, region: RegionInfo): void {
    const { step } = operator;
    if (step === undefined) return;
    operator.nextPushMs = this.#view.nowMs() + (isQuickStep(step) ? QUICK_PUSH_MS : SLOW_PUSH_MS);
    if (region.leader === undefined) return;
    const command = stepCommand(step, region, this.#view.usesChangePeerV2());
    if (command !== undefined) this.#streams.send({ ...commandFor(region), ...command });
  }

  /** Which stores gain or lose a peer, or send a snapshot, and what that costs. (6.28, 6.29) */
  #limitedStores(operator: Operator): LimitedStore[] {
    const found: LimitedStore[] = [];
    const { storeLimit, sizeMib, leaderStoreId } = operator;
    if (storeLimit === "none") return found;
    for (const step of operator.steps) {
      if (step.kind === "removePeer") {
        const { storeId } = step;
        const store = this.#view.store(storeId);
        // Nothing is deleted there now.
        const isGone = store !== undefined && this.#view.isDown(store);
        const cost = regionCost(isGone ? Math.min(sizeMib, SMALL_MIB) : sizeMib);
        found.push({ storeId, kind: "remove-peer", cost });
      } else if (storeLimit === "all" && (step.kind === "addPeer" || step.kind === "addLearner")) {
        found.push({ storeId: step.storeId, kind: "add-peer", cost: regionCost(sizeMib) });
        if (leaderStoreId !== 0) found.push({ storeId: leaderStoreId, kind: "send-snapshot", cost: sizeMib });
      }
    }
    return found;
  }

  #end(operator: Operator, state: OperatorState, reason: string): void {
    operator.state = state;
    operator.reason = reason;
    operator.finishedMs = this.#view.nowMs();
    operator.finishedWallMs = this.#view.env.clock.wallMs();
    this.#running.delete(operator.regionId);
    this.#influence.changed(operator);
    this.#counts.set(operator.countedKind, Math.max(0, this.count(operator.countedKind) - 1));
    this.#records.delete(operator.regionId);
    this.#records.set(operator.regionId, operator);
    for (const { storeId, kind, cost } of this.#limitedStores(operator)) {
      const store = this.#view.store(storeId);
      if (store !== undefined) this.#view.limiterOf(store, kind).acknowledge(cost);
    }
    if (state === "success" && operator.finishedMs - operator.startedMs < FAST_OPERATOR_MS) {
      this.#fast.push(operator);
      if (this.#fast.length > FAST_OPERATORS_MAX) this.#fast.shift();
    }
    this.#count(operator, state === "success" ? "finish" : state === "canceled" ? "cancel" : state);
    this.#observeEnd(operator, state);
    this.#view.env.log.info(`operator ${state}`, { region: operator.regionId, desc: operator.desc, reason });
    this.#forgetOldRecords();
    if (state !== "success" && operator.relatedRegionId !== undefined) {
      const related = this.#running.get(operator.relatedRegionId);
      if (related?.relatedRegionId === operator.regionId) this.#end(related, "canceled", RELATED);
    }
    this.onEnded(operator);
  }

  readonly #observeStep = (step: Step, durationMs: number): void => {
    this.#view.cluster.context.metrics.observe(
      "pd_schedule_finish_operator_steps_duration_seconds",
      { type: step.kind },
      durationMs / 1000,
      FINISH_SECONDS,
    );
  };

  #observeEnd(operator: Operator, state: OperatorState): void {
    if (state !== "success") return;
    const seconds = (operator.finishedMs - operator.startedMs) / 1000;
    this.#view.cluster.context.metrics.observe(
      "pd_schedule_finish_operators_duration_seconds",
      { type: operator.desc },
      seconds,
      FINISH_SECONDS,
    );
  }

  #forgetOldRecords(): void {
    const oldestMs = this.#view.nowMs() - RECORD_KEPT_MS;
    for (const [regionId, operator] of this.#records) {
      if (operator.finishedMs >= oldestMs && this.#records.size <= RECORDS_MAX) return;
      this.#records.delete(regionId);
    }
  }

  #armPush(): void {
    if (this.#timer !== undefined || this.#running.size === 0 || this.#stopped) return;
    this.#timer = this.#view.env.timers.set(PUSH_TICK_MS, () => {
      this.#timer = undefined;
      this.#push();
      this.#armPush();
    });
  }

  #push(): void {
    const nowMs = this.#view.nowMs();
    for (const operator of [...this.#running.values()]) {
      if (operator.nextPushMs > nowMs) continue;
      const region = this.#view.cluster.regions.byId(operator.regionId);
      if (region === undefined) this.#end(operator, "canceled", "region not found");
      else this.#dispatch(operator, region, false);
    }
  }
}

interface LimitedStore {
  readonly storeId: number;
  readonly kind: LimitKind;
  readonly cost: number;
}
