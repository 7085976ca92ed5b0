/**
 * Looks at regions and repairs them: at each heartbeat, on suspicion, and in passes over all of them in key order,
 * because what makes a region wrong (a store that leaves, joins, or falls silent) often changes no region. A pass
 * goes in batches and takes its time, unless a store changed; what only waits for room is looked at again soon.
 * (pd-rules 8.1 to 8.8)
 */
import { misbehaves, type TimerHandle } from "../base/index.js";
import { CHECKERS, type CheckerName, RegionChecker } from "./checkers/region-checker.js";
import type { DecisionNotes } from "./decision-notes.js";
import type { Operator } from "./operator.js";
import { PriorityRegions } from "./priority-regions.js";
import type { OperatorController } from "./operator-controller.js";
import type { RegionInfo } from "./region-info.js";

/** Regions a turn: at least so many, and for large clusters a 1024th of them. */
const BATCH = 128;
const BATCH_MAX = 8192;
const BATCHES_PER_PASS = 1024;
/** Between two looks at the clock. */
export const SLICE = 64;
/** A turn ends soon after. */
export const TURN_MS = 4;
const RANGE_BATCH = 256;
const RANGES_MAX = 1000;
const TICK_MIN_MS = 10;
/** Between two turns of a pass, for everybody else. */
const REST_MS = 2;
const SUSPECTS_EVERY_MS = 100;
const SUSPECTS_MAX = 100_000;
/** From the beginning of one pass to the next: a millisecond a region, within these bounds. */
const PASS_MIN_MS = 500;
const PASS_MAX_MS = 10_000;
const authorOf = (name: CheckerName): string => `${name}-checker`;

export class RegionPatrol {
  readonly #controller: OperatorController;
  readonly #notes: DecisionNotes;
  readonly checker: RegionChecker;
  /** Regions to look at before the pass reaches them, oldest first. */
  readonly #suspects = new Set<number>();
  /** Regions of which a checker said something. */
  readonly #noted = new Set<number>();
  readonly #withoutStore = new Set<number>();
  /** Short of replicas: before all others. */
  readonly #priority = new PriorityRegions();
  /** Ranges whose rules or labels changed, looked at a piece at a time. (8.6) */
  readonly #ranges: { startKey: Uint8Array; readonly endKey: Uint8Array }[] = [];
  #suspectsSeenMs = Number.NEGATIVE_INFINITY;
  #position: Uint8Array = new Uint8Array(0);
  #passStartedMs = Number.NEGATIVE_INFINITY;
  #inPass = false;
  /** Regions of earlier ticks that are still to be looked at. */
  #owed = 0;
  #lastPassMs = 0;
  #timer: TimerHandle | undefined;
  #stopped = true;

  constructor(
    controller: OperatorController,
    notes: DecisionNotes,
    isHot: (regionId: number) => boolean = () => false,
  ) {
    this.#controller = controller;
    this.#notes = notes;
    this.checker = new RegionChecker(controller.view, isHot);
  }

  start(): void {
    this.#stopped = false;
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#controller.view.env.timers.clear(this.#timer);
  }

  get #mayAct(): boolean {
    const { view } = this.#controller;
    return view.cluster.isPrepared && !view.config.flag("schedule.halt-scheduling");
  }

  suspect(regionId: number): void {
    if (this.#suspects.size < SUSPECTS_MAX) this.#suspects.add(regionId);
  }

  /** A store changed: a pass begins now. */
  wake(): void {
    this.#position = new Uint8Array(0);
    this.#inPass = true;
    this.#owed = 0;
    this.#passStartedMs = this.#controller.view.nowMs();
    if (this.#stopped || this.#timer === undefined) return;
    this.#controller.view.env.timers.clear(this.#timer);
    this.#arm();
  }

  /** One look at one region; starts an operator where one is due. */
  check(region: RegionInfo): void {
    const { id } = region.meta;
    if (!this.#mayAct || this.#controller.operator(id) !== undefined) return;
    const { author, result, lack = 0 } = this.checker.check(region);
    const limit = result.kind === "operator" ? this.#reachedLimit(result.operator) : undefined;
    if (lack > 0 || this.#priority.size > 0)
      this.#priority.observe(id, lack, this.#controller.view.nowMs(), limit === undefined);
    this.#noStore(id, result.kind === "waiting" && result.noStore === true);
    if (result.kind === "healthy") {
      // Whatever was said of it before is settled.
      if (this.#noted.delete(id))
        for (const name of CHECKERS) this.#notes.clear("region", id, authorOf(name));
      return;
    }
    if (result.kind === "waiting") return this.#wait(id, author, result.reason, result.soon);
    const { operator, partner } = result;
    if (limit !== undefined)
      return this.#wait(id, author, `${limit.name} ${limit.most} is reached`, limit.most > 0);
    const operators = partner === undefined ? [operator] : [operator, partner];
    const refused = this.#controller.addWaiting(...operators);
    this.count(author, refused === undefined ? "new-operator" : "refused");
    if (refused !== undefined) return this.#wait(id, author, `${operator.desc}: ${refused}`, true);
    this.#notes.clear("region", id, authorOf(author));
  }

  /** Leaving joint state and cutting at borders are not counted: they stand before everything else. */
  #reachedLimit({ countedKind }: Operator): { readonly name: string; readonly most: number } | undefined {
    if (countedKind !== "replica" && countedKind !== "merge") return undefined;
    const name = `${countedKind}-schedule-limit` as const;
    const most = this.#controller.view.config.number(`schedule.${name}`);
    return this.#controller.count(countedKind) < most ? undefined : { name, most };
  }

  count(author: CheckerName, type: string): void {
    const { metrics } = this.#controller.view.cluster.context;
    metrics.increment("pd_checker_event_count", { type: authorOf(author).replace("-", "_"), name: type });
  }

  /** Whether the last look at the region found something that could not be mended then. */
  isNoted(regionId: number): boolean {
    return this.#noted.has(regionId);
  }

  /** No store could be found for what the region lacks: it is shown as pending rather than in progress. (7.24) */
  isWithoutStore(regionId: number): boolean {
    return this.#withoutStore.has(regionId);
  }

  #noStore(regionId: number, is: boolean): void {
    if (!is) {
      if (this.#withoutStore.size > 0) this.#withoutStore.delete(regionId);
    } else if (this.#withoutStore.size < SUSPECTS_MAX) this.#withoutStore.add(regionId);
  }

  get withoutStoreCount(): number {
    return this.#withoutStore.size;
  }

  get suspectCount(): number {
    return this.#suspects.size;
  }

  #wait(regionId: number, author: CheckerName, reason: string, soon: boolean): void {
    this.#noted.add(regionId);
    this.#notes.note("region", regionId, authorOf(author), reason);
    if (soon) this.suspect(regionId);
  }

  /** Rules or labels of the range changed: its regions are looked at before a pass comes to them. */
  suspectRange(startKey: Uint8Array, endKey: Uint8Array): void {
    if (this.#ranges.length < RANGES_MAX) this.#ranges.push({ startKey, endKey });
    else this.wake();
  }

  /** How long the last whole pass took; 0 before the first has ended. */
  get lastPassMs(): number {
    return this.#lastPassMs;
  }

  get #passMs(): number {
    const { regions } = this.#controller.view.cluster;
    return Math.min(PASS_MAX_MS, Math.max(PASS_MIN_MS, regions.count));
  }

  /** `usedMs` of a tick's time are over already: large clusters need nearly all of it for a pass of ten seconds. */
  #arm(usedMs = 0): void {
    const { view } = this.#controller;
    const everyMs = Math.max(TICK_MIN_MS, view.config.number("schedule.patrol-region-interval"));
    const busy = this.#inPass || this.#ranges.length > 0;
    const isBehind = this.#owed > 0 || this.#ranges.length > 0;
    const delayMs = isBehind
      ? REST_MS
      : busy
        ? Math.max(REST_MS, everyMs - usedMs)
        : Math.max(everyMs, SUSPECTS_EVERY_MS);
    this.#timer = view.env.timers.set(delayMs, () => {
      this.#timer = undefined;
      if (this.#stopped) return;
      const startedMs = view.nowMs();
      this.#tick();
      this.#arm(view.nowMs() - startedMs);
    });
  }

  #tick(): void {
    if (!this.#mayAct || misbehaves(this.#controller.view.env, "PD's patrol rests")) return;
    const nowMs = this.#controller.view.nowMs();
    if (this.#priority.size > 0) this.#checkPriority(nowMs);
    if (nowMs - this.#suspectsSeenMs >= SUSPECTS_EVERY_MS) {
      this.#suspectsSeenMs = nowMs;
      this.#checkSuspects();
    }
    if (this.#ranges.length > 0) this.#checkRange();
    if (!this.#inPass) {
      if (nowMs - this.#passStartedMs < this.#passMs) return;
      this.#inPass = true;
      this.#passStartedMs = nowMs;
    }
    this.#batch();
  }

  #checkRange(): void {
    const range = this.#ranges[0] as { startKey: Uint8Array; readonly endKey: Uint8Array };
    const found = this.#controller.view.cluster.regions.scan(range.startKey, range.endKey, RANGE_BATCH);
    for (const region of found) this.check(region);
    const last = found.at(-1);
    if (found.length < RANGE_BATCH || last === undefined || last.meta.endKey.length === 0)
      this.#ranges.shift();
    else range.startKey = last.meta.endKey;
  }

  #checkPriority(startedMs: number): void {
    const { view } = this.#controller;
    const intervalMs = Math.max(TICK_MIN_MS, view.config.number("schedule.patrol-region-interval"));
    const most = view.config.number("schedule.replica-schedule-limit");
    if (this.#controller.count("replica") >= most) return;
    for (const id of this.#priority.due(startedMs, intervalMs)) {
      if (this.#controller.count("replica") >= most) return;
      const region = view.cluster.regions.byId(id);
      if (region === undefined) this.#priority.forget(id);
      else this.check(region);
      if (view.nowMs() - startedMs >= TURN_MS) return;
    }
  }

  /** One round over a batch of them; those that must wait further come back to the end of the line. */
  #checkSuspects(): void {
    const { regions } = this.#controller.view.cluster;
    const batch: number[] = [];
    for (const id of this.#suspects) {
      if (batch.length >= BATCH) break;
      batch.push(id);
    }
    for (const id of batch) {
      this.#suspects.delete(id);
      const region = regions.byId(id);
      if (region !== undefined) this.check(region);
    }
  }

  /**
   * As many regions as a pass in its time needs, in turns of a few milliseconds: between them heartbeats and
   * timestamps are answered. What a turn did not get through is done in the next, soon. (8.1)
   */
  #batch(): void {
    const { regions, context } = this.#controller.view.cluster;
    const perTick = Math.min(BATCH_MAX, Math.max(BATCH, Math.ceil(regions.count / BATCHES_PER_PASS)));
    this.#owed = Math.min(this.#owed + perTick, BATCH_MAX);
    const endMs = this.#controller.view.nowMs() + TURN_MS;
    for (;;) {
      const most = Math.min(SLICE, this.#owed);
      const found = regions.scan(this.#position, new Uint8Array(0), most);
      for (const region of found) this.check(region);
      this.#owed -= found.length;
      const last = found.at(-1);
      if (last === undefined || found.length < most || last.meta.endKey.length === 0) break;
      this.#position = last.meta.endKey;
      if (this.#owed === 0 || this.#controller.view.nowMs() >= endMs) return;
    }
    this.#inPass = false;
    this.#owed = 0;
    this.#position = new Uint8Array(0);
    this.#lastPassMs = this.#controller.view.nowMs() - this.#passStartedMs;
    context.metrics.set("pd_checker_patrol_regions_time", {}, this.#lastPassMs / 1000);
  }
}
