/** `RaftLog` over storages at their limits: restarts, pending snapshots, short and impossible answers. */
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../base/env.js";
import { RaftLog } from "../../log.js";
import { entryBytes, makeEntry, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { EntriesContext, Entry, StorageError } from "../../types.js";
import { storageAt } from "../network.js";

const ALL = Number.POSITIVE_INFINITY;
const CONTEXT: EntriesContext = { reason: "other", to: 0, term: 0 as never, aggressively: false };
const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const indexes = (entries: readonly Entry[] | string): unknown =>
  typeof entries === "string" ? entries : entries.map(({ index }) => index);
const logOver = (storage: MemStorage, bytesMax = ALL): RaftLog =>
  new RaftLog(storage, SILENT_LOGGER, bytesMax, 0);

describe("after a restart", () => {
  /** Snapshot at 3, entries 4 to 6, of which 5 is committed. */
  const build = (): RaftLog => {
    const storage = storageAt(3, 1, {});
    storage.append(entriesFrom(4, 1, 1, 1));
    const log = logOver(storage);
    log.commitTo(5);
    return log;
  };

  it.each([
    [3, [4, 5]],
    [4, [5]],
    [5, []],
  ])("with %i applied hands out what comes after it", (applied, expected) => {
    const log = build();
    log.restoreApplied(applied);
    expect([log.applied, log.applying]).toEqual([applied, applied]);
    expect(indexes(log.nextCommitted(false))).toEqual(expected);
  });

  it.each([2, 6, 7])("refuses %i as applied: it is before the snapshot or not committed", (applied) => {
    expect(() => build().restoreApplied(applied)).toThrow(/is out of \[3, 5\]/);
  });
});

describe("a limit of zero", () => {
  it("hands out entries one by one, each after the one before is applied", () => {
    const log = logOver(new MemStorage(), 0);
    log.append(entriesFrom(1, 1, 1, 1));
    log.commitTo(3);
    const seen: number[] = [];
    for (let round = 0; round < 3; round++) {
      const entries = log.nextCommitted(true);
      expect(entries.length).toBe(1);
      const { index } = entries[0] as Entry;
      seen.push(index);
      log.acceptApplying(index, entryBytes(entries[0] as Entry), true);
      expect(log.hasNextCommitted(true)).toBe(false);
      log.appliedTo(index, entryBytes(entries[0] as Entry));
    }
    expect(seen).toEqual([1, 2, 3]);
  });
});

describe("the snapshot to send", () => {
  it("is the pending one if that is new enough, else the storage's, else none yet", () => {
    const log = logOver(storageAt(3, 1, {}));
    expect(log.snapshot(3, 2)).toMatchObject({ metadata: { index: 3 } });
    expect(log.snapshot(4, 2)).toBe("snapshotTemporarilyUnavailable");
    log.restore(makeSnapshot(8, 2));
    for (const index of [0, 3, 7, 8])
      expect(log.snapshot(index, 2)).toMatchObject({ metadata: { index: 8 } });
    expect(log.snapshot(9, 2)).toBe("snapshotTemporarilyUnavailable");
  });
});

describe("a slice over both parts", () => {
  const SIZE = entryBytes(makeEntry(1, 1));
  const build = (): RaftLog => {
    const storage = new MemStorage();
    storage.append(entriesFrom(1, 1, 1));
    const log = logOver(storage);
    log.append(entriesFrom(3, 1, 1));
    return log;
  };

  it.each([
    [1, 0],
    [1, SIZE * 2 - 1],
    [2, SIZE * 2],
    [2, SIZE * 3 - 1],
    [3, SIZE * 3],
    [3, SIZE * 4 - 1],
    [4, SIZE * 4],
    [4, ALL],
  ])("has %i entries in %d bytes", (count, bytesMax) => {
    expect(indexes(build().slice(1, 5, bytesMax, CONTEXT))).toEqual([1, 2, 3, 4].slice(0, count));
  });

  it("ends where the storage's answer ends: a short answer is never continued with a hole", () => {
    class Short extends MemStorage {
      override entries(low: never, high: never, bytesMax: number): ReturnType<MemStorage["entries"]> {
        const all = super.entries(low, high, bytesMax);
        return typeof all === "string" ? all : all.slice(0, 1);
      }
    }
    const storage = new Short();
    storage.append(entriesFrom(1, 1, 1));
    const log = logOver(storage);
    log.append(entriesFrom(3, 1, 1));
    expect(indexes(log.slice(1, 5, ALL, CONTEXT))).toEqual([1]);
    expect(indexes(log.slice(2, 5, ALL, CONTEXT))).toEqual([2, 3, 4]);
    expect(indexes(log.slice(1, 3, ALL, CONTEXT))).toEqual([1]);
    log.commitTo(4);
    // What is handed out moves by what was answered.
    const seen: unknown[] = [];
    while (log.hasNextCommitted(true)) {
      const entries = log.nextCommitted(true);
      seen.push(indexes(entries));
      log.acceptApplying(entries.at(-1)?.index as number, 0, true);
      log.appliedTo(entries.at(-1)?.index as number, 0);
    }
    expect(seen).toEqual([[1], [2, 3, 4]]);
    expect(log.applied).toBe(4);
  });
});

describe("a storage whose answers cannot be", () => {
  class Broken extends MemStorage {
    readonly answer: StorageError;
    constructor(answer: StorageError) {
      super();
      this.answer = answer;
      this.append(entriesFrom(1, 1, 1, 1));
    }
    override entries(): ReturnType<MemStorage["entries"]> {
      return this.answer;
    }
    override term(): ReturnType<MemStorage["term"]> {
      return this.answer;
    }
  }

  it("lacks entries that it counts: a broken invariant, not a value", () => {
    const log = logOver(new Broken("unavailable"));
    expect(() => log.slice(1, 3, ALL, CONTEXT)).toThrow(/entries \[1, 3\) are missing from the storage/);
    expect(() => log.lastTerm()).toThrow(/no term for the last index 3/);
  });

  it("may have entries later, but knows their terms now, and what is to be applied", () => {
    const log = logOver(new Broken("logTemporarilyUnavailable"));
    expect(log.entries(2, ALL, CONTEXT)).toBe("logTemporarilyUnavailable");
    expect(() => log.term(2)).toThrow(/cannot answer the term of 2/);
    log.commitTo(2);
    expect(() => log.nextCommitted(true)).toThrow(/committed entries are not readable/);
  });

  it("is asked for nothing beyond what the log has", () => {
    const log = logOver(new Broken("snapshotOutOfDate"));
    expect(log.term(4)).toBe("unavailable");
    expect(() => log.term(3)).toThrow(/cannot answer the term of 3/);
    expect(log.entries(4, ALL, CONTEXT)).toEqual([]);
    expect(log.entries(9, ALL, CONTEXT)).toEqual([]);
  });
});
