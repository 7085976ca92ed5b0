/**
 * The leader's side of replication: append, send, count, commit.
 *
 * Appends to several followers share the arrays of entries. A peer in StateReplicate is sent entries as long as its
 * window has room, afterwards at most one empty append a heartbeat response, which carries the commit index.
 */
import { assert } from "../base/assert.js";
import { utf8 } from "../base/bytes.js";
import type { LogIndex, Term } from "../base/ids.js";
import { draftMessage, makeEntry, NO_ENTRIES, payloadBytes } from "./message.js";
import type { Raft } from "./raft.js";
import { confirmReads, releasePendingReads } from "./reads.js";
import { readPosition } from "./read-only.js";
import { traceReplicate, traceState } from "./trace.js";
import type { Progress } from "./tracker/progress.js";
import type { EntriesContext, Entry, Message, NodeId } from "./types.js";

/** Context of vote requests after a transfer: they override leases, since the leader itself asked for it. */
export const CAMPAIGN_TRANSFER: Uint8Array = utf8("CampaignTransfer");

/** Appends proposals to the log with term and index set; false when the uncommitted quota refuses them. */
export function appendEntries(raft: Raft, proposed: readonly Entry[]): boolean {
  const payload = payloadBytes(proposed);
  // One proposal above the quota is admitted on an empty tail; empty entries (a new leader's, leaving a joint
  // configuration) always.
  const total = raft.uncommittedBytes + payload;
  if (raft.uncommittedBytes > 0 && payload > 0 && total > raft.config.maxUncommittedEntriesBytes)
    return false;
  raft.uncommittedBytes = total;
  let index = raft.log.lastIndex();
  const entries: Entry[] = [];
  for (let i = 0; i < proposed.length; i++) {
    const entry = proposed[i] as Entry;
    entries.push(makeEntry(raft.term, ++index, entry.data, entry.type));
  }
  traceReplicate(raft, entries);
  raft.log.append(entries);
  const draft = draftMessage("MsgAppResp", raft.id);
  draft.index = index as LogIndex;
  raft.send(draft);
  return true;
}

/** Gives back quota for applied entries; those of earlier terms were never counted. */
export function reduceUncommitted(raft: Raft, applied: readonly Entry[]): void {
  if (raft.uncommittedBytes === 0) return;
  let bytes = 0;
  for (let i = 0; i < applied.length; i++) {
    const entry = applied[i] as Entry;
    if (entry.index > raft.uncommittedSince) bytes += entry.data.length;
  }
  raft.uncommittedBytes = raft.uncommittedBytes > bytes ? raft.uncommittedBytes - bytes : 0;
}

export function maybeCommit(raft: Raft): boolean {
  const moved = raft.log.maybeCommit(raft.tracker.committed(), raft.term);
  if (raft.traceHook !== undefined) traceState(raft, "Commit");
  if (moved) releasePendingReads(raft);
  return moved;
}

/** Whether a commit without news for the log is told at once. A change of the configuration always is. */
function tellsCommit(raft: Raft): boolean {
  return !raft.skipBroadcastCommit || raft.pendingConfIndex > raft.log.applied;
}

export function broadcastAppend(raft: Raft): void {
  const members = raft.tracker.members;
  for (let i = 0; i < members.length; i++) {
    const member = members[i] as Progress;
    if (member.id !== raft.id) maybeSendAppend(raft, member, true);
  }
}

/** After a commit: tells everybody, or with `skipBroadcastCommit` only sends what entries there are. */
export function broadcastCommit(raft: Raft): void {
  const empty = tellsCommit(raft);
  for (const member of raft.tracker.members) {
    if (member.id !== raft.id) maybeSendAppend(raft, member, empty);
  }
}

/** Sends as many messages of entries as the peer lacks and its window takes. */
export function sendAllowed(raft: Raft, progress: Progress): void {
  while (maybeSendAppend(raft, progress, false)) {
    // Each call sends one message.
  }
}

/** Sends what the peer lacks. Without entries to send only if `evenEmpty`. True if a message was queued. */
export function maybeSendAppend(raft: Raft, progress: Progress, evenEmpty: boolean): boolean {
  if (progress.isPaused()) return false;
  if (progress.requestedSnapshot !== 0) return maybeSendSnapshot(raft, progress);
  const log = raft.log;
  const previous = progress.next - 1;
  const previousTerm = log.term(previous);
  if (typeof previousTerm === "string") return maybeSendSnapshot(raft, progress);
  let entries = NO_ENTRIES;
  if (progress.state !== "StateReplicate" || !progress.inflights.full()) {
    const last = log.lastIndex();
    if (progress.next <= last) {
      const context: EntriesContext = {
        reason: "send",
        to: progress.id,
        term: raft.term as Term,
        aggressively: !evenEmpty,
      };
      const read = log.entries(progress.next, raft.config.maxSizePerMessageBytes, context);
      if (read === "logTemporarilyUnavailable") return false;
      if (typeof read === "string") return maybeSendSnapshot(raft, progress);
      entries = read;
    }
  }
  if (entries.length === 0 && !evenEmpty) return false;
  if (!raft.batchAppend || !mergeIntoQueued(raft, progress.id, entries)) {
    const draft = draftMessage("MsgApp", progress.id);
    draft.index = previous as LogIndex;
    draft.logTerm = previousTerm as Term;
    draft.entries = entries;
    draft.commit = log.committed as LogIndex;
    raft.send(draft);
  }
  progress.sentEntries(entries.length, entries.length === 0 ? 0 : payloadBytes(entries));
  progress.sentCommit = log.committed;
  return true;
}

/** Joins entries to an append of this peer that has not been taken yet; raft-rs's batch append. */
function mergeIntoQueued(raft: Raft, to: NodeId, entries: readonly Entry[]): boolean {
  for (let i = 0; i < raft.messages.length; i++) {
    const message = raft.messages[i] as Message;
    if (message.type !== "MsgApp" || message.to !== to || message.term !== raft.term) continue;
    const end = message.index + message.entries.length;
    const first = entries[0];
    if (first !== undefined && first.index !== end + 1) return false;
    const merged = first === undefined ? message.entries : message.entries.concat(entries);
    (raft.messages as Message[])[i] = { ...message, entries: merged, commit: raft.log.committed as LogIndex };
    return true;
  }
  return false;
}

function maybeSendSnapshot(raft: Raft, progress: Progress): boolean {
  // A peer that is silent would only make snapshots pile up.
  if (!progress.recentActive) return false;
  const snapshot = raft.log.snapshot(progress.requestedSnapshot, progress.id);
  if (snapshot === "snapshotTemporarilyUnavailable") return false;
  assert(typeof snapshot !== "string", () => `storage cannot give a snapshot: ${JSON.stringify(snapshot)}`);
  assert(snapshot.metadata.index > 0, "storage gave an empty snapshot for a compacted log");
  raft.logger.info("sending snapshot", {
    id: raft.id,
    to: progress.id,
    index: snapshot.metadata.index,
    match: progress.match,
  });
  progress.becomeSnapshot(Math.max(snapshot.metadata.index, progress.match));
  const draft = draftMessage("MsgSnap", progress.id);
  draft.snapshot = snapshot;
  raft.send(draft);
  return true;
}

export function sendTimeoutNow(raft: Raft, to: NodeId): void {
  raft.timeoutNowSent = true;
  raft.send(draftMessage("MsgTimeoutNow", to));
}

/** A leader has all that is committed, so that a commit index beyond its log is none. */
function noteCommitted(raft: Raft, progress: Progress, commit: number): void {
  if (commit > progress.committed && commit <= raft.log.lastIndex()) progress.committed = commit;
}

/** An acknowledgement or rejection of an append. */
export function handleAppendResponse(raft: Raft, progress: Progress, message: Message): void {
  if (message.index > raft.log.lastIndex()) {
    raft.logger.warn("ignored an answer beyond the log", { id: raft.id, from: message.from });
    return;
  }
  progress.recentActive = true;
  noteCommitted(raft, progress, message.commit);
  if (message.reject) handleRejection(raft, progress, message);
  else handleAcceptance(raft, progress, message);
}

/**
 * Finds the next place to try. The follower's hint is the largest index where the logs may agree, with its term
 * there; everything of ours above it with a greater term cannot agree either.
 */
function handleRejection(raft: Raft, progress: Progress, message: Message): void {
  if (message.requestSnapshot !== 0) {
    if (progress.state === "StateSnapshot" || message.requestSnapshot > raft.log.lastIndex()) return;
    if (message.index < progress.match && progress.state === "StateReplicate") return;
    progress.requestedSnapshot = message.requestSnapshot;
    if (progress.state === "StateReplicate") progress.becomeProbe();
    progress.paused = false;
    maybeSendAppend(raft, progress, true);
    return;
  }
  let hint: number = message.rejectHint;
  if (message.logTerm > 0) hint = raft.log.findConflictByTerm(hint, message.logTerm).index;
  if (!progress.maybeDecrease(message.index, hint)) return;
  if (progress.state === "StateReplicate") progress.becomeProbe();
  maybeSendAppend(raft, progress, true);
}

function handleAcceptance(raft: Raft, progress: Progress, message: Message): void {
  const news = progress.maybeUpdate(message.index);
  if (!news && !(progress.match === message.index && progress.state === "StateProbe")) return;
  switch (progress.state) {
    case "StateProbe":
      progress.becomeReplicate();
      break;
    case "StateSnapshot":
      // Whatever joins the peer's log to ours ends the wait, be it an older snapshot than the one sent.
      if (progress.match + 1 >= raft.log.firstIndex()) {
        progress.becomeProbe();
        progress.becomeReplicate();
      }
      break;
    case "StateReplicate":
      progress.inflights.freeTo(message.index);
      break;
  }
  const isSelf = message.from === raft.id;
  if (maybeCommit(raft)) {
    broadcastCommit(raft);
  } else if (!isSelf && tellsCommit(raft) && progress.canBumpCommit(raft.log.committed)) {
    maybeSendAppend(raft, progress, true);
  }
  if (isSelf) return;
  // The window may have opened for several messages.
  sendAllowed(raft, progress);
  if (message.from === raft.leadTransferee && progress.match === raft.log.lastIndex()) {
    sendTimeoutNow(raft, message.from);
  }
}

export function handleHeartbeatResponse(raft: Raft, progress: Progress, message: Message): void {
  progress.recentActive = true;
  progress.paused = false;
  // Who waits for a snapshot answers heartbeats by asking for it again: what was asked for is not wanted any more. A
  // late request would otherwise keep entries from a peer for an index that can only commit with its help.
  progress.requestedSnapshot = 0;
  noteCommitted(raft, progress, message.commit);
  // In StateProbe even a peer that has everything needs one append to leave it.
  if (progress.match < raft.log.lastIndex() || progress.state === "StateProbe") {
    maybeSendAppend(raft, progress, true);
  }
  const position = readPosition(message.context);
  // Nobody can confirm reads that have not been asked for.
  if (position > progress.readAck && position <= (raft.readOnly?.position() ?? 0)) {
    progress.readAck = position;
    confirmReads(raft);
  }
}

/** Outcome of sending a snapshot, as the transport saw it. */
export function handleSnapshotStatus(progress: Progress, failed: boolean): void {
  if (progress.state !== "StateSnapshot") return;
  // A failed snapshot must not push `next` beyond what the peer has.
  if (failed) progress.pendingSnapshot = 0;
  progress.becomeProbe();
  // Wait for the peer's answer, or for a heartbeat, before the next append.
  progress.paused = true;
}
