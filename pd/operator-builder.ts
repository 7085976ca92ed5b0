/**
 * Turns "these peers, that leader" into safe steps. Every new peer comes as a learner and is promoted when it has
 * caught up; a leader is moved away before it is removed or demoted; several changes of voters at once go through
 * joint consensus, or one by one (add before remove) where that is off. (pd-rules 6.9 to 6.16)
 */
import { Operator, type OperatorKind, type OperatorPlan, type OperatorPriority } from "./operator.js";
import type { PeerPlace, Step } from "./operator-step.js";
import { isInJointState, isUnhealthy, isVoter, type Peer, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";

export type BuildResult =
  | { readonly kind: "built"; readonly operator: Operator }
  | { readonly kind: "refused"; readonly reason: string };

type TargetRole = "voter" | "learner";

const JOINT_VERSION_MAJOR = 5;

const createError = (reason: string): string =>
  `[PD:schedule:ErrCreateOperator]unable to create operator, ${reason}`;

export interface BuilderOptions {
  /** Transfers and leaving joint state work on regions in joint state. */
  readonly allowJointState?: boolean;
  /** The target leader is taken as given, whatever the state of its store. */
  readonly forceLeader?: boolean;
  readonly ignoresStoreLimit?: boolean;
}

export class OperatorBuilder {
  readonly #view: SchedulingView;
  readonly #desc: string;
  readonly #region: RegionInfo;
  readonly #options: BuilderOptions;
  readonly #target = new Map<number, TargetRole>();
  #targetLeader = 0;
  #leaderCandidates: readonly number[] = [];
  #problem: string | undefined;
  readonly #steps: Step[] = [];
  /** Peer ids by store, known ones and those allocated for this plan. */
  readonly #ids = new Map<number, number>();
  /** The leader's store as the steps so far leave it. */
  #leader: number;

  constructor(view: SchedulingView, desc: string, region: RegionInfo, options: BuilderOptions = {}) {
    this.#view = view;
    this.#desc = desc;
    this.#region = region;
    this.#options = options;
    this.#leader = region.leader?.storeId ?? 0;
    for (const peer of region.meta.peers) {
      this.#target.set(peer.storeId, isVoter(peer) && peer.role !== "demotingVoter" ? "voter" : "learner");
      this.#ids.set(peer.storeId, peer.id);
    }
    if (this.#leader !== 0 && !this.#ids.has(this.#leader)) this.#refuse("leader is not among the peers");
    if (options.allowJointState !== true && isInJointState(region.meta)) {
      this.#refuse("cannot build operator for region which is in joint state");
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

  build(kinds: readonly OperatorKind[], priority: OperatorPriority = "medium", brief?: string): BuildResult {
    const reason = this.#problem ?? this.#plan();
    if (reason !== undefined) return { kind: "refused", reason: createError(reason) };
    if (this.#steps.length === 0)
      return { kind: "refused", reason: createError("no operator step is built") };
    return this.#finish(kinds, priority, brief ?? this.#brief());
  }

  /** Ends a joint state that a lost operator left: first the leader away from a peer that will be demoted. (6.18) */
  buildLeaveJointState(): BuildResult {
    const peers = this.#region.meta.peers;
    const place = (peer: Peer): PeerPlace => ({ storeId: peer.storeId, peerId: peer.id });
    const promote = peers.filter((peer) => peer.role === "incomingVoter");
    const demote = peers.filter((peer) => peer.role === "demotingVoter");
    if (demote.some((peer) => peer.storeId === this.#leader)) {
      const leader = this.#chooseLeader(promote.map((peer) => peer.storeId));
      if (leader !== 0) this.#transfer(leader);
    }
    this.#steps.push({ kind: "leaveJoint", promote: promote.map(place), demote: demote.map(place) });
    return this.#finish(["admin"], "high", "leave joint state");
  }

  #finish(kinds: readonly OperatorKind[], priority: OperatorPriority, brief: string): BuildResult {
    const all = new Set(kinds);
    for (const step of this.#steps) {
      if (step.kind === "transferLeader") all.add("leader");
      if (step.kind === "addPeer" || step.kind === "addLearner" || step.kind === "removePeer")
        all.add("region");
    }
    const plan: OperatorPlan = {
      desc: this.#desc,
      brief,
      kinds: [...all],
      priority,
      steps: this.#steps,
      ignoresStoreLimit: this.#options.ignoresStoreLimit === true,
    };
    const { clock } = this.#view.env;
    return { kind: "built", operator: new Operator(plan, this.#region, clock.monotonicMs(), clock.wallMs()) };
  }

  #refuse(reason: string): void {
    this.#problem ??= reason;
  }

  #peer(storeId: number): Peer | undefined {
    return this.#region.meta.peers.find((peer) => peer.storeId === storeId);
  }

  #isVoterNow(storeId: number): boolean {
    const peer = this.#peer(storeId);
    return peer !== undefined && isVoter(peer);
  }

  #changes(): { add: number[]; remove: number[]; promote: number[]; demote: number[] } {
    const ascending = (left: number, right: number): number => left - right;
    const stores = [...this.#target.keys()].sort(ascending);
    const current = this.#region.meta.peers.map((peer) => peer.storeId).sort(ascending);
    return {
      add: stores.filter((id) => this.#peer(id) === undefined),
      remove: current.filter((id) => !this.#target.has(id)),
      promote: stores.filter((id) => this.#peer(id)?.role === "learner" && this.#target.get(id) === "voter"),
      demote: stores.filter((id) => this.#isVoterNow(id) && this.#target.get(id) === "learner"),
    };
  }

  /** Fills the steps; the answer is a reason not to. */
  #plan(): string | undefined {
    if (![...this.#target.values()].includes("voter")) {
      return "cannot create operator: target peers have no voter";
    }
    if (this.#targetLeader !== 0 && !this.#mayLead(this.#targetLeader, this.#options.forceLeader === true)) {
      return "cannot create operator: target leader is not allowed";
    }
    const { add, remove, promote, demote } = this.#changes();
    for (const storeId of add) {
      const id = this.#view.takeId();
      if (id === undefined) return "no id is at hand, try again in a moment";
      this.#ids.set(storeId, id);
    }
    const isSingle = add.length + remove.length + promote.length <= 1 && demote.length === 0;
    const votersNow = this.#region.meta.peers.filter(isVoter).length;
    const votersThen = [...this.#target.values()].filter((role) => role === "voter").length;
    const twoToOne = votersNow === 2 && votersThen === 1;
    const joint = this.#view.jointConsensus(JOINT_VERSION_MAJOR) && (!isSingle || twoToOne);
    return joint
      ? this.#planJoint(add, remove, promote, demote)
      : this.#planOneByOne(add, remove, promote, demote);
  }

  /** Rule 6.13. */
  #planJoint(
    add: readonly number[],
    remove: readonly number[],
    promote: readonly number[],
    demote: readonly number[],
  ): string | undefined {
    for (const storeId of add) this.#steps.push({ kind: "addLearner", ...this.#place(storeId) });
    const promoted = [...promote, ...add.filter((id) => this.#target.get(id) === "voter")];
    const demoted = [...demote, ...remove.filter((id) => this.#isVoterNow(id))];
    const leader = this.#targetLeader !== 0 ? this.#targetLeader : this.#chooseLeader(promoted);
    if (leader === 0) return "no valid leader";
    const changes = {
      promote: promoted.map((id) => this.#place(id)),
      demote: demoted.map((id) => this.#place(id)),
    };
    const hasChanges = promoted.length + demoted.length > 0;
    // One single change is a simple one: the store is never in joint state, so there is none to leave.
    const leaves = promoted.length + demoted.length > 1;
    const enter = (): void => void (hasChanges && this.#steps.push({ kind: "enterJoint", ...changes }));
    const leave = (): void => void (leaves && this.#steps.push({ kind: "leaveJoint", ...changes }));
    const oldLeaderStays = this.#leader === 0 || this.#target.get(this.#leader) === "voter";
    if (this.#isVoterNow(leader)) {
      this.#transfer(leader);
      enter();
      leave();
    } else if (oldLeaderStays) {
      enter();
      leave();
      this.#transfer(leader);
    } else {
      enter();
      this.#transfer(leader);
      leave();
    }
    for (const storeId of remove) this.#steps.push({ kind: "removePeer", ...this.#place(storeId) });
    return undefined;
  }

  /** Add, promote, move the leader if needed, remove; one peer after the other, so that the group never shrinks first. */
  #planOneByOne(
    add: readonly number[],
    remove: readonly number[],
    promote: readonly number[],
    demote: readonly number[],
  ): string | undefined {
    for (const storeId of promote) this.#steps.push({ kind: "promoteLearner", ...this.#place(storeId) });
    const gone = [...remove, ...demote];
    const count = Math.max(add.length, gone.length);
    for (let i = 0; i < count; i++) {
      const added = add[i];
      if (added !== undefined) {
        this.#steps.push({ kind: "addLearner", ...this.#place(added) });
        if (this.#target.get(added) === "voter")
          this.#steps.push({ kind: "promoteLearner", ...this.#place(added) });
      }
      const removed = gone[i];
      if (removed === undefined) continue;
      if (removed === this.#leader) {
        const ready = [...promote, ...add.slice(0, i + 1)];
        const wanted = this.#targetLeader;
        const next = this.#isVoterNow(wanted) || ready.includes(wanted) ? wanted : this.#chooseLeader(ready);
        if (next === 0) return "fail to build operator: plan is empty, maybe no valid leader";
        this.#transfer(next);
      }
      const place = this.#place(removed);
      this.#steps.push({ kind: "removePeer", ...place });
      if (!demote.includes(removed)) continue;
      // Without joint consensus a voter becomes a learner by leaving and coming back.
      const id = this.#view.takeId();
      if (id === undefined) return "no id is at hand, try again in a moment";
      this.#steps.push({ kind: "addLearner", storeId: removed, peerId: id });
    }
    if (this.#targetLeader !== 0) this.#transfer(this.#targetLeader);
    return undefined;
  }

  #place(storeId: number): PeerPlace {
    return { storeId, peerId: this.#ids.get(storeId) ?? 0 };
  }

  #transfer(toStore: number): void {
    if (this.#leader === toStore || this.#leader === 0) return;
    this.#steps.push({
      kind: "transferLeader",
      fromStore: this.#leader,
      toStore,
      toStores: this.#leaderCandidates,
    });
    this.#leader = toStore;
  }

  /** The current leader's store is always allowed. (6.15) */
  #mayLead(storeId: number, force: boolean): boolean {
    if (this.#target.get(storeId) !== "voter") return false;
    const peer = this.#peer(storeId);
    if (peer?.isWitness === true) return false;
    if (storeId === this.#region.leader?.storeId) return true;
    const store = this.#view.store(storeId);
    if (store === undefined) return false;
    if (peer !== undefined && isUnhealthy(this.#region, peer.id)) return false;
    return force || this.#view.leaderTargetProblem(store) === undefined;
  }

  /** 0 when nobody may; `ready` are new peers that are voters by then. (6.16) */
  #chooseLeader(ready: readonly number[]): number {
    let best = 0;
    let bestRank: readonly number[] = [];
    for (const storeId of [...this.#target.keys()].sort((left, right) => left - right)) {
      const known = this.#isVoterNow(storeId);
      if ((!known && !ready.includes(storeId)) || !this.#mayLead(storeId, false)) continue;
      const store = this.#view.store(storeId);
      const rank = [
        store?.isUp === true ? 0 : 1,
        storeId === this.#leader ? 0 : 1,
        known ? 0 : 1,
        this.#view.leaderCount(storeId),
      ];
      if (best === 0 || isLess(rank, bestRank)) {
        best = storeId;
        bestRank = rank;
      }
    }
    return best;
  }

  /** (6.19) */
  #brief(): string {
    const { add, remove, promote, demote } = this.#changes();
    const list = (stores: readonly number[]): string => `[${stores.join(" ")}]`;
    if (add.length > 0 && remove.length > 0) return `mv peer: store ${list(remove)} to ${list(add)}`;
    if (add.length > 0) return `add peer: store ${list(add)}`;
    if (remove.length > 0) return `rm peer: store ${list(remove)}`;
    if (promote.length > 0) return `promote peer: store ${list(promote)}`;
    if (demote.length > 0) return `demote peer: store ${list(demote)}`;
    return `transfer leader: store ${this.#region.leader?.storeId ?? 0} to ${this.#targetLeader}`;
  }
}

function isLess(left: readonly number[], right: readonly number[]): boolean {
  const i = left.findIndex((value, index) => value !== right[index]);
  return i >= 0 && (left[i] as number) < (right[i] as number);
}
