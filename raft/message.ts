/**
 * Builders of entries, messages and snapshots, and what the library asks about them. Every message is built here with
 * all fields present, so that all have one hidden class and `step` stays monomorphic.
 *
 * Inside the library indexes and terms are computed as plain numbers; they get their brand here, at the surface.
 */
import { EMPTY_BYTES } from "../base/bytes.js";
import type { LogIndex, Term } from "../base/ids.js";
import type {
  ConfState,
  Entry,
  EntryType,
  HardState,
  Message,
  MessageType,
  NodeId,
  ReadState,
  Snapshot,
} from "./types.js";
import { NONE } from "./types.js";

type Writable<T> = { -readonly [K in keyof T]: T[K] };
/** A message under construction; it is handed out as a `Message` and never changed afterwards. */
export type MessageDraft = Writable<Message>;
/** What a caller states of a message; indexes and terms may be plain numbers. */
export type MessageInit = {
  readonly [K in keyof Message]?: Message[K] extends LogIndex | Term ? number : Message[K];
};

export const NO_ENTRIES: readonly Entry[] = Object.freeze([]);
export const NO_MESSAGES: readonly Message[] = Object.freeze([]);
export const NO_READ_STATES: readonly ReadState[] = Object.freeze([]);
export const EMPTY_CONF_STATE: ConfState = Object.freeze({
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
});
export const EMPTY_HARD_STATE: HardState = Object.freeze({
  term: 0 as Term,
  vote: NONE,
  commit: 0 as LogIndex,
});

export function draftMessage(type: MessageType, to: NodeId): MessageDraft {
  return {
    type,
    to,
    from: NONE,
    term: 0 as Term,
    logTerm: 0 as Term,
    index: 0 as LogIndex,
    entries: NO_ENTRIES,
    commit: 0 as LogIndex,
    commitTerm: 0 as Term,
    vote: NONE,
    snapshot: undefined,
    reject: false,
    rejectHint: 0 as LogIndex,
    context: EMPTY_BYTES,
    requestSnapshot: 0 as LogIndex,
    priority: 0,
    responses: NO_MESSAGES,
  };
}

/** A message with all fields present; those not given are 0, empty, false, or (type) MsgHup. */
export function makeMessage(init: MessageInit): Message {
  return Object.assign(draftMessage(init.type ?? "MsgHup", init.to ?? NONE), init);
}

export function makeEntry(
  term: number,
  index: number,
  data: Uint8Array = EMPTY_BYTES,
  type: EntryType = "EntryNormal",
): Entry {
  return { term: term as Term, index: index as LogIndex, type, data };
}

export function makeSnapshot(
  index: number,
  term: number,
  confState: Partial<ConfState> = EMPTY_CONF_STATE,
  data: Uint8Array = EMPTY_BYTES,
): Snapshot {
  return {
    metadata: {
      index: index as LogIndex,
      term: term as Term,
      confState: { ...EMPTY_CONF_STATE, ...confState },
    },
    data,
  };
}

export const makeHardState = (term: number, vote: NodeId, commit: number): HardState => ({
  term: term as Term,
  vote,
  commit: commit as LogIndex,
});

/** Only the node itself may step these; from a peer they are refused. */
export function isLocalMessage(type: MessageType): boolean {
  switch (type) {
    case "MsgHup":
    case "MsgBeat":
    case "MsgUnreachable":
    case "MsgSnapStatus":
    case "MsgCheckQuorum":
    case "MsgStorageAppend":
    case "MsgStorageAppendResp":
    case "MsgStorageApply":
    case "MsgStorageApplyResp":
    case "MsgForgetLeader":
      return true;
    default:
      return false;
  }
}

/** Answers are only taken from nodes of the current configuration. */
export function isResponseMessage(type: MessageType): boolean {
  switch (type) {
    case "MsgAppResp":
    case "MsgVoteResp":
    case "MsgHeartbeatResp":
    case "MsgUnreachable":
    case "MsgReadIndexResp":
    case "MsgPreVoteResp":
    case "MsgStorageAppendResp":
    case "MsgStorageApplyResp":
      return true;
    default:
      return false;
  }
}

const varintBytes = (value: number): number => {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes++;
  return bytes;
};

/** Size of an entry for limits: that of etcd's encoding, so that an empty entry weighs something. */
export function entryBytes(entry: Entry): number {
  const length = entry.data.length;
  const header = 4 + varintBytes(entry.term) + varintBytes(entry.index);
  return length === 0 ? header : header + 1 + varintBytes(length) + length;
}

export function entriesBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) bytes += entryBytes(entries[i] as Entry);
  return bytes;
}

/** Bytes of the proposals themselves: what flow control and the uncommitted quota count. */
export function payloadBytes(entries: readonly Entry[]): number {
  let bytes = 0;
  for (let i = 0; i < entries.length; i++) bytes += (entries[i] as Entry).data.length;
  return bytes;
}

/** The longest prefix of at most `bytesMax`, but at least one entry: else a big entry would never be replicated. */
export function limitEntries(entries: readonly Entry[], bytesMax: number): readonly Entry[] {
  if (entries.length <= 1 || bytesMax === Number.POSITIVE_INFINITY) return entries;
  let bytes = entryBytes(entries[0] as Entry);
  for (let i = 1; i < entries.length; i++) {
    bytes += entryBytes(entries[i] as Entry);
    if (bytes > bytesMax) return entries.slice(0, i);
  }
  return entries;
}

export const isConfChangeEntry = (entry: Entry): boolean => entry.type !== "EntryNormal";

export function equalHardState(left: HardState, right: HardState): boolean {
  return left.term === right.term && left.vote === right.vote && left.commit === right.commit;
}

function sameMembers(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  const members = new Set(left);
  return right.every((id) => members.has(id)) && members.size === new Set(right).size;
}

/** Equal as sets of ids. */
export function equalConfState(left: ConfState, right: ConfState): boolean {
  return (
    sameMembers(left.voters, right.voters) &&
    sameMembers(left.votersOutgoing, right.votersOutgoing) &&
    sameMembers(left.learners, right.learners) &&
    sameMembers(left.learnersNext, right.learnersNext) &&
    left.autoLeave === right.autoLeave
  );
}
