/**
 * Orders the steps from a region's peers to the peers it shall have. Every new peer comes as a learner and is
 * promoted when it has caught up; a leader is moved away before it is removed or demoted; several changes of voters
 * at once go through joint consensus, or one by one (add before remove) where that is off. (pd-rules 6.11 to 6.16)
 */
import { rulesAllowLeader } from "./placement/fit.js";
import type { RuleRole } from "./placement/rule.js";
import type { PeerPlace, Step } from "./operator-step.js";
import { isUnhealthy, isVoter, type Peer, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";

export type TargetRole = "voter" | "learner";

export interface StepGoal {
  /** Roles by store. */
  readonly target: ReadonlyMap<number, TargetRole>;
  /** 0: any that may lead. */
  readonly leader: number;
  /** Others that may lead as well; the store of the leader chooses. */
  readonly leaderCandidates: readonly number[];
  /** The target leader is taken as given, whatever the state of its store. */
  readonly forceLeader: boolean;
  /** What placement rules expect of stores, where the plan follows them: who should lead, who should not. */
  readonly expected: ReadonlyMap<number, RuleRole>;
}

export interface PeerChanges {
  readonly add: readonly number[];
  readonly remove: readonly number[];
  readonly promote: readonly number[];
  readonly demote: readonly number[];
}

const JOINT_VERSION_MAJOR = 5;

export class StepPlanner {
  readonly steps: Step[] = [];
  readonly changes: PeerChanges;
  readonly #view: SchedulingView;
  readonly #region: RegionInfo;
  readonly #goal: StepGoal;
  /** Peer ids by store; of new peers below zero, until the plan starts. */
  readonly #ids = new Map<number, number>();
  #newPeers = 0;
  /** The leader's store as the steps so far leave it. */
  #leader: number;

  constructor(view: SchedulingView, region: RegionInfo, goal: StepGoal) {
    this.#view = view;
    this.#region = region;
    this.#goal = goal;
    this.#leader = region.leader?.storeId ?? 0;
    for (const peer of region.meta.peers) this.#ids.set(peer.storeId, peer.id);
    this.changes = this.#changes();
  }

  /** Fills `steps`; the answer is a reason not to. */
  plan(): string | undefined {
    if (![...this.#goal.target.values()].includes("voter")) {
      return "cannot create operator: target peers have no voter";
    }
    if (this.#goal.leader !== 0 && !this.#mayLead(this.#goal.leader, this.#goal.forceLeader)) {
      return "cannot create operator: target leader is not allowed";
    }
    const { add, remove, promote, demote } = this.changes;
    for (const storeId of add) this.#ids.set(storeId, this.#newId());
    const isSingle = add.length + remove.length + promote.length <= 1 && demote.length === 0;
    const votersNow = this.#region.meta.peers.filter(isVoter).length;
    const votersThen = [...this.#goal.target.values()].filter((role) => role === "voter").length;
    const twoToOne = votersNow === 2 && votersThen === 1;
    const joint = this.#view.jointConsensus(JOINT_VERSION_MAJOR) && (!isSingle || twoToOne);
    return joint ? this.#planJoint() : this.#planOneByOne();
  }

  /** Ends a joint state that a lost operator left: first the leader away from a peer that will be demoted. (6.18) */
  planLeavingJointState(): void {
    const { peers } = this.#region.meta;
    const place = (peer: Peer): PeerPlace => ({ storeId: peer.storeId, peerId: peer.id });
    const promote = peers.filter((peer) => peer.role === "incomingVoter");
    const demote = peers.filter((peer) => peer.role === "demotingVoter");
    if (demote.some((peer) => peer.storeId === this.#leader)) {
      const leader = this.#chooseLeader(promote.map((peer) => peer.storeId));
      if (leader !== 0) this.#transfer(leader);
    }
    this.steps.push({ kind: "leaveJoint", promote: promote.map(place), demote: demote.map(place) });
  }

  #peer(storeId: number): Peer | undefined {
    return this.#region.meta.peers.find((peer) => peer.storeId === storeId);
  }

  #isVoterNow(storeId: number): boolean {
    const peer = this.#peer(storeId);
    return peer !== undefined && isVoter(peer);
  }

  #changes(): PeerChanges {
    const ascending = (left: number, right: number): number => left - right;
    const stores = [...this.#goal.target.keys()].sort(ascending);
    const current = this.#region.meta.peers.map((peer) => peer.storeId).sort(ascending);
    return {
      add: stores.filter((id) => this.#peer(id) === undefined),
      remove: current.filter((id) => !this.#goal.target.has(id)),
      promote: stores.filter(
        (id) => this.#peer(id)?.role === "learner" && this.#goal.target.get(id) === "voter",
      ),
      demote: stores.filter((id) => this.#isVoterNow(id) && this.#goal.target.get(id) === "learner"),
    };
  }

  /** Rule 6.13. */
  #planJoint(): string | undefined {
    const { add, remove, promote, demote } = this.changes;
    for (const storeId of add) this.steps.push({ kind: "addLearner", ...this.#place(storeId) });
    const promoted = [...promote, ...add.filter((id) => this.#goal.target.get(id) === "voter")];
    const demoted = [...demote, ...remove.filter((id) => this.#isVoterNow(id))];
    const leader = this.#goal.leader !== 0 ? this.#goal.leader : this.#chooseLeader(promoted);
    if (leader === 0) return "no valid leader";
    const changes = {
      promote: promoted.map((id) => this.#place(id)),
      demote: demoted.map((id) => this.#place(id)),
    };
    const hasChanges = promoted.length + demoted.length > 0;
    // One single change is a simple one: the store is never in joint state, so there is none to leave.
    const leaves = promoted.length + demoted.length > 1;
    const enter = (): void => void (hasChanges && this.steps.push({ kind: "enterJoint", ...changes }));
    const leave = (): void => void (leaves && this.steps.push({ kind: "leaveJoint", ...changes }));
    const oldLeaderStays = this.#leader === 0 || this.#goal.target.get(this.#leader) === "voter";
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
    for (const storeId of remove) this.steps.push({ kind: "removePeer", ...this.#place(storeId) });
    return undefined;
  }

  /** Add, promote, move the leader if needed, remove; one peer after the other, so that the group never
   * shrinks first. */
  #planOneByOne(): string | undefined {
    const { add, remove, promote, demote } = this.changes;
    for (const storeId of promote) this.steps.push({ kind: "promoteLearner", ...this.#place(storeId) });
    const gone = [...remove, ...demote];
    const pairs = this.#nearestPairs(add, gone);
    const count = Math.max(add.length, pairs.length);
    for (let i = 0; i < count; i++) {
      const added = add[i];
      if (added !== undefined) {
        this.steps.push({ kind: "addLearner", ...this.#place(added) });
        if (this.#goal.target.get(added) === "voter")
          this.steps.push({ kind: "promoteLearner", ...this.#place(added) });
      }
      const removed = pairs[i];
      if (removed === undefined) continue;
      if (removed === this.#leader) {
        const ready = [...promote, ...add.slice(0, i + 1)];
        const wanted = this.#goal.leader;
        const next = this.#isVoterNow(wanted) || ready.includes(wanted) ? wanted : this.#chooseLeader(ready);
        if (next === 0) return "fail to build operator: plan is empty, maybe no valid leader";
        this.#transfer(next);
      }
      const place = this.#place(removed);
      this.steps.push({ kind: "removePeer", ...place });
      if (!demote.includes(removed)) continue;
      // Without joint consensus a voter becomes a learner by leaving and coming back.
      this.steps.push({ kind: "addLearner", storeId: removed, peerId: this.#newId() });
    }
    if (this.#goal.leader !== 0) this.#transfer(this.#goal.leader);
    return undefined;
  }

  /** Beside each store that is added the one to be removed that stands nearest: its data has the shortest way. */
  #nearestPairs(add: readonly number[], gone: readonly number[]): number[] {
    const left = [...gone];
    const paired: number[] = [];
    const labels = this.#view.config.locationLabels;
    const nearness = (one: number, other: number): number => {
      const [first, second] = [this.#view.store(one), this.#view.store(other)];
      if (first === undefined || second === undefined) return 0;
      const different = labels.findIndex((key) => first.label(key) !== second.label(key));
      return different < 0 ? labels.length : different;
    };
    for (const storeId of add) {
      let best = 0;
      for (let i = 1; i < left.length; i++) {
        if (nearness(storeId, left[i] as number) > nearness(storeId, left[best] as number)) best = i;
      }
      paired.push(...left.splice(best, 1));
    }
    return [...paired, ...left];
  }

  #newId(): number {
    this.#newPeers += 1;
    return -this.#newPeers;
  }

  #place(storeId: number): PeerPlace {
    return { storeId, peerId: this.#ids.get(storeId) ?? 0 };
  }

  #transfer(toStore: number): void {
    if (this.#leader === toStore || this.#leader === 0) return;
    this.steps.push({
      kind: "transferLeader",
      fromStore: this.#leader,
      toStore,
      toStores: this.#goal.leaderCandidates,
    });
    this.#leader = toStore;
  }

  /** The current leader's store is always allowed. (6.15) */
  #mayLead(storeId: number, force: boolean): boolean {
    if (this.#goal.target.get(storeId) !== "voter") return false;
    const peer = this.#peer(storeId);
    if (peer?.isWitness === true) return false;
    if (storeId === this.#region.leader?.storeId) return true;
    const store = this.#view.store(storeId);
    if (store === undefined) return false;
    if (peer !== undefined && isUnhealthy(this.#region, peer.id)) return false;
    if (force) return true;
    if (this.#view.leaderTargetProblem(store) !== undefined) return false;
    if (!this.#view.usesRules) return true;
    const rules = this.#view.cluster.rules.appliedTo(this.#region.meta);
    return rules.length === 0 || rulesAllowLeader(rules, store, undefined);
  }

  /** 0 when nobody may; `ready` are new peers that are voters by then. (6.16) */
  #chooseLeader(ready: readonly number[]): number {
    let best = 0;
    let bestRank: readonly number[] = [];
    // Else the leaders of a store that is emptied would all go to one.
    const underWay = this.#view.influenceNow();
    for (const storeId of [...this.#goal.target.keys()].sort((left, right) => left - right)) {
      const known = this.#isVoterNow(storeId);
      if ((!known && !ready.includes(storeId)) || !this.#mayLead(storeId, false)) continue;
      const expected = this.#goal.expected.get(storeId);
      if (expected === "follower" || expected === "learner") continue;
      const store = this.#view.store(storeId);
      const rank = [
        expected === "leader" ? 0 : 1,
        store?.isUp === true ? 0 : 1,
        storeId === this.#leader ? 0 : 1,
        known ? 0 : 1,
        this.#view.leaderCount(storeId) + (underWay.get(storeId)?.leaderCount ?? 0),
      ];
      if (best === 0 || isLess(rank, bestRank)) {
        best = storeId;
        bestRank = rank;
      }
    }
    return best;
  }
}

function isLess(left: readonly number[], right: readonly number[]): boolean {
  const i = left.findIndex((value, index) => value !== right[index]);
  return i >= 0 && (left[i] as number) < (right[i] as number);
}
