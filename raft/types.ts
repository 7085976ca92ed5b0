/**
 * The library's vocabulary: entries, messages, configurations, and the Ready protocol. Plain objects, no codec: a
 * wire format belongs to the embedder. Names follow etcd's raft.
 *
 * Nothing handed out by the library is mutated afterwards, and the library relies on the same from its caller.
 */
import type { LogIndex, Term } from "../base/ids.js";

/** A node of one Raft group. 0 is "none". A plain safe integer, so that embedders may brand their own. */
export type NodeId = number;
export const NONE: NodeId = 0;
/** Addresses of the local append and apply threads in messages of the asynchronous storage protocol. */
export const APPEND_THREAD: NodeId = -1;
export const APPLY_THREAD: NodeId = -2;

/** The place is etcd's number, and eraftpb's. */
export const ENTRY_TYPES = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"] as const;
export type EntryType = (typeof ENTRY_TYPES)[number];

export interface Entry {
  readonly term: Term;
  readonly index: LogIndex;
  readonly type: EntryType;
  readonly data: Uint8Array;
}

export interface HardState {
  readonly term: Term;
  readonly vote: NodeId;
  readonly commit: LogIndex;
}

export interface ConfState {
  readonly voters: readonly NodeId[];
  readonly votersOutgoing: readonly NodeId[];
  readonly learners: readonly NodeId[];
  readonly learnersNext: readonly NodeId[];
  readonly autoLeave: boolean;
}

export interface SnapshotMetadata {
  readonly index: LogIndex;
  readonly term: Term;
  readonly confState: ConfState;
}

export interface Snapshot {
  readonly metadata: SnapshotMetadata;
  readonly data: Uint8Array;
}

export type ConfChangeType =
  | "ConfChangeAddNode"
  | "ConfChangeRemoveNode"
  | "ConfChangeUpdateNode"
  | "ConfChangeAddLearnerNode";
export type ConfChangeTransition =
  | "ConfChangeTransitionAuto"
  | "ConfChangeTransitionJointImplicit"
  | "ConfChangeTransitionJointExplicit";

export interface ConfChangeSingle {
  readonly type: ConfChangeType;
  readonly nodeId: NodeId;
}

/** A simple change is a `ConfChangeV2` of one change. Leaving a joint configuration is one of no changes. */
export interface ConfChangeV2 {
  readonly transition: ConfChangeTransition;
  readonly changes: readonly ConfChangeSingle[];
  readonly context: Uint8Array;
}

/** Types of messages that travel; the place is etcd's number, and eraftpb's. */
export const WIRE_MESSAGE_TYPES = [
  "MsgHup",
  "MsgBeat",
  "MsgProp",
  "MsgApp",
  "MsgAppResp",
  "MsgVote",
  "MsgVoteResp",
  "MsgSnap",
  "MsgHeartbeat",
  "MsgHeartbeatResp",
  "MsgUnreachable",
  "MsgSnapStatus",
  "MsgCheckQuorum",
  "MsgTransferLeader",
  "MsgTimeoutNow",
  "MsgReadIndex",
  "MsgReadIndexResp",
  "MsgPreVote",
  "MsgPreVoteResp",
] as const;
/** Types of messages between a node and its storage, or of a node to itself. */
export const LOCAL_MESSAGE_TYPES = [
  "MsgStorageAppend",
  "MsgStorageAppendResp",
  "MsgStorageApply",
  "MsgStorageApplyResp",
  "MsgForgetLeader",
] as const;

export type MessageType = (typeof WIRE_MESSAGE_TYPES)[number] | (typeof LOCAL_MESSAGE_TYPES)[number];

/** One shape for all messages (one hidden class: steps stay monomorphic). Build with `makeMessage`. */
export interface Message {
  readonly type: MessageType;
  readonly to: NodeId;
  readonly from: NodeId;
  readonly term: Term;
  readonly logTerm: Term;
  readonly index: LogIndex;
  readonly entries: readonly Entry[];
  readonly commit: LogIndex;
  readonly commitTerm: Term;
  readonly vote: NodeId;
  readonly snapshot: Snapshot | undefined;
  readonly reject: boolean;
  readonly rejectHint: LogIndex;
  /** MsgReadIndex and heartbeats: the read context. Vote requests: the campaign kind. */
  readonly context: Uint8Array;
  /** raft-rs: index from which a follower asks for a snapshot; 0 = none. */
  readonly requestSnapshot: LogIndex;
  /** raft-rs: priority of a candidate; 0 = none. */
  readonly priority: number;
  /** Only in MsgStorageAppend and MsgStorageApply (text form and tests): messages that wait for the write. */
  readonly responses: readonly Message[];
}

export type StateType = "StateFollower" | "StatePreCandidate" | "StateCandidate" | "StateLeader";

export interface SoftState {
  readonly lead: NodeId;
  readonly state: StateType;
}

/** Leave of a linearizable read: serve it once applied >= index. */
export interface ReadState {
  readonly index: LogIndex;
  readonly requestContext: Uint8Array;
}

/**
 * One write to the log. In this order: write all of it atomically and durably (sync if `mustSync`), then call
 * `ackAppend`, then send what that returns. Appends of a node are acknowledged in the order they were handed out.
 */
export interface Append {
  /** Counts the appends of this node from 1. */
  readonly sequence: number;
  /** Set when it changed. */
  readonly hardState: HardState | undefined;
  /** Contiguous; overwrite what the log holds at and above the first of them. */
  readonly entries: readonly Entry[];
  /** Replaces log and state up to its index; never together with entries to apply. */
  readonly snapshot: Snapshot | undefined;
  /** False when only the commit index moved: durability may then ride on a later write. */
  readonly mustSync: boolean;
  /** Messages that must not leave before the write is durable: votes, acks of appends. Self-addressed included. */
  readonly responses: readonly Message[];
}

/** Committed entries to apply, in order. Acknowledge with `ackApply` once applied, in the order handed out. */
export interface Apply {
  readonly sequence: number;
  readonly entries: readonly Entry[];
  /** Bytes of the entries as limits count them: data and a small header each. */
  readonly size: number;
}

/**
 * Everything a node wants done now. Send `messages` at once (they wait for nothing); write `append`; apply `apply`.
 * Appends and applies may still be under way when the next Ready is taken.
 */
export interface Ready {
  /** Set when leader or role changed. */
  readonly softState: SoftState | undefined;
  readonly readStates: readonly ReadState[];
  readonly messages: readonly Message[];
  readonly append: Append | undefined;
  readonly apply: Apply | undefined;
}

/** Why a proposal did not enter the log. It never will. */
export type ProposalDropped =
  | "noLeader"
  | "notMember"
  | "transferring"
  | "uncommittedQuota"
  | "forwardingDisabled"
  | "malformedConfChange"
  /** A read request beyond `maxPendingReads`. */
  | "tooManyReads";
export type ProposeResult =
  | { readonly kind: "proposed" }
  | { readonly kind: "dropped"; readonly reason: ProposalDropped };

/** Answers of `Storage` that the caller must branch on. */
export type StorageError =
  | "compacted"
  | "unavailable"
  | "snapshotTemporarilyUnavailable"
  | "logTemporarilyUnavailable"
  | "snapshotOutOfDate";

/** What asks for entries; only "send" may be answered by `logTemporarilyUnavailable`. */
export interface EntriesContext {
  readonly reason: "send" | "ready" | "campaign" | "transferLeader" | "other";
  readonly to: NodeId;
  readonly term: Term;
  /** The leader was sending as much as the window of the peer takes, and goes on so once the entries are at hand. */
  readonly aggressively: boolean;
}

/**
 * The durable log as the library sees it; synchronous. Holds everything acknowledged by `ackAppend`.
 * `entries` may return fewer than asked, at least one if any fits; it must not return a hole.
 */
export interface Storage {
  initialState(): { readonly hardState: HardState; readonly confState: ConfState };
  /** Entries in [low, high), at most `bytesMax` bytes of data but at least one. */
  entries(
    low: LogIndex,
    high: LogIndex,
    bytesMax: number,
    context?: EntriesContext,
  ): readonly Entry[] | StorageError;
  /** Term of an entry; that of firstIndex - 1 is kept for matching. */
  term(index: LogIndex): Term | StorageError;
  lastIndex(): LogIndex;
  /** Index of the first entry that may be read: all before it is in the snapshot. */
  firstIndex(): LogIndex;
  /** The newest snapshot, of at least `requestIndex` (0 = any). */
  snapshot(requestIndex: LogIndex, to: NodeId): Snapshot | StorageError;
}
