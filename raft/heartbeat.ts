/**
 * What a leader says to stay leader: an empty message that carries the commit index and the reads that wait for a
 * quorum.
 */
import { EMPTY_BYTES } from "../base/bytes.js";
import type { LogIndex } from "../base/ids.js";
import { draftMessage } from "./message.js";
import type { Raft } from "./raft.js";
import type { Progress } from "./tracker/progress.js";

/** Context of the newest read that waits: an answer to it answers all before. */
export const readContext = (raft: Raft): Uint8Array => raft.readOnly?.heartbeatContext() ?? EMPTY_BYTES;

export function broadcastHeartbeat(raft: Raft): void {
  const context = readContext(raft);
  for (const member of raft.tracker.members) {
    if (member.id !== raft.id) sendHeartbeat(raft, member, context);
  }
}

export function sendHeartbeat(raft: Raft, progress: Progress, context: Uint8Array): void {
  // Never above what the peer is known to hold: it may have lost nothing, but it may hold another leader's tail.
  const commit = Math.min(progress.match, raft.log.committed);
  const draft = draftMessage("MsgHeartbeat", progress.id);
  draft.commit = commit as LogIndex;
  draft.context = context;
  raft.send(draft);
  progress.sentCommit = commit;
}
