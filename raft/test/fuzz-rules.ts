/**
 * What a single step of a node may do, told from what the node was before it and is after it: rules of the protocol
 * that hold whatever the rest of the group does. A broken one shows at once, long before it does harm, if it ever does.
 */
import { confChangeMode } from "../confchange-codec.js";
import type { BasicStatus } from "../status.js";
import type { Append, ConfChangeV2, ConfState, Message } from "../types.js";

export interface Situation {
  readonly term: number;
  readonly vote: number;
  readonly commit: number;
  readonly lastIndex: number;
  readonly state: BasicStatus["state"];
  readonly hasPendingSnapshot: boolean;
}

const VOTES: readonly Message["type"][] = ["MsgVote", "MsgPreVote", "MsgVoteResp", "MsgPreVoteResp"];

/** How far a message may move the commit index of its receiver. */
function vouchesFor(message: Message, before: Situation, commitsByVote: boolean): number {
  switch (message.type) {
    case "MsgApp":
      return Math.min(message.commit, message.index + message.entries.length);
    case "MsgHeartbeat":
      return message.commit;
    case "MsgSnap":
      return message.snapshot?.metadata.index ?? 0;
    case "MsgAppResp":
      // A leader counts.
      return before.state === "StateLeader" ? before.lastIndex : 0;
    default:
      return commitsByVote && VOTES.includes(message.type) ? message.commit : 0;
  }
}

/** What is wrong with what a message did; undefined when nothing is. */
export function brokenByMessage(
  message: Message,
  before: Situation,
  after: Situation,
  commitsByVote: boolean,
): string | undefined {
  const { type } = message;
  const isLate = message.term !== 0 && message.term < before.term;
  const votes = after.term !== before.term || after.vote !== before.vote;
  const appends =
    after.lastIndex !== before.lastIndex || after.hasPendingSnapshot !== before.hasPendingSnapshot;
  const commits = after.commit > before.commit;
  if (isLate && (votes || appends || commits || after.state !== before.state)) {
    return `a message of the earlier term ${message.term} changed something`;
  }
  if (type === "MsgPreVote" && votes) return "a question before the election changed term or vote";
  if (commits && after.commit > vouchesFor(message, before, commitsByVote)) {
    return `commits ${after.commit}, which the message does not vouch for`;
  }
  const isOld = type === "MsgSnap" && (message.snapshot?.metadata.index ?? 0) < before.commit;
  if (isOld && appends) return "a snapshot older than the commit index was taken";
  return undefined;
}

/** What is wrong with a write that a node hands out, `durable` being what it handed out last; or nothing. */
export function brokenByAppend(append: Append, told: { term: number; vote: number }): string | undefined {
  const { hardState, entries, snapshot, mustSync } = append;
  const turns = hardState !== undefined && (hardState.term !== told.term || hardState.vote !== told.vote);
  if ((turns || entries.length > 0 || snapshot !== undefined) && !mustSync)
    return "a write that must be synced is not";
  for (let i = 1; i < entries.length; i++) {
    if ((entries[i]?.index ?? 0) !== (entries[i - 1]?.index ?? 0) + 1) return "entries to write have a hole";
  }
  return undefined;
}

/** What a change that was accepted makes of a configuration, by its definition; undefined where it says nothing new. */
export function changed(before: ConfState, change: ConfChangeV2): ConfState | undefined {
  if (before.voters.length === 0) return undefined;
  const mode = confChangeMode(change);
  if (mode.kind === "leaveJoint") {
    const learners = [...before.learners, ...before.learnersNext];
    return { ...before, votersOutgoing: [], learners, learnersNext: [], autoLeave: false };
  }
  const votersOutgoing = mode.kind === "enterJoint" ? before.voters : [];
  const sets = {
    voters: new Set(before.voters),
    learners: new Set(before.learners),
    next: new Set<number>(),
  };
  for (const { type, nodeId } of change.changes) {
    if (type === "ConfChangeUpdateNode") continue;
    const wasLearner = sets.learners.has(nodeId) || sets.next.has(nodeId);
    for (const set of Object.values(sets)) set.delete(nodeId);
    if (type === "ConfChangeAddNode") sets.voters.add(nodeId);
    if (type !== "ConfChangeAddLearnerNode") continue;
    const waits = votersOutgoing.includes(nodeId) && !(wasLearner && before.learners.includes(nodeId));
    (waits ? sets.next : sets.learners).add(nodeId);
  }
  return {
    voters: [...sets.voters],
    votersOutgoing,
    learners: [...sets.learners],
    learnersNext: [...sets.next],
    autoLeave: mode.kind === "enterJoint" && mode.autoLeave,
  };
}
