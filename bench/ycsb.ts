/**
 * Runs a workload against a cluster through our client: closed loop with a number of operations in flight, or open loop
 * at a rate, where latency counts from the moment an operation was due, so that a stall cannot hide behind itself.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { build, type Histogram } from "hdr-histogram-js";
import { type Random, utf8 } from "../base/index.js";
import type { RawClient } from "../client/index.js";
import { chooser } from "./distribution.js";
import { type OperationKind, pick, type Workload } from "./workload.js";

export interface YcsbOptions {
  readonly workload: Workload;
  readonly records: number;
  readonly operations: number;
  /** Operations in flight. */
  readonly threads: number;
  readonly valueBytes: number;
  readonly scanRows: number;
  /** Operations a second to begin; 0: as fast as answers come. */
  readonly rate: number;
  readonly warmUpOperations: number;
  readonly random: Random;
  readonly onProgress: (done: number, perSecond: number) => void;
  /** Called about once a second with what happened since the last time. */
  readonly onSecond?: (second: YcsbSecond) => void;
}

export interface YcsbSecond {
  /** Since the measurement began. */
  readonly seconds: number;
  readonly perSecond: number;
  /** Null when nothing ended. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly p999Ms: number | null;
  readonly errors: number;
}

export interface KindResult {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

export interface YcsbResult {
  readonly seconds: number;
  readonly operations: number;
  readonly perSecond: number;
  readonly scannedRows: number;
  readonly errors: number;
  readonly firstError: string | undefined;
  readonly kinds: Readonly<Partial<Record<OperationKind, KindResult>>>;
}

/** Of the first records, made when first asked for: to make one anew takes as long as a tenth of a read. */
const KEYS_KEPT_MAX = 200_000;
const madeKeys = new Array<Uint8Array | undefined>(KEYS_KEPT_MAX);

/** Keys spread over the key space in no order, as YCSB's hashed ones. */
export function recordKey(record: number): Uint8Array {
  if (record >= KEYS_KEPT_MAX) return makeKey(record);
  const key = madeKeys[record] ?? makeKey(record);
  madeKeys[record] = key;
  return key;
}

const makeKey = (record: number): Uint8Array => {
  let hash = BigInt(record) * 0x9e3779b97f4a7c15n;
  hash = BigInt.asUintN(64, hash ^ (hash >> 29n));
  return utf8(`user${hash.toString(10).padStart(20, "0")}`);
};

class Run {
  readonly #client: RawClient;
  readonly #options: YcsbOptions;
  readonly #choose: () => number;
  /** Incompressible, cut anew for each value. */
  readonly #noise: Uint8Array;
  readonly #histograms = new Map<OperationKind, Histogram>();
  /** Of all kinds, since the second began. */
  readonly #second = newHistogram();
  #records: number;
  #nextInsert: number;
  started = 0;
  done = 0;
  errors = 0;
  firstError: string | undefined;
  scannedRows = 0;
  startMs = 0;

  constructor(client: RawClient, options: YcsbOptions) {
    this.#client = client;
    this.#options = options;
    const isLoad = options.workload.name === "load";
    this.#records = isLoad ? 0 : options.records;
    this.#nextInsert = this.#records;
    this.#choose = chooser(options.random, options.workload.distribution, () => Math.max(1, this.#records));
    this.#noise = randomBytes(options.valueBytes + 65_536);
  }

  get histograms(): ReadonlyMap<OperationKind, Histogram> {
    return this.#histograms;
  }

  /** Forgets what was measured: the warm-up is over. */
  reset(): void {
    for (const histogram of this.#histograms.values()) histogram.reset();
    this.started = 0;
    this.done = 0;
    this.scannedRows = 0;
    this.startMs = performance.now();
  }

  async closed(operations: number): Promise<void> {
    const worker = async (): Promise<void> => {
      while (this.started < operations) {
        this.started++;
        await this.#one(performance.now());
      }
    };
    await Promise.all(Array.from({ length: this.#options.threads }, worker));
  }

  async open(operations: number, rate: number): Promise<void> {
    const beganMs = performance.now();
    const underWay = new Set<Promise<void>>();
    while (this.started < operations) {
      const dueMs = beganMs + (this.started * 1_000) / rate;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) {
        await delay(waitMs);
        continue;
      }
      this.started++;
      const operation: Promise<void> = this.#one(dueMs).finally(() => underWay.delete(operation));
      underWay.add(operation);
      // Without a bound a stalled cluster would be measured by this process's memory.
      if (underWay.size >= 100_000) await Promise.race(underWay);
    }
    await Promise.all(underWay);
  }

  async #one(dueMs: number): Promise<void> {
    const kind = pick(this.#options.workload.shares, this.#options.random.u32() / 2 ** 32);
    try {
      await this.#perform(kind);
      const microseconds = Math.max(1, Math.round((performance.now() - dueMs) * 1_000));
      this.#histogram(kind).recordValue(microseconds);
      this.#second.recordValue(microseconds);
    } catch (error) {
      this.errors++;
      this.firstError ??= error instanceof Error ? error.message : String(error);
    }
    this.done++;
  }

  async #perform(kind: OperationKind): Promise<void> {
    const client = this.#client;
    if (kind === "insert") {
      await client.put(recordKey(this.#nextInsert++), this.#value());
      this.#records = Math.max(this.#records, this.#nextInsert);
    } else if (kind === "update") await client.put(recordKey(this.#choose()), this.#value());
    else if (kind === "read") await client.get(recordKey(this.#choose()));
    else if (kind === "scan") {
      const start = recordKey(this.#choose());
      for await (const row of client.scan({ start, limit: this.#options.scanRows })) {
        this.scannedRows += row.key.length > 0 ? 1 : 0;
      }
    } else {
      const key = recordKey(this.#choose());
      await client.get(key);
      await client.put(key, this.#value());
    }
  }

  /** Percentiles since the last call. */
  takeSecond(): Pick<YcsbSecond, "p50Ms" | "p99Ms" | "p999Ms"> {
    const histogram = this.#second;
    const at = (percentile: number): number | null =>
      histogram.totalCount === 0 ? null : histogram.getValueAtPercentile(percentile) / 1_000;
    const second = { p50Ms: at(50), p99Ms: at(99), p999Ms: at(99.9) };
    histogram.reset();
    return second;
  }

  #value(): Uint8Array {
    const at = this.#options.random.u32() & 0xffff;
    return this.#noise.subarray(at, at + this.#options.valueBytes);
  }

  #histogram(kind: OperationKind): Histogram {
    let histogram = this.#histograms.get(kind);
    if (histogram === undefined) {
      histogram = newHistogram();
      this.#histograms.set(kind, histogram);
    }
    return histogram;
  }
}

/** Microseconds, up to two minutes, three digits. */
function newHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 120_000_000,
    numberOfSignificantValueDigits: 3,
  });
}

export async function runYcsb(client: RawClient, options: YcsbOptions): Promise<YcsbResult> {
  const run = new Run(client, options);
  if (options.warmUpOperations > 0 && options.workload.name !== "load") {
    await run.closed(options.warmUpOperations);
  }
  run.reset();
  run.takeSecond();
  let last = { done: 0, errors: 0, atMs: run.startMs };
  const tick = (): void => {
    const now = { done: run.done, errors: run.errors, atMs: performance.now() };
    const perSecond = ((now.done - last.done) * 1_000) / (now.atMs - last.atMs);
    options.onProgress(run.done, Math.round(perSecond));
    const seconds = (now.atMs - run.startMs) / 1_000;
    options.onSecond?.({ seconds, perSecond, errors: now.errors - last.errors, ...run.takeSecond() });
    last = now;
  };
  const ticker = setInterval(tick, 1_000);
  try {
    if (options.rate > 0) await run.open(options.operations, options.rate);
    else await run.closed(options.operations);
  } finally {
    clearInterval(ticker);
  }
  const seconds = (performance.now() - run.startMs) / 1_000;
  const kinds: Partial<Record<OperationKind, KindResult>> = {};
  for (const [kind, histogram] of run.histograms) kinds[kind] = summarize(histogram);
  return {
    seconds,
    operations: run.done,
    perSecond: run.done / seconds,
    scannedRows: run.scannedRows,
    errors: run.errors,
    firstError: run.firstError,
    kinds,
  };
}

function summarize(histogram: Histogram): KindResult {
  // A percentile is told as the upper end of its bucket, which may lie above the largest value there was.
  const ms = (microseconds: number): number => Math.min(microseconds, histogram.maxValue) / 1_000;
  return {
    count: histogram.totalCount,
    meanMs: ms(histogram.mean),
    p50Ms: ms(histogram.getValueAtPercentile(50)),
    p95Ms: ms(histogram.getValueAtPercentile(95)),
    p99Ms: ms(histogram.getValueAtPercentile(99)),
    p999Ms: ms(histogram.getValueAtPercentile(99.9)),
    maxMs: ms(histogram.maxValue),
  };
}
