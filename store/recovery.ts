/**
 * What a store finds at its start: every region state on disk. Each start is a recovery from a crash; a clean stop
 * writes nothing special. Tombstones make no peer; `applying` makes one whose snapshot is loaded again from the
 * beginning. (raftstore rules 1.2)
 */
import { compareBytes, type Engine, peerId as toPeerId, RaftwerkError, storeId } from "../base/index.js";
import {
  applyStateKey,
  raftStateKey,
  readU64,
  REGION_STATE_END,
  REGION_STATE_START,
  snapshotRegionRange,
} from "../region/keys.js";
import { decodeRegionState } from "../region/local-state.js";
import { Peer, type PeerHost } from "../region/peer.js";
import { readStoredStates } from "../region/stored-states.js";
import { findPeerOnStore, type Region } from "../region/region.js";
import { deleteLogRange } from "./destroy.js";
import { toldByEngine } from "./guarded-engine.js";

export interface LoadedRegion {
  readonly region: Region;
  readonly peerId: number;
  /** A snapshot was accepted, and its data not fully loaded. */
  readonly applying: boolean;
}

const PAGE_ROWS = 1_024;
const STATES_AT_ONCE = 256;

export function loadRegions(
  engine: Engine,
  ownStoreId: number,
  callback: (error: Error | undefined, regions: LoadedRegion[] | undefined) => void,
): void {
  const regions: LoadedRegion[] = [];
  const page = (start: Uint8Array): void => {
    engine.scan("raft", { start, end: REGION_STATE_END, limit: PAGE_ROWS }, (error, result) => {
      if (error !== undefined) return callback(error, undefined);
      const buried: number[] = [];
      for (const row of result.rows) {
        const { state, region } = decodeRegionState(row.value);
        if (state === "tombstone") buried.push(region.id);
        else regions.push(loaded(region, state === "applying", ownStoreId));
      }
      const last = result.rows[result.rows.length - 1];
      clearGraves(engine, buried, (failed) => {
        if (failed !== undefined) return callback(failed, undefined);
        if (result.finished || last === undefined) return callback(undefined, withSharedBorders(regions));
        const next = new Uint8Array(last.key.length + 1);
        next.set(last.key);
        page(next);
      });
    });
  };
  page(REGION_STATE_START);
}

/** Where one region ends the next begins: one key in memory for both. */
function withSharedBorders(regions: readonly LoadedRegion[]): LoadedRegion[] {
  const sorted = [...regions].sort((a, b) => compareBytes(a.region.startKey, b.region.startKey));
  const starts = new Map<Region, Uint8Array>();
  for (let i = 1; i < sorted.length; i++) {
    const before = (sorted[i - 1] as LoadedRegion).region;
    const { startKey } = (sorted[i] as LoadedRegion).region;
    if (compareBytes(before.endKey, startKey) === 0) starts.set(before, startKey);
  }
  return regions.map((loaded) => {
    const endKey = starts.get(loaded.region);
    return endKey === undefined ? loaded : { ...loaded, region: { ...loaded.region, endKey } };
  });
}

/** Their peers, in the same order. */
export function loadPeers(host: PeerHost, regions: readonly LoadedRegion[]): Peer[] {
  const peers: Peer[] = [];
  for (let from = 0; from < regions.length; from += STATES_AT_ONCE) {
    const page = regions.slice(from, from + STATES_AT_ONCE);
    const states = readStoredStates(
      host.engine,
      page.map(({ region }) => region),
    );
    for (const [i, { region, peerId }] of page.entries())
      peers.push(new Peer(host, region, toPeerId(peerId), states[i]));
  }
  return peers;
}

function loaded(region: Region, applying: boolean, ownStoreId: number): LoadedRegion {
  const own = findPeerOnStore(region, storeId(ownStoreId));
  if (own === undefined) {
    const text = `region ${region.id} on disk has no peer on store ${ownStoreId}: the data directory is damaged`;
    throw new RaftwerkError("corruptData", text, { retry: "never" });
  }
  return { region, peerId: own.id, applying };
}

/**
 * What a crash left behind tombstones: log entries, and the states of a peer that had applied its own removal and was
 * not destroyed yet. A later peer of the region would take them for its own. That later peer's vote stays. Deleting
 * what is not there costs next to nothing. (raftstore rule 9.2)
 */
function clearGraves(
  engine: Engine,
  regions: readonly number[],
  callback: (error: Error | undefined) => void,
): void {
  if (regions.length === 0) return callback(undefined);
  const batch = engine.batch();
  for (const region of regions) {
    batch.delete("raft", raftStateKey(region));
    batch.delete("raft", applyStateKey(region));
    deleteLogRange(engine, region, 0, Number.MAX_SAFE_INTEGER, toldByEngine);
  }
  engine.write(batch, { sync: false }, callback);
}

/** Deletes chunks of snapshots that were not accepted before the store stopped: their senders begin anew. */
export function clearChunks(
  engine: Engine,
  regions: readonly LoadedRegion[],
  callback: (error: Error | undefined) => void,
): void {
  const loading = new Set<number>(regions.filter(({ applying }) => applying).map(({ region }) => region.id));
  const from = (start: Uint8Array): void => {
    engine.scan("snap", { start, end: undefined, limit: 1, keysOnly: true }, (error, { rows }) => {
      const key = rows[0]?.key;
      if (error !== undefined || key === undefined) return callback(error);
      const region = readU64(key, 0);
      const [first, next] = snapshotRegionRange(region);
      if (!loading.has(region)) {
        engine.deleteRange("snap", first, next, (failed) => {
          if (failed !== undefined) callback(failed);
        });
      }
      from(next);
    });
  };
  from(Uint8Array.of(0));
}
