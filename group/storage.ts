/**
 * What a member keeps: who it is, the log, the hard state, one snapshot. `EngineGroupStorage` keeps it on disk,
 * `MemoryGroupStorage` in memory; `groupStorageConformance` is what any other must pass.
 *
 * Contract:
 * - `open` first; then everything below. Reads are synchronous and see exactly the writes that have called back.
 * - Writes take effect and call back in the order of the calls; a callback may come before its call returns.
 * - Entries that are written replace whatever the log held at and above the first of them.
 * - An error in a callback is final: the member stops, since what is durable is not known any more.
 * - There is one live snapshot at most. A new one takes its place in one atomic step, and what is left of the old one,
 *   or of one that was aborted or cut off by a crash, is removed at the latest by the next `open`.
 * - Bytes handed in are not changed by the caller afterwards; bytes handed out are not changed by the storage.
 */
import type { ConfState, Entry, HardState } from "../raft/index.js";

export type Done = (error: Error | undefined) => void;

/** Who this storage belongs to. */
export interface GroupIdentity {
  /** Drawn when the storage was created; tells a member from one that came back without its disk. */
  readonly storageId: string;
  readonly groupId: string;
  /** 0 until the group gave it one. */
  readonly nodeId: number;
  /** Address of the storage's owner as the group knows it. */
  readonly address: string;
  /** Founders: all others were heard and the group exists. Members that joined: true once they have their id. */
  readonly isFounded: boolean;
  /** Storage ids of other members as first seen, by node id: a member that shows another one lost its disk. */
  readonly pins: readonly (readonly [nodeId: number, storageId: string])[];
}

export interface SnapshotInfo {
  /** The snapshot holds the effects of all entries up to this index. */
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  /** Of the whole stream. */
  readonly bytes: number;
  /** CRC-32 of the whole stream. */
  readonly checksum: number;
  /** Storage that made it, and its number there: equal names mean equal bytes. */
  readonly source: string;
  readonly number: number;
}

/** A snapshot that is being written, by this member or by a leader that sends it. */
export interface SnapshotWriter {
  /** Bytes written so far: where the next chunk belongs. */
  readonly offset: number;
  /** Calls back when the chunk is taken: the sender may forget it. `offset` must be the writer's. */
  write(offset: number, chunk: Uint8Array, done: Done): void;
  /** Removes everything that was written. Calls back when nothing of it can come back. */
  abort(done: Done): void;
}

export interface GroupWrite {
  readonly hardState: HardState | undefined;
  /** Contiguous. */
  readonly entries: readonly Entry[];
  /** False: durable with a later synced write. */
  readonly mustSync: boolean;
}

export interface InitialState {
  readonly identity: GroupIdentity | undefined;
  readonly hardState: HardState;
  readonly snapshot: SnapshotInfo | undefined;
}

export interface GroupStorage {
  /** Reads what there is. Nothing is there at first: no identity, an empty log, no snapshot. */
  open(callback: (error: Error | undefined, state?: InitialState) => void): void;
  /** Durable when it calls back. */
  saveIdentity(identity: GroupIdentity, done: Done): void;

  /** All of it atomically; durable when it calls back, if `mustSync`. */
  write(write: GroupWrite, done: Done): void;
  /** 1 + the index of the last entry that was deleted or covered by an installed snapshot; 1 at first. */
  firstIndex(): number;
  /** firstIndex() - 1 when the log is empty. */
  lastIndex(): number;
  /** Entries in [start, stop), at most `bytesMax` of data but at least one. `start` < `stop`, both within the log. */
  entries(start: number, stop: number, bytesMax: number): readonly Entry[];
  /** Of an index in [firstIndex() - 1, lastIndex()]. */
  term(index: number): number;
  /** Bytes of data in the log, as far as known. */
  logBytes(): number;
  /** Deletes entries up to and including `index`, which is at most the snapshot's. Need not be durable at once. */
  deleteThrough(index: number, done: Done): void;

  /** The live snapshot, without loading it. */
  snapshot(): SnapshotInfo | undefined;
  /** The chunk of the live snapshot that begins at `offset`, as it was written; undefined at the end. */
  readSnapshot(offset: number): Uint8Array | undefined;
  /** Begins a snapshot of this member's own state. One writer at a time. */
  beginSnapshot(): SnapshotWriter;
  /** The written snapshot becomes the live one; the log stays. Durable when it calls back. */
  publishSnapshot(writer: SnapshotWriter, info: SnapshotInfo, done: Done): void;
  /**
   * The written snapshot becomes the live one and the log begins anew behind it; the hard state with it. One atomic
   * step, durable when it calls back.
   */
  installSnapshot(writer: SnapshotWriter, info: SnapshotInfo, hardState: HardState, done: Done): void;

  /** Waits for writes under way. */
  close(done: Done): void;
}
