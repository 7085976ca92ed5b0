/** Raft messages on the wire: the library's plain objects against `eraftpb.Message`, whose enum numbers are etcd's. */
import { EMPTY_BYTES, logIndex, term } from "../base/index.js";
import type { eraftpb } from "../proto/index.js";
import { ENTRY_TYPES, makeMessage, WIRE_MESSAGE_TYPES } from "../raft/index.js";
import type { ConfState, Entry, Message, MessageType, Snapshot } from "../raft/types.js";

const TYPE_NUMBERS = new Map<MessageType, number>(WIRE_MESSAGE_TYPES.map((type, number) => [type, number]));

const entryToProto = (entry: Entry): eraftpb.IEntry => ({
  entryType: ENTRY_TYPES.indexOf(entry.type),
  term: entry.term,
  index: entry.index,
  data: entry.data,
});

const entryFromProto = (entry: eraftpb.IEntry): Entry => ({
  type: ENTRY_TYPES[entry.entryType ?? 0] ?? "EntryNormal",
  term: term(entry.term ?? 0),
  index: logIndex(entry.index ?? 0),
  // A copy: the entry stays in the cache long after the message's buffer should be gone.
  data: entry.data == null || entry.data.length === 0 ? EMPTY_BYTES : new Uint8Array(entry.data),
});

const snapshotToProto = (snapshot: Snapshot): eraftpb.ISnapshot => {
  const { confState, index, term: snapshotTerm } = snapshot.metadata;
  return {
    data: snapshot.data,
    metadata: {
      index,
      term: snapshotTerm,
      confState: {
        voters: [...confState.voters],
        learners: [...confState.learners],
        votersOutgoing: [...confState.votersOutgoing],
        learnersNext: [...confState.learnersNext],
        autoLeave: confState.autoLeave,
      },
    },
  };
};

const snapshotFromProto = (snapshot: eraftpb.ISnapshot): Snapshot => {
  const conf = snapshot.metadata?.confState;
  const confState: ConfState = {
    voters: [...(conf?.voters ?? [])],
    learners: [...(conf?.learners ?? [])],
    votersOutgoing: [...(conf?.votersOutgoing ?? [])],
    learnersNext: [...(conf?.learnersNext ?? [])],
    autoLeave: conf?.autoLeave ?? false,
  };
  return {
    data: new Uint8Array(snapshot.data ?? []),
    metadata: {
      index: logIndex(snapshot.metadata?.index ?? 0),
      term: term(snapshot.metadata?.term ?? 0),
      confState,
    },
  };
};

export function messageToProto(message: Message): eraftpb.IMessage {
  return {
    msgType: TYPE_NUMBERS.get(message.type) as number,
    to: message.to,
    from: message.from,
    term: message.term,
    logTerm: message.logTerm,
    index: message.index,
    entries: message.entries.length === 0 ? [] : message.entries.map(entryToProto),
    commit: message.commit,
    snapshot: message.snapshot === undefined ? null : snapshotToProto(message.snapshot),
    reject: message.reject,
    rejectHint: message.rejectHint,
    context: message.context,
    requestSnapshot: message.requestSnapshot,
  };
}

/** Undefined for types that this protocol does not send. */
export function messageFromProto(message: eraftpb.IMessage): Message | undefined {
  const type = WIRE_MESSAGE_TYPES[message.msgType ?? 0];
  if (type === undefined) return undefined;
  const entries = message.entries ?? [];
  return makeMessage({
    type,
    to: message.to ?? 0,
    from: message.from ?? 0,
    term: term(message.term ?? 0),
    logTerm: term(message.logTerm ?? 0),
    index: logIndex(message.index ?? 0),
    entries: entries.length === 0 ? [] : entries.map(entryFromProto),
    commit: logIndex(message.commit ?? 0),
    snapshot: message.snapshot == null ? undefined : snapshotFromProto(message.snapshot),
    reject: message.reject ?? false,
    rejectHint: logIndex(message.rejectHint ?? 0),
    context: message.context == null ? EMPTY_BYTES : new Uint8Array(message.context),
    requestSnapshot: logIndex(message.requestSnapshot ?? 0),
  });
}
