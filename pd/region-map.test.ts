/** The map of regions: its tree, and what makes a record newer than another. (PD: core/*_test.go) */
import { describe, expect, test } from "vitest";
import { SeededRandom, randomBelow, utf8 } from "../base/index.js";
import { CompactMeta } from "./compact-meta.js";
import { regionChange, roundFlow } from "./region-change.js";
import type { RegionInfo } from "./region-info.js";
import { type KeptRegion, RegionTree } from "./region-tree.js";
import { Regions } from "./regions.js";
import { made, ranges, TEXT } from "./test/made-regions.js";
import { MockCluster, type MockRegion, times } from "./test/mock-cluster.js";

const ids = (regions: readonly RegionInfo[]): number[] => regions.map(({ meta }) => meta.id);

describe("the tree of regions", () => {
  test("finds by key, before a key and in order, and leaves holes [TestRegionTree]", () => {
    const tree = new RegionTree();
    expect([tree.find("a"), tree.before("a"), tree.size]).toEqual([undefined, undefined, 0]);
    const kept = (region: RegionInfo): KeptRegion => ({ ...region, meta: CompactMeta.of(region.meta) });
    const [a, b, d] = [made(1, "", "b"), made(2, "b", "c"), made(4, "d", "")].map(kept) as [
      KeptRegion,
      KeptRegion,
      KeptRegion,
    ];
    for (const region of [b, d, a]) tree.put({ region });
    expect([tree.find(""), tree.find("b"), tree.find("bz")]).toEqual([a, b, b]);
    expect([tree.find("c"), tree.find("d"), tree.find("zz")]).toEqual([undefined, d, d]);
    expect([tree.before(""), tree.before("b"), tree.before("d")]).toEqual([undefined, a, b]);
    expect(ids(tree.overlaps("a", "c"))).toEqual([1, 2]);
    expect(ids(tree.overlaps("c", "d"))).toEqual([]);
    tree.remove("b", 99);
    expect(tree.size).toBe(3);
    tree.remove("b", 2);
    expect([tree.size, tree.find("b")]).toEqual([2, undefined]);
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
