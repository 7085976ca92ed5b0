/**
 * The data phase of a snapshot: region state is `applying` on disk already, so a crash at any step leads back
 * here at the
 * next start. Delete what was in the range, load chunk after chunk, one per turn of the event loop, then make
 * the region `normal` and drop the chunks. Deleting and loading again is idempotent. (raftstore rules 8.10)
 */
import { assert, compareBytes, DATA_KEY_SPACES, type Engine, type Env, misbehaves } from "../base/index.js";
import { dataEndKey, dataKey, regionStateKey, snapshotChunkKey, snapshotRange } from "../region/keys.js";
import { encodeRegionState } from "../region/local-state.js";
import { isInitialized, type Region } from "../region/region.js";
import { toldByEngine } from "./guarded-engine.js";
import { isChunkIntact, loadChunk, SYNC_BYTES } from "./snapshot-codec.js";

export interface SnapshotLoad {
  readonly region: Region;
  /** What the peer held before; its range is cleared too. */
  readonly previous: Region;
  readonly term: number;
  readonly index: number;
  readonly isCancelled: () => boolean;
  readonly done: (bytes: number) => void;
}

export function loadSnapshot(env: Env, engine: Engine, task: SnapshotLoad): void {
  for (const [start, end] of rangesToClear(task)) {
    for (const space of DATA_KEY_SPACES) engine.deleteRange(space, start, end, toldByEngine);
  }
  const [chunkStart, chunkEnd] = snapshotRange(task.region.id, task.term, task.index);
  let sequence = 0;
  let bytes = 0;
  let unsynced = 0;
  const step = (): void => {
    if (task.isCancelled()) return;
    const key = snapshotChunkKey(task.region.id, task.term, task.index, sequence++);
    const chunk = engine.get("snap", key);
    assert(chunk !== undefined, () => `region ${task.region.id}: its snapshot's chunks are missing on disk`);
    if (chunk.length === 0) return finish();
    assert(
      isChunkIntact(chunk, env.crc32),
      () => `region ${task.region.id}: a snapshot chunk is damaged on disk`,
    );
    const batch = engine.batch();
    bytes += loadChunk(chunk, batch);
    unsynced += chunk.length;
    const sync = unsynced >= SYNC_BYTES;
    if (sync) unsynced = 0;
    engine.write(batch, { sync }, (failed) => {
      // The engine has told the store, which stops.
      if (failed !== undefined) return;
      if (misbehaves(env, "a snapshot loads slowly")) env.timers.set(20, step);
      else env.timers.nextTurn(step);
    });
  };
  const finish = (): void => {
    const batch = engine.batch();
    batch.put(
      "raft",
      regionStateKey(task.region.id),
      encodeRegionState({ state: "normal", region: task.region }),
    );
    engine.write(batch, { sync: true }, (error) => {
      if (error !== undefined) return;
      engine.deleteRange("snap", chunkStart, chunkEnd, toldByEngine);
      if (!task.isCancelled()) task.done(bytes);
    });
  };
  step();
}

function rangesToClear({ region, previous }: SnapshotLoad): [Uint8Array, Uint8Array][] {
  const ranges: [Uint8Array, Uint8Array][] = [[dataKey(region.startKey), dataEndKey(region.endKey)]];
  if (isInitialized(previous)) {
    const start = dataKey(previous.startKey);
    const end = dataEndKey(previous.endKey);
    const sameStart = compareBytes(start, (ranges[0] as [Uint8Array, Uint8Array])[0]) === 0;
    if (!sameStart || compareBytes(end, (ranges[0] as [Uint8Array, Uint8Array])[1]) !== 0)
      ranges.push([start, end]);
  }
  return ranges;
}
