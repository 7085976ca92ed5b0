/** Heartbeats of regions and what they change of the map, of stores and of the disk. (PD: cluster/cluster_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { must, SeededRandom, randomBelow, utf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { changedMeta } from "./compact-meta.js";
import { MetaKeys } from "./keys.js";
import type { RegionInfo } from "./region-info.js";
import { EngineRegions } from "./region-storage.js";
import { Regions } from "./regions.js";
import { made, ranges } from "./test/made-regions.js";
import { times } from "./test/mock-cluster.js";
import { World } from "./test/world.js";
import { encodeRegionMeta, metaToWire } from "./wire.js";

const MIB = 2 ** 20;

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

  test("count all queries that read or write, and take figures that overflowed for none", () => {
    world.addRegions([[1, 2, 3]]);
    const { meta } = region();
    const queryStats = {
      GC: 1000,
      Get: 1,
      Scan: 2,
      Coprocessor: 4,
      Delete: 10,
      DeleteRange: 20,
      Put: 40,
      Prewrite: 80,
      AcquirePessimisticLock: 160,
      Commit: 320,
      Rollback: 640,
    };
    const call = world.harness.open(PdService.RegionHeartbeat);
    call.send({
      header: world.harness.header,
      region: metaToWire(meta),
      leader: { id: must(meta.peers[0], "").id, storeId: 1 },
      term: 6,
      interval: { startTimestamp: 100, endTimestamp: 160 },
      bytesRead: 2 ** 50,
      bytesWritten: 7000,
      queryStats,
    });
    world.harness.env.settle();
    const { readQueries, writeQueries, readBytes, writtenBytes } = region().flow;
    expect([readQueries, writeQueries, readBytes, writtenBytes]).toEqual([7, 1270, 0, 7000]);
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
        meta: changedMeta(region().meta, { epoch: { version: 19, confVer: 10 } }),
      }),
    ).toMatchObject({
      kind: "stale",
    });
  });

  test("and before are found where earlier PDs kept them, with the metadata, and move beside it", () => {
    world.addRegions([
      [1, 2, 3],
      [2, 3, 4],
    ]);
    world.harness.env.advance(5000);
    const { harness } = world;
    const keys = new MetaKeys(harness.pd.clusterId);
    const beside = (): EngineRegions => new EngineRegions(harness.engine, keys);
    const metas = [...world.regions.keys()].map((id) => world.record(id).meta);
    for (const meta of metas) harness.metaStore?.put(keys.region(meta.id), encodeRegionMeta(meta), () => {});
    beside().write(
      metas.map(({ id }) => [id, undefined]),
      () => {},
    );
    harness.env.settle();
    expect(harness.crashAndRestart()).toBe(true);
    expect(metas.map(({ id }) => world.record(id).meta.epoch)).toEqual(metas.map(({ epoch }) => epoch));
    harness.env.advance(5000);
    const moved: number[] = [];
    beside().load(
      ({ id }) => moved.push(id),
      () => {},
    );
    harness.env.settle();
    expect(new Set(moved)).toEqual(new Set(metas.map(({ id }) => id)));
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
