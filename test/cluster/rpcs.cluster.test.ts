/**
 * Every method of TiKV's and PD's services against processes that run: one that is served with a request that a client
 * would send and what it must find in the answer, every other one with UNIMPLEMENTED and a sentence.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromUtf8, must, utf8 } from "../../base/index.js";
import {
  debugpb,
  DebugService,
  EtcdClusterService,
  EtcdKvService,
  HealthService,
  KeyspaceService,
  type kvrpcpb,
  type metapb,
  type MethodDefinition,
  type pdpb,
  PdService,
  RPC_CODE,
  TikvService,
} from "../../proto/index.js";
import { clusterMetadata } from "../../store/raft-streams.js";
import { ProcessCluster } from "../support/process-cluster.js";
import { RpcCaller } from "../support/rpc-caller.js";

/** In this order; methods without a check must be refused. */
type Checks<Service> = { readonly [Name in keyof Service]?: () => Promise<void> };

/** Two stores: the second got its replica over BatchRaft and Snapshot. */
let cluster: ProcessCluster;
let caller: RpcCaller;
let clusterId = 0n;
let addresses: ReadonlyMap<number, string>;

beforeAll(async () => {
  cluster = await ProcessCluster.start({
    stores: 2,
    storeConfig: "[storage]\napi-version = 1\nenable-ttl = true\n",
    // Regions stay where they are unless a test moves them.
    pdConfig: "[schedule]\nleader-schedule-limit = 0\nregion-schedule-limit = 0\n",
  });
  caller = new RpcCaller();
  const { header } = await caller.ask(cluster.pdAddress, PdService.GetMembers, {});
  clusterId = must(header, "no header").clusterId;
  const { stores } = await toPd(PdService.GetAllStores, {});
  addresses = new Map(stores.map(({ id, address }) => [id, address]));
}, 200_000);

afterAll(async () => {
  caller?.close();
  await cluster?.close();
});

type Header = { readonly header?: pdpb.IRequestHeader | null | undefined };

function toPd<Q, R, QI extends Header, RI>(method: MethodDefinition<Q, R, QI, RI>, request: QI): Promise<R> {
  return caller.ask(cluster.pdAddress, method, { header: { clusterId }, ...request });
}

interface Placed {
  readonly region: metapb.Region;
  readonly leader: metapb.Peer;
  readonly address: string;
  readonly context: kvrpcpb.IContext;
}

/** Where a client would send requests for the key. */
async function placeOf(key: string): Promise<Placed> {
  const found = await toPd(PdService.GetRegion, { regionKey: utf8(key) });
  const region = must(found.region, "no region");
  const leader = must(found.leader, "no leader");
  const context = { regionId: region.id, regionEpoch: region.regionEpoch, peer: leader, clusterId };
  return { region, leader, address: must(addresses.get(leader.storeId), "no address"), context };
}

type WithContext = { readonly context?: kvrpcpb.IContext | null | undefined };

/** To the leader of the region with the key "m", as a client would. */
async function toStore<Q, R, QI extends WithContext, RI>(
  method: MethodDefinition<Q, R, QI, RI>,
  request: QI,
): Promise<R> {
  const { address, context } = await placeOf("m");
  return caller.ask(address, method, { context, ...request });
}

const fine = { header: { error: null } };
const pair = (key: string, value: string): kvrpcpb.IKvPair => ({ key: utf8(key), value: utf8(value) });
const texts = (pairs: readonly kvrpcpb.KvPair[]): string[] =>
  pairs.map(({ key, value }) => `${fromUtf8(key)}=${fromUtf8(value)}`);
const range = (startKey: string, endKey: string) => ({ startKey: utf8(startKey), endKey: utf8(endKey) });
const textOf = async (key: string): Promise<string | undefined> => {
  const { notFound, value } = await toStore(TikvService.RawGet, { key: utf8(key) });
  return notFound ? undefined : fromUtf8(value);
};

/** A sum over the samples of a metric with these labels, over all stores. */
async function metricSum(name: string, ...labels: string[]): Promise<number> {
  let sum = 0;
  for (const store of cluster.storeNames) {
    const text = await (await fetch(`http://${cluster.statusAddressOf(store)}/metrics`)).text();
    for (const line of text.split("\n")) {
      if (line.startsWith(name) && labels.every((label) => line.includes(label)))
        sum += Number(line.split(" ")[1]);
    }
  }
  return sum;
}

/** A stream that names another cluster is refused; one that names this one is not. */
async function raftStream<Q, R, QI, RI>(method: MethodDefinition<Q, R, QI, RI>, message: QI): Promise<void> {
  const { address } = await placeOf("m");
  const stranger = await caller.refusal(address, method, message, clusterMetadata(clusterId + 1n));
  expect(stranger).toMatchObject({ code: RPC_CODE.failedPrecondition });
  expect(stranger.message).toContain(`this store is of cluster ${clusterId}`);
}

const tikv: Checks<typeof TikvService> = {
  async RawPut() {
    expect(await toStore(TikvService.RawPut, { key: utf8("m1"), value: utf8("1"), ttl: 1000 })).toMatchObject(
      { error: "", regionError: null },
    );
  },
  async RawGet() {
    expect(await textOf("m1")).toBe("1");
    expect(await textOf("m0")).toBe(undefined);
  },
  async RawGetKeyTTL() {
    const { ttl, notFound } = await toStore(TikvService.RawGetKeyTTL, { key: utf8("m1") });
    expect(notFound).toBe(false);
    expect(ttl).toBeGreaterThan(900);
    expect(ttl).toBeLessThanOrEqual(1000);
  },
  async RawBatchPut() {
    const pairs = ["2", "3", "4"].map((value) => pair(`m${value}`, value));
    expect(await toStore(TikvService.RawBatchPut, { pairs })).toMatchObject({ error: "", regionError: null });
  },
  async RawBatchGet() {
    const { pairs } = await toStore(TikvService.RawBatchGet, { keys: ["m4", "m0", "m2"].map(utf8) });
    expect(texts(pairs).sort()).toEqual(["m2=2", "m4=4"]);
  },
  async RawScan() {
    const forward = await toStore(TikvService.RawScan, { startKey: utf8("m2"), limit: 2 });
    expect(texts(forward.kvs)).toEqual(["m2=2", "m3=3"]);
    const backward = { startKey: utf8("m4"), endKey: utf8("m1"), limit: 2, reverse: true, keyOnly: true };
    expect(texts((await toStore(TikvService.RawScan, backward)).kvs)).toEqual(["m3=", "m2="]);
  },
  async RawBatchScan() {
    const ranges = [range("m1", "m3"), range("m4", "m9")];
    const { kvs } = await toStore(TikvService.RawBatchScan, { ranges, eachLimit: 5 });
    expect(texts(kvs)).toEqual(["m1=1", "m2=2", "m4=4"]);
  },
  async RawChecksum() {
    const one = await toStore(TikvService.RawChecksum, { algorithm: 0, ranges: [range("m1", "m3")] });
    expect(one).toMatchObject({ regionError: null, error: "", totalKvs: 2, totalBytes: 6 });
    const two = await toStore(TikvService.RawChecksum, { algorithm: 0, ranges: [range("m1", "m4")] });
    expect(two.checksum).not.toBe(one.checksum);
  },
  async RawCompareAndSwap() {
    const swap = { key: utf8("m2"), value: utf8("two"), previousValue: utf8("2") };
    expect(await toStore(TikvService.RawCompareAndSwap, swap)).toMatchObject({ succeed: true });
    const late = await toStore(TikvService.RawCompareAndSwap, swap);
    expect(late.succeed).toBe(false);
    expect(fromUtf8(late.previousValue)).toBe("two");
  },
  async RawDelete() {
    expect(await toStore(TikvService.RawDelete, { key: utf8("m2") })).toMatchObject({ error: "" });
    expect(await textOf("m2")).toBe(undefined);
  },
  async RawBatchDelete() {
    expect(await toStore(TikvService.RawBatchDelete, { keys: [utf8("m3")] })).toMatchObject({ error: "" });
    expect(await textOf("m3")).toBe(undefined);
  },
  async RawDeleteRange() {
    expect(await toStore(TikvService.RawDeleteRange, range("m1", "m2"))).toMatchObject({ error: "" });
    expect([await textOf("m1"), await textOf("m4")]).toEqual([undefined, "4"]);
  },
  async BatchCommands() {
    const { address, context } = await placeOf("m");
    const requests = [{ RawGet: { context, key: utf8("m4") } }, { Empty: { testId: 7n } }];
    // Answers may come in messages of their own: this asks for the first one's alone.
    const batch = { requests: requests.slice(0, 1), requestIds: [41] };
    const answer = await caller.ask(address, TikvService.BatchCommands, batch);
    expect(answer.requestIds).toEqual([41]);
    expect(fromUtf8(answer.responses[0]?.RawGet?.value ?? utf8(""))).toBe("4");
    expect(answer.healthFeedback).toMatchObject({ storeId: context.peer?.storeId });
    const empty = { requests: requests.slice(1), requestIds: [42] };
    expect(await caller.ask(address, TikvService.BatchCommands, empty)).toMatchObject({ requestIds: [42] });
  },
  async SplitRegion() {
    const before = await placeOf("m");
    const split = { splitKeys: [utf8("s")], isRawKv: true };
    const { regions, regionError } = await toStore(TikvService.SplitRegion, split);
    expect(regionError).toBe(null);
    expect(regions.map(({ startKey, endKey }) => [fromUtf8(startKey), fromUtf8(endKey)])).toEqual([
      ["", "s"],
      ["s", ""],
    ]);
    expect(regions[0]?.regionEpoch?.version).toBe((before.region.regionEpoch?.version ?? 0) + 1);
    // Until PD knows, a lookup may still lead to the old region.
    await cluster.waitUntil(async () => (await cluster.regions()).length === 2, 10_000, "PD saw no split");
  },
  async ReadIndex() {
    const { readIndex, regionError } = await toStore(TikvService.ReadIndex, {});
    expect(regionError).toBe(null);
    expect(readIndex).toBeGreaterThan(5);
  },
  async GetStoreSafeTS() {
    const { address } = await placeOf("m");
    // Without transactions there is no resolved timestamp: 0 says so, and clients then read from the leader.
    expect(await caller.ask(address, TikvService.GetStoreSafeTS, {})).toMatchObject({ safeTs: 0n });
  },
  async GetHealthFeedback() {
    const { leader } = await placeOf("m");
    const { healthFeedback } = await toStore(TikvService.GetHealthFeedback, {});
    expect(healthFeedback).toMatchObject({ storeId: leader.storeId, slowScore: 1 });
  },
  async Raft() {
    await raftStream(TikvService.Raft, {});
  },
  async BatchRaft() {
    await raftStream(TikvService.BatchRaft, { msgs: [] });
    // A write has an acknowledgement of the other store: there are but two.
    const before = await metricSum("tikv_server_raft_message_recv_total");
    expect(await toStore(TikvService.RawPut, pair("m9", "9"))).toMatchObject({ error: "" });
    expect(await metricSum("tikv_server_raft_message_recv_total")).toBeGreaterThan(before);
  },
  async Snapshot() {
    await raftStream(TikvService.Snapshot, {});
    // How the second replica came to be.
    expect(await metricSum("tikv_server_send_snapshot_duration_seconds_count")).toBeGreaterThan(0);
    expect(await metricSum("tikv_raftstore_snapshot_duration_seconds_count", 'type="apply"')).toBeGreaterThan(
      0,
    );
  },
};

const peerIds = (peers: readonly metapb.Peer[]): number[] => peers.map(({ id }) => id);
const endOf = (answer: pdpb.GetRegionResponse): string => fromUtf8(must(answer.region, "no region").endKey);

const pd: Checks<typeof PdService> = {
  async GetMembers() {
    const { members, leader, etcdLeader } = await toPd(PdService.GetMembers, {});
    expect(members.map(({ clientUrls }) => clientUrls)).toEqual([[`http://${cluster.pdAddress}`]]);
    expect([leader?.name, etcdLeader?.name]).toEqual(["pd", "pd"]);
  },
  async GetClusterInfo() {
    const { serviceModes } = await caller.ask(cluster.pdAddress, PdService.GetClusterInfo, {});
    expect(serviceModes.length).toBe(1);
  },
  async Tso() {
    const request = { header: { clusterId }, count: 3 };
    const first = await caller.ask(cluster.pdAddress, PdService.Tso, request);
    const second = await caller.ask(cluster.pdAddress, PdService.Tso, request);
    expect(first.count).toBe(3);
    const [a, b] = [must(first.timestamp, "none"), must(second.timestamp, "none")];
    const isLater = b.physical > a.physical || (b.physical === a.physical && b.logical >= a.logical + 3);
    expect(isLater).toBe(true);
  },
  async GetMinTS() {
    const { timestamp } = await toPd(PdService.GetMinTS, {});
    expect(Math.abs(Number(timestamp?.physical) - Date.now())).toBeLessThan(60_000);
  },
  async AllocID() {
    const [first, second] = [await toPd(PdService.AllocID, {}), await toPd(PdService.AllocID, { count: 5 })];
    expect(second.id).toBeGreaterThan(first.id);
    expect((await toPd(PdService.AllocID, {})).id).toBeGreaterThan(second.id);
  },
  async IsBootstrapped() {
    expect(await toPd(PdService.IsBootstrapped, {})).toMatchObject({ bootstrapped: true });
  },
  async Bootstrap() {
    const store = { id: 9_999, address: "127.0.0.1:1" };
    const region = { id: 9_998, peers: [{ id: 9_997, storeId: 9_999 }] };
    const { header } = await toPd(PdService.Bootstrap, { store, region });
    expect(header?.error?.message).toBe("cluster is already bootstrapped");
  },
  async IsSnapshotRecovering() {
    expect(await toPd(PdService.IsSnapshotRecovering, {})).toMatchObject({ marked: false });
  },
  async GetAllStores() {
    const { stores } = await toPd(PdService.GetAllStores, {});
    expect(stores.map(({ address }) => address).sort()).toEqual([...addresses.values()].sort());
  },
  async GetStore() {
    for (const [storeId, address] of addresses)
      expect((await toPd(PdService.GetStore, { storeId })).store).toMatchObject({ id: storeId, address });
    const { header } = await toPd(PdService.GetStore, { storeId: 4_000 });
    expect(header?.error?.message).toBe("invalid store ID 4000, not found");
  },
  async PutStore() {
    const { leader } = await placeOf("m");
    const { store } = await toPd(PdService.GetStore, { storeId: leader.storeId });
    expect(await toPd(PdService.PutStore, { store })).toMatchObject(fine);
    const twin = { id: 8_888, address: must(store, "no store").address, version: "9.0.0" };
    expect((await toPd(PdService.PutStore, { store: twin })).header?.error?.message).toMatch(
      /^duplicated store/,
    );
  },
  async StoreHeartbeat() {
    const { leader } = await placeOf("m");
    const stats = { storeId: leader.storeId, capacity: 1 << 30, available: 1 << 29, regionCount: 77 };
    expect(await toPd(PdService.StoreHeartbeat, { stats })).toMatchObject(fine);
    const { status } = await cluster.pdGet<{ status: object }>(`store/${leader.storeId}`);
    expect(status).toMatchObject({ capacity: "1GiB" });
  },
  async GetRegion() {
    const found = await toPd(PdService.GetRegion, { regionKey: utf8("m") });
    expect(endOf(found)).toBe("s");
    expect(peerIds(must(found.region, "none").peers)).toContain(found.leader?.id);
  },
  async GetPrevRegion() {
    expect(endOf(await toPd(PdService.GetPrevRegion, { regionKey: utf8("t") }))).toBe("s");
    expect((await toPd(PdService.GetPrevRegion, { regionKey: utf8("a") })).region).toBe(null);
  },
  async GetRegionByID() {
    const { region } = await placeOf("m");
    expect((await toPd(PdService.GetRegionByID, { regionId: region.id })).region).toEqual(region);
    expect((await toPd(PdService.GetRegionByID, { regionId: 999_999 })).region).toBe(null);
  },
  async QueryRegion() {
    const { region } = await placeOf("m");
    const query = { header: { clusterId }, keys: [utf8("m")], prevKeys: [utf8("t")], ids: [region.id] };
    const { keyIdMap, prevKeyIdMap, regionsById } = await caller.ask(
      cluster.pdAddress,
      PdService.QueryRegion,
      query,
    );
    expect([keyIdMap, prevKeyIdMap]).toEqual([[region.id], [region.id]]);
    expect(Object.keys(regionsById)).toEqual([`${region.id}`]);
  },
  async ScanRegions() {
    const { regions } = await toPd(PdService.ScanRegions, { limit: 10 });
    expect(regions.map(({ region }) => fromUtf8(must(region, "none").endKey))).toEqual(["s", ""]);
    expect((await toPd(PdService.ScanRegions, { startKey: utf8("t"), limit: 10 })).regions.length).toBe(1);
  },
  async BatchScanRegions() {
    const ranges = [range("a", "b"), range("s", "z")];
    expect((await toPd(PdService.BatchScanRegions, { ranges, limit: 10 })).regions.length).toBe(2);
    const crossed = await toPd(PdService.BatchScanRegions, { ranges: [...ranges].reverse(), limit: 10 });
    expect(crossed.header?.error?.message).toBe("invalid key range, ranges overlapped");
  },
  async AskSplit() {
    const { region } = await placeOf("m");
    const { newRegionId, newPeerIds } = await toPd(PdService.AskSplit, { region });
    expect(new Set([newRegionId, ...newPeerIds, ...peerIds(region.peers)]).size).toBe(5);
  },
  async AskBatchSplit() {
    const { region } = await placeOf("m");
    const { ids } = await toPd(PdService.AskBatchSplit, { region, splitCount: 3 });
    const all = ids.flatMap(({ newRegionId, newPeerIds }) => [newRegionId, ...newPeerIds]);
    expect([ids.length, new Set(all).size]).toEqual([3, 9]);
    const { id, startKey, endKey, peers } = region;
    const stale = { id, startKey, endKey, peers, regionEpoch: { confVer: 0, version: 0 } };
    const { header } = await toPd(PdService.AskBatchSplit, { region: stale, splitCount: 1 });
    expect(header?.error?.message).toMatch(/^invalid region epoch/);
  },
  async ReportSplit() {
    const [left, right] = [(await placeOf("m")).region, (await placeOf("t")).region];
    expect(await toPd(PdService.ReportSplit, { left, right })).toMatchObject(fine);
    const { header } = await toPd(PdService.ReportSplit, { left: right, right: left });
    expect(header?.error?.message).toBe("invalid split region");
  },
  async ReportBatchSplit() {
    const regions = [(await placeOf("m")).region, (await placeOf("t")).region];
    expect(await toPd(PdService.ReportBatchSplit, { regions })).toMatchObject(fine);
    const { header } = await toPd(PdService.ReportBatchSplit, { regions: regions.slice(1) });
    expect(header?.error?.message).toBe("invalid split region");
  },
  async SplitRegions() {
    const request = { splitKeys: [utf8("u"), utf8("w")], retryLimit: 3 };
    const { finishedPercentage, regionsId } = await toPd(PdService.SplitRegions, request);
    expect([finishedPercentage, regionsId.length]).toEqual([100, 2]);
    expect((await placeOf("v")).region).toMatchObject({ startKey: utf8("u"), endKey: utf8("w") });
  },
  async ScatterRegion() {
    const { region } = await placeOf("v");
    // With fewer stores than replicas no region is complete, and PD scatters complete ones only.
    const { failedRegionsId } = await toPd(PdService.ScatterRegion, { regionsId: [region.id] });
    expect(failedRegionsId).toEqual([region.id]);
    const unknown = await toPd(PdService.ScatterRegion, { regionsId: [999_999] });
    expect(unknown.header?.error?.message).toBe("region 999999 not found");
  },
  async SplitAndScatterRegions() {
    const { splitFinishedPercentage, regionsId } = await toPd(PdService.SplitAndScatterRegions, {
      splitKeys: [utf8("x")],
    });
    expect([splitFinishedPercentage, regionsId.length]).toEqual([100, 1]);
  },
  async GetOperator() {
    const { region, leader } = await placeOf("m");
    const target = must(
      region.peers.find(({ id }) => id !== leader.id),
      "one peer",
    );
    const order = ["operator", "add", "transfer-leader", `${region.id}`, `${target.storeId}`];
    expect(await cluster.ctl(...order)).toMatchObject({ code: 0 });
    const { desc, regionId } = await toPd(PdService.GetOperator, { regionId: region.id });
    expect([fromUtf8(desc), regionId]).toEqual(["admin-transfer-leader", region.id]);
    const led = async (): Promise<number> => (await placeOf("m")).leader.storeId;
    await cluster.waitUntil(async () => (await led()) === target.storeId, 10_000, "no transfer");
    const { header } = await toPd(PdService.GetOperator, { regionId: 999_999 });
    expect(header?.error?.message).toBe("Not Found");
  },
  async GetClusterConfig() {
    const { cluster: meta } = await toPd(PdService.GetClusterConfig, {});
    expect(meta).toMatchObject({ id: clusterId, maxPeerCount: 3 });
  },
  async PutClusterConfig() {
    const { cluster: meta } = await toPd(PdService.GetClusterConfig, {});
    expect(await toPd(PdService.PutClusterConfig, { cluster: meta })).toMatchObject(fine);
  },
  async GetGCSafePoint() {
    expect(await toPd(PdService.GetGCSafePoint, {})).toMatchObject({ ...fine, safePoint: 0n });
  },
  async UpdateServiceGCSafePoint() {
    const own = { serviceId: utf8("backup"), TTL: 60n, safePoint: 100n };
    expect(await toPd(PdService.UpdateServiceGCSafePoint, own)).toMatchObject({ ...fine, minSafePoint: 0n });
  },
  async AdvanceTxnSafePoint() {
    const answer = await toPd(PdService.AdvanceTxnSafePoint, { target: 150n });
    // The backup of above holds it up.
    expect(answer).toMatchObject({ oldTxnSafePoint: 0n, newTxnSafePoint: 100n });
    expect(answer.blockerDescription).toContain("backup");
  },
  async UpdateGCSafePoint() {
    expect(await toPd(PdService.UpdateGCSafePoint, { safePoint: 50n })).toMatchObject({ newSafePoint: 50n });
    expect(await toPd(PdService.GetGCSafePoint, {})).toMatchObject({ safePoint: 50n });
  },
  async AdvanceGCSafePoint() {
    const answer = await toPd(PdService.AdvanceGCSafePoint, { target: 60n });
    expect(answer).toMatchObject({ ...fine, oldGcSafePoint: 50n, newGcSafePoint: 60n });
  },
  async SetGCBarrier() {
    const barrier = { barrierId: "b", barrierTs: 200n, ttlSeconds: 60n };
    const { newBarrierInfo } = await toPd(PdService.SetGCBarrier, barrier);
    expect(newBarrierInfo).toMatchObject({ barrierId: "b", barrierTs: 200n });
  },
  async GetGCState() {
    const { gcState } = await toPd(PdService.GetGCState, {});
    expect(gcState).toMatchObject({ txnSafePoint: 100n, gcSafePoint: 60n });
    expect(gcState?.gcBarriers.map(({ barrierId }) => barrierId).sort()).toEqual(["b", "backup"]);
  },
  async DeleteGCBarrier() {
    const { deletedBarrierInfo } = await toPd(PdService.DeleteGCBarrier, { barrierId: "b" });
    expect(deletedBarrierInfo).toMatchObject({ barrierId: "b", barrierTs: 200n });
  },
  async SyncRegions() {
    const { members } = await toPd(PdService.GetMembers, {});
    const request = { header: { clusterId }, member: members[0] ?? null, startIndex: 0 };
    const { regions, regionLeaders } = await caller.ask(cluster.pdAddress, PdService.SyncRegions, request);
    expect(regions.length).toBe((await cluster.regions()).length);
    expect(regionLeaders.length).toBe(regions.length);
  },
  async ReportBuckets() {
    expect(await toPd(PdService.ReportBuckets, { buckets: { regionId: 1 } })).toHaveProperty("header");
  },
  async ReportMinResolvedTS() {
    expect(await toPd(PdService.ReportMinResolvedTS, { storeId: 1, minResolvedTs: 5n })).toMatchObject(fine);
  },
  async SetExternalTimestamp() {
    expect(await toPd(PdService.SetExternalTimestamp, { timestamp: 1234n })).toMatchObject(fine);
  },
  async GetExternalTimestamp() {
    expect(await toPd(PdService.GetExternalTimestamp, {})).toMatchObject({ timestamp: 1234n });
  },
  /** Last: PD now sends the store's orders over this stream. */
  async RegionHeartbeat() {
    const { region, leader } = await placeOf("t");
    // What the leader reports is seen by those who ask; a stranger's stream ends.
    const report = { region, leader, term: 99, approximateSize: 7, approximateKeys: 12_345 };
    const stranger = { ...report, header: { clusterId: clusterId + 1n } };
    const refused = await caller.refusal(cluster.pdAddress, PdService.RegionHeartbeat, stranger);
    expect(refused.message).toMatch(/mismatch cluster id/);
    void toPd(PdService.RegionHeartbeat, report).catch(() => {});
    const keys = async (): Promise<number | undefined> =>
      (await cluster.pdGet<{ approximate_keys?: number }>(`region/id/${region.id}`)).approximate_keys;
    await cluster.waitUntil(async () => (await keys()) === 12_345, 10_000, "the report is not seen");
  },
};

const keyspaces: Checks<typeof KeyspaceService> = {
  async LoadKeyspace() {
    const { keyspace } = await toPd(KeyspaceService.LoadKeyspace, { name: "DEFAULT" });
    expect(keyspace).toMatchObject({ id: 0, name: "DEFAULT" });
    const { header } = await toPd(KeyspaceService.LoadKeyspace, { name: "other" });
    expect(header?.error?.message).toContain("keyspace does not exist");
  },
  async LoadKeyspaceByID() {
    expect((await toPd(KeyspaceService.LoadKeyspaceByID, { id: 0 })).keyspace).toMatchObject({
      name: "DEFAULT",
    });
  },
  async GetAllKeyspaces() {
    expect((await toPd(KeyspaceService.GetAllKeyspaces, {})).keyspaces.length).toBe(1);
  },
};

const debug: Checks<typeof DebugService> = {
  async Get() {
    const { address } = await placeOf("m");
    const request = { db: debugpb.DB.KV, cf: "default", key: utf8("zm9") };
    expect(fromUtf8((await caller.ask(address, DebugService.Get, request)).value)).toMatch(/^9/);
  },
  async RaftLog() {
    const { address, region } = await placeOf("m");
    const { raftLocalState } = await caller.ask(address, DebugService.RegionInfo, { regionId: region.id });
    const logIndex = must(raftLocalState, "no state").lastIndex;
    const { entry } = await caller.ask(address, DebugService.RaftLog, { regionId: region.id, logIndex });
    expect(entry?.index).toBe(logIndex);
  },
  async RegionInfo() {
    const { address, region } = await placeOf("m");
    const info = await caller.ask(address, DebugService.RegionInfo, { regionId: region.id });
    expect(info.regionLocalState?.region?.endKey).toEqual(region.endKey);
    expect(info.raftApplyState?.appliedIndex).toBeGreaterThan(5);
  },
  async RegionSize() {
    const { address, region } = await placeOf("m");
    const request = { regionId: region.id, cfs: ["default", "lock"] };
    const { entries } = await caller.ask(address, DebugService.RegionSize, request);
    expect(entries.map(({ cf, size }) => [cf, size > 0])).toEqual([
      ["default", true],
      ["lock", false],
    ]);
  },
  async GetMetrics() {
    const { address, leader } = await placeOf("m");
    const { prometheus, rocksdbKv, storeId } = await caller.ask(address, DebugService.GetMetrics, {
      all: true,
    });
    expect(storeId).toBe(leader.storeId);
    expect(prometheus).toContain("tikv_raftstore_region_count");
    expect(rocksdbKv).toContain("Compaction Stats");
  },
  async GetStoreInfo() {
    const { address, leader } = await placeOf("m");
    const info = await caller.ask(address, DebugService.GetStoreInfo, {});
    expect(info).toMatchObject({ storeId: leader.storeId, apiVersion: 1 });
  },
  async GetClusterInfo() {
    const { address } = await placeOf("m");
    expect(await caller.ask(address, DebugService.GetClusterInfo, {})).toMatchObject({ clusterId });
  },
  async GetAllRegionsInStore() {
    const { address } = await placeOf("m");
    const { regions } = await caller.ask(address, DebugService.GetAllRegionsInStore, {});
    expect(regions.length).toBe((await cluster.regions()).length);
  },
};

/** One test a method: the checks in their order, then whatever else the service has. */
function everyMethod(service: object, checks: object, addressOf: () => string): void {
  const known = checks as Readonly<Record<string, () => Promise<void>>>;
  const methods = service as Readonly<Record<string, MethodDefinition<unknown, unknown>>>;
  test.each(Object.entries(known))("%s does what a client expects", async (_name, check) => {
    await expect(check()).resolves.toBeUndefined();
  });
  const others = Object.entries(methods).filter(([name]) => known[name] === undefined);
  test.each(others)("%s is refused with a sentence", async (_name, method) => {
    const status = await caller.refusal(addressOf(), method, {});
    expect(status.code).toBe(RPC_CODE.unimplemented);
    // Words, and which method is meant.
    expect(status.message.split(" ").length).toBeGreaterThanOrEqual(5);
    expect(status.message).toContain(method.path.slice(method.path.lastIndexOf("/") + 1));
  });
}

const firstStore = (): string => cluster.addressOf("store-1");
const pdAddress = (): string => cluster.pdAddress;

describe("a store serves every method of tikvpb.Tikv that raw clients and other stores call", () => {
  everyMethod(TikvService, tikv, firstStore);
});

describe("a store serves the calls of debugpb.Debug that read", () => {
  everyMethod(DebugService, debug, firstStore);
});

describe("PD serves every method of pdpb.PD that clients and stores call", () => {
  everyMethod(PdService, pd, pdAddress);
});

describe("PD serves one keyspace", () => {
  everyMethod(KeyspaceService, keyspaces, pdAddress);
});

test("store and PD tell their health, and an unknown service is not known", async () => {
  for (const address of [cluster.pdAddress, ...addresses.values()]) {
    expect(await caller.ask(address, HealthService.Check, {})).toMatchObject({ status: 1 });
  }
  expect(await caller.ask(cluster.pdAddress, HealthService.Watch, {})).toMatchObject({ status: 1 });
});

test("PD answers the calls of etcd that clients make", async () => {
  const { members } = await caller.ask(cluster.pdAddress, EtcdClusterService.MemberList, {});
  expect(members.map(({ clientURLs }) => clientURLs)).toEqual([[`http://${cluster.pdAddress}`]]);
  const key = utf8("/tidb/store/gcworker/saved_safe_point");
  // Old clients read the safe point there.
  const { kvs } = await caller.ask(cluster.pdAddress, EtcdKvService.Range, { key });
  expect(kvs.map(({ value }) => fromUtf8(value))).toEqual(["100"]);
  const own = { key: utf8("/tidb/own"), value: utf8("5") };
  await caller.ask(cluster.pdAddress, EtcdKvService.Put, own);
  const read = await caller.ask(cluster.pdAddress, EtcdKvService.Range, { key: own.key });
  expect(read.kvs.map(({ value }) => fromUtf8(value))).toEqual(["5"]);
});

test("another cluster's id is refused by PD and by stores", async () => {
  const header = { clusterId: clusterId + 1n };
  const regionOnly = [
    PdService.GetRegion,
    PdService.ScanRegions,
    PdService.GetStore,
    PdService.AskBatchSplit,
  ];
  for (const method of [...regionOnly, PdService.AllocID, PdService.PutStore, PdService.GetClusterConfig]) {
    const refused = await caller.refusal(
      cluster.pdAddress,
      method as MethodDefinition<unknown, unknown, Header, unknown>,
      { header },
    );
    expect(refused).toMatchObject({ code: RPC_CODE.failedPrecondition });
    expect(refused.message).toBe(`mismatch cluster id, need ${clusterId} but got ${clusterId + 1n}`);
  }
  const { address, context } = await placeOf("m");
  for (const method of [
    TikvService.RawGet,
    TikvService.RawPut,
    TikvService.SplitRegion,
    TikvService.ReadIndex,
  ]) {
    const refused = await caller.refusal(
      address,
      method as MethodDefinition<unknown, unknown, WithContext, unknown>,
      { context: { ...context, clusterId: clusterId + 1n } },
    );
    expect(refused).toMatchObject({ code: RPC_CODE.invalidArgument });
  }
});
