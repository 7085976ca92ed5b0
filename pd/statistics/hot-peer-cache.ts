/**
 * Which peers carry much load, and for how long already: one cache for writes, one for reads. A peer becomes hot by
 * one report above the threshold and cold only by several below it, so that a short pause does not forget it.
 * (pd-rules 10.5 to 10.12)
 */
import { RateMedians } from "./averages.js";
import type { Rates } from "./rates.js";

export interface HotReport {
  readonly regionId: number;
  readonly storeId: number;
  readonly isLeader: boolean;
  /** Stores of all peers of the region. */
  readonly stores: readonly number[];
  /** Amounts in the interval. */
  readonly amounts: Rates;
  readonly seconds: number;
  readonly nowMs: number;
}

export interface HotPeer {
  readonly regionId: number;
  readonly storeId: number;
  readonly isLeader: boolean;
  readonly stores: readonly number[];
  /** Reports above the threshold, less those below. */
  readonly degree: number;
  readonly antiCount: number;
  readonly rates: Rates;
  readonly updatedMs: number;
  /** The store did not report it the last time. */
  readonly isCold: boolean;
  /** When the region's leader last moved; -Infinity when that was not seen. */
  readonly leaderMovedMs: number;
}

interface Entry {
  regionId: number;
  storeId: number;
  isLeader: boolean;
  stores: readonly number[];
  degree: number;
  antiCount: number;
  readonly medians: RateMedians;
  /** Changed in place: a copy is needed to keep them. */
  rates: [number, number, number, number];
  amounts: [number, number, number, number];
  seconds: number;
  updatedMs: number;
  isCold: boolean;
  leaderMovedMs: number;
}

interface StoreEntries {
  readonly peers: Map<number, Entry>;
  thresholds: Rates;
  thresholdsMs: number;
}

export interface HotCacheKind {
  readonly name: "read" | "write";
  /** What a report is of, nominally. */
  readonly reportSeconds: number;
  /** Reports below the threshold in a row that a hot peer survives. */
  readonly antiCountFull: number;
  readonly minimum: Rates;
}

export const HOT_WRITE: HotCacheKind = {
  name: "write",
  reportSeconds: 60,
  antiCountFull: 2,
  minimum: [1024, 32, 32, 1],
};
export const HOT_READ: HotCacheKind = {
  name: "read",
  reportSeconds: 10,
  antiCountFull: 12,
  minimum: [8192, 128, 128, 1],
};

const INTERVAL_SECONDS_MIN = 3;
/** With so many entries on a store the threshold follows the hottest of them. */
const TOP_COUNT = 60;
const TOP_RATIO = 0.8;
const THRESHOLDS_KEPT_MS = 8000;
const OUTDATED_REPORTS = 3;

export class HotPeerCache {
  readonly kind: HotCacheKind;
  readonly #stores = new Map<number, StoreEntries>();
  /** Stores with an entry of the region. */
  readonly #regions = new Map<number, Set<number>>();

  constructor(kind: HotCacheKind) {
    this.kind = kind;
  }

  get size(): number {
    let found = 0;
    for (const { peers } of this.#stores.values()) found += peers.size;
    return found;
  }

  sizeOf(storeId: number): number {
    return this.#stores.get(storeId)?.peers.size ?? 0;
  }

  has(regionId: number): boolean {
    return this.#regions.has(regionId);
  }

  /** Whether a report could matter: most regions are cold, and their reports cost one comparison. */
  matters(regionId: number, amounts: Rates, seconds: number): boolean {
    const { minimum } = this.kind;
    return (
      amounts[0] >= minimum[0] * seconds ||
      amounts[1] >= minimum[1] * seconds ||
      amounts[2] >= minimum[2] * seconds ||
      amounts[3] >= minimum[3] * seconds ||
      this.#regions.has(regionId)
    );
  }

  report(report: HotReport): void {
    if (report.seconds < INTERVAL_SECONDS_MIN) return;
    const entry = this.#stores.get(report.storeId)?.peers.get(report.regionId);
    if (entry === undefined) return this.#reportNew(report);
    entry.isLeader = report.isLeader;
    if (!sameIds(entry.stores, report.stores)) entry.stores = report.stores;
    entry.isCold = false;
    this.#judge(entry, report.amounts, report.seconds, report.nowMs);
  }

  #reportNew(report: HotReport): void {
    const { regionId, storeId, amounts, seconds, nowMs } = report;
    const inherited = this.#inheritable(report);
    if (inherited === undefined && !this.isHot(storeId, amounts, seconds, nowMs)) return;
    const rates: [number, number, number, number] = [
      amounts[0] / seconds,
      amounts[1] / seconds,
      amounts[2] / seconds,
      amounts[3] / seconds,
    ];
    const isFull = seconds >= this.kind.reportSeconds;
    const entry: Entry = {
      regionId,
      storeId,
      isLeader: report.isLeader,
      stores: report.stores,
      degree: inherited?.degree ?? (isFull ? 1 : 0),
      antiCount: inherited?.antiCount ?? this.kind.antiCountFull,
      medians: new RateMedians(),
      rates: [...(inherited?.rates ?? rates)],
      amounts: [0, 0, 0, 0],
      seconds: 0,
      updatedMs: nowMs,
      isCold: false,
      leaderMovedMs: inherited?.leaderMovedMs ?? Number.NEGATIVE_INFINITY,
    };
    this.#put(entry);
    if (inherited !== undefined) this.#judge(entry, report.amounts, seconds, nowMs);
    else if (isFull) entry.medians.push(...rates);
    else {
      entry.amounts = [...report.amounts];
      entry.seconds = seconds;
    }
  }

  /** A peer that came to a new store was hot where it stood before: it must not look cold for minutes. (10.9) */
  #inheritable({ regionId, stores }: HotReport): Entry | undefined {
    const known = this.#regions.get(regionId);
    if (known === undefined) return undefined;
    for (const storeId of known) {
      if (stores.includes(storeId)) continue;
      const entry = this.#stores.get(storeId)?.peers.get(regionId);
      if (entry !== undefined && entry.degree > 0) return entry;
    }
    return undefined;
  }

  /** Entries of peers that are gone; after the reports of those that are there. */
  keepStores(regionId: number, stores: readonly number[]): void {
    const known = this.#regions.get(regionId);
    if (known === undefined) return;
    let gone: number[] | undefined;
    for (const storeId of known) if (!stores.includes(storeId)) (gone ??= []).push(storeId);
    for (const storeId of gone ?? []) this.#remove(storeId, regionId);
  }

  /** The next report was measured by the old leader, and the region rests for a while. (10.10) */
  leaderMoved(regionId: number, leaderStore: number, nowMs: number): void {
    for (const storeId of this.#regions.get(regionId) ?? []) {
      const entry = this.#stores.get(storeId)?.peers.get(regionId);
      if (entry === undefined) continue;
      entry.isLeader = storeId === leaderStore;
      entry.leaderMovedMs = nowMs;
    }
  }

  /** Peers of a store that its report left out. (10.11) */
  reportCold(storeId: number, reported: ReadonlySet<number>, seconds: number, nowMs: number): void {
    if (seconds < INTERVAL_SECONDS_MIN) return;
    for (const entry of [...(this.#stores.get(storeId)?.peers.values() ?? [])]) {
      if (reported.has(entry.regionId)) continue;
      this.#judge(entry, [0, 0, 0, 0], seconds, nowMs);
      entry.isCold = true;
    }
  }

  removeRegion(regionId: number): void {
    this.keepStores(regionId, []);
  }

  removeStore(storeId: number): void {
    for (const regionId of [...(this.#stores.get(storeId)?.peers.keys() ?? [])])
      this.#remove(storeId, regionId);
    this.#stores.delete(storeId);
  }

  peer(regionId: number, storeId: number): HotPeer | undefined {
    return this.#stores.get(storeId)?.peers.get(regionId);
  }

  /** For lists: hot for long enough, in the last report too. (10.12) */
  hotPeers(storeId: number, degree: number, nowMs: number): HotPeer[] {
    const found: HotPeer[] = [];
    for (const entry of this.#stores.get(storeId)?.peers.values() ?? []) {
      if (entry.degree < degree || entry.isCold || entry.antiCount < this.kind.antiCountFull) continue;
      if (this.#isOutdated(entry, nowMs)) continue;
      found.push(entry);
    }
    return found;
  }

  isRegionHot(regionId: number, degree: number): boolean {
    for (const storeId of this.#regions.get(regionId) ?? []) {
      const entry = this.#stores.get(storeId)?.peers.get(regionId);
      if (entry !== undefined && entry.degree >= degree) return true;
    }
    return false;
  }

  /** Entries nobody reported for three intervals leave. */
  forgetOutdated(nowMs: number): void {
    for (const { peers } of this.#stores.values()) {
      for (const entry of [...peers.values()]) {
        if (this.#isOutdated(entry, nowMs)) this.#remove(entry.storeId, entry.regionId);
      }
    }
  }

  #isOutdated(entry: Entry, nowMs: number): boolean {
    return nowMs - entry.updatedMs > OUTDATED_REPORTS * this.kind.reportSeconds * 1000;
  }

  #judge(entry: Entry, amounts: Rates, seconds: number, nowMs: number): void {
    for (let i = 0; i < 4; i++) entry.amounts[i] = (entry.amounts[i] as number) + (amounts[i] as number);
    entry.seconds += seconds;
    entry.updatedMs = nowMs;
    if (entry.seconds < this.kind.reportSeconds) return;
    const isHot = this.isHot(entry.storeId, entry.amounts, entry.seconds, nowMs);
    const { medians, rates, amounts: sum } = entry;
    medians.push(
      sum[0] / entry.seconds,
      sum[1] / entry.seconds,
      sum[2] / entry.seconds,
      sum[3] / entry.seconds,
    );
    for (let i = 0; i < 4; i++) {
      rates[i] = medians.get(i);
      sum[i] = 0;
    }
    entry.seconds = 0;
    entry.degree += isHot ? 1 : -1;
    entry.antiCount = Math.min(this.kind.antiCountFull, entry.antiCount + (isHot ? 1 : -1));
    if (entry.antiCount <= 0) this.#remove(entry.storeId, entry.regionId);
  }

  /** Above what makes a peer hot on its store now. */
  isHot(storeId: number, amounts: Rates, seconds: number, nowMs: number): boolean {
    const thresholds = this.thresholds(storeId, nowMs);
    for (let i = 0; i < 4; i++) {
      if ((amounts[i] as number) / seconds >= (thresholds[i] as number)) return true;
    }
    return false;
  }

  thresholds(storeId: number, nowMs: number): Rates {
    const store = this.#stores.get(storeId);
    if (store === undefined) return this.kind.minimum;
    if (nowMs - store.thresholdsMs < THRESHOLDS_KEPT_MS) return store.thresholds;
    store.thresholdsMs = nowMs;
    store.thresholds = this.kind.minimum;
    if (store.peers.size >= TOP_COUNT) {
      store.thresholds = this.kind.minimum.map((minimum, i) =>
        Math.max(minimum, TOP_RATIO * lastOfTop(store.peers.values(), i)),
      ) as unknown as Rates;
    }
    return store.thresholds;
  }

  #put(entry: Entry): void {
    let store = this.#stores.get(entry.storeId);
    if (store === undefined) {
      store = { peers: new Map(), thresholds: this.kind.minimum, thresholdsMs: entry.updatedMs };
      this.#stores.set(entry.storeId, store);
    }
    store.peers.set(entry.regionId, entry);
    let stores = this.#regions.get(entry.regionId);
    if (stores === undefined) {
      stores = new Set();
      this.#regions.set(entry.regionId, stores);
    }
    stores.add(entry.storeId);
  }

  #remove(storeId: number, regionId: number): void {
    this.#stores.get(storeId)?.peers.delete(regionId);
    const stores = this.#regions.get(regionId);
    stores?.delete(storeId);
    if (stores?.size === 0) this.#regions.delete(regionId);
  }
}

const sameIds = (left: readonly number[], right: readonly number[]): boolean => {
  if (left.length !== right.length) return false;
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
};

/** The rate of the entry on place `TOP_COUNT`; a store may have a hundred thousand, so they are not sorted. */
function lastOfTop(entries: Iterable<Entry>, dimension: number): number {
  /** Ascending. */
  const top: number[] = [];
  for (const { rates } of entries) {
    const rate = rates[dimension] as number;
    if (top.length === TOP_COUNT) {
      if (rate <= (top[0] as number)) continue;
      top.shift();
    }
    let at = top.length;
    while (at > 0 && (top[at - 1] as number) > rate) at -= 1;
    top.splice(at, 0, rate);
  }
  return top.length < TOP_COUNT ? 0 : (top[0] as number);
}
