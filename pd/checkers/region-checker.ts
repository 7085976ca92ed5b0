/**
 * Everything that is looked at in one region, in order; the first plan wins: joint state, borders, rules (or, with
 * rules off, learners and replicas), merging. `schedule=deny` stops what comes after the repairs. Each checker may
 * be paused. (pd-rules 8.2, 8.8)
 */
import { isInJointState, type RegionInfo } from "../region-info.js";
import { ReplicaChecker } from "../replica-checker.js";
import type { SchedulingView } from "../scheduling-view.js";
import { type CheckResult, HEALTHY, waiting } from "./check-result.js";
import { leaveJointState } from "./joint-state-checker.js";
import { MergeChecker } from "./merge-checker.js";
import { RuleChecker } from "./rule-checker.js";
import { checkSplit } from "./split-checker.js";

export const CHECKERS = ["learner", "replica", "rule", "split", "merge", "joint-state", "affinity"] as const;
export type CheckerName = (typeof CHECKERS)[number];
export const isCheckerName = (name: string): name is CheckerName =>
  (CHECKERS as readonly string[]).includes(name);

export interface Checked {
  readonly author: CheckerName;
  readonly result: CheckResult;
  /** Replicas that are missing, where something is to be repaired. */
  readonly lack?: number;
}

const CLEAN: Checked = { author: "rule", result: HEALTHY };

const pausedBy = (name: CheckerName): CheckResult => waiting(`the ${name} checker is paused`);

export class RegionChecker {
  readonly #view: SchedulingView;
  readonly #rules: RuleChecker;
  readonly #replicas: ReplicaChecker;
  readonly merge: MergeChecker;
  readonly #pausedUntilMs = new Map<CheckerName, number>();

  constructor(view: SchedulingView, isHot: (regionId: number) => boolean) {
    this.#view = view;
    this.#rules = new RuleChecker(view);
    this.#replicas = new ReplicaChecker(view);
    this.merge = new MergeChecker(view, isHot);
  }

  /** For so many seconds from now; 0 resumes. Not stored. */
  pause(name: CheckerName, seconds: number): void {
    this.#pausedUntilMs.set(name, this.#view.nowMs() + seconds * 1000);
  }

  isPaused(name: CheckerName): boolean {
    return this.#pausedUntilMs.size > 0 && (this.#pausedUntilMs.get(name) ?? 0) > this.#view.nowMs();
  }

  check(region: RegionInfo): Checked {
    if (isInJointState(region.meta)) {
      const isPaused = this.isPaused("joint-state");
      const result = isPaused ? pausedBy("joint-state") : leaveJointState(this.#view, region);
      return { author: "joint-state", result };
    }
    if (!this.isPaused("split")) {
      const split = checkSplit(this.#view, region);
      if (split.kind !== "healthy") return { author: "split", result: split };
    }
    const author = this.#view.usesRules ? "rule" : "replica";
    const isPaused = this.isPaused(author);
    const result = isPaused
      ? pausedBy(author)
      : author === "rule"
        ? this.#rules.check(region)
        : this.#replicas.check(region, !this.isPaused("learner"));
    if (result.kind !== "healthy" && !isPaused) {
      const missing =
        author === "rule" ? this.#rules.lack : this.#view.config.maxReplicas - region.meta.peers.length;
      return { author, result, lack: missing };
    }
    // Nothing to repair, or nobody who does: small regions may still be merged.
    const clean: Checked = isPaused ? { author, result } : CLEAN;
    if (!this.merge.isPossible || this.isPaused("merge")) return clean;
    if (this.#view.cluster.labels.deniesSchedule(region.meta)) return clean;
    const merged = this.merge.check(region);
    return isPaused && merged.kind !== "operator" ? clean : { author: "merge", result: merged };
  }
}
