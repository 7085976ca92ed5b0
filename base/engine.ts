/**
 * What raftwerk needs of a storage engine and no more. Implementations: `engine/` (RocksDB, LevelDB, memory), the
 * simulator's. All pass `engine/conformance.ts`.
 *
 * Contract:
 * - Keys order as unsigned bytes. A value may be empty; a key may not.
 * - Reads are synchronous, see every batch whose `write` has called back, and may already see one still under way.
 * - A batch is atomic over all key spaces, also over a crash.
 * - Writes take effect in the order of the `write` calls and call back in that order; the callback may come before
 *   `write` returns. A batch written without sync is durable once a later synced write has called back.
 * - An error in a write callback is final: the engine takes no further write (the process must stop).
 * - Buffers passed in may be reused by the caller after the call returns; buffers handed out belong to the caller.
 */

/** Column families in RocksDB, key prefixes elsewhere. `default`, `lock`, `write` hold user data as in TiKV; */
/** `raft` holds logs and region states; `snap` holds incoming snapshots until they are applied. */
export type KeySpace = "default" | "lock" | "write" | "raft" | "snap";
export const KEY_SPACES: readonly KeySpace[] = ["default", "lock", "write", "raft", "snap"];
/** The key spaces that a region's range covers. */
export const DATA_KEY_SPACES: readonly KeySpace[] = ["default", "lock", "write"];

export interface EngineBatch {
  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void;
  delete(space: KeySpace, key: Uint8Array): void;
  /** Operations so far. */
  readonly count: number;
  /** Bytes of keys and values so far. */
  readonly bytes: number;
}

export interface ScanOptions {
  /** Inclusive lower bound; empty means from the first key. */
  readonly start: Uint8Array;
  /** Exclusive upper bound; undefined means to the last key. */
  readonly end: Uint8Array | undefined;
  /** From the last key of the range backwards. Default false. */
  readonly reverse?: boolean;
  /** Values are left empty. Default false. */
  readonly keysOnly?: boolean;
  /** At most this many rows; >= 1. */
  readonly limit: number;
  /** Stop after the row that reaches this many bytes of keys and values; at least one row is returned. */
  readonly bytesMax?: number;
}

export interface Row {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface ScanResult {
  readonly rows: readonly Row[];
  /** True when the range held no further row. */
  readonly finished: boolean;
}

export type EngineCallback<T> = (error: Error | undefined, result: T) => void;

/** A consistent view of all data key spaces and `raft` as of its creation. Close it: it holds back compaction. */
export interface EngineSnapshot {
  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined;
  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void;
  close(): void;
}

export interface Engine {
  /** `rocksdb`, `leveldb`, `memory`, `simulated`: for the start-up line, the stamp and `/status`. */
  readonly kind: string;
  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined;
  /** One call for many keys of one key space; results in the order of `keys`. */
  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[];
  /** Reads as of the moment of the call. Calls back at once where the engine can, later where it cannot. */
  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void;
  batch(): EngineBatch;
  /** Consumes the batch. */
  write(
    batch: EngineBatch,
    options: { readonly sync: boolean },
    callback: (error: Error | undefined) => void,
  ): void;
  snapshot(): EngineSnapshot;
  /**
   * Deletes [start, end) in one key space. Not atomic, not synced, ordered after earlier writes; what it left undone
   * at a crash must be redone by the caller (the tombstone protocol).
   */
  deleteRange(
    space: KeySpace,
    start: Uint8Array,
    end: Uint8Array,
    callback: (error: Error | undefined) => void,
  ): void;
  /** A cheap estimate of the bytes in [start, end); undefined where the engine offers none. */
  approximateBytes(space: KeySpace, start: Uint8Array, end: Uint8Array): number | undefined;
  /** Engine-specific figures for metrics and `/status`. */
  property(name: string): string | undefined;
  /**
   * Waits for writes and scans under way, then frees everything, snapshots too. Calls afterwards throw `engineClosed`,
   * but for another close, which calls back.
   */
  close(callback: (error: Error | undefined) => void): void;
}
