/**
 * The meta store of a single PD: an ordered map over an `Engine`, every change synced before its callback.
 *
 * Calls are queued. While one batch is being synced the calls that come in meanwhile wait, and then share the next
 * batch (group commit); inside a batch later calls see the changes of earlier ones through an overlay. So there is
 * never more than one batch under way, and a read never sees a change that is not durable.
 *
 * Rows in the key space `default`: "e" + key -> entry, "l" + lease id -> seconds, "r" -> revision.
 * An entry is create revision, mod revision, version, lease id (8 bytes big endian each), then the value.
 */
import type { Engine, EngineBatch, Env, TimerHandle } from "../base/index.js";
import {
  assert,
  compareBytes,
  concatBytes,
  copyBytes,
  misbehaves,
  nextKey,
  RaftwerkError,
  toHex,
  utf8,
} from "../base/index.js";
import type {
  MetaCallback,
  MetaCompare,
  MetaEntry,
  MetaEvent,
  MetaOperation,
  MetaRange,
  MetaRangeResult,
  MetaStore,
  MetaTransaction,
  MetaTransactionResult,
  MetaWatch,
  MetaWatchListener,
} from "./meta-store.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";

const SPACE = "default";
const ENTRY_PREFIX = utf8("e");
const ENTRY_END = utf8("f");
const LEASE_PREFIX = utf8("l");
const LEASE_END = utf8("m");
const REVISION_KEY = utf8("r");
const HEADER_BYTES = 32;
const SCAN_ROWS_MAX = 1 << 20;

type Job =
  | { readonly kind: "transact"; readonly run: () => () => void }
  | { readonly kind: "range"; readonly run: (done: () => void) => void };

interface Lease {
  readonly timeToLiveSeconds: number;
  readonly keys: Map<string, Uint8Array>;
  timer: TimerHandle;
}

interface Watcher {
  readonly start: Uint8Array;
  readonly end: Uint8Array | undefined;
  readonly listener: MetaWatchListener;
}

export class EmbeddedMetaStore implements MetaStore {
  readonly #env: Env;
  readonly #engine: Engine;
  #revision = 0;
  #nextLeaseId = 1;
  readonly #leases = new Map<number, Lease>();
  readonly #watchers = new Set<Watcher>();
  readonly #jobs: Job[] = [];
  #busy = false;
  #closed = false;
  #failure: Error | undefined;
  // State of the batch being built.
  #overlay = new Map<string, MetaEntry | undefined>();
  #batch: EngineBatch | undefined;
  #events: { readonly events: readonly MetaEvent[]; readonly revision: number }[] = [];

  private constructor(env: Env, engine: Engine) {
    this.#env = env;
    this.#engine = engine;
  }

  /** Reads the revision and re-arms the leases; a lease gets its full time again. */
  static open(env: Env, engine: Engine, callback: MetaCallback<EmbeddedMetaStore | undefined>): void {
    const store = new EmbeddedMetaStore(env, engine);
    const stored = engine.get(SPACE, REVISION_KEY);
    store.#revision = stored === undefined ? 0 : Number(decodeUint64(stored));
    const options = { start: LEASE_PREFIX, end: LEASE_END, limit: SCAN_ROWS_MAX };
    engine.scan(SPACE, options, (error, result) => {
      if (error !== undefined) return callback(error, undefined);
      for (const row of result.rows) {
        const leaseId = Number(decodeUint64(row.key.subarray(1)));
        store.#nextLeaseId = Math.max(store.#nextLeaseId, leaseId + 1);
        store.#armLease(leaseId, Number(decodeUint64(row.value)));
      }
      store.#attachLeaseKeys((attachError) =>
        callback(attachError, attachError === undefined ? store : undefined),
      );
    });
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: Uint8Array, callback: MetaCallback<MetaEntry | undefined>): void {
    this.#enqueue(
      () => {
        const entry = this.#read(key);
        return () => callback(undefined, entry);
      },
      (error) => callback(error, undefined),
    );
  }

  put(key: Uint8Array, value: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "put", key, value }] }, (error, result) =>
      callback(error, error === undefined ? result.revision : 0),
    );
  }

  delete(key: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "delete", key }] }, (error, result) =>
      callback(error, error === undefined ? result.revision : 0),
    );
  }

  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    this.#enqueue(
      () => {
        const succeeded = transaction.compares.every((compare) => this.#holds(compare));
        const operations = succeeded ? transaction.onSuccess : (transaction.onFailure ?? []);
        const gone = operations.find((operation) => this.#leaseIsGone(operation));
        if (gone !== undefined) {
          const refused = new RaftwerkError("invalidArgument", "the lease of a put is gone", {
            retry: "never",
          });
          return () => callback(refused, { succeeded: false, revision: this.#revision, entries: [] });
        }
        this.#apply(operations);
        const entries = (transaction.reads ?? []).map((key) => this.#read(key));
        const result = { succeeded, revision: this.#revision, entries };
        return () => callback(undefined, result);
      },
      (error) => callback(error, { succeeded: false, revision: this.#revision, entries: [] }),
    );
  }

  transactOutOfLine(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    this.transact(transaction, callback);
  }

  range(range: MetaRange, callback: MetaCallback<MetaRangeResult>): void {
    const empty: MetaRangeResult = { entries: [], more: false, revision: this.#revision };
    if (this.#refused((error) => callback(error, empty))) return;
    const run = (done: () => void): void => {
      const limit = range.limit > 0 ? range.limit : SCAN_ROWS_MAX;
      const options = {
        start: concatBytes(ENTRY_PREFIX, range.start),
        end: range.end === undefined ? ENTRY_END : concatBytes(ENTRY_PREFIX, range.end),
        limit,
        reverse: range.reverse === true,
      };
      this.#engine.scan(SPACE, options, (error, result) => {
        done();
        if (error !== undefined) return callback(error, empty);
        const entries = result.rows.map((row) => {
          const entry = decodeEntry(copyBytes(row.key.subarray(1)), row.value);
          return range.keysOnly === true ? { ...entry, value: new Uint8Array(0) } : entry;
        });
        callback(undefined, { entries, more: !result.finished, revision: this.#revision });
      });
    };
    this.#jobs.push({ kind: "range", run });
    this.#drain();
  }

  grantLease(timeToLiveSeconds: number, callback: MetaCallback<number>): void {
    const leaseId = this.#nextLeaseId++;
    this.#enqueue(
      () => {
        this.#openBatch().put(SPACE, leaseKey(leaseId), encodeUint64(BigInt(timeToLiveSeconds)));
        this.#armLease(leaseId, timeToLiveSeconds);
        return () => callback(undefined, leaseId);
      },
      (error) => callback(error, 0),
    );
  }

  keepAliveLease(leaseId: number, callback: MetaCallback<number>): void {
    const lease = this.#leases.get(leaseId);
    if (lease === undefined) return callback(undefined, 0);
    this.#env.timers.clear(lease.timer);
    lease.timer = this.#expireLater(leaseId, lease.timeToLiveSeconds);
    callback(undefined, lease.timeToLiveSeconds);
  }

  revokeLease(leaseId: number, callback: MetaCallback<void>): void {
    this.#enqueue(
      () => {
        const lease = this.#leases.get(leaseId);
        if (lease !== undefined) {
          this.#env.timers.clear(lease.timer);
          this.#apply([...lease.keys.values()].map((key) => ({ kind: "delete", key })));
          this.#openBatch().delete(SPACE, leaseKey(leaseId));
          this.#leases.delete(leaseId);
        }
        return () => callback(undefined);
      },
      (error) => callback(error),
    );
  }

  watch(
    start: Uint8Array,
    end: Uint8Array | undefined,
    fromRevision: number,
    listener: MetaWatchListener,
  ): MetaWatch {
    const watcher: Watcher = { start, end, listener };
    // No history is kept: a watch from the past is told to read the range first.
    if (fromRevision > 0 && fromRevision <= this.#revision) {
      this.#env.timers.nextTurn(() => listener.onCompacted());
      return { cancel() {} };
    }
    this.#watchers.add(watcher);
    return { cancel: () => void this.#watchers.delete(watcher) };
  }

  close(callback: (error: Error | undefined) => void): void {
    this.#closed = true;
    for (const lease of this.#leases.values()) this.#env.timers.clear(lease.timer);
    this.#leases.clear();
    this.#watchers.clear();
    this.#engine.close(callback);
  }

  #refused(fail: (error: Error) => void): boolean {
    const error =
      this.#failure ??
      (this.#closed
        ? new RaftwerkError("closed", "the meta store is closed; start PD again", { retry: "never" })
        : undefined);
    if (error === undefined) return false;
    fail(error);
    return true;
  }

  #enqueue(run: () => () => void, fail: (error: Error) => void): void {
    if (this.#refused(fail)) return;
    const failure = (): Error | undefined => this.#failure;
    this.#jobs.push({
      kind: "transact",
      run: () => withFailure(failure() === undefined ? run() : () => {}, fail, failure),
    });
    this.#drain();
  }

  /** Runs queued jobs up to the next range, writes their changes as one batch, answers when it is durable. */
  #drain(): void {
    while (!this.#busy && this.#jobs.length > 0) {
      const first = this.#jobs[0] as Job;
      this.#busy = true;
      if (first.kind === "range") {
        this.#jobs.shift();
        first.run(() => this.#idle());
        continue;
      }
      const answers: (() => void)[] = [];
      while (this.#jobs[0]?.kind === "transact") {
        answers.push((this.#jobs.shift() as Job & { kind: "transact" }).run());
        if (misbehaves(this.#env, "PD writes one change at a time")) break;
      }
      this.#commit(answers);
    }
  }

  #idle(): void {
    this.#busy = false;
    this.#env.timers.nextTurn(() => this.#drain());
  }

  #commit(answers: readonly (() => void)[]): void {
    const batch = this.#batch;
    const events = this.#events;
    const finish = (error: Error | undefined): void => {
      this.#overlay = new Map();
      this.#batch = undefined;
      this.#events = [];
      if (error !== undefined) {
        this.#failure = new RaftwerkError("engineFailed", `PD cannot write its metadata: ${error.message}`, {
          retry: "unknown",
          cause: error,
        });
      }
      this.#busy = false;
      for (const answer of answers) answer();
      if (error === undefined) for (const { events: list, revision } of events) this.#notify(list, revision);
      this.#drain();
    };
    if (batch === undefined) return finish(undefined);
    batch.put(SPACE, REVISION_KEY, encodeUint64(BigInt(this.#revision)));
    this.#engine.write(batch, { sync: true }, finish);
  }

  #openBatch(): EngineBatch {
    this.#batch ??= this.#engine.batch();
    return this.#batch;
  }

  #read(key: Uint8Array): MetaEntry | undefined {
    const name = toHex(key);
    if (this.#overlay.has(name)) return this.#overlay.get(name);
    const row = this.#engine.get(SPACE, concatBytes(ENTRY_PREFIX, key));
    return row === undefined ? undefined : decodeEntry(copyBytes(key), row);
  }

  #leaseIsGone(operation: MetaOperation): boolean {
    const leaseId = operation.kind === "put" ? (operation.leaseId ?? 0) : 0;
    return leaseId !== 0 && !this.#leases.has(leaseId);
  }

  #holds(compare: MetaCompare): boolean {
    const entry = this.#read(compare.key);
    switch (compare.kind) {
      case "value":
        return entry !== undefined && compareBytes(entry.value, compare.equals) === 0;
      case "createRevision":
        return (entry?.createRevision ?? 0) === compare.equals;
      case "modRevision":
        return (entry?.modRevision ?? 0) === compare.equals;
    }
  }

  #apply(operations: readonly MetaOperation[]): void {
    if (operations.length === 0) return;
    const revision = this.#revision + 1;
    const events: MetaEvent[] = [];
    for (const operation of operations) {
      const previous = this.#read(operation.key);
      const event = operation.kind === "put" ? this.#applyPut(operation, previous, revision) : undefined;
      if (event !== undefined) events.push(event);
      if (operation.kind === "delete" && previous !== undefined) {
        this.#detach(previous);
        this.#overlay.set(toHex(operation.key), undefined);
        this.#openBatch().delete(SPACE, concatBytes(ENTRY_PREFIX, operation.key));
        events.push({ kind: "delete", key: previous.key, revision, previous });
      }
    }
    if (events.length === 0) return;
    this.#revision = revision;
    this.#events.push({ events, revision });
  }

  #applyPut(
    operation: MetaOperation & { readonly kind: "put" },
    previous: MetaEntry | undefined,
    revision: number,
  ): MetaEvent {
    assert(operation.key.length > 0, "a meta store key may not be empty");
    if (previous !== undefined) this.#detach(previous);
    const entry: MetaEntry = {
      key: copyBytes(operation.key),
      value: copyBytes(operation.value),
      createRevision: previous?.createRevision ?? revision,
      modRevision: revision,
      version: (previous?.version ?? 0) + 1,
      leaseId: operation.leaseId ?? 0,
    };
    this.#leases.get(entry.leaseId)?.keys.set(toHex(entry.key), entry.key);
    this.#overlay.set(toHex(entry.key), entry);
    this.#openBatch().put(SPACE, concatBytes(ENTRY_PREFIX, entry.key), encodeEntry(entry));
    return { kind: "put", entry, previous };
  }

  #detach(entry: MetaEntry): void {
    this.#leases.get(entry.leaseId)?.keys.delete(toHex(entry.key));
  }

  #notify(events: readonly MetaEvent[], revision: number): void {
    for (const watcher of [...this.#watchers]) {
      const seen = events.filter((event) => {
        const key = event.kind === "put" ? event.entry.key : event.key;
        if (compareBytes(key, watcher.start) < 0) return false;
        return watcher.end === undefined || compareBytes(key, watcher.end) < 0;
      });
      if (seen.length > 0 && this.#watchers.has(watcher)) watcher.listener.onEvents(seen, revision);
    }
  }

  #armLease(leaseId: number, timeToLiveSeconds: number): void {
    const timer = this.#expireLater(leaseId, timeToLiveSeconds);
    this.#leases.set(leaseId, { timeToLiveSeconds, keys: new Map(), timer });
  }

  #expireLater(leaseId: number, timeToLiveSeconds: number): TimerHandle {
    return this.#env.timers.set(timeToLiveSeconds * 1000, () => this.revokeLease(leaseId, () => {}));
  }

  /** After a restart: finds the keys of each lease by one pass over all entries; without leases it reads nothing. */
  #attachLeaseKeys(callback: (error: Error | undefined) => void): void {
    if (this.#leases.size === 0) return callback(undefined);
    const step = (start: Uint8Array): void => {
      this.#engine.scan(SPACE, { start, end: ENTRY_END, limit: 1000 }, (error, result) => {
        if (error !== undefined) return callback(error);
        for (const row of result.rows) {
          const entry = decodeEntry(copyBytes(row.key.subarray(1)), row.value);
          this.#leases.get(entry.leaseId)?.keys.set(toHex(entry.key), entry.key);
        }
        const last = result.rows.at(-1);
        if (result.finished || last === undefined) callback(undefined);
        else step(nextKey(last.key));
      });
    };
    step(ENTRY_PREFIX);
  }
}

/** The answer of a job, replaced by its failure when the batch could not be written. */
const withFailure =
  (answer: () => void, fail: (error: Error) => void, failure: () => Error | undefined) => (): void => {
    const error = failure();
    if (error === undefined) answer();
    else fail(error);
  };

const leaseKey = (leaseId: number): Uint8Array => concatBytes(LEASE_PREFIX, encodeUint64(BigInt(leaseId)));

function encodeEntry(entry: MetaEntry): Uint8Array {
  return concatBytes(
    encodeUint64(BigInt(entry.createRevision)),
    encodeUint64(BigInt(entry.modRevision)),
    encodeUint64(BigInt(entry.version)),
    encodeUint64(BigInt(entry.leaseId)),
    entry.value,
  );
}

function decodeEntry(key: Uint8Array, row: Uint8Array): MetaEntry {
  if (row.length < HEADER_BYTES) {
    throw new RaftwerkError(
      "corruptData",
      `PD's metadata row ${toHex(key)} is damaged: restore it from a backup`,
      {
        retry: "never",
      },
    );
  }
  return {
    key,
    createRevision: Number(decodeUint64(row.subarray(0, 8))),
    modRevision: Number(decodeUint64(row.subarray(8, 16))),
    version: Number(decodeUint64(row.subarray(16, 24))),
    leaseId: Number(decodeUint64(row.subarray(24, 32))),
    value: copyBytes(row.subarray(HEADER_BYTES)),
  };
}
