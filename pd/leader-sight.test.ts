import { describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { MetaKeys } from "./keys.js";
import { LeaderSight } from "./leader-sight.js";
import type { MetaEntry } from "./meta-store.js";

const keys = new MetaKeys(1n);

const entry = (key: Uint8Array, modRevision: number, leaseId: number, text = ""): MetaEntry => ({
  key,
  value: utf8(text),
  createRevision: 1,
  modRevision,
  version: 1,
  leaseId,
});
const leader = (revision: number, leaseId: number): MetaEntry => entry(keys.leader, revision, leaseId);
const renewed = (revision: number, leaseId: number, seconds = "2"): MetaEntry =>
  entry(keys.leaderRenewed, revision, leaseId, seconds);

describe("what is seen of a leader", () => {
  test("is silence only when its last renewal is a whole lease ago, of its own length", () => {
    const sight = new LeaderSight(keys);
    expect(sight.silentFromMs()).toBeUndefined();
    sight.see("renewed", renewed(5, 7, "10"), 5, 1_000);
    sight.see("leader", leader(5, 7), 5, 1_000);
    expect(sight.silentFromMs()).toBe(11_000);
    sight.see("renewed", renewed(6, 7, "10"), 6, 4_000);
    expect(sight.silentFromMs()).toBe(14_000);
    // Read again, and nothing new in it.
    sight.see("renewed", renewed(6, 7, "10"), 9, 8_000);
    expect(sight.silentFromMs()).toBe(14_000);
  });

  test("does not go back when older news arrives late", () => {
    const sight = new LeaderSight(keys);
    sight.see("leader", leader(5, 7), 5, 0);
    sight.see("renewed", renewed(8, 7), 8, 0);
    sight.see("renewed", renewed(6, 7), 6, 1_000);
    expect(sight.silentFromMs()).toBe(2_000);
    expect(sight.unchanged()).toEqual([
      { kind: "modRevision", key: keys.leader, equals: 5 },
      { kind: "modRevision", key: keys.leaderRenewed, equals: 8 },
    ]);
  });

  test.each([
    ["there is no leader", undefined, renewed(5, 7)],
    ["it writes no renewals, as another version", leader(5, 7), undefined],
    ["the renewal is of another term", leader(6, 8), renewed(5, 7)],
    ["the renewal says no time", leader(5, 7), renewed(5, 7, "soon")],
  ])("is never silence when %s", (_title, key, renewal) => {
    const sight = new LeaderSight(keys);
    sight.see("leader", key, 9, 0);
    sight.see("renewed", renewal, 9, 0);
    expect(sight.silentFromMs()).toBeUndefined();
  });
});
