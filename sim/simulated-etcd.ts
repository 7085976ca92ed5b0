/**
 * An etcd cluster as its clients see it, under virtual time: one linearizable store with leases, shared by any
 * number of connections, each of which may be slow, cut off, or lose answers. A call whose time limit passed may
 * still take effect later, as a proposal under way does; that is what fences of leaders are for.
 */
import {
  assert,
  compareBytes,
  type Env,
  fromHex,
  RaftwerkError,
  randomBelow,
  type TimerHandle,
  toHex,
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
} from "../pd/index.js";

interface Lease {
  readonly timeToLiveSeconds: number;
  readonly keys: Set<string>;
  timer: TimerHandle;
}

interface Revision {
  readonly revision: number;
  readonly events: readonly MetaEvent[];
}

/** How a connection behaves now; the test changes it at will. */
export interface LinkKnobs {
  /** One way, uniform in 0..this. */
  delayMs: number;
  /** Nothing passes in either direction. */
  isCut: boolean;
  /** One in this many answers is lost though the call took effect; 0 for none. */
  loseAnswerOneIn: number;
  timeoutMs: number;
}

const ELECTION_SECONDS = 1;

export class SimulatedEtcd {
  readonly #env: Env;
  #revision = 1;
  #nextLeaseId = 1;
  readonly #entries = new Map<string, MetaEntry>();
  readonly #history: Revision[] = [];
  #compactedTo = 0;
  readonly #leases = new Map<number, Lease>();
  readonly #watchers = new Set<() => void>();
  /** No majority: nothing is applied, leases stand still until it is back and then start anew. */
  #hasQuorum = true;
  /** Told of every change that a connection's transaction made, and of who asked for it. */
  onChanged: (store: SimulatedMetaStore, operations: readonly MetaOperation[]) => void = () => {};
  /** Calls that wait for a majority. */
  readonly #stalled: (() => void)[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  get revision(): number {
    return this.#revision;
  }

  get hasQuorum(): boolean {
    return this.#hasQuorum;
  }

  /** What is stored, without a connection: for a test to look at. */
  peek(key: Uint8Array): MetaEntry | undefined {
    return this.#entries.get(toHex(key));
  }

  setQuorum(hasQuorum: boolean): void {
    if (hasQuorum === this.#hasQuorum) return;
    this.#hasQuorum = hasQuorum;
    if (!hasQuorum) {
      for (const lease of this.#leases.values()) this.#env.timers.clear(lease.timer);
      return;
    }
    // A new etcd leader gives every lease its full time again, and the time of an election more.
    for (const [id, lease] of this.#leases)
      lease.timer = this.#expireLater(id, lease.timeToLiveSeconds + ELECTION_SECONDS);
    for (const run of this.#stalled.splice(0)) run();
  }

  /** Forgets history, so that watches from the past must read anew. */
  compact(): void {
    this.#history.length = 0;
    this.#compactedTo = this.#revision;
  }

  connect(env: Env, knobs: Partial<LinkKnobs> = {}): SimulatedMetaStore {
    return new SimulatedMetaStore(env, this, {
      delayMs: 1,
      isCut: false,
      loseAnswerOneIn: 0,
      timeoutMs: 1_000,
      ...knobs,
    });
  }

  // What a connection's calls do once they arrive.

  whenQuorum(run: () => void): void {
    if (this.#hasQuorum) run();
    else this.#stalled.push(run);
  }

  range(range: MetaRange): MetaRangeResult {
    const keys = [...this.#entries.keys()].sort();
    const found = keys
      .map((name) => this.#entries.get(name) as MetaEntry)
      .filter(({ key }) => inRange(key, range.start, range.end));
    if (range.reverse === true) found.reverse();
    const cut = range.limit > 0 ? found.slice(0, range.limit) : found;
    const entries =
      range.keysOnly === true ? cut.map((entry) => ({ ...entry, value: new Uint8Array(0) })) : cut;
    return { entries, more: cut.length < found.length, revision: this.#revision };
  }

  get(key: Uint8Array): MetaEntry | undefined {
    return this.#entries.get(toHex(key));
  }

  transact(transaction: MetaTransaction, store?: SimulatedMetaStore): MetaTransactionResult | Error {
    const succeeded = transaction.compares.every((compare) => this.#holds(compare));
    const operations = succeeded ? transaction.onSuccess : (transaction.onFailure ?? []);
    const missing = operations.find(
      (operation) =>
        operation.kind === "put" && (operation.leaseId ?? 0) > 0 && !this.#leases.has(operation.leaseId ?? 0),
    );
    if (missing !== undefined)
      return new RaftwerkError("invalidArgument", "etcd refused: requested lease not found", {
        retry: "never",
      });
    if (operations.length > 0 && store !== undefined) this.onChanged(store, operations);
    this.#apply(operations);
    return {
      succeeded,
      revision: this.#revision,
      entries: (transaction.reads ?? []).map((key) => this.get(key)),
    };
  }

  grantLease(timeToLiveSeconds: number): number {
    const id = this.#nextLeaseId++;
    this.#leases.set(id, {
      timeToLiveSeconds,
      keys: new Set(),
      timer: this.#expireLater(id, timeToLiveSeconds),
    });
    return id;
  }

  keepAliveLease(id: number): number {
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    this.#env.timers.clear(lease.timer);
    lease.timer = this.#expireLater(id, lease.timeToLiveSeconds);
    return lease.timeToLiveSeconds;
  }

  revokeLease(id: number): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#env.timers.clear(lease.timer);
    this.#leases.delete(id);
    this.#apply([...lease.keys].map((name) => ({ kind: "delete", key: fromHex(name) as Uint8Array })));
  }

  /** Revisions after `from` in order, and a call for each news. */
  eventsFrom(from: number): readonly Revision[] | "compacted" {
    if (from <= this.#compactedTo) return "compacted";
    return this.#history.filter(({ revision }) => revision >= from);
  }

  onNews(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  #expireLater(id: number, timeToLiveSeconds: number): TimerHandle {
    return this.#env.timers.set(timeToLiveSeconds * 1000, () => this.revokeLease(id));
  }

  #holds(compare: MetaCompare): boolean {
    const entry = this.get(compare.key);
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
    const revision = this.#revision + 1;
    const events: MetaEvent[] = [];
    for (const operation of operations) {
      const name = toHex(operation.key);
      const previous = this.#entries.get(name);
      if (previous !== undefined) this.#leases.get(previous.leaseId)?.keys.delete(name);
      if (operation.kind === "delete") {
        if (previous === undefined) continue;
        this.#entries.delete(name);
        events.push({ kind: "delete", key: operation.key.slice(), revision, previous });
        continue;
      }
      const entry: MetaEntry = {
        key: operation.key.slice(),
        value: operation.value.slice(),
        createRevision: previous?.createRevision ?? revision,
        modRevision: revision,
        version: (previous?.version ?? 0) + 1,
        leaseId: operation.leaseId ?? 0,
      };
      this.#leases.get(entry.leaseId)?.keys.add(name);
      this.#entries.set(name, entry);
      events.push({ kind: "put", entry, previous });
    }
    if (events.length === 0) return;
    this.#revision = revision;
    this.#history.push({ revision, events });
    for (const listener of [...this.#watchers]) listener();
  }
}

const inRange = (key: Uint8Array, start: Uint8Array, end: Uint8Array | undefined): boolean =>
  compareBytes(key, start) >= 0 && (end === undefined || compareBytes(key, end) < 0);

interface Task {
  readonly isWrite: boolean;
  readonly run: (release: () => void) => void;
}

/** One process's connection. */
export class SimulatedMetaStore implements MetaStore {
  readonly knobs: LinkKnobs;
  readonly #env: Env;
  readonly #etcd: SimulatedEtcd;
  readonly #tasks: Task[] = [];
  #reading = 0;
  #writing = false;
  #closed = false;
  #seen = 0;
  readonly #watches = new Set<MetaWatch>();

  constructor(env: Env, etcd: SimulatedEtcd, knobs: LinkKnobs) {
    this.#env = env;
    this.#etcd = etcd;
    this.knobs = knobs;
  }

  get(key: Uint8Array, callback: MetaCallback<MetaEntry | undefined>): void {
    this.#queued(false, () => this.#etcd.get(key), undefined, callback);
  }

  range(range: MetaRange, callback: MetaCallback<MetaRangeResult>): void {
    this.#queued(false, () => this.#etcd.range(range), { entries: [], more: false, revision: 0 }, callback);
  }

  put(key: Uint8Array, value: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "put", key, value }] }, (error, { revision }) =>
      callback(error, revision),
    );
  }

  delete(key: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "delete", key }] }, (error, { revision }) =>
      callback(error, revision),
    );
  }

  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    this.#queued(
      true,
      () => this.#etcd.transact(transaction, this),
      { succeeded: false, revision: 0, entries: [] },
      callback,
    );
  }

  transactOutOfLine(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    const failed = { succeeded: false, revision: 0, entries: [] };
    this.#call(true, () => this.#etcd.transact(transaction, this), failed, callback);
  }

  grantLease(timeToLiveSeconds: number, callback: MetaCallback<number>): void {
    this.#call(true, () => this.#etcd.grantLease(timeToLiveSeconds), 0, callback);
  }

  keepAliveLease(leaseId: number, callback: MetaCallback<number>): void {
    this.#call(false, () => this.#etcd.keepAliveLease(leaseId), 0, callback);
  }

  revokeLease(leaseId: number, callback: MetaCallback<void>): void {
    this.#call(true, () => this.#etcd.revokeLease(leaseId), undefined, callback);
  }

  watch(
    start: Uint8Array,
    end: Uint8Array | undefined,
    fromRevision: number,
    listener: MetaWatchListener,
  ): MetaWatch {
    let next = fromRevision > 0 ? fromRevision : Math.max(this.#seen, this.#etcd.revision) + 1;
    let cancelled = false;
    let polling = false;
    const deliver = (): void => {
      polling = false;
      if (cancelled || this.#closed) return;
      if (this.knobs.isCut || !this.#etcd.hasQuorum) return later(100);
      const news = this.#etcd.eventsFrom(next);
      if (news === "compacted") {
        watch.cancel();
        return listener.onCompacted();
      }
      for (const { revision, events } of news) {
        next = revision + 1;
        const mine = events.filter((event) =>
          inRange(event.kind === "put" ? event.entry.key : event.key, start, end),
        );
        if (mine.length > 0 && !cancelled) listener.onEvents(mine, revision);
      }
    };
    const later = (delayMs: number): void => {
      if (polling || cancelled || this.#closed) return;
      polling = true;
      this.#env.timers.set(delayMs, deliver);
    };
    const leave = this.#etcd.onNews(() => later(this.#delay()));
    const watch: MetaWatch = {
      cancel: () => {
        cancelled = true;
        leave();
        this.#watches.delete(watch);
      },
    };
    this.#watches.add(watch);
    later(this.#delay());
    return watch;
  }

  close(callback: (error: Error | undefined) => void): void {
    this.#closed = true;
    for (const watch of this.#watches) watch.cancel();
    callback(undefined);
  }

  #delay(): number {
    return randomBelow(this.#env.random, Math.max(1, Math.round(this.knobs.delayMs) + 1));
  }

  #queued<T>(isWrite: boolean, act: () => T | Error, otherwise: T, callback: MetaCallback<T>): void {
    this.#tasks.push({
      isWrite,
      run: (release) =>
        this.#call(isWrite, act, otherwise, (error, result) => {
          release();
          callback(error, result);
        }),
    });
    this.#pump();
  }

  #pump(): void {
    for (;;) {
      const task = this.#tasks[0];
      if (task === undefined || this.#writing || (task.isWrite && this.#reading > 0)) return;
      this.#tasks.shift();
      if (task.isWrite) this.#writing = true;
      else this.#reading += 1;
      task.run(() => {
        if (task.isWrite) this.#writing = false;
        else this.#reading -= 1;
        this.#env.timers.nextTurn(() => this.#pump());
      });
    }
  }

  #call<T>(isWrite: boolean, act: () => T | Error, otherwise: T, callback: MetaCallback<T>): void {
    assert(this.knobs.timeoutMs > 0, "a call to etcd needs a time limit");
    let finished = false;
    const finish = (error: Error | undefined, result: T): void => {
      if (finished) return;
      finished = true;
      this.#env.timers.clear(timer);
      if (this.#closed) return;
      callback(error, result);
    };
    const timer = this.#env.timers.set(this.knobs.timeoutMs, () => {
      const retry = isWrite ? "unknown" : "safe";
      finish(new RaftwerkError("pdUnavailable", "etcd does not answer (simulated)", { retry }), otherwise);
    });
    if (this.knobs.isCut) return;
    this.#env.timers.set(this.#delay(), () => {
      if (this.knobs.isCut) return;
      this.#etcd.whenQuorum(() => {
        const result = act();
        const lost =
          this.knobs.loseAnswerOneIn > 0 && randomBelow(this.#env.random, this.knobs.loseAnswerOneIn) === 0;
        if (lost) return;
        this.#env.timers.set(this.#delay(), () => {
          if (this.knobs.isCut) return;
          this.#seen = Math.max(this.#seen, this.#etcd.revision);
          if (result instanceof Error) finish(result, otherwise);
          else finish(undefined, result);
        });
      });
    });
  }
}
