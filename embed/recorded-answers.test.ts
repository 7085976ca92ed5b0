/**
 * What a real PD and a real store answered (recorded from their own code: one PD, three stores, API V1 with time to
 * live, regions cut at 3000, 6000, then 4500, then 4200 and 4300), and that ours answer with the same fields. Ids,
 * addresses and times are those of our run; texts are compared where clients match them. One answer is better than the
 * recorded one on purpose: a read of a key outside its region is a region error, not an internal one.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compareBytes, fromUtf8, must, utf8 } from "../base/index.js";
import {
  type kvrpcpb,
  type metapb,
  type MethodDefinition,
  PdService,
  type pdpb,
  TikvService,
} from "../proto/index.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;
let clusterId = 0n;

const key = (number: number | string): string => `kv-${number}`;
const bytes = (number: number | string): Uint8Array => utf8(key(number));

/** What is set, as protobuf's text form shows it: no defaults, bytes as text. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return fromUtf8(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const fields: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(value)) {
    const isEmpty =
      field === null ||
      field === "" ||
      field === 0 ||
      field === 0n ||
      field === false ||
      ((field instanceof Uint8Array || Array.isArray(field)) && field.length === 0) ||
      (typeof field === "object" && name.endsWith("ById") && Object.keys(field as object).length === 0);
    if (!isEmpty) fields[name] = plain(field);
  }
  return fields;
}

/** The first message in answer to one, or the status as `{ status, message }`. */
function ask<Q, R, QI, RI>(
  address: string,
  method: MethodDefinition<Q, R, QI, RI>,
  request: QI,
): Promise<unknown> {
  return new Promise((resolve) => {
    const call = cluster.network.channel(address).open(
      method,
      {
        onMessage(message) {
          resolve(plain(message));
          call.cancel();
        },
        onEnd: ({ code, message }) => resolve({ status: code, message }),
      },
      { timeoutMs: 10_000 },
    );
    call.send(request);
    if (method.kind === "unary") call.halfClose();
  });
}

type Header = { readonly header?: pdpb.IRequestHeader | null | undefined };

function toPd<Q, R, QI extends Header, RI>(
  method: MethodDefinition<Q, R, QI, RI>,
  request: QI,
): Promise<unknown> {
  return ask(cluster.pdAddress, method, { header: { clusterId }, ...request });
}

/** A region as it is now, by one of its keys: in protobuf's text form, as all expectations are. */
interface Known {
  readonly id: number;
  readonly region: metapb.IRegion;
  readonly leader: metapb.IPeer;
  readonly followers: readonly metapb.IPeer[];
  readonly shown: object;
}

function known(at: string): Known {
  for (const { store } of cluster.stores) {
    for (const peer of store.peers.all()) {
      const { id, startKey, endKey, epoch, peers } = peer.region;
      const text = utf8(at);
      const isInside =
        compareBytes(startKey, text) <= 0 && (endKey.length === 0 || compareBytes(text, endKey) < 0);
      if (!isInside || !peer.isLeader) continue;
      const shownPeers = peers.map((each) => ({ id: each.id, storeId: each.storeId }));
      const region = { id, startKey, endKey, regionEpoch: { ...epoch }, peers: shownPeers };
      const leader = must(
        shownPeers.find((each) => each.id === peer.peerId),
        "no leader",
      );
      const followers = shownPeers.filter((each) => each !== leader);
      return { id, region, leader, followers, shown: plain(region) as object };
    }
  }
  throw new Error(`no region at ${at}`);
}

const addressOf = (storeId: number): string =>
  must(
    cluster.stores.find(({ store }) => store.id === storeId),
    "no store",
  ).address;

type WithContext = { readonly context?: kvrpcpb.IContext | null | undefined };

/** To the region with the key 4000: its leader and its epoch unless `context` says else. */
function toStore<Q, R, QI extends WithContext, RI>(
  method: MethodDefinition<Q, R, QI, RI>,
  request: QI,
  context: kvrpcpb.IContext = {},
): Promise<unknown> {
  const { id, region, leader } = known(key(4000));
  const own = { regionId: id, regionEpoch: region.regionEpoch, peer: leader, ...context };
  const storeId = context.peer?.storeId ?? 0;
  const isThere = cluster.stores.some(({ store }) => store.id === storeId);
  const address = addressOf(isThere ? storeId : (leader.storeId ?? 0));
  return ask(address, method, { ...request, context: own });
}

const ok = (): object => ({ clusterId });
const refused = (message: string | object, type = 1): object => ({
  header: { clusterId, error: { type, message } },
});

async function lets(condition: () => boolean): Promise<void> {
  const holds = (): boolean => {
    try {
      return condition();
    } catch {
      // A region without a leader for a moment.
      return false;
    }
  };
  await cluster.waitUntil(holds, 10_000, "the regions are not as they should be");
}

/** PD has heard what the leader of every region says. */
const pdIsCurrent = (...keys: string[]): Promise<void> =>
  lets(() =>
    keys.every((at) => {
      const found = cluster.pd.cluster.regions.find(utf8(at));
      const { id, region } = known(at);
      const isCurrent = found?.meta.id === id && found.meta.epoch.version === region.regionEpoch?.version;
      return isCurrent && found.pendingPeers.length === 0;
    }),
  );

beforeAll(async () => {
  cluster = await Cluster.start({
    stores: 3,
    pdConfig: { schedule: { "leader-schedule-limit": 0, "region-schedule-limit": 0 } },
  });
  clusterId = must(cluster.stores[0], "no store").pd.clusterId;
  const rows = Array.from({ length: 12 }, (_, i) => 3998 + i);
  for (const row of rows) await cluster.client.put(bytes(row), utf8(`v${row}`));
  await cluster.split(bytes(3000), bytes(6000));
  await pdIsCurrent(key(1000), key(4000), key(7000));
});
afterAll(() => cluster?.close());

describe("PD", () => {
  test("members, ids and the bootstrap", async () => {
    const member = {
      name: "pd",
      memberId: expect.any(BigInt),
      clientUrls: [`http://${cluster.pdAddress}`],
    };
    expect(await toPd(PdService.GetMembers, {})).toMatchObject({
      header: ok(),
      members: [member],
      leader: member,
      etcdLeader: member,
    });
    expect(await ask(cluster.pdAddress, PdService.GetClusterInfo, {})).toMatchObject({ serviceModes: [1] });
    expect(await toPd(PdService.IsBootstrapped, {})).toEqual({ header: ok(), bootstrapped: true });
    const stranger = { header: { clusterId: 1n } };
    expect(await ask(cluster.pdAddress, PdService.IsBootstrapped, stranger)).toEqual({
      status: 9,
      message: `mismatch cluster id, need ${clusterId} but got 1`,
    });
    const first = {
      store: { id: 1, address: "127.0.0.1:1" },
      region: { id: 2, peers: [{ id: 3, storeId: 1 }] },
    };
    expect(await toPd(PdService.Bootstrap, first)).toEqual(refused("cluster is already bootstrapped", 4));
    expect(await toPd(PdService.AllocID, {})).toMatchObject({ header: ok(), id: expect.any(Number) });
    expect(await toPd(PdService.GetClusterConfig, {})).toEqual({
      header: ok(),
      cluster: { id: clusterId, maxPeerCount: 3 },
    });
  });

  test("stores, known and unknown", async () => {
    const shown = cluster.stores.map(({ store, address }) => ({
      id: store.id,
      address,
      version: "8.5.0",
      startTimestamp: expect.any(Number),
      lastHeartbeat: expect.any(BigInt),
      nodeState: 1,
    }));
    shown.sort((a, b) => a.id - b.id);
    const [first] = shown;
    const { stores } = (await toPd(PdService.GetAllStores, { excludeTombstoneStores: true })) as {
      stores: { id: number }[];
    };
    expect(stores.toSorted((a, b) => a.id - b.id)).toEqual(
      shown.map((store) => expect.objectContaining(store)),
    );
    const { id, address } = must(first, "no store");
    expect(await toPd(PdService.GetStore, { storeId: id })).toMatchObject({ header: ok(), store: first });
    expect(await toPd(PdService.GetStore, { storeId: 9999 })).toEqual(
      refused("invalid store ID 9999, not found"),
    );
    expect(await toPd(PdService.GetStore, {})).toEqual(refused("invalid store ID 0, not found"));
    expect(await toPd(PdService.PutStore, { store: { id: 8888, address, version: "9.0.0" } })).toEqual(
      refused(expect.stringMatching(/^duplicated store address: .*, already registered by /)),
    );
    expect(await toPd(PdService.StoreHeartbeat, { stats: { storeId: 9999 } })).toEqual(
      refused("store 9999 not found"),
    );
  });

  test("regions by key, id and range", async () => {
    const [first, middle, last] = [known(key(1000)), known(key(4000)), known(key(7000))];
    const one = ({ shown, leader }: Known): object => ({ region: shown, leader });
    const found = (region: Known): object => ({ header: ok(), ...one(region) });
    const request = { regionKey: bytes(4000), needBuckets: true };
    expect(await toPd(PdService.GetRegion, request)).toEqual(found(middle));
    expect(await toPd(PdService.GetPrevRegion, { regionKey: bytes(4000) })).toEqual(found(first));
    expect(await toPd(PdService.GetPrevRegion, {})).toEqual({ header: ok() });
    expect(await toPd(PdService.GetRegionByID, { regionId: middle.id })).toEqual(found(middle));
    expect(await toPd(PdService.GetRegionByID, { regionId: 99_999 })).toEqual({ header: ok() });
    const many = (...regions: Known[]): object => ({
      header: ok(),
      regionMetas: regions.map(({ shown }) => shown),
      leaders: regions.map(({ leader }) => leader),
      regions: regions.map(one),
    });
    expect(await toPd(PdService.ScanRegions, { limit: 2 })).toEqual(many(first, middle));
    const within = { startKey: bytes(4000), endKey: bytes(4001), limit: 10 };
    expect(await toPd(PdService.ScanRegions, within)).toEqual(many(middle));
    const ranges = [
      { startKey: utf8("a"), endKey: utf8("b") },
      { startKey: bytes(4000), endKey: bytes(4001) },
    ];
    expect(await toPd(PdService.BatchScanRegions, { ranges, limit: 10 })).toEqual({
      header: ok(),
      regions: [one(first), one(middle)],
    });
    expect(await toPd(PdService.BatchScanRegions, { ranges: ranges.toReversed(), limit: 10 })).toEqual(
      refused("invalid key range, ranges overlapped"),
    );
    const query = { ids: [middle.id, 99_999], keys: [bytes(4000), utf8("zzzz")], prevKeys: [bytes(4000)] };
    expect(await toPd(PdService.QueryRegion, query)).toEqual({
      header: ok(),
      keyIdMap: [middle.id, last.id],
      prevKeyIdMap: [first.id],
      regionsById: { [first.id]: one(first), [middle.id]: one(middle), [last.id]: one(last), 99999: {} },
    });
  });

  test("timestamps", async () => {
    for (const count of [1, 10]) {
      expect(await toPd(PdService.Tso, { count })).toMatchObject({
        header: ok(),
        count,
        timestamp: { physical: expect.any(Number) },
      });
    }
    expect(await toPd(PdService.Tso, {})).toEqual({
      status: 2,
      message: "[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count should be positive",
    });
  });

  test("splits, operators, points of garbage collection", async () => {
    const { id, region } = known(key(4000));
    expect(await toPd(PdService.GetOperator, { regionId: 77 })).toEqual(refused("Not Found", 6));
    const fresh = { newRegionId: expect.any(Number), newPeerIds: Array(3).fill(expect.any(Number)) };
    expect(await toPd(PdService.AskBatchSplit, { region, splitCount: 2 })).toEqual({
      header: ok(),
      ids: [fresh, fresh],
    });
    const stale = { ...region, regionEpoch: { confVer: 1, version: 1 } };
    const { confVer, version } = region.regionEpoch ?? {};
    expect(await toPd(PdService.AskBatchSplit, { region: stale, splitCount: 1 })).toEqual(
      refused(
        "invalid region epoch, request: conf_ver:1 version:1 , " +
          `current: conf_ver:${confVer} version:${version} `,
      ),
    );
    // The right part keeps the id.
    expect(await toPd(PdService.SplitRegions, { splitKeys: [bytes(4500)], retryLimit: 3 })).toEqual({
      header: ok(),
      finishedPercentage: 100,
      regionsId: [id],
    });
    expect(await toPd(PdService.ScatterRegion, { group: "g", regionsId: [id] })).toEqual({
      header: ok(),
      finishedPercentage: 100,
    });
    expect(await toPd(PdService.GetGCSafePoint, {})).toEqual({ header: ok() });
    const service = { serviceId: utf8("svc"), TTL: 60n, safePoint: 100n };
    const { TTL, ...rest } = (await toPd(PdService.UpdateServiceGCSafePoint, service)) as { TTL: bigint };
    expect(rest).toEqual({ header: ok(), serviceId: "gc_worker" });
    expect(TTL > 9_000_000_000_000_000_000n).toBe(true);
    await pdIsCurrent(key(4000), key(4600));
    const part = known(key(4000));
    expect(part.id).not.toBe(id);
    expect(await toPd(PdService.GetRegion, { regionKey: bytes(4000) })).toEqual({
      header: ok(),
      region: part.shown,
      leader: part.leader,
    });
  });
});

describe("a store", () => {
  const get = (at: number | string, context: kvrpcpb.IContext = {}): Promise<unknown> =>
    toStore(TikvService.RawGet, { key: bytes(at) }, context);
  const put = (at: number, value: string, more: kvrpcpb.IRawPutRequest = {}): Promise<unknown> =>
    toStore(TikvService.RawPut, { key: bytes(at), value: utf8(value), ...more });
  const row = (at: number | string, value?: string): object => ({
    key: key(at),
    ...(value === undefined ? {} : { value }),
  });

  test("reads and writes single keys", async () => {
    expect(await get(4000)).toEqual({ value: "v4000" });
    expect(await get("4000x")).toEqual({ notFound: true });
    expect(await put(4000, "v", { ttl: 100 })).toEqual({});
    expect(await put(4001, "")).toEqual({});
    expect(await get(4001)).toEqual({});
    expect(await toStore(TikvService.RawGetKeyTTL, { key: bytes(4000) })).toEqual({
      ttl: expect.toSatisfy((ttl: number) => ttl === 100 || ttl === 99),
    });
    expect(await toStore(TikvService.RawGetKeyTTL, { key: bytes("4000x") })).toEqual({ notFound: true });
    const swap = (at: string | number, more: kvrpcpb.IRawCASRequest): Promise<unknown> =>
      toStore(TikvService.RawCompareAndSwap, { key: bytes(at), value: utf8("n"), ...more });
    expect(await swap(4000, { previousValue: utf8("zz") })).toEqual({ previousValue: "v" });
    expect(await swap(4000, { previousValue: utf8("v") })).toEqual({ succeed: true, previousValue: "v" });
    expect(await swap("4000y", { previousNotExist: true })).toEqual({
      succeed: true,
      previousNotExist: true,
    });
    expect(await toStore(TikvService.RawDelete, { key: bytes("4000y") })).toEqual({});
  });

  test("reads and writes many keys", async () => {
    const keys = [bytes(4000), bytes("4000x")];
    expect(await toStore(TikvService.RawBatchGet, { keys })).toEqual({ pairs: [row(4000, "n")] });
    const pairs = [
      { key: bytes(4000), value: utf8("a") },
      { key: bytes(4001), value: utf8("b") },
    ];
    expect(await toStore(TikvService.RawBatchPut, { pairs, ttls: [0] })).toEqual({});
    const scan = (request: kvrpcpb.IRawScanRequest): Promise<unknown> =>
      toStore(TikvService.RawScan, { startKey: bytes(4000), ...request });
    expect(await scan({ limit: 2 })).toEqual({ kvs: [row(4000, "a"), row(4001, "b")] });
    expect(await scan({ limit: 2, keyOnly: true })).toEqual({ kvs: [row(4000), row(4001)] });
    expect(await scan({ limit: 5, reverse: true, endKey: bytes(3998) })).toEqual({
      kvs: [row(3999, "v3999"), row(3998, "v3998")],
    });
    expect(await scan({})).toEqual({});
    const ranges = [{ startKey: bytes(4000), endKey: bytes(4003) }];
    expect(await toStore(TikvService.RawBatchScan, { ranges, eachLimit: 2 })).toEqual({
      kvs: [row(4000, "a"), row(4001, "b")],
    });
    expect(await toStore(TikvService.RawChecksum, { ranges })).toEqual({
      checksum: expect.any(BigInt),
      totalKvs: 3,
      totalBytes: 3 * 7 + 1 + 1 + 5,
    });
    const some = { startKey: bytes(4005), endKey: bytes(4007) };
    expect(await toStore(TikvService.RawDeleteRange, some)).toEqual({});
    const turned = { startKey: bytes(4007), endKey: bytes(4005) };
    expect(await toStore(TikvService.RawDeleteRange, turned)).toEqual({
      regionError: { message: expect.stringContaining("start") },
    });
  });

  test("tells region errors with what clients need to go on", async () => {
    const { id, region, shown, leader, followers } = known(key(4000));
    const { startKey, endKey } = shown as { startKey: string; endKey: string };
    const outside = (more: object): object => ({
      regionError: {
        message: expect.stringMatching(/is not in region key range/),
        keyNotInRegion: { regionId: id, startKey, endKey, ...more },
      },
    });
    expect(await toStore(TikvService.RawPut, { value: utf8("v") })).toEqual(outside({}));
    expect(await toStore(TikvService.RawDelete, { key: utf8("nope") })).toEqual(outside({ key: "nope" }));
    expect(await toStore(TikvService.RawGet, { key: utf8("zzz") })).toEqual(outside({ key: "zzz" }));
    const current = {
      message: expect.stringMatching(/^EpochNotMatch/),
      epochNotMatch: { currentRegions: expect.anything() },
    };
    for (const method of [TikvService.RawGet, TikvService.RawPut]) {
      const answer = await toStore(
        method as MethodDefinition<
          unknown,
          unknown,
          WithContext & { key: Uint8Array; value?: Uint8Array },
          unknown
        >,
        { key: bytes(4000), value: utf8("v") },
        { regionEpoch: { confVer: 1, version: 1 } },
      );
      expect(answer).toEqual({ regionError: current });
      const { regionError } = answer as { regionError: { epochNotMatch: { currentRegions: object[] } } };
      // Its own region first, then parts that were split off at its left.
      expect(regionError.epochNotMatch.currentRegions[0]).toEqual(shown);
      expect(regionError.epochNotMatch.currentRegions).toContainEqual(known(key(1000)).shown);
    }
    expect(await get(4000, { regionId: 99_999 })).toEqual({
      regionError: { message: "region 99999 is missing", regionNotFound: { regionId: 99_999 } },
    });
    const storeId = leader.storeId ?? 0;
    expect(await get(4000, { peer: { ...leader, storeId: 777 } })).toEqual({
      regionError: {
        message: `to store id 777, mine ${storeId}`,
        storeNotMatch: { requestStoreId: 777, actualStoreId: storeId },
      },
    });
    expect(await get(4000, { peer: { id: 777, storeId } })).toEqual({
      regionError: {
        message: `mismatch peer id 777 != ${leader.id}`,
        mismatchPeerId: { requestPeerId: 777, storePeerId: leader.id },
      },
    });
    const peer = must(cluster.stores.find(({ store }) => store.id === storeId)?.store.peers.get(id), "none");
    const old = await get(4000, { term: peer.term - 4 });
    expect(old).toEqual(
      peer.term > 4 ? { regionError: { message: "stale command", staleCommand: {} } } : { value: "a" },
    );
    expect(await ask(addressOf(storeId), TikvService.RawGet, { key: bytes(4000) })).toEqual({
      regionError: { message: `to store id 0, mine ${storeId}`, storeNotMatch: { actualStoreId: storeId } },
    });
    expect(await get(4000, { apiVersion: 2 })).toEqual({
      error:
        "Api version in request does not match with TiKV storage, cmd: raw_get, storage: V1ttl, request: V2",
    });
    expect(await get(4000, { clusterId: 5n })).toEqual({
      status: 3,
      message: "the cluster id of the request does not match the TiKV cluster",
    });
    const follower = must(followers[0], "no follower");
    expect(await get(4000, { peer: follower })).toEqual({
      regionError: {
        message: expect.stringMatching(new RegExp(`^peer is not leader for region ${id}, leader may`)),
        notLeader: { regionId: id, leader },
      },
    });
    expect(await get(4000, { peer: follower, replicaRead: true })).toEqual({ value: "a" });
    expect(region.peers).toHaveLength(3);
  });

  test("splits, and tells its health", async () => {
    const before = known(key(4000));
    const splitKeys = [bytes(4200), bytes(4300)];
    const { regions, ...rest } = (await toStore(TikvService.SplitRegion, { splitKeys, isRawKv: true })) as {
      regions: { id: number }[];
    };
    // Three parts: left and right are only told of two.
    expect(rest).toEqual({});
    await lets(() => known(key(4000)).id === regions[0]?.id && known(key(4250)).id === regions[1]?.id);
    expect(regions).toEqual([known(key(4000)).shown, known(key(4250)).shown, known(key(4400)).shown]);
    expect(regions[2]?.id).toBe(before.id);
    const stale = { splitKeys: [bytes(4350)], isRawKv: true };
    const { regionEpoch } = before.region;
    const late = { regionId: before.id, regionEpoch, peer: before.leader };
    expect(await toStore(TikvService.SplitRegion, stale, late)).toMatchObject({
      regionError: {
        message: expect.stringMatching(/^EpochNotMatch/),
        epochNotMatch: { currentRegions: expect.arrayContaining([known(key(4400)).shown]) },
      },
    });
    const { leader } = known(key(4000));
    const health = { storeId: leader.storeId, feedbackSeqNo: expect.any(Number), slowScore: 1 };
    expect(await toStore(TikvService.GetHealthFeedback, {})).toEqual({ healthFeedback: health });
    const { id, region } = known(key(4000));
    const context = { regionId: id, regionEpoch: region.regionEpoch, peer: leader };
    const address = addressOf(leader.storeId ?? 0);
    // A command that a store does not know gets an empty answer.
    const unknown = { requests: [{}], requestIds: [9] };
    expect(await ask(address, TikvService.BatchCommands, unknown)).toMatchObject({
      responses: [{}],
      requestIds: [9],
    });
    const batch = { requests: [{ RawGet: { context, key: bytes(4000) } }], requestIds: [7] };
    expect(await ask(address, TikvService.BatchCommands, batch)).toMatchObject({
      responses: [{ RawGet: { value: "a" } }],
      requestIds: [7],
    });
  });
});
