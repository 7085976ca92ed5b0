/**
 * The optional trace hook: the events that etcd's TLA+ trace specification replays, in the fields it reads. Ids and
 * votes are strings there, terms and indexes numbers. A cluster traced into one array is causally ordered, because one
 * thread runs it.
 *
 * Pre-votes, reads, transfers and proposals are not modelled there and not traced.
 */
import type { Raft } from "./raft.js";
import type { ConfChangeV2, Entry, Message, MessageType, StateType } from "./types.js";

export type TraceEventName =
  | "InitState"
  | "BecomeCandidate"
  | "BecomeFollower"
  | "BecomeLeader"
  | "Commit"
  | "Replicate"
  | "ChangeConf"
  | "ApplyConfChange"
  | "Ready"
  | "SendAppendEntriesRequest"
  | "SendAppendEntriesResponse"
  | "SendRequestVoteRequest"
  | "SendRequestVoteResponse"
  | "SendSnapshot"
  | "ReceiveAppendEntriesRequest"
  | "ReceiveAppendEntriesResponse"
  | "ReceiveRequestVoteRequest"
  | "ReceiveRequestVoteResponse"
  | "ReceiveSnapshot";

export interface TraceMessage {
  readonly type: MessageType;
  readonly term: number;
  readonly from: string;
  readonly to: string;
  /** Number of entries; of a snapshot, its index. */
  readonly entries: number;
  readonly logTerm: number;
  readonly index: number;
  readonly commit: number;
  readonly vote: string;
  readonly reject: boolean;
  readonly rejectHint: number;
}

export type TraceConfChange =
  | { readonly changes: readonly { readonly nid: string; readonly action: string }[] }
  | { readonly newconf: readonly string[] };

export interface TraceEvent {
  readonly name: TraceEventName;
  readonly nid: string;
  readonly state: { readonly term: number; readonly vote: string; readonly commit: number };
  readonly role: StateType;
  readonly log: number;
  readonly conf: readonly [readonly string[], readonly string[]];
  readonly msg?: TraceMessage;
  /** Of a change of the configuration, or of an MsgApp that is sent: what the sender knows of the receiver. */
  readonly prop?: { readonly cc: TraceConfChange } | { readonly match: number; readonly next: number };
}

export type TraceHook = (event: TraceEvent) => void;

/** An event as a line of the file that the trace specification reads. */
export const traceLine = (event: TraceEvent): string => JSON.stringify({ tag: "trace", event });

const REQUESTS: Partial<Record<MessageType, readonly [TraceEventName, TraceEventName]>> = {
  MsgApp: ["SendAppendEntriesRequest", "ReceiveAppendEntriesRequest"],
  MsgHeartbeat: ["SendAppendEntriesRequest", "ReceiveAppendEntriesRequest"],
  MsgSnap: ["SendAppendEntriesRequest", "ReceiveAppendEntriesRequest"],
  MsgAppResp: ["SendAppendEntriesResponse", "ReceiveAppendEntriesResponse"],
  MsgHeartbeatResp: ["SendAppendEntriesResponse", "ReceiveAppendEntriesResponse"],
  MsgVote: ["SendRequestVoteRequest", "ReceiveRequestVoteRequest"],
  MsgVoteResp: ["SendRequestVoteResponse", "ReceiveRequestVoteResponse"],
};

const names = (ids: readonly number[]): string[] => ids.map(String);

function event(raft: Raft, name: TraceEventName): TraceEvent {
  const config = raft.tracker.config;
  return {
    name,
    nid: String(raft.id),
    state: { term: raft.term, vote: String(raft.vote), commit: raft.log.committed },
    role: raft.state,
    log: raft.log.lastIndex(),
    conf: [names(config.voters), names(config.votersOutgoing)],
  };
}

export function traceState(raft: Raft, name: TraceEventName): void {
  raft.traceHook?.(event(raft, name));
}

export function traceMessage(raft: Raft, message: Message, sending: boolean): void {
  if (raft.traceHook === undefined) return;
  const pair = REQUESTS[message.type];
  if (pair === undefined) return;
  const isSnapshot = message.type === "MsgSnap";
  const progress = sending && message.type === "MsgApp" ? raft.tracker.progress(message.to) : undefined;
  raft.traceHook({
    ...event(raft, pair[sending ? 0 : 1]),
    msg: {
      type: message.type,
      term: message.term,
      from: String(message.from),
      to: String(message.to),
      entries: isSnapshot ? (message.snapshot?.metadata.index ?? 0) : message.entries.length,
      logTerm: isSnapshot ? 0 : message.logTerm,
      index: isSnapshot ? 0 : message.index,
      commit: message.commit,
      vote: String(message.vote),
      reject: message.reject,
      rejectHint: message.rejectHint,
    },
    ...(progress === undefined ? {} : { prop: { match: progress.match, next: progress.next } }),
  });
}

export function traceReplicate(raft: Raft, entries: readonly Entry[]): void {
  if (raft.traceHook === undefined) return;
  for (const entry of entries) if (entry.type === "EntryNormal") raft.traceHook(event(raft, "Replicate"));
}

const ACTIONS = {
  ConfChangeAddNode: "AddNewServer",
  ConfChangeRemoveNode: "RemoveServer",
  ConfChangeUpdateNode: "",
  ConfChangeAddLearnerNode: "AddLearner",
} as const;

export function traceConfChange(raft: Raft, change: ConfChangeV2): void {
  if (raft.traceHook === undefined) return;
  const changes = change.changes
    .map((one) => ({ nid: String(one.nodeId), action: ACTIONS[one.type] }))
    .filter((one) => one.action !== "");
  // Leaving a joint configuration changes nobody: the specification has no such step.
  if (changes.length === 0) return;
  raft.traceHook({ ...event(raft, "ChangeConf"), prop: { cc: { changes } } });
}

export function traceApplyConfChange(raft: Raft, voters: readonly number[]): void {
  if (raft.traceHook === undefined) return;
  raft.traceHook({ ...event(raft, "ApplyConfChange"), prop: { cc: { newconf: names(voters) } } });
}
