/** What a split makes of a region. The parts must tile the old range, whatever the keys. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, peerId, regionId, storeId, utf8 } from "../base/index.js";
import type { SplitRequest } from "./admin.js";
import { containsKey, rangesOverlap, type Region } from "./region.js";
import { applySplit, checkSplitKeys } from "./split.js";

const region: Region = {
  id: regionId(2),
  startKey: utf8("b"),
  endKey: utf8("y"),
  epoch: { confVer: 3, version: 8 },
  peers: [
    { id: peerId(21), storeId: storeId(1), role: "voter" },
    { id: peerId(22), storeId: storeId(2), role: "learner" },
  ],
};
const at = (key: string, newRegion: number): SplitRequest => ({
  splitKey: utf8(key),
  newRegionId: regionId(newRegion),
  newPeerIds: [peerId(newRegion * 10 + 1), peerId(newRegion * 10 + 2)],
});

function parts(splits: readonly SplitRequest[], rightDerive: boolean, of = region) {
  const result = applySplit(of, splits, rightDerive);
  if (result.kind === "refused") throw new Error(result.reason);
  return result;
}
const shape = (regions: readonly Region[]): string[] =>
  regions.map(
    (each) => `${each.id}:${String.fromCharCode(...each.startKey)}-${String.fromCharCode(...each.endKey)}`,
  );

describe("a split", () => {
  test("with right-derive leaves the id to the last part and makes new ones left to right", () => {
    const { regions, derived } = parts([at("f", 5), at("m", 6)], true);
    expect(shape(regions)).toEqual(["5:b-f", "6:f-m", "2:m-y"]);
    expect(derived.id).toBe(2);
  });

  test("with left-derive leaves the id to the first part", () => {
    const { regions, derived } = parts([at("f", 5), at("m", 6)], false);
    expect(shape(regions)).toEqual(["2:b-f", "5:f-m", "6:m-y"]);
    expect(shape([derived])).toEqual(["2:b-f"]);
  });

  test("raises the version of every part by the number of new regions and keeps conf_ver", () => {
    for (const { epoch } of parts([at("f", 5), at("m", 6), at("p", 7)], true).regions) {
      expect(epoch).toEqual({ confVer: 3, version: 11 });
    }
  });

  test("gives new regions the parent's stores and roles in order, with the ids from PD", () => {
    const { regions, derived } = parts([at("f", 5)], true);
    expect(regions[0]?.peers).toEqual([
      { id: 51, storeId: 1, role: "voter" },
      { id: 52, storeId: 2, role: "learner" },
    ]);
    expect(derived.peers).toEqual(region.peers);
  });

  test.each([
    ["no key", []],
    ["the start key", [at("b", 5)]],
    ["the end key", [at("y", 5)]],
    ["a key below the region", [at("a", 5)]],
    ["a key above the region", [at("z", 5)]],
    ["an empty key", [at("", 5)]],
    ["keys that fall", [at("m", 5), at("f", 6)]],
    ["one key twice", [at("m", 5), at("m", 6)]],
    ["too few peer ids", [{ ...at("m", 5), newPeerIds: [peerId(51)] }]],
  ])("at %s is refused", (_what, splits) => {
    expect(applySplit(region, splits, true).kind).toBe("refused");
  });

  test("of the region to the end of all keys has no upper bound for its keys", () => {
    const last = { ...region, endKey: new Uint8Array(0) };
    expect(checkSplitKeys(last, [Uint8Array.of(0xff, 0xff, 0xff)])).toBeUndefined();
    expect(shape(parts([at("z", 5)], true, last).regions)).toEqual(["5:b-z", "2:z-"]);
  });

  test("at any keys tiles the old range: each key has one owner", () => {
    const keys = fc.uniqueArray(fc.uint8Array({ minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 6,
      comparator: (left, right) => compareBytes(left, right) === 0,
    });
    const whole = { ...region, startKey: new Uint8Array(0), endKey: new Uint8Array(0) };
    fc.assert(
      fc.property(keys, fc.uint8Array({ maxLength: 5 }), fc.boolean(), (unsorted, probe, rightDerive) => {
        const sorted = unsorted.toSorted(compareBytes);
        const splits = sorted.map((splitKey, i) => ({ ...at("m", 100 + i), splitKey }));
        const { regions, derived } = parts(splits, rightDerive, whole);
        expect(regions).toHaveLength(sorted.length + 1);
        expect(regions.filter((each) => containsKey(each, probe))).toHaveLength(1);
        expect(regions.filter((each) => each.id === whole.id)).toEqual([derived]);
        for (let i = 1; i < regions.length; i++) {
          const [left, right] = [regions[i - 1] as Region, regions[i] as Region];
          expect(left.endKey).toEqual(right.startKey);
          expect(rangesOverlap(left.startKey, left.endKey, right.startKey, right.endKey)).toBe(false);
        }
      }),
    );
  });
});

describe("ranges", () => {
  const overlap = (a: [string, string], b: [string, string]): boolean =>
    rangesOverlap(utf8(a[0]), utf8(a[1]), utf8(b[0]), utf8(b[1]));

  test("share a key or not, with open ends, either way round", () => {
    const cases: [[string, string], [string, string], boolean][] = [
      [["a", "c"], ["c", "e"], false],
      [["a", "d"], ["c", "e"], true],
      [["a", ""], ["x", "y"], true],
      [["", "a"], ["a", ""], false],
      [["", ""], ["", ""], true],
      [["b", "c"], ["a", "z"], true],
    ];
    for (const [left, right, want] of cases) {
      expect(overlap(left, right)).toBe(want);
      expect(overlap(right, left)).toBe(want);
    }
  });
});
