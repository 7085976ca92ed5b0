/** The map of regions and the states of stores, as heartbeats and calls change them. (PD: core, cluster/*_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { must, SeededRandom, randomBelow, utf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { regionChange, roundFlow } from "./region-change.js";
import type { RegionInfo } from "./region-info.js";
import { RegionTree } from "./region-tree.js";
import { Regions } from "./regions.js";
import { Harness, storeMessage } from "./test/harness.js";
import { MockCluster, type MockRegion, times } from "./test/mock-cluster.js";
import { World } from "./test/world.js";

const TEXT = new TextDecoder();
const MIB = 2 ** 20;

const ids = (regions: readonly RegionInfo[]): number[] => regions.map(({ meta }) => meta.id);
const ranges = (regions: Iterable<RegionInfo>): string =>
  [...regions]
    .map(({ meta }) => `${meta.id}[${TEXT.decode(meta.startKey)},${TEXT.decode(meta.endKey)})`)
    .join(" ");

const maker = new MockCluster();
const made = (id: number, start: string, end: string, more: MockRegion = {}): RegionInfo =>
  maker.region(id, [1, 2, 3], { start, end, ...more });

describe("the tree of regions", () => {
  test("finds by key, before a key and in order, and leaves holes [TestRegionTree]", () => {
    const tree = new RegionTree();
    expect([tree.find(utf8("a")), tree.before(utf8("a")), tree.size]).toEqual([undefined, undefined, 0]);
    const [a, b, d] = [made(1, "", "b"), made(2, "b", "c"), made(4, "d", "")];
    for (const region of [b, d, a]) tree.put(region);
    expect([tree.find(utf8("")), tree.find(utf8("b")), tree.find(utf8("bz"))]).toEqual([a, b, b]);
    expect([tree.find(utf8("c")), tree.find(utf8("d")), tree.find(utf8("zz"))]).toEqual([undefined, d, d]);
    expect([tree.before(utf8("")), tree.before(utf8("b")), tree.before(utf8("d"))]).toEqual([
      undefined,
      a,
      b,
    ]);
    expect(ids(tree.overlaps(utf8("a"), utf8("c")))).toEqual([1, 2]);
    expect(ids(tree.overlaps(utf8("c"), utf8("d")))).toEqual([]);
    tree.remove(utf8("b"), 99);
    expect(tree.size).toBe(3);
    tree.remove(utf8("b"), 2);
    expect([tree.size, tree.find(utf8("b"))]).toEqual([2, undefined]);
  });

  test("stays what a plain list says through thousands of splits and merges [TestRegionTreeSplitAndMerge]", () => {
    const random = new SeededRandom(7);
    const regions = new Regions();
    const model = [made(1, "", "")];
    regions.put(model[0] as RegionInfo);
    let nextId = 2;
    for (let i = 0; i < 2000; i++) {
      const at = randomBelow(random, model.length);
      const region = model[at] as RegionInfo;
      const { startKey, endKey, epoch } = region.meta;
      const version = epoch.version + 1;
      if (randomBelow(random, 2) === 0 || model.length < 3) {
        // A key between both ends.
        const key = TEXT.decode(startKey) + "0123456789"[randomBelow(random, 10)] + "5";
        if (endKey.length > 0 && TEXT.decode(endKey) <= key) continue;
        const left = made(nextId++, TEXT.decode(startKey), key, { version });
        const right = made(region.meta.id, key, TEXT.decode(endKey), { version });
        // In any order: the wide record gives way to whichever comes first.
        const both = randomBelow(random, 2) === 0 ? [left, right] : [right, left];
        for (const part of both) expect(regions.put(part).kind).toBe("accepted");
        model.splice(at, 1, left, right);
      } else if (at + 1 < model.length) {
        const next = model[at + 1] as RegionInfo;
        const merged = made(next.meta.id, TEXT.decode(startKey), TEXT.decode(next.meta.endKey), {
          version: Math.max(version, next.meta.epoch.version + 1),
        });
        expect(regions.put(merged).kind).toBe("accepted");
        model.splice(at, 2, merged);
      }
    }
    expect(ranges(regions.scan(utf8(""), utf8(""), 0))).toBe(ranges(model));
    expect(regions.count).toBe(model.length);
    expect(regions.holes()).toEqual([]);
  });

  test("keeps sums of size and keys as records come and go [TestRegionTreeStat]", () => {
    const regions = new Regions();
    const put = (...list: RegionInfo[]): number => {
      for (const region of list) regions.put(region);
      return regions.sizeMib;
    };
    expect(put(made(1, "a", "b", { sizeMib: 1 }), made(2, "b", "c", { sizeMib: 2 }))).toBe(3);
    expect(put(made(1, "a", "b", { sizeMib: 5 }))).toBe(7);
    expect(put(made(1, "a", "c", { sizeMib: 2, version: 2 }))).toBe(2);
    expect([regions.onStore(1).leaderSizeMib, regions.onStore(3).regionSizeMib]).toEqual([2, 2]);
    regions.remove(1);
    expect([regions.sizeMib, regions.onStore(1).regionKeys, regions.averageSizeMib]).toEqual([0, 0, 1]);
  });

  test("is scanned by range [TestScanRegion]", () => {
    const regions = new Regions();
    for (const region of [made(1, "", "b"), made(2, "b", "d"), made(3, "e", "f"), made(4, "f", "")])
      regions.put(region);
    const scan = (start: string, end: string, limit = 0): number[] =>
      ids(regions.scan(utf8(start), utf8(end), limit));
    expect(scan("", "")).toEqual([1, 2, 3, 4]);
    expect(scan("c", "f")).toEqual([2, 3]);
    // From a hole: what comes next.
    expect(scan("d", "e")).toEqual([]);
    expect(scan("d", "")).toEqual([3, 4]);
    expect(scan("c", "ea")).toEqual([2, 3]);
    expect(regions.holes().map(({ start, end }) => `${TEXT.decode(start)}-${TEXT.decode(end)}`)).toEqual([
      "d-e",
    ]);
  });

  test("is scanned up to a limit [TestScanRegionLimit]", () => {
    const regions = new Regions();
    const key = (i: number): string => (i === 0 || i === 1000 ? "" : String(i).padStart(4, "0"));
    for (let i = 0; i < 1000; i++) regions.put(made(i + 1, key(i), key(i + 1)));
    const scan = (start: string, limit: number): number[] => ids(regions.scan(utf8(start), utf8(""), limit));
    expect(scan("", 3)).toEqual([1, 2, 3]);
    expect(scan("0500", 2)).toEqual([501, 502]);
    expect([scan("", 0).length, scan("", -1).length, scan("", 5000).length]).toEqual([1000, 1000, 1000]);
  });
});

describe("records of regions", () => {
  test("that overlap and are older disappear, with all their traces [TestSetRegion]", () => {
    const mock = new MockCluster();
    const gone: number[] = [];
    mock.cluster.onRegionRemoved = (id) => void gone.push(id);
    mock.addStores(1, 2, 3, 4);
    mock.put(1, [1, 2, 3], { start: "a", end: "c", version: 2 });
    mock.put(2, [1, 2, 3], { start: "c", end: "e", version: 2 });
    mock.put(3, [2, 3, 4], { start: "e", end: "g", version: 2, pending: [4] });
    mock.put(4, [4, 2, 3], { start: "b", end: "f", version: 3 });
    expect([...gone].sort((left, right) => left - right)).toEqual([1, 2, 3]);
    const { regions } = mock.cluster;
    expect([regions.count, ranges(regions.all())]).toEqual([1, "4[b,f)"]);
    expect([1, 2, 4].map((id) => regions.onStore(id).regionCount)).toEqual([0, 1, 1]);
    expect(regions.onStore(4).pending.size).toBe(0);
    // Older than what it overlaps: refused.
    const stale = mock.cluster.putRegion(mock.region(5, [1, 2, 3], { start: "a", end: "z", version: 2 }));
    expect(stale).toMatchObject({
      kind: "stale",
      reason: expect.stringMatching(/^region is stale: region id:5/),
    });
    expect(regions.byId(5)).toBeUndefined();
  });

  test("are refused when version, conf_ver or term go back [TestCheckStaleRegion]", () => {
    const base = made(1, "", "", { version: 5, confVer: 5, term: 7 });
    const after = (more: MockRegion): string => {
      const regions = new Regions();
      regions.put(base);
      return regions.put(made(1, "", "", { version: 5, confVer: 5, term: 7, ...more })).kind;
    };
    expect([after({}), after({ version: 6 }), after({ confVer: 6 }), after({ term: 8 })]).toEqual(
      times(4, "accepted"),
    );
    expect([after({ version: 4 }), after({ confVer: 4 }), after({ version: 6, confVer: 4 })]).toEqual(
      times(3, "stale"),
    );
    expect([after({ leader: 2 }), after({ leader: 2, term: 6 })]).toEqual(["accepted", "stale"]);
  });

  test("of an isolated old leader are refused by their term [TestStaleTermHeartbeat]", () => {
    const regions = new Regions();
    const put = (leader: number, term: number): string => regions.put(made(1, "", "", { leader, term })).kind;
    expect([put(1, 5), put(2, 6), put(1, 5), put(2, 6)]).toEqual([
      "accepted",
      "accepted",
      "stale",
      "accepted",
    ]);
    expect(regions.byId(1)?.leader?.storeId).toBe(2);
    // A store that sends no term is believed, but does not open the door to older ones.
    expect([put(3, 0), put(1, 5)]).toEqual(["accepted", "stale"]);
  });

  test("say what must be stored, taken over and told to followers [TestNeedSync]", () => {
    const base = made(1, "a", "z", { version: 3, confVer: 3 });
    const change = (more: MockRegion | ((region: RegionInfo) => RegionInfo)): string => {
      const region =
        typeof more === "function" ? more(base) : made(1, "a", "z", { version: 3, confVer: 3, ...more });
      const { save, update, sync } = regionChange(base, region);
      return [save ? "save" : "", update ? "update" : "", sync ? "sync" : ""].filter(Boolean).join("+");
    };
    expect(change({})).toBe("");
    expect(regionChange(undefined, base)).toEqual({ save: true, update: true, sync: true });
    expect([change({ version: 4 }), change({ confVer: 4 })]).toEqual(times(2, "save+update+sync"));
    expect([change({ leader: 2 }), change({ down: [2] }), change({ pending: [2] })]).toEqual(
      times(3, "update+sync"),
    );
    expect([change({ sizeMib: 11 }), change({ keys: 1 })]).toEqual(times(2, "update"));
    expect(
      change((region) => ({ ...region, meta: { ...region.meta, peers: region.meta.peers.slice(1) } })),
    ).toBe("save+update+sync");
    expect(change({ flow: { writtenBytes: 1e6 } })).toBe("update+sync");
    expect(change((region) => ({ ...region, fromStorage: true }))).toBe("update+sync");
  });

  test("are not touched by flow that differs in its last digits only [TestRegionRoundingFlow]", () => {
    expect([roundFlow(1499, 1000), roundFlow(1500, 1000), roundFlow(0, 1000), roundFlow(1234, 1)]).toEqual([
      1000, 2000, 0, 1234,
    ]);
    const flow = (writtenBytes: number): RegionInfo => made(1, "", "", { flow: { writtenBytes } });
    const update = (from: number, to: number, digits: number): boolean =>
      regionChange(flow(from), flow(to), digits).update;
    expect([
      update(1000, 1400, 3),
      update(1000, 1600, 3),
      update(1000, 1001, 0),
      update(1e6, 2e6, 7),
    ]).toEqual([false, true, true, false]);
  });
});

let world: World;

/** Whether each heartbeat from now on had to be stored. */
function savesOf({ harness }: World): boolean[] {
  const saves: boolean[] = [];
  const { cluster } = harness.pd;
  const put = cluster.putRegion.bind(cluster);
  cluster.putRegion = (record) => {
    const result = put(record);
    if (result.kind === "accepted") saves.push(result.save);
    return result;
  };
  return saves;
}

describe("heartbeats of regions", () => {
  beforeEach(() => {
    world = new World({ stores: 4 });
  });

  const region = (): RegionInfo => world.record(2);

  test("make, change and refuse records, and store only what must be [TestRegionHeartbeat]", () => {
    const [fake] = world.addRegions([[1, 2, 3]]);
    const one = must(fake, "");
    expect(region()).toMatchObject({ sizeMib: 10, term: 6, fromStorage: false });
    const saved = savesOf(world);
    // Leader, pending and size change nothing on the disk.
    one.leaderStore = 2;
    one.pending = [must(one.peers[2], "").id];
    one.sizeMib = 20;
    world.report(one);
    expect(region()).toMatchObject({ sizeMib: 20, pendingPeers: [{ storeId: 3 }], leader: { storeId: 2 } });
    one.version += 1;
    one.confVer += 1;
    world.report(one);
    expect(saved).toEqual([false, true]);
    one.version -= 1;
    expect(world.report(one).meta.epoch.version).toBe(11);
  });

  test("with other flow change the record but not the disk [TestRegionFlowChanged]", () => {
    world.addRegions([[1, 2, 3]]);
    const { cluster } = world.harness.pd;
    const changed = { ...region(), flow: { ...region().flow, writtenBytes: 5 * MIB, readBytes: MIB } };
    expect(cluster.putRegion(changed)).toMatchObject({ kind: "accepted", save: false, sync: true });
    expect(region().flow.writtenBytes).toBe(5 * MIB);
  });

  test("with another size change the figures of stores [TestRegionSizeChanged]", () => {
    const [fake] = world.addRegions([[1, 2, 3]]);
    const one = must(fake, "");
    const on = (id: number) => world.harness.pd.cluster.regions.onStore(id);
    expect([on(1).regionSizeMib, on(1).leaderSizeMib, on(2).regionSizeMib, on(2).leaderSizeMib]).toEqual([
      10, 10, 10, 0,
    ]);
    one.sizeMib = 144;
    world.report(one);
    expect([on(1).regionSizeMib, on(3).regionSizeMib]).toEqual([144, 144]);
  });

  test("without a size take over that of before, and 1 is the least [TestInherit]", () => {
    const [fake] = world.addRegions([[1, 2, 3]]);
    const one = must(fake, "");
    one.sizeMib = 0;
    expect(world.report(one)).toMatchObject({ sizeMib: 10, keys: 10_000 });
    one.sizeMib = 0.5;
    expect(world.report(one).sizeMib).toBe(1);
    world = new World({ stores: 3 });
    const [fresh] = world.addRegions([[1, 2, 3]], 0);
    expect(world.report(must(fresh, "")).sizeMib).toBe(1);
  });

  test("follow peers that are pending [TestUpdateStorePendingPeerCount]", () => {
    const [fake] = world.addRegions([[1, 2, 3]]);
    const one = must(fake, "");
    const pending = (): number[] =>
      [1, 2, 3].map((id) => world.harness.pd.cluster.regions.onStore(id).pending.size);
    one.pending = [must(one.peers[1], "").id, must(one.peers[2], "").id];
    world.report(one);
    expect(pending()).toEqual([0, 1, 1]);
    one.pending = [must(one.peers[2], "").id];
    world.report(one);
    expect(pending()).toEqual([0, 0, 1]);
    one.pending = [];
    world.report(one);
    expect(pending()).toEqual([0, 0, 0]);
  });

  test("of the parts of a split come in any order [TestHeartbeatSplit]", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const regions = new Regions();
      regions.put(made(1, "", "", { version: 1 }));
      const parts = [made(2, "", "m", { version: 2 }), made(1, "m", "", { version: 2 })];
      for (const i of order) regions.put(parts[i] as RegionInfo);
      expect(ranges(regions.scan(utf8(""), utf8(""), 0))).toBe("2[,m) 1[m,)");
      // The wide record of before is stale now, whoever sends it.
      expect(regions.put(made(1, "", "", { version: 1 })).kind).toBe("stale");
    }
  });

  test("of overlapping regions leave no overlap, whatever their order [TestConcurrentRegionHeartbeat]", () => {
    const list = [
      made(1, "", "", { version: 1 }),
      made(1, "", "k", { version: 3 }),
      made(2, "k", "", { version: 3 }),
      made(1, "", "f", { version: 4 }),
      made(3, "f", "k", { version: 4 }),
      made(4, "a", "z", { version: 2 }),
    ];
    const random = new SeededRandom(3);
    for (let round = 0; round < 50; round++) {
      const regions = new Regions();
      const shuffled = [...list].sort(() => randomBelow(random, 3) - 1);
      for (const each of [...shuffled, ...shuffled]) regions.put(each);
      expect(ranges(regions.scan(utf8(""), utf8(""), 0))).toBe("1[,f) 3[f,k) 2[k,)");
    }
  });

  test("of many splits and merges end as the newest say [TestRegionSplitAndMerge]", () => {
    const regions = new Regions();
    for (let i = 0; i < 7; i++) {
      const width = 2 ** i;
      for (let k = 0; k < width; k++) {
        const at = (n: number): string => (n === 0 || n === width ? "" : (n / width).toFixed(8));
        regions.put(made(k + 1, at(k), at(k + 1), { version: i + 1 }));
      }
      expect(regions.count).toBe(width);
    }
    for (let i = 6; i >= 0; i--) {
      const width = 2 ** i;
      const at = (n: number): string => (n === 0 || n === width ? "" : (n / width).toFixed(8));
      for (let k = 0; k < width; k++) regions.put(made(k + 1, at(k), at(k + 1), { version: 20 - i }));
      expect(regions.count).toBe(width);
    }
  });

  test("on several streams at once are taken one after the other [TestConcurrentHandleRegion]", () => {
    const fakes = world.addRegions(times(20, [1, 2, 3]));
    for (let round = 0; round < 3; round++) {
      for (const fake of fakes) {
        fake.leaderStore = ((fake.id + round) % 3) + 1;
        world.report(fake);
      }
    }
    const { regions } = world.harness.pd.cluster;
    expect([1, 2, 3].map((id) => regions.onStore(id).leaders.size).reduce((sum, count) => sum + count)).toBe(
      20,
    );
    const stranger = world.harness.open(PdService.RegionHeartbeat);
    stranger.send({ header: world.harness.header, leader: { id: 1, storeId: 99 }, region: { id: 2 } });
    expect(stranger.status?.message).toBe("invalid store ID 99, not found");
  });

  test("after a restart are measured by the stored epochs [TestStaleRegion, TestLoadClusterInfo]", () => {
    const [fake] = world.addRegions([
      [1, 2, 3],
      [2, 3, 4],
    ]);
    const one = must(fake, "");
    one.version = 20;
    world.report(one);
    world.harness.env.advance(5000);
    expect(world.harness.crashAndRestart()).toBe(true);
    const { cluster } = world.harness.pd;
    expect([cluster.regions.count, cluster.stores.size]).toEqual([2, 4]);
    expect(region()).toMatchObject({
      fromStorage: true,
      leader: undefined,
      meta: { epoch: { version: 20 } },
    });
    expect(
      cluster.putRegion({
        ...region(),
        fromStorage: false,
        meta: { ...region().meta, epoch: { version: 19, confVer: 10 } },
      }),
    ).toMatchObject({
      kind: "stale",
    });
  });

  test("open the gate of scheduling once enough have come [TestShouldRun]", () => {
    world.addRegions(times(10, [1, 2, 3]));
    world.harness.env.advance(5000);
    const fakes = [...world.regions.values()];
    expect(world.harness.crashAndRestart()).toBe(true);
    const { cluster } = world.harness.pd;
    for (const id of [1, 2, 3, 4]) world.harness.heartbeatStore(id, { regionCount: id === 4 ? 0 : 10 });
    const beat = (count: number): boolean => {
      for (const fake of fakes.slice(0, count)) {
        const record = must(cluster.regions.byId(fake.id), "");
        cluster.putRegion({ ...record, fromStorage: false, leader: record.meta.peers[0], term: 7 });
      }
      return cluster.isPrepared;
    };
    expect([beat(5), beat(8), beat(9)]).toEqual([false, false, true]);
  });

  test("that never come hold it shut for five minutes at most [TestShouldRunWithNonLeaderRegions]", () => {
    world.addRegions(times(10, [1, 2, 3]));
    world.harness.env.advance(5000);
    expect(world.harness.crashAndRestart()).toBe(true);
    world.harness.env.advance(290_000);
    expect(world.harness.pd.cluster.isPrepared).toBe(false);
    world.harness.env.advance(20_000);
    expect(world.harness.pd.cluster.isPrepared).toBe(true);
  });
});

describe("stores", () => {
  beforeEach(() => {
    world = new World({ stores: 4 });
  });

  const http = (method: string, path: string, body: unknown = "") =>
    world.harness.http(method, `/pd/api/v1${path}`, body);
  const store = (id: number) => must(world.view.store(id), `no store ${id}`);

  test("send figures, are refused when unknown or buried, and reach the disk seldom [TestStoreHeartbeat]", () => {
    const { harness } = world;
    const answer = (id: number) => harness.heartbeatStore(id, { usedSize: 7 });
    expect(answer(1).header?.error).toBeNull();
    expect(store(1).stats?.usedSize).toBe(7);
    expect(answer(99).header?.error?.message).toMatch(/store 99 not found/);
    store(4).setNodeState("removed");
    expect(answer(4).header?.error?.message).toBe("store is tombstone");
    const { cluster } = harness.pd;
    let saves = 0;
    const save = cluster.saveStore.bind(cluster);
    cluster.saveStore = (meta, callback) => {
      saves += 1;
      save(meta, callback);
    };
    for (let i = 0; i < 20; i++) {
      harness.env.advance(10_000);
      answer(1);
    }
    expect(saves).toBe(0);
    harness.env.advance(200_000);
    answer(1);
    expect(saves).toBe(1);
  });

  test("that are silent for long are left out of what is balanced [TestFilterUnhealthyStore]", () => {
    expect(world.view.leaderTargetProblem(store(1))).toBeUndefined();
    store(1).lastHeartbeatMs -= 25_000;
    expect(world.view.leaderTargetProblem(store(1))).toBe("StoreDisconnected");
    store(1).lastHeartbeatMs -= 31 * 60_000;
    expect([store(1).isUnhealthy(world.view.nowMs()), world.view.leaderTargetProblem(store(1))]).toEqual([
      true,
      "StoreDown",
    ]);
    store(2).setNodeState("removed");
    expect(world.view.stores().map(({ id }) => id)).toEqual([1, 3, 4]);
  });

  test("go from up to leaving and back by rule [TestSetOfflineStore, TestUpStore]", () => {
    const remove = (id: number, force = false) =>
      http("DELETE", `/store/${id}${force ? "?force=true" : ""}`).status;
    const up = (id: number) => http("POST", `/store/${id}/state?state=Up`).status;
    expect([remove(99), up(99)]).toEqual([404, 404]);
    expect([remove(1), store(1).nodeState, remove(1)]).toEqual([200, "removing", 200]);
    expect([up(1), store(1).nodeState, up(1)]).toEqual([200, "serving", 200]);
    expect([remove(1, true), store(1).meta.physicallyDestroyed]).toEqual([200, true]);
    // What is destroyed does not come back, nor what is buried.
    expect([up(1), remove(1)]).toEqual([400, 400]);
    store(2).setNodeState("removed");
    expect([up(2), remove(2)]).toEqual([410, 410]);
  });

  test("may not leave when too few would be left [TestSetOfflineWithReplica]", () => {
    expect(http("DELETE", "/store/1").status).toBe(200);
    expect(http("DELETE", "/store/2")).toMatchObject({
      status: 400,
      json: "can not remove store 2 since the number of up stores would be 2 while need 3",
    });
    expect(http("DELETE", "/store/2?force=true").status).toBe(200);
  });

  test("may not leave when nobody could lead in their place [TestSetOfflineStoreWithEvictLeader]", () => {
    http("POST", "/config", { "max-replicas": 1 });
    for (const id of [1, 2, 3]) http("POST", "/schedulers", { name: "evict-leader-scheduler", store_id: id });
    expect(http("DELETE", "/store/4")).toMatchObject({
      status: 400,
      json: expect.stringMatching(/no extra up store to store the leader/),
    });
    http("DELETE", "/schedulers/evict-leader-scheduler-1");
    expect(http("DELETE", "/store/4").status).toBe(200);
  });

  test("may take an address only when its owner is gone for good [TestReuseAddress]", () => {
    const join = (id: number): string => {
      const answer = world.harness.putStore({ ...storeMessage(1), id });
      return answer.header?.error?.message ?? "ok";
    };
    expect(join(1)).toBe("ok");
    expect(join(50)).toMatch(/^duplicated store address: id:50/);
    store(1).setNodeState("removing");
    expect(join(50)).toMatch(/duplicated store address/);
    store(1).meta.physicallyDestroyed = true;
    expect(join(50)).toBe("ok");
    store(2).setNodeState("removed");
    expect(world.harness.putStore({ ...storeMessage(2), id: 51 }).header?.error).toBeNull();
  });

  test("count who pauses their leaders [TestStores]", () => {
    const { schedulers } = world.scheduling;
    schedulers.add("evict-leader", 1);
    world.scheduling.drain.start(1);
    expect(store(1).leaderInPauses).toBe(1);
    schedulers.add("grant-leader", 2);
    expect([store(2).leaderOutPauses, world.view.leaderSourceProblem(store(2))]).toEqual([
      1,
      "StoreRejectLeader",
    ]);
    schedulers.remove("evict-leader-scheduler");
    schedulers.remove("grant-leader-scheduler");
    expect([store(1).leaderInPauses, store(2).leaderOutPauses]).toEqual([0, 0]);
  });

  test("are told when another is slow, so that sleeping regions wake [TestAwakenStore]", () => {
    const beat = (id: number, slowScore = 1) => world.harness.heartbeatStore(id, { slowScore });
    expect(beat(1).awakenRegions).toBeNull();
    beat(2, 90);
    expect(beat(1).awakenRegions?.abnormalStores).toEqual([2]);
    expect(beat(1).awakenRegions).toBeNull();
    expect(beat(2, 90).awakenRegions).toBeNull();
    world.harness.env.advance(601_000);
    expect(beat(1).awakenRegions?.abnormalStores).toEqual([2]);
  });

  test("have labels that merge, are replaced and deleted [TestUpdateAndDeleteLabel]", () => {
    const labels = () => Object.fromEntries(store(1).meta.labels.map(({ key, value }) => [key, value]));
    http("POST", "/store/1/label", { zone: "z1", host: "h1" });
    http("POST", "/store/1/label", { zone: "z2", disk: "ssd" });
    expect(labels()).toEqual({ zone: "z2", host: "h1", disk: "ssd" });
    expect(http("DELETE", "/store/1/label", JSON.stringify("disk")).status).toBe(200);
    expect(http("DELETE", "/store/1/label", JSON.stringify("disk")).status).toBe(500);
    http("POST", "/store/1/label?force", { rack: "r1" });
    expect(labels()).toEqual({ rack: "r1" });
  });

  test("are low on space by ratio, unless nearly empty with room [TestLowSpaceRatio]", () => {
    const GIB = 2 ** 30;
    const low = (capacity: number, available: number, regions: number): boolean => {
      store(1).stats = Object.assign({}, store(1).stats, {
        capacity: capacity * GIB,
        available: available * GIB,
      });
      return store(1).isLowSpace(0.8, regions);
    };
    expect([low(100, 21, 101), low(100, 19, 101), low(100, 9, 50), low(100, 7, 50), low(0, 0, 500)]).toEqual([
      false,
      true,
      false,
      true,
      false,
    ]);
  });

  test("keep their open limit while they leave, over a restart too [TestOfflineStoreLimit]", () => {
    http("POST", "/store/1/limit", { rate: 5 });
    http("DELETE", "/store/1");
    const limit = () => (http("GET", "/stores/limit").json as Record<string, Record<string, number>>)["1"];
    expect(limit()).toEqual({ "add-peer": 5, "remove-peer": 1e8 });
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(limit()).toEqual({ "add-peer": 5, "remove-peer": 1e8 });
  });

  test("are deleted and kept by their routes [TestStoreDelete, TestStoreSetState]", () => {
    expect(http("DELETE", "/store/1").json).toBe("The store is set as Offline.");
    expect(http("GET", "/store/1").json).toMatchObject({ store: { state_name: "Offline", node_state: 2 } });
    expect(http("POST", "/store/1/state?state=Up").json).toBe("The store's state is updated.");
    expect(http("GET", "/store/1").json).toMatchObject({ store: { state_name: "Up" } });
    expect(http("POST", "/store/1/state?state=Offline").status).toBe(200);
    expect([http("POST", "/store/1/state?state=Foo").status, http("DELETE", "/store/9").status]).toEqual([
      400, 404,
    ]);
    expect(http("DELETE", "/store/x").status).toBe(400);
  });
});

describe("calls", () => {
  test("bootstrap once, and refuse what is no first store and region [TestBootstrap]", () => {
    const harness = Harness.started();
    const region = { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: [{ id: 3, storeId: 1 }] };
    const boot = (more: object = {}): string => {
      const answer = harness.call(PdService.Bootstrap, { store: storeMessage(1), region, ...more });
      return answer.header?.error?.message ?? "ok";
    };
    expect(boot({ store: { ...storeMessage(1), id: 0 } })).toMatch(/zero store id/);
    expect(boot({ region: { ...region, startKey: utf8("a") } })).toMatch(/must all be empty/);
    expect(boot({ region: { ...region, id: 0 } })).toMatch(/zero region id/);
    expect(boot({ region: { ...region, peers: [] } })).toMatch(/peer count 0/);
    expect(boot({ region: { ...region, peers: [{ id: 3, storeId: 9 }] } })).toMatch(
      /invalid peer store id 9/,
    );
    expect(boot({ region: { ...region, peers: [{ id: 0, storeId: 1 }] } })).toMatch(/zero peer id/);
    expect([boot(), boot()]).toEqual(["ok", "cluster is already bootstrapped"]);
  });

  test("read and write the cluster's metadata [TestGetPutConfig]", () => {
    world = new World({ stores: 3 });
    const { harness } = world;
    expect(harness.call(PdService.GetClusterConfig).cluster?.maxPeerCount).toBe(3);
    const cluster = { id: must(harness.call(PdService.GetClusterConfig).cluster, "").id, maxPeerCount: 5 };
    harness.call(PdService.PutClusterConfig, { cluster });
    expect(harness.call(PdService.GetClusterConfig).cluster?.maxPeerCount).toBe(5);
    expect(harness.call(PdService.GetAllStores).stores).toHaveLength(3);
    expect(harness.call(PdService.GetStore, { storeId: 9 }).header?.error?.message).toMatch(
      /invalid store ID 9/,
    );
  });

  test("of PD may stop and start again and again [TestRaftClusterRestart, TestRestart]", () => {
    world = new World({ stores: 3 });
    world.addRegions([[1, 2, 3]]);
    world.harness.env.advance(5000);
    for (let i = 0; i < 4; i++) {
      expect(world.harness.crashAndRestart()).toBe(true);
      expect(world.harness.pd.cluster.regions.count).toBe(1);
    }
  });

  test("give ids for splits by the epoch of the region at the key [TestAskSplit, TestValidRequestRegion]", () => {
    world = new World({ stores: 3, obeys: true });
    world.addRegions([[1, 2, 3]]);
    const { harness } = world;
    const meta = {
      id: 2,
      regionEpoch: { version: 10, confVer: 10 },
      peers: [
        { id: 1, storeId: 1 },
        { id: 2, storeId: 2 },
      ],
    };
    const ask = (region: object, splitCount = 2) =>
      harness.call(PdService.AskBatchSplit, { region, splitCount });
    const { ids: given } = ask(meta);
    expect(given).toHaveLength(2);
    const all = given.flatMap(({ newRegionId, newPeerIds }) => [newRegionId, ...newPeerIds]);
    expect(new Set(all).size).toBe(6);
    const old = { ...meta, regionEpoch: { version: 9, confVer: 10 } };
    expect(ask(old).header?.error?.message).toMatch(/^invalid region epoch, request: /);
    expect(ask({ ...meta, regionEpoch: { version: 11, confVer: 10 } }).header?.error).toBeNull();
    expect(ask(meta, 0).ids).toEqual([]);
    expect(harness.call(PdService.AskSplit, { region: meta }).newPeerIds).toHaveLength(2);
    harness.http("POST", "/pd/api/v1/config", { "enable-tikv-split-region": "false" });
    expect(ask(meta).header?.error?.message).toBe("tikv split region disabled");
  });

  test("report splits whose parts touch [TestReportSplit, TestReportBatchSplit]", () => {
    world = new World({ stores: 3 });
    const part = (start: string, end: string) => ({ startKey: utf8(start), endKey: utf8(end) });
    const split = (left: object, right: object): boolean =>
      world.harness.call(PdService.ReportSplit, { left, right }).header?.error === null;
    expect([split(part("a", "b"), part("b", "")), split(part("a", "b"), part("c", "d"))]).toEqual([
      true,
      false,
    ]);
    expect(split(part("b", "a"), part("a", "z"))).toBe(false);
    const batch = (...regions: object[]): boolean =>
      world.harness.call(PdService.ReportBatchSplit, { regions }).header?.error === null;
    expect(batch(part("", "a"), part("a", "b"), part("b", ""))).toBe(true);
    expect([batch(part("", "a")), batch(part("", "a"), part("b", "c"))]).toEqual([false, false]);
  });

  test("scan regions, also those without a leader [TestScanRegions, TestScanRegionByKeys]", () => {
    world = new World({ stores: 3 });
    world.addRegions(times(4, [1, 2, 3]));
    const { cluster } = world.harness.pd;
    cluster.putRegion({ ...world.record(2), leader: undefined, term: 9 });
    const answer = world.harness.call(PdService.ScanRegions, { startKey: utf8(""), limit: 3 });
    expect(answer.regions).toHaveLength(3);
    expect(answer.regions[0]?.leader?.id).toBe(0);
    expect(answer.regions[1]?.leader?.storeId).toBe(1);
    const list = (query: string) =>
      (world.harness.http("GET", `/pd/api/v1/regions/key?${query}`).json as { count: number }).count;
    expect([list("limit=2"), list("key=k00002"), list("key=k00001&end_key=k00003")]).toEqual([2, 2, 2]);
  });

  test("show regions and the holes between them [TestRegions, TestRegionRangeHoles]", () => {
    world = new World({ stores: 3 });
    world.addRegions(times(4, [1, 2, 3]));
    const get = (path: string) => world.harness.http("GET", `/pd/api/v1${path}`);
    expect(get("/regions").json).toMatchObject({ count: 4 });
    expect(get("/region/id/2").json).toMatchObject({ id: 2, peers: [{ store_id: 1 }, {}, {}] });
    expect(get("/regions/range-holes").json).toEqual([]);
    world.harness.pd.cluster.removeRegion(101);
    expect(get("/regions/range-holes").json).toEqual([["6B3030303031", "6B3030303032"]]);
    expect(get("/region/id/101").status).toBe(404);
  });

  test("change settings of scheduling while it runs [TestConfigSchedule]", () => {
    world = new World({ stores: 3 });
    const { harness } = world;
    const schedule = () => harness.http("GET", "/pd/api/v1/config/schedule").json as Record<string, unknown>;
    const body = { ...schedule(), "leader-schedule-limit": 9, "max-store-down-time": "10s" };
    expect(harness.http("POST", "/pd/api/v1/config/schedule", body).status).toBe(200);
    expect(schedule()).toMatchObject({ "leader-schedule-limit": 9, "max-store-down-time": "10s" });
    expect(world.view.config.number("schedule.leader-schedule-limit")).toBe(9);
    expect(harness.http("POST", "/pd/api/v1/config", { "schedule.tolerant-size-ratio": -1 }).status).toBe(
      400,
    );
  });

  test("give ids that never repeat, alone or in batches [TestID, TestPDRestart, TestBatchAllocID, TestMonotonicID]", () => {
    world = new World({ stores: 3 });
    const seen = new Set<number>();
    let last = 0;
    const take = (count: number): void => {
      const { id } = world.harness.call(PdService.AllocID, { count });
      expect(id).toBeGreaterThan(last);
      for (let i = id - Math.max(1, count) + 1; i <= id; i++) {
        expect(seen.has(i)).toBe(false);
        seen.add(i);
      }
      last = id;
    };
    for (let i = 0; i < 50; i++) take(i % 3 === 0 ? 0 : 40);
    expect(world.harness.crashAndRestart()).toBe(true);
    for (let i = 0; i < 50; i++) take(30);
  });
});
