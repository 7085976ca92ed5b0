/** Calls about the cluster as a whole: its beginning, ids, splits, settings. (PD: cluster/*_test.go, id_test.go) */
import { describe, expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { pdpb, PdService } from "../proto/index.js";
import { Harness, storeMessage } from "./test/harness.js";
import { times } from "./test/mock-cluster.js";
import { World } from "./test/world.js";

let world: World;

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

  test("of stores tell how long snapshots took: with store limits of version 2 that widens them", () => {
    world = new World({ stores: 3 });
    const { snapshotWindows } = must(world.view.store(1), "no store");
    const report = (durations: readonly (readonly [number, number, number])[]): number => {
      snapshotWindows.take(100, 0);
      const snapshotStats = durations.map(([generateDurationSec, sendDurationSec, totalDurationSec]) => ({
        generateDurationSec,
        sendDurationSec,
        totalDurationSec,
      }));
      world.harness.heartbeatStore(1, { snapshotStats });
      return snapshotWindows.capacity;
    };
    expect(report([[20, 20, 50]])).toBe(100);
    world.view.config.set("schedule", "store-limit-version", "v2");
    // 2 x 40 - 50 = 30; 20 x 30 + 10 x 30.
    expect(report([[20, 20, 50]])).toBe(900);
    // Below five seconds a snapshot says nothing: 2 x 5 - 2 = 8, added to 30.
    snapshotWindows.take(900, 0);
    expect(report([[0, 1, 2]])).toBe(540);
  });

  test("of a store that reaches all others slowly are counted", () => {
    world = new World({ stores: 4 });
    const one = must(world.view.store(1), "no store");
    const report = (networkSlowScores: Record<number, number>): number => {
      world.harness.heartbeatStore(1, { networkSlowScores });
      return one.networkSlowReports;
    };
    const counts = [
      report({ 2: 100, 3: 100, 4: 99 }),
      report({ 2: 100, 3: 100, 4: 100 }),
      // One that it says nothing of is reached well: not all are slow, and not all quick.
      report({ 2: 100, 3: 100 }),
      report({ 2: 1, 3: 1, 4: 1 }),
    ];
    expect(counts).toEqual([1, 2, 2, 0]);
    expect([report({ 2: 100, 3: 100, 4: 100 }), report({})]).toEqual([1, 0]);
  });

  test("of stores name damaged regions, whose peers there are removed", () => {
    world = new World({ stores: 4 });
    world.addRegions([
      [1, 2, 3, 4],
      [1, 2, 3],
    ]);
    const [first, second] = [...world.regions.keys()] as [number, number];
    world.harness.heartbeatStore(2, { damagedRegionsId: [first, 999] });
    const { controller } = world.scheduling;
    expect(controller.operator(first)).toMatchObject({ desc: "admin-remove-peer", priority: "urgent" });
    expect(controller.operator(first)?.brief).toBe("rm peer: store [2]");
    world.harness.heartbeatStore(4, { damagedRegionsId: [second] });
    expect(controller.operator(second)).toBeUndefined();
    expect(world.scheduling.notes.of("region", second)[0]?.reason).toMatch(/store 4 is damaged: .*not found/);
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
    // Old stores do not know a split into many.
    const setVersion = (version: string): void =>
      void harness.http("POST", "/pd/api/v1/config/cluster-version", { "cluster-version": version });
    setVersion("2.1.0-beta");
    expect(ask(meta).header?.error).toMatchObject({ type: pdpb.ErrorType.INCOMPATIBLE_VERSION });
    setVersion("2.1.0-rc.1");
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
