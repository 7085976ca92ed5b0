/**
 * Loads of stores as the hot-region scheduler sees them, with what its running operators will change. (pd-rules
 * 9.30, 9.31)
 */
import type { Operator } from "../operator.js";
import type { HotPeer } from "../statistics/hot-peer-cache.js";
import { addRates, NO_RATES, type Rates, scaleRates } from "../statistics/rates.js";
import type { StoreInfo } from "../store-info.js";

export const HOT_TYPES = ["write-peer", "write-leader", "read-peer", "read-leader"] as const;
export type HotType = (typeof HOT_TYPES)[number];
export const isRead = (type: HotType): boolean => type.startsWith("read");
export const isLeaderType = (type: HotType): boolean => type.endsWith("leader");

export interface StoreLoad {
  readonly store: StoreInfo;
  readonly current: Rates;
  readonly pending: Rates;
  /** Of (now, when all is done) the smaller. */
  readonly min: Rates;
  readonly max: Rates;
  readonly peers: readonly HotPeer[];
  /** Earlier loads, newest last. */
  readonly history: readonly Rates[];
}

export interface Expectation {
  readonly mean: Rates;
  /** Relative to the mean. */
  readonly deviation: Rates;
  readonly history: readonly Rates[];
}

const elementwise = (left: Rates, right: Rates, pick: (a: number, b: number) => number): Rates =>
  left.map((value, i) => pick(value, right[i] as number)) as unknown as Rates;

export const highestRates = (left: Rates, right: Rates): Rates => elementwise(left, right, Math.max);

export function makeLoad(
  store: StoreInfo,
  current: Rates,
  pending: Rates,
  peers: readonly HotPeer[],
  history: readonly Rates[],
): StoreLoad {
  const future = addRates(current, pending);
  const min = elementwise(current, future, Math.min);
  const max = elementwise(current, future, Math.max);
  return { store, current, pending: addRates(max, min, -1), min, max, peers, history };
}

export function expectationOf(loads: readonly StoreLoad[]): Expectation {
  const count = Math.max(1, loads.length);
  const mean = scaleRates(
    loads.reduce((sum: Rates, load) => addRates(sum, load.current), NO_RATES),
    1 / count,
  );
  const deviation = mean.map((average, i) => {
    if (average === 0) return 0;
    const squares = loads.reduce((sum, load) => sum + ((load.current[i] as number) - average) ** 2, 0);
    return Math.sqrt(squares / count) / average;
  }) as unknown as Rates;
  const samples = Math.min(...loads.map((load) => load.history.length), Number.MAX_SAFE_INTEGER);
  const history: Rates[] = [];
  for (let i = 0; i < (loads.length === 0 ? 0 : samples); i++) {
    const sum = loads.reduce((total: Rates, load) => addRates(total, load.history[i] as Rates), NO_RATES);
    history.push(scaleRates(sum, 1 / count));
  }
  return { mean, deviation, history };
}

interface Pending {
  readonly operator: Operator;
  readonly type: HotType;
  readonly fromStore: number;
  readonly toStore: number;
  readonly rates: Rates;
  /** How long the figures of stores lag behind the end of the operator. */
  readonly zombieMs: number;
}

/** Operators that have not shown in the figures yet. */
export class PendingInfluence {
  readonly #byRegion = new Map<number, Pending>();

  has(regionId: number): boolean {
    return this.#byRegion.has(regionId);
  }

  get size(): number {
    return this.#byRegion.size;
  }

  add(pending: Pending): void {
    this.#byRegion.set(pending.operator.regionId, pending);
  }

  /** What each store will gain or lose. Drops what has shown. */
  sum(type: HotType, weight: number, nowMs: number): Map<number, Rates> {
    const sums = new Map<number, Rates>();
    for (const [regionId, pending] of this.#byRegion) {
      const { operator } = pending;
      if (operator.isEnded && nowMs - operator.finishedMs >= pending.zombieMs) {
        this.#byRegion.delete(regionId);
        continue;
      }
      // Rounds over leaders and over peers see the same reads; of writes a leader has no more than its followers.
      if (isRead(type) ? !isRead(pending.type) : pending.type !== type) continue;
      // One that failed changes nothing, but its region is left alone for as long.
      if (operator.isEnded && operator.state !== "success") continue;
      const add = (storeId: number, factor: number): void => {
        sums.set(storeId, addRates(sums.get(storeId) ?? NO_RATES, pending.rates, factor * weight));
      };
      add(pending.fromStore, -1);
      add(pending.toStore, 1);
    }
    return sums;
  }
}
