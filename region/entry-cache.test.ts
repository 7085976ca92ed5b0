/** The cache against a plain list of the log, under random appends, overwrites and trims. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { logIndex, term } from "../base/index.js";
import type { Entry } from "../raft/types.js";
import { EntryCache } from "./entry-cache.js";

const entry = (index: number, of: number, bytes = 10): Entry => ({
  type: "EntryNormal",
  term: term(of),
  index: logIndex(index),
  data: new Uint8Array(bytes),
});
const run = (first: number, count: number, of: number, bytes?: number): Entry[] =>
  Array.from({ length: count }, (_, i) => entry(first + i, of, bytes));
const indexes = (entries: readonly Entry[]): number[] => entries.map((each) => each.index);

describe("the entry cache", () => {
  test("gives back what was appended, term and all", () => {
    const cache = new EntryCache(1 << 20);
    cache.append(run(6, 5, 5));
    expect(cache.firstIndex()).toBe(6);
    expect(cache.get(logIndex(8))).toMatchObject({ index: 8, term: 5 });
    expect(cache.get(logIndex(5))).toBeUndefined();
    expect(cache.get(logIndex(11))).toBeUndefined();
    expect(indexes(cache.slice(logIndex(7), logIndex(10), 1 << 20))).toEqual([7, 8, 9]);
  });

  test("forgets the tail that a new leader overwrote", () => {
    const cache = new EntryCache(1 << 20);
    cache.append(run(6, 5, 5));
    cache.append(run(8, 1, 6));
    expect(cache.length).toBe(3);
    expect(cache.get(logIndex(8))?.term).toBe(6);
    expect(cache.get(logIndex(9))).toBeUndefined();
  });

  test("starts anew behind a hole, since what lies between is not here", () => {
    const cache = new EntryCache(1 << 20);
    cache.append(run(6, 3, 5));
    cache.append(run(20, 2, 5));
    expect(cache.firstIndex()).toBe(20);
    expect(cache.get(logIndex(6))).toBeUndefined();
  });

  test("is replaced as a whole by entries from below its first", () => {
    const cache = new EntryCache(1 << 20);
    cache.append(run(10, 5, 5));
    cache.trimTo(logIndex(12));
    cache.append(run(8, 2, 6));
    expect(cache.firstIndex()).toBe(8);
    expect(cache.length).toBe(2);
  });

  test("keeps within its bytes by dropping the oldest, but always the newest entry", () => {
    const cache = new EntryCache(2000);
    cache.append(run(6, 50, 5, 100));
    expect(cache.bytes).toBeLessThanOrEqual(2000);
    expect(cache.get(logIndex(55))).toBeDefined();
    cache.append([entry(56, 5, 10_000)]);
    expect(cache.length).toBe(1);
    expect(cache.firstIndex()).toBe(56);
  });

  test("stops a slice at the bytes asked for, with at least one entry", () => {
    const cache = new EntryCache(1 << 20);
    cache.append(run(6, 10, 5, 100));
    expect(indexes(cache.slice(logIndex(6), logIndex(16), 250))).toEqual([6, 7]);
    expect(indexes(cache.slice(logIndex(6), logIndex(16), 1))).toEqual([6]);
    expect(() => cache.slice(logIndex(5), logIndex(8), 100)).toThrow("below");
  });

  test("agrees with a list under any appends and trims", () => {
    const step = fc.record({ back: fc.nat(4), count: fc.integer({ min: 1, max: 5 }), trim: fc.nat(6) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const cache = new EntryCache(1 << 20);
        let log: Entry[] = [];
        let next = 6;
        let of = 5;
        for (const { back, count, trim } of steps) {
          const first = Math.max(log[0]?.index ?? next, next - back);
          if (back > 0) of++;
          const entries = run(first, count, of);
          cache.append(entries);
          log = [...log.filter((each) => each.index < first), ...entries];
          next = first + count;
          const keepFrom = (log[0] as Entry).index + trim;
          cache.trimTo(logIndex(keepFrom));
          log = log.filter((each) => each.index >= keepFrom);
        }
        expect(cache.length).toBe(log.length);
        expect(cache.firstIndex()).toBe(log[0]?.index);
        for (const each of log) expect(cache.get(each.index)).toBe(each);
        expect(cache.bytes).toBe(log.length * (10 + 96));
      }),
      { numRuns: 60 },
    );
  });
});
