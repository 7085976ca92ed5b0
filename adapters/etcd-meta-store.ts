/**
 * PD's meta store on a real etcd. Writes go one at a time and reads wait for the writes before them, so that calls of
 * this process take effect in the order they were made, as the contract says. A write whose answer is lost ends
 * with the retry class `unknown`. Renewals of a leader stand in no line and ask a second node when the first is slow:
 * a lease does not wait.
 */
import { randomInt } from "node:crypto";
import type { Etcd3, IRangeRequest, IRequestOp, IResponseOp, ITxnRequest, ITxnResponse } from "etcd3";
import type { Env } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import type {
  MetaCallback,
  MetaCompare,
  MetaEntry,
  MetaOperation,
  MetaRange,
  MetaRangeResult,
  MetaStore,
  MetaTransaction,
  MetaTransactionResult,
  MetaWatch,
  MetaWatchListener,
} from "../pd/index.js";
import { EtcdClient, type EtcdOptions } from "./etcd-client.js";
import { entryOf } from "./etcd-rows.js";
import { EtcdWatch } from "./etcd-watch.js";

const ALL_FOLLOWING = Buffer.from([0]);
const KEEP_ALIVE_TIMEOUT_MS = 1_000;
const ASK_AGAIN_MS = 100;
const LEASE_ID_MAX = 2 ** 47;
const FAILED: MetaTransactionResult = { succeeded: false, revision: 0, entries: [] };

interface Task {
  readonly kind: "read" | "write";
  readonly run: () => Promise<void>;
}

export class EtcdMetaStore implements MetaStore {
  readonly #env: Env;
  readonly #etcd: EtcdClient;
  readonly #tasks: Task[] = [];
  #reading = 0;
  #writing = false;
  /** The newest revision any answer told. */
  #revision = 0;
  readonly #watches = new Set<EtcdWatch>();
  /** Watches "from now" made before any answer told a revision: they begin before the next write does. */
  readonly #expectant = new Set<EtcdWatch>();

  constructor(env: Env, options: EtcdOptions) {
    this.#env = env;
    this.#etcd = new EtcdClient(env, options);
  }

  get(key: Uint8Array, callback: MetaCallback<MetaEntry | undefined>): void {
    this.#read(
      async () => {
        const answer = await this.#etcd.repeat(({ kv }, options) =>
          kv.range({ key: Buffer.from(key) }, options),
        );
        this.#saw(answer.header.revision);
        const [found] = answer.kvs;
        return found === undefined ? undefined : entryOf(found);
      },
      undefined,
      callback,
    );
  }

  range(range: MetaRange, callback: MetaCallback<MetaRangeResult>): void {
    const request: IRangeRequest = {
      key: range.start.length === 0 ? ALL_FOLLOWING : Buffer.from(range.start),
      range_end: range.end === undefined ? ALL_FOLLOWING : Buffer.from(range.end),
      limit: range.limit,
      sort_target: "Key",
      sort_order: range.reverse === true ? "Descend" : "Ascend",
      keys_only: range.keysOnly === true,
    };
    const empty: MetaRangeResult = { entries: [], more: false, revision: this.#revision };
    this.#read(
      async () => {
        const answer = await this.#etcd.repeat(({ kv }, options) => kv.range(request, options));
        this.#saw(answer.header.revision);
        return {
          entries: answer.kvs.map(entryOf),
          more: answer.more,
          revision: Number(answer.header.revision),
        };
      },
      empty,
      callback,
    );
  }

  put(key: Uint8Array, value: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "put", key, value }] }, (error, result) =>
      callback(error, result.revision),
    );
  }

  delete(key: Uint8Array, callback: MetaCallback<number>): void {
    this.transact({ compares: [], onSuccess: [{ kind: "delete", key }] }, (error, result) =>
      callback(error, result.revision),
    );
  }

  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    const request = transactionOf(transaction);
    this.#write(
      async () => {
        const answer = await this.#etcd.write(({ kv }, options) => kv.txn(request, options));
        this.#saw(answer.header.revision);
        return resultOf(transaction, answer);
      },
      FAILED,
      callback,
    );
  }

  transactOutOfLine(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    const request = transactionOf(transaction);
    settle(
      this.#etcd.repeat(({ kv }, options) => kv.txn(request, options)),
      (error, answer) => {
        if (answer === undefined) return callback(error, FAILED);
        this.#saw(answer.header.revision);
        callback(undefined, resultOf(transaction, answer));
      },
    );
  }

  grantLease(timeToLiveSeconds: number, callback: MetaCallback<number>): void {
    // The id is ours to choose: etcd's own are beyond what a number holds. And a grant that is made twice is one.
    const leaseId = randomInt(1, LEASE_ID_MAX);
    settle(
      this.#etcd.repeat(({ leaseClient }, options) =>
        leaseClient.leaseGrant({ TTL: timeToLiveSeconds, ID: leaseId }, options),
      ),
      (error) => {
        const granted = error === undefined || /lease already exists/.test(error.message);
        callback(granted ? undefined : error, granted ? leaseId : 0);
      },
    );
  }

  keepAliveLease(leaseId: number, callback: MetaCallback<number>): void {
    settle(
      this.#etcd.repeat(({ leaseClient }) => keepAlive(leaseClient, leaseId), KEEP_ALIVE_TIMEOUT_MS),
      (error, seconds) => callback(error, seconds ?? 0),
    );
  }

  revokeLease(leaseId: number, callback: MetaCallback<void>): void {
    settle(
      this.#etcd.repeat(({ leaseClient }, options) => leaseClient.leaseRevoke({ ID: leaseId }, options)),
      (error) => {
        // Gone already: what was asked for holds.
        const gone = error !== undefined && /lease not found/.test(error.message);
        callback(gone ? undefined : error);
      },
    );
  }

  watch(
    start: Uint8Array,
    end: Uint8Array | undefined,
    fromRevision: number,
    listener: MetaWatchListener,
  ): MetaWatch {
    const watch = new EtcdWatch(this.#env, this.#etcd, start, end ?? ALL_FOLLOWING, listener);
    if (fromRevision > 0) watch.begin(fromRevision);
    else if (this.#revision > 0) watch.begin(this.#revision + 1);
    else {
      this.#expectant.add(watch);
      this.#askRevision();
    }
    this.#watches.add(watch);
    return {
      cancel: () => {
        watch.cancel();
        this.#watches.delete(watch);
        this.#expectant.delete(watch);
      },
    };
  }

  close(callback: (error: Error | undefined) => void): void {
    for (const watch of this.#watches) watch.cancel();
    this.#watches.clear();
    this.#expectant.clear();
    this.#etcd.close();
    callback(undefined);
  }

  /** In line with the other calls, so that what this caller writes from now on comes after it; until it succeeds. */
  #askRevision(): void {
    this.#read(
      () => this.#beginWatches(),
      undefined,
      (error) => {
        if (error === undefined || this.#etcd.isClosed || this.#expectant.size === 0) return;
        this.#env.timers.set(ASK_AGAIN_MS, () => this.#askRevision());
      },
    );
  }

  async #beginWatches(): Promise<void> {
    const [first] = this.#expectant;
    if (first === undefined) return;
    const answer = await this.#etcd.repeat(({ kv }, options) =>
      kv.range({ key: first.start, count_only: true }, options),
    );
    this.#saw(answer.header.revision);
    for (const watch of this.#expectant) watch.begin(Number(answer.header.revision) + 1);
    this.#expectant.clear();
  }

  #saw(revision: string): void {
    this.#revision = Math.max(this.#revision, Number(revision));
  }

  #read<T>(run: () => Promise<T>, otherwise: T, callback: MetaCallback<T>): void {
    this.#enqueue("read", run, otherwise, callback);
  }

  #write<T>(run: () => Promise<T>, otherwise: T, callback: MetaCallback<T>): void {
    const begun = async (): Promise<T> => {
      await this.#beginWatches();
      return run();
    };
    this.#enqueue("write", begun, otherwise, callback);
  }

  #enqueue<T>(kind: Task["kind"], run: () => Promise<T>, otherwise: T, callback: MetaCallback<T>): void {
    if (this.#etcd.isClosed) {
      const closed = new RaftwerkError("closed", "the connection to etcd is closed", { retry: "never" });
      this.#env.timers.nextTurn(() => callback(closed, otherwise));
      return;
    }
    this.#tasks.push({
      kind,
      run: () =>
        new Promise<void>((resolve) =>
          settle(run(), (error, result) => {
            resolve();
            callback(error, error === undefined ? (result as T) : otherwise);
          }),
        ),
    });
    this.#pump();
  }

  #pump(): void {
    for (;;) {
      const task = this.#tasks[0];
      if (task === undefined || this.#writing || (task.kind === "write" && this.#reading > 0)) return;
      this.#tasks.shift();
      if (task.kind === "write") this.#writing = true;
      else this.#reading += 1;
      void task.run().then(() => {
        if (task.kind === "write") this.#writing = false;
        else this.#reading -= 1;
        this.#pump();
      });
    }
  }
}

/** The callback outside of the promise: what it throws must end the process, not vanish. */
function settle<T>(
  promise: Promise<T>,
  callback: (error: Error | undefined, result: T | undefined) => void,
): void {
  promise.then(
    (result) => setImmediate(callback, undefined, result),
    (error: unknown) =>
      setImmediate(callback, error instanceof Error ? error : new Error(String(error)), undefined),
  );
}

async function keepAlive(leaseClient: Etcd3["leaseClient"], leaseId: number): Promise<number> {
  const stream = await leaseClient.leaseKeepAlive({ deadline: Date.now() + KEEP_ALIVE_TIMEOUT_MS });
  return new Promise<number>((resolve, reject) => {
    stream.on("data", (answer) => {
      resolve(Number(answer.TTL));
      stream.end();
    });
    stream.on("error", reject);
    stream.on("end", () => reject(new Error("etcd ended the renewal")));
    stream.write({ ID: leaseId });
  });
}

function transactionOf(transaction: MetaTransaction): ITxnRequest {
  const reads: IRequestOp[] = (transaction.reads ?? []).map((key) => ({
    request_range: { key: Buffer.from(key) },
  }));
  return {
    compare: transaction.compares.map(compareOf),
    success: [...transaction.onSuccess.map(operationOf), ...reads],
    failure: [...(transaction.onFailure ?? []).map(operationOf), ...reads],
  };
}

function resultOf(transaction: MetaTransaction, answer: ITxnResponse): MetaTransactionResult {
  const count = transaction.reads?.length ?? 0;
  const read = count === 0 ? [] : answer.responses.slice(-count);
  return {
    succeeded: answer.succeeded,
    revision: Number(answer.header.revision),
    entries: read.map(readEntry),
  };
}

function readEntry(response: IResponseOp): MetaEntry | undefined {
  const [row] = response.response_range?.kvs ?? [];
  return row === undefined ? undefined : entryOf(row);
}

function compareOf(compare: MetaCompare): NonNullable<ITxnRequest["compare"]>[number] {
  const key = Buffer.from(compare.key);
  switch (compare.kind) {
    case "value":
      return { result: "Equal", target: "Value", key, value: Buffer.from(compare.equals) };
    case "createRevision":
      return { result: "Equal", target: "Create", key, create_revision: compare.equals };
    case "modRevision":
      return { result: "Equal", target: "Mod", key, mod_revision: compare.equals };
  }
}

function operationOf(operation: MetaOperation): IRequestOp {
  const key = Buffer.from(operation.key);
  if (operation.kind === "delete") return { request_delete_range: { key } };
  const put = { key, value: Buffer.from(operation.value) };
  return { request_put: operation.leaseId === undefined ? put : { ...put, lease: operation.leaseId } };
}
