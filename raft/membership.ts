/**
 * Changes of the configuration. They take effect when they are applied, not when appended; at most one is under way
 * (`pendingConfIndex`). After every acknowledged apply the leader checks whether a joint configuration is to be left.
 */
import { assert } from "../base/assert.js";
import { confChangeMode, encodeConfChange, makeConfChange } from "./confchange-codec.js";
import { isCount } from "./config.js";
import type { ChangeResult } from "./confchange/changer.js";
import { enterJoint, leaveJoint, simpleChange } from "./confchange/changer.js";
import { equalConfState, makeEntry } from "./message.js";
import { propose } from "./proposals.js";
import type { Raft } from "./raft.js";
import { confirmReads } from "./reads.js";
import { broadcastAppend, maybeCommit, maybeSendAppend } from "./replication.js";
import { abortTransfer, becomeFollower } from "./roles.js";
import { traceApplyConfChange } from "./trace.js";
import type { Progress } from "./tracker/progress.js";
import type { TrackerConfig } from "./tracker/tracker.js";
import type { ConfChangeV2, ConfState } from "./types.js";
import { NONE } from "./types.js";

export type ApplyConfChangeResult =
  | { readonly kind: "applied"; readonly confState: ConfState }
  | { readonly kind: "invalid"; readonly reason: string };

function change(raft: Raft, confChange: ConfChangeV2): ChangeResult {
  const stranger = confChange.changes.find(({ nodeId }) => !isCount(nodeId));
  if (stranger !== undefined) return { kind: "invalid", reason: `${stranger.nodeId} is no node id` };
  const mode = confChangeMode(confChange);
  const last = raft.log.lastIndex();
  switch (mode.kind) {
    case "leaveJoint":
      return leaveJoint(raft.tracker, last);
    case "enterJoint":
      return enterJoint(raft.tracker, last, mode.autoLeave, confChange.changes);
    case "simple":
      return simpleChange(raft.tracker, last, confChange.changes);
  }
}

export function applyConfChange(raft: Raft, confChange: ConfChangeV2): ApplyConfChangeResult {
  const result = change(raft, confChange);
  if (result.kind === "invalid") return result;
  switchToConfig(raft, result.config, result.members);
  return { kind: "applied", confState: raft.tracker.confState() };
}

/** Installs a configuration and does what the leader owes to it. */
export function switchToConfig(raft: Raft, config: TrackerConfig, members: readonly Progress[]): void {
  traceApplyConfChange(raft, config.voters);
  const tracker = raft.tracker;
  tracker.install(config, members);
  raft.logger.info("switched configuration", { id: raft.id, config });
  const self = tracker.progress(raft.id);
  raft.isLearner = self?.isLearner ?? false;
  if ((self === undefined || raft.isLearner) && raft.state === "StateLeader") {
    // Without stepping down it leads on without counting itself, until it is replaced.
    if (raft.config.stepDownOnRemoval) becomeFollower(raft, raft.term, NONE);
    return;
  }
  if (raft.state !== "StateLeader" || config.voters.length === 0) return;
  // A smaller quorum may be complete already, for entries and for reads.
  if (maybeCommit(raft)) {
    broadcastAppend(raft);
  } else {
    for (const member of tracker.members) {
      if (member.id !== raft.id) maybeSendAppend(raft, member, false);
    }
  }
  confirmReads(raft);
  if (raft.leadTransferee !== NONE && !tracker.isVoter(raft.leadTransferee)) abortTransfer(raft);
}

/** The state machine has applied up to `index`. */
export function appliedTo(raft: Raft, index: number, bytes: number): void {
  const applied = Math.max(index, raft.log.applied);
  raft.log.appliedTo(applied, bytes);
  if (!raft.tracker.config.autoLeave || raft.state !== "StateLeader") return;
  if (applied < raft.pendingConfIndex) return;
  // Proposed as any other change, so that it is broadcast and `pendingConfIndex` moves: proposed twice, the second
  // would be invalid. Refused during a transfer; every later apply tries again.
  const data = encodeConfChange(makeConfChange([]));
  const dropped = propose(raft, [makeEntry(0, 0, data, "EntryConfChangeV2")]);
  if (dropped !== undefined) raft.logger.debug("leaving the joint configuration must wait", { dropped });
}

export function appliedSnapshot(raft: Raft, index: number): void {
  raft.log.unstable.stableSnapshotTo(index);
  if (index > raft.log.applied) appliedTo(raft, index, 0);
}

/** The configuration at start is the stored one: a ConfState that cannot have come about would become another. */
export function assertSameConfiguration(raft: Raft, confState: ConfState): void {
  assert(equalConfState(raft.tracker.config, confState), () => {
    return `the stored configuration cannot have come about: ${JSON.stringify(confState)}`;
  });
}
