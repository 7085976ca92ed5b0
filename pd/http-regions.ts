/**
 * Regions over HTTP: one by id or key, lists by range or store, the kinds that need attention, the largest by a
 * figure, histograms and gaps. Every list goes over all regions: these routes are for people. (pd-rules 11.12 to
 * 11.16)
 */
import { type HttpCall, keyFromHex } from "./http-call.js";
import { keyJson, regionJson, regionsJson } from "./http-json.js";
import { type Route, route } from "./http-route.js";
import { unescapeToBytes } from "./http-text.js";
import { EMPTY_REGION_SIZE_MIB, type RegionInfo } from "./region-info.js";
import { kindBits, REGION_KINDS, type RegionKind } from "./statistics/region-kinds.js";

const LIMIT = 16;
const LIMIT_MAX = 10_240;
const HISTOGRAM_KEYS_MIN = 1000;

const notFound = (id: string): string => `[PD:region:ErrRegionNotFound]region ${id} not found`;

function regionById(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  if (id === 0) return call.fail(400, "region id must not be 0");
  const region = call.parts.cluster.regions.byId(id);
  if (region === undefined) return call.fail(404, notFound(String(id)));
  call.regions(regionJson(region));
}

function regionByKey(call: HttpCall): void {
  const raw = unescapeToBytes(call.param(0), true);
  if (raw === undefined) return call.fail(400, `invalid URL escape in ${JSON.stringify(call.param(0))}`);
  const key = call.query("format") === "hex" ? keyFromHex(new TextDecoder().decode(raw)) : raw;
  if (key === undefined) return call.fail(400, "the key is not in hex format");
  const region = call.parts.cluster.regions.find(key);
  if (region === undefined) return call.fail(404, notFound(`with key ${keyJson(key)}`));
  call.regions(regionJson(region));
}

/** A key of the query; undefined when malformed: then the answer has been sent. */
function queryKey(call: HttpCall, ...names: readonly string[]): Uint8Array | undefined {
  const text = names.map((name) => call.query(name)).find((value) => value !== undefined) ?? "";
  if (call.query("format") !== "hex") return new TextEncoder().encode(text);
  const key = keyFromHex(text);
  if (key === undefined) call.fail(400, `${names[0]} ${text} is not in hex format`);
  return key;
}

function scanRegions(call: HttpCall): void {
  const limit = call.limit(LIMIT, LIMIT_MAX);
  if (limit === undefined) return;
  const start = queryKey(call, "key", "start_key");
  if (start === undefined) return;
  const end = queryKey(call, "end_key");
  if (end === undefined) return;
  call.regions(regionsJson(call.parts.cluster.regions.scan(start, end, limit)));
}

function regionsOfStore(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const { regions } = call.parts.cluster;
  const on = regions.onStore(id);
  const kinds = new Map<string, readonly number[]>([
    ["all", [...on.leaders.values(), ...on.followers.values(), ...on.learners.values()]],
    ["leader", on.leaders.values()],
    ["follower", on.followers.values()],
    ["learner", on.learners.values()],
    ["pending", on.pending.values()],
    ["witness", []],
  ]);
  const kind = call.query("type") ?? "all";
  const ids = kinds.get(kind);
  if (ids === undefined) return call.fail(400, `unknown type ${kind}: use ${[...kinds.keys()].join(", ")}`);
  const found = ids.flatMap((regionId) => regions.byId(regionId) ?? []);
  call.regions(regionsJson(found));
}

function siblings(call: HttpCall): void {
  const id = call.idParam(0);
  if (id === undefined) return;
  const { regions } = call.parts.cluster;
  const region = regions.byId(id);
  if (region === undefined) return call.fail(404, notFound(String(id)));
  const neighbours = [regions.previous(region), regions.next(region)];
  call.regions({
    count: neighbours.length,
    regions: neighbours.map((other) => (other === undefined ? {} : regionJson(other))),
  });
}

/** Looked at now: what heartbeats have counted may be a minute old, and a store may have left meanwhile. */
function kindOfRegions(call: HttpCall, kind: RegionKind): void {
  const { view } = call.parts.scheduling;
  const bit = 1 << REGION_KINDS.indexOf(kind);
  const found: RegionInfo[] = [];
  for (const region of call.parts.cluster.regions.all())
    if ((kindBits(view, region) & bit) !== 0) found.push(region);
  call.regions(regionsJson(found));
}

const FIGURES: Readonly<Record<string, (region: RegionInfo) => number>> = {
  writeflow: (region) => region.flow.writtenBytes,
  writequery: (region) => region.flow.writeQueries,
  readflow: (region) => region.flow.readBytes,
  readquery: (region) => region.flow.readQueries,
  confver: (region) => region.meta.epoch.confVer,
  version: (region) => region.meta.epoch.version,
  size: (region) => region.sizeMib,
  keys: (region) => region.keys,
  cpu: (region) => region.flow.cpuUsage,
};

function topRegions(call: HttpCall, figure: (region: RegionInfo) => number): void {
  const limit = call.limit(LIMIT, LIMIT_MAX);
  if (limit === undefined) return;
  const sorted = [...call.parts.cluster.regions.all()].sort((left, right) => figure(right) - figure(left));
  call.regions(regionsJson(limit > 0 ? sorted.slice(0, limit) : sorted));
}

function histogram(call: HttpCall, figure: (region: RegionInfo) => number, boundMin: number): void {
  const text = call.query("bound") ?? String(boundMin);
  if (!/^[0-9]+$/.test(text)) return call.fail(400, `bound ${text} is not a number`);
  const bound = Math.max(Number(text), boundMin);
  const counts = new Map<number, number>();
  for (const region of call.parts.cluster.regions.all()) {
    const bar = Math.floor(figure(region) / bound);
    counts.set(bar, (counts.get(bar) ?? 0) + 1);
  }
  const bars = [...counts].sort(([left], [right]) => left - right);
  call.json(bars.map(([bar, count]) => ({ start: bar * bound, end: (bar + 1) * bound - 1, count })));
}

function statistics(call: HttpCall): void {
  const start = queryKey(call, "start_key");
  if (start === undefined) return;
  const end = queryKey(call, "end_key");
  if (end === undefined) return;
  const perStore = (): Record<string, number> => ({});
  const sums = {
    count: 0,
    empty_count: 0,
    storage_size: 0,
    user_storage_size: 0,
    user_columnar_storage_size: 0,
    storage_keys: 0,
    store_leader_count: perStore(),
    store_peer_count: perStore(),
    store_leader_size: perStore(),
    store_leader_keys: perStore(),
    store_peer_size: perStore(),
    store_peer_keys: perStore(),
  };
  const add = (to: Record<string, number>, storeId: number, amount: number): void => {
    to[storeId] = (to[storeId] ?? 0) + amount;
  };
  for (const region of call.parts.cluster.regions.scan(start, end, 0)) {
    sums.count += 1;
    if (region.sizeMib <= EMPTY_REGION_SIZE_MIB) sums.empty_count += 1;
    sums.storage_size += region.sizeMib;
    sums.storage_keys += region.keys;
    for (const peer of region.meta.peers) {
      add(sums.store_peer_count, peer.storeId, 1);
      add(sums.store_peer_size, peer.storeId, region.sizeMib);
      add(sums.store_peer_keys, peer.storeId, region.keys);
    }
    if (region.leader === undefined) continue;
    add(sums.store_leader_count, region.leader.storeId, 1);
    add(sums.store_leader_size, region.leader.storeId, region.sizeMib);
    add(sums.store_leader_keys, region.leader.storeId, region.keys);
  }
  call.json(sums);
}

/** Whether all regions of a range meet their rules; what lacks a store waits, the rest is under way. (11.16) */
function replicated(call: HttpCall): void {
  const [startText, endText] = [call.query("startKey"), call.query("endKey")];
  if (startText === undefined || endText === undefined) return call.text(404, "404 page not found\n");
  const [start, end] = [keyFromHex(startText), keyFromHex(endText)];
  if (start === undefined) return call.fail(400, `startKey ${startText} is not in hex format`);
  if (end === undefined) return call.fail(400, `endKey ${endText} is not in hex format`);
  const { cluster, scheduling } = call.parts;
  let state = "REPLICATED";
  for (const region of cluster.regions.scan(start, end, 0)) {
    if (scheduling.view.isReplicated(region)) continue;
    if (scheduling.patrol.isWithoutStore(region.meta.id)) return call.json("PENDING");
    state = "INPROGRESS";
  }
  call.json(state);
}

export const REGION_ROUTES: readonly Route[] = [
  route("GET", "/region/id/{id}", regionById),
  route("GET", "/region/key/{key}", regionByKey),
  route("GET", "/regions", (call) => call.regions(regionsJson([...call.parts.cluster.regions.all()]))),
  route("GET", "/regions/key", scanRegions),
  route("GET", "/regions/count", (call) => {
    call.json({ count: call.parts.cluster.regions.count, regions: null });
  }),
  route("GET", "/regions/store/{id}", regionsOfStore),
  route("GET", "/regions/sibling/{id}", siblings),
  route("GET", "/regions/replicated", replicated),
  route("GET", "/regions/range-holes", (call) => {
    call.json(call.parts.cluster.regions.holes().map(({ start, end }) => [keyJson(start), keyJson(end)]));
  }),
  route("GET", "/regions/check/hist-size", (call) => histogram(call, (region) => region.sizeMib, 1)),
  route("GET", "/regions/check/hist-keys", (call) => {
    histogram(call, (region) => region.keys, HISTOGRAM_KEYS_MIN);
  }),
  ...REGION_KINDS.map((kind) => {
    return route("GET", `/regions/check/${kind}`, (call) => kindOfRegions(call, kind));
  }),
  route("GET", "/stats/region", statistics),
  ...Object.entries(FIGURES).map(([name, figure]) => {
    return route("GET", `/regions/${name}`, (call) => topRegions(call, figure));
  }),
];
