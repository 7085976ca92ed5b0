/** At what sizes stores split regions, as PD learns it from them. (PD: server/config/store_config_test.go) */
import { describe, expect, test } from "vitest";
import { DEFAULT_REGION_SIZES, isSplitForMerge, mibOfText, regionSizesOf } from "./region-sizes.js";
import { Harness, storeMessage } from "./test/harness.js";

type Answer = string | Error;

const settingsOf = (maxMib: number): string =>
  JSON.stringify({
    coprocessor: {
      "region-max-size": `${maxMib}MiB`,
      "region-split-size": `${(maxMib * 2) / 3}MiB`,
      "region-max-keys": maxMib * 10_000,
      "region-split-keys": maxMib * 6_000,
      "enable-region-bucket": true,
    },
  });

class Stores {
  readonly asked: string[] = [];
  readonly answers = new Map<string, Answer>();
  readonly harness: Harness;

  constructor() {
    this.harness = Harness.started({
      fetchStoreConfig: (address, callback) => {
        this.asked.push(address);
        const answer = this.answers.get(address) ?? new Error("connection refused");
        if (answer instanceof Error) callback(answer, "");
        else if (answer !== "silent") callback(undefined, answer);
      },
    });
    this.harness.bootstrap();
    for (let id = 1; id <= 3; id++) this.harness.putStore(storeMessage(id));
  }

  get maxMib(): number {
    return this.harness.pd.cluster.context.config.regionSizes.maxMib;
  }

  pass(seconds: number): void {
    for (let left = seconds; left > 0; left -= 10) {
      for (let id = 1; id <= 3; id++) this.harness.heartbeatStore(id);
      this.harness.env.advance(10_000);
    }
  }
}

describe("the sizes of regions", () => {
  test("are TiKV's until a store has told its own, and are asked for each minute (TestStoreConfigUpdate)", () => {
    const stores = new Stores();
    stores.pass(10);
    expect(stores.maxMib).toBe(144);
    stores.answers.set("127.0.0.1:20181", settingsOf(300));
    stores.pass(10);
    expect(stores.harness.pd.cluster.context.config.regionSizes).toEqual({
      maxMib: 300,
      splitMib: 200,
      maxKeys: 3_000_000,
      splitKeys: 1_800_000,
      hasBuckets: true,
    });
    const askedBefore = stores.asked.length;
    stores.answers.set("127.0.0.1:20181", settingsOf(600));
    stores.pass(60);
    expect([stores.maxMib, stores.asked.length - askedBefore]).toEqual([600, 1]);
  });

  test("stay as they were when no store answers, and outlive a crash of PD", () => {
    const stores = new Stores();
    stores.answers.set("127.0.0.1:20181", settingsOf(300));
    stores.pass(20);
    stores.answers.clear();
    stores.pass(120);
    expect(stores.maxMib).toBe(300);
    expect(stores.harness.crashAndRestart()).toBe(true);
    expect(stores.maxMib).toBe(300);
  });

  test("come from the next store when one is silent or answers nonsense (TestStoreConfigSync)", () => {
    const stores = new Stores();
    stores.answers.set("127.0.0.1:20181", "silent");
    stores.answers.set("127.0.0.1:20182", "<html>");
    stores.answers.set("127.0.0.1:20183", settingsOf(30));
    stores.pass(20);
    expect(stores.maxMib).toBe(30);
  });

  test("are not asked of a store that leaves or is TiFlash", () => {
    const stores = new Stores();
    stores.harness.putStore(storeMessage(4, { labels: [{ key: "engine", value: "tiflash" }] }));
    stores.harness.http("DELETE", "/pd/api/v1/store/1?force");
    stores.asked.length = 0;
    stores.pass(20);
    expect([...new Set(stores.asked)].sort()).toEqual(["127.0.0.1:20182", "127.0.0.1:20183"]);
  });

  test("decide whether a merged region would be split again (TestMergeCheck)", () => {
    const isSplit = (mib: number, mergeMib: number, keys = 1, mergeKeys = 200_000): boolean =>
      isSplitForMerge(DEFAULT_REGION_SIZES, { mib, keys }, { mib: mergeMib, keys: mergeKeys });
    expect(isSplit(96 + 20, 20)).toBe(false);
    // The smaller piece has 68 MiB, then 50, then none at all.
    expect(isSplit(144 + 20, 20)).toBe(false);
    expect(isSplit(144 + 2, 50)).toBe(true);
    expect(isSplit(2 * 96, 50)).toBe(false);
    expect(isSplit(10, 20, 1_440_000 + 20_000, 500_000)).toBe(true);
    expect(isSplit(10, 20, 1_440_000 + 20_000, 499_999)).toBe(false);
    const unsplit = { ...DEFAULT_REGION_SIZES, splitMib: 0 };
    expect(isSplitForMerge(unsplit, { mib: 146, keys: 1 }, { mib: 50, keys: 1 })).toBe(false);
  });
});

describe("a store's settings", () => {
  test("give sizes in TiKV's forms [TestUpdateConfig, TestParseConfig]", () => {
    const sizes = ["96MiB", "1GiB", "1.5GiB", "512KiB", "100MB", "1048576", "10TB", "1 GiB"];
    expect(sizes.map(mibOfText)).toEqual([96, 1024, 1536, 0, 100, 1, 10 * 1024 ** 2, 1024]);
    expect(["", "MiB", "-1MiB", "1XiB", null, {}, "9".repeat(40)].map(mibOfText)).toEqual(
      Array.from({ length: 7 }, () => undefined),
    );
  });

  test("that miss items have PD's defaults there, and malformed ones are refused by name", () => {
    expect(regionSizesOf({ coprocessor: { "region-split-size": "0KiB", "region-max-keys": 5 } })).toEqual({
      maxMib: 144,
      splitMib: 0,
      maxKeys: 5,
      splitKeys: 960_000,
      hasBuckets: false,
    });
    expect(regionSizesOf({})).toContain("coprocessor");
    expect(regionSizesOf(null)).toContain("coprocessor");
    expect(regionSizesOf({ coprocessor: { "region-max-size": "much" } })).toContain("region-max-size");
    expect(regionSizesOf({ coprocessor: { "region-split-keys": "1" } })).toContain("region-split-keys");
  });
});
