/** `MemStorage`, the reference of what a Storage must do. */
import { describe, expect, it } from "vitest";
import { entriesBytes, makeEntry, makeHardState, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { Entry } from "../../types.js";

const ALL = Number.POSITIVE_INFINITY;
const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const pairs = (entries: readonly Entry[] | string): unknown =>
  typeof entries === "string" ? entries : entries.map(({ index, term }) => [index, term]);

/** Compacted up to 3; entries 4 and more with their index as term. */
function storage(...terms: number[]): MemStorage {
  const made = new MemStorage();
  made.append(entriesFrom(1, 1, 2, 3, ...terms));
  made.compact(3 as never);
  return made;
}

describe("MemStorage", () => {
  it("knows terms from the compacted index to the last", () => {
    const made = storage(4, 5);
    expect([2, 3, 4, 5, 6].map((index) => made.term(index as never))).toEqual([
      "compacted",
      3,
      4,
      5,
      "unavailable",
    ]);
  });

  it("answers entries up to a size, one at least, and none that are compacted or not there", () => {
    const made = storage(4, 5, 6);
    const size = (...terms: number[]): number => entriesBytes(entriesFrom(4, ...terms));
    const table: [number, number, number, unknown][] = [
      [2, 6, ALL, "compacted"],
      [3, 4, ALL, "compacted"],
      [4, 5, ALL, [[4, 4]]],
      [
        4,
        6,
        ALL,
        [
          [4, 4],
          [5, 5],
        ],
      ],
      [
        4,
        7,
        ALL,
        [
          [4, 4],
          [5, 5],
          [6, 6],
        ],
      ],
      [4, 7, 0, [[4, 4]]],
      [
        4,
        7,
        size(4, 5),
        [
          [4, 4],
          [5, 5],
        ],
      ],
      [
        4,
        7,
        size(4, 5, 6) - 1,
        [
          [4, 4],
          [5, 5],
        ],
      ],
      [
        4,
        7,
        size(4, 5, 6),
        [
          [4, 4],
          [5, 5],
          [6, 6],
        ],
      ],
      [4, 8, ALL, "unavailable"],
    ];
    for (const [low, high, bytesMax, expected] of table) {
      expect(pairs(made.entries(low as never, high as never, bytesMax))).toEqual(expected);
    }
  });

  it("ends at the last entry appended", () => {
    const made = storage(4, 5);
    expect(made.lastIndex()).toBe(5);
    made.append(entriesFrom(6, 5));
    expect(made.lastIndex()).toBe(6);
  });

  it("begins behind what is compacted", () => {
    const made = storage(4, 5);
    expect(made.firstIndex()).toBe(4);
    made.compact(4 as never);
    expect(made.firstIndex()).toBe(5);
  });

  it("keeps index and term of what it compacts last, and refuses to go back or too far", () => {
    for (const [index, error, first, term, count] of [
      [2, "compacted", 4, 3, 2],
      [3, "compacted", 4, 3, 2],
      [4, undefined, 5, 4, 1],
      [5, undefined, 6, 5, 0],
      [6, "unavailable", 4, 3, 2],
    ] as const) {
      const made = storage(4, 5);
      expect(made.compact(index as never)).toBe(error);
      expect([made.firstIndex(), made.term((first - 1) as never)]).toEqual([first, term]);
      expect(made.lastIndex() - made.firstIndex() + 1).toBe(count);
    }
  });

  it("makes snapshots of any index it holds, newer ones only", () => {
    const confState = { ...makeSnapshot(0, 0).metadata.confState, voters: [1, 2, 3] };
    const data = new Uint8Array([1]);
    const made = storage(4, 5);
    expect(made.createSnapshot(4 as never, confState, data)).toEqual(makeSnapshot(4, 4, confState, data));
    expect(made.createSnapshot(5 as never, confState, data)).toEqual(makeSnapshot(5, 5, confState, data));
    expect(made.createSnapshot(5 as never, confState, data)).toBe("snapshotOutOfDate");
    expect(made.createSnapshot(6 as never, confState, data)).toBe("unavailable");
    expect(storage(4).createSnapshot(2 as never, confState, data)).toBe("compacted");
  });

  it("copies the configuration it is given", () => {
    const voters = [1, 2, 3];
    const made = storage(4, 5);
    const confState = { ...makeSnapshot(0, 0).metadata.confState, voters };
    made.createSnapshot(4 as never, confState, new Uint8Array());
    voters.push(4);
    expect(made.initialState().confState.voters).toEqual([1, 2, 3]);
    const other = new MemStorage();
    other.applySnapshot(makeSnapshot(7, 1, confState));
    voters.push(5);
    expect(other.initialState().confState.voters).toEqual([1, 2, 3, 4]);
  });

  it("appends, overwrites from the first that overlaps, and ignores what is compacted", () => {
    const table: [Entry[], unknown][] = [
      [
        entriesFrom(1, 1, 2),
        [
          [4, 4],
          [5, 5],
        ],
      ],
      [
        entriesFrom(4, 4, 5),
        [
          [4, 4],
          [5, 5],
        ],
      ],
      [
        entriesFrom(4, 6, 6),
        [
          [4, 6],
          [5, 6],
        ],
      ],
      [
        entriesFrom(4, 4, 5, 5),
        [
          [4, 4],
          [5, 5],
          [6, 5],
        ],
      ],
      [entriesFrom(2, 3, 3, 5), [[4, 5]]],
      [entriesFrom(4, 5), [[4, 5]]],
      [
        entriesFrom(6, 5),
        [
          [4, 4],
          [5, 5],
          [6, 5],
        ],
      ],
    ];
    for (const [entries, expected] of table) {
      const made = storage(4, 5);
      made.append(entries);
      expect(pairs(made.tail(4 as never))).toEqual(expected);
    }
    expect(() => storage(4).append(entriesFrom(6, 4))).toThrow(/hole/);
  });

  it("takes a newer snapshot and refuses an older", () => {
    const made = new MemStorage();
    expect(made.applySnapshot(makeSnapshot(4, 4, { voters: [1, 2, 3] }))).toBeUndefined();
    expect(made.applySnapshot(makeSnapshot(3, 3, { voters: [1, 2, 3] }))).toBe("snapshotOutOfDate");
    expect(made.applySnapshot(makeSnapshot(4, 4))).toBe("snapshotOutOfDate");
    expect([made.firstIndex(), made.lastIndex(), made.term(4 as never)]).toEqual([5, 4, 4]);
  });

  it("takes the first snapshot of a group even at index 0, which only names its members", () => {
    const made = new MemStorage();
    expect(made.applySnapshot(makeSnapshot(0, 0, { voters: [1] }))).toBeUndefined();
    expect(made.initialState().confState.voters).toEqual([1]);
  });

  it("writes all of an append: snapshot, entries, hard state", () => {
    const made = new MemStorage();
    const base = { sequence: 1, mustSync: true, responses: [] };
    const hardState = makeHardState(3, 2, 9);
    const snapshot = makeSnapshot(9, 3, { voters: [1, 2] });
    expect(made.write({ ...base, snapshot, entries: entriesFrom(10, 3), hardState })).toBeUndefined();
    expect(made.initialState()).toMatchObject({ hardState, confState: { voters: [1, 2] } });
    expect(pairs(made.tail(10 as never))).toEqual([[10, 3]]);
    const older = makeSnapshot(8, 3, { voters: [1, 2] });
    const late = { ...base, snapshot: older, entries: [], hardState: undefined };
    expect(made.write(late)).toBe("snapshotOutOfDate");
  });

  it("has no snapshot to give below what is asked for", () => {
    const made = new MemStorage();
    made.applySnapshot(makeSnapshot(4, 4));
    expect(made.snapshot(4 as never, 2)).toMatchObject({ metadata: { index: 4 } });
    expect(made.snapshot(5 as never, 2)).toBe("snapshotTemporarilyUnavailable");
  });
});
