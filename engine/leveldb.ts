/**
 * The engine over LevelDB through classic-level: for machines that RocksDB's prebuilt binary does not fit.
 * Key spaces are one-byte prefixes in one key range, so that a batch over all of them is atomic. Writes and
 * range deletes run on libuv's threads, one after the other in the order of the calls; scans call back later.
 */
import { mkdir } from "node:fs/promises";
import {
  assert,
  type Engine,
  type EngineBatch,
  type EngineCallback,
  type EngineSnapshot,
  type KeySpace,
  type RaftwerkError,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";
import { engineClosed, engineFailed, openFailed } from "./failures.js";
import {
  FILL_CACHE,
  KEY_AS_BUFFER,
  type LevelBatch,
  type LevelBinding,
  type LevelHandle,
  type LevelSnapshotHandle,
  loadLevelBinding,
  VALUE_AS_BUFFER,
} from "./leveldb-binding.js";
import { DEFAULT_ENGINE_MEMORY, type EngineMemory } from "./memory-plan.js";
import { levelScan, prefixed } from "./leveldb-scan.js";

type Done = (error: Error | undefined) => void;

const FILE_BYTES_MAX = 16 << 20;
const WRITE_BUFFER_BYTES_MAX = 64 << 20;
const GET_FLAGS = FILL_CACHE | KEY_AS_BUFFER | VALUE_AS_BUFFER;
/**
 * Outside every key space: what a synced batch without operations writes, so that it syncs the batches before
 * it.
 */
const SYNC_MARKER = Uint8Array.of(0);

class LevelEngineBatch implements EngineBatch {
  readonly handle: LevelBatch;
  readonly #binding: LevelBinding;
  count = 0;
  bytes = 0;

  constructor(binding: LevelBinding, handle: LevelBatch) {
    this.#binding = binding;
    this.handle = handle;
  }

  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, "a key must not be empty");
    this.#binding.batch_put(this.handle, prefixed(space, key), value);
    this.count++;
    this.bytes += key.length + value.length;
  }

  delete(space: KeySpace, key: Uint8Array): void {
    assert(key.length > 0, "a key must not be empty");
    this.#binding.batch_del(this.handle, prefixed(space, key));
    this.count++;
    this.bytes += key.length;
  }
}

export class LevelEngine implements Engine {
  readonly kind = "leveldb";
  readonly #binding: LevelBinding;
  readonly #db: LevelHandle;
  /** Writes and range deletes that wait for the one under way. */
  readonly #queue: { readonly run: () => Promise<void>; readonly done: Done }[] = [];
  readonly #snapshots = new Set<EngineSnapshot>();
  #isWriting = false;
  #scansUnderWay = 0;
  #failed: RaftwerkError | undefined;
  #isClosed = false;
  /** Set by `close` until nothing is under way any more. */
  #whenIdle: (() => void) | undefined;

  private constructor(binding: LevelBinding, db: LevelHandle) {
    this.#binding = binding;
    this.#db = db;
  }

  /** Opens or creates; `dataDirectoryInUse` when another process has it open. */
  static async open(directory: string, memory: EngineMemory = DEFAULT_ENGINE_MEMORY): Promise<LevelEngine> {
    const binding = loadLevelBinding();
    const db = binding.db_init();
    try {
      await mkdir(directory, { recursive: true });
      await binding.db_open(db, directory, {
        cacheSize: memory.blockCacheBytes,
        // It has two memtables, over all key spaces.
        writeBufferSize: Math.min(WRITE_BUFFER_BYTES_MAX, memory.memtableBytes >> 3),
        maxFileSize: FILE_BYTES_MAX,
      });
    } catch (error) {
      const isLocked = (error as { readonly code?: unknown }).code === "LEVEL_LOCKED";
      throw openFailed("LevelDB", directory, isLocked, error);
    }
    return new LevelEngine(binding, db);
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    return this.#get(space, key, undefined);
  }

  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    this.#checkOpen();
    return keys.map((key) => this.#get(space, key, undefined));
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    this.#checkOpen();
    this.#scan(space, options, undefined, callback);
  }

  batch(): EngineBatch {
    this.#checkOpen();
    return new LevelEngineBatch(this.#binding, this.#binding.batch_init(this.#db));
  }

  write(batch: EngineBatch, options: { readonly sync: boolean }, callback: Done): void {
    this.#checkOpen();
    assert(batch instanceof LevelEngineBatch, "a batch belongs to the engine that made it");
    if (options.sync && batch.count === 0) {
      this.#binding.batch_put(batch.handle, SYNC_MARKER, new Uint8Array(0));
    }
    this.#enqueue(() => this.#binding.batch_write(batch.handle, options), callback);
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    const handle = this.#binding.snapshot_init(this.#db);
    const checkOpen = (): void => assert(this.#snapshots.has(snapshot), "the snapshot is closed");
    const snapshot: EngineSnapshot = {
      get: (space, key) => {
        checkOpen();
        return this.#get(space, key, handle);
      },
      scan: (space, options, callback) => {
        checkOpen();
        this.#scan(space, options, handle, callback);
      },
      close: () => {
        if (this.#snapshots.delete(snapshot)) this.#binding.snapshot_close(handle);
      },
    };
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  deleteRange(space: KeySpace, start: Uint8Array, end: Uint8Array, callback: Done): void {
    this.#checkOpen();
    const range = { gte: prefixed(space, start), lt: prefixed(space, end) };
    this.#enqueue(() => this.#binding.db_clear(this.#db, range, undefined), callback);
  }

  /** LevelDB's own estimate takes a turn through the thread pool; regions keep theirs. */
  approximateBytes(): number | undefined {
    this.#checkOpen();
    return undefined;
  }

  property(name: string): string | undefined {
    this.#checkOpen();
    const value = this.#binding.db_get_property(this.#db, name);
    return value === "" ? undefined : value;
  }

  close(callback: Done): void {
    if (this.#isClosed) return callback(undefined);
    this.#isClosed = true;
    this.#whenIdle = () => {
      for (const snapshot of this.#snapshots) snapshot.close();
      this.#binding.db_close(this.#db).then(
        () => callback(undefined),
        (error: unknown) => callback(engineFailed("LevelDB", "the close", error)),
      );
    };
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (this.#whenIdle === undefined || this.#isWriting || this.#scansUnderWay > 0) return;
    const closeNow = this.#whenIdle;
    this.#whenIdle = undefined;
    closeNow();
  }

  #get(space: KeySpace, key: Uint8Array, snapshot: LevelSnapshotHandle | undefined): Uint8Array | undefined {
    try {
      return this.#binding.db_get_sync(this.#db, GET_FLAGS, prefixed(space, key), snapshot);
    } catch (error) {
      throw engineFailed("LevelDB", "a read", error);
    }
  }

  #scan(
    space: KeySpace,
    options: ScanOptions,
    snapshot: LevelSnapshotHandle | undefined,
    callback: EngineCallback<ScanResult>,
  ): void {
    assert(options.limit >= 1, "a scan asks for at least one row");
    this.#scansUnderWay++;
    const finish = (error: Error | undefined, result: ScanResult): void => {
      this.#scansUnderWay--;
      this.#closeWhenIdle();
      callback(error, result);
    };
    levelScan(this.#binding, this.#db, space, options, snapshot).then(
      (result) => finish(undefined, result),
      (error: unknown) => finish(engineFailed("LevelDB", "a scan", error), { rows: [], finished: false }),
    );
  }

  #enqueue(run: () => Promise<void>, done: Done): void {
    this.#queue.push({ run, done });
    if (!this.#isWriting) this.#writeNext();
  }

  #writeNext(): void {
    const next = this.#queue.shift();
    this.#isWriting = next !== undefined;
    if (next === undefined) return;
    const { run, done } = next;
    const finish = (error: RaftwerkError | undefined): void => {
      this.#failed ??= error;
      const outcome = this.#failed;
      // The next write starts first: the disk works while the caller does.
      this.#writeNext();
      done(outcome);
      this.#closeWhenIdle();
    };
    const running = this.#failed === undefined ? run() : Promise.reject(this.#failed);
    running.then(
      () => finish(undefined),
      (error: unknown) => finish(engineFailed("LevelDB", "a write", error)),
    );
  }

  #checkOpen(): void {
    if (this.#isClosed) throw engineClosed();
  }
}
