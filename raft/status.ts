/** What a node tells of itself. `basicStatus` copies no progress and is cheap enough for every tick. */
import type { Raft } from "./raft.js";
import type { Progress, ProgressState } from "./tracker/progress.js";
import type { TrackerConfig } from "./tracker/tracker.js";
import type { HardState, NodeId, StateType } from "./types.js";

export interface BasicStatus {
  readonly id: NodeId;
  readonly term: number;
  readonly vote: NodeId;
  readonly commit: number;
  readonly applied: number;
  readonly lead: NodeId;
  readonly state: StateType;
  readonly leadTransferee: NodeId;
  readonly isLearner: boolean;
  readonly lastIndex: number;
  /** Everything up to here is durable. */
  readonly persisted: number;
}

export interface ProgressStatus {
  readonly id: NodeId;
  readonly match: number;
  readonly next: number;
  readonly state: ProgressState;
  readonly isLearner: boolean;
  readonly recentActive: boolean;
  readonly paused: boolean;
  readonly pendingSnapshot: number;
  readonly committed: number;
  readonly commitGroup: number;
  readonly inflightMessages: number;
  readonly inflightBytes: number;
}

export interface Status extends BasicStatus {
  readonly hardState: HardState;
  readonly config: TrackerConfig;
  /** By id, ascending; empty unless this node leads. */
  readonly progress: readonly ProgressStatus[];
}

/** A view; valid during the call only. */
export type ProgressVisitor = (id: NodeId, progress: Readonly<Progress>) => void;

export function basicStatusOf(raft: Raft): BasicStatus {
  return {
    id: raft.id,
    term: raft.term,
    vote: raft.vote,
    commit: raft.log.committed,
    applied: raft.log.applied,
    lead: raft.lead,
    state: raft.state,
    leadTransferee: raft.leadTransferee,
    isLearner: raft.isLearner,
    lastIndex: raft.log.lastIndex(),
    persisted: raft.log.unstable.offset - 1,
  };
}

export function progressStatus(progress: Readonly<Progress>): ProgressStatus {
  return {
    id: progress.id,
    match: progress.match,
    next: progress.next,
    state: progress.state,
    isLearner: progress.isLearner,
    recentActive: progress.recentActive,
    paused: progress.isPaused(),
    pendingSnapshot: progress.pendingSnapshot,
    committed: progress.committed,
    commitGroup: progress.commitGroup,
    inflightMessages: progress.inflights.count,
    inflightBytes: progress.inflights.bytes,
  };
}

export function statusOf(raft: Raft): Status {
  return {
    ...basicStatusOf(raft),
    hardState: raft.hardState(),
    config: raft.tracker.config,
    progress: raft.state === "StateLeader" ? raft.tracker.members.map(progressStatus) : [],
  };
}
