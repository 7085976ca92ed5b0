/**
 * The four roles and the ways between them. `reset` runs on every change of role but into pre-candidate, which keeps
 * term and vote: asking costs nothing.
 */
import { assert } from "../base/assert.js";
import { makeEntry, NO_MESSAGES } from "./message.js";
import type { Raft } from "./raft.js";
import { appendEntries } from "./replication.js";
import { traceState } from "./trace.js";
import type { NodeId } from "./types.js";
import { NONE } from "./types.js";

function reset(raft: Raft, term: number): void {
  if (raft.term !== term) {
    raft.term = term;
    raft.vote = NONE;
  }
  raft.lead = NONE;
  raft.electionElapsed = 0;
  raft.heartbeatElapsed = 0;
  raft.drawElectionTimeout();
  abortTransfer(raft);
  raft.timeoutNowSent = false;
  raft.pendingRequestSnapshot = 0;
  const last = raft.log.lastIndex();
  for (const member of raft.tracker.members) member.reset(member.id === raft.id ? last : 0, last + 1);
  raft.pendingConfIndex = 0;
  raft.uncommittedBytes = 0;
  raft.uncommittedSince = last;
  raft.readOnly = undefined;
  raft.pendingReads = NO_MESSAGES;
}

export function abortTransfer(raft: Raft): void {
  raft.leadTransferee = NONE;
}

export function becomeFollower(raft: Raft, term: number, lead: NodeId): void {
  reset(raft, term);
  raft.lead = lead;
  raft.state = "StateFollower";
  // Only a leader may apply what is not durable here: its entries are durable on a quorum of others.
  raft.log.unpersistedMax = 0;
  raft.logger.info("became follower", { id: raft.id, term, lead });
  traceState(raft, "BecomeFollower");
}

export function becomeCandidate(raft: Raft): void {
  assert(raft.state !== "StateLeader", "a leader cannot become candidate");
  reset(raft, raft.term + 1);
  raft.vote = raft.id;
  raft.state = "StateCandidate";
  raft.logger.info("became candidate", { id: raft.id, term: raft.term });
  traceState(raft, "BecomeCandidate");
}

/** Forgets the leader: as long as it is remembered this node refuses to vote for others, and nobody may win. */
export function becomePreCandidate(raft: Raft): void {
  assert(raft.state !== "StateLeader", "a leader cannot become pre-candidate");
  raft.tracker.resetVotes();
  raft.lead = NONE;
  raft.pendingRequestSnapshot = 0;
  raft.state = "StatePreCandidate";
  raft.logger.info("became pre-candidate", { id: raft.id, term: raft.term });
}

export function becomeLeader(raft: Raft): void {
  assert(raft.state !== "StateFollower", "a follower cannot become leader");
  reset(raft, raft.term);
  raft.lead = raft.id;
  raft.state = "StateLeader";
  raft.log.unpersistedMax = raft.config.maxApplyUnpersistedEntries;
  const self = raft.tracker.progress(raft.id);
  assert(self !== undefined, "a leader must be a member");
  self.becomeReplicate();
  self.recentActive = true;
  // A change may be in the tail that is not committed yet: none is proposed before all of it is applied.
  raft.pendingConfIndex = raft.log.lastIndex();
  traceState(raft, "BecomeLeader");
  const appended = appendEntries(raft, [makeEntry(0, 0)]);
  assert(appended, "the empty entry of a new leader was refused");
  raft.logger.info("became leader", { id: raft.id, term: raft.term });
}
