/**
 * Types of the native functions under classic-level, as far as we use them: a put through its abstract-level
 * classes costs several times one of these. Keys and values are copied during the call. Traps: a database
 * must not be closed before its iterators and snapshots are; an iterator must not be closed during a read; an
 * empty batch is never written, not even synced.
 */
import { createRequire } from "node:module";

export interface LevelHandle {
  readonly levelHandle: unique symbol;
}
export interface LevelBatch {
  readonly levelBatch: unique symbol;
}
export interface LevelIterator {
  readonly levelIterator: unique symbol;
}
export interface LevelSnapshotHandle {
  readonly levelSnapshot: unique symbol;
}

interface LevelOpenOptions {
  readonly cacheSize: number;
  readonly writeBufferSize: number;
  readonly maxFileSize: number;
}

interface LevelIteratorOptions {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse: boolean;
  readonly keys: true;
  readonly values: boolean;
  readonly fillCache: boolean;
  readonly keyEncoding: "buffer";
  readonly valueEncoding: "buffer";
  /** A read stops after the row that goes beyond this. */
  readonly highWaterMarkBytes: number;
}

export interface LevelBinding {
  db_init(): LevelHandle;
  db_open(db: LevelHandle, location: string, options: LevelOpenOptions): Promise<void>;
  db_close(db: LevelHandle): Promise<void>;
  /** `flags` is the sum of FILL_CACHE, KEY_AS_BUFFER and VALUE_AS_BUFFER. */
  db_get_sync(
    db: LevelHandle,
    flags: number,
    key: Uint8Array,
    snapshot: LevelSnapshotHandle | undefined,
  ): Uint8Array | undefined;
  db_clear(
    db: LevelHandle,
    range: { readonly gte: Uint8Array; readonly lt: Uint8Array },
    snapshot: undefined,
  ): Promise<void>;
  db_get_property(db: LevelHandle, name: string): string;
  /** Bit 0 of `state` is set once the iterator came to its end. Sees the data as of this call. */
  iterator_init(
    db: LevelHandle,
    state: Uint8Array,
    options: LevelIteratorOptions,
    snapshot: LevelSnapshotHandle | undefined,
  ): LevelIterator;
  iterator_nextv(
    iterator: LevelIterator,
    count: number,
  ): Promise<[key: Uint8Array, value: Uint8Array | undefined][]>;
  iterator_close(iterator: LevelIterator): void;
  batch_init(db: LevelHandle): LevelBatch;
  batch_put(batch: LevelBatch, key: Uint8Array, value: Uint8Array): void;
  batch_del(batch: LevelBatch, key: Uint8Array): void;
  batch_write(batch: LevelBatch, options: { readonly sync: boolean }): Promise<void>;
  snapshot_init(db: LevelHandle): LevelSnapshotHandle;
  snapshot_close(snapshot: LevelSnapshotHandle): void;
}

export const FILL_CACHE = 1;
export const KEY_AS_BUFFER = 2;
export const VALUE_AS_BUFFER = 4;
export const ITERATOR_ENDED = 1;

/** Throws where the package has no prebuilt binary. */
export const loadLevelBinding = (): LevelBinding =>
  createRequire(import.meta.url)("classic-level/binding.js") as LevelBinding;
