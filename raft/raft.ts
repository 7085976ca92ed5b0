/**
 * The state of one Raft node. What it does with a message, a tick or an acknowledgement is in the modules beside it,
 * one per concern (`step`, `roles`, `election`, `replication`, `follower`, `proposals`, `membership`, `reads`,
 * `ticks`); they are functions over this record. `RawNode` is the door for embedders.
 *
 * Outgoing messages are queued twice: `messages` may leave at once, `messagesAfterAppend` (votes, acknowledgements of
 * appends) only once everything appended so far is durable. Also the node's own votes and acknowledgements go that
 * way, so that nothing counts here before it is durable here.
 */
import { assert } from "../base/assert.js";
import type { Logger, Random } from "../base/env.js";
import { randomBelow } from "../base/env.js";
import type { LogIndex, Term } from "../base/ids.js";
import type { NodeConfig, Settings } from "./config.js";
import { RaftLog } from "./log.js";
import type { MessageDraft } from "./message.js";
import { NO_MESSAGES, NO_READ_STATES } from "./message.js";
import type { ReadOnly } from "./read-only.js";
import type { TraceHook } from "./trace.js";
import { traceMessage } from "./trace.js";
import { ProgressTracker } from "./tracker/tracker.js";
import type { HardState, Message, MessageType, NodeId, ReadState, SoftState, StateType } from "./types.js";
import { NONE } from "./types.js";

/** Terms above this are refused from peers, so that counting up from one never leaves the safe integers. */
export const TERM_MAX: number = Number.MAX_SAFE_INTEGER - 2 ** 32;

export class Raft {
  readonly id: NodeId;
  readonly config: Settings;
  readonly logger: Logger;
  readonly random: Random;
  readonly traceHook: TraceHook | undefined;
  readonly log: RaftLog;
  readonly tracker: ProgressTracker;

  state: StateType = "StateFollower";
  term = 0;
  vote: NodeId = NONE;
  lead: NodeId = NONE;
  /** The node itself is a learner in the configuration it knows. */
  isLearner = false;
  priority: number;

  // Queues are the shared empty array until the first push: thousands of groups have nothing to say.
  messages: readonly Message[] = NO_MESSAGES;
  messagesAfterAppend: readonly Message[] = NO_MESSAGES;
  readStates: readonly ReadState[] = NO_READ_STATES;

  /** Target of a transfer of leadership under way; proposals are refused meanwhile. */
  leadTransferee: NodeId = NONE;
  /** The target has been told to campaign in this term: leases of this leader mean nothing any more. */
  timeoutNowSent = false;
  /** No configuration change may be proposed until this index is applied. */
  pendingConfIndex = 0;
  /** Bytes of proposals in the uncommitted tail, of entries above `uncommittedSince`. */
  uncommittedBytes = 0;
  uncommittedSince = 0;
  /** Reads that wait for the confirmation of leadership; undefined until the first. */
  readOnly: ReadOnly | undefined = undefined;
  /** Reads that came before the first commit of the term. */
  pendingReads: readonly Message[] = NO_MESSAGES;
  /** As follower: ask the leader for a snapshot of at least this index; 0 = no. */
  pendingRequestSnapshot = 0;

  /** Ticks since the last heartbeat sent. */
  heartbeatElapsed = 0;
  /** Leader: ticks since the last check of the quorum. Others: ticks since the leader was heard or a vote given. */
  electionElapsed = 0;
  randomizedElectionTimeout = 0;
  batchAppend: boolean;
  skipBroadcastCommit: boolean;

  constructor(config: NodeConfig) {
    const { settings } = config;
    this.id = config.id;
    this.config = settings;
    this.logger = settings.logger;
    this.random = config.random;
    this.traceHook = config.traceHook;
    this.priority = config.priority;
    this.batchAppend = settings.batchAppend;
    this.skipBroadcastCommit = settings.skipBroadcastCommit;
    this.log = new RaftLog(config.storage, settings.logger, settings.maxCommittedSizePerReadyBytes, 0);
    this.tracker = new ProgressTracker(settings.window);
    this.tracker.groupCommit = settings.groupCommit;
  }

  softState(): SoftState {
    return { lead: this.lead, state: this.state };
  }

  hardState(): HardState {
    return { term: this.term as Term, vote: this.vote, commit: this.log.committed as LogIndex };
  }

  drawElectionTimeout(): void {
    const { minElectionTicks, maxElectionTicks } = this.config;
    this.randomizedElectionTimeout =
      minElectionTicks + randomBelow(this.random, maxElectionTicks - minElectionTicks);
  }

  /** Queues a message. Its term is this node's, except in votes (the caller's) and in what is forwarded (none). */
  send(draft: MessageDraft): void {
    if (draft.from === NONE) draft.from = this.id;
    switch (draft.type) {
      case "MsgVote":
      case "MsgVoteResp":
      case "MsgPreVote":
      case "MsgPreVoteResp":
        assert(draft.term !== 0, () => `${draft.type} needs a term`);
        break;
      case "MsgProp":
      case "MsgReadIndex":
        break;
      default:
        draft.term = this.term as Term;
    }
    if (waitsForAppend(draft.type)) {
      this.messagesAfterAppend = pushed(this.messagesAfterAppend, draft);
    } else {
      assert(draft.to !== this.id, () => `${draft.type} must not be sent to the node itself`);
      this.messages = pushed(this.messages, draft);
    }
    if (this.traceHook !== undefined) traceMessage(this, draft, true);
  }
}

/** The queue with one more: in place, unless it is the shared empty one. */
export function pushed<T>(queue: readonly T[], item: T): readonly T[] {
  if (queue.length === 0) return [item];
  (queue as T[]).push(item);
  return queue;
}

const waitsForAppend = (type: MessageType): boolean =>
  type === "MsgAppResp" || type === "MsgVoteResp" || type === "MsgPreVoteResp";
