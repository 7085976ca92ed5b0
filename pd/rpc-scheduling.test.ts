/** How bulk loaders prepare their ranges: splits at keys, scatter, waiting. (PD: region_scatterer_test.go) */
import { describe, expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { type FakeRegion, World } from "./test/world.js";

const SCATTER_ONLY = { "leader-schedule-limit": 0, "region-schedule-limit": 0 };

function manyRegions(count: number, stores: number): World {
  const world = new World({ stores, obeys: true, schedule: SCATTER_ONLY });
  world.addRegions(
    Array.from({ length: count }, () => [1, 2, 3]),
    1,
  );
  return world;
}

describe("ScatterRegion", () => {
  test("spreads peers and leaders of empty regions evenly (TestScatterRegions)", () => {
    const world = manyRegions(30, 6);
    const regionsId = [...world.regions.keys()];
    const answer = world.harness.call(PdService.ScatterRegion, { regionsId, group: "g", retryLimit: 5 });
    expect(answer.finishedPercentage).toBe(100);
    expect(answer.failedRegionsId).toEqual([]);
    world.advance(30_000);
    for (let id = 1; id <= 6; id++) {
      expect(world.count(id, "peers")).toBeGreaterThanOrEqual(13);
      expect(world.count(id, "peers")).toBeLessThanOrEqual(17);
      expect(world.count(id, "leaders")).toBeGreaterThanOrEqual(3);
      expect(world.count(id, "leaders")).toBeLessThanOrEqual(7);
    }
    for (const region of world.regions.values()) expect(region.peers).toHaveLength(3);
  });

  test("refuses a region that is not complete, and names it after its retries (TestScatterCheck)", () => {
    const world = new World({ stores: 3 });
    world.addRegions([
      [1, 2],
      [1, 2, 3],
    ]);
    const call = world.harness.start1(PdService.ScatterRegion, { regionsId: [2, 101], retryLimit: 2 });
    expect(call.answers).toEqual([]);
    world.harness.env.advance(1000);
    expect(call.answers[0]?.finishedPercentage).toBe(50);
    expect(call.answers[0]?.failedRegionsId).toEqual([2]);
  });

  test("names a region that is unknown, and fails if that is the only one", () => {
    const world = manyRegions(2, 3);
    const scatter = (...regionsId: number[]) => world.harness.call(PdService.ScatterRegion, { regionsId });
    expect(scatter(2, 999)).toMatchObject({ finishedPercentage: 50, failedRegionsId: [999] });
    expect(scatter(999).header?.error?.message).toBe("region 999 not found");
  });

  test("keeps groups apart (TestScatterGroupInConcurrency)", () => {
    const world = manyRegions(24, 4);
    const ids = [...world.regions.keys()];
    const groups = [ids.slice(0, 12), ids.slice(12)];
    for (const [i, regionsId] of groups.entries()) {
      world.harness.call(PdService.ScatterRegion, { regionsId, group: `g${i}`, retryLimit: 1 });
    }
    world.advance(30_000);
    for (const group of groups) {
      for (const store of [1, 2, 3, 4]) {
        const on = group.filter((id) => world.storesOf(id).includes(store)).length;
        expect(on).toBeGreaterThanOrEqual(7);
        expect(on).toBeLessThanOrEqual(11);
      }
    }
  });
});

describe("SplitRegions", () => {
  /** What a store does with a split at one key: the right part is new. */
  function splitAt(world: World, region: FakeRegion, key: string): void {
    const right: FakeRegion = {
      ...region,
      id: 5000,
      start: key,
      version: region.version + 1,
      peers: region.peers.map((peer) => ({ ...peer, id: peer.id + 5_000_000 })),
    };
    region.end = key;
    region.version += 1;
    world.regions.set(right.id, right);
    world.report(region);
    world.report(right);
  }

  test("answers when PD has seen the parts, also for a key that is a boundary already", () => {
    const world = new World({ stores: 3 });
    const [region] = world.addRegions([[1, 2, 3]]);
    const call = world.harness.start1(PdService.SplitRegions, { splitKeys: [utf8("m")], retryLimit: 1 });
    expect(world.commands.at(-1)?.splitRegion?.keys.map((key) => new Uint8Array(key))).toEqual([utf8("m")]);
    world.harness.env.advance(200);
    expect(call.answers).toEqual([]);
    splitAt(world, must(region, "no region"), "m");
    world.harness.env.advance(100);
    expect(call.answers[0]).toMatchObject({ finishedPercentage: 100, regionsId: [5000] });
    const again = world.harness.call(PdService.SplitRegions, { splitKeys: [utf8("m")] });
    expect(again).toMatchObject({ finishedPercentage: 100, regionsId: [5000] });
  });

  test("splits a region that lacks replicas only because there are no more stores", () => {
    const world = new World({ stores: 1 });
    const [region] = world.addRegions([[1]]);
    const call = world.harness.start1(PdService.SplitRegions, { splitKeys: [utf8("m")] });
    expect(world.commands.at(-1)?.splitRegion?.keys).toHaveLength(1);
    splitAt(world, must(region, "no region"), "m");
    world.harness.env.advance(100);
    expect(call.answers[0]).toMatchObject({ finishedPercentage: 100, regionsId: [5000] });
  });

  test("leaves a region that a further store can complete until it is complete", () => {
    const world = new World({ stores: 3 });
    world.addRegions([[1, 2]]);
    const call = world.harness.start1(PdService.SplitRegions, { splitKeys: [utf8("m")] });
    world.harness.env.advance(1000);
    expect(call.answers[0]).toMatchObject({ finishedPercentage: 0 });
    expect(world.commands.filter((command) => command.splitRegion != null)).toEqual([]);
  });

  test("says how much was done when a store does not obey", () => {
    const world = new World({ stores: 3 });
    world.addRegions([[1, 2, 3]]);
    const call = world.harness.start1(PdService.SplitRegions, { splitKeys: [utf8("m")] });
    world.harness.env.advance(120_000);
    expect(call.answers[0]).toMatchObject({ finishedPercentage: 0, regionsId: [] });
  });
});

describe("GetOperator", () => {
  test("shows what runs, what ended, and that there is none", () => {
    const world = manyRegions(2, 4);
    const none = world.harness.call(PdService.GetOperator, { regionId: 2 });
    expect(none.header?.error?.message).toBe("Not Found");
    world.scheduling.schedulers.pause("all", 600);
    world.harness.call(PdService.ScatterRegion, { regionsId: [2, 101], group: "g" });
    world.advance(5000);
    const decoder = new TextDecoder();
    const ended = [2, 101]
      .map((regionId) => world.harness.call(PdService.GetOperator, { regionId }))
      .filter((answer) => answer.header?.error === null);
    expect(ended.length).toBeGreaterThan(0);
    for (const answer of ended) {
      expect(decoder.decode(answer.desc)).toBe("scatter-region");
      expect(answer.status).toBe(0);
    }
  });
});
