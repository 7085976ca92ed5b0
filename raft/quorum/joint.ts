/** Two majorities at once: a joint configuration decides only what both of its halves decide. */
import type { GroupCommit, GroupedIndex, VoteResult } from "./majority.js";
import { majorityGroupCommitted } from "./majority.js";

export function jointVote(incoming: VoteResult, outgoing: VoteResult): VoteResult {
  if (incoming === outgoing) return incoming;
  return incoming === "VoteLost" || outgoing === "VoteLost" ? "VoteLost" : "VotePending";
}

export const jointCommitted = (incoming: number, outgoing: number): number =>
  incoming < outgoing ? incoming : outgoing;

export function jointGroupCommitted(
  incoming: readonly GroupedIndex[],
  outgoing: readonly GroupedIndex[],
): GroupCommit {
  const left = majorityGroupCommitted(incoming);
  const right = majorityGroupCommitted(outgoing);
  return { index: jointCommitted(left.index, right.index), grouped: left.grouped && right.grouped };
}
