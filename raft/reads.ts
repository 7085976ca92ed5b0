/**
 * The leader's side of linearizable reads. A read may be served at the commit index of the moment it came in, once
 * that index is known to be current: by a round of heartbeats that came later (safe), or by the lease that
 * check-quorum implies. A leader that has committed nothing in its term does not know the commit index yet.
 */
import type { LogIndex } from "../base/ids.js";
import { draftMessage, NO_MESSAGES } from "./message.js";
import type { Raft } from "./raft.js";
import { pushed } from "./raft.js";
import { ReadOnly } from "./read-only.js";
import { broadcastHeartbeat } from "./heartbeat.js";
import type { Message } from "./types.js";
import { NONE } from "./types.js";

/** Whether the read could be taken; false when too many wait. */
export function handleReadIndex(raft: Raft, request: Message): boolean {
  const waiting = raft.pendingReads.length + (raft.readOnly?.pending ?? 0);
  if (!committedInTerm(raft)) {
    if (waiting >= raft.config.maxPendingReads) return false;
    raft.pendingReads = pushed(raft.pendingReads, request);
    return true;
  }
  if (raft.tracker.isSingleton() && raft.tracker.isVoter(raft.id)) {
    respond(raft, request, raft.log.committed);
    return true;
  }
  return serve(raft, request, waiting);
}

export const committedInTerm = (raft: Raft): boolean => raft.log.matchTerm(raft.log.committed, raft.term);

function serve(raft: Raft, request: Message, waiting: number): boolean {
  // Once the target of a transfer was told to campaign it may have won without waiting for the lease to end.
  if (raft.config.readOnlyOption === "leaseBased" && !raft.timeoutNowSent) {
    respond(raft, request, raft.log.committed);
    return true;
  }
  if (waiting >= raft.config.maxPendingReads) return false;
  raft.readOnly ??= new ReadOnly();
  raft.readOnly.add(request, raft.log.committed);
  const self = raft.tracker.progress(raft.id);
  if (self !== undefined) self.readAck = raft.readOnly.position();
  broadcastHeartbeat(raft);
  confirmReads(raft);
  return true;
}

/** Answers all reads that the quorum of the present configuration has confirmed. */
export function confirmReads(raft: Raft): void {
  if (raft.readOnly === undefined || raft.readOnly.pending === 0) return;
  for (const read of raft.readOnly.advance(raft.tracker.readsConfirmed())) {
    respond(raft, read.request, read.index);
  }
}

export function releasePendingReads(raft: Raft): void {
  if (raft.pendingReads.length === 0 || !committedInTerm(raft)) return;
  const released = raft.pendingReads;
  raft.pendingReads = NO_MESSAGES;
  for (const request of released) serve(raft, request, 0);
}

function respond(raft: Raft, request: Message, index: number): void {
  if (request.from === NONE || request.from === raft.id) {
    const state = { index: index as LogIndex, requestContext: request.context };
    raft.readStates = pushed(raft.readStates, state);
    return;
  }
  const draft = draftMessage("MsgReadIndexResp", request.from);
  draft.index = index as LogIndex;
  draft.context = request.context;
  raft.send(draft);
}
