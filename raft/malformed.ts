/**
 * What no peer can have meant: fields out of range, holes, messages for somebody else. Asked before a message touches
 * anything, so that whatever a peer sends is refused as a value.
 */
import { isCount } from "./config.js";
import { TERM_MAX } from "./raft.js";
import type { Entry, Message, NodeId } from "./types.js";
import { NONE } from "./types.js";

const isId = (id: number): boolean => Number.isSafeInteger(id) && id > 0;

/** The first thing wrong with a message to `self`, as a phrase; undefined when it is sound in itself. */
export function malformation(self: NodeId, message: Message): string | undefined {
  const { from, to, term } = message;
  if (!isId(from)) return `from ${from}`;
  // An address that was given to another node meanwhile: its votes and acknowledgements are not for this one.
  if (to !== self && to !== NONE) return `addressed to ${to}`;
  if (!isCount(term) || term > TERM_MAX) return `term ${term}`;
  if (!hasCounts(message)) return "not a safe integer";
  if (!(message.context instanceof Uint8Array) || !Array.isArray(message.entries))
    return "not bytes, not a list";
  switch (message.type) {
    case "MsgProp":
      return message.entries.length === 0 ? "MsgProp without entries" : malformedEntries(message.entries);
    case "MsgReadIndex":
    case "MsgTransferLeader":
      return undefined;
    case "MsgApp":
      return malformedTerms(self, message) ?? malformedAppend(message);
    case "MsgSnap":
      return malformedTerms(self, message) ?? malformedSnapshot(message);
    case "MsgAppResp":
    case "MsgVote":
    case "MsgVoteResp":
    case "MsgPreVote":
    case "MsgPreVoteResp":
    case "MsgHeartbeat":
    case "MsgHeartbeatResp":
    case "MsgTimeoutNow":
    case "MsgReadIndexResp":
      return malformedTerms(self, message);
    default:
      return `type ${message.type}`;
  }
}

function hasCounts(message: Message): boolean {
  return (
    isCount(message.index) &&
    isCount(message.logTerm) &&
    isCount(message.commit) &&
    isCount(message.commitTerm) &&
    isCount(message.rejectHint) &&
    isCount(message.requestSnapshot) &&
    Number.isSafeInteger(message.priority)
  );
}

/** Of all but requests, which are passed on without a term, and may come back to their author. */
function malformedTerms(self: NodeId, message: Message): string | undefined {
  const { type, from, term } = message;
  if (term === 0) return `${type} without a term`;
  // Its own votes and acknowledgements count once they are durable here, and never come by the network.
  if (from === self) return `${type} of this node itself`;
  return undefined;
}

function malformedEntry(entry: Entry): boolean {
  const { type } = entry;
  const isKnown = type === "EntryNormal" || type === "EntryConfChange" || type === "EntryConfChangeV2";
  return !isKnown || !(entry.data instanceof Uint8Array);
}

function malformedEntries(entries: readonly Entry[]): string | undefined {
  const at = entries.findIndex(malformedEntry);
  return at < 0 ? undefined : `entry ${at} of type ${(entries[at] as Entry).type}`;
}

/** Entries must follow `message.index` without a hole, in terms that never fall and do not exceed the leader's. */
function malformedAppend(message: Message): string | undefined {
  const { entries } = message;
  let index: number = message.index;
  let term: number = message.logTerm;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.index !== ++index) return `entry ${entry.index} where ${index} must follow`;
    if (entry.term !== term) {
      if (!Number.isSafeInteger(entry.term) || entry.term < term)
        return `entry of term ${entry.term} after ${term}`;
      term = entry.term;
    }
    if (malformedEntry(entry)) return `entry ${index} of type ${entry.type}`;
  }
  if (!Number.isSafeInteger(index)) return `entry ${index}`;
  return term > message.term ? `entry of term ${term} in term ${message.term}` : undefined;
}

function malformedSnapshot(message: Message): string | undefined {
  const { snapshot } = message;
  if (snapshot === undefined) return "MsgSnap without a snapshot";
  if (!(snapshot.data instanceof Uint8Array)) return "snapshot without data";
  const { index, term, confState } = snapshot.metadata;
  if (!isCount(index) || !isCount(term) || term > message.term) return `snapshot at ${term}/${index}`;
  const { voters, votersOutgoing, learners, learnersNext } = confState;
  for (const ids of [voters, votersOutgoing, learners, learnersNext]) {
    if (!Array.isArray(ids) || !ids.every(isId)) return `snapshot of nodes ${String(ids)}`;
  }
  return undefined;
}
