/**
 * A consistent view: RocksDB's binding has no snapshot object, but an iterator sees the data as of its
 * creation. All are created in one go, and nothing is written meanwhile, writes being made on this thread; so
 * they agree.
 */
import {
  assert,
  compareBytes,
  type EngineCallback,
  type EngineSnapshot,
  KEY_SPACES,
  type KeySpace,
  type Row,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";
import { engineFailed } from "./failures.js";
import type { RocksBinding, RocksColumns, RocksHandle, RocksIterator } from "./rocksdb-binding.js";

/** Rows and bytes of one native call; bounds the memory of a scan that stops early. */
const CHUNK_ROWS = 256;
const CHUNK_BYTES = 256 << 10;

type Iterators = Readonly<Record<KeySpace, RocksIterator>>;

export function openRocksSnapshot(
  binding: RocksBinding,
  db: RocksHandle,
  columns: RocksColumns,
  onClose: () => void,
): EngineSnapshot {
  const open = (reverse: boolean): Iterators => {
    const iterators: Partial<Record<KeySpace, RocksIterator>> = {};
    for (const space of KEY_SPACES) {
      iterators[space] = binding.iterator_init(db, {
        column: columns[space].column,
        reverse,
        keys: true,
        values: true,
        keyEncoding: "buffer",
        valueEncoding: "buffer",
        highWaterMarkBytes: CHUNK_BYTES,
        fillCache: false,
      });
    }
    return iterators as Iterators;
  };
  return new RocksSnapshot(binding, open(false), open(true), onClose);
}

class RocksSnapshot implements EngineSnapshot {
  readonly #binding: RocksBinding;
  readonly #forward: Iterators;
  readonly #backward: Iterators;
  readonly #onClose: () => void;
  #isClosed = false;

  constructor(binding: RocksBinding, forward: Iterators, backward: Iterators, onClose: () => void) {
    this.#binding = binding;
    this.#forward = forward;
    this.#backward = backward;
    this.#onClose = onClose;
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    assert(!this.#isClosed, "the snapshot is closed");
    this.#binding.iterator_seek(this.#forward[space], key);
    const [foundKey, value] = this.#binding.iterator_nextv_sync(this.#forward[space], 1).rows;
    return foundKey !== undefined && compareBytes(foundKey, key) === 0 ? value : undefined;
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    assert(!this.#isClosed, "the snapshot is closed");
    let result: ScanResult;
    try {
      result =
        options.reverse === true ? this.#scanBackward(space, options) : this.#scanForward(space, options);
    } catch (error) {
      return callback(engineFailed("RocksDB", "a snapshot scan", error), { rows: [], finished: false });
    }
    callback(undefined, result);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const iterators of [this.#forward, this.#backward]) {
      for (const space of KEY_SPACES) this.#binding.iterator_close(iterators[space]);
    }
    this.#onClose();
  }

  #scanForward(space: KeySpace, options: ScanOptions): ScanResult {
    const iterator = this.#forward[space];
    const { start, end } = options;
    this.#binding.iterator_seek(iterator, start);
    return this.#collect(iterator, options, (key) => end === undefined || compareBytes(key, end) < 0);
  }

  #scanBackward(space: KeySpace, options: ScanOptions): ScanResult {
    const { start, end } = options;
    const iterator = this.#backward[space];
    // No key is longer than a few KiB, nor does any begin with so many 0xff: this is behind the last one.
    this.#binding.iterator_seek(iterator, end ?? new Uint8Array(16 << 10).fill(0xff));
    const inRange = (key: Uint8Array): boolean => compareBytes(key, start) >= 0;
    return this.#collect(iterator, options, inRange, end);
  }

  /** `excluded`: a backward seek to the upper bound may stop on the bound itself. */
  #collect(
    iterator: RocksIterator,
    options: ScanOptions,
    inRange: (key: Uint8Array) => boolean,
    excluded?: Uint8Array,
  ): ScanResult {
    const { limit, keysOnly, bytesMax = Number.POSITIVE_INFINITY } = options;
    const rows: Row[] = [];
    let bytes = 0;
    for (;;) {
      const { rows: flat, finished } = this.#binding.iterator_nextv_sync(iterator, CHUNK_ROWS);
      for (let i = 0; i < flat.length; i += 2) {
        const key = flat[i] as Uint8Array;
        if (excluded !== undefined && compareBytes(key, excluded) === 0) continue;
        if (!inRange(key)) return { rows, finished: true };
        if (rows.length === limit || bytes >= bytesMax) return { rows, finished: false };
        const value = keysOnly === true ? new Uint8Array(0) : (flat[i + 1] as Uint8Array);
        rows.push({ key, value });
        bytes += key.length + value.length;
      }
      if (finished) return { rows, finished: true };
      // Enough: what a further call would bring is not wanted.
      if (bytes >= bytesMax) return { rows, finished: false };
    }
  }
}
