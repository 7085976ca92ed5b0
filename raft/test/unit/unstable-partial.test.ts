/** `Unstable` while only a part of it is being written, and then acknowledged or overwritten. */
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../base/env.js";
import { makeEntry, makeSnapshot } from "../../message.js";
import type { Entry } from "../../types.js";
import { Unstable } from "../../unstable.js";

const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const indexes = (entries: readonly Entry[]): number[] => entries.map(({ index }) => index);

/** Entries from 5 on, of which those below `inProgress` are being written. */
function partly(terms: readonly number[], inProgress: number, withSnapshot = false): Unstable {
  const made = new Unstable(5, SILENT_LOGGER);
  if (withSnapshot) made.restore(makeSnapshot(4, 1));
  if (inProgress > 5) made.truncateAndAppend(entriesFrom(5, ...terms.slice(0, inProgress - 5)));
  if (inProgress > 5 || withSnapshot) made.acceptInProgress();
  if (terms.length > inProgress - 5) {
    made.truncateAndAppend(entriesFrom(inProgress, ...terms.slice(inProgress - 5)));
  }
  return made;
}

describe("an acknowledgement", () => {
  it.each([
    // terms from 5, in progress up to, index, term, offset, in progress, entries left
    [[], 5, 5, 1, 5, 5, 0],
    [[1], 6, 5, 1, 6, 6, 0],
    [[1, 1], 6, 5, 1, 6, 6, 1],
    [[1, 1], 7, 5, 1, 6, 7, 1],
    [[1, 1], 6, 6, 1, 7, 7, 0],
    [[1, 1, 1], 7, 5, 1, 6, 7, 2],
    [[1, 1, 1], 6, 7, 1, 8, 8, 0],
    [[2], 6, 5, 1, 5, 6, 1],
    [[2, 2], 6, 5, 1, 5, 6, 2],
    [[1, 2], 7, 6, 1, 5, 7, 2],
    [[1, 2], 7, 6, 3, 5, 7, 2],
    [[3, 3], 7, 4, 1, 5, 7, 2],
    [[3, 3], 7, 7, 3, 5, 7, 2],
  ])(
    "of terms %j, in progress up to %i, for %i of term %i",
    (terms, started, index, term, offset, inProgress, left) => {
      for (const withSnapshot of [false, true]) {
        const made = partly(terms, started, withSnapshot);
        made.stableTo(index, term);
        expect([made.offset, made.offsetInProgress, made.entries.length]).toEqual([offset, inProgress, left]);
        expect(made.snapshot?.metadata.index).toBe(withSnapshot ? 4 : undefined);
        expect(made.hasNextEntries()).toBe(offset + left > inProgress);
      }
    },
  );
});

describe("an overwrite", () => {
  it.each([
    // terms from 5, in progress up to, first, its terms, offset, in progress, terms after
    [[1], 5, 6, [1, 1], 5, 5, [1, 1, 1]],
    [[1], 6, 6, [1, 1], 5, 6, [1, 1, 1]],
    [[1], 5, 5, [2, 2], 5, 5, [2, 2]],
    [[1], 5, 4, [2, 2, 2], 4, 4, [2, 2, 2]],
    [[1], 6, 5, [2, 2], 5, 5, [2, 2]],
    [[1], 6, 3, [2, 2], 3, 3, [2, 2]],
    [[1, 1, 1], 5, 6, [2], 5, 5, [1, 2]],
    [[1, 1, 1], 5, 7, [2, 2], 5, 5, [1, 1, 2, 2]],
    [[1, 1, 1], 6, 6, [2], 5, 6, [1, 2]],
    [[1, 1, 1], 7, 6, [2], 5, 6, [1, 2]],
    [[1, 1, 1], 6, 7, [2], 5, 6, [1, 1, 2]],
    [[1, 1, 1], 8, 7, [2], 5, 7, [1, 1, 2]],
  ])(
    "of terms %j, in progress up to %i, from %i on by %j",
    (terms, started, first, added, offset, inProgress, after) => {
      const made = partly(terms, started);
      const before = made.nextEntries();
      const copy = [...before];
      made.truncateAndAppend(entriesFrom(first, ...added));
      expect([made.offset, made.offsetInProgress]).toEqual([offset, inProgress]);
      expect(made.entries.map(({ term }) => term)).toEqual(after);
      const last = offset + after.length - 1;
      const unsent = Array.from({ length: last - inProgress + 1 }, (_, at) => inProgress + at);
      expect(indexes(made.nextEntries())).toEqual(unsent);
      expect(made.maybeLastIndex()).toBe(last);
      expect(before).toEqual(copy);
    },
  );

  it("behind a snapshot leaves that as it is", () => {
    const made = partly([1, 1], 6, true);
    made.truncateAndAppend(entriesFrom(5, 2));
    expect([made.snapshotInProgress, made.maybeFirstIndex(), made.maybeTerm(4)]).toEqual([true, 5, 1]);
    expect(indexes(made.nextEntries())).toEqual([5]);
  });
});

describe("a snapshot", () => {
  it("that replaces one being written is handed out too, and the first one's end changes nothing", () => {
    const made = new Unstable(5, SILENT_LOGGER);
    made.restore(makeSnapshot(8, 1));
    made.acceptInProgress();
    made.restore(makeSnapshot(12, 2));
    expect(made.nextSnapshot()?.metadata.index).toBe(12);
    made.acceptInProgress();
    made.stableSnapshotTo(8);
    expect([made.snapshot?.metadata.index, made.snapshotInProgress]).toEqual([12, true]);
    made.stableSnapshotTo(12);
    expect([made.snapshot, made.snapshotInProgress, made.offset]).toEqual([undefined, false, 13]);
  });

  it("drops entries that were handed out: neither acknowledgement nor slice finds them", () => {
    const made = partly([1, 1, 1], 7);
    expect(made.slice(7, 8).map(({ term }) => term)).toEqual([1]);
    made.restore(makeSnapshot(6, 3));
    made.stableTo(7, 1);
    expect([made.offset, made.offsetInProgress, made.entries]).toEqual([7, 7, []]);
    expect(() => made.slice(5, 8)).toThrow(/out of \[7, 7\)/);
    expect([made.maybeTerm(5), made.maybeTerm(6), made.maybeTerm(7)]).toEqual([undefined, 3, undefined]);
    made.truncateAndAppend(entriesFrom(7, 3));
    expect(made.slice(7, 8).map(({ term }) => term)).toEqual([3]);
  });
});

describe("a slice", () => {
  it("is made anew after what it covers was written, appended to or overwritten", () => {
    const made = partly([1, 1, 1], 5);
    const first = made.slice(6, 8);
    expect(made.slice(6, 8)).toBe(first);
    made.truncateAndAppend(entriesFrom(7, 2));
    expect(made.slice(6, 8).map(({ term }) => term)).toEqual([1, 2]);
    made.stableTo(5, 1);
    expect(indexes(made.slice(6, 8))).toEqual([6, 7]);
    made.stableTo(6, 1);
    expect(() => made.slice(6, 8)).toThrow(/out of \[7, 8\)/);
    expect(() => made.slice(7, 9)).toThrow(/out of \[7, 8\)/);
  });
});
