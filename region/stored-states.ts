/**
 * What the disk holds of a peer beside its region, as its log says it stands. Read for many regions in two rounds: at a
 * start each look-up by itself would cost more than all the rest of a peer.
 */
import { assert, type Engine, type Term } from "../base/index.js";
import { decodeEntry } from "./entry-codec.js";
import { applyStateKey, raftLogKey, raftStateKey, uninitializedVoteKey } from "./keys.js";
import {
  type ApplyState,
  applyStateOf,
  decodeRaftState,
  type RaftState,
  raftStateOf,
} from "./local-state.js";
import type { Region } from "./region.js";

export interface StoredStates {
  readonly applyState: ApplyState;
  readonly raftState: RaftState;
  /** Of the entry at `raftState.lastIndex`. */
  readonly lastTerm: Term;
}

/** Throws on states that no crash can leave (rule 1.2.9). One for each region, in their order. */
export function readStoredStates(engine: Engine, regions: readonly Region[]): StoredStates[] {
  const keys: Uint8Array[] = [];
  for (const { id } of regions) keys.push(applyStateKey(id), raftStateKey(id), uninitializedVoteKey(id));
  const values = engine.multiGet("raft", keys);
  const found = regions.map((region, i) => {
    const applyState = applyStateOf(values[3 * i], region);
    const raftState = withEarlyVote(raftStateOf(values[3 * i + 1], region), values[3 * i + 2]);
    return { applyState, raftState: checked(region, applyState, raftState) };
  });
  const lastTerms = readLastTerms(engine, regions, found);
  return found.map((states, i) => ({ ...states, lastTerm: lastTerms[i] as Term }));
}

/** A vote given before the peer had data still binds it: terms never go back and nobody votes twice. */
function withEarlyVote(stored: RaftState, voteBytes: Uint8Array | undefined): RaftState {
  if (voteBytes === undefined) return stored;
  const { hardState } = stored;
  const early = decodeRaftState(voteBytes).hardState;
  if (early.term < hardState.term) return stored;
  const vote = early.term > hardState.term || hardState.vote === 0 ? early.vote : 0;
  return {
    lastIndex: stored.lastIndex,
    hardState: { ...hardState, term: early.term, vote: vote || hardState.vote },
  };
}

function checked(region: Region, applyState: ApplyState, raftState: RaftState): RaftState {
  const { appliedIndex, truncatedIndex } = applyState;
  const { hardState, lastIndex } = raftState;
  const what = (): string =>
    `region ${region.id}: log [${truncatedIndex + 1}, ${lastIndex}], applied ${appliedIndex}, ` +
    `commit ${hardState.commit}: the data directory is damaged or was written by something else`;
  assert(truncatedIndex <= appliedIndex, what);
  assert(appliedIndex <= lastIndex, what);
  assert(hardState.commit <= lastIndex, what);
  if (hardState.commit >= appliedIndex) return raftState;
  // The commit index may ride on a later batch than the entries it let us apply; applied entries are committed.
  return { lastIndex, hardState: { ...hardState, commit: appliedIndex } };
}

/** Of the last entry of each log; that of an empty log is the term it was cut at. */
function readLastTerms(
  engine: Engine,
  regions: readonly Region[],
  states: readonly Omit<StoredStates, "lastTerm">[],
): Term[] {
  const logs = states.map(({ applyState, raftState }) => raftState.lastIndex > applyState.truncatedIndex);
  const keys: Uint8Array[] = [];
  for (const [i, { raftState }] of states.entries())
    if (logs[i]) keys.push(raftLogKey((regions[i] as Region).id, raftState.lastIndex));
  const values = engine.multiGet("raft", keys);
  let next = 0;
  return states.map(({ applyState, raftState }, i) => {
    if (!logs[i]) return applyState.truncatedTerm;
    const bytes = values[next++];
    assert(bytes !== undefined, () => missingEntry((regions[i] as Region).id, raftState.lastIndex));
    return decodeEntry(bytes).term;
  });
}

export const missingEntry = (region: number, index: number): string =>
  `region ${region}: log entry ${index} is missing on disk`;
