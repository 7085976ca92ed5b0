/**
 * Types of the native functions under `@nxtedition/rocksdb`, which has none, as far as we use them. Below its
 * abstract-level classes a put costs a twentieth and reads are synchronous. Traps, each seen: keys and values
 * must be plain Buffers or Uint8Arrays; iterators need both encodings named; `unsafe` buffers abort the
 * process at close; WAL compression is on unless switched off.
 */
import { createRequire } from "node:module";
import type { KeySpace } from "../base/index.js";

export interface RocksHandle {
  readonly rocksHandle: unique symbol;
}
export interface RocksColumn {
  readonly rocksColumn: unique symbol;
}
export interface RocksIterator {
  readonly rocksIterator: unique symbol;
}
export interface RocksBatch {
  readonly rocksBatch: unique symbol;
}

interface RocksIteratorOptions {
  readonly column: RocksColumn;
  readonly reverse: boolean;
  readonly keys: true;
  readonly values: boolean;
  /** As text a key costs a third; bytes that are no UTF-8 are lost then. */
  readonly keyEncoding: "buffer" | "utf8";
  readonly valueEncoding: "buffer";
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  /** A read stops after the row that goes beyond this. */
  readonly highWaterMarkBytes: number;
  readonly fillCache: boolean;
}

/** Keys at even places, values (undefined for key-only iterators) at odd ones. */
export interface RocksRows {
  readonly rows: (Uint8Array | undefined)[];
  readonly finished: boolean;
}

export interface RocksBinding {
  db_init(location: string): RocksHandle;
  db_open(
    db: RocksHandle,
    options: Readonly<Record<string, unknown>>,
    callback: (error: Error | null, columns: Readonly<Record<string, RocksColumn>>) => void,
  ): void;
  db_close(db: RocksHandle, callback: (error: Error | null) => void): void;
  db_get_many_sync(
    db: RocksHandle,
    keys: readonly Uint8Array[],
    options: { readonly column: RocksColumn; readonly valueEncoding: "buffer" },
  ): (Uint8Array | undefined | null)[];
  db_clear(
    db: RocksHandle,
    options: { readonly column: RocksColumn; readonly gte: Uint8Array; readonly lt: Uint8Array },
  ): void;
  db_get_property(db: RocksHandle, name: string): string;
  iterator_init(db: RocksHandle, options: RocksIteratorOptions): RocksIterator;
  iterator_seek(iterator: RocksIterator, key: Uint8Array): void;
  iterator_nextv_sync(iterator: RocksIterator, count: number): RocksRows;
  iterator_close(iterator: RocksIterator): void;
  batch_init(): RocksBatch;
  batch_put(
    batch: RocksBatch,
    key: Uint8Array,
    value: Uint8Array,
    options: { readonly column: RocksColumn } | undefined,
  ): void;
  batch_del(batch: RocksBatch, key: Uint8Array, options: { readonly column: RocksColumn } | undefined): void;
  batch_clear(batch: RocksBatch): void;
  batch_write(db: RocksHandle, batch: RocksBatch, options: { readonly sync: boolean }): void;
}

/** The options object that calls on each key space take, made once. */
export type RocksColumns = Readonly<
  Record<KeySpace, { readonly column: RocksColumn; readonly valueEncoding: "buffer" }>
>;

/**
 * Throws where the platform has no prebuilt binary. A CPU that is too old for it ends the process: probe
 * first.
 */
export const loadRocksBinding = (): RocksBinding =>
  createRequire(import.meta.url)("@nxtedition/rocksdb/binding.js") as RocksBinding;
