/** Limits of handing out committed entries and of scanning: the exact edges, case by case. */
import { describe, expect, it } from "vitest";
import { SILENT_LOGGER } from "../../../base/env.js";
import { RaftLog } from "../../log.js";
import { entryBytes, makeEntry } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { Entry } from "../../types.js";
import { storageAt } from "../network.js";

const ALL = Number.POSITIVE_INFINITY;
const LIMIT_BYTES = 100;
const entriesFrom = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => makeEntry(term, first + at));
const indexes = (entries: readonly Entry[]): number[] => entries.map(({ index }) => index);

/** Snapshot at 3, entries 4 to 6 of term 1: 4 is durable, 5 is committed, 100 bytes may be under way. */
function build(): RaftLog {
  const storage = storageAt(3, 1, {});
  const log = new RaftLog(storage, SILENT_LOGGER, LIMIT_BYTES, 0);
  log.append(entriesFrom(4, 1, 1, 1));
  storage.append(entriesFrom(4, 1));
  log.unstable.stableTo(4, 1);
  log.commitTo(5);
  return log;
}

/** Makes 6 durable and committed, so that what is handed out next tells whether the log is paused. */
function offersMore(log: RaftLog, allowUnstable: boolean): boolean {
  (log.storage as MemStorage).append(entriesFrom(4, 1, 1, 1));
  log.unstable.stableTo(6, 1);
  log.commitTo(6);
  return log.hasNextCommitted(allowUnstable);
}

describe("a hand-out pauses the next one", () => {
  it.each([
    // handed out up to, bytes, unstable allowed, paused
    [3, 98, true, true],
    [3, 98, false, true],
    [4, 98, true, true],
    [4, 98, false, false],
    [5, 98, true, false],
    [5, 98, false, false],
    [4, 99, false, false],
    [5, 99, true, false],
    [4, 100, false, true],
    [5, 100, true, true],
    [4, 101, false, true],
    [5, 101, true, true],
  ] as const)("up to %i of %i bytes, unstable %s: %s", (index, bytes, allowUnstable, isPaused) => {
    const log = build();
    log.acceptApplying(index, bytes, allowUnstable);
    expect([log.applied, log.applying]).toEqual([3, index]);
    expect(offersMore(log, allowUnstable)).toBe(!isPaused);
  });
});

describe("an acknowledgement", () => {
  it.each([
    // applied up to, bytes given back of 105, paused, applying after
    [4, 4, true, 5],
    [4, 5, true, 5],
    [4, 6, false, 5],
    [5, 4, true, 5],
    [5, 5, true, 5],
    [5, 6, false, 5],
    [5, 1000, false, 5],
  ] as const)("up to %i of %i bytes leaves it paused: %s", (index, bytes, isPaused, applying) => {
    const log = build();
    log.acceptApplying(5, LIMIT_BYTES + 5, true);
    log.appliedTo(index, bytes);
    expect([log.applied, log.applying]).toEqual([index, applying]);
    expect(offersMore(log, true)).toBe(!isPaused);
  });

  it("beyond what was handed out moves that along: a snapshot was applied", () => {
    const log = build();
    log.acceptApplying(4, 10, true);
    log.appliedTo(5, 0);
    expect([log.applied, log.applying]).toEqual([5, 5]);
  });

  it("of more than is under way counts as all of it: the full limit may be handed out again", () => {
    const log = build();
    log.acceptApplying(5, 50, true);
    log.appliedTo(5, 1000);
    log.acceptApplying(5, 99, true);
    expect(offersMore(log, true)).toBe(true);
    log.acceptApplying(6, 1, true);
    log.append(entriesFrom(7, 1));
    log.commitTo(7);
    expect(log.hasNextCommitted(true)).toBe(false);
  });
});

describe("what is handed out", () => {
  it("takes what is under way off the limit", () => {
    const log = new RaftLog(new MemStorage(), SILENT_LOGGER, LIMIT_BYTES, 0);
    const entries = [1, 2, 3, 4].map((index) => makeEntry(1, index, new Uint8Array(32)));
    const size = entryBytes(entries[0] as Entry);
    expect(size).toBe(40);
    log.append(entries);
    log.commitTo(1);
    log.acceptApplying(1, size, true);
    log.commitTo(4);
    // 60 bytes are left: one entry, not two.
    expect(indexes(log.nextCommitted(true))).toEqual([2]);
    log.appliedTo(1, size);
    expect(indexes(log.nextCommitted(true))).toEqual([2, 3]);
  });

  it("goes beyond the durable log by as many entries as configured, never beyond the commit", () => {
    const handedOut = (unpersistedMax: number): number[] => {
      const log = new RaftLog(new MemStorage(), SILENT_LOGGER, ALL, unpersistedMax);
      log.append(entriesFrom(1, 1, 1, 1, 1));
      log.commitTo(3);
      return indexes(log.nextCommitted(false));
    };
    expect([0, 1, 2, 3, 4, ALL].map((each) => handedOut(each).length)).toEqual([0, 1, 2, 3, 3, 3]);
  });
});

describe("a scan", () => {
  /** Counts what is read at once. */
  class Counting extends MemStorage {
    readonly pages: number[] = [];
    override entries(low: never, high: never, bytesMax: number): ReturnType<MemStorage["entries"]> {
      const page = super.entries(low, high, bytesMax);
      if (typeof page !== "string") this.pages.push(page.length);
      return page;
    }
  }

  it.each([
    [0, [1, 1, 1, 1, 1]],
    [1, [1, 1, 1, 1, 1]],
    [2, [2, 2, 1]],
    [3, [3, 2]],
    [5, [5]],
    [ALL, [5]],
  ])("reads pages of at most %d entries' size", (count, pages) => {
    const storage = new Counting();
    storage.append(entriesFrom(1, 1, 1, 1, 1, 1));
    const log = new RaftLog(storage, SILENT_LOGGER, ALL, 0);
    const visited: number[] = [];
    const bytes = count * entryBytes(makeEntry(1, 1));
    const visit = (entry: Entry): boolean => visited.push(entry.index) > 5;
    expect(log.scan(1, 6, bytes, visit)).toBe(false);
    expect(visited).toEqual([1, 2, 3, 4, 5]);
    expect(storage.pages).toEqual(pages);
  });

  it("that has enough reads no further page, and of nothing reads nothing", () => {
    const storage = new Counting();
    storage.append(entriesFrom(1, 1, 1, 1, 1, 1));
    const log = new RaftLog(storage, SILENT_LOGGER, ALL, 0);
    expect(log.scan(1, 6, entryBytes(makeEntry(1, 1)) * 2, (entry) => entry.index === 2)).toBe(true);
    expect(storage.pages).toEqual([2]);
    expect(log.scan(3, 3, ALL, () => true)).toBe(false);
    expect(storage.pages).toEqual([2]);
  });
});
