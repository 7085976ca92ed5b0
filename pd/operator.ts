/**
 * An operator: a plan of steps for one region, made for one membership. At most one runs per region. (pd-rules 6.1)
 */
import { formatDurationMs, formatInstant } from "./duration.js";
import type { RegionEpoch, RegionInfo } from "./region-info.js";
import { stepText, stepTimeoutMs } from "./step-command.js";
import { isStepFinished, type Step, withPeerIds } from "./operator-step.js";

/** In the order in which the text names them; the first one present is the kind an operator is counted in. */
const KINDS = [
  "admin",
  "merge",
  "range",
  "replica",
  "split",
  "hot-region",
  "region",
  "leader",
  "split-scatter",
] as const;
export type OperatorKind = (typeof KINDS)[number];

export type OperatorPriority = "low" | "medium" | "high" | "urgent";
const PRIORITIES: readonly OperatorPriority[] = ["low", "medium", "high", "urgent"];
export const priorityLevel = (priority: OperatorPriority): number => PRIORITIES.indexOf(priority);

export type OperatorState =
  | "created"
  | "started"
  | "success"
  | "canceled"
  | "replaced"
  | "expired"
  | "timeout";

/** A plan that was not started for so long was made for another world. */
const CREATED_EXPIRES_MS = 3000;

/** Which peers take room of the stores' limits: fewer in plans that place empty regions by the hundred. (5.16) */
export type StoreLimitUse = "all" | "removals" | "none";

export interface OperatorPlan {
  readonly desc: string;
  readonly brief: string;
  readonly kinds: readonly OperatorKind[];
  readonly priority: OperatorPriority;
  readonly steps: readonly Step[];
  /** Default "all". */
  readonly storeLimit?: StoreLimitUse;
  readonly details?: Readonly<Record<string, string | number>>;
}

export class Operator {
  readonly desc: string;
  readonly brief: string;
  readonly kinds: readonly OperatorKind[];
  readonly priority: OperatorPriority;
  steps: readonly Step[];
  readonly storeLimit: StoreLimitUse;
  readonly regionId: number;
  readonly epoch: RegionEpoch;
  readonly sizeMib: number;
  /** Where the region was led when the plan was made: from there snapshots come. */
  readonly leaderStoreId: number;
  timeoutMs: number;
  readonly createdMs: number;
  readonly createdWallMs: number;
  startedMs = 0;
  startedWallMs = 0;
  finishedMs = 0;
  finishedWallMs = 0;
  /** Index of the first step that is not finished. */
  currentStep = 0;
  stepStartedMs = 0;
  state: OperatorState = "created";
  /** Why it ended otherwise than by success. */
  reason = "";
  /** The other region of a merge: both operators live and die together. */
  relatedRegionId: number | undefined;
  /** What a person may want to know besides: the figures behind the decision. */
  readonly details: Readonly<Record<string, string | number>>;
  /** When the current step is sent again. */
  nextPushMs = 0;

  constructor(plan: OperatorPlan, region: RegionInfo, nowMs: number, wallMs: number) {
    this.desc = plan.desc;
    this.brief = plan.brief;
    this.kinds = KINDS.filter((kind) => plan.kinds.includes(kind));
    this.priority = plan.priority;
    this.steps = plan.steps;
    this.storeLimit = plan.storeLimit ?? "all";
    this.details = plan.details ?? {};
    this.regionId = region.meta.id;
    this.epoch = region.meta.epoch;
    this.sizeMib = region.sizeMib;
    this.leaderStoreId = region.leader?.storeId ?? 0;
    this.createdMs = nowMs;
    this.createdWallMs = wallMs;
    let totalMs = 0;
    for (const step of plan.steps) totalMs += stepTimeoutMs(step, region.sizeMib);
    this.timeoutMs = Math.floor(totalMs / 1000) * 1000;
  }

  /** Every operator is counted in exactly one kind: else replica repairs would block leader balance. (6.2) */
  get countedKind(): OperatorKind {
    if (this.kinds[0] !== "admin" && this.kinds.includes("split-scatter")) return "split-scatter";
    return this.kinds[0] ?? "admin";
  }

  get isEnded(): boolean {
    return this.state !== "created" && this.state !== "started";
  }

  get step(): Step | undefined {
    return this.steps[this.currentStep];
  }

  /** Gives ids to the peers that it makes, at its start; false when there are none at hand. */
  namePeers(take: () => number | undefined): boolean {
    const steps = withPeerIds(this.steps, take);
    this.steps = steps ?? this.steps;
    return steps !== undefined;
  }

  /** Moves over finished steps and settles the state. */
  check(
    region: RegionInfo,
    nowMs: number,
    onStep: (step: Step, durationMs: number) => void = () => {},
  ): void {
    if (this.state !== "started") return;
    for (let step = this.step; step !== undefined && isStepFinished(step, region); step = this.step) {
      this.currentStep += 1;
      onStep(step, nowMs - Math.max(this.stepStartedMs, this.startedMs));
      this.stepStartedMs = nowMs;
    }
    if (this.step === undefined) this.state = "success";
    else this.#checkTime(nowMs);
  }

  #checkTime(nowMs: number): void {
    if (this.state === "started" && nowMs - this.startedMs >= this.timeoutMs) this.state = "timeout";
  }

  isExpired(nowMs: number): boolean {
    return this.state === "created" && nowMs - this.createdMs >= CREATED_EXPIRES_MS;
  }

  toText(): string {
    const { epoch } = this;
    const steps = this.steps.map((step, i) => `${i}:{${stepText(step)}}`).join(", ");
    const text =
      `${this.desc} {${this.brief}} (kind:${this.kinds.join(",")}, ` +
      `region:${this.regionId}(${epoch.version}, ${epoch.confVer}), createAt:${instant(this.createdWallMs)}, ` +
      `startAt:${instant(this.startedWallMs)}, currentStep:${this.currentStep}, size:${this.sizeMib}, ` +
      `steps:[${steps}], timeout:[${formatDurationMs(this.timeoutMs)}])`;
    if (this.state === "success") return `${text} finished`;
    return this.state === "timeout" ? `${text} timeout` : text;
  }

  /** The form of an ended operator in the records. */
  toRecordText(): string {
    const duration = formatDurationMs(this.finishedMs - (this.startedMs || this.createdMs));
    return `${this.toText()} (finishAt:${instant(this.finishedWallMs)}, duration:${duration})`;
  }

  /** As `GET /operators/{id}` and GetOperator name it. */
  get statusText(): "SUCCESS" | "TIMEOUT" | "CANCEL" | "REPLACE" | "RUNNING" {
    switch (this.state) {
      case "success":
        return "SUCCESS";
      case "timeout":
      case "expired":
        return "TIMEOUT";
      case "canceled":
        return "CANCEL";
      case "replaced":
        return "REPLACE";
      default:
        return "RUNNING";
    }
  }
}

const instant = (wallMs: number): string =>
  wallMs === 0
    ? "0001-01-01 00:00:00 +0000 UTC"
    : `${formatInstant(wallMs).replace("T", " ").replace("Z", "")} +0000 UTC`;

/** What the unfinished steps of an operator will do to a store. */
export interface StoreInfluence {
  leaderCount: number;
  leaderSizeMib: number;
  regionCount: number;
  regionSizeMib: number;
}

export const NO_INFLUENCE: Readonly<StoreInfluence> = {
  leaderCount: 0,
  leaderSizeMib: 0,
  regionCount: 0,
  regionSizeMib: 0,
};

export type Influence = Map<number, StoreInfluence>;

/** Of the steps that are not finished; of all of them for one that has ended and may not show in all figures yet. */
export function addInfluence(influence: Influence, operator: Operator, region: RegionInfo): void {
  const isWhole = operator.isEnded;
  const on = (storeId: number): StoreInfluence => {
    let entry = influence.get(storeId);
    if (entry === undefined) {
      entry = { leaderCount: 0, leaderSizeMib: 0, regionCount: 0, regionSizeMib: 0 };
      influence.set(storeId, entry);
    }
    return entry;
  };
  for (const step of operator.steps.slice(isWhole ? 0 : operator.currentStep)) {
    switch (step.kind) {
      case "transferLeader":
        on(step.fromStore).leaderCount -= 1;
        on(step.fromStore).leaderSizeMib -= region.sizeMib;
        on(step.toStore).leaderCount += 1;
        on(step.toStore).leaderSizeMib += region.sizeMib;
        break;
      case "addPeer":
      case "addLearner":
        // Once the peer is visible the store's own figures have it.
        if (!isWhole && region.meta.peers.some((peer) => peer.id === step.peerId)) break;
        on(step.storeId).regionCount += 1;
        on(step.storeId).regionSizeMib += region.sizeMib;
        break;
      case "removePeer":
        on(step.storeId).regionCount -= 1;
        on(step.storeId).regionSizeMib -= region.sizeMib;
        break;
      case "merge":
        if (!step.isPassive) break;
        for (const peer of region.meta.peers) on(peer.storeId).regionCount -= 1;
        if (region.leader !== undefined) on(region.leader.storeId).leaderCount -= 1;
        break;
      case "split":
        for (const peer of region.meta.peers) on(peer.storeId).regionCount += 1;
        if (region.leader !== undefined) on(region.leader.storeId).leaderCount += 1;
        break;
      default:
        break;
    }
  }
}
