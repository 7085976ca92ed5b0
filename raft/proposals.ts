/**
 * What a leader does with proposals. A configuration change that may not be made now enters the log as an empty
 * entry: entries proposed along with it keep their places.
 */
import { decodeConfChange } from "./confchange-codec.js";
import { makeEntry } from "./message.js";
import type { Raft } from "./raft.js";
import { appendEntries, broadcastAppend } from "./replication.js";
import { traceConfChange } from "./trace.js";
import { isJoint } from "./tracker/tracker.js";
import type { ConfChangeV2, Entry, ProposalDropped } from "./types.js";
import { NONE } from "./types.js";

/** Leader only. The reason when the proposal did not enter the log. */
export function propose(raft: Raft, proposed: readonly Entry[]): ProposalDropped | undefined {
  // A leader that was removed while leading takes no more.
  if (raft.tracker.progress(raft.id) === undefined) return "notMember";
  if (raft.leadTransferee !== NONE) return "transferring";
  let entries = proposed;
  const pendingBefore = raft.pendingConfIndex;
  for (let i = 0; i < proposed.length; i++) {
    const entry = proposed[i] as Entry;
    if (entry.type === "EntryNormal") continue;
    const change = decodeConfChange(entry.data);
    if (change === undefined || (entry.type === "EntryConfChange" && change.changes.length !== 1)) {
      raft.pendingConfIndex = pendingBefore;
      return "malformedConfChange";
    }
    const refusal = raft.config.disableConfChangeValidation ? undefined : refuses(raft, change);
    if (refusal !== undefined) {
      raft.logger.info("ignored a configuration change", { id: raft.id, refusal });
      const replaced: Entry[] = entries === proposed ? proposed.slice() : (entries as Entry[]);
      replaced[i] = makeEntry(0, 0);
      entries = replaced;
      continue;
    }
    raft.pendingConfIndex = raft.log.lastIndex() + i + 1;
    traceConfChange(raft, change);
  }
  if (!appendEntries(raft, entries)) {
    raft.pendingConfIndex = pendingBefore;
    return "uncommittedQuota";
  }
  broadcastAppend(raft);
  return undefined;
}

function refuses(raft: Raft, change: ConfChangeV2): string | undefined {
  if (raft.pendingConfIndex > raft.log.applied) {
    return `possible unapplied conf change at index ${raft.pendingConfIndex} (applied to ${raft.log.applied})`;
  }
  const leaves = change.changes.length === 0;
  const joint = isJoint(raft.tracker.config);
  if (joint && !leaves) return "must transition out of joint config first";
  if (!joint && leaves) return "not in joint state; refusing empty conf change";
  return undefined;
}
