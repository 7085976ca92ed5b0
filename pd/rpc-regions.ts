/**
 * The calls about regions: the heartbeat stream and the reads by key, id, range. Keys are compared as they come: PD
 * never encodes or decodes them. A miss is an OK answer with nothing in it. (pd-rules 4.1 to 4.3, 4.16 to 4.20)
 */
import { compareBytes, equalBytes } from "../base/index.js";
import {
  bindMethod,
  type BoundMethod,
  type metapb,
  PdService,
  type pdpb,
  RPC_CODE,
  type RpcStatusError,
  RPC_OK,
  type RpcStatus,
  type ServerCall,
  type ServerCallListener,
} from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { HeartbeatCall, HeartbeatStreams } from "./heartbeat-streams.js";
import type { RegionFlow, RegionInfo } from "./region-info.js";
import { HeartbeatBreakdown, regionHeartbeats } from "./heartbeat-figures.js";
import {
  ERROR_TYPE,
  errorHeader,
  failure,
  lookupCall,
  notBootstrapped,
  okHeader,
  refusal,
} from "./rpc-answers.js";
import { peerToWire, regionFromHeartbeat, regionToWire } from "./wire.js";

const BIND_INTERVAL_MS = 60_000;
const BATCH_RANGES_MAX = 10_000;

export interface RegionEvents {
  /** Every accepted heartbeat, also one that changed nothing: it is the pulse that drives operators. */
  onRegionHeartbeat(region: RegionInfo, previous: RegionInfo | undefined, flow: RegionFlow): void;
  onBuckets(buckets: metapb.Buckets): void;
  bucketsOf(regionId: number): metapb.IBuckets | undefined;
}

export function regionMethods(
  cluster: Cluster,
  streams: HeartbeatStreams,
  events: RegionEvents,
): BoundMethod[] {
  const { context, regions } = cluster;
  const header = okHeader(context);
  const breakdown = new HeartbeatBreakdown(cluster);
  /** What the leader alone knows: a follower has no buckets. */
  const withBuckets: WithBuckets = (wire, regionId, needed) => {
    const buckets = needed ? events.bucketsOf(regionId) : undefined;
    return buckets === undefined ? wire : { ...wire, buckets };
  };
  const found = (region: RegionInfo | undefined, needBuckets: boolean): pdpb.IGetRegionResponse =>
    region === undefined
      ? { header }
      : withBuckets({ header, ...regionToClient(region) }, region.meta.id, needBuckets);
  return [
    {
      ...bindMethod(PdService.RegionHeartbeat, (call) =>
        heartbeatCall(cluster, streams, events, breakdown, call),
      ),
      // After a change of leader all stores report everything, and the lease must be renewed meanwhile.
      isBulk: true,
    },
    lookupCall(cluster, PdService.GetRegion, noRegion, (request, reply) =>
      reply(found(regions.find(request.regionKey), request.needBuckets)),
    ),
    lookupCall(cluster, PdService.GetPrevRegion, noRegion, (request, reply) => {
      const region = regions.find(request.regionKey);
      reply(found(region === undefined ? undefined : regions.previous(region), request.needBuckets));
    }),
    lookupCall(cluster, PdService.GetRegionByID, noRegion, (request, reply) =>
      reply(found(regions.byId(request.regionId), request.needBuckets)),
    ),
    bindMethod(PdService.QueryRegion, (call) => ({
      onMessage(request) {
        const refused = refusal(context, request.header);
        if (refused !== undefined) return call.end(refused.status);
        if (!cluster.isBootstrapped) return call.send({ header: notBootstrapped(context) });
        call.send(queryRegions(cluster, request, withBuckets));
      },
      onHalfClose: () => call.end(),
      onCancel() {},
    })),
    lookupCall(cluster, PdService.ScanRegions, noRegions, (request, reply) => {
      const scanned = regions.scan(request.startKey, request.endKey, request.limit).map(regionToWire);
      reply({
        header,
        regions: scanned,
        regionMetas: scanned.map((region) => region.region ?? {}),
        leaders: scanned.map((region) => region.leader ?? {}),
      });
    }),
    lookupCall(cluster, PdService.BatchScanRegions, noRegions, (request, reply) => {
      const scanned = batchScan(cluster, request);
      if (typeof scanned === "string") return reply(failure(context, scanned));
      if (scanned === undefined) {
        const text = "required region is not fully covered by the regions found";
        return reply(failure(context, text, ERROR_TYPE.REGIONS_NOT_CONTAIN_ALL_KEY_RANGE));
      }
      const answered = scanned.map((region) =>
        withBuckets(regionToWire(region), region.meta.id, request.needBuckets),
      );
      reply({ header, regions: answered });
    }),
    bindMethod(PdService.ReportBuckets, (call) => takeBuckets(cluster, events, call)),
  ];
}

/** Those of a region that is not known are passed over: its heartbeat comes first. (4.21) */
function takeBuckets(
  cluster: Cluster,
  events: RegionEvents,
  call: ServerCall<pdpb.IReportBucketsResponse>,
): ServerCallListener<pdpb.ReportBucketsRequest> {
  const { context } = cluster;
  const header = okHeader(context);
  let refused: RpcStatusError | undefined;
  return {
    onMessage(request) {
      if (refused !== undefined) return;
      refused = refusal(context, request.header);
      if (refused !== undefined) return call.end(refused.status);
      const { buckets } = request;
      if (buckets === null || cluster.regions.byId(buckets.regionId) === undefined) return;
      events.onBuckets(buckets);
    },
    onHalfClose() {
      if (refused !== undefined) return;
      call.send({ header });
      call.end();
    },
    onCancel() {},
  };
}

const noRegion = (answer: pdpb.IGetRegionResponse): boolean =>
  answer.region === undefined || answer.region === null;
const noRegions = (answer: { readonly regions?: readonly unknown[] | null | undefined }): boolean =>
  (answer.regions ?? []).length === 0;

/** As `regionToWire`, but a leader that is not known is left out. */
function regionToClient(region: RegionInfo): pdpb.IRegionResponse {
  const wire = regionToWire(region);
  return region.leader === undefined ? { ...wire, leader: null } : wire;
}

type WithBuckets = <Wire extends object>(wire: Wire, regionId: number, needed: boolean) => Wire;

function queryRegions(
  cluster: Cluster,
  request: pdpb.QueryRegionRequest,
  withBuckets: WithBuckets,
): pdpb.IQueryRegionResponse {
  const { regions } = cluster;
  const byId: { [key: string]: pdpb.IRegionResponse } = {};
  const take = (region: RegionInfo | undefined): number => {
    if (region === undefined) return 0;
    const { id } = region.meta;
    byId[id] ??= withBuckets(regionToClient(region), id, request.needBuckets);
    return id;
  };
  const keyIdMap = request.keys.map((key) => take(regions.find(key)));
  const prevKeyIdMap = request.prevKeys.map((key) => {
    const region = regions.find(key);
    return take(region === undefined ? undefined : regions.previous(region));
  });
  for (const id of request.ids) {
    if (id !== 0 && take(regions.byId(id)) === 0) byId[id] ??= {};
  }
  return { header: okHeader(cluster.context), keyIdMap, prevKeyIdMap, regionsById: byId };
}

/** Text: refused. Undefined: a hole where all keys were asked for. */
function batchScan(
  cluster: Cluster,
  request: pdpb.BatchScanRegionsRequest,
): RegionInfo[] | string | undefined {
  const { ranges } = request;
  if (ranges.length > BATCH_RANGES_MAX) return `more than ${BATCH_RANGES_MAX} ranges`;
  const merged: { start: Uint8Array; end: Uint8Array }[] = [];
  for (const range of ranges) {
    const last = merged.at(-1);
    if (last !== undefined && compareBytes(range.startKey, last.end) < 0) {
      return "invalid key range, ranges overlapped";
    }
    if (range.endKey.length > 0 && compareBytes(range.endKey, range.startKey) < 0) {
      return "invalid key range, start key > end key";
    }
    if (last !== undefined && equalBytes(last.end, range.startKey)) last.end = range.endKey;
    else merged.push({ start: range.startKey, end: range.endKey });
  }
  const found: RegionInfo[] = [];
  for (const { start, end } of merged) {
    const left = request.limit > 0 ? request.limit - found.length : 0;
    if (request.limit > 0 && left <= 0) break;
    // One more than asked: a region at the border of two ranges is returned once.
    const scanned = cluster.regions.scan(start, end, left === 0 ? 0 : left + 1);
    const fresh = scanned.filter((region) => found.at(-1)?.meta.id !== region.meta.id);
    const cut = left === 0 ? fresh : fresh.slice(0, left);
    if (request.containAllKeyRange && !covers(scanned, start, end, cut.length < fresh.length))
      return undefined;
    found.push(...cut);
  }
  return found;
}

/** Whether the regions cover [start, end) without a hole; when `cut` by the limit the tail does not count. */
function covers(found: readonly RegionInfo[], start: Uint8Array, end: Uint8Array, cut: boolean): boolean {
  let covered: Uint8Array | undefined = start;
  for (const { meta } of found) {
    if (covered === undefined || compareBytes(meta.startKey, covered) > 0) return false;
    covered = meta.endKey.length === 0 ? undefined : meta.endKey;
  }
  if (covered === undefined || cut) return true;
  return end.length > 0 && compareBytes(covered, end) >= 0;
}

function heartbeatCounter(cluster: Cluster, store: number, status: "ok" | "err"): { value: number } {
  const address = cluster.store(store)?.meta.address ?? "";
  const labels = { address, store: String(store), type: "report", status };
  return cluster.context.metrics.counter("pd_scheduler_region_heartbeat", labels);
}

function refusedHeartbeat(
  context: Cluster["context"],
  message: string,
  region: pdpb.RegionHeartbeatRequest["region"],
): pdpb.IRegionHeartbeatResponse {
  const target = region?.peers[0];
  const answer: pdpb.IRegionHeartbeatResponse = {
    header: errorHeader(context, ERROR_TYPE.UNKNOWN, message),
  };
  if (region !== null) answer.regionId = region.id;
  if (target !== undefined) answer.targetPeer = target;
  return answer;
}

/** Into the map, then to everybody who goes by heartbeats; why the record is refused otherwise. */
function takeIn(
  cluster: Cluster,
  events: RegionEvents,
  breakdown: HeartbeatBreakdown,
  record: RegionInfo,
  previous: RegionInfo | undefined,
  receivedMs: number,
): string | undefined {
  const isTimed = breakdown.next();
  const readMs = isTimed ? breakdown.took("PreCheck", receivedMs) : 0;
  const result = cluster.putRegion(record);
  if (result.kind === "stale") return result.reason;
  const savedMs = isTimed ? breakdown.took("SaveCache", readMs) : 0;
  events.onRegionHeartbeat(result.region, previous, record.flow);
  if (isTimed) breakdown.took("CollectRegionStats", savedMs);
  return undefined;
}

function heartbeatCall(
  cluster: Cluster,
  streams: HeartbeatStreams,
  events: RegionEvents,
  breakdown: HeartbeatBreakdown,
  call: HeartbeatCall,
): ServerCallListener<pdpb.RegionHeartbeatRequest> {
  const { context } = cluster;
  let boundMs = Number.NEGATIVE_INFINITY;
  let boundStore = 0;
  let accepted = { value: 0 };
  let observe: (seconds: number) => void = () => {};
  let ended = false;
  const end = (status: RpcStatus): void => {
    ended = true;
    streams.unbind(call);
    call.end(status);
  };
  const report = (message: string, region: pdpb.RegionHeartbeatRequest["region"]): void => {
    heartbeatCounter(cluster, boundStore, "err").value += 1;
    call.send(refusedHeartbeat(context, message, region));
  };
  return {
    onMessage(request) {
      if (ended) return;
      const refused = refusal(context, request.header);
      if (refused !== undefined) return end(refused.status);
      if (!cluster.isBootstrapped) {
        call.send({ header: notBootstrapped(context) });
        return end(RPC_OK);
      }
      const { leader, region } = request;
      const storeId = leader?.storeId ?? 0;
      const store = cluster.store(storeId);
      if (store === undefined) {
        return end({ code: RPC_CODE.unknown, message: `invalid store ID ${storeId}, not found` });
      }
      if (store.isRemoved) return;
      const nowMs = cluster.nowMs();
      if (storeId !== boundStore || nowMs - boundMs > BIND_INTERVAL_MS || !streams.has(storeId)) {
        streams.bind(storeId, call);
        boundMs = nowMs;
        boundStore = storeId;
        accepted = heartbeatCounter(cluster, storeId, "ok");
        observe = regionHeartbeats(cluster, store.meta);
      }
      if (leader === null || leader.id === 0) return report("invalid request leader, leader is nil", region);
      if (region === null || region.id === 0) return report("invalid request region, region id is 0", region);
      if (region.peers.length === 0) return report("invalid request region, it has no peers", region);
      if (region.endKey.length > 0 && compareBytes(region.startKey, region.endKey) >= 0) {
        return report("invalid request region, start key >= end key", region);
      }
      const previous = cluster.regions.byId(region.id);
      const record = regionFromHeartbeat(request, region, leader, previous);
      const stale = takeIn(cluster, events, breakdown, record, previous, nowMs);
      if (stale !== undefined) return report(stale, region);
      accepted.value += 1;
      observe((cluster.nowMs() - nowMs) / 1000);
    },
    onHalfClose() {
      if (!ended) end(RPC_OK);
    },
    onCancel() {
      ended = true;
      streams.unbind(call);
    },
  };
}

/** The parts of a response that every command to a region's leader carries. */
export const commandFor = (region: RegionInfo): pdpb.IRegionHeartbeatResponse => ({
  regionId: region.meta.id,
  regionEpoch: { confVer: region.meta.epoch.confVer, version: region.meta.epoch.version },
  targetPeer: region.leader === undefined ? {} : peerToWire(region.leader),
});
