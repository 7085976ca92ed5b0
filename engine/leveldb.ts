/**
 * The engine over LevelDB through classic-level: for machines that RocksDB's prebuilt binary does not fit. Key spaces are
 * one-byte prefixes in one key range, so that a batch over all of them is atomic. Writes and range deletes run on
 * libuv's threads, one after the other in the order of the calls; scans call back later.
 */
import { ClassicLevel, type ChainedBatch, type Snapshot } from "classic-level";
import {
  assert,
  concatBytes,
  type Engine,
  type EngineBatch,
  type EngineCallback,
  type EngineSnapshot,
  KEY_SPACES,
  type KeySpace,
  RaftwerkError,
  type Row,
  type ScanOptions,
  type ScanResult,
} from "../base/index.js";

type Level = ClassicLevel<Uint8Array, Uint8Array>;
type Done = (error: Error | undefined) => void;

/** `d`, `l`, `w`, `r`, `s`, each followed by the key. */
const PREFIX = Object.fromEntries(
  KEY_SPACES.map((space) => [space, new Uint8Array([space.charCodeAt(0)])]),
) as Readonly<Record<KeySpace, Uint8Array>>;
const PREFIX_END = Object.fromEntries(
  KEY_SPACES.map((space) => [space, new Uint8Array([space.charCodeAt(0) + 1])]),
) as Readonly<Record<KeySpace, Uint8Array>>;

const CACHE_BYTES = 64 << 20;
const WRITE_BUFFER_BYTES = 32 << 20;
const CHUNK_ROWS = 1_000;
const CHUNK_BYTES = 1 << 20;

const engineFailed = (what: string, error: unknown): RaftwerkError => {
  const reason = error instanceof Error ? (error.cause ?? error) : error;
  const text = reason instanceof Error ? reason.message : String(reason);
  return new RaftwerkError("engineFailed", `${what} failed in LevelDB: ${text}`, {
    retry: "never",
    cause: error,
  });
};

class LevelEngineBatch implements EngineBatch {
  readonly chained: ChainedBatch<Level, Uint8Array, Uint8Array>;
  count = 0;
  bytes = 0;

  constructor(db: Level) {
    this.chained = db.batch();
  }

  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0, "a key may not be empty");
    this.chained.put(concatBytes(PREFIX[space], key), value);
    this.count++;
    this.bytes += key.length + value.length;
  }

  delete(space: KeySpace, key: Uint8Array): void {
    assert(key.length > 0, "a key may not be empty");
    this.chained.del(concatBytes(PREFIX[space], key));
    this.count++;
    this.bytes += key.length;
  }
}

export class LevelEngine implements Engine {
  readonly kind = "leveldb";
  readonly #db: Level;
  /** Writes and range deletes, the first of which is under way. */
  readonly #queue: { readonly run: () => Promise<void>; readonly done: Done }[] = [];
  readonly #snapshots = new Set<LevelSnapshot>();
  #failed: RaftwerkError | undefined;
  #isClosed = false;
  #whenIdle: (() => void) | undefined;

  private constructor(db: Level) {
    this.#db = db;
  }

  static async open(directory: string): Promise<LevelEngine> {
    const db: Level = new ClassicLevel(directory, {
      keyEncoding: "view",
      valueEncoding: "view",
      cacheSize: CACHE_BYTES,
      writeBufferSize: WRITE_BUFFER_BYTES,
    });
    try {
      await db.open();
    } catch (error) {
      throw openError(directory, error);
    }
    return new LevelEngine(db);
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    this.#checkOpen();
    return this.#db.getSync(concatBytes(PREFIX[space], key));
  }

  multiGet(space: KeySpace, keys: readonly Uint8Array[]): (Uint8Array | undefined)[] {
    this.#checkOpen();
    return keys.map((key) => this.#db.getSync(concatBytes(PREFIX[space], key)));
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    this.#checkOpen();
    levelScan(this.#db, space, options, undefined, callback);
  }

  batch(): EngineBatch {
    this.#checkOpen();
    return new LevelEngineBatch(this.#db);
  }

  write(batch: EngineBatch, options: { readonly sync: boolean }, callback: Done): void {
    this.#checkOpen();
    assert(batch instanceof LevelEngineBatch, "a batch belongs to the engine that made it");
    this.#enqueue(() => batch.chained.write({ sync: options.sync }), callback);
  }

  snapshot(): EngineSnapshot {
    this.#checkOpen();
    const snapshot = new LevelSnapshot(this.#db, () => this.#snapshots.delete(snapshot));
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  deleteRange(space: KeySpace, start: Uint8Array, end: Uint8Array, callback: Done): void {
    this.#checkOpen();
    const range = { gte: concatBytes(PREFIX[space], start), lt: concatBytes(PREFIX[space], end) };
    this.#enqueue(() => this.#db.clear(range), callback);
  }

  approximateBytes(): number | undefined {
    return undefined;
  }

  property(name: string): string | undefined {
    this.#checkOpen();
    const value = this.#db.getProperty(name);
    return value === "" ? undefined : value;
  }

  close(callback: Done): void {
    if (this.#isClosed) return callback(undefined);
    this.#isClosed = true;
    const close = (): void => {
      Promise.all([...this.#snapshots].map((snapshot) => snapshot.closeNow()))
        .then(() => this.#db.close())
        .then(
          () => callback(undefined),
          (error: unknown) => callback(engineFailed("the close", error)),
        );
    };
    if (this.#queue.length === 0) close();
    else this.#whenIdle = close;
  }

  #enqueue(run: () => Promise<void>, done: Done): void {
    if (this.#failed !== undefined) return done(this.#failed);
    this.#queue.push({ run, done });
    if (this.#queue.length === 1) this.#next();
  }

  #next(): void {
    const first = this.#queue[0];
    if (first === undefined) {
      this.#whenIdle?.();
      return;
    }
    const finish = (error: RaftwerkError | undefined): void => {
      this.#failed ??= error;
      this.#queue.shift();
      first.done(this.#failed);
      this.#next();
    };
    if (this.#failed !== undefined) return finish(undefined);
    first.run().then(
      () => finish(undefined),
      (error: unknown) => finish(engineFailed("a write", error)),
    );
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new RaftwerkError("engineClosed", "the engine is closed", { retry: "never" });
  }
}

class LevelSnapshot implements EngineSnapshot {
  readonly #db: Level;
  readonly #snapshot: Snapshot;
  readonly #onClose: () => void;
  #closing: Promise<void> | undefined;

  constructor(db: Level, onClose: () => void) {
    this.#db = db;
    this.#snapshot = db.snapshot();
    this.#onClose = onClose;
  }

  get(space: KeySpace, key: Uint8Array): Uint8Array | undefined {
    return this.#db.getSync(concatBytes(PREFIX[space], key), { snapshot: this.#snapshot });
  }

  scan(space: KeySpace, options: ScanOptions, callback: EngineCallback<ScanResult>): void {
    levelScan(this.#db, space, options, this.#snapshot, callback);
  }

  close(): void {
    void this.closeNow();
  }

  closeNow(): Promise<void> {
    this.#closing ??= this.#snapshot.close().finally(this.#onClose);
    return this.#closing;
  }
}

function levelScan(
  db: Level,
  space: KeySpace,
  options: ScanOptions,
  snapshot: Snapshot | undefined,
  callback: EngineCallback<ScanResult>,
): void {
  readRows(db, space, options, snapshot).then(
    (result) => callback(undefined, result),
    (error: unknown) => callback(engineFailed("a scan", error), { rows: [], finished: false }),
  );
}

async function readRows(
  db: Level,
  space: KeySpace,
  options: ScanOptions,
  snapshot: Snapshot | undefined,
): Promise<ScanResult> {
  const {
    start,
    end,
    limit,
    reverse = false,
    keysOnly = false,
    bytesMax = Number.POSITIVE_INFINITY,
  } = options;
  const iterator = db.iterator({
    gte: concatBytes(PREFIX[space], start),
    lt: end === undefined ? PREFIX_END[space] : concatBytes(PREFIX[space], end),
    reverse,
    values: !keysOnly,
    fillCache: limit <= CHUNK_ROWS,
    highWaterMarkBytes: CHUNK_BYTES,
    ...(snapshot === undefined ? {} : { snapshot }),
  });
  try {
    const rows: Row[] = [];
    let bytes = 0;
    for (;;) {
      const entries = await iterator.nextv(Math.min(CHUNK_ROWS, limit - rows.length + 1));
      if (entries.length === 0) return { rows, finished: true };
      for (const [key, value] of entries) {
        if (rows.length === limit || bytes >= bytesMax) return { rows, finished: false };
        const row = { key: key.subarray(1), value: keysOnly ? new Uint8Array(0) : value };
        rows.push(row);
        bytes += row.key.length + row.value.length;
      }
    }
  } finally {
    await iterator.close();
  }
}

function openError(directory: string, error: unknown): RaftwerkError {
  const cause = error instanceof Error ? error.cause : undefined;
  const reason = cause instanceof Error ? cause : error instanceof Error ? error : new Error(String(error));
  if ("code" in reason && reason.code === "LEVEL_LOCKED") {
    const text = `${directory} is in use by another process: stop it, or give another --data-dir`;
    return new RaftwerkError("dataDirectoryInUse", text, { retry: "never", cause: error });
  }
  const text = `LevelDB cannot open ${directory}: ${reason.message}`;
  return new RaftwerkError("engineUnavailable", text, { retry: "never", cause: error });
}
