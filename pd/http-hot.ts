/**
 * Where the load is, over HTTP: rates of stores, and the peers that have been hot for long enough, as the hot-region
 * scheduler sees them; and which were so earlier. (pd-rules 10.12, 10.14)
 */
import { toHex } from "../base/index.js";
import { formatInstant } from "./duration.js";
import type { HttpCall } from "./http-call.js";
import { type Route, route } from "./http-route.js";
import { type HotQuery, hotRecordJson, isHotKind } from "./hot-history.js";
import type { HotPeer } from "./statistics/hot-peer-cache.js";
import type { Rates } from "./statistics/rates.js";
import type { Direction } from "./statistics/store-figures.js";
import type { StoreInfo } from "./store-info.js";

const SHOWN_PER_STORE_MAX = 1000;

export const HOT_ROUTES: readonly Route[] = [
  route("GET", "/hotspot/regions/write", (call) => hotRegions(call, "write")),
  route("GET", "/hotspot/regions/read", (call) => hotRegions(call, "read")),
  route("GET", "/hotspot/regions/history", hotHistory),
  route("GET", "/hotspot/stores", hotStores),
  route("GET", "/hotspot/buckets", hotBuckets),
];

/** Of the regions named by `?region_id=`, once or more, or of all; hot ones alone. */
function hotBuckets(call: HttpCall): void {
  const { buckets } = call.parts.scheduling.statistics;
  const degree = call.parts.config.number("schedule.hot-region-cache-hits-threshold");
  const given = call.queries("region_id");
  const wrong = given.find((text) => !/^[0-9]+$/.test(text));
  if (wrong !== undefined) return call.fail(400, `invalid region id ${wrong}`);
  const hex = (key: Uint8Array): string => toHex(key).toUpperCase();
  const json: Record<string, unknown> = {};
  for (const id of given.length === 0 ? buckets.regionIds() : given.map(Number)) {
    const hot = buckets.hot(id, degree).map((bucket) => ({
      start_key: hex(bucket.startKey),
      end_key: hex(bucket.endKey),
      hot_degree: bucket.degree,
      read_bytes: bucket.readBytes,
      read_keys: bucket.readKeys,
      write_bytes: bucket.writtenBytes,
      write_keys: bucket.writtenKeys,
    }));
    if (hot.length > 0) json[id] = hot;
  }
  call.json(json);
}

function hotRegions(call: HttpCall, direction: Direction): void {
  const stores = chosenStores(call);
  if (stores === undefined) return;
  const asPeer: Record<string, unknown> = {};
  const asLeader: Record<string, unknown> = {};
  const { statistics } = call.parts.scheduling;
  for (const store of stores) {
    const hot = [...statistics.hotPeers(direction, store.id)].sort(
      (left, right) => right.rates[0] - left.rates[0] || right.rates[1] - left.rates[1],
    );
    const led = hot.filter(({ isLeader }) => isLeader);
    asPeer[store.id] = loadJson(call, hot, statistics.figures(store.id).rates(direction));
    asLeader[store.id] = loadJson(call, led, sumOf(led));
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

function sumOf(peers: readonly HotPeer[]): Rates {
  const sum: [number, number, number, number] = [0, 0, 0, 0];
  for (const { rates } of peers) for (const [i, rate] of rates.entries()) sum[i] = (sum[i] as number) + rate;
  return sum;
}

function loadJson(call: HttpCall, peers: readonly HotPeer[], ofStore: Rates): unknown {
  const flow = sumOf(peers);
  return {
    store_bytes: ofStore[0],
    store_keys: ofStore[1],
    store_query: ofStore[2],
    store_cpu: ofStore[3],
    total_flow_bytes: flow[0],
    total_flow_keys: flow[1],
    total_flow_query: flow[2],
    total_flow_cpu: flow[3],
    regions_count: peers.length,
    statistics: peers.slice(0, SHOWN_PER_STORE_MAX).map((peer) => peerJson(call, peer)),
  };
}

function peerJson(call: HttpCall, peer: HotPeer): unknown {
  const { cluster, context } = call.parts;
  const { clock } = context.env;
  const own = cluster.regions.byId(peer.regionId)?.meta.peers.find(({ storeId }) => storeId === peer.storeId);
  const [bytes, keys, query, cpu] = peer.rates;
  return {
    store_id: peer.storeId,
    stores: peer.stores,
    is_leader: peer.isLeader,
    is_learner: own?.role === "learner",
    region_id: peer.regionId,
    hot_degree: peer.degree,
    flow_bytes: bytes,
    flow_keys: keys,
    flow_query: query,
    flow_cpu: cpu,
    anti_count: peer.antiCount,
    last_update_time: formatInstant(clock.wallMs() - (clock.monotonicMs() - peer.updatedMs)),
  };
}

/** The question comes as the body, as from TiDB; without one there is nothing to answer. */
function hotHistory(call: HttpCall): void {
  if (call.request.body.length === 0) return call.fail(400, "unexpected end of JSON input");
  const body = call.bodyObject();
  if (body === undefined) return;
  const numbers = (name: string): readonly number[] | undefined => {
    const value = body[name] ?? [];
    const isList = Array.isArray(value) && value.every((item) => Number.isSafeInteger(item));
    if (!isList) call.fail(400, `${name} must be a list of whole numbers`);
    return isList ? (value as number[]) : undefined;
  };
  const flags = (name: string): readonly boolean[] | undefined => {
    const value = body[name] ?? [];
    const isList = Array.isArray(value) && value.every((item) => typeof item === "boolean");
    if (!isList) call.fail(400, `${name} must be a list of booleans`);
    return isList ? (value as boolean[]) : undefined;
  };
  const { start_time: startMs = 0, end_time: endMs = Number.MAX_SAFE_INTEGER } = body;
  if (typeof startMs !== "number" || typeof endMs !== "number")
    return call.fail(400, "start_time and end_time must be numbers of milliseconds");
  const kinds = body["hot_region_type"] ?? [];
  if (!Array.isArray(kinds) || !kinds.every(isHotKind))
    return call.fail(400, "hot_region_type must be a list of read and write");
  const [regionIds, storeIds, peerIds] = [numbers("region_ids"), numbers("store_ids"), numbers("peer_ids")];
  if (regionIds === undefined || storeIds === undefined || peerIds === undefined) return;
  const [isLeader, isLearner] = [flags("is_leaders"), flags("is_learners")];
  if (isLeader === undefined || isLearner === undefined) return;
  const query: HotQuery = { startMs, endMs, regionIds, storeIds, peerIds, isLeader, isLearner, kinds };
  const found = call.parts.scheduling.hotHistory.find(query);
  call.json({ history_hot_region: found.map(hotRecordJson) });
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
  const { statistics } = call.parts.scheduling;
  for (const store of call.parts.cluster.liveStores()) {
    for (const direction of ["write", "read"] as const) {
      const [bytes, keys, query, cpu] = statistics.figures(store.id).rates(direction);
      set(`bytes-${direction}-rate`, store.id, bytes);
      set(`keys-${direction}-rate`, store.id, keys);
      set(`query-${direction}-rate`, store.id, query);
      if (direction === "read") set("cpu-read-rate", store.id, cpu);
    }
  }
  call.json(figures);
}
