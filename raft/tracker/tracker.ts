/**
 * The configuration of a group together with the progress of its members, always both of the same configuration.
 *
 * Members are few: sorted arrays and linear searches, no maps, which also keeps idle groups small. `Config` values are
 * immutable; a change installs a new one. At rest there is no progress: what a leader knows of others begins anew with
 * every term, and of a leader all of whose members hold its whole log that one index says everything.
 */
import { jointCommitted, jointGroupCommitted, jointVote } from "../quorum/joint.js";
import type { GroupCommit, VoteResult } from "../quorum/majority.js";
import { EMPTY_QUORUM_INDEX, majorityCommitted, majorityVote } from "../quorum/majority.js";
import type { ConfState, NodeId } from "../types.js";
import type { WindowLimits } from "./inflights.js";
import { Inflights } from "./inflights.js";
import { describeProgress, Progress } from "./progress.js";

/** Member sets, each ascending. `votersOutgoing` is non-empty exactly while the configuration is joint. */
export interface TrackerConfig {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  /** Outgoing voters that become learners when the joint configuration is left. */
  readonly learnersNext: readonly NodeId[];
  /** The leader leaves the joint configuration on its own. */
  readonly autoLeave: boolean;
}

export const EMPTY_CONFIG: TrackerConfig = Object.freeze({
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
});

export const isJoint = (config: TrackerConfig): boolean => config.votersOutgoing.length > 0;

const scratch: number[] = [];
const NO_MEMBERS: readonly Progress[] = Object.freeze([]);

export class ProgressTracker {
  /** Of the windows of new members. */
  readonly limits: WindowLimits;
  config: TrackerConfig = EMPTY_CONFIG;
  /** At rest the index up to which all members hold the log; 0: nothing is known of them. */
  #members: readonly Progress[] | number = NO_MEMBERS;
  #voters: readonly Progress[] = NO_MEMBERS;
  #outgoing: readonly Progress[] = NO_MEMBERS;
  groupCommit = false;

  constructor(limits: WindowLimits) {
    this.limits = limits;
  }

  /** Installs a configuration; `members` must hold exactly its members, ascending by id. */
  install(config: TrackerConfig, members: readonly Progress[]): void {
    this.config = config;
    this.#members = members;
    this.#voters = among(members, config.voters);
    this.#outgoing = among(members, config.votersOutgoing);
  }

  /** All members ascending by id. */
  get members(): readonly Progress[] {
    if (typeof this.#members === "number") this.install(this.config, this.#made(this.#members));
    return this.#members as readonly Progress[];
  }

  /** Asked before `#outgoing`, which it makes as well. */
  get #incoming(): readonly Progress[] {
    if (typeof this.#members === "number") this.install(this.config, this.#made(this.#members));
    return this.#voters;
  }

  get isAtRest(): boolean {
    return typeof this.#members === "number";
  }

  /** For followers: all progress is as at the beginning of a term, and goes until it is asked for. */
  rest(): void {
    if (this.#members === 0) return;
    const { members } = this;
    if (members.every((member) => member.commitGroup === 0 && member.hasIdleWindow(this.limits)))
      this.#restAt(0);
  }

  /**
   * For a leader whose log ends at `last`, all of it committed: progress goes until it is asked for if every member
   * holds that log and was told so; windows are given back in any case. No read may wait for a quorum: who confirmed
   * what is forgotten as well, and so are the votes of the last election.
   */
  restReplicated(self: NodeId, last: number): void {
    if (this.#members === last) return;
    const { members } = this;
    for (const member of members) member.releaseWindow();
    if (members.every((member) => member.isDone(self, last) && member.hasIdleWindow(this.limits)))
      this.#restAt(last);
  }

  #restAt(index: number): void {
    this.#members = index;
    this.#voters = NO_MEMBERS;
    this.#outgoing = NO_MEMBERS;
  }

  #made(held: number): readonly Progress[] {
    const { voters, votersOutgoing, learners } = this.config;
    const ids = [...new Set([...voters, ...votersOutgoing, ...learners])].sort((a, b) => a - b);
    return ids.map((id) => {
      const isLearner = learners.includes(id);
      const member = new Progress(id, held, held + 1, this.newInflights(), isLearner, held > 0);
      if (held > 0) member.resumeDone();
      return member;
    });
  }

  newInflights(): Inflights {
    return Inflights.idle(this.limits);
  }

  progress(id: NodeId): Progress | undefined {
    const members = this.members;
    for (let i = 0; i < members.length; i++) {
      if ((members[i] as Progress).id === id) return members[i];
    }
    return undefined;
  }

  isVoter(id: NodeId): boolean {
    return this.config.voters.includes(id) || this.config.votersOutgoing.includes(id);
  }

  isSingleton(): boolean {
    return this.config.voters.length === 1 && this.config.votersOutgoing.length === 0;
  }

  /** Voters of either half, ascending. */
  voters(): readonly Progress[] {
    const incoming = this.#incoming;
    if (this.#outgoing.length === 0) return incoming;
    return this.members.filter((member) => this.isVoter(member.id));
  }

  confState(): ConfState {
    return { ...this.config };
  }

  /** The highest index that is on a quorum. */
  committed(): number {
    if (this.groupCommit) return this.groupCommitted().index;
    return jointCommitted(committedOf(this.#incoming), committedOf(this.#outgoing));
  }

  groupCommitted(): GroupCommit {
    return jointGroupCommitted(this.#incoming.map(grouped), this.#outgoing.map(grouped));
  }

  /** The highest position of read requests that a quorum has confirmed. */
  readsConfirmed(): number {
    return jointCommitted(readsOf(this.#incoming), readsOf(this.#outgoing));
  }

  quorumActive(self: NodeId): boolean {
    return jointVote(activeOf(this.#incoming, self), activeOf(this.#outgoing, self)) === "VoteWon";
  }

  resetVotes(): void {
    for (const member of this.members) member.vote = "none";
  }

  /** The first vote of a node counts. */
  recordVote(id: NodeId, granted: boolean): void {
    const member = this.progress(id);
    if (member !== undefined && member.vote === "none") member.vote = granted ? "granted" : "rejected";
  }

  voteResult(): VoteResult {
    return jointVote(votesOf(this.#incoming), votesOf(this.#outgoing));
  }
}

/** Those of the ids; the array itself when it is all, since most groups are idle and small. */
const among = (members: readonly Progress[], ids: readonly NodeId[]): readonly Progress[] => {
  if (ids.length === 0) return NO_MEMBERS;
  return ids.length === members.length ? members : members.filter((member) => ids.includes(member.id));
};
const grouped = (member: Progress) => ({ index: member.match, group: member.commitGroup });

function committedOf(voters: readonly Progress[]): number {
  const count = voters.length;
  if (count === 0) return EMPTY_QUORUM_INDEX;
  if (count === 1) return (voters[0] as Progress).match;
  for (let i = 0; i < count; i++) scratch[i] = (voters[i] as Progress).match;
  return majorityCommitted(scratch, count);
}

function readsOf(voters: readonly Progress[]): number {
  for (let i = 0; i < voters.length; i++) scratch[i] = (voters[i] as Progress).readAck;
  return majorityCommitted(scratch, voters.length);
}

function activeOf(voters: readonly Progress[], self: NodeId): VoteResult {
  let active = 0;
  for (const voter of voters) if (voter.recentActive || voter.id === self) active++;
  return majorityVote(voters.length, active, voters.length - active);
}

function votesOf(voters: readonly Progress[]): VoteResult {
  let yes = 0;
  let no = 0;
  for (const voter of voters) {
    if (voter.vote === "granted") yes++;
    else if (voter.vote === "rejected") no++;
  }
  return majorityVote(voters.length, yes, no);
}

const idList = (ids: readonly NodeId[]): string => `(${ids.map((id) => id.toString(16)).join(" ")})`;

/** Text of a configuration as etcd prints it. */
export function describeConfig(config: TrackerConfig): string {
  let text = `voters=${idList(config.voters)}`;
  if (config.votersOutgoing.length > 0) text += `&&${idList(config.votersOutgoing)}`;
  if (config.learners.length > 0) text += ` learners=${idList(config.learners)}`;
  if (config.learnersNext.length > 0) text += ` learners_next=${idList(config.learnersNext)}`;
  if (config.autoLeave) text += " autoleave";
  return text;
}

/** One line a member, ascending. */
export function describeMembers(members: readonly Progress[]): string {
  return members.map((member) => `${member.id}: ${describeProgress(member)}\n`).join("");
}
