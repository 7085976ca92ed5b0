/** The log on disk: what a restart finds after any crash, what it refuses, and what Raft is told meanwhile. */
import { beforeEach, describe, expect, test } from "vitest";
import { type EngineBatch, logIndex, term, utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { raft_serverpb } from "../proto/index.js";
import type { Append, Entry } from "../raft/types.js";
import { applyStateKey, raftLogKey, raftStateKey, uninitializedVoteKey } from "./keys.js";
import { encodeApplyState, encodeRaftState, readRegionState } from "./local-state.js";
import { PeerStorage } from "./peer-storage.js";
import { type Region, regionToProto } from "./region.js";
import { appendOf, entryOf, regionOf } from "./test/fixtures.js";

const CACHE = 1 << 20;
const region = regionOf(2, 3);
const uninitialized: Region = { ...region, peers: [] };
let engine: MemoryEngine;

beforeEach(() => {
  engine = new MemoryEngine();
});

const open = (of: Region = region, cacheBytes = CACHE): PeerStorage =>
  new PeerStorage(engine, of, cacheBytes);
const commit = (fill: (batch: EngineBatch) => void): void => {
  const batch = engine.batch();
  fill(batch);
  engine.write(batch, { sync: true }, () => {});
};
function append(storage: PeerStorage, one: Append): void {
  commit((batch) => storage.stageAppend(batch, one));
  storage.appendWritten(one);
}
const run = (first: number, count: number, of: number): Entry[] =>
  Array.from({ length: count }, (_, i) => entryOf(first + i, of, utf8(`e${first + i}`)));
const applyState = (applied: number, truncated: number, truncatedTerm = 5) => ({
  appliedIndex: logIndex(applied),
  appliedTerm: term(5),
  truncatedIndex: logIndex(truncated),
  truncatedTerm: term(truncatedTerm),
});

describe("a new region", () => {
  test("made by bootstrap or split starts at log index 5 and term 5 without anything on disk", () => {
    const storage = open();
    expect([storage.firstIndex(), storage.lastIndex()]).toEqual([6, 5]);
    expect(storage.initialState().hardState).toEqual({ term: 5, vote: 0, commit: 5 });
    expect(storage.term(logIndex(5))).toBe(5);
    expect(storage.applyState).toMatchObject({ appliedIndex: 5, truncatedIndex: 5, truncatedTerm: 5 });
    expect(storage.initialState().confState.voters).toEqual([21, 22, 23]);
  });

  test("of which nothing is known yet starts at zero, and has no snapshot to give", () => {
    const storage = open(uninitialized);
    expect([storage.firstIndex(), storage.lastIndex()]).toEqual([1, 0]);
    expect(storage.initialState().hardState).toEqual({ term: 0, vote: 0, commit: 0 });
    expect(storage.snapshot(logIndex(0))).toBe("snapshotTemporarilyUnavailable");
  });
});

describe("the log", () => {
  test("tells the term of its last entry without the disk: a thousand elections would ask it for that", () => {
    const storage = open();
    append(storage, appendOf(run(6, 3, 6)));
    storage.dropCache();
    engine.get = () => {
      throw new Error("asked the disk");
    };
    expect(storage.term(logIndex(8))).toBe(6);
    // Another leader's entry in the place of the last two.
    append(storage, appendOf(run(7, 1, 7)));
    storage.dropCache();
    expect([storage.lastIndex(), storage.term(logIndex(7))]).toEqual([7, 7]);
    expect(() => storage.term(logIndex(6))).toThrow("asked the disk");
  });

  test("opened again knows the term of its last entry", () => {
    const storage = open();
    append(storage, appendOf(run(6, 3, 6), { term: 6, vote: 0, commit: 6 }));
    expect(open().term(logIndex(8))).toBe(6);
  });

  test("is found by a restart as it was acknowledged: entries, term, vote, commit", () => {
    append(open(), appendOf(run(6, 4, 6), { term: 6, vote: 22, commit: 7 }));
    const storage = open();
    expect(storage.lastIndex()).toBe(9);
    expect(storage.initialState().hardState).toEqual({ term: 6, vote: 22, commit: 7 });
    expect(storage.entries(logIndex(6), logIndex(10), 1 << 20)).toEqual(run(6, 4, 6));
    expect(storage.term(logIndex(9))).toBe(6);
  });

  test("staged and not written is lost by a crash as a whole, and counts for nothing before", () => {
    const storage = open();
    const batch = engine.batch();
    storage.stageAppend(batch, appendOf(run(6, 4, 6), { term: 6, vote: 22, commit: 5 }));
    expect(storage.lastIndex()).toBe(5);
    expect(storage.hardState.term).toBe(5);
    expect(open().lastIndex()).toBe(5);
  });

  test("overwritten by a new leader keeps nothing of the old tail", () => {
    const storage = open();
    append(storage, appendOf(run(6, 6, 6), { term: 6, vote: 0, commit: 5 }));
    append(storage, appendOf(run(8, 1, 7), { term: 7, vote: 0, commit: 5 }));
    expect(storage.lastIndex()).toBe(8);
    expect(storage.entries(logIndex(9), logIndex(10), 100)).toBe("unavailable");
    for (let index = 9; index <= 11; index++)
      expect(engine.get("raft", raftLogKey(2, index))).toBeUndefined();
    expect(open().term(logIndex(8))).toBe(7);
  });

  test("overwritten twice before the first write is done leaves no entry of the first", () => {
    const storage = open();
    const long = appendOf(run(6, 6, 6), { term: 6, vote: 0, commit: 5 });
    const short = appendOf(run(7, 1, 7), { term: 7, vote: 0, commit: 5 });
    const first = engine.batch();
    storage.stageAppend(first, long);
    const second = engine.batch();
    storage.stageAppend(second, short);
    engine.write(first, { sync: true }, () => storage.appendWritten(long));
    engine.write(second, { sync: true }, () => storage.appendWritten(short));
    expect(storage.lastIndex()).toBe(7);
    expect(open().lastIndex()).toBe(7);
    expect(engine.get("raft", raftLogKey(2, 8))).toBeUndefined();
  });

  test("keeps a vote given without entries", () => {
    append(open(), appendOf([], { term: 9, vote: 23, commit: 5 }));
    expect(open().initialState().hardState).toEqual({ term: 9, vote: 23, commit: 5 });
  });

  test("is read from disk where the cache has dropped it, and stops at the bytes asked for", () => {
    const storage = open(region, 300);
    append(storage, appendOf(run(6, 200, 6), { term: 6, vote: 0, commit: 5 }));
    expect(storage.cachedBytes).toBeLessThanOrEqual(300);
    const all = storage.entries(logIndex(6), logIndex(100), 1 << 20);
    expect((all as Entry[]).map((entry) => entry.index)).toEqual(run(6, 94, 6).map((entry) => entry.index));
    expect(storage.entries(logIndex(6), logIndex(100), 5)).toHaveLength(2);
    expect(storage.entries(logIndex(6), logIndex(100), 0)).toHaveLength(1);
    expect(storage.term(logIndex(6))).toBe(6);
  });
});

describe("log garbage collection", () => {
  test("moves the first index with the apply state and keeps the term before it", () => {
    const storage = open();
    append(storage, appendOf(run(6, 10, 6), { term: 6, vote: 0, commit: 15 }));
    const state = applyState(15, 12, 6);
    commit((batch) => batch.put("raft", applyStateKey(2), encodeApplyState(state)));
    storage.applyStaged();
    storage.applyWritten(state, undefined);
    expect(storage.firstIndex()).toBe(13);
    expect(storage.term(logIndex(12))).toBe(6);
    expect(storage.term(logIndex(11))).toBe("compacted");
    expect(storage.entries(logIndex(12), logIndex(14), 100)).toBe("compacted");
    expect(storage.entries(logIndex(13), logIndex(16), 1 << 20)).toHaveLength(3);
    expect(open().firstIndex()).toBe(13);
  });
});

describe("a vote before there is data", () => {
  test("is kept apart, so that a split that makes the region finds no raft state", () => {
    append(open(uninitialized), appendOf([], { term: 8, vote: 22, commit: 0 }));
    expect(engine.get("raft", raftStateKey(2))).toBeUndefined();
    expect(engine.get("raft", uninitializedVoteKey(2))).toBeDefined();
    expect(open(uninitialized).initialState().hardState).toMatchObject({ term: 8, vote: 22 });
  });

  test("still binds the peer after a split has given it data: nobody votes twice in one term", () => {
    append(open(uninitialized), appendOf([], { term: 8, vote: 22, commit: 0 }));
    const storage = open(region);
    expect(storage.initialState().hardState).toEqual({ term: 8, vote: 22, commit: 5 });
    expect(storage.lastIndex()).toBe(5);
  });

  test("in a term below that of the data is forgotten", () => {
    append(open(uninitialized), appendOf([], { term: 3, vote: 22, commit: 0 }));
    expect(open(region).initialState().hardState).toEqual({ term: 5, vote: 0, commit: 5 });
  });

  test("in the term of the data counts where the data holds none, and never replaces one", () => {
    append(open(uninitialized), appendOf([], { term: 6, vote: 22, commit: 0 }));
    expect(open(region).initialState().hardState.vote).toBe(22);
    append(open(region), appendOf([], { term: 6, vote: 23, commit: 5 }));
    expect(open(region).initialState().hardState).toMatchObject({ term: 6, vote: 23 });
  });
});

describe("a snapshot", () => {
  const grown: Region = { ...region, epoch: { confVer: 4, version: 6 } };
  const received = (entries: readonly Entry[] = []): Append => ({
    ...appendOf(entries, { term: 9, vote: 21, commit: 40 }),
    snapshot: {
      metadata: {
        index: logIndex(40),
        term: term(8),
        confState: open(grown).initialState().confState,
      },
      data: raft_serverpb.RaftSnapshotData.encode({ region: regionToProto(grown) }).finish(),
    },
  });

  test("is of the applied index and refused while something is being applied or when too old", () => {
    const storage = open();
    expect(storage.snapshot(logIndex(6))).toBe("snapshotTemporarilyUnavailable");
    storage.applyStaged();
    expect(storage.snapshot(logIndex(0))).toBe("snapshotTemporarilyUnavailable");
    storage.applyWritten(storage.applyState, undefined);
    expect(storage.snapshot(logIndex(5))).toMatchObject({ metadata: { index: 5, term: 5 } });
  });

  test("taken in replaces log and state in one batch; before the batch nothing has changed", () => {
    const storage = open();
    append(storage, appendOf(run(6, 5, 6), { term: 6, vote: 0, commit: 10 }));
    const one = received();
    const batch = engine.batch();
    const state = storage.stageSnapshot(batch, one, grown);
    expect(storage.lastIndex()).toBe(10);
    expect(open().lastIndex()).toBe(10);
    engine.write(batch, { sync: true }, () => storage.snapshotWritten(one, state, grown));
    for (const storageNow of [storage, open(grown)]) {
      expect([storageNow.firstIndex(), storageNow.lastIndex()]).toEqual([41, 40]);
      expect(storageNow.term(logIndex(40))).toBe(8);
      expect(storageNow.initialState().hardState).toEqual({ term: 9, vote: 21, commit: 40 });
      expect(storageNow.applyState.appliedIndex).toBe(40);
    }
    for (let index = 6; index <= 10; index++)
      expect(engine.get("raft", raftLogKey(2, index))).toBeUndefined();
    expect(readRegionState(engine, 2)).toMatchObject({ state: "applying", region: { epoch: grown.epoch } });
  });

  test("taken in by a peer without data ends its vote kept apart", () => {
    const storage = open(uninitialized);
    append(storage, appendOf([], { term: 9, vote: 21, commit: 0 }));
    const one = received();
    commit((batch) => storage.stageSnapshot(batch, one, grown));
    expect(engine.get("raft", uninitializedVoteKey(2))).toBeUndefined();
    expect(open(grown).initialState().hardState).toEqual({ term: 9, vote: 21, commit: 40 });
  });

  test("may bring the entries behind it along", () => {
    const storage = open();
    const one = received(run(41, 2, 9));
    const batch = engine.batch();
    const state = storage.stageSnapshot(batch, one, grown);
    engine.write(batch, { sync: true }, () => storage.snapshotWritten(one, state, grown));
    expect(storage.lastIndex()).toBe(42);
    expect(open(grown).entries(logIndex(41), logIndex(43), 1 << 20)).toHaveLength(2);
  });
});

describe("a start", () => {
  const write = (raft: { last: number; commit: number }, applied: number, truncated: number): void =>
    commit((batch) => {
      const hardState = { term: term(6), vote: 0, commit: logIndex(raft.commit) };
      batch.put("raft", raftStateKey(2), encodeRaftState({ hardState, lastIndex: logIndex(raft.last) }));
      batch.put("raft", applyStateKey(2), encodeApplyState(applyState(applied, truncated)));
    });

  test.each([
    ["more applied than logged", { last: 7, commit: 7 }, 8, 5],
    ["more cut than applied", { last: 9, commit: 9 }, 6, 7],
    ["more committed than logged", { last: 7, commit: 8 }, 7, 5],
    ["its last entry missing", { last: 7, commit: 7 }, 7, 5],
  ])("on a directory with %s is refused", (_what, raft, applied, truncated) => {
    write(raft, applied, truncated);
    expect(() => open()).toThrow(/damaged|missing on disk/);
  });

  test("with a commit index behind the applied one goes on from what was applied", () => {
    append(open(), appendOf(run(6, 3, 6), { term: 6, vote: 0, commit: 6 }));
    commit((batch) => batch.put("raft", applyStateKey(2), encodeApplyState(applyState(8, 5))));
    expect(open().initialState().hardState.commit).toBe(8);
  });
});
