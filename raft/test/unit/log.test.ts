/** `RaftLog`: storage and unstable entries as one log, and the cursors over it. */
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../base/env.js";
import { RaftLog } from "../../log.js";
import { entriesBytes, entryBytes, makeEntry, makeSnapshot, NO_ENTRIES } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { EntriesContext, Entry } from "../../types.js";
import { storageAt } from "../network.js";

const ALL = Number.POSITIVE_INFINITY;
const CONTEXT: EntriesContext = { reason: "other", to: 0, term: 0 as never, aggressively: false };
/** Entries of consecutive indexes from `first`, one for each term. */
const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const pairs = (entries: readonly Entry[] | string): unknown =>
  typeof entries === "string" ? entries : entries.map(({ index, term }) => [index, term]);

function logOver(storage: MemStorage, bytesMax = ALL): RaftLog {
  return new RaftLog(storage, SILENT_LOGGER, bytesMax, 0);
}
/** All of it unstable. */
function logOf(...terms: number[]): RaftLog {
  const log = logOver(new MemStorage());
  log.append(entriesFrom(1, ...terms));
  return log;
}

describe("conflicts", () => {
  it("are found at the first entry that differs, or at the first that is new", () => {
    const log = logOf(1, 2, 3);
    const table: [Entry[], number][] = [
      [[], 0],
      [entriesFrom(1, 1, 2, 3), 0],
      [entriesFrom(2, 2, 3), 0],
      [entriesFrom(3, 3), 0],
      [entriesFrom(1, 1, 2, 3, 4, 4), 4],
      [entriesFrom(2, 2, 3, 4, 4), 4],
      [entriesFrom(3, 3, 4, 4), 4],
      [entriesFrom(4, 4, 4), 4],
      [entriesFrom(1, 4, 4), 1],
      [entriesFrom(2, 1, 4, 4), 2],
      [entriesFrom(3, 1, 2, 4, 4), 3],
    ];
    for (const [entries, expected] of table) expect(log.findConflict(entries)).toBe(expected);
  });

  it("by term end at the largest index with a term no greater, and at what is compacted", () => {
    const whole = logOf(2, 2, 5, 5, 5);
    const compacted = logOver(storageAt(10, 3, {}));
    compacted.append(entriesFrom(11, 3, 4, 4, 6));
    const table: [RaftLog, number, number, number, number][] = [
      [whole, 5, 6, 5, 5],
      [whole, 5, 5, 5, 5],
      [whole, 5, 4, 2, 2],
      [whole, 5, 2, 2, 2],
      [whole, 5, 1, 0, 0],
      [whole, 1, 2, 1, 2],
      [whole, 0, 0, 0, 0],
      [compacted, 14, 6, 14, 6],
      [compacted, 14, 5, 13, 4],
      [compacted, 13, 3, 11, 3],
      [compacted, 10, 3, 10, 3],
      // Unknown terms may match.
      [compacted, 13, 2, 9, 0],
      [compacted, 9, 3, 9, 0],
      [compacted, 4, 1, 4, 0],
      [compacted, 15, 6, 15, 0],
    ];
    for (const [log, index, term, foundIndex, foundTerm] of table) {
      expect(log.findConflictByTerm(index, term)).toEqual({ index: foundIndex, term: foundTerm });
    }
  });

  it("a log is up to date by its last term first and its length second", () => {
    const log = logOf(1, 2, 3);
    for (const index of [2, 3, 4]) {
      expect(log.isUpToDate(index, 4)).toBe(true);
      expect(log.isUpToDate(index, 2)).toBe(false);
    }
    expect([2, 3, 4].map((index) => log.isUpToDate(index, 3))).toEqual([false, true, true]);
  });
});

describe("append", () => {
  it("adds, overlaps and replaces, and lowers the offset of what is unstable", () => {
    const table: [Entry[], number, [number, number][], number][] = [
      [
        [],
        2,
        [
          [1, 1],
          [2, 2],
        ],
        3,
      ],
      [
        entriesFrom(3, 2),
        3,
        [
          [1, 1],
          [2, 2],
          [3, 2],
        ],
        3,
      ],
      [entriesFrom(1, 2), 1, [[1, 2]], 1],
      [
        entriesFrom(2, 3, 3),
        3,
        [
          [1, 1],
          [2, 3],
          [3, 3],
        ],
        2,
      ],
    ];
    for (const [entries, last, expected, offset] of table) {
      const storage = new MemStorage();
      storage.append(entriesFrom(1, 1, 2));
      const log = logOver(storage);
      expect(log.append(entries)).toBe(last);
      expect(pairs(log.entries(1, ALL, CONTEXT))).toEqual(expected);
      expect(log.unstable.offset).toBe(offset);
    }
  });

  it("never overwrites what is committed", () => {
    const log = logOf(1, 2, 3);
    log.commitTo(2);
    expect(() => log.append(entriesFrom(2, 4))).toThrow(/would overwrite committed 2/);
    expect(log.append(entriesFrom(3, 4))).toBe(3);
  });
});

describe("the commit index", () => {
  it("moves forward only, and never beyond the log", () => {
    const log = logOf(1, 2, 3);
    log.commitTo(2);
    log.commitTo(3);
    expect(log.committed).toBe(3);
    log.commitTo(1);
    expect(log.committed).toBe(3);
    expect(() => log.commitTo(4)).toThrow(/commit 4 is beyond the last index 3/);
  });

  it("moves over an entry of the given term alone", () => {
    const log = logOf(1, 1, 2);
    expect(log.maybeCommit(2, 2)).toBe(false);
    expect(log.maybeCommit(3, 2)).toBe(true);
    expect(log.maybeCommit(3, 2)).toBe(false);
    expect(log.committed).toBe(3);
  });
});

describe("compaction and snapshots", () => {
  it("keeps terms, matching and slices of what is left", () => {
    const storage = new MemStorage();
    storage.append(entriesFrom(1, ...Array.from({ length: 750 }, (_, i) => i + 1)));
    const log = logOver(storage);
    log.append(entriesFrom(751, ...Array.from({ length: 250 }, (_, i) => i + 751)));
    expect(log.maybeCommit(1000, 1000)).toBe(true);
    log.appliedTo(1000, 0);
    expect(storage.compact(500 as never)).toBeUndefined();
    expect(log.lastIndex()).toBe(1000);
    for (let index = 500; index <= 1000; index++) expect(log.term(index)).toBe(index);
    expect(log.matchTerm(750, 750)).toBe(true);
    expect(log.unstable.nextEntries().length).toBe(250);
    log.append(entriesFrom(1001, 1001));
    expect(log.lastIndex()).toBe(1001);
    expect((log.entries(1001, ALL, CONTEXT) as Entry[]).length).toBe(1);
  });

  it("leave as many entries as come after the compacted index, and refuse to compact twice or too far", () => {
    const storage = new MemStorage();
    storage.append(entriesFrom(1, ...Array.from({ length: 1000 }, () => 1)));
    const log = logOver(storage);
    for (const [index, left] of [
      [300, 700],
      [500, 500],
      [800, 200],
      [900, 100],
    ] as const) {
      expect(storage.compact(index as never)).toBeUndefined();
      expect((log.entries(index + 1, ALL, CONTEXT) as Entry[]).length).toBe(left);
    }
    expect(storage.compact(800 as never)).toBe("compacted");
    expect(storage.compact(1001 as never)).toBe("unavailable");
  });

  it("a restored log begins behind the snapshot and knows its term", () => {
    const log = logOver(storageAt(1000, 1000, {}));
    expect(log.entries(1001, ALL, CONTEXT)).toEqual([]);
    expect([log.firstIndex(), log.committed, log.unstable.offset]).toEqual([1001, 1000, 1001]);
    expect(log.term(1000)).toBe(1000);
  });

  it("restoring a snapshot over unstable entries drops them and commits up to it", () => {
    const log = logOf(1, 1, 2);
    log.restore(makeSnapshot(200, 7));
    expect([log.committed, log.firstIndex(), log.lastIndex(), log.unstable.offset]).toEqual([
      200, 201, 200, 201,
    ]);
    expect(log.unstable.entries).toEqual([]);
    expect(log.term(200)).toBe(7);
    expect(log.hasPendingSnapshot()).toBe(true);
  });
});

describe("terms", () => {
  it("are known from the snapshot's index to the last entry", () => {
    const log = logOver(storageAt(100, 1, {}));
    log.append(entriesFrom(101, ...Array.from({ length: 98 }, (_, i) => i + 2)));
    expect([99, 100, 150, 198, 199].map((index) => log.term(index))).toEqual([
      "compacted",
      1,
      51,
      99,
      "unavailable",
    ]);
  });

  it("with an unstable snapshot above the storage's, only those of it and of what follows are known", () => {
    const log = logOver(storageAt(100, 1, {}));
    log.restore(makeSnapshot(105, 2));
    expect([99, 100, 104, 105, 106].map((index) => log.term(index))).toEqual([
      "compacted",
      "compacted",
      "compacted",
      2,
      "unavailable",
    ]);
  });
});

describe("slices", () => {
  const half = 50;
  const build = (): RaftLog => {
    const storage = storageAt(100, 100, {});
    storage.append(entriesFrom(101, ...Array.from({ length: half - 1 }, (_, i) => 101 + i)));
    const log = logOver(storage);
    log.append(entriesFrom(150, ...Array.from({ length: half }, (_, i) => 150 + i)));
    return log;
  };

  it("are out of bounds below the first entry as a value, above the last as a broken invariant", () => {
    const log = build();
    expect(log.slice(99, 101, ALL, CONTEXT)).toBe("compacted");
    expect(log.slice(100, 101, ALL, CONTEXT)).toBe("compacted");
    expect(log.slice(101, 101, ALL, CONTEXT)).toEqual([]);
    expect(log.slice(200, 200, ALL, CONTEXT)).toEqual([]);
    expect(() => log.slice(199, 201, ALL, CONTEXT)).toThrow(/out of bounds/);
    expect(() => log.slice(180, 170, ALL, CONTEXT)).toThrow(/out of bounds/);
  });

  it("join storage and unstable part, limited by size, with one entry at least", () => {
    const log = build();
    const size = entryBytes(makeEntry(150, 150));
    const table: [number, number, number, number, number][] = [
      [149, 150, ALL, 149, 1],
      [149, 151, ALL, 149, 2],
      [150, 151, ALL, 150, 1],
      [145, 155, ALL, 145, 10],
      [150, 199, ALL, 150, 49],
      [149, 153, 0, 149, 1],
      [149, 153, size + 1, 149, 1],
      [148, 153, size + 1, 148, 1],
      [148, 153, size * 2, 148, 2],
      [149, 153, size * 3, 149, 3],
      [150, 153, size * 2, 150, 2],
    ];
    for (const [low, high, bytesMax, first, count] of table) {
      const entries = log.slice(low, high, bytesMax, CONTEXT) as Entry[];
      expect([entries[0]?.index, entries.length]).toEqual([first, count]);
    }
  });

  it("do not add an oversized unstable entry behind stable ones", () => {
    const storage = new MemStorage();
    storage.append([makeEntry(1, 1, new Uint8Array(10))]);
    const log = logOver(storage);
    log.append([makeEntry(1, 2, new Uint8Array(500))]);
    expect(pairs(log.slice(1, 3, 100, CONTEXT))).toEqual([[1, 1]]);
    expect(pairs(log.slice(2, 3, 100, CONTEXT))).toEqual([[2, 1]]);
  });

  it("are scanned page by page until the visitor has enough", () => {
    const log = build();
    const visited: number[] = [];
    const page = entryBytes(makeEntry(150, 150)) * 2;
    const all = log.scan(145, 156, page, (entry) => {
      visited.push(entry.index);
      return false;
    });
    expect(all).toBe(false);
    expect(visited).toEqual(Array.from({ length: 11 }, (_, i) => 145 + i));
    let seen = 0;
    expect(log.scan(145, 156, 0, () => ++seen === 3)).toBe(true);
    expect(seen).toBe(3);
    expect(log.scan(99, 156, ALL, () => true)).toBe("compacted");
  });

  it("of a storage that answers nothing at all are refused, not repeated for ever", () => {
    class Empty extends MemStorage {
      override entries(): readonly Entry[] {
        return NO_ENTRIES;
      }
    }
    const storage = new Empty();
    storage.append(entriesFrom(1, 1, 1, 1));
    expect(() => logOver(storage).scan(1, 4, ALL, () => false)).toThrow(/returned no entries/);
  });
});

describe("acknowledged writes", () => {
  it("move the unstable offset when index and term match", () => {
    for (const [index, term, offset] of [
      [1, 1, 2],
      [2, 2, 3],
      [2, 1, 1],
      [3, 1, 1],
    ] as const) {
      const log = logOf(1, 2);
      log.unstable.stableTo(index, term);
      expect(log.unstable.offset).toBe(offset);
    }
  });

  it("with a snapshot below, only those of the entries above it", () => {
    const table: [number, number, number][] = [
      [6, 2, 7],
      [5, 2, 6],
      [4, 2, 6],
      [6, 3, 6],
      [7, 2, 6],
    ];
    for (const [index, term, offset] of table) {
      const log = logOver(storageAt(5, 2, {}));
      log.append(entriesFrom(6, 2));
      log.unstable.stableTo(index, term);
      expect(log.unstable.offset).toBe(offset);
    }
  });

  it("hand out the unstable part alone", () => {
    const storage = new MemStorage();
    storage.append(entriesFrom(1, 1, 2));
    const log = logOver(storage);
    expect(log.unstable.nextEntries()).toEqual([]);
    log.append(entriesFrom(3, 2, 2));
    expect(pairs(log.unstable.nextEntries())).toEqual([
      [3, 2],
      [4, 2],
    ]);
    log.unstable.acceptInProgress();
    expect(log.unstable.nextEntries()).toEqual([]);
    log.unstable.stableTo(4, 2);
    expect(log.unstable.offset).toBe(5);
  });
});

describe("hand-out of committed entries", () => {
  /** Snapshot at 3, entries 4 to 6 of term 1, of which 4 is durable; 5 is committed. */
  function build(applied: number, applying: number, allowUnstable: boolean, paused: boolean): RaftLog {
    const log = logOver(storageAt(3, 1, {}), 100);
    log.append(entriesFrom(4, 1, 1, 1));
    log.unstable.stableTo(4, 1);
    (log.storage as MemStorage).append(entriesFrom(4, 1));
    log.maybeCommit(5, 1);
    log.appliedTo(applied, 0);
    log.acceptApplying(applying, 0, allowUnstable);
    if (paused) log.acceptApplying(applying, 100, allowUnstable);
    else log.appliedTo(applied, 0);
    return log;
  }

  it("is what is committed and not handed out, with unstable entries only where allowed", () => {
    const table: [number, number, boolean, boolean, number[]][] = [
      [3, 3, true, false, [4, 5]],
      [3, 4, true, false, [5]],
      [3, 5, true, false, []],
      [4, 4, true, false, [5]],
      [4, 5, true, false, []],
      [5, 5, true, false, []],
      [3, 3, false, false, [4]],
      [3, 4, false, false, []],
      [4, 4, false, false, []],
      [3, 3, true, true, []],
      [4, 4, true, true, []],
    ];
    for (const [applied, applying, allowUnstable, paused, indexes] of table) {
      const log = build(applied, applying, allowUnstable, paused);
      expect(log.hasNextCommitted(allowUnstable)).toBe(indexes.length > 0);
      expect(log.nextCommitted(allowUnstable).map(({ index }) => index)).toEqual(indexes);
    }
  });

  it("waits while a snapshot is pending", () => {
    const log = build(3, 3, true, false);
    log.restore(makeSnapshot(4, 1));
    log.append(entriesFrom(5, 1, 1));
    log.commitTo(5);
    expect(log.hasNextCommitted(true)).toBe(false);
    expect(log.nextCommitted(true)).toEqual([]);
  });

  it("pauses when the bytes under way reach the limit or the last hand-out was cut off", () => {
    const paused = (index: number, bytes: number, allowUnstable: boolean): boolean => {
      const log = build(3, 3, allowUnstable, false);
      log.acceptApplying(index, bytes, allowUnstable);
      return !log.hasNextCommitted(allowUnstable) && log.applying === index;
    };
    expect(paused(4, 99, true)).toBe(true);
    expect(paused(5, 99, true)).toBe(true);
    expect(paused(4, 100, true)).toBe(true);
    expect(paused(4, 99, false)).toBe(true);
    const log = build(3, 3, true, false);
    log.acceptApplying(5, 99, true);
    log.append(entriesFrom(7, 1));
    log.commitTo(7);
    expect(log.hasNextCommitted(true)).toBe(true);
    expect(() => log.acceptApplying(8, 0, true)).toThrow(/beyond committed/);
  });

  it("goes on when acknowledgements bring the bytes below the limit, and never counts below zero", () => {
    const log = build(3, 3, true, false);
    log.acceptApplying(5, 105, true);
    log.append(entriesFrom(7, 1));
    log.commitTo(7);
    expect(log.hasNextCommitted(true)).toBe(false);
    log.appliedTo(4, 5);
    expect(log.hasNextCommitted(true)).toBe(false);
    log.appliedTo(5, 1000);
    expect(log.hasNextCommitted(true)).toBe(true);
    expect([log.applied, log.applying]).toEqual([5, 5]);
    expect(() => log.appliedTo(8, 0)).toThrow(/out of/);
    expect(() => log.appliedTo(4, 0)).toThrow(/out of/);
  });

  it("is cut by bytes over all hand-outs, one entry at least", () => {
    const log = logOver(new MemStorage(), 30);
    log.append([1, 2, 3].map((index) => makeEntry(1, index, new Uint8Array(20))));
    log.commitTo(3);
    const first = log.nextCommitted(true);
    expect(first.map(({ index }) => index)).toEqual([1]);
    log.acceptApplying(1, entriesBytes(first), true);
    expect(log.nextCommitted(true)).toEqual([]);
    log.appliedTo(1, entriesBytes(first));
    expect(log.nextCommitted(true).map(({ index }) => index)).toEqual([2]);
  });
});
