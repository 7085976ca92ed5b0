import { expect, test } from "vitest";
import { EMPTY_BYTES, utf8 } from "../base/index.js";
import { type CachedRegion, RegionCache } from "./region-cache.js";

const region = (id: number, start: string, end: string, version = 1): CachedRegion => ({
  id,
  startKey: utf8(start),
  endKey: utf8(end),
  epoch: { confVer: 1, version },
  peers: [],
  leader: 0,
  context: undefined,
  isStale: false,
});

/** Ids in key order, found by walking over the borders. */
const ids = (cache: RegionCache, keys: readonly string[]): (number | undefined)[] =>
  keys.map((key) => cache.find(utf8(key))?.id);

test("a key is found in the region that holds it: start in, end out", () => {
  const cache = new RegionCache();
  cache.insert(region(1, "", "d"));
  cache.insert(region(2, "d", "m"));
  cache.insert(region(3, "q", ""));
  expect(ids(cache, ["a", "d", "l", "m", "p", "q", "z"])).toEqual([1, 2, 2, undefined, undefined, 3, 3]);
});

test("the largest smaller key is found for scans backwards", () => {
  const cache = new RegionCache();
  cache.insert(region(1, "", "d"));
  cache.insert(region(2, "d", "m"));
  cache.insert(region(3, "q", ""));
  expect(cache.findBefore(utf8("d"))?.id).toBe(1);
  expect(cache.findBefore(utf8("e"))?.id).toBe(2);
  expect(cache.findBefore(utf8("m"))?.id).toBe(2);
  expect(cache.findBefore(utf8("p"))).toBeUndefined();
  expect(cache.findBefore(EMPTY_BYTES)?.id).toBe(3);
});

test("newer regions push out what they overlap, and older news does not push out newer", () => {
  const cache = new RegionCache();
  expect(cache.insert(region(1, "", "", 1))).toBe(true);
  expect(cache.insert(region(1, "m", "", 2))).toBe(true);
  expect(cache.insert(region(2, "", "m", 2))).toBe(true);
  expect(ids(cache, ["a", "z"])).toEqual([2, 1]);
  // PD has not heard of the split.
  expect(cache.insert(region(1, "", "", 1))).toBe(false);
  expect(ids(cache, ["a", "z"])).toEqual([2, 1]);
  expect(cache.size).toBe(2);
});

test("a region that was replaced meanwhile is not doubted by who still holds the old one", () => {
  const cache = new RegionCache();
  const old = region(1, "", "", 1);
  cache.insert(old);
  const fresh = region(1, "", "", 2);
  cache.insert(fresh);
  cache.doubt(old);
  expect(cache.find(utf8("a"))).toBe(fresh);
  expect(fresh.isStale).toBe(false);
});

test("what a store has denied gives way to anything that PD says, though its version is lower", () => {
  const cache = new RegionCache();
  const denied = region(1, "", "", 5);
  cache.insert(denied);
  expect(cache.insert(region(2, "", "m", 4))).toBe(false);
  cache.doubt(denied);
  expect(cache.insert(region(2, "", "m", 4))).toBe(true);
  expect(ids(cache, ["a", "z"])).toEqual([2, undefined]);
});
