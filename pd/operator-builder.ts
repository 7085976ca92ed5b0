/**
 * Turns wishes ("a peer there, none here, that leader") into an operator: the first wish that cannot be refuses all.
 * The order of the steps is the planner's. (pd-rules 6.9 to 6.11, 6.19)
 */
import {
  Operator,
  type OperatorKind,
  type OperatorPlan,
  type OperatorPriority,
  type StoreLimitUse,
} from "./operator.js";
import type { Step } from "./operator-step.js";
import { isInJointState, isUnhealthy, isVoter, type Peer, type RegionInfo } from "./region-info.js";
import type { RuleRole } from "./placement/rule.js";
import type { SchedulingView } from "./scheduling-view.js";
import { type PeerChanges, StepPlanner, type TargetRole } from "./step-planner.js";

export type BuildResult =
  | { readonly kind: "built"; readonly operator: Operator }
  | { readonly kind: "refused"; readonly reason: string };

const createError = (reason: string): string =>
  `[PD:schedule:ErrCreateOperator]unable to create operator, ${reason}`;

export interface BuilderOptions {
  /** Transfers and leaving joint state work on regions in joint state. */
  readonly allowJointState?: boolean;
  /** Leaving joint state asks no placement rule. */
  readonly ignoresRules?: boolean;
  /** The target leader is taken as given, whatever the state of its store. */
  readonly forceLeader?: boolean;
  readonly storeLimit?: StoreLimitUse;
  /** The figures behind the decision, for people. */
  readonly details?: Readonly<Record<string, string | number>>;
}

export class OperatorBuilder {
  readonly #view: SchedulingView;
  readonly #desc: string;
  readonly #region: RegionInfo;
  readonly #options: BuilderOptions;
  readonly #target = new Map<number, TargetRole>();
  #targetLeader = 0;
  #leaderCandidates: readonly number[] = [];
  #expected: ReadonlyMap<number, RuleRole> = new Map();
  #problem: string | undefined;

  constructor(view: SchedulingView, desc: string, region: RegionInfo, options: BuilderOptions = {}) {
    this.#view = view;
    this.#desc = desc;
    this.#region = region;
    this.#options = options;
    const leader = region.leader?.storeId;
    for (const peer of region.meta.peers) {
      this.#target.set(peer.storeId, isVoter(peer) && peer.role !== "demotingVoter" ? "voter" : "learner");
    }
    if (leader !== undefined && !this.#target.has(leader)) this.#refuse("leader is not among the peers");
    if (options.allowJointState !== true && isInJointState(region.meta)) {
      this.#refuse("cannot build operator for region which is in joint state");
    }
    // It lies across borders of rules and is split first: each part may have others. (6.9)
    const asksRules = view.usesRules && options.ignoresRules !== true && options.forceLeader !== true;
    if (asksRules && view.cluster.rules.appliedTo(region.meta).length === 0) {
      this.#refuse("cannot build operator for region match no placement rule");
    }
  }

  addPeer(storeId: number, role: TargetRole): this {
    if (this.#target.has(storeId)) this.#refuse(`cannot add peer to store ${storeId}: already exists`);
    else this.#target.set(storeId, role);
    return this;
  }

  removePeer(storeId: number): this {
    if (!this.#target.delete(storeId)) this.#refuse(`cannot remove peer from store ${storeId}: not found`);
    else if (this.#targetLeader === storeId)
      this.#refuse(`cannot remove peer from store ${storeId}: is target leader`);
    return this;
  }

  promoteLearner(storeId: number): this {
    const peer = this.#peer(storeId);
    if (this.#target.get(storeId) === undefined || peer === undefined) {
      this.#refuse(`cannot promote peer on store ${storeId}: not found`);
    } else if (this.#target.get(storeId) === "voter") {
      this.#refuse(`cannot promote peer on store ${storeId}: is not learner`);
    } else if (isUnhealthy(this.#region, peer.id)) {
      this.#refuse(`cannot promote peer on store ${storeId}: unhealthy`);
    } else {
      this.#target.set(storeId, "voter");
    }
    return this;
  }

  demoteVoter(storeId: number): this {
    if (this.#target.get(storeId) !== "voter")
      this.#refuse(`cannot demote voter on store ${storeId}: not a voter`);
    else this.#target.set(storeId, "learner");
    return this;
  }

  /** `others` may lead as well; the store of the leader chooses. */
  setLeader(storeId: number, others: readonly number[] = []): this {
    const peer = this.#peer(storeId);
    if (this.#target.get(storeId) === undefined) {
      this.#refuse(`cannot transfer leader to store ${storeId}: not found`);
    } else if (this.#target.get(storeId) === "learner") {
      this.#refuse(`cannot transfer leader to store ${storeId}: not voter`);
    } else if (peer !== undefined && isUnhealthy(this.#region, peer.id)) {
      this.#refuse(`cannot transfer leader to store ${storeId}: unhealthy`);
    } else {
      this.#targetLeader = storeId;
      this.#leaderCandidates = others;
    }
    return this;
  }

  /** Roles that rules expect of stores: at most one leader, and at least one that may lead. */
  setExpectedRoles(roles: ReadonlyMap<number, RuleRole>): this {
    const all = [...roles.values()];
    if (all.filter((role) => role === "leader").length > 1)
      this.#refuse("region cannot have multiple leaders");
    else if (!all.some((role) => role === "leader" || role === "voter")) {
      this.#refuse("region need at least 1 voter or leader");
    } else this.#expected = roles;
    return this;
  }

  build(kinds: readonly OperatorKind[], priority: OperatorPriority = "medium", brief?: string): BuildResult {
    const planner = this.#planner();
    const reason = this.#problem ?? planner.plan();
    if (reason !== undefined) return { kind: "refused", reason: createError(reason) };
    if (planner.steps.length === 0)
      return { kind: "refused", reason: createError("no operator step is built") };
    return this.#finish(planner.steps, kinds, priority, brief ?? this.#brief(planner.changes));
  }

  buildLeaveJointState(): BuildResult {
    const planner = this.#planner();
    planner.planLeavingJointState();
    return this.#finish(planner.steps, ["admin"], "high", "leave joint state");
  }

  #finish(
    steps: readonly Step[],
    kinds: readonly OperatorKind[],
    priority: OperatorPriority,
    brief: string,
  ): BuildResult {
    const all = new Set(kinds);
    for (const step of steps) {
      if (step.kind === "transferLeader") all.add("leader");
      if (step.kind === "addPeer" || step.kind === "addLearner" || step.kind === "removePeer")
        all.add("region");
    }
    const plan: OperatorPlan = {
      desc: this.#desc,
      brief,
      kinds: [...all],
      priority,
      steps,
      storeLimit: this.#options.storeLimit ?? "all",
      details: this.#options.details ?? {},
    };
    const { clock } = this.#view.env;
    const operator = new Operator(plan, this.#region, clock.monotonicMs(), clock.wallMs());
    return { kind: "built", operator };
  }

  #refuse(reason: string): void {
    this.#problem ??= reason;
  }

  #peer(storeId: number): Peer | undefined {
    return this.#region.meta.peers.find((peer) => peer.storeId === storeId);
  }

  #planner(): StepPlanner {
    return new StepPlanner(this.#view, this.#region, {
      target: this.#target,
      leader: this.#targetLeader,
      leaderCandidates: this.#leaderCandidates,
      forceLeader: this.#options.forceLeader === true,
      expected: this.#expected,
    });
  }

  /** (6.19) */
  #brief({ add, remove, promote, demote }: PeerChanges): string {
    const list = (stores: readonly number[]): string => `[${stores.join(" ")}]`;
    if (add.length > 0 && remove.length > 0) return `mv peer: store ${list(remove)} to ${list(add)}`;
    if (add.length > 0) return `add peer: store ${list(add)}`;
    if (remove.length > 0) return `rm peer: store ${list(remove)}`;
    if (promote.length > 0) return `promote peer: store ${list(promote)}`;
    if (demote.length > 0) return `demote peer: store ${list(demote)}`;
    return `transfer leader: store ${this.#region.leader?.storeId ?? 0} to ${this.#targetLeader}`;
  }
}
