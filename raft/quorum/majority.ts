/**
 * What a majority of a set of voters agrees on: the highest index on more than half of them, and the outcome of a
 * vote. An empty set agrees with everything, so that a joint configuration with an empty half is a plain majority.
 *
 * Called for every acknowledgement: works on caller's arrays of plain numbers, sorts in place in a scratch array.
 */

export type VoteResult = "VotePending" | "VoteLost" | "VoteWon";

/** The commit index of no voters at all. */
export const EMPTY_QUORUM_INDEX = Number.POSITIVE_INFINITY;

/** Sorts the first `count` numbers ascending. Insertion sort: voter sets have a handful of members. */
function sortPrefix(values: number[], count: number): void {
  for (let i = 1; i < count; i++) {
    const value = values[i] as number;
    let at = i - 1;
    while (at >= 0 && (values[at] as number) > value) {
      values[at + 1] = values[at] as number;
      at--;
    }
    values[at + 1] = value;
  }
}

/** The largest index that a majority of `count` voters has reached; reorders `values`. Unknown counts as 0. */
export function majorityCommitted(values: number[], count: number): number {
  if (count === 0) return EMPTY_QUORUM_INDEX;
  sortPrefix(values, count);
  return values[count - ((count >> 1) + 1)] as number;
}

/** Result of a vote by `total` voters of which so many said yes and no. */
export function majorityVote(total: number, yes: number, no: number): VoteResult {
  if (total === 0) return "VoteWon";
  const needed = (total >> 1) + 1;
  if (yes >= needed) return "VoteWon";
  return total - no >= needed ? "VotePending" : "VoteLost";
}

/** An index reached by a voter of a commit group; group 0 is "not assigned". */
export interface GroupedIndex {
  readonly index: number;
  readonly group: number;
}

export interface GroupCommit {
  readonly index: number;
  /** False when all voters were in one group and plain majority decided. */
  readonly grouped: boolean;
}

/**
 * raft-rs group commit: an index counts when it is on a majority and on two groups. While some voter has no group,
 * and all the others are in one, only what every voter has counts; one single group is a plain majority.
 */
export function majorityGroupCommitted(voters: readonly GroupedIndex[]): GroupCommit {
  if (voters.length === 0) return { index: EMPTY_QUORUM_INDEX, grouped: true };
  const sorted = [...voters].sort((left, right) => right.index - left.index);
  const quorumIndex = (sorted[sorted.length >> 1] as GroupedIndex).index;
  let group = (sorted[sorted.length >> 1] as GroupedIndex).group;
  let singleGroup = true;
  for (const voter of sorted) {
    if (voter.group === 0) {
      singleGroup = false;
    } else if (group === 0) {
      group = voter.group;
    } else if (group !== voter.group) {
      return { index: Math.min(voter.index, quorumIndex), grouped: true };
    }
  }
  if (singleGroup) return { index: quorumIndex, grouped: false };
  return { index: (sorted[sorted.length - 1] as GroupedIndex).index, grouped: false };
}
