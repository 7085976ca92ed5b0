/**
 * Ends a peer on disk: one synced batch replaces its states by a tombstone, then its log goes. The tombstone is the
 * memory that late messages must not bring the peer back; that of a peer without data names the peer itself, which is
 * the only proof it can give. Calls back when both are done, or with the first error. (raftstore rules 9.3)
 */
import { type Engine, storeId } from "../base/index.js";
import {
  applyStateKey,
  raftLogKey,
  raftStateKey,
  regionStateKey,
  uninitializedVoteKey,
} from "../region/keys.js";
import { encodeRegionState } from "../region/local-state.js";
import type { Peer } from "../region/peer.js";
import { isInitialized, type Region } from "../region/region.js";

type Callback = (error: Error | undefined) => void;

export function destroyOnDisk(
  engine: Engine,
  region: Region,
  peer: Peer,
  ownStoreId: number,
  callback: Callback,
): void {
  const tombstone: Region = isInitialized(region)
    ? region
    : { ...region, peers: [{ id: peer.peerId, storeId: storeId(ownStoreId), role: "voter" }] };
  const batch = engine.batch();
  batch.put("raft", regionStateKey(region.id), encodeRegionState({ state: "tombstone", region: tombstone }));
  batch.delete("raft", applyStateKey(region.id));
  batch.delete("raft", raftStateKey(region.id));
  batch.delete("raft", uninitializedVoteKey(region.id));
  engine.write(batch, { sync: true }, (error) => {
    if (error !== undefined) callback(error);
  });
  deleteLogRange(engine, region.id, 0, Number.MAX_SAFE_INTEGER, callback);
}

/** Log entries [from, to). */
export function deleteLogRange(
  engine: Engine,
  region: number,
  from: number,
  to: number,
  callback: Callback,
): void {
  engine.deleteRange("raft", raftLogKey(region, from), raftLogKey(region, to), callback);
}
