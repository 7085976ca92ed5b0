/**
 * Restores a state from the live snapshot, a piece in memory at a time. The checksum of the whole is compared at its
 * end: what the application was given until then counts only if it fits.
 */
import type { RaftwerkError } from "../base/index.js";
import { machineFailed } from "./applier.js";
import { crc32 } from "./crc32.js";
import { GroupState } from "./members.js";
import { StreamReader } from "./snapshot-stream.js";
import type { GroupStorage, SnapshotInfo } from "./storage.js";
import { corrupt } from "./wire.js";

export type RestoreCallback = (error: Error | undefined, state?: GroupState) => void;

/**
 * `restore` undefined, or a snapshot of the initial state: only the group's own state is read, the application having
 * its state already.
 */
export function restoreSnapshot(
  storage: GroupStorage,
  info: SnapshotInfo,
  restore: ((chunks: AsyncIterable<Uint8Array>) => Promise<void>) | undefined,
  callback: RestoreCallback,
): void {
  let offset = 0;
  let checksum = 0;
  const reader = new StreamReader(() => {
    const piece = storage.readSnapshot(offset);
    if (piece === undefined) return undefined;
    offset += piece.length;
    checksum = crc32(piece, checksum);
    return piece;
  });
  let state: GroupState;
  try {
    state = GroupState.decode(reader.begin());
  } catch (error) {
    return callback(error as Error);
  }
  if (restore === undefined || reader.isInitial) return callback(undefined, state);
  let ended = false;
  let failure: RaftwerkError | undefined;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (let chunk = reader.frame(); chunk !== undefined; chunk = reader.frame()) yield chunk;
      if (checksum !== info.checksum || offset !== info.bytes) {
        throw corrupt("the snapshot on disk does not match its checksum");
      }
      ended = true;
    } catch (error) {
      failure = error as RaftwerkError;
      throw error;
    }
  }
  restore(chunks()).then(
    () => {
      if (failure !== undefined) return callback(failure);
      if (ended) return callback(undefined, state);
      const early = new Error("restore() resolved before it had taken the last chunk");
      return callback(machineFailed("restore", info.index, early));
    },
    (error: unknown) => callback(failure ?? machineFailed("restore", info.index, error)),
  );
}

/** The group's own state in the live snapshot. */
export function readGroupState(storage: GroupStorage): GroupState {
  let offset = 0;
  const reader = new StreamReader(() => {
    const piece = storage.readSnapshot(offset);
    offset += piece?.length ?? 0;
    return piece;
  });
  return GroupState.decode(reader.begin());
}
