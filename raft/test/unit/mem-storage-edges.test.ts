/** `MemStorage` where a write touches what is compacted, and what a reader holds while it changes. */
import { expect, it } from "vitest";
import { utf8 } from "../../../base/bytes.js";
import { makeEntry, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { Entry } from "../../types.js";

const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const pairs = (entries: readonly Entry[]): unknown => entries.map(({ index, term }) => [index, term]);

/** Compacted up to 3, of term 3; entries 4 and 5 of terms 4 and 5. */
function storage(): MemStorage {
  const made = new MemStorage();
  made.applySnapshot(makeSnapshot(3, 3, { voters: [1] }));
  made.append(entriesFrom(4, 4, 5));
  return made;
}

it.each([
  // first appended, its terms, all that is there afterwards as [index, term]
  [4, [], "4/4 5/5"],
  [1, [1], "4/4 5/5"],
  [1, [1, 2, 3], "4/4 5/5"],
  [2, [3, 3], "4/4 5/5"],
  [3, [3], "4/4 5/5"],
  [3, [3, 4], "4/4"],
  [3, [9, 9, 9, 9], "4/9 5/9 6/9"],
  [1, [1, 2, 3, 7], "4/7"],
  [4, [4], "4/4"],
  [5, [6, 6], "4/4 5/6 6/6"],
  [6, [6], "4/4 5/5 6/6"],
])("appended at %i, terms %j: %s", (first, terms, expected) => {
  const made = storage();
  made.append(entriesFrom(first, ...terms));
  expect(
    made
      .tail(4 as never)
      .map(({ index, term }) => `${index}/${term}`)
      .join(" "),
  ).toBe(expected);
  // The compacted end stays as it was.
  expect([made.firstIndex(), made.term(3 as never), made.term(2 as never)]).toEqual([4, 3, "compacted"]);
});

it("entries read before are not changed by appends, overwrites and compactions", () => {
  const made = storage();
  const read = made.tail(4 as never);
  made.append(entriesFrom(4, 8, 8, 8));
  made.compact(5 as never);
  expect(pairs(read)).toEqual([
    [4, 4],
    [5, 5],
  ]);
  expect(pairs(made.tail(6 as never))).toEqual([[6, 8]]);
  expect([made.firstIndex(), made.term(5 as never), made.tail(5 as never)]).toEqual([6, 8, []]);
});

it("a snapshot drops the whole log, also what comes after it, and the next append must follow it", () => {
  const made = storage();
  expect(made.applySnapshot(makeSnapshot(4, 9, { voters: [1, 2] }, utf8("s")))).toBeUndefined();
  expect([made.firstIndex(), made.lastIndex(), made.term(4 as never), made.term(5 as never)]).toEqual([
    5,
    4,
    9,
    "unavailable",
  ]);
  expect(() => made.append(entriesFrom(6, 9))).toThrow(/hole in the log: last 4, append at 6/);
  made.append(entriesFrom(5, 9));
  expect(pairs(made.tail(5 as never))).toEqual([[5, 9]]);
  expect(made.snapshot(0 as never, 2)).toEqual(makeSnapshot(4, 9, { voters: [1, 2] }, utf8("s")));
});

it("a snapshot made without a configuration keeps the last one, and compacting leaves it in place", () => {
  const made = storage();
  expect(made.createSnapshot(5 as never, undefined, utf8("x"))).toEqual(
    makeSnapshot(5, 5, { voters: [1] }, utf8("x")),
  );
  expect(made.compact(5 as never)).toBeUndefined();
  expect(made.snapshot(5 as never, 2)).toMatchObject({ metadata: { index: 5, term: 5 } });
  expect([made.firstIndex(), made.lastIndex()]).toEqual([6, 5]);
});

it("a group that was bootstrapped knows its members and has no log", () => {
  const made = MemStorage.withConfState({ voters: [1, 2], learners: [3] });
  expect(made.initialState()).toEqual({
    hardState: { term: 0, vote: 0, commit: 0 },
    confState: { voters: [1, 2], votersOutgoing: [], learners: [3], learnersNext: [], autoLeave: false },
  });
  expect([made.firstIndex(), made.lastIndex(), made.term(0 as never)]).toEqual([1, 0, 0]);
});

it("a snapshot that the library accepted replaces one at the same index, and an older one is refused", () => {
  const made = new MemStorage();
  made.applySnapshot(makeSnapshot(3, 3, { voters: [1] }));
  const append = (index: number, data: string) =>
    ({ snapshot: makeSnapshot(index, 3, { voters: [1] }, utf8(data)), entries: [], mustSync: true }) as never;
  expect(made.write(append(3, "again"))).toBeUndefined();
  expect(made.snapshot(0 as never, 1 as never)).toMatchObject({ data: utf8("again") });
  expect(made.write(append(2, "older"))).toBe("snapshotOutOfDate");
});
