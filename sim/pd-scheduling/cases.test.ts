/** Small clusters go through what large ones do: they come to rest with few moves and stay there. */
import { expect, test } from "vitest";
import { runCase } from "./cases.js";

const SIZE = { stores: 8, regions: 48, regionSizeMib: 96, seed: 1, watchSeconds: 60 };

test.each(["balance", "scale-out", "scale-in", "zone-loss", "rule-change"])(
  "%s: comes to rest with hardly more moves than are needed, and nothing wanders",
  (name) => {
    const result = runCase(name, SIZE);
    expect(result.restSeconds).toBeLessThan(300);
    expect(result.leastMoves).toBeGreaterThan(5);
    expect(result.movedPeers).toBeLessThanOrEqual(1.1 * result.leastMoves + 3);
    expect(result.mostOfRegion).toBeLessThanOrEqual(3);
    expect(result.movedAfterRest).toBe(0);
  },
);

test("hot-write: load that sits on few stores is spread and then stays", () => {
  const result = runCase("hot-write", SIZE);
  expect(result.restSeconds).toBeDefined();
  expect(Number(/load ([0-9.]+)/.exec(result.figure)?.[1])).toBeLessThan(2);
  expect(result.movedPeers).toBeLessThan(48);
  expect(result.movedAfterRest).toBe(0);
});

test("hot-read: reads that sit on few stores are spread and then stay", () => {
  const result = runCase("hot-read", SIZE);
  expect(result.restSeconds).toBeDefined();
  expect(Number(/load ([0-9.]+)/.exec(result.figure)?.[1])).toBeLessThan(1.5);
  expect(result.movedPeers).toBeLessThan(24);
  expect(result.mostOfRegion).toBeLessThanOrEqual(2);
  expect(result.movedAfterRest).toBe(0);
});
