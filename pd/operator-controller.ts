/**
 * Runs operators: one per region, driven by heartbeats and, because heartbeats are rare and commands get lost, by a
 * push of its own. A change of membership that no step explains ends the plan; a split does not.
 * (pd-rules 6.20 to 6.33)
 */
import type { TimerHandle } from "../base/index.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import { type Operator, type OperatorKind, type OperatorState, priorityLevel } from "./operator.js";
import { confVerUsed, stepProblem } from "./operator-step.js";
import type { RegionInfo } from "./region-info.js";
import { commandFor } from "./rpc-regions.js";
import type { SchedulingView } from "./scheduling-view.js";
import { isQuickStep, stepCommand } from "./step-command.js";
import { type LimitKind, regionCost } from "./store-limit.js";

const PUSH_TICK_MS = 500;
const QUICK_PUSH_MS = 2000;
const SLOW_PUSH_MS = 5000;
const RECORD_KEPT_MS = 600_000;
const RECORDS_MAX = 10_000;

export class OperatorController {
  readonly #view: SchedulingView;
  readonly #streams: HeartbeatStreams;
  readonly #running = new Map<number, Operator>();
  /** The last ended operator of each region, oldest first. */
  readonly #records = new Map<number, Operator>();
  readonly #counts = new Map<OperatorKind, number>();
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(running: (operators: () => Iterable<Operator>) => SchedulingView, streams: HeartbeatStreams) {
    this.#view = running(() => this.#running.values());
    this.#streams = streams;
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

  /** Starts the operator, or cancels it and answers why. */
  add(operator: Operator): string | undefined {
    const reason = this.#refusal(operator);
    const { metrics } = this.#view.cluster.context;
    if (reason !== undefined) {
      operator.state = "canceled";
      operator.reason = reason;
      metrics.increment("pd_schedule_operators_count", { type: operator.desc, event: `cancel-${reason}` });
      return reason;
    }
    const old = this.#running.get(operator.regionId);
    if (old !== undefined) this.#end(old, "replaced", "replaced by an operator of higher priority");
    const nowMs = this.#view.nowMs();
    operator.state = "started";
    operator.startedMs = nowMs;
    operator.startedWallMs = this.#view.env.clock.wallMs();
    this.#running.set(operator.regionId, operator);
    this.#counts.set(operator.countedKind, this.count(operator.countedKind) + 1);
    for (const { storeId, kind } of limitedStores(operator)) {
      const store = this.#view.store(storeId);
      if (store !== undefined) this.#view.bucketOf(store, kind).take(regionCost(operator.sizeMib), nowMs);
    }
    metrics.increment("pd_schedule_operators_count", { type: operator.desc, event: "start" });
    this.#view.env.log.info("add operator", { region: operator.regionId, operator: operator.toText() });
    const region = this.#view.cluster.regions.byId(operator.regionId);
    if (region !== undefined) this.#send(operator, region);
    this.#armPush();
    return undefined;
  }

  /** Whether all stores concerned have room; urgent operators do not ask. */
  exceedsStoreLimit(operator: Operator): boolean {
    if (operator.priority === "urgent") return false;
    return limitedStores(operator).some(({ storeId, kind }) => {
      const store = this.#view.store(storeId);
      return store !== undefined && !this.#view.hasRoom(store, kind, operator.sizeMib);
    });
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
    if (operator !== undefined) this.#dispatch(operator, region, true);
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
    return this.exceedsStoreLimit(operator) ? "exceed store limit" : undefined;
  }

  /** Moves the operator on; `fromHeartbeat` means the region is news, so that staleness can be judged. */
  #dispatch(operator: Operator, region: RegionInfo, fromHeartbeat: boolean): void {
    const before = operator.currentStep;
    operator.check(region, this.#view.nowMs());
    if (operator.state === "success") return this.#end(operator, "success", "");
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

  #end(operator: Operator, state: OperatorState, reason: string): void {
    operator.state = state;
    operator.reason = reason;
    operator.finishedMs = this.#view.nowMs();
    operator.finishedWallMs = this.#view.env.clock.wallMs();
    this.#running.delete(operator.regionId);
    this.#counts.set(operator.countedKind, Math.max(0, this.count(operator.countedKind) - 1));
    this.#records.delete(operator.regionId);
    this.#records.set(operator.regionId, operator);
    const { metrics } = this.#view.cluster.context;
    metrics.increment("pd_schedule_operators_count", { type: operator.desc, event: state });
    this.#view.env.log.info(`operator ${state}`, { region: operator.regionId, desc: operator.desc, reason });
    this.#forgetOldRecords();
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

/** Which stores gain or lose a peer. */
function limitedStores(operator: Operator): { readonly storeId: number; readonly kind: LimitKind }[] {
  const found: { storeId: number; kind: LimitKind }[] = [];
  if (operator.ignoresStoreLimit) return found;
  for (const step of operator.steps) {
    if (step.kind === "addPeer" || step.kind === "addLearner")
      found.push({ storeId: step.storeId, kind: "add-peer" });
    if (step.kind === "removePeer") found.push({ storeId: step.storeId, kind: "remove-peer" });
  }
  return found;
}
