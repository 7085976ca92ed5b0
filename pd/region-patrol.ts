/**
 * Looks at regions and repairs them: at each heartbeat, on suspicion, and in passes over all of them in key order,
 * because what makes a region wrong (a store that leaves, joins, or falls silent) often changes no region. A pass in
 * batches costs little per tick; a small cluster is not gone over more often than `PASS_MIN_MS`, unless a
 * store changed. (pd-rules 8.1 to 8.8)
 */
import type { TimerHandle } from "../base/index.js";
import type { DecisionNotes } from "./decision-notes.js";
import type { OperatorController } from "./operator-controller.js";
import type { RegionInfo } from "./region-info.js";
import { ReplicaChecker } from "./replica-checker.js";

const BATCH = 128;
const PASS_MIN_MS = 500;
const TICK_MIN_MS = 10;
const SUSPECTS_MAX = 10_000;
export const CHECKER_NAME = "replica-checker";

export class RegionPatrol {
  readonly #controller: OperatorController;
  readonly #notes: DecisionNotes;
  readonly #checker: ReplicaChecker;
  /** Regions to look at before the pass reaches them. */
  readonly #suspects = new Set<number>();
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

  /** A store changed: the next tick begins a pass. */
  wake(): void {
    this.#position = new Uint8Array(0);
    this.#inPass = true;
    this.#passStartedMs = this.#controller.view.nowMs();
  }

  /** One look at one region; starts an operator where one is due. */
  check(region: RegionInfo): void {
    const { id } = region.meta;
    if (!this.#mayAct || this.#controller.operator(id) !== undefined) return;
    const result = this.#checker.check(region);
    if (result.kind === "healthy") return this.#notes.clear("region", id, CHECKER_NAME);
    if (result.kind === "waiting") return this.#notes.note("region", id, CHECKER_NAME, result.reason);
    const { operator } = result;
    const limit = this.#controller.view.config.number("schedule.replica-schedule-limit");
    // Leaving joint state is not counted: a region in joint state blocks everything else.
    const counted = operator.countedKind === "replica";
    if (counted && this.#controller.count("replica") >= limit) {
      return this.#notes.note("region", id, CHECKER_NAME, `replica-schedule-limit ${limit} is reached`);
    }
    const refused = this.#controller.add(operator);
    if (refused === undefined) this.#notes.clear("region", id, CHECKER_NAME);
    else this.#notes.note("region", id, CHECKER_NAME, `${operator.desc}: ${refused}`);
  }

  #arm(): void {
    const { view } = this.#controller;
    const everyMs = Math.max(TICK_MIN_MS, view.config.number("schedule.patrol-region-interval"));
    this.#timer = view.env.timers.set(everyMs, () => {
      if (this.#stopped) return;
      this.#tick();
      this.#arm();
    });
  }

  #tick(): void {
    if (!this.#mayAct) return;
    const { regions } = this.#controller.view.cluster;
    for (const id of this.#suspects) {
      const region = regions.byId(id);
      if (region !== undefined) this.check(region);
    }
    this.#suspects.clear();
    const nowMs = this.#controller.view.nowMs();
    if (!this.#inPass) {
      if (nowMs - this.#passStartedMs < PASS_MIN_MS) return;
      this.#inPass = true;
      this.#passStartedMs = nowMs;
    }
    this.#batch();
  }

  #batch(): void {
    const found = this.#controller.view.cluster.regions.scan(this.#position, new Uint8Array(0), BATCH);
    for (const region of found) this.check(region);
    const last = found.at(-1);
    this.#inPass = last !== undefined && found.length === BATCH && last.meta.endKey.length > 0;
    this.#position = this.#inPass && last !== undefined ? last.meta.endKey : new Uint8Array(0);
  }
}
