/** Load within regions, and where a hot region is cut. (PD: statistics/buckets/*_test.go, hot_region_solver_test.go) */
import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../../base/index.js";
import { metapb, PdService, pdpb } from "../../proto/index.js";
import { DEFAULT_REGION_SIZES } from "../region-sizes.js";
import { HotRegion } from "../schedulers/hot-region.js";
import { keyAtHalfLoad, keyAtMiddle } from "../schedulers/hot-split.js";
import { Harness } from "../test/harness.js";
import { MockCluster } from "../test/mock-cluster.js";
import { type HotBucket, HotBuckets } from "./hot-buckets.js";
import { Statistics } from "./statistics.js";

const MIB = 2 ** 20;

/** One load for each bucket between the keys, in all dimensions of reads. */
function reported(keys: string, loads: readonly number[], version = 1, regionId = 1): metapb.Buckets {
  const zero = loads.map(() => 0);
  const stats = {
    readBytes: loads,
    readKeys: loads,
    readQps: loads,
    writeBytes: zero,
    writeKeys: zero,
    writeQps: zero,
  };
  const buckets = { regionId, version, keys: keys.split(",").map(utf8), stats, periodInMs: 10_000 };
  return metapb.Buckets.decode(metapb.Buckets.encode(buckets).finish());
}
const degrees = (buckets: HotBuckets): [string, number][] =>
  buckets
    .hot(1, -100)
    .map(({ startKey, endKey, degree }) => [`${fromUtf8(startKey)}-${fromUtf8(endKey)}`, degree]);

describe("buckets of a region", () => {
  test("grow hotter and colder with each report, within bounds (TestColdHot, TestCalculateHotDegree)", () => {
    const buckets = new HotBuckets();
    for (let i = 0; i < 3; i++) buckets.report(reported("a,b,c", [10 * MIB, 1]));
    expect(degrees(buckets)).toEqual([
      ["a-b", 3],
      ["b-c", -3],
    ]);
    for (let i = 0; i < 30; i++) buckets.report(reported("a,b,c", [1, 10 * MIB]));
    expect(degrees(buckets).map(([, degree]) => degree)).toEqual([-20, 20]);
    expect(buckets.hot(1, 3).map(({ degree }) => degree)).toEqual([20]);
  });

  test("with other borders take over the hottest of what they cover, and of cold ones the coldest (TestInherit)", () => {
    const buckets = new HotBuckets();
    for (let i = 0; i < 4; i++) buckets.report(reported("a,c,e,g,", [10 * MIB, 1, 1, 10 * MIB]));
    buckets.report(reported("a,c,e,g,", [1, 1, 10 * MIB, 10 * MIB]));
    expect(degrees(buckets).map(([, degree]) => degree)).toEqual([3, -5, -3, 5]);
    // b-d lies over one that is hot, d-f over two that are not.
    buckets.report(reported("a,b,d,f,", [10 * MIB, 1, 1, 10 * MIB], 2));
    expect(degrees(buckets)).toEqual([
      ["a-b", 4],
      ["b-d", 2],
      ["d-f", -6],
      ["f-", 6],
    ]);
  });

  test("that are malformed are refused, and borders of an older version not taken back (TestStaleBucketMeta)", () => {
    const buckets = new HotBuckets();
    expect(buckets.report(reported("a", []))).toBe(false);
    expect(buckets.report(reported("b,a,c", [1, 1]))).toBe(false);
    expect(buckets.report(reported("a,b,", [1, 1], 5))).toBe(true);
    buckets.report(reported("a,c,", [1, 1], 4));
    expect(buckets.metaOf(1)?.keys?.map(fromUtf8)).toEqual(["a", "b", ""]);
    buckets.report(reported("a,d,", [1, 1], 6));
    expect(buckets.metaOf(1)?.keys?.map(fromUtf8)).toEqual(["a", "d", ""]);
    buckets.forget(1);
    expect([buckets.metaOf(1), buckets.hot(1, -100)]).toEqual([undefined, []]);
  });
});

describe("the calls about buckets", () => {
  test("store them for a region that is known, and give them to who asks for them (TestBucketHeartbeat)", () => {
    const harness = Harness.started();
    harness.bootstrap();
    const stream = harness.open(PdService.ReportBuckets);
    const { header } = harness;
    stream.send({ header, buckets: reported(",m,", [MIB, MIB], 1, 99) });
    stream.send({ header, buckets: reported(",m,", [MIB, MIB], 3, 2) });
    stream.send({ header, buckets: reported(",n,", [MIB, MIB], 2, 2) });
    stream.halfClose();
    expect(stream.status?.code).toBe(0);
    const keys = (buckets: metapb.IBuckets | null | undefined): string[] | undefined =>
      buckets?.keys?.map(fromUtf8);
    const wanted = ["", "m", ""];
    const need = { needBuckets: true };
    const region = (more: object) => harness.call(PdService.GetRegion, { regionKey: utf8("k"), ...more });
    expect(keys(region(need).buckets)).toEqual(wanted);
    expect(region({}).buckets).toBeNull();
    expect(keys(harness.call(PdService.GetRegionByID, { regionId: 2, ...need }).buckets)).toEqual(wanted);
    const scanned = harness.call(PdService.BatchScanRegions, { ranges: [{}], limit: 1, ...need });
    expect(keys(scanned.regions[0]?.buckets)).toEqual(wanted);
    for (let i = 0; i < 3; i++) {
      const again = harness.open(PdService.ReportBuckets);
      again.send({ header, buckets: reported(",m,", [MIB, 1], 3, 2) });
      again.halfClose();
    }
    expect(harness.http("GET", "/pd/api/v1/hotspot/buckets").json).toMatchObject({
      2: [{ start_key: "", end_key: "6D", hot_degree: 5, read_bytes: MIB, write_keys: 0 }],
    });
    expect(harness.http("GET", "/pd/api/v1/hotspot/buckets?region_id=7").json).toEqual({});
    expect(harness.http("GET", "/pd/api/v1/hotspot/buckets?region_id=x").status).toBe(400);
  });
});

describe("a hot region", () => {
  const mock = new MockCluster();
  mock.addStores(1, 2, 3);
  const region = mock.region(1, [1, 2, 3], { start: "b", end: "y" });
  const hot = (keys: string, loads: readonly number[]): readonly HotBucket[] => {
    const buckets = new HotBuckets();
    for (let i = 0; i < 3; i++) buckets.report(reported(keys, loads));
    return buckets.hot(1, 3);
  };
  const text = (key: Uint8Array | string): string => (typeof key === "string" ? key : `at ${fromUtf8(key)}`);
  const half = (keys: string, loads: readonly number[], dimension: "byte" | "cpu" = "byte"): string =>
    text(keyAtHalfLoad(region, hot(keys, loads), "read", [dimension, "key"]));
  const [M, L] = [10 * MIB, 30 * MIB];

  test("is cut where half of the load of its hot buckets lies (TestSplitBucketsByLoad)", () => {
    expect(half("b,d,f,h,y", [M, M, M, M])).toBe("at f");
    expect(half("b,d,f,h,y", [M, M, M, L])).toBe("at h");
    // Cold buckets do not count; of two hot ones the border of the first is taken.
    expect(half("b,d,f,h,y", [L, 1, 1, M])).toBe("at d");
    expect(half("b,d,y", [M, L])).toBe("at d");
    // A border outside the region: the one before.
    expect(half("a,d,z", [M, L])).toBe("at d");
    expect(half("a,b,c,z", [M, M, L])).toBe("at c");
    expect(half("b,d,f", [M, 1])).toContain("one bucket");
    expect(half("b,d,f", [1, 1])).toContain("none of its buckets");
    expect(half("0,1,a", [M, M])).toContain("none of its buckets");
  });

  test("is cut by queries where CPU is what counts (TestSplitBucketsByLoadWithCPUFallback)", () => {
    expect(half("b,d,f,h,y", [M, M, M, L], "cpu")).toBe("at h");
  });

  test("that is too large is cut at the middle border inside it (TestSplitBucketsBySize)", () => {
    const middle = (keys: string): string => text(keyAtMiddle(region, keys.split(",").map(utf8)));
    expect(middle("a,b,c,d,z")).toBe("at d");
    expect(middle("b,h,y")).toBe("at h");
    expect(middle("b,y")).toContain("no border");
    expect(middle("")).toContain("no border");
  });

  test("that carries most of its store is cut instead of moved, if stores report buckets (TestSplitIfRegionTooHot)", () => {
    const run = (hasBuckets: boolean): string[] => {
      const world = new MockCluster({ "location-labels": "host" });
      world.addStores(1, 2, 3, 4);
      world.config.regionSizes = { ...DEFAULT_REGION_SIZES, hasBuckets };
      const statistics = new Statistics(world.view);
      const scheduler = new HotRegion({ controller: world.controller, notes: world.notes, statistics });
      const rates = [100, 10, 10, 10];
      for (let i = 0; i < 3; i++) {
        world.put(1, [1, 2, 3]);
        statistics.buckets.report(reported(",g,m,t,", [M, M, M, M]));
        for (const store of world.view.stores()) {
          const mib = rates[store.id - 1] as number;
          const stats = {
            storeId: store.id,
            capacity: 1000,
            interval: { startTimestamp: 0, endTimestamp: 10 },
            bytesRead: mib * 10 * MIB,
            keysRead: mib * 10_000,
            peerStats: store.id === 1 ? [{ regionId: 1, readBytes: 900 * MIB, readKeys: 900_000 }] : [],
          };
          statistics.onStoreHeartbeat(store, pdpb.StoreStats.decode(pdpb.StoreStats.encode(stats).finish()));
        }
      }
      scheduler.runType("read-leader");
      return world.controller.operators().map(({ desc, brief }) => `${desc} ${brief}`);
    };
    expect(run(true)).toEqual(["split-hot-read-region split: region 1 use policy USEKEY and keys [6D]"]);
    expect(run(false)).toEqual([]);
  });
});
