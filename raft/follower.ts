/**
 * What a node does with its leader's messages. Everything here comes from a peer: whatever cannot be right is logged
 * and dropped, never thrown, and never moves what is committed.
 */
import type { LogIndex, Term } from "../base/ids.js";
import { restoreConfig } from "./confchange/restore.js";
import { draftMessage, equalConfState } from "./message.js";
import { switchToConfig } from "./membership.js";
import type { Raft } from "./raft.js";
import { becomeFollower } from "./roles.js";
import type { Message, Snapshot } from "./types.js";

function respondAppend(raft: Raft, message: Message, index: number): void {
  const draft = draftMessage("MsgAppResp", message.from);
  draft.index = index as LogIndex;
  if (raft.config.commitInResponses) draft.commit = raft.log.committed as LogIndex;
  raft.send(draft);
}

export function handleAppend(raft: Raft, message: Message): void {
  if (raft.pendingRequestSnapshot !== 0) {
    sendRequestSnapshot(raft);
    return;
  }
  const log = raft.log;
  if (message.index < log.committed) {
    respondAppend(raft, message, log.committed);
    return;
  }
  if (log.matchTerm(message.index, message.logTerm)) {
    acceptAppend(raft, message);
    return;
  }
  // The largest index where this log and the leader's may agree: saves the leader one round trip for each term.
  const hint = log.findConflictByTerm(Math.min(message.index, log.lastIndex()), message.logTerm);
  const draft = draftMessage("MsgAppResp", message.from);
  draft.index = message.index;
  draft.reject = true;
  draft.rejectHint = hint.index as LogIndex;
  draft.logTerm = hint.term as Term;
  if (raft.config.commitInResponses) draft.commit = log.committed as LogIndex;
  raft.send(draft);
}

function acceptAppend(raft: Raft, message: Message): void {
  const log = raft.log;
  const entries = message.entries;
  const last = message.index + entries.length;
  const conflict = log.findConflict(entries);
  if (conflict !== 0) {
    if (conflict <= log.committed) {
      raft.logger.error("dropped an append that contradicts a committed entry", {
        id: raft.id,
        from: message.from,
        index: conflict,
        committed: log.committed,
      });
      return;
    }
    log.append(conflict === message.index + 1 ? entries : entries.slice(conflict - message.index - 1));
  }
  log.commitTo(Math.min(message.commit, last));
  respondAppend(raft, message, last);
}

export function handleHeartbeat(raft: Raft, message: Message): void {
  const log = raft.log;
  if (message.commit > log.lastIndex()) {
    // The leader believes that this node has more than it has: its disk lost acknowledged entries.
    raft.logger.error("heartbeat commits entries that are not in the log", {
      id: raft.id,
      from: message.from,
      commit: message.commit,
      last: log.lastIndex(),
    });
    return;
  }
  log.commitTo(message.commit);
  if (raft.pendingRequestSnapshot !== 0) {
    sendRequestSnapshot(raft);
    return;
  }
  const draft = draftMessage("MsgHeartbeatResp", message.from);
  draft.context = message.context;
  if (raft.config.commitInResponses) draft.commit = log.committed as LogIndex;
  raft.send(draft);
}

export function handleSnapshot(raft: Raft, message: Message): void {
  const snapshot = message.snapshot;
  if (snapshot === undefined) return;
  const restored = restore(raft, snapshot);
  respondAppend(raft, message, restored ? raft.log.lastIndex() : raft.log.committed);
}

/** Takes over a snapshot; false when it brings nothing or cannot be taken. */
function restore(raft: Raft, snapshot: Snapshot): boolean {
  const { index, term, confState } = snapshot.metadata;
  const log = raft.log;
  // An answer to an earlier request may be older than what was appended and acknowledged since: only one that reaches
  // the present request may replace a log that it matches.
  const requested = raft.pendingRequestSnapshot !== 0 && index >= raft.pendingRequestSnapshot;
  if (index < log.committed || (index === log.committed && !requested)) return false;
  if (raft.state !== "StateFollower") {
    // Only a bug leads here; a term of its own makes the sender step back.
    raft.logger.error("refused a snapshot as non-follower", { id: raft.id });
    becomeFollower(raft, raft.term + 1, 0);
    return false;
  }
  const known = [confState.voters, confState.learners, confState.votersOutgoing];
  if (!known.some((ids) => ids.includes(raft.id))) {
    raft.logger.warn("refused a snapshot of a configuration without this node", { id: raft.id, index });
    return false;
  }
  if (!requested && log.matchTerm(index, term)) {
    log.commitTo(index);
    return false;
  }
  const result = restoreConfig(raft.tracker, index, confState);
  if (result.kind === "invalid") {
    raft.logger.error("refused a snapshot", { id: raft.id, index, reason: result.reason });
    return false;
  }
  if (!equalConfState(result.config, confState)) {
    raft.logger.error("refused a snapshot of a configuration that cannot be", { id: raft.id, index });
    return false;
  }
  log.restore(snapshot);
  raft.pendingRequestSnapshot = 0;
  switchToConfig(raft, result.config, result.members);
  raft.logger.info("restored a snapshot", { id: raft.id, index, term });
  return true;
}

/** Asks the leader for a snapshot of at least `pendingRequestSnapshot`, by a rejection that says so. */
export function sendRequestSnapshot(raft: Raft): void {
  const draft = draftMessage("MsgAppResp", raft.lead);
  draft.index = raft.log.committed as LogIndex;
  draft.reject = true;
  draft.rejectHint = raft.log.lastIndex() as LogIndex;
  draft.logTerm = raft.log.lastTerm() as Term;
  draft.requestSnapshot = raft.pendingRequestSnapshot as LogIndex;
  raft.send(draft);
}
