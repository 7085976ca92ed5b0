/**
 * The one entry for messages: terms first, then what does not depend on the role, then the role.
 *
 * Returns why a proposal (or a read) was dropped; everything else that cannot be used is ignored, as it may be late.
 */
import type { LogIndex, Term } from "../base/ids.js";
import { handleVoteRequest, handleVoteResponse, hup, ignoredInLease } from "./election.js";
import { handleAppend, handleHeartbeat, handleSnapshot } from "./follower.js";
import { appliedSnapshot } from "./membership.js";
import type { MessageDraft } from "./message.js";
import { draftMessage } from "./message.js";
import { propose } from "./proposals.js";
import type { Raft } from "./raft.js";
import { pushed } from "./raft.js";
import { handleReadIndex } from "./reads.js";
import { broadcastHeartbeat } from "./heartbeat.js";
import {
  handleAppendResponse,
  handleHeartbeatResponse,
  handleSnapshotStatus,
  maybeSendAppend,
  sendTimeoutNow,
} from "./replication.js";
import { abortTransfer, becomeFollower } from "./roles.js";
import { traceMessage } from "./trace.js";
import type { Progress } from "./tracker/progress.js";
import type { Message, ProposalDropped } from "./types.js";
import { NONE } from "./types.js";

export function step(raft: Raft, message: Message): ProposalDropped | undefined {
  if (raft.traceHook !== undefined) traceMessage(raft, message, false);
  if (message.term > raft.term) {
    if (!acceptHigherTerm(raft, message)) return undefined;
  } else if (message.term !== 0 && message.term < raft.term) {
    handleLowerTerm(raft, message);
    return undefined;
  }
  switch (message.type) {
    case "MsgHup":
      hup(raft, raft.config.preVote ? "preElection" : "election");
      return undefined;
    case "MsgVote":
    case "MsgPreVote":
      handleVoteRequest(raft, message);
      return undefined;
    case "MsgStorageAppendResp":
      stepStorageAppended(raft, message);
      return undefined;
    default:
      break;
  }
  switch (raft.state) {
    case "StateLeader":
      return stepLeader(raft, message);
    case "StateFollower":
      return stepFollower(raft, message);
    default:
      return stepCandidate(raft, message);
  }
}

/** False when the message must be ignored. */
function acceptHigherTerm(raft: Raft, message: Message): boolean {
  switch (message.type) {
    case "MsgPreVote":
      // Never changes the term.
      return !ignoredInLease(raft, message);
    case "MsgVote":
      if (ignoredInLease(raft, message)) return false;
      break;
    case "MsgPreVoteResp":
      // A granted pre-vote carries the term asked for; the term moves when the election is won.
      if (!message.reject) return message.term === raft.term + 1;
      break;
    case "MsgApp":
    case "MsgHeartbeat":
    case "MsgSnap":
      becomeFollower(raft, message.term, message.from);
      return true;
    default:
      break;
  }
  becomeFollower(raft, message.term, NONE);
  return true;
}

function handleLowerTerm(raft: Raft, message: Message): void {
  const { type } = message;
  if ((raft.config.checkQuorum || raft.config.preVote) && (type === "MsgHeartbeat" || type === "MsgApp")) {
    // A leader that cannot be voted out: leases ignore this node's requests, and this node ignores the leader. The
    // answer at the higher term makes it step down.
    raft.send(draftMessage("MsgAppResp", message.from));
  } else if (type === "MsgPreVote") {
    // Without an answer a node at a lower term with a longer log could wait for ever, and so could the others.
    const draft = draftMessage("MsgPreVoteResp", message.from);
    draft.term = raft.term as Term;
    draft.reject = true;
    raft.send(draft);
  } else if (type === "MsgStorageAppendResp" && message.snapshot !== undefined) {
    // Entries of an older term may have been overwritten since; a snapshot holds what is committed.
    appliedSnapshot(raft, message.snapshot.metadata.index);
  }
}

/** The storage has made durable what the message names. */
function stepStorageAppended(raft: Raft, message: Message): void {
  if (message.index !== 0) raft.log.unstable.stableTo(message.index, message.logTerm);
  if (message.snapshot !== undefined) appliedSnapshot(raft, message.snapshot.metadata.index);
}

function stepLeader(raft: Raft, message: Message): ProposalDropped | undefined {
  switch (message.type) {
    case "MsgBeat":
      broadcastHeartbeat(raft);
      return undefined;
    case "MsgCheckQuorum":
      checkQuorum(raft);
      return undefined;
    case "MsgProp":
      return propose(raft, message.entries);
    case "MsgReadIndex":
      return handleReadIndex(raft, message) ? undefined : "tooManyReads";
    default:
      break;
  }
  const progress = raft.tracker.progress(message.from);
  if (progress === undefined) return undefined;
  switch (message.type) {
    case "MsgAppResp":
      handleAppendResponse(raft, progress, message);
      break;
    case "MsgHeartbeatResp":
      handleHeartbeatResponse(raft, progress, message);
      break;
    case "MsgSnapStatus":
      handleSnapshotStatus(progress, message.reject);
      break;
    case "MsgUnreachable":
      // Optimistic sending is wasted on a peer whose messages are lost.
      if (progress.state === "StateReplicate") progress.becomeProbe();
      break;
    case "MsgTransferLeader":
      transferLeader(raft, progress);
      break;
    default:
      break;
  }
  return undefined;
}

function checkQuorum(raft: Raft): void {
  if (!raft.tracker.quorumActive(raft.id)) {
    raft.logger.warn("stepped down: a quorum is silent", { id: raft.id });
    becomeFollower(raft, raft.term, NONE);
    return;
  }
  for (const member of raft.tracker.members) {
    if (member.id !== raft.id) member.recentActive = false;
  }
}

function transferLeader(raft: Raft, target: Progress): void {
  if (target.isLearner) return;
  if (raft.leadTransferee !== NONE) {
    // Asking again for the same target does not prolong the time it has.
    if (raft.leadTransferee === target.id) return;
    abortTransfer(raft);
  }
  if (target.id === raft.id) return;
  raft.electionElapsed = 0;
  raft.leadTransferee = target.id;
  if (target.match === raft.log.lastIndex()) sendTimeoutNow(raft, target.id);
  else maybeSendAppend(raft, target, true);
}

function stepCandidate(raft: Raft, message: Message): ProposalDropped | undefined {
  const response = raft.state === "StatePreCandidate" ? "MsgPreVoteResp" : "MsgVoteResp";
  switch (message.type) {
    case "MsgProp":
    case "MsgReadIndex":
      return "noLeader";
    case "MsgApp":
    case "MsgHeartbeat":
    case "MsgSnap":
      // Somebody won this term.
      becomeFollower(raft, message.term, message.from);
      fromLeader(raft, message);
      return undefined;
    case response:
      handleVoteResponse(raft, message);
      return undefined;
    default:
      return undefined;
  }
}

function fromLeader(raft: Raft, message: Message): void {
  if (message.type === "MsgApp") handleAppend(raft, message);
  else if (message.type === "MsgHeartbeat") handleHeartbeat(raft, message);
  else handleSnapshot(raft, message);
}

function stepFollower(raft: Raft, message: Message): ProposalDropped | undefined {
  switch (message.type) {
    case "MsgProp":
      if (raft.config.disableProposalForwarding && raft.lead !== NONE) return "forwardingDisabled";
      return forward(raft, message);
    case "MsgReadIndex":
    case "MsgTransferLeader":
      return forward(raft, message);
    case "MsgApp":
    case "MsgHeartbeat":
    case "MsgSnap":
      raft.electionElapsed = 0;
      raft.lead = message.from;
      fromLeader(raft, message);
      return undefined;
    case "MsgForgetLeader":
      // A lease must not end because a follower forgot who holds it.
      if (raft.config.readOnlyOption !== "leaseBased") raft.lead = NONE;
      else raft.logger.error("leaders are not forgotten with lease based reads", { id: raft.id });
      return undefined;
    case "MsgTimeoutNow":
      // Without pre-vote: the leader itself asks for it.
      hup(raft, "transfer");
      return undefined;
    case "MsgReadIndexResp":
      raft.readStates = pushed(raft.readStates, {
        index: message.index as LogIndex,
        requestContext: message.context,
      });
      return undefined;
    default:
      return undefined;
  }
}

/** Passes a request on to the leader; `from` stays that of its author. */
function forward(raft: Raft, message: Message): ProposalDropped | undefined {
  if (raft.lead === NONE) return "noLeader";
  const draft: MessageDraft = { ...message, to: raft.lead };
  raft.send(draft);
  return undefined;
}
