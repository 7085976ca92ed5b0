/**
 * Elections: when a node may campaign, how it asks, how it is answered.
 *
 * The campaign guard: changes of the configuration take effect when applied, so a node that has one committed and
 * unapplied would count votes by an old configuration, and two leaders could win one term. It must not campaign, by
 * timeout, by request or by any other way; nor while a snapshot is pending, whose configuration it has not installed.
 */
import { equalBytes } from "../base/bytes.js";
import type { LogIndex, Term } from "../base/ids.js";
import type { MessageDraft } from "./message.js";
import { draftMessage, isConfChangeEntry } from "./message.js";
import type { VoteResult } from "./quorum/majority.js";
import type { Raft } from "./raft.js";
import { TERM_MAX } from "./raft.js";
import { broadcastAppend, CAMPAIGN_TRANSFER } from "./replication.js";
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from "./roles.js";
import type { Message } from "./types.js";
import { NONE } from "./types.js";

export type CampaignKind = "preElection" | "election" | "transfer";

/** Whether this node could be elected: a voter, without a pending snapshot. */
export function promotable(raft: Raft): boolean {
  const self = raft.tracker.progress(raft.id);
  return self !== undefined && !self.isLearner && !raft.log.hasPendingSnapshot();
}

function hasUnappliedConfChange(raft: Raft): boolean {
  const log = raft.log;
  if (log.applied >= log.committed) return false;
  const pageBytes = raft.config.maxCommittedSizePerReadyBytes;
  const found = log.scan(log.applied + 1, log.committed + 1, pageBytes, isConfChangeEntry);
  // What cannot be read now might be a change.
  return found !== false;
}

export function hup(raft: Raft, kind: CampaignKind): void {
  if (raft.state === "StateLeader") return;
  if (!promotable(raft)) {
    raft.logger.warn("cannot campaign: not a voter, or a snapshot is pending", { id: raft.id });
    return;
  }
  if (hasUnappliedConfChange(raft)) {
    raft.logger.warn("cannot campaign: a configuration change is not applied yet", { id: raft.id });
    return;
  }
  campaign(raft, kind);
}

function campaign(raft: Raft, kind: CampaignKind): void {
  if (!promotable(raft) || raft.term >= TERM_MAX) return;
  const pre = kind === "preElection";
  if (pre) becomePreCandidate(raft);
  else becomeCandidate(raft);
  // A pre-candidate asks for the term it would campaign in, without going there.
  const term = (pre ? raft.term + 1 : raft.term) as Term;
  const lastIndex = raft.log.lastIndex() as LogIndex;
  const lastTerm = raft.log.lastTerm() as Term;
  for (const voter of raft.tracker.voters()) {
    if (voter.id === raft.id) {
      // Its own vote counts once it is durable.
      const own = draftMessage(pre ? "MsgPreVoteResp" : "MsgVoteResp", raft.id);
      own.term = term;
      raft.send(own);
      continue;
    }
    const draft = draftMessage(pre ? "MsgPreVote" : "MsgVote", voter.id);
    draft.term = term;
    draft.index = lastIndex;
    draft.logTerm = lastTerm;
    if (kind === "transfer") draft.context = CAMPAIGN_TRANSFER;
    draft.priority = raft.priority;
    attachCommit(raft, draft);
    raft.send(draft);
  }
}

function attachCommit(raft: Raft, draft: MessageDraft): void {
  if (!raft.config.commitByVote) return;
  const term = raft.log.term(raft.log.committed);
  draft.commit = raft.log.committed as LogIndex;
  draft.commitTerm = (typeof term === "number" ? term : 0) as Term;
}

/** A vote request within the lease of a leader that lives is ignored, unless the leader itself asked for it. */
export function ignoredInLease(raft: Raft, message: Message): boolean {
  if (!raft.config.checkQuorum || raft.lead === NONE) return false;
  if (raft.electionElapsed >= raft.config.electionTicks) return false;
  return !equalBytes(message.context, CAMPAIGN_TRANSFER);
}

/** Answers MsgVote and MsgPreVote of the present or a later term. */
export function handleVoteRequest(raft: Raft, message: Message): void {
  const pre = message.type === "MsgPreVote";
  const canVote =
    raft.vote === message.from ||
    (raft.vote === NONE && raft.lead === NONE) ||
    (pre && message.term > raft.term);
  const draft = draftMessage(pre ? "MsgPreVoteResp" : "MsgVoteResp", message.from);
  if (canVote && raft.log.isUpToDate(message.index, message.logTerm) && yieldsTo(raft, message)) {
    // The answer carries the term that was asked for: a pre-candidate is ahead of this node's own.
    draft.term = message.term;
    raft.send(draft);
    if (!pre) {
      // Only a real vote counts as contact: pre-votes of a node that cannot win must not silence the others.
      raft.electionElapsed = 0;
      raft.vote = message.from;
    }
    return;
  }
  draft.term = raft.term as Term;
  draft.reject = true;
  attachCommit(raft, draft);
  raft.send(draft);
  maybeCommitByVote(raft, message);
}

/** With equal logs, the higher priority wins. */
function yieldsTo(raft: Raft, message: Message): boolean {
  return message.index > raft.log.lastIndex() || raft.priority <= message.priority;
}

/** Learns the commit index from a vote message, where the log agrees; a non-leader only. */
export function maybeCommitByVote(raft: Raft, message: Message): void {
  if (!raft.config.commitByVote || message.commit === 0 || message.commitTerm === 0) return;
  if (raft.state === "StateLeader") return;
  const before = raft.log.committed;
  if (message.commit > raft.log.lastIndex()) return;
  if (!raft.log.maybeCommit(message.commit, message.commitTerm)) return;
  if (raft.state !== "StateCandidate" && raft.state !== "StatePreCandidate") return;
  const pageBytes = raft.config.maxCommittedSizePerReadyBytes;
  const found = raft.log.scan(before + 1, raft.log.committed + 1, pageBytes, isConfChangeEntry);
  // A change is committed now: the campaign counts votes by an old configuration.
  if (found !== false) becomeFollower(raft, raft.term, NONE);
}

/** Counts a vote and does what follows from it. */
export function handleVoteResponse(raft: Raft, message: Message): void {
  raft.tracker.recordVote(message.from, !message.reject);
  const result: VoteResult = raft.tracker.voteResult();
  switch (result) {
    case "VoteWon":
      if (raft.state === "StatePreCandidate") {
        campaign(raft, "election");
      } else {
        becomeLeader(raft);
        broadcastAppend(raft);
      }
      break;
    case "VoteLost":
      // The term stays: a pre-candidate is at its own, m.term of a rejection is not above it here.
      becomeFollower(raft, raft.term, NONE);
      break;
    case "VotePending":
      break;
  }
  if (message.reject) maybeCommitByVote(raft, message);
}
