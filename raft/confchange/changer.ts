/**
 * Turns one configuration into the next, checking every invariant on the way. Works on copies: the tracker it was
 * given stays as it is, and a refused change is a value.
 *
 * Simple changes alter at most one voter. Joint changes keep the old voters as the outgoing half; voters demoted in
 * them wait in `learnersNext`, since a node must not be voter and learner at once.
 */
import { assert } from "../../base/assert.js";
import { Progress } from "../tracker/progress.js";
import type { ProgressTracker, TrackerConfig } from "../tracker/tracker.js";
import { isJoint } from "../tracker/tracker.js";
import type { ConfChangeSingle, NodeId } from "../types.js";

export type ChangeResult =
  | { readonly kind: "changed"; readonly config: TrackerConfig; readonly members: readonly Progress[] }
  | { readonly kind: "invalid"; readonly reason: string };

const invalid = (reason: string): ChangeResult => ({ kind: "invalid", reason });
const ascending = (left: number, right: number): number => left - right;
const NO_IDS: readonly NodeId[] = Object.freeze([]);
const sorted = (ids: Set<NodeId>): readonly NodeId[] => (ids.size === 0 ? NO_IDS : [...ids].sort(ascending));

/** A configuration being edited. */
class Draft {
  readonly voters: Set<NodeId>;
  outgoing: Set<NodeId>;
  readonly learners: Set<NodeId>;
  readonly learnersNext: Set<NodeId>;
  autoLeave: boolean;
  readonly members = new Map<NodeId, Progress>();
  readonly #tracker: ProgressTracker;
  readonly #lastIndex: number;

  constructor(tracker: ProgressTracker, lastIndex: number) {
    const config = tracker.config;
    this.voters = new Set(config.voters);
    this.outgoing = new Set(config.votersOutgoing);
    this.learners = new Set(config.learners);
    this.learnersNext = new Set(config.learnersNext);
    this.autoLeave = config.autoLeave;
    for (const member of tracker.members) this.members.set(member.id, member.clone());
    this.#tracker = tracker;
    this.#lastIndex = lastIndex;
  }

  /** A zero node id marks a change that the application has voided. */
  apply(changes: readonly ConfChangeSingle[]): string | undefined {
    for (const change of changes) {
      if (change.nodeId === 0) continue;
      switch (change.type) {
        case "ConfChangeAddNode":
          this.#makeVoter(change.nodeId);
          break;
        case "ConfChangeAddLearnerNode":
          this.#makeLearner(change.nodeId);
          break;
        case "ConfChangeRemoveNode":
          this.#remove(change.nodeId);
          break;
        case "ConfChangeUpdateNode":
          break;
      }
    }
    return this.voters.size === 0 ? "removed all voters" : undefined;
  }

  #makeVoter(id: NodeId): void {
    const member = this.members.get(id);
    if (member === undefined) {
      this.#add(id, false);
      this.voters.add(id);
      return;
    }
    member.isLearner = false;
    this.learners.delete(id);
    this.learnersNext.delete(id);
    this.voters.add(id);
  }

  #makeLearner(id: NodeId): void {
    const member = this.members.get(id);
    if (member === undefined) {
      this.#add(id, true);
      this.learners.add(id);
      return;
    }
    if (member.isLearner) return;
    this.#remove(id);
    this.members.set(id, member);
    // A voter of the outgoing half stays one until the joint configuration is left.
    if (this.outgoing.has(id)) {
      this.learnersNext.add(id);
    } else {
      member.isLearner = true;
      this.learners.add(id);
    }
  }

  #remove(id: NodeId): void {
    this.voters.delete(id);
    this.learners.delete(id);
    this.learnersNext.delete(id);
    // Progress of an outgoing voter is still needed to count its half.
    if (!this.outgoing.has(id)) this.members.delete(id);
  }

  /** A new member counts as active, else a check of the quorum right after would depose the leader. */
  #add(id: NodeId, isLearner: boolean): void {
    const next = Math.max(this.#lastIndex, 1);
    this.members.set(id, new Progress(id, 0, next, this.#tracker.newInflights(), isLearner, true));
  }

  finish(): ChangeResult {
    this.#check();
    return {
      kind: "changed",
      config: {
        voters: sorted(this.voters),
        votersOutgoing: sorted(this.outgoing),
        learners: sorted(this.learners),
        learnersNext: sorted(this.learnersNext),
        autoLeave: this.autoLeave,
      },
      members: [...this.members.values()].sort((left, right) => left.id - right.id),
    };
  }

  #check(): void {
    for (const set of [this.voters, this.outgoing, this.learners, this.learnersNext]) {
      for (const id of set) assert(this.members.has(id), () => `no progress for member ${id}`);
    }
    for (const id of this.learnersNext) {
      assert(this.outgoing.has(id), () => `${id} is in learnersNext, but not an outgoing voter`);
      assert(!this.members.get(id)?.isLearner, () => `${id} is in learnersNext, but already a learner`);
    }
    for (const id of this.learners) {
      assert(!this.outgoing.has(id) && !this.voters.has(id), () => `${id} is learner and voter`);
      assert(this.members.get(id)?.isLearner, () => `${id} is in learners, but not marked so`);
    }
    if (this.outgoing.size === 0) {
      assert(this.learnersNext.size === 0 && !this.autoLeave, "leftovers of a joint configuration");
    }
  }
}

function votersChanged(config: TrackerConfig, voters: ReadonlySet<NodeId>): number {
  let changed = 0;
  for (const id of config.voters) if (!voters.has(id)) changed++;
  for (const id of voters) if (!config.voters.includes(id)) changed++;
  return changed;
}

/** Applies changes that alter at most one voter, without a joint configuration. */
export function simpleChange(
  tracker: ProgressTracker,
  lastIndex: number,
  changes: readonly ConfChangeSingle[],
): ChangeResult {
  if (isJoint(tracker.config)) return invalid("can't apply simple config change in joint config");
  const draft = new Draft(tracker, lastIndex);
  const reason = draft.apply(changes);
  if (reason !== undefined) return invalid(reason);
  if (votersChanged(tracker.config, draft.voters) > 1) {
    return invalid("more than one voter changed without entering joint config");
  }
  return draft.finish();
}

/** Makes the present voters the outgoing half and applies the changes to the incoming one. */
export function enterJoint(
  tracker: ProgressTracker,
  lastIndex: number,
  autoLeave: boolean,
  changes: readonly ConfChangeSingle[],
): ChangeResult {
  if (isJoint(tracker.config)) return invalid("config is already joint");
  if (tracker.config.voters.length === 0) return invalid("can't make a zero-voter config joint");
  const draft = new Draft(tracker, lastIndex);
  draft.outgoing = new Set(draft.voters);
  const reason = draft.apply(changes);
  if (reason !== undefined) return invalid(reason);
  draft.autoLeave = autoLeave;
  return draft.finish();
}

/** Drops the outgoing half; demoted voters become learners. */
export function leaveJoint(tracker: ProgressTracker, lastIndex: number): ChangeResult {
  if (!isJoint(tracker.config)) return invalid("can't leave a non-joint config");
  const draft = new Draft(tracker, lastIndex);
  for (const id of draft.learnersNext) {
    draft.learners.add(id);
    const member = draft.members.get(id);
    if (member !== undefined) member.isLearner = true;
  }
  draft.learnersNext.clear();
  for (const id of draft.outgoing) {
    if (!draft.voters.has(id) && !draft.learners.has(id)) draft.members.delete(id);
  }
  draft.outgoing.clear();
  draft.autoLeave = false;
  return draft.finish();
}
