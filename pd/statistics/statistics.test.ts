/** Hot peers, figures, kinds of regions. (PD: statistics/*_test.go, schedulers/hot_region_test.go) */
import { describe, expect, test, vi } from "vitest";
import { must } from "../../base/index.js";
import { pdpb } from "../../proto/index.js";
import { OperatorBuilder } from "../operator-builder.js";
import { dimensionScore, formulas, progressiveRank } from "../schedulers/hot-rank.js";
import { expectationOf, makeLoad, PendingInfluence, type StoreLoad } from "../schedulers/hot-load.js";
import { HotRegion } from "../schedulers/hot-region.js";
import { HotSettings } from "../schedulers/hot-settings.js";
import { MockCluster, type MockRegion, times } from "../test/mock-cluster.js";
import { HarmonicAverage, MedianWindow, RateMedian, RateMedians } from "./averages.js";
import type { RegionFlow } from "../region-info.js";
import { HOT_READ, HOT_WRITE, type HotPeer, HotPeerCache } from "./hot-peer-cache.js";
import { NO_RATES, type Rates } from "./rates.js";
import { isolationLevelOf, isUndersized, kindBits, REGION_KINDS } from "./region-kinds.js";
import { Statistics } from "./statistics.js";

const KIB = 1024;
const MIB = 1024 * KIB;

describe("averages", () => {
  test("of four figures in one array are those of four windows", () => {
    const together = new RateMedians();
    const apart = [0, 1, 2, 3].map(() => new MedianWindow(5));
    expect(together.get(0)).toBe(0);
    for (let i = 0; i < 40; i++) {
      const values = [i % 7, (i * 37) % 11, -i, 2 ** 40 + ((i * 13) % 5)] as const;
      together.push(...values);
      for (const [figure, window] of apart.entries()) {
        window.push(values[figure] as number);
        expect(together.get(figure)).toBe(window.get());
      }
    }
  });

  test("a median ignores spikes, a rate waits for ten seconds, a harmonic mean believes less at once", () => {
    const median = new MedianWindow(3);
    for (const value of [1, 100, 2]) median.push(value);
    expect(median.get()).toBe(2);
    median.push(3);
    expect(median.get()).toBe(3);
    const rate = new RateMedian();
    rate.add(500, 5);
    expect(rate.get()).toBe(0);
    rate.add(500, 5);
    expect(rate.get()).toBe(100);
    rate.add(1, 0);
    const average = new HarmonicAverage(4);
    for (const value of [100, 100, 100, 100]) average.push(value);
    average.push(10);
    expect(average.get()).toBeLessThan(32);
    for (const value of [10, 10, 10]) average.push(value);
    average.push(1000);
    expect(average.get()).toBeLessThan(14);
  });
});

describe("the cache of hot peers", () => {
  const report = (cache: HotPeerCache, more: Partial<Parameters<HotPeerCache["report"]>[0]> = {}): void =>
    cache.report({
      regionId: 1,
      storeId: 1,
      isLeader: true,
      stores: [1, 2, 3],
      amounts: [60 * MIB, 6000, 0, 0],
      seconds: 60,
      nowMs: 0,
      ...more,
    });
  const cold: Rates = [60, 1, 0, 0];

  test("grows with hot reports and forgets after enough cold ones [TestHotCacheUpdateCache]", () => {
    const cache = new HotPeerCache(HOT_WRITE);
    report(cache);
    const peer = (): HotPeer | undefined => cache.peer(1, 1);
    expect(peer()).toMatchObject({ degree: 1, antiCount: 2, rates: [MIB, 100, 0, 0] });
    report(cache);
    report(cache);
    expect(peer()).toMatchObject({ degree: 3, antiCount: 2 });
    report(cache, { amounts: cold });
    expect(peer()).toMatchObject({ degree: 2, antiCount: 1 });
    // Not full: not shown, but still hot.
    expect(cache.hotPeers(1, 2, 0)).toEqual([]);
    expect(cache.isRegionHot(1, 2)).toBe(true);
    report(cache);
    expect(cache.hotPeers(1, 3, 0)).toHaveLength(1);
    report(cache, { amounts: cold });
    report(cache, { amounts: cold });
    expect(peer()).toBeUndefined();
    expect(cache.has(1)).toBe(false);
    const reads = new HotPeerCache(HOT_READ);
    report(reads, { seconds: 10 });
    expect(reads.peer(1, 1)?.antiCount).toBe(12);
    for (let i = 0; i < 11; i++) report(reads, { amounts: cold, seconds: 10 });
    expect(reads.peer(1, 1)).toBeDefined();
    report(reads, { amounts: cold, seconds: 10 });
    expect(reads.peer(1, 1)).toBeUndefined();
  });

  test("judges by the average of full intervals, whatever pieces they come in [TestHotCacheCheckRegionFlow]", () => {
    const cache = new HotPeerCache(HOT_WRITE);
    report(cache, { seconds: 2 });
    expect(cache.size).toBe(0);
    report(cache, { amounts: cold });
    expect(cache.size).toBe(0);
    // Ten seconds: known, not yet judged.
    report(cache, { amounts: [10 * MIB, 0, 0, 0], seconds: 10 });
    expect(cache.peer(1, 1)?.degree).toBe(0);
    for (let i = 0; i < 4; i++) report(cache, { amounts: [10 * MIB, 0, 0, 0], seconds: 10 });
    expect(cache.peer(1, 1)?.degree).toBe(0);
    report(cache, { amounts: [10 * MIB, 0, 0, 0], seconds: 10 });
    expect(cache.peer(1, 1)?.degree).toBe(1);
    // Any one dimension is enough.
    report(cache, { regionId: 2, amounts: [0, 60 * 40, 0, 0] });
    report(cache, { regionId: 3, amounts: [0, 0, 60 * 40, 0] });
    report(cache, { regionId: 4, amounts: [60 * 1000, 60 * 31, 60 * 31, 0] });
    expect([2, 3, 4].map((id) => cache.has(id))).toEqual([true, true, false]);
  });

  test("keeps what a peer was when it moves to another store", () => {
    const cache = new HotPeerCache(HOT_WRITE);
    for (let i = 0; i < 5; i++) report(cache, { storeId: 3, isLeader: false });
    report(cache, { storeId: 4, stores: [1, 2, 4], isLeader: false });
    expect(cache.peer(1, 4)).toMatchObject({ degree: 6, antiCount: 2 });
    cache.keepStores(1, [1, 2, 4]);
    expect(cache.peer(1, 3)).toBeUndefined();
    cache.leaderMoved(1, 4, 77);
    expect(cache.peer(1, 4)).toMatchObject({ isLeader: true, leaderMovedMs: 77 });
    cache.removeStore(4);
    expect(cache.has(1)).toBe(false);
  });

  test("raises its threshold where sixty are hot, and lets go of what nobody reports", () => {
    const cache = new HotPeerCache(HOT_WRITE);
    for (let id = 1; id <= 80; id++) report(cache, { regionId: id, amounts: [60 * id * KIB, 0, 0, 0] });
    expect(cache.thresholds(1, 10_000)[0]).toBe(0.8 * 21 * KIB);
    expect(cache.thresholds(2, 10_000)).toEqual(HOT_WRITE.minimum);
    cache.forgetOutdated(180_000);
    expect(cache.size).toBe(80);
    cache.forgetOutdated(180_001);
    expect(cache.size).toBe(0);
    const reads = new HotPeerCache(HOT_READ);
    report(reads, { seconds: 10 });
    reads.reportCold(1, new Set([2]), 10, 0);
    expect(reads.peer(1, 1)).toMatchObject({ isCold: true, degree: 0 });
    reads.reportCold(1, new Set(), 1, 0);
    expect(reads.peer(1, 1)?.degree).toBe(0);
  });
});

function world(
  stores = 5,
  config: Readonly<Record<string, unknown>> = {},
): { mock: MockCluster; statistics: Statistics } {
  const mock = new MockCluster({ "location-labels": "zone,host", ...config });
  mock.config.defaultStoreLimit = { "add-peer": 1e8, "remove-peer": 1e8 };
  for (let id = 1; id <= stores; id++) mock.addStore(id, { zone: `z${id}`, host: `h${id}` });
  return { mock, statistics: new Statistics(mock.view) };
}

const storeStats = (more: pdpb.IStoreStats): pdpb.StoreStats =>
  pdpb.StoreStats.decode(
    pdpb.StoreStats.encode({ interval: { startTimestamp: 0, endTimestamp: 10 }, ...more }).finish(),
  );

describe("heartbeats", () => {
  const hot: MockRegion = { flow: { intervalSeconds: 60, writtenBytes: 60 * MIB, writtenKeys: 6000 } };

  test("feed the caches, which follow leaders and peers [TestRegionHeartbeatHotStat]", () => {
    const { mock, statistics } = world();
    const beat = (stores: readonly number[], more: MockRegion = hot): void => {
      const previous = mock.cluster.regions.byId(1);
      statistics.onRegionHeartbeat(mock.put(1, stores, more), previous);
    };
    beat([1, 2, 3]);
    expect([1, 2, 3, 4].map((id) => statistics.write.peer(1, id)?.degree)).toEqual([1, 1, 1, undefined]);
    expect(statistics.write.peer(1, 1)?.isLeader).toBe(true);
    // Just moved: the report is the old leader's and does not count.
    beat([1, 2, 3], { ...hot, leader: 2 });
    expect([statistics.write.peer(1, 1)?.degree, statistics.write.peer(1, 2)?.isLeader]).toEqual([1, true]);
    beat([1, 2, 3], { ...hot, leader: 2 });
    expect(statistics.write.peer(1, 2)?.degree).toBe(2);
    beat([4, 2, 3], { ...hot, leader: 2, confVer: 2 });
    expect([statistics.write.peer(1, 1), statistics.write.peer(1, 4)?.degree]).toEqual([undefined, 3]);
    expect(statistics.isRegionHot(1)).toBe(true);
    statistics.onRegionRemoved(1);
    expect(statistics.isRegionHot(1)).toBe(false);
  });

  test("of stores bring reads by peer, and cool down those that are left out", () => {
    const { mock, statistics } = world();
    mock.put(1, [1, 2, 3]);
    const peer = { regionId: 1, readBytes: 100 * MIB, readKeys: 1000 };
    const beat = (peers: pdpb.IPeerStat[]): void =>
      statistics.onStoreHeartbeat(mock.store(1), storeStats({ peerStats: peers, bytesRead: 100 * MIB }));
    for (let i = 0; i < 3; i++) beat([peer, { regionId: 99, readBytes: 1e9 }]);
    expect(statistics.read.peer(1, 1)?.degree).toBe(3);
    expect(statistics.read.has(99)).toBe(false);
    beat([]);
    expect(statistics.read.peer(1, 1)?.isCold).toBe(true);
    // Stores that know nothing of peers: the leader's figures come with the region.
    const flow = { intervalSeconds: 60, readBytes: 60 * MIB };
    statistics.onRegionHeartbeat(mock.put(2, [4, 5, 2], { start: "x", flow }), undefined);
    expect(statistics.read.peer(2, 4)?.isLeader).toBe(true);
    expect(statistics.read.peer(2, 5)).toBeUndefined();
    mock.store(4).setNodeState("removed");
    statistics.onStoreRemoved(4);
    statistics.onRegionHeartbeat(mock.put(2, [4, 5, 2], { start: "x", flow }), undefined);
    expect(statistics.read.peer(2, 4)).toBeUndefined();
  });

  test("keep the lists of regions that need attention [TestOfflineAndMerge]", () => {
    const { mock, statistics } = world();
    mock.cluster.onRegionRemoved = (id) => statistics.onRegionRemoved(id);
    const see = (id: number, stores: readonly number[], more: MockRegion = {}): string[] => {
      statistics.onRegionHeartbeat(mock.put(id, stores, more), undefined);
      return REGION_KINDS.filter((kind) => statistics.kinds.has(kind, id));
    };
    const big = { sizeMib: 100 };
    expect(see(1, [1, 2, 3], big)).toEqual([]);
    expect(see(1, [1, 2], big)).toEqual(["miss-peer"]);
    expect(see(1, [1, 2, 3, 4], { ...big, down: [4], pending: [4] })).toEqual([
      "extra-peer",
      "down-peer",
      "pending-peer",
    ]);
    expect(see(1, [1, 2, 3], { ...big, roles: { 3: "learner" } })).toEqual(["learner-peer"]);
    expect(see(1, [1, 2, 3], { sizeMib: 1 })).toEqual(["empty-region", "undersized-region"]);
    expect(see(1, [1, 2, 3], { sizeMib: 144 })).toEqual(["oversized-region"]);
    // By the stores' own word.
    const { config } = mock.view;
    config.regionSizes = { ...config.regionSizes, maxMib: 300 };
    expect(see(1, [1, 2, 3], { sizeMib: 144 })).toEqual([]);
    config.regionSizes = { ...config.regionSizes, maxMib: 144 };
    mock.store(3).setNodeState("removing");
    expect(see(1, [1, 2, 3], big)).toEqual(["offline-peer"]);
    // Merged away: no list keeps it.
    see(2, [1, 2, 3], { start: "m", sizeMib: 100, version: 2 });
    expect([...statistics.kinds.ids("offline-peer")]).toEqual([2]);
    see(3, [1, 2, 3], { version: 9, sizeMib: 100 });
    expect([...statistics.kinds.ids("offline-peer")]).toEqual([3]);
    expect(kindBits(mock.view, mock.region(7, [1, 2]))).toBeGreaterThan(0);
  });

  test("show how far apart replicas stand", () => {
    const { mock, statistics } = world(0);
    for (const [i, [zone, host]] of [
      ["a", "1"],
      ["a", "2"],
      ["a", "2"],
      ["b", "1"],
      ["", "9"],
    ].entries()) {
      mock.addStore(i + 1, { zone: zone as string, host: host as string });
    }
    const level = (...stores: number[]): string => isolationLevelOf(mock.view, mock.region(1, stores));
    expect([level(1, 4), level(1, 2), level(2, 3), level(1, 2, 4), level(1, 5), level(1)]).toEqual([
      "zone",
      "host",
      "none",
      "host",
      "host",
      "zone",
    ]);
    statistics.onRegionHeartbeat(mock.put(1, [1, 4]), undefined);
    statistics.onRegionHeartbeat(mock.put(2, [2, 3], { start: "x" }), undefined);
    statistics.onRegionHeartbeat(mock.put(2, [1, 3], { start: "x", confVer: 2 }), undefined);
    expect(Object.fromEntries(statistics.kinds.isolationCounts())).toEqual({ zone: 1, none: 0, host: 1 });
  });

  test("tell small regions by size and keys [TestNeedMerge]", () => {
    const { mock } = world();
    const small = (sizeMib: number, keys: number): boolean =>
      isUndersized(mock.view, mock.region(1, [1], { sizeMib, keys }));
    expect([small(54, 540_000), small(55, 1), small(1, 540_001), small(1, 1)]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    mock.set("max-merge-region-keys", 10);
    expect([small(1, 10), small(1, 11)]).toEqual([true, false]);
  });
});

describe("the rank of a move", () => {
  const load = (current: number, pending = 0): StoreLoad =>
    makeLoad({ id: 1 } as StoreLoad["store"], [current, 0, 0, 0], [pending, 0, 0, 0], [], []);
  const [first] = formulas(0.95);
  const score = (from: StoreLoad, to: StoreLoad, rate: number): number =>
    dimensionScore({ source: from, target: to, dimension: 0, rate, minRate: 100, topRate: 200 }, first);

  test("likes what fills the gap, and nothing between stores that are alike", () => {
    expect(score(load(10_000), load(2000), 4000)).toBe(3);
    expect(score(load(10_000), load(2000), 300)).toBe(2);
    expect(score(load(10_000), load(2000), 4600)).toBe(1);
    expect(score(load(10_000), load(2000), 7900)).toBe(-2);
    expect(score(load(10_000), load(9800), 100)).toBe(0);
    expect(score(load(10_000), load(9800), 4000)).toBe(-2);
    // The wrong way.
    expect(score(load(2000), load(10_000), 4000)).toBe(-2);
    // Enough under way already.
    expect(score(load(10_000, -3000), load(2000, 3000), 1000)).toBeLessThan(3);
    expect([
      progressiveRank(3, 3, false),
      progressiveRank(3, 0, false),
      progressiveRank(2, -1, false),
    ]).toEqual([4, 3, 2]);
    expect([
      progressiveRank(0, 3, false),
      progressiveRank(-1, 3, false),
      progressiveRank(0, 0, false),
    ]).toEqual([1, 0, -1]);
    expect([progressiveRank(1, -2, true), progressiveRank(0, 3, true)]).toEqual([3, -1]);
    expect(expectationOf([load(10), load(30)])).toMatchObject({
      mean: [20, 0, 0, 0],
      deviation: [0.5, 0, 0, 0],
    });
  });
});

describe("the hot-region scheduler", () => {
  interface Scene {
    readonly mock: MockCluster;
    readonly statistics: Statistics;
    readonly hot: HotRegion;
  }

  function scene(stores = 6): Scene {
    const { mock, statistics } = world(stores, { "location-labels": "host" });
    const host = { controller: mock.controller, notes: mock.notes, statistics };
    return { mock, statistics, hot: new HotRegion(host) };
  }

  /** Three reports, so that regions and stores are hot for long enough. */
  function write(
    { mock, statistics }: Scene,
    placements: readonly (readonly number[])[],
    mibPerSecond: number,
  ): void {
    const flow = {
      intervalSeconds: 60,
      writtenBytes: 60 * mibPerSecond * MIB,
      writtenKeys: 60 * 1000 * mibPerSecond,
    };
    const totals = new Map<number, number>();
    for (let round = 0; round < 3; round++) {
      for (const region of mock.putMany(placements, { flow }))
        statistics.onRegionHeartbeat(region, undefined);
    }
    for (const stores of placements)
      for (const id of stores) totals.set(id, (totals.get(id) ?? 0) + mibPerSecond);
    for (const store of mock.view.stores()) {
      const rate = totals.get(store.id) ?? 0;
      const stats = storeStats({ bytesWritten: rate * 10 * MIB, keysWritten: rate * 10_000 });
      for (let i = 0; i < 3; i++) statistics.onStoreHeartbeat(store, stats);
    }
  }

  test("moves hot peers of writes to cooler stores [TestHotWriteRegionScheduleByteRateOnly]", () => {
    const one = scene();
    // Stores 1 and 2 carry all four regions, 5 and 6 nothing.
    write(
      one,
      [
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 3],
        [1, 2, 4],
      ],
      1,
    );
    expect(one.hot.runType("write-peer")).toBe(1);
    const [operator] = one.mock.controller.operators();
    expect(operator?.desc).toMatch(/^move-hot-write-(peer|leader)$/);
    expect(operator?.brief).toMatch(/^mv peer: store \[[12]\] to \[[56]\]$/);
    expect(operator?.priority).toBe("high");
    expect(operator?.kinds).toContain("hot-region");
    // Stores that may not take it are passed over, and it is said why.
    const two = scene();
    write(
      two,
      [
        [1, 2, 3],
        [1, 2, 4],
        [1, 2, 3],
        [1, 2, 4],
      ],
      1,
    );
    for (const id of [5, 6]) two.mock.store(id).setNodeState("removing");
    expect(two.hot.runType("write-peer")).toBe(0);
    expect(two.mock.notes.of("region", 1)[0]?.reason).toMatch(/StoreRemoving/);
  });

  test("ends a round in time, with the best move of the hottest store", () => {
    const one = scene(12);
    write(one, [...times(100, [1, 2, 3]), ...times(20, [4, 5, 6])], 1);
    const { clock } = one.mock.env;
    let nowMs = clock.monotonicMs();
    const slow = vi.spyOn(clock, "monotonicMs").mockImplementation(() => (nowMs += 0.03));
    const looked = vi.spyOn(one.mock.cluster.regions, "byId");
    expect(one.hot.runType("write-peer")).toBe(1);
    slow.mockRestore();
    expect(looked.mock.calls.length).toBeLessThan(240);
    expect(one.mock.controller.operators()[0]?.brief).toMatch(/^mv peer: store \[[123]\]/);
  });

  test("goes on, in its next rounds, behind peers that it looked at in vain", () => {
    const one = scene(12);
    write(one, [...times(100, [1, 2, 3]), ...times(20, [4, 5, 6])], 1);
    const { regions } = one.mock.cluster;
    const byId = regions.byId.bind(regions);
    const tried = new Set<number>();
    // The first thirty that it comes to may not be moved.
    vi.spyOn(regions, "byId").mockImplementation((id) => {
      if (tried.size < 30) tried.add(id as number);
      return tried.has(id as number) ? undefined : byId(id);
    });
    const { clock } = one.mock.env;
    let nowMs = clock.monotonicMs();
    const slow = vi.spyOn(clock, "monotonicMs").mockImplementation(() => (nowMs += 0.1));
    let rounds = 0;
    while (one.hot.runType("write-peer") === 0 && rounds < 50) rounds++;
    slow.mockRestore();
    expect(rounds).toBeGreaterThan(0);
    expect(rounds).toBeLessThan(50);
  });

  test("counts what is under way, so that no load moves twice [TestHotWriteRegionScheduleWithPendingInfluence]", () => {
    const one = scene();
    write(one, times(12, [1, 2, 3]), 1);
    let started = 0;
    for (let i = 0; i < 20; i++) started += one.hot.runType("write-peer");
    expect(started).toBeGreaterThan(0);
    expect(started).toBeLessThanOrEqual(9);
    const regions = one.mock.controller.operators().map((operator) => operator.regionId);
    expect(new Set(regions).size).toBe(regions.length);
    // What ended counts on until the figures must show it.
    for (const id of regions) one.mock.controller.cancel(id, "test");
    expect(one.hot.limitReached()).toBeUndefined();
  });

  /** Of stores 1 to 5, bytes and keys. */
  const LOADS = [
    [15, 15],
    [16, 20],
    [15, 15],
    [15, 15],
    [14, 10],
  ] as const;

  /** Stores 2 and 5 differ little in bytes and much in keys; regions 6 and 8 are on the one, region 7 on the other. */
  function unlike(versions: { readonly rank?: string } = {}, bytesOfSeven = 1.2): Scene {
    const one = scene(5);
    const { mock, statistics, hot } = one;
    if (versions.rank !== undefined) hot.change({ "rank-formula-version": versions.rank });
    const flow = (bytes: number, keys: number): Partial<RegionFlow> => ({
      intervalSeconds: 60,
      writtenBytes: 60 * bytes * MIB,
      writtenKeys: 60 * keys * MIB,
    });
    for (let round = 0; round < 3; round++) {
      const six = mock.put(6, [3, 2, 4], { end: "m", flow: flow(2, 3) });
      const seven = mock.put(7, [1, 4, 5], { start: "m", end: "t", flow: flow(bytesOfSeven, 0.1) });
      const eight = mock.put(8, [3, 2, 4], { start: "t", flow: flow(2, 3) });
      for (const region of [six, seven, eight]) statistics.onRegionHeartbeat(region, undefined);
      for (const [i, [bytes, keys]] of LOADS.entries()) {
        const stats = storeStats({ bytesWritten: bytes * 10 * MIB, keysWritten: keys * 10 * MIB });
        statistics.onStoreHeartbeat(mock.store(i + 1), stats);
      }
    }
    return one;
  }
  const plansOf = ({ mock }: Scene): string[] =>
    mock.controller.operators().map(({ regionId, brief }) => `${regionId} ${brief}`);

  test("exchanges two peers where one alone would tilt the stores (TestHotWriteRegionScheduleWithRevertRegionsDimFirst)", () => {
    const one = unlike();
    // Only once a round has found nothing that fits alone.
    expect(one.hot.runType("write-peer")).toBe(0);
    expect(one.hot.runType("write-peer")).toBe(2);
    expect(plansOf(one)).toEqual([
      expect.stringMatching(/^[68] mv peer: store \[2\] to \[5\]$/),
      "7 mv peer: store [5] to [2]",
    ]);
    // What is under way counts both ways: nothing more is planned.
    expect(one.hot.runType("write-peer")).toBe(0);
  });

  test("exchanges two leaders of reads likewise (TestHotReadRegionScheduleWithRevertRegionsDimSecond)", () => {
    const one = scene(5);
    const { mock, statistics, hot } = one;
    mock.put(6, [2, 5, 4], { end: "m" });
    mock.put(7, [5, 2, 1], { start: "m" });
    for (let round = 0; round < 3; round++) {
      for (const [i, [bytes, keys]] of LOADS.entries()) {
        const amount = (rate: number): number => Math.floor(rate * 10 * MIB);
        const peerStats =
          i === 1
            ? [{ regionId: 6, readBytes: amount(2), readKeys: amount(3) }]
            : i === 4
              ? [{ regionId: 7, readBytes: amount(1.2), readKeys: amount(0.1) }]
              : [];
        const stats = { bytesRead: amount(bytes), keysRead: amount(keys), peerStats };
        statistics.onStoreHeartbeat(mock.store(i + 1), storeStats(stats));
      }
    }
    expect(hot.runType("read-leader")).toBe(0);
    expect(hot.runType("read-leader")).toBe(2);
    expect(plansOf(one)).toEqual(["6 transfer leader: store 2 to 5", "7 transfer leader: store 5 to 2"]);
  });

  test("looks at all single moves before it exchanges, over several rounds if need be", () => {
    const one = unlike();
    const { clock } = one.mock.env;
    let nowMs = clock.monotonicMs();
    // The round ends behind the first peer.
    const slow = vi.spyOn(clock, "monotonicMs").mockImplementation(() => (nowMs += 5));
    const rounds = [one.hot.runType("write-peer")];
    slow.mockRestore();
    for (let i = 0; i < 2; i++) rounds.push(one.hot.runType("write-peer"));
    expect(rounds).toEqual([0, 0, 2]);
  });

  test("exchanges nothing for a gain in the second dimension alone, by formula v1, or against a placement rule", () => {
    const run = (one: Scene): number => one.hot.runType("write-peer") + one.hot.runType("write-peer");
    // 2 - 1.9 MiB/s: the first dimension stays as it is.
    expect(run(unlike({}, 1.9))).toBe(0);
    expect(run(unlike({ rank: "v1" }))).toBe(0);
    const ruled = unlike();
    ruled.mock.store(2).setNodeState("removing");
    expect(run(ruled)).toBe(0);
  });

  test("transfers hot leaders, for reads also to stores without a peer [TestHotReadRegionScheduleByteRateOnly]", () => {
    const { mock, statistics, hot } = scene();
    const rates = [100, 10, 10, 0, 0, 0];
    mock.putMany(
      [
        [1, 2, 3],
        [1, 2, 3],
        [1, 3, 2],
        [2, 3, 1],
        [3, 1, 2],
      ],
      { sizeMib: 20 },
    );
    const peers = (storeId: number): pdpb.IPeerStat[] =>
      [...mock.cluster.regions.all()]
        .filter((region) => region.leader?.storeId === storeId)
        .map((region) => ({ regionId: region.meta.id, readBytes: 300 * MIB, readKeys: 30_000 }));
    for (let i = 0; i < 3; i++) {
      for (const store of mock.view.stores()) {
        const mib = must(rates[store.id - 1], "");
        const list = peers(store.id);
        const stats = storeStats({ peerStats: list, bytesRead: mib * 10 * MIB, keysRead: mib * 1000 });
        statistics.onStoreHeartbeat(store, stats);
      }
    }
    expect(hot.runType("read-leader")).toBe(1);
    const [operator] = mock.controller.operators();
    expect(operator?.desc).toMatch(/^(transfer|move)-hot-read-leader$/);
    expect(operator?.steps.some((step) => step.kind === "transferLeader")).toBe(true);
    hot.change({ "forbid-rw-type": "read" });
    expect([hot.runType("read-leader"), hot.runType("read-peer")]).toEqual([0, 0]);
  });

  test("counts a leader of reads on its way in rounds over peers too, one of writes in its own alone", () => {
    const { mock } = scene();
    mock.putMany([[1, 2, 3]]);
    const region = must([...mock.cluster.regions.all()][0], "no region");
    const built = new OperatorBuilder(mock.view, "test", region).setLeader(2).build(["hot-region"]);
    if (built.kind === "refused") throw new Error(built.reason);
    const pending = new PendingInfluence();
    const { operator } = built;
    pending.add({
      operator,
      type: "read-leader",
      fromStore: 1,
      toStore: 2,
      rates: [8, 4, 2, 1],
      zombieMs: 0,
    });
    expect(pending.sum("read-peer", 1, 0).get(2)).toEqual([8, 4, 2, 1]);
    expect(pending.sum("write-peer", 1, 0).get(2)).toBeUndefined();
    const writes = new PendingInfluence();
    writes.add({
      operator,
      type: "write-leader",
      fromStore: 1,
      toStore: 2,
      rates: [8, 4, 2, 1],
      zombieMs: 0,
    });
    expect(writes.sum("write-peer", 1, 0).get(2)).toBeUndefined();
    expect(writes.sum("write-leader", 1, 0).get(2)).toEqual([8, 4, 2, 1]);
  });

  test("leaves a region alone for three reports after its leader moved, a minute each for writes", () => {
    const one = scene();
    write(one, times(4, [1, 2, 3]), 1);
    for (let id = 1; id <= 4; id++) one.statistics.write.leaderMoved(id, 1, one.mock.env.clock.monotonicMs());
    one.mock.env.advance(100_000);
    for (const store of one.mock.view.stores()) one.mock.silence(store.id, 0);
    expect(one.hot.runType("write-peer")).toBe(0);
    one.mock.env.advance(79_000);
    for (const store of one.mock.view.stores()) one.mock.silence(store.id, 0);
    for (let id = 1; id <= 4; id++) {
      one.statistics.write.leaderMoved(id, 1, one.mock.env.clock.monotonicMs() - 181_000);
    }
    expect(one.hot.runType("write-peer")).toBe(1);
  });

  test("waits for the figures of stores after a leader of writes moved, when it goes by queries", () => {
    const one = scene(3);
    const { mock, statistics, hot } = one;
    const flow = { intervalSeconds: 60, writtenBytes: 60 * MIB, writtenKeys: 60_000, writeQueries: 60_000 };
    for (let round = 0; round < 3; round++) {
      for (const region of mock.putMany(times(6, [1, 2, 3]), { flow })) {
        statistics.onRegionHeartbeat(region, undefined);
      }
    }
    for (const store of mock.view.stores()) {
      const Put = store.id === 1 ? 60_000 : 10;
      for (let i = 0; i < 3; i++) statistics.onStoreHeartbeat(store, storeStats({ queryStats: { Put } }));
    }
    const all = (): number => {
      let started = 0;
      while (hot.runType("write-leader") > 0 && started < 20) {
        started += 1;
        for (const { regionId } of mock.controller.operators()) mock.controller.cancel(regionId, "test");
      }
      return started;
    };
    const first = all();
    expect(first).toBeGreaterThan(0);
    expect(all()).toBe(0);
    mock.env.advance(31_000);
    for (const store of mock.view.stores()) mock.silence(store.id, 0);
    expect(all()).toBe(first);
  });

  test("rests where all stores carry the same", () => {
    const one = scene(3);
    write(one, times(6, [1, 2, 3]), 1);
    for (let i = 0; i < 5; i++) expect(one.hot.runType("write-peer")).toBe(0);
    expect(NO_RATES).toEqual([0, 0, 0, 0]);
  });

  test("checks its settings", () => {
    const settings = new HotSettings();
    expect(settings.toJson()).toMatchObject({ "min-hot-byte-rate": 100, "strict-picking-store": "true" });
    expect(settings.change({ "min-hot-byte-rate": 200 })).toMatchObject({
      status: 200,
      body: "Config is updated.",
    });
    expect(settings.change({ "min-hot-byte-rate": 200 }).body).toMatch(/same with origin/);
    const bad: readonly Record<string, unknown>[] = [
      { "min-hot-byte-rate": "much" },
      { "read-priorities": ["byte"] },
      { "read-priorities": ["byte", "byte"] },
      { "read-priorities": ["byte", "color"] },
      { "write-leader-priorities": ["cpu", "byte"] },
      { "write-peer-priorities": ["query", "byte"] },
      { "rank-formula-version": "v3" },
      { "pending-weight": 0.5 },
      { "split-thresholds": 2 },
      { "forbid-rw-type": "all" },
      { "history-sample-duration": "long" },
      { "no-such-item": 1 },
    ];
    for (const body of bad) expect(settings.change(body).status, JSON.stringify(body)).toBe(400);
    // All of a body or nothing of it.
    settings.change({ "min-hot-key-rate": 7, "pending-weight": 0 });
    expect(settings.number("min-hot-key-rate")).toBe(10);
    settings.load({ "read-priorities": ["byte", "key"], nonsense: 1 });
    expect(settings.priorities("read-priorities")).toEqual(["byte", "key"]);
  });
});
