/**
 * Looks at regions and repairs them: at each heartbeat, on suspicion, and in passes over all of them in key order,
 * because what makes a region wrong (a store that leaves, joins, or falls silent) often changes no region. A pass goes
 * in batches and takes its time, unless a store changed; what only waits for room is looked at again soon.
 * (pd-rules 8.1 to 8.8)
 */
import { misbehaves, type TimerHandle } from "../base/index.js";
import type { DecisionNotes } from "./decision-notes.js";
import type { OperatorController } from "./operator-controller.js";
import type { RegionInfo } from "./region-info.js";
import { ReplicaChecker } from "./replica-checker.js";

const BATCH = 128;
const TICK_MIN_MS = 10;
const SUSPECTS_EVERY_MS = 100;
const SUSPECTS_MAX = 100_000;
/** From the beginning of one pass to the next: a millisecond a region, within these bounds. */
const PASS_MIN_MS = 500;
const PASS_MAX_MS = 10_000;
const AUTHOR = "replica-checker";

export class RegionPatrol {
  readonly #controller: OperatorController;
  readonly #notes: DecisionNotes;
  readonly #checker: ReplicaChecker;
  /** Regions to look at before the pass reaches them, oldest first. */
  readonly #suspects = new Set<number>();
  #suspectsSeenMs = Number.NEGATIVE_INFINITY;
  #position: Uint8Array = new Uint8Array(0);
  #passStartedMs = Number.NEGATIVE_INFINITY;
  #inPass = false;
  #timer: TimerHandle | undefined;
  #stopped = true;

  constructor(controller: OperatorController, notes: DecisionNotes) {
    this.#controller = controller;
    this.#notes = notes;
    this.#checker = new ReplicaChecker(controller.view);
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
    this.#passStartedMs = this.#controller.view.nowMs();
    if (this.#stopped || this.#timer === undefined) return;
    this.#controller.view.env.timers.clear(this.#timer);
    this.#arm();
  }

  /** One look at one region; starts an operator where one is due. */
  check(region: RegionInfo): void {
    const { id } = region.meta;
    if (!this.#mayAct || this.#controller.operator(id) !== undefined) return;
    const result = this.#checker.check(region);
    if (result.kind === "healthy") return this.#notes.clear("region", id, AUTHOR);
    if (result.kind === "waiting") return this.#wait(id, result.reason, result.soon);
    const { operator } = result;
    const limit = this.#controller.view.config.number("schedule.replica-schedule-limit");
    // Leaving joint state is not counted: a region in joint state blocks everything else.
    const isCounted = operator.countedKind === "replica";
    if (isCounted && this.#controller.count("replica") >= limit) {
      return this.#wait(id, `replica-schedule-limit ${limit} is reached`, limit > 0);
    }
    const refused = this.#controller.add(operator);
    if (refused === undefined) this.#notes.clear("region", id, AUTHOR);
    else this.#wait(id, `${operator.desc}: ${refused}`, true);
  }

  #wait(regionId: number, reason: string, soon: boolean): void {
    this.#notes.note("region", regionId, AUTHOR, reason);
    if (soon) this.suspect(regionId);
  }

  get #passMs(): number {
    const { regions } = this.#controller.view.cluster;
    return Math.min(PASS_MAX_MS, Math.max(PASS_MIN_MS, regions.count));
  }

  #arm(): void {
    const { view } = this.#controller;
    const everyMs = Math.max(TICK_MIN_MS, view.config.number("schedule.patrol-region-interval"));
    const delayMs = this.#inPass ? everyMs : Math.max(everyMs, SUSPECTS_EVERY_MS);
    this.#timer = view.env.timers.set(delayMs, () => {
      this.#timer = undefined;
      if (this.#stopped) return;
      this.#tick();
      this.#arm();
    });
  }

  #tick(): void {
    if (!this.#mayAct || misbehaves(this.#controller.view.env, "PD's patrol rests")) return;
    const nowMs = this.#controller.view.nowMs();
    if (nowMs - this.#suspectsSeenMs >= SUSPECTS_EVERY_MS) {
      this.#suspectsSeenMs = nowMs;
      this.#checkSuspects();
    }
    if (!this.#inPass) {
      if (nowMs - this.#passStartedMs < this.#passMs) return;
      this.#inPass = true;
      this.#passStartedMs = nowMs;
    }
    this.#batch();
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

  #batch(): void {
    const found = this.#controller.view.cluster.regions.scan(this.#position, new Uint8Array(0), BATCH);
    for (const region of found) this.check(region);
    const last = found.at(-1);
    this.#inPass = last !== undefined && found.length === BATCH && last.meta.endKey.length > 0;
    this.#position = this.#inPass && last !== undefined ? last.meta.endKey : new Uint8Array(0);
  }
}
