/**
 * The three records of a region on disk and their codecs: region state (what the region is here), apply state (how far
 * its log has taken effect), raft state (hard state and last index). Region state and apply state change only in the
 * batch that carries the data they speak of.
 *
 * Regions made by bootstrap or split start at log index 5, term 5 (INIT); an absent raft state of an initialized
 * region means exactly that.
 */
import { assert, type Engine, type LogIndex, logIndex, type Term, term } from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import type { HardState } from "../raft/types.js";
import { applyStateKey, regionStateKey } from "./keys.js";
import { isInitialized, type Region, regionFromProto, regionToProto } from "./region.js";

export const INIT_LOG_INDEX: LogIndex = logIndex(5);
export const INIT_LOG_TERM: Term = term(5);

export type PeerState = "normal" | "applying" | "tombstone";

export interface RegionState {
  readonly state: PeerState;
  readonly region: Region;
}

export interface ApplyState {
  readonly appliedIndex: LogIndex;
  readonly appliedTerm: Term;
  readonly truncatedIndex: LogIndex;
  readonly truncatedTerm: Term;
}

export interface RaftState {
  readonly hardState: HardState;
  readonly lastIndex: LogIndex;
}

export const INIT_APPLY_STATE: ApplyState = Object.freeze({
  appliedIndex: INIT_LOG_INDEX,
  appliedTerm: INIT_LOG_TERM,
  truncatedIndex: INIT_LOG_INDEX,
  truncatedTerm: INIT_LOG_TERM,
});
export const EMPTY_APPLY_STATE: ApplyState = Object.freeze({
  appliedIndex: logIndex(0),
  appliedTerm: term(0),
  truncatedIndex: logIndex(0),
  truncatedTerm: term(0),
});
export const INIT_RAFT_STATE: RaftState = Object.freeze({
  hardState: { term: INIT_LOG_TERM, vote: 0, commit: INIT_LOG_INDEX },
  lastIndex: INIT_LOG_INDEX,
});
export const EMPTY_RAFT_STATE: RaftState = Object.freeze({
  hardState: { term: term(0), vote: 0, commit: logIndex(0) },
  lastIndex: logIndex(0),
});

const PEER_STATES: readonly (PeerState | undefined)[] = ["normal", "applying", "tombstone"];

export function encodeRegionState(state: RegionState): Uint8Array {
  return raft_serverpb.RegionLocalState.encode({
    state: PEER_STATES.indexOf(state.state),
    region: regionToProto(state.region),
  }).finish();
}

export function decodeRegionState(bytes: Uint8Array): RegionState {
  const decoded = raft_serverpb.RegionLocalState.decode(bytes);
  const state = PEER_STATES[decoded.state];
  assert(state !== undefined, () => `unknown peer state ${decoded.state} on disk`);
  assert(decoded.region, "a region state without its region on disk");
  return { state, region: regionFromProto(decoded.region) };
}

/** The region whose data a snapshot brings; undefined when it names none. */
export function regionOfSnapshot(data: Uint8Array): Region | undefined {
  const { region } = raft_serverpb.RaftSnapshotData.decode(data);
  return region == null ? undefined : regionFromProto(region);
}

export function encodeApplyState(state: ApplyState): Uint8Array {
  return raft_serverpb.RaftApplyState.encode({
    appliedIndex: state.appliedIndex,
    commitIndex: state.appliedIndex,
    commitTerm: state.appliedTerm,
    truncatedState: { index: state.truncatedIndex, term: state.truncatedTerm },
  }).finish();
}

export function decodeApplyState(bytes: Uint8Array): ApplyState {
  const decoded = raft_serverpb.RaftApplyState.decode(bytes);
  return {
    appliedIndex: logIndex(decoded.appliedIndex),
    appliedTerm: term(decoded.commitTerm),
    truncatedIndex: logIndex(decoded.truncatedState?.index ?? 0),
    truncatedTerm: term(decoded.truncatedState?.term ?? 0),
  };
}

export function encodeRaftState(state: RaftState): Uint8Array {
  return raft_serverpb.RaftLocalState.encode({
    hardState: { term: state.hardState.term, vote: state.hardState.vote, commit: state.hardState.commit },
    lastIndex: state.lastIndex,
  }).finish();
}

export function decodeRaftState(bytes: Uint8Array): RaftState {
  const decoded = raft_serverpb.RaftLocalState.decode(bytes);
  return {
    hardState: {
      term: term(decoded.hardState?.term ?? 0),
      vote: decoded.hardState?.vote ?? 0,
      commit: logIndex(decoded.hardState?.commit ?? 0),
    },
    lastIndex: logIndex(decoded.lastIndex),
  };
}

export function readRegionState(engine: Engine, region: number): RegionState | undefined {
  const bytes = engine.get("raft", regionStateKey(region));
  return bytes === undefined ? undefined : decodeRegionState(bytes);
}

export const readApplyState = (engine: Engine, region: Region): ApplyState =>
  applyStateOf(engine.get("raft", applyStateKey(region.id)), region);

/** `bytes`: what is stored, if anything. */
export function applyStateOf(bytes: Uint8Array | undefined, region: Region): ApplyState {
  if (bytes !== undefined) return decodeApplyState(bytes);
  return isInitialized(region) ? INIT_APPLY_STATE : EMPTY_APPLY_STATE;
}

export function raftStateOf(bytes: Uint8Array | undefined, region: Region): RaftState {
  if (bytes !== undefined) return decodeRaftState(bytes);
  return isInitialized(region) ? INIT_RAFT_STATE : EMPTY_RAFT_STATE;
}
