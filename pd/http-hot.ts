/**
 * Where the load is, over HTTP: rates of stores and of the regions above a threshold, from the figures of the last
 * heartbeats. There is no history: `hot_degree` is 1 for whatever was hot in its last report. (pd-rules 10.14)
 */
import type { pdpb } from "../proto/index.js";
import { formatInstant } from "./duration.js";
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import type { RegionInfo } from "./region-info.js";
import type { StoreInfo } from "./store-info.js";

const HOT_BYTES_PER_SECOND = 1024;
const HOT_KEYS_PER_SECOND = 32;
const SHOWN_PER_STORE_MAX = 1000;

type Direction = "read" | "write";

interface Rates {
  readonly bytes: number;
  readonly keys: number;
  readonly queries: number;
}
const IDLE: Rates = { bytes: 0, keys: 0, queries: 0 };

export const HOT_ROUTES: readonly Route[] = [
  route("GET", "/hotspot/regions/write", (call) => hotRegions(call, "write")),
  route("GET", "/hotspot/regions/read", (call) => hotRegions(call, "read")),
  route("GET", "/hotspot/stores", hotStores),
  route("GET", "/hotspot/buckets", (call) => call.json({})),
];

function regionRates(region: RegionInfo, direction: Direction): Rates {
  const { flow } = region;
  if (flow.intervalSeconds === 0) return IDLE;
  const per = (amount: number): number => amount / flow.intervalSeconds;
  return direction === "write"
    ? { bytes: per(flow.writtenBytes), keys: per(flow.writtenKeys), queries: per(flow.writeQueries) }
    : { bytes: per(flow.readBytes), keys: per(flow.readKeys), queries: per(flow.readQueries) };
}

function storeRates(store: StoreInfo, direction: Direction): Rates {
  const { stats } = store;
  const interval = stats?.interval;
  if (stats === undefined || interval === null || interval === undefined) return IDLE;
  const seconds = interval.endTimestamp - interval.startTimestamp;
  if (seconds <= 0) return IDLE;
  const { writes, reads } = queryCounts(stats);
  const per = (amount: number): number => amount / seconds;
  return direction === "write"
    ? { bytes: per(stats.bytesWritten), keys: per(stats.keysWritten), queries: per(writes) }
    : { bytes: per(stats.bytesRead), keys: per(stats.keysRead), queries: per(reads) };
}

function queryCounts(stats: pdpb.StoreStats): { readonly writes: number; readonly reads: number } {
  const queries = stats.queryStats;
  if (queries === null) return { writes: 0, reads: 0 };
  return {
    writes: queries.Put + queries.Delete + queries.DeleteRange + queries.Prewrite,
    reads: queries.Get + queries.Scan + queries.Coprocessor,
  };
}

const isHot = (rates: Rates): boolean =>
  rates.bytes >= HOT_BYTES_PER_SECOND || rates.keys >= HOT_KEYS_PER_SECOND;

function hotRegions(call: HttpCall, direction: Direction): void {
  const stores = chosenStores(call);
  if (stores === undefined) return;
  const asPeer: Record<string, unknown> = {};
  const asLeader: Record<string, unknown> = {};
  for (const store of stores) {
    asPeer[store.id] = loadOfStore(call, store, direction, false);
    asLeader[store.id] = loadOfStore(call, store, direction, true);
  }
  call.json({ as_peer: asPeer, as_leader: asLeader });
}

/** `?store_id=`, once or more; undefined when one is wrong: then the answer has been sent. */
function chosenStores(call: HttpCall): StoreInfo[] | undefined {
  const given = call.queries("store_id");
  if (given.length === 0) return call.parts.cluster.liveStores();
  const stores: StoreInfo[] = [];
  for (const text of given) {
    if (!/^[0-9]+$/.test(text)) return void call.fail(400, `invalid store id ${text}`);
    const store = call.parts.cluster.store(Number(text));
    if (store === undefined) return void call.fail(500, `[PD:core:ErrStoreNotFound]store ${text} not found`);
    stores.push(store);
  }
  return stores;
}

interface HotPeer {
  readonly region: RegionInfo;
  readonly rates: Rates;
}

function loadOfStore(call: HttpCall, store: StoreInfo, direction: Direction, leadersOnly: boolean): unknown {
  const { regions } = call.parts.cluster;
  const on = regions.onStore(store.id);
  const led = on.leaders.values();
  const ids = leadersOnly ? led : [...led, ...on.followers.values(), ...on.learners.values()];
  const hot: HotPeer[] = [];
  let sum = IDLE;
  for (const id of ids) {
    const region = regions.byId(id);
    if (region === undefined) continue;
    const rates = regionRates(region, direction);
    sum = added(sum, rates);
    if (isHot(rates)) hot.push({ region, rates });
  }
  hot.sort((left, right) => right.rates.bytes - left.rates.bytes || right.rates.keys - left.rates.keys);
  // Of leaders only the regions' own reports are known; of the whole store its own report counts everything.
  const ofStore = leadersOnly ? sum : storeRates(store, direction);
  const flow = hot.reduce((total, { rates }) => added(total, rates), IDLE);
  const shown = hot.slice(0, SHOWN_PER_STORE_MAX);
  return {
    store_bytes: ofStore.bytes,
    store_keys: ofStore.keys,
    store_query: ofStore.queries,
    store_cpu: 0,
    total_flow_bytes: flow.bytes,
    total_flow_keys: flow.keys,
    total_flow_query: flow.queries,
    total_flow_cpu: 0,
    regions_count: hot.length,
    statistics: shown.map((peer) => statistic(call, peer, store.id)),
  };
}

const added = (left: Rates, right: Rates): Rates => ({
  bytes: left.bytes + right.bytes,
  keys: left.keys + right.keys,
  queries: left.queries + right.queries,
});

function statistic(call: HttpCall, { region, rates }: HotPeer, storeId: number): unknown {
  const own = region.meta.peers.find((peer) => peer.storeId === storeId);
  return {
    store_id: storeId,
    stores: region.meta.peers.map((peer) => peer.storeId),
    is_leader: region.leader?.storeId === storeId,
    is_learner: own?.role === "learner",
    region_id: region.meta.id,
    hot_degree: 1,
    flow_bytes: rates.bytes,
    flow_keys: rates.keys,
    flow_query: rates.queries,
    flow_cpu: 0,
    anti_count: 0,
    last_update_time: formatInstant(call.parts.context.env.clock.wallMs()),
  };
}

function hotStores(call: HttpCall): void {
  const figures: Record<string, Record<string, number>> = {
    "bytes-write-rate": {},
    "bytes-read-rate": {},
    "keys-write-rate": {},
    "keys-read-rate": {},
    "query-write-rate": {},
    "query-read-rate": {},
    "cpu-read-rate": {},
  };
  const set = (name: string, storeId: number, value: number): void => {
    (figures[name] as Record<string, number>)[storeId] = value;
  };
  for (const store of call.parts.cluster.liveStores()) {
    for (const direction of ["write", "read"] as const) {
      const rates = storeRates(store, direction);
      set(`bytes-${direction}-rate`, store.id, rates.bytes);
      set(`keys-${direction}-rate`, store.id, rates.keys);
      set(`query-${direction}-rate`, store.id, rates.queries);
    }
    set("cpu-read-rate", store.id, 0);
  }
  call.json(figures);
}
