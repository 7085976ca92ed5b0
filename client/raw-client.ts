/**
 * The raw key-value API: single keys and batches, scans, ranges, compare-and-swap and time to live, over BatchCommands.
 * Keys are bytes in one flat space; what region and store hold them is found out and kept up to date here.
 */
import { compareBytes, EMPTY_BYTES, type Env, nextKey, RaftwerkError } from "../base/index.js";
import { PdClient } from "../pd-client/index.js";
import {
  callUnary,
  type kvrpcpb,
  type MethodDefinition,
  type RpcNetwork,
  TikvService,
} from "../proto/index.js";
import { type AnswerBody, type Attempt, Operation } from "./operation.js";
import { Operations } from "./operations.js";
import type { Answer } from "./pending-answers.js";
import { groupByRegion } from "./grouping.js";
import { type KeyMode, keyModeOf } from "./key-mode.js";
import { type CachedRegion, contains } from "./region-cache.js";
import { RegionRouter } from "./region-router.js";
import type { Command } from "./store-connection.js";

export interface RawClientOptions {
  /** `host:port` or URLs of PD. */
  readonly pdEndpoints: readonly string[];
  /** How long an operation is tried before it fails. Default 20 s. */
  readonly timeoutMs?: number;
  /** Connections to each store, 1 to 64. Default 1. */
  readonly connections?: number;
  /** 2 for stores with `storage.api-version = 2`: keys are those of keyspace DEFAULT. Default 1. */
  readonly apiVersion?: 1 | 2;
}

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /**
   * What to do when a write's answer was lost. `retry` (default, as TiKV's clients do): send it again; should both take
   * effect, others may have seen, and changed, the value in between. `fail`: end with `undeterminedResult`.
   */
  readonly onLost?: "retry" | "fail";
}
export interface PutOptions extends CallOptions {
  /** Whole seconds after which the key is gone; 0 or absent: never. */
  readonly ttlSeconds?: number;
}
export interface Pair {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}
export interface ScanOptions extends CallOptions {
  /** Inclusive. Default: from the first key. */
  readonly start?: Uint8Array;
  /** Exclusive. Default or empty: to the last key. */
  readonly end?: Uint8Array;
  /** At most this many pairs. Default: all. */
  readonly limit?: number;
  /** From the end of the range backwards. */
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}
export type SwapResult =
  | { readonly swapped: true }
  | { readonly swapped: false; readonly previous: Uint8Array | undefined };

const NO_OPTIONS: CallOptions = Object.freeze({});
const TIMEOUT_MS = 20_000;
const PAGE_ROWS = 1_024;
/** Bytes of keys and values in one batch request, and how many of them. */
const GROUP_BYTES = 512 << 10;
const GROUP_COUNT = 512;

type Body<K extends keyof Answer> = NonNullable<Answer[K]> & AnswerBody;

export class RawClient {
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #pd: PdClient;
  readonly #router: RegionRouter;
  readonly #timeoutMs: number;
  readonly #mode: KeyMode;
  readonly #operations: Operations;
  #closed = false;

  constructor(env: Env, network: RpcNetwork, options: RawClientOptions) {
    this.#env = env;
    this.#network = network;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#pd = new PdClient(env, network, { endpoints: options.pdEndpoints, giveUpMs: this.#timeoutMs });
    const connections = options.connections ?? 1;
    if (!Number.isInteger(connections) || connections < 1 || connections > 64) {
      throw new RaftwerkError("invalidArgument", `connections must be 1 to 64, not ${connections}`, {
        retry: "never",
      });
    }
    this.#operations = new Operations(env);
    this.#mode = keyModeOf(options.apiVersion ?? 1);
    this.#router = new RegionRouter(env, network, this.#pd, connections, this.#mode);
  }

  /** Learns the cluster from PD; every other call needs it first. */
  connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pd.connect((error) => (error === undefined ? resolve() : reject(error)));
    });
  }

  close(): void {
    this.#closed = true;
    this.#operations.close();
    this.#router.close();
    this.#pd.close();
  }

  put(userKey: Uint8Array, value: Uint8Array, options: PutOptions = NO_OPTIONS): Promise<void> {
    return new Promise((resolve, reject) => {
      const key = this.#enter(userKey);
      const ttl = options.ttlSeconds ?? 0;
      const build = (context: kvrpcpb.IContext): Command => ({ RawPut: { context, key, value, ttl } });
      const attempt = this.#byCommand(key, false, "RawPut", key.length + value.length, build);
      const done = (answer: Body<"RawPut">): void => settle(answer.error, undefined, resolve, reject);
      this.#begin(attempt, options, done, reject);
    });
  }

  /** Undefined when there is no such key. */
  get(userKey: Uint8Array, options: CallOptions = NO_OPTIONS): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      const key = this.#enter(userKey);
      const build = (context: kvrpcpb.IContext): Command => ({ RawGet: { context, key } });
      const attempt = this.#byCommand(key, false, "RawGet", key.length, build);
      const done = ({ error, notFound, value }: Body<"RawGet">): void =>
        settle(error, notFound ? undefined : value, resolve, reject);
      this.#begin(attempt, options, done, reject);
    });
  }

  delete(userKey: Uint8Array, options: CallOptions = NO_OPTIONS): Promise<void> {
    return new Promise((resolve, reject) => {
      const key = this.#enter(userKey);
      const build = (context: kvrpcpb.IContext): Command => ({ RawDelete: { context, key } });
      const attempt = this.#byCommand(key, false, "RawDelete", key.length, build);
      const done = (answer: Body<"RawDelete">): void => settle(answer.error, undefined, resolve, reject);
      this.#begin(attempt, options, done, reject);
    });
  }

  async batchPut(pairs: readonly Pair[], options: PutOptions = {}): Promise<void> {
    const ttls = options.ttlSeconds === undefined ? [] : [options.ttlSeconds];
    const entered = pairs.map(({ key, value }) => ({ key: this.#enter(key), value }));
    await this.#batch(entered, (pair) => pair.key, weigh, "RawBatchPut", options, {
      build: (context, group) => ({ RawBatchPut: { context, pairs: group, ttls } }),
      take: (answer) => refuseError(answer.error),
    });
  }

  /** Values in the order of the keys; undefined where there is none. */
  async batchGet(
    userKeys: readonly Uint8Array[],
    options: CallOptions = {},
  ): Promise<(Uint8Array | undefined)[]> {
    const keys = userKeys.map((key) => this.#enter(key));
    const found = new Map<string, Uint8Array>();
    await this.#batch(keys, itself, (key) => key.length, "RawBatchGet", options, {
      build: (context, group) => ({ RawBatchGet: { context, keys: group } }),
      take(answer) {
        for (const pair of answer.pairs) {
          refuseError(pair.error == null ? "" : "the store refused a key of the batch");
          found.set(mapKey(pair.key), pair.value);
        }
      },
    });
    return keys.map((key) => found.get(mapKey(key)));
  }

  async batchDelete(userKeys: readonly Uint8Array[], options: CallOptions = {}): Promise<void> {
    const keys = userKeys.map((key) => this.#enter(key));
    await this.#batch(keys, itself, (key) => key.length, "RawBatchDelete", options, {
      build: (context, group) => ({ RawBatchDelete: { context, keys: group } }),
      take: (answer) => refuseError(answer.error),
    });
  }

  /** Pairs in key order, page by page; each page is as of its own moment. */
  async *scan(options: ScanOptions = {}): AsyncGenerator<Pair, void, undefined> {
    for await (const page of this.#pages(options)) for (const pair of page) yield pair;
  }

  /**
   * The same pairs in one array, for less than half of the client's time: an iteration awaits each pair. Bounded by
   * `limit` or `end`, or else by memory.
   */
  async scanAll(options: ScanOptions = {}): Promise<Pair[]> {
    let all: Pair[] = [];
    for await (const page of this.#pages(options)) all = all.length === 0 ? page : all.concat(page);
    return all;
  }

  async *#pages(options: ScanOptions): AsyncGenerator<Pair[], void, undefined> {
    const { reverse = false, keysOnly = false } = options;
    let low = this.#mode.enter(options.start ?? EMPTY_BYTES);
    let high = this.#mode.enterEnd(options.end ?? EMPTY_BYTES);
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    while (left > 0) {
      const limit = Math.min(left, PAGE_ROWS);
      const { pairs, region } = await this.#page(low, high, limit, reverse, keysOnly, options);
      yield pairs.map(({ key, value }) => ({ key: this.#mode.leave(key), value }));
      left -= pairs.length;
      const last = pairs.at(-1);
      if (last !== undefined && pairs.length >= limit) {
        if (reverse) high = last.key;
        else low = nextKey(last.key);
        continue;
      }
      // This region has no more: go on where it ends, unless that is where the scan ends.
      const border = reverse ? region.startKey : region.endKey;
      if (border.length === 0) return;
      if (reverse ? !isBelow(low, border) : high.length > 0 && !isBelow(border, high)) return;
      if (reverse) high = border;
      else low = border;
    }
  }

  /** Deletes [start, end). Regions one after the other; not atomic over regions. */
  async deleteRange(userStart: Uint8Array, userEnd: Uint8Array, options: CallOptions = {}): Promise<void> {
    const start = this.#mode.enter(userStart);
    const end = this.#mode.enterEnd(userEnd);
    let from = start;
    while (end.length === 0 || isBelow(from, end)) {
      let upTo = end;
      const isFirst = from === start;
      const done = this.#run(
        this.#byCommand(from, false, "RawDeleteRange", 0, (context, target) => {
          upTo = earlier(target.endKey, end);
          return { RawDeleteRange: { context, startKey: from, endKey: upTo } };
        }),
        options,
      );
      const { answer, region } = await inPart(done, !isFirst);
      refuseError(answer.error);
      if (region.endKey.length === 0 || upTo !== region.endKey) return;
      from = region.endKey;
    }
  }

  /**
   * Puts `value` if the key holds `expected` (undefined: if it is absent). Ends with `undeterminedResult` when the
   * connection broke before the answer: the swap may have happened.
   */
  async compareAndSwap(
    userKey: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array,
    options: PutOptions = {},
  ): Promise<SwapResult> {
    const key = this.#enter(userKey);
    const answer = await this.#unary(key, TikvService.RawCompareAndSwap, "once", options, (context) => ({
      context,
      key,
      value,
      previousValue: expected ?? EMPTY_BYTES,
      previousNotExist: expected === undefined,
      ttl: options.ttlSeconds ?? 0,
    }));
    refuseError(answer.error);
    if (answer.succeed) return { swapped: true };
    return { swapped: false, previous: answer.previousNotExist ? undefined : answer.previousValue };
  }

  /** Seconds left; 0 when the key never expires; undefined when there is no such key. */
  async ttl(userKey: Uint8Array, options: CallOptions = {}): Promise<number | undefined> {
    const key = this.#enter(userKey);
    const answer = await this.#unary(key, TikvService.RawGetKeyTTL, "none", options, (context) => ({
      context,
      key,
    }));
    refuseError(answer.error);
    return answer.notFound ? undefined : answer.ttl;
  }

  /** The store's name of a key, which must not be empty. */
  #enter(key: Uint8Array): Uint8Array {
    if (key.length > 0) return this.#mode.enter(key);
    throw new RaftwerkError("invalidArgument", "a key must not be empty", { retry: "never" });
  }

  async #page(
    low: Uint8Array,
    high: Uint8Array,
    limit: number,
    reverse: boolean,
    keyOnly: boolean,
    options: CallOptions,
  ): Promise<{ readonly pairs: readonly Pair[]; readonly region: CachedRegion }> {
    // Reverse scans name the upper bound first.
    const [startKey, endKey] = reverse ? [high, low] : [low, high];
    const attempt = this.#byCommand(startKey, reverse, "RawScan", 0, (context) => ({
      RawScan: { context, startKey, endKey, limit, reverse, keyOnly },
    }));
    const { answer, region } = await this.#run(attempt, options);
    return { pairs: answer.kvs, region };
  }

  /** Groups the items by region and serves all groups at once. */
  async #batch<T, K extends keyof Answer>(
    items: readonly T[],
    keyOf: (item: T) => Uint8Array,
    weight: (item: T) => number,
    name: K,
    options: CallOptions,
    how: { build(context: object, group: T[]): Command; take(answer: Body<K>): void },
  ): Promise<void> {
    const deadlineMs = this.#env.clock.monotonicMs() + (options.timeoutMs ?? this.#timeoutMs);
    const locate = (key: Uint8Array): Promise<CachedRegion> =>
      new Promise((resolve, reject) => this.#locate(key, deadlineMs, options.signal, resolve, reject));
    const limits = { bytesMax: GROUP_BYTES, countMax: GROUP_COUNT };
    const groups = await groupByRegion(items, keyOf, weight, locate, limits);
    const serve = Promise.all(groups.map((group) => this.#serveGroup(group, keyOf, name, options, how)));
    await inPart(serve, groups.length > 1);
  }

  /**
   * PD may not answer, or not know the region between the reports of two parts of a split: asked until the
   * deadline.
   */
  #locate(
    key: Uint8Array,
    deadlineMs: number,
    signal: AbortSignal | undefined,
    resolve: (region: CachedRegion) => void,
    reject: (error: Error) => void,
    attempt = 1,
  ): void {
    this.#router.locate(key, false, (error, region) => {
      if (region !== undefined) return resolve(region);
      const text = error?.message ?? "PD knows no region for the key";
      if (this.#closed || signal?.aborted === true) {
        const code = this.#closed ? "closed" : "cancelled";
        return reject(new RaftwerkError(code, `the batch was given up: ${text}`, { retry: "safe" }));
      }
      const waitMs = Math.min(20 * attempt, 500);
      if (this.#env.clock.monotonicMs() + waitMs > deadlineMs) {
        return reject(
          new RaftwerkError("deadlineExceeded", `no region was found: ${text}`, { retry: "safe" }),
        );
      }
      this.#env.timers.set(waitMs, () => this.#locate(key, deadlineMs, signal, resolve, reject, attempt + 1));
    });
  }

  /** A region that split since the grouping serves what it still holds; the rest goes to the others. */
  async #serveGroup<T, K extends keyof Answer>(
    group: readonly T[],
    keyOf: (item: T) => Uint8Array,
    name: K,
    options: CallOptions,
    how: { build(context: object, group: T[]): Command; take(answer: Body<K>): void },
  ): Promise<void> {
    let rest = [...group];
    while (rest.length > 0) {
      let outside: T[] = [];
      const attempt = this.#byCommand(keyOf(rest[0] as T), false, name, GROUP_BYTES, (context, region) => {
        const inside = rest.filter((item) => contains(region, keyOf(item)));
        outside = rest.filter((item) => !contains(region, keyOf(item)));
        return how.build(context, inside);
      });
      const isFirst = rest.length === group.length;
      const done = this.#run(attempt, options);
      how.take((await inPart(done, !isFirst)).answer);
      rest = outside;
    }
  }

  #byCommand<K extends keyof Answer>(
    key: Uint8Array,
    before: boolean,
    name: K,
    bytes: number,
    build: (context: kvrpcpb.IContext, region: CachedRegion) => Command,
  ): Attempt<Body<K>> {
    return {
      kind: "command",
      key,
      before,
      effect: READS.has(name) ? "none" : "repeatable",
      name,
      bytes,
      build,
    };
  }

  async #unary<Q, A extends AnswerBody, QI>(
    key: Uint8Array,
    method: MethodDefinition<Q, A, QI, unknown>,
    effect: "none" | "once",
    options: CallOptions,
    build: (context: object) => QI,
  ): Promise<A> {
    const network = this.#network;
    const attempt: Attempt<A> = {
      kind: "call",
      key,
      before: false,
      effect,
      send(address, timeoutMs, context, callback) {
        const call = callUnary(
          network.channel(address),
          method,
          build(context),
          { timeoutMs },
          (error, answer) => callback(answer, error?.status),
        );
        return () => call.cancel();
      },
    };
    return (await this.#run(attempt, options)).answer;
  }

  #run<A extends AnswerBody>(
    attempt: Attempt<A>,
    options: CallOptions,
  ): Promise<{ readonly answer: A; readonly region: CachedRegion }> {
    return new Promise((resolve, reject) =>
      this.#begin(attempt, options, (answer: A, region) => resolve({ answer, region }), reject),
    );
  }

  #begin<A extends AnswerBody>(
    attempt: Attempt<A>,
    options: CallOptions,
    done: (answer: A, region: CachedRegion) => void,
    reject: (error: Error) => void,
  ): void {
    if (this.#closed) {
      return reject(new RaftwerkError("closed", "the client is closed", { retry: "never" }));
    }
    const timeoutMs = options.timeoutMs ?? this.#timeoutMs;
    const operation = new Operation<A>(this.#env, this.#router, attempt, timeoutMs, options, done, reject);
    this.#operations.run(operation, options.signal);
  }
}

/** Where `isPart`, something of the whole has taken effect, whatever is known of this part: no error says otherwise. */
async function inPart<T>(work: Promise<T>, isPart: boolean): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isPart || !(error instanceof RaftwerkError) || error.retry === "unknown") throw error;
    throw new RaftwerkError(error.code, `done in part: ${error.message}`, { retry: "unknown", cause: error });
  }
}

const READS: ReadonlySet<string> = new Set(["RawGet", "RawBatchGet", "RawScan"]);

const itself = (key: Uint8Array): Uint8Array => key;

const weigh = (pair: Pair): number => pair.key.length + pair.value.length;

/** A map key with the same order of equality as the bytes. */
const mapKey = (key: Uint8Array): string => {
  let text = "";
  for (const byte of key) text += String.fromCharCode(byte);
  return text;
};

const refused = (error: string): RaftwerkError => new RaftwerkError("rpcFailed", error, { retry: "never" });

function refuseError(error: string): void {
  if (error !== "") throw refused(error);
}

/** Ends a call with a value, or with the error that the store told. */
function settle<T>(
  error: string,
  value: T,
  resolve: (value: T) => void,
  reject: (error: Error) => void,
): void {
  if (error === "") resolve(value);
  else reject(refused(error));
}

const isBelow = (left: Uint8Array, right: Uint8Array): boolean => compareBytes(left, right) < 0;

/** The earlier of two ends, where empty is behind every key. */
const earlier = (left: Uint8Array, right: Uint8Array): Uint8Array => {
  if (right.length === 0) return left;
  return left.length === 0 || isBelow(right, left) ? right : left;
};
