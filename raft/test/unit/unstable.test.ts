/** `Unstable`: what is not durable yet, with the marks of what is being written. */
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../base/env.js";
import { makeEntry, makeSnapshot } from "../../message.js";
import type { Entry } from "../../types.js";
import { Unstable } from "../../unstable.js";

const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const pairs = (entries: readonly Entry[]): unknown => entries.map(({ index, term }) => [index, term]);

/** Entries of term 1 from 5 on; a snapshot at 4 if asked for. */
function unstable(count: number, withSnapshot: boolean): Unstable {
  const made = new Unstable(5, SILENT_LOGGER);
  if (withSnapshot) made.restore(makeSnapshot(4, 1));
  if (count > 0) made.truncateAndAppend(entriesFrom(5, ...Array.from({ length: count }, () => 1)));
  return made;
}

describe("bounds", () => {
  it("the first index is known when there is a snapshot", () => {
    expect(unstable(1, false).maybeFirstIndex()).toBeUndefined();
    expect(unstable(0, false).maybeFirstIndex()).toBeUndefined();
    expect(unstable(1, true).maybeFirstIndex()).toBe(5);
    expect(unstable(0, true).maybeFirstIndex()).toBe(5);
  });

  it("the last index is that of the last entry, else of the snapshot, else unknown", () => {
    expect(unstable(1, false).maybeLastIndex()).toBe(5);
    expect(unstable(2, true).maybeLastIndex()).toBe(6);
    expect(unstable(0, true).maybeLastIndex()).toBe(4);
    expect(unstable(0, false).maybeLastIndex()).toBeUndefined();
  });

  it("terms are known of the entries and of the snapshot's index", () => {
    const plain = unstable(1, false);
    expect([4, 5, 6].map((index) => plain.maybeTerm(index))).toEqual([undefined, 1, undefined]);
    const snapshot = unstable(1, true);
    expect([3, 4, 5, 6].map((index) => snapshot.maybeTerm(index))).toEqual([undefined, 1, 1, undefined]);
    expect([4, 5].map((index) => unstable(0, true).maybeTerm(index))).toEqual([1, undefined]);
  });
});

describe("a snapshot", () => {
  it("replaces the entries and is to be written", () => {
    const made = unstable(1, true);
    made.acceptInProgress();
    made.restore(makeSnapshot(6, 2));
    expect([made.offset, made.offsetInProgress, made.entries.length]).toEqual([7, 7, 0]);
    expect(made.nextSnapshot()).toEqual(makeSnapshot(6, 2));
  });

  it("is handed out once", () => {
    expect(unstable(0, false).nextSnapshot()).toBeUndefined();
    const made = unstable(0, true);
    expect(made.nextSnapshot()?.metadata.index).toBe(4);
    made.acceptInProgress();
    expect(made.nextSnapshot()).toBeUndefined();
    made.stableSnapshotTo(3);
    expect(made.snapshot?.metadata.index).toBe(4);
    made.stableSnapshotTo(4);
    expect(made.snapshot).toBeUndefined();
    expect(made.snapshotInProgress).toBe(false);
  });

  it("and entries become durable one after the other, and nothing is left then", () => {
    const made = unstable(3, true);
    made.acceptInProgress();
    made.stableSnapshotTo(4);
    made.stableTo(7, 1);
    expect([made.snapshot, made.entries.length, made.offset]).toEqual([undefined, 0, 8]);
  });
});

describe("entries in progress", () => {
  it("are not handed out again", () => {
    const made = unstable(2, false);
    expect(pairs(made.nextEntries())).toEqual([
      [5, 1],
      [6, 1],
    ]);
    made.acceptInProgress();
    expect(made.nextEntries()).toEqual([]);
    expect(made.hasNextEntries()).toBe(false);
    made.truncateAndAppend(entriesFrom(7, 1));
    expect(pairs(made.nextEntries())).toEqual([[7, 1]]);
  });

  it("are marked with the snapshot, each only if it is there", () => {
    const table: [number, boolean, number, boolean][] = [
      [0, false, 5, false],
      [1, false, 6, false],
      [2, false, 7, false],
      [0, true, 5, true],
      [2, true, 7, true],
    ];
    for (const [count, withSnapshot, offset, snapshotInProgress] of table) {
      const made = unstable(count, withSnapshot);
      made.acceptInProgress();
      expect([made.offsetInProgress, made.snapshotInProgress]).toEqual([offset, snapshotInProgress]);
      made.acceptInProgress();
      expect(made.offsetInProgress).toBe(offset);
    }
  });
});

describe("stableTo", () => {
  it("releases entries up to the index when the term matches", () => {
    // entries, in progress before the acknowledgement, index, term, offset, in progress, left
    const table: [number, boolean, number, number, number, number, number][] = [
      [0, false, 5, 1, 5, 5, 0],
      [1, true, 5, 1, 6, 6, 0],
      [2, true, 5, 1, 6, 7, 1],
      [2, true, 6, 1, 7, 7, 0],
      [1, true, 6, 1, 5, 6, 1],
      [1, true, 5, 2, 5, 6, 1],
      [1, true, 4, 1, 5, 6, 1],
      [1, true, 4, 2, 5, 6, 1],
    ];
    for (const [count, accepted, index, term, offset, inProgress, left] of table) {
      const made = unstable(count, false);
      if (accepted) made.acceptInProgress();
      made.stableTo(index, term);
      expect([made.offset, made.offsetInProgress, made.entries.length]).toEqual([offset, inProgress, left]);
    }
  });

  it("does not take an acknowledgement of the snapshot's index for one of entries", () => {
    const made = unstable(1, true);
    made.acceptInProgress();
    made.stableTo(4, 1);
    expect([made.offset, made.entries.length]).toEqual([5, 1]);
  });

  it("keeps what was appended behind the write", () => {
    const made = unstable(1, false);
    made.acceptInProgress();
    made.truncateAndAppend(entriesFrom(6, 1, 1));
    made.stableTo(5, 1);
    expect([made.offset, made.offsetInProgress]).toEqual([6, 6]);
    expect(pairs(made.nextEntries())).toEqual([
      [6, 1],
      [7, 1],
    ]);
  });
});

describe("truncateAndAppend", () => {
  it("appends, replaces all, or cuts and appends; what is replaced must be written again", () => {
    // entries, in progress, appended, offset, in progress, entries after
    const table: [Entry[], boolean, Entry[], number, number, unknown][] = [
      [
        entriesFrom(5, 1),
        false,
        entriesFrom(6, 1, 1),
        5,
        5,
        [
          [5, 1],
          [6, 1],
          [7, 1],
        ],
      ],
      [
        entriesFrom(5, 1),
        true,
        entriesFrom(6, 1, 1),
        5,
        6,
        [
          [5, 1],
          [6, 1],
          [7, 1],
        ],
      ],
      [
        entriesFrom(5, 1),
        false,
        entriesFrom(5, 2, 2),
        5,
        5,
        [
          [5, 2],
          [6, 2],
        ],
      ],
      [
        entriesFrom(5, 1),
        false,
        entriesFrom(4, 2, 2, 2),
        4,
        4,
        [
          [4, 2],
          [5, 2],
          [6, 2],
        ],
      ],
      [
        entriesFrom(5, 1),
        true,
        entriesFrom(5, 2, 2),
        5,
        5,
        [
          [5, 2],
          [6, 2],
        ],
      ],
      [
        entriesFrom(5, 1, 1, 1),
        false,
        entriesFrom(6, 2),
        5,
        5,
        [
          [5, 1],
          [6, 2],
        ],
      ],
      [
        entriesFrom(5, 1, 1, 1),
        false,
        entriesFrom(7, 2, 2),
        5,
        5,
        [
          [5, 1],
          [6, 1],
          [7, 2],
          [8, 2],
        ],
      ],
      [
        entriesFrom(5, 1, 1, 1),
        true,
        entriesFrom(6, 2),
        5,
        6,
        [
          [5, 1],
          [6, 2],
        ],
      ],
      [
        entriesFrom(5, 1, 1, 1),
        true,
        entriesFrom(7, 2, 2),
        5,
        7,
        [
          [5, 1],
          [6, 1],
          [7, 2],
          [8, 2],
        ],
      ],
    ];
    for (const [before, inProgress, entries, offset, offsetInProgress, after] of table) {
      const made = new Unstable(5, SILENT_LOGGER);
      made.truncateAndAppend(before);
      if (inProgress) made.acceptInProgress();
      made.truncateAndAppend(entries);
      expect([made.offset, made.offsetInProgress]).toEqual([offset, offsetInProgress]);
      expect(pairs(made.entries)).toEqual(after);
    }
  });

  it("leaves slices handed out before as they were", () => {
    const made = unstable(3, false);
    const slice = made.slice(5, 8);
    made.truncateAndAppend(entriesFrom(6, 2));
    made.truncateAndAppend(entriesFrom(7, 2));
    expect(pairs(slice)).toEqual([
      [5, 1],
      [6, 1],
      [7, 1],
    ]);
  });

  it("refuses a hole", () => {
    expect(() => unstable(1, false).truncateAndAppend(entriesFrom(8, 1))).toThrow(/hole/);
  });
});
