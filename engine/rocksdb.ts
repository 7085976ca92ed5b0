/**
 * The engine over RocksDB: one column family per key space, one write-ahead log, so that a batch over all of
 * them is atomic and costs one fsync. Everything runs on the calling thread, writes too: while the thread
 * waits for the disk the next turn's input gathers, which is the group commit (measured against a writer
 * thread in docs/decisions/0001-engine-writes.md).
 */
import {
  assert,
  type Engine,
  type EngineBatch,
  type EngineCallback,
  type EngineSnapshot,
  KEY_SPACES,
  type KeySpace,
  type RaftwerkError,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";
import { DEFAULT_ENGINE_MEMORY, type EngineMemory, memoryOfSpaces } from "./memory-plan.js";
import { engineClosed, engineFailed, openFailed } from "./failures.js";
import {
  loadRocksBinding,
  type RocksBatch,
  type RocksBinding,
  type RocksColumn,
  type RocksColumns,
  type RocksHandle,
} from "./rocksdb-binding.js";
import { openRocksSnapshot } from "./rocksdb-snapshot.js";
import { rocksScan } from "./rocksdb-scan.js";

/** Held by another process ("While lock file") or by this one ("lock hold by current process"). */
const isLockError = (error: Error): boolean => /lock (file|hold)/.test(error.message);

class RocksEngineBatch implements EngineBatch {
  readonly handle: RocksBatch;
  readonly #binding: RocksBinding;
  readonly #columns: RocksColumns;
  count = 0;
  bytes = 0;

  constructor(binding: RocksBinding, columns: RocksColumns, handle: RocksBatch) {
    this.#binding = binding;
    this.#columns = columns;
    this.handle = handle;
  }

  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, "a key may not be empty");
    this.#binding.batch_put(this.handle, key, value, this.#columnOf(space));
    this.count++;
    this.bytes += key.length + value.length;
  }

  delete(space: KeySpace, key: Uint8Array): void {
    assert(key.length > 0, "a key may not be empty");
    this.#binding.batch_del(this.handle, key, this.#columnOf(space));
    this.count++;
    this.bytes += key.length;
  }

  /** Naming the column costs 0.35 µs of 0.56; the default one need not be named. */
  #columnOf(space: KeySpace): RocksColumns[KeySpace] | undefined {
    return space === "default" ? undefined : this.#columns[space];
  }
}

export class RocksEngine implements Engine {
  readonly kind = "rocksdb";
  readonly #binding: RocksBinding;
  readonly #db: RocksHandle;
  readonly #columns: RocksColumns;
  readonly #snapshots = new Set<EngineSnapshot>();
  /** A batch that was written and cleared, to be filled again: batches hold native memory. */
  #spareBatch: RocksBatch | undefined;
  #failed: RaftwerkError | undefined;
  #isClosed = false;

  private constructor(binding: RocksBinding, db: RocksHandle, columns: RocksColumns) {
    this.#binding = binding;
    this.#db = db;
    this.#columns = columns;
  }

  /** Opens or creates; `dataDirectoryInUse` when another process has it open. */
  static open(directory: string, memory: EngineMemory = DEFAULT_ENGINE_MEMORY): Promise<RocksEngine> {
    const binding = loadRocksBinding();
    const db = binding.db_init(directory);
    const columns: Record<string, unknown> = {};
    const spaces = memoryOfSpaces(memory);
    for (const space of KEY_SPACES) {
      const { cacheBytes, memtableBytes } = spaces[space];
      const compression = space !== "raft" && space !== "snap";
      // The binding minds the size of memtables only together with a kind of compaction.
      const memtables = { compaction: "level", memtableMemoryBudget: memtableBytes };
      columns[space] = { cacheSize: cacheBytes, compression, ...memtables };
    }
    const options = { createIfMissing: true, walCompression: false, parallelism: 2, columns };
    return new Promise((resolve, reject) => {
      binding.db_open(db, options, (error, handles) => {
        if (error !== null) return reject(openFailed("RocksDB", directory, isLockError(error), error));
        const known: Partial<Record<KeySpace, { column: RocksColumn; valueEncoding: "buffer" }>> = {};
        for (const space of KEY_SPACES) {
          const column = handles[space];
          assert(column !== undefined, `RocksDB opened without column family ${space}`);
          known[space] = { column, valueEncoding: "buffer" };
        }
        resolve(new RocksEngine(binding, db, known as RocksColumns));
      });
    });
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    return this.multiGet(space, [key])[0];
  }

  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    this.#checkOpen();
    if (keys.length === 0) return [];
    try {
      return this.#binding.db_get_many_sync(this.#db, keys, this.#columns[space]) as (
        | Uint8Array
        | undefined
      )[];
    } catch (error) {
      throw engineFailed("RocksDB", "a read", error);
    }
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    this.#checkOpen();
    assert(options.limit >= 1, "a scan asks for at least one row");
    let result: ScanResult;
    try {
      result = rocksScan(this.#binding, this.#db, this.#columns[space].column, options);
    } catch (error) {
      return callback(engineFailed("RocksDB", "a scan", error), { rows: [], finished: false });
    }
    callback(undefined, result);
  }

  batch(): EngineBatch {
    this.#checkOpen();
    const handle = this.#spareBatch ?? this.#binding.batch_init();
    this.#spareBatch = undefined;
    return new RocksEngineBatch(this.#binding, this.#columns, handle);
  }

  write(
    batch: EngineBatch,
    options: { readonly sync: boolean },
    callback: (error: Error | undefined) => void,
  ): void {
    this.#checkOpen();
    assert(batch instanceof RocksEngineBatch, "a batch belongs to the engine that made it");
    if (this.#failed !== undefined) return callback(this.#failed);
    try {
      this.#binding.batch_write(this.#db, batch.handle, options);
    } catch (error) {
      this.#failed = engineFailed("RocksDB", "a write", error);
      return callback(this.#failed);
    }
    this.#binding.batch_clear(batch.handle);
    this.#spareBatch = batch.handle;
    callback(undefined);
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    const snapshot = openRocksSnapshot(this.#binding, this.#db, this.#columns, () =>
      this.#snapshots.delete(snapshot),
    );
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  deleteRange(
    space: KeySpace,
    start: Uint8Array,
    end: Uint8Array,
    callback: (error: Error | undefined) => void,
  ): void {
    this.#checkOpen();
    if (this.#failed !== undefined) return callback(this.#failed);
    try {
      this.#binding.db_clear(this.#db, { column: this.#columns[space].column, gte: start, lt: end });
    } catch (error) {
      this.#failed = engineFailed("RocksDB", "a range delete", error);
      return callback(this.#failed);
    }
    callback(undefined);
  }

  /** The binding offers no estimate by range; regions keep their own. */
  approximateBytes(): number | undefined {
    this.#checkOpen();
    return undefined;
  }

  property(name: string): string | undefined {
    this.#checkOpen();
    const value = this.#binding.db_get_property(this.#db, name);
    return value === "" ? undefined : value;
  }

  close(callback: (error: Error | undefined) => void): void {
    if (this.#isClosed) return callback(undefined);
    // Iterators that outlive the database abort the process.
    for (const snapshot of [...this.#snapshots]) snapshot.close();
    this.#isClosed = true;
    this.#binding.db_close(this.#db, (error) =>
      callback(error === null ? undefined : engineFailed("RocksDB", "the close", error)),
    );
  }

  #checkOpen(): void {
    if (this.#isClosed) throw engineClosed();
  }
}
