/**
 * Which peers were hot, a sample each `hot-regions-write-interval`, for `hot-regions-reserved-days`. In this PD's
 * memory and bounded: what a new leader has not seen it cannot tell.
 */
import type { SchedulingView } from "./scheduling-view.js";
import { keyJson } from "./http-json.js";
import type { Statistics } from "./statistics/statistics.js";
import type { Direction } from "./statistics/store-figures.js";
import type { Rates } from "./statistics/rates.js";

const RECORDS_MAX = 50_000;
const DAY_MS = 86_400_000;
const KINDS: readonly Direction[] = ["read", "write"];

export const isHotKind = (value: unknown): value is Direction => KINDS.some((kind) => kind === value);

export interface HotRecord {
  readonly wallMs: number;
  readonly kind: Direction;
  readonly regionId: number;
  readonly peerId: number;
  readonly storeId: number;
  readonly isLeader: boolean;
  readonly isLearner: boolean;
  readonly degree: number;
  readonly rates: Rates;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

/** Empty lists ask for all. */
export interface HotQuery {
  readonly startMs: number;
  readonly endMs: number;
  readonly regionIds: readonly number[];
  readonly storeIds: readonly number[];
  readonly peerIds: readonly number[];
  readonly isLeader: readonly boolean[];
  readonly isLearner: readonly boolean[];
  readonly kinds: readonly Direction[];
}

export class HotHistory {
  readonly #view: SchedulingView;
  readonly #statistics: Statistics;
  #records: HotRecord[] = [];
  #sampledMs = Number.NEGATIVE_INFINITY;

  constructor(view: SchedulingView, statistics: Statistics) {
    this.#view = view;
    this.#statistics = statistics;
  }

  /** Called often; takes a sample when one is due. */
  look(): void {
    const nowMs = this.#view.nowMs();
    const { config, env } = this.#view;
    if (nowMs - this.#sampledMs < config.number("schedule.hot-regions-write-interval")) return;
    this.#sampledMs = nowMs;
    const wallMs = env.clock.wallMs();
    for (const kind of KINDS) {
      for (const store of this.#view.stores()) this.#sample(kind, store.id, wallMs);
    }
    const oldestMs = wallMs - config.number("schedule.hot-regions-reserved-days") * DAY_MS;
    const fresh = this.#records.filter((record) => record.wallMs >= oldestMs);
    this.#records = fresh.slice(-RECORDS_MAX);
  }

  #sample(kind: Direction, storeId: number, wallMs: number): void {
    for (const peer of this.#statistics.hotPeers(kind, storeId)) {
      const region = this.#view.cluster.regions.byId(peer.regionId);
      const own = region?.meta.peers.find((other) => other.storeId === storeId);
      if (region === undefined || own === undefined) continue;
      const { startKey, endKey } = region.meta;
      const { regionId, isLeader, degree, rates } = peer;
      const isLearner = own.role === "learner";
      this.#records.push({
        ...{ wallMs, kind, regionId, storeId, peerId: own.id, isLeader, isLearner },
        ...{ degree, rates: [...rates], startKey, endKey },
      });
    }
  }

  find(query: HotQuery): HotRecord[] {
    const is = <T>(list: readonly T[], value: T): boolean => list.length === 0 || list.includes(value);
    return this.#records.filter(
      (record) =>
        record.wallMs >= query.startMs &&
        record.wallMs <= query.endMs &&
        is(query.regionIds, record.regionId) &&
        is(query.storeIds, record.storeId) &&
        is(query.peerIds, record.peerId) &&
        is(query.isLeader, record.isLeader) &&
        is(query.isLearner, record.isLearner) &&
        is(query.kinds, record.kind),
    );
  }
}

export const hotRecordJson = (record: HotRecord): Record<string, unknown> => ({
  update_time: Math.floor(record.wallMs),
  region_id: record.regionId,
  peer_id: record.peerId,
  store_id: record.storeId,
  is_leader: record.isLeader,
  is_learner: record.isLearner,
  hot_region_type: record.kind,
  hot_degree: record.degree,
  flow_bytes: record.rates[0],
  key_rate: record.rates[1],
  query_rate: record.rates[2],
  start_key: keyJson(record.startKey),
  end_key: keyJson(record.endKey),
});
