/**
 * Committed entries and what they leave in the batch. The engine is in memory; a crash is a batch that was never
 * written, and a replay is the same entries given to a new applier.
 */
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { type EngineBatch, logIndex, peerId, regionId, storeId, term, utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { decodeConfChange, encodeConfChange } from "../raft/index.js";
import type { Entry } from "../raft/types.js";
import { type AdminCommand, encodeAdminEntry, type PeerChange, toConfChange } from "./admin.js";
import { Applier, type ApplyHost, type ApplyRun } from "./applier.js";
import { WriteBatchEncoder } from "./command.js";
import { dataKey } from "./keys.js";
import { INIT_APPLY_STATE, readApplyState, readRegionState } from "./local-state.js";
import { liveValue, rawTrailer } from "./raw-value.js";
import type { Region } from "./region.js";
import { dump, entryOf, peerOf, regionOf } from "./test/fixtures.js";

const region = regionOf(2, 3);
let engine: MemoryEngine;
let mayCreate: (created: Region) => boolean;

beforeEach(() => {
  engine = new MemoryEngine();
  mayCreate = () => true;
});

const host: ApplyHost = {
  ownStoreId: 1,
  mayCreateSplitPeer: (created) => mayCreate(created),
  decodeConfChange: (entry) => decodeConfChange(entry.data) as never,
};
const applierOf = (of: Region = region): Applier => new Applier(engine, host, of, readApplyState(engine, of));

type Fill = (encoder: WriteBatchEncoder) => void;
function writes(fill: Fill, version = 1): Uint8Array {
  const encoder = new WriteBatchEncoder();
  encoder.start(version);
  fill(encoder);
  return encoder.finish();
}
const NEVER = rawTrailer(0);
const put =
  (key: string, value: string): Fill =>
  (e) =>
    e.put("default", utf8(key), utf8(value), NEVER);
const erase =
  (key: string): Fill =>
  (e) =>
    e.delete("default", utf8(key));
const eraseRange =
  (start: string, end: string): Fill =>
  (e) =>
    e.deleteRange("default", utf8(start), utf8(end));
const swap =
  (key: string, expected: string | undefined, value: string | undefined, now = 50): Fill =>
  (e) =>
    e.compareAndSwap(
      utf8(key),
      expected === undefined ? undefined : utf8(expected),
      value === undefined ? undefined : utf8(value),
      NEVER,
      now,
    );
const entriesOf = (...all: readonly Uint8Array[]): Entry[] => all.map((data, i) => entryOf(6 + i, 6, data));

/** Applies and writes the batch. */
function apply(applier: Applier, entries: readonly Entry[]): ApplyRun {
  const batch = engine.batch();
  const run = applier.run(entries, batch, false);
  engine.write(batch, { sync: false }, () => {});
  return run;
}
function valueOf(key: string): string | undefined {
  const live = liveValue(engine.get("default", dataKey(utf8(key))), 0);
  return live === undefined ? undefined : String.fromCharCode(...live);
}

describe("writes", () => {
  test("and the applied index are in one batch: a crash loses both or none", () => {
    const applier = applierOf();
    const batch = engine.batch();
    applier.run(entriesOf(writes(put("a", "1"))), batch, false);
    expect([valueOf("a"), readApplyState(engine, region).appliedIndex]).toEqual([undefined, 5]);
    engine.write(batch, { sync: false }, () => {});
    expect([valueOf("a"), readApplyState(engine, region)]).toMatchObject([
      "1",
      { appliedIndex: 6, appliedTerm: 6 },
    ]);
  });

  test("under an older or newer epoch version have no effect but the applied index", () => {
    for (const version of [0, 2]) {
      const run = apply(applierOf(), entriesOf(writes(put("a", "1"), version)));
      expect(run.outcomes[0]?.error?.epochNotMatch?.currentRegions?.[0]?.id).toBe(2);
      expect(run.state.appliedIndex).toBe(6);
      expect(valueOf("a")).toBeUndefined();
      engine = new MemoryEngine();
    }
  });

  test("are applied strictly one after the other: a hole stops the peer", () => {
    const batch = engine.batch();
    expect(() => applierOf().run([entryOf(7, 6)], batch, false)).toThrow("entry 7 after applied 5");
    expect(() => applierOf().run([entryOf(5, 6)], batch, false)).toThrow("entry 5 after applied 5");
  });

  test("count bytes and keys, and an empty entry moves index and term only", () => {
    const run = apply(applierOf(), [entryOf(6, 6), entryOf(7, 7, writes(put("ab", "xyz")))]);
    expect(run.outcomes.map(({ index, term: of }) => [index, of])).toEqual([
      [6, 6],
      [7, 7],
    ]);
    expect([run.bytesWritten, run.keysWritten]).toEqual([1 + 2 + 3 + 1, 1]);
    expect(run.state).toMatchObject({ appliedIndex: 7, appliedTerm: 7 });
  });
});

describe("entries that depend on earlier ones", () => {
  test("see what the same run wrote before them", () => {
    const run = apply(
      applierOf(),
      entriesOf(
        writes(put("a", "1")),
        writes(swap("a", "1", "2")),
        writes(swap("a", "1", "3")),
        writes(swap("a", "2", undefined)),
        writes(swap("a", undefined, "4")),
      ),
    );
    expect(run.outcomes.flatMap(({ swaps }) => swaps.map((each) => each.succeeded))).toEqual([
      true,
      false,
      true,
      true,
    ]);
    expect(valueOf("a")).toBe("4");
  });

  test("tell the value before, a copy that later writes do not change", () => {
    apply(applierOf(), entriesOf(writes(put("a", "1"))));
    const run = apply(applierOf(), [entryOf(7, 6, writes(swap("a", "9", "2")))]);
    expect(run.outcomes[0]?.swaps).toEqual([{ succeeded: false, previous: utf8("1") }]);
  });

  test("judge expiry by the proposer's clock, so that all replicas agree", () => {
    const mortal = writes((e) => e.put("default", utf8("a"), utf8("1"), rawTrailer(100)));
    const run = apply(
      applierOf(),
      entriesOf(mortal, writes(swap("a", "1", "2", 99)), mortal, writes(swap("a", undefined, "3", 100))),
    );
    expect(run.outcomes.flatMap(({ swaps }) => swaps.map((each) => each.succeeded))).toEqual([true, true]);
  });

  test("wait, with all behind them, while earlier batches are not written", () => {
    const entries = entriesOf(writes(put("a", "1")), writes(swap("a", "1", "2")), writes(put("b", "1")));
    const run = applierOf().run(entries, engine.batch(), true);
    expect(run.state.appliedIndex).toBe(6);
    expect(run.rest.map((entry) => entry.index)).toEqual([7, 8]);
  });

  test("are not held back when nothing is under way", () => {
    const run = apply(applierOf(), entriesOf(writes(put("a", "1")), writes(swap("a", "1", "2"))));
    expect(run.rest).toEqual([]);
    expect(valueOf("a")).toBe("2");
  });
});

describe("a range delete", () => {
  test("takes what was written before it in the same run and leaves what comes after", () => {
    apply(applierOf(), entriesOf(writes(put("b", "old")), writes(put("x", "old"))));
    const more = [put("c", "1"), put("d", "1"), eraseRange("b", "d"), put("b", "new")].map((fill, i) =>
      entryOf(8 + i, 6, writes(fill)),
    );
    apply(applierOf(), more);
    expect(["b", "c", "d", "x"].map(valueOf)).toEqual(["new", undefined, "1", "old"]);
  });

  test("works inside one entry as well, in the order of its operations", () => {
    const fill: Fill = (e) => {
      put("a", "1")(e);
      eraseRange("a", "b")(e);
      put("a", "2")(e);
      put("aa", "3")(e);
    };
    apply(applierOf(), entriesOf(writes(fill)));
    expect(["a", "aa"].map(valueOf)).toEqual(["2", "3"]);
  });

  test("is seen by comparisons behind it, also where the engine deletes later", () => {
    /** As LevelDB does: range deletes wait their turn behind what was asked before. */
    class LazyEngine extends MemoryEngine {
      readonly waiting: (() => void)[] = [];
      override deleteRange(...all: Parameters<MemoryEngine["deleteRange"]>): void {
        this.waiting.push(() => super.deleteRange(...all));
      }
      override write(...all: Parameters<MemoryEngine["write"]>): void {
        for (const run of this.waiting.splice(0)) run();
        super.write(...all);
      }
    }
    engine = new LazyEngine();
    apply(applierOf(), entriesOf(writes(put("b", "1")), writes(put("x", "1"))));
    const more = [eraseRange("a", "c"), swap("b", undefined, "2"), swap("x", "1", "3"), swap("b", "2", "4")];
    const run = apply(
      applierOf(),
      more.map((fill, i) => entryOf(8 + i, 6, writes(fill))),
    );
    expect(run.outcomes.flatMap(({ swaps }) => swaps.map((each) => each.succeeded))).toEqual([
      true,
      true,
      true,
    ]);
    expect(["b", "x"].map(valueOf)).toEqual(["4", "3"]);
  });

  test("to the end of all keys stays inside the data", () => {
    engine.write(
      fillBatch((batch) => batch.put("default", utf8("{local"), utf8("x"))),
      { sync: true },
      () => {},
    );
    apply(applierOf(), entriesOf(writes(put("z", "1")), writes(eraseRange("", ""))));
    expect(valueOf("z")).toBeUndefined();
    expect(engine.get("default", utf8("{local"))).toBeDefined();
  });
});

function fillBatch(fill: (batch: EngineBatch) => void): EngineBatch {
  const batch = engine.batch();
  fill(batch);
  return batch;
}

describe("a replay after a crash", () => {
  const key = fc.constantFrom("a", "b", "c", "d");
  const value = fc.constantFrom("1", "2", "3");
  const write = fc.oneof(
    fc.tuple(key, value).map(([k, v]) => put(k, v)),
    key.map((k) => erase(k)),
    fc.tuple(key, key).map(([from, to]) => eraseRange(from, to)),
    fc.tuple(key, fc.option(value, { nil: undefined }), value).map(([k, e, v]) => swap(k, e, v)),
  );

  test("ends as one run without a crash does, wherever the crash came", () => {
    fc.assert(
      fc.property(
        fc.array(write, { minLength: 1, maxLength: 12 }),
        fc.nat(12),
        fc.nat(12),
        (fills, at, cut) => {
          const entries = entriesOf(...fills.map((fill) => writes(fill)));
          engine = new MemoryEngine();
          apply(applierOf(), entries);
          const want = dump(engine, "default");

          engine = new MemoryEngine();
          const first = Math.min(at, entries.length);
          apply(applierOf(), entries.slice(0, first));
          const lost = Math.min(first + cut, entries.length);
          const doomed = applierOf();
          // Its range deletes have reached the engine, its batch has not.
          doomed.run(entries.slice(first, lost), engine.batch(), false);
          const again = applierOf();
          expect(again.state.appliedIndex).toBe(5 + first);
          apply(again, entries.slice(first));
          expect(dump(engine, "default")).toEqual(want);
        },
      ),
      { numRuns: 400 },
    );
  });

  test("of entries that are applied already is refused, not done twice", () => {
    const entries = entriesOf(writes(put("a", "1")));
    apply(applierOf(), entries);
    expect(() => applierOf().run(entries, engine.batch(), false)).toThrow("after applied 6");
  });
});

const admin = (command: AdminCommand, epoch = region.epoch): Uint8Array => encodeAdminEntry(epoch, command);
const splitAt = (key: string, id: number, rightDerive = true): AdminCommand => ({
  kind: "split",
  rightDerive,
  splits: [
    { splitKey: utf8(key), newRegionId: regionId(id), newPeerIds: [peerId(91), peerId(92), peerId(93)] },
  ],
});

describe("a split", () => {
  test("writes the states of all parts and the new regions' log position in its batch", () => {
    const run = apply(applierOf(), entriesOf(admin(splitAt("m", 9))));
    expect(readRegionState(engine, 2)).toMatchObject({ state: "normal", region: { startKey: utf8("m") } });
    expect(readRegionState(engine, 9)).toMatchObject({ state: "normal", region: { endKey: utf8("m") } });
    const created = (readRegionState(engine, 9) as { region: Region }).region;
    expect(readApplyState(engine, created)).toEqual(INIT_APPLY_STATE);
    expect(run.region?.epoch).toEqual({ confVer: 1, version: 2 });
    expect(run.effects).toMatchObject([{ kind: "split", derived: { id: 2 }, skipped: new Set() }]);
  });

  test("does not touch a region that has a life of its own here already", () => {
    mayCreate = (created) => created.id !== 9;
    const run = apply(applierOf(), entriesOf(admin(splitAt("m", 9))));
    expect(readRegionState(engine, 9)).toBeUndefined();
    expect(run.effects).toMatchObject([{ kind: "split", skipped: new Set([9]) }]);
    expect(readRegionState(engine, 2)?.region.startKey).toEqual(utf8("m"));
  });

  test("proposed under another epoch is refused, both parts [test_split_with_epoch_not_match]", () => {
    for (const epoch of [
      { confVer: 1, version: 0 },
      { confVer: 0, version: 1 },
      { confVer: 2, version: 1 },
    ]) {
      const run = applierOf().run(entriesOf(admin(splitAt("m", 9), epoch)), engine.batch(), false);
      expect(run.outcomes[0]?.error?.epochNotMatch).toBeDefined();
      expect([run.region, run.effects]).toEqual([undefined, []]);
    }
  });

  test("refuses the writes behind it that were admitted before it [test_reject_proposal_during_region_split]", () => {
    const run = apply(
      applierOf(),
      entriesOf(admin(splitAt("m", 9)), writes(put("a", "1")), writes(put("p", "1"), 2)),
    );
    expect(run.outcomes.map(({ error }) => error?.epochNotMatch !== undefined)).toEqual([false, true, false]);
    expect(["a", "p"].map(valueOf)).toEqual([undefined, "1"]);
  });

  test("keeps order with the writes before it [test_propose_before_split_and_merge]", () => {
    const run = apply(applierOf(), entriesOf(writes(put("a", "1")), admin(splitAt("m", 9))));
    expect(run.outcomes.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(valueOf("a")).toBe("1");
  });
});

describe("a change of peers", () => {
  const change = (changes: readonly PeerChange[], epoch = region.epoch): Entry =>
    entryOf(6, 6, encodeConfChange(toConfChange(epoch, changes)), "EntryConfChangeV2");
  const remove = (id: number, store: number): PeerChange => ({ kind: "remove", peer: peerOf(id, store) });

  test("writes the region state with the applied index and tells Raft's change", () => {
    const run = apply(applierOf(), [change([remove(22, 2)])]);
    expect(run.effects).toMatchObject([{ kind: "confChange", removedSelf: false }]);
    expect(run.region?.epoch).toEqual({ confVer: 2, version: 1 });
    expect(readRegionState(engine, 2)?.region.peers.map((peer) => peer.id)).toEqual([21, 23]);
  });

  test("that removes the own peer leaves a tombstone and skips every entry behind it [test_after_remove_itself]", () => {
    const entries = [
      change([remove(21, 1)]),
      entryOf(7, 6, writes(put("a", "1"))),
      entryOf(8, 6, admin({ kind: "compactLog", index: logIndex(6), term: term(6) })),
    ];
    const run = apply(applierOf(), entries);
    expect(readRegionState(engine, 2)).toMatchObject({
      state: "tombstone",
      region: { epoch: { confVer: 2 } },
    });
    expect(run.effects).toMatchObject([{ kind: "confChange", removedSelf: true }]);
    expect([run.state.appliedIndex, run.rest, valueOf("a")]).toEqual([6, [], undefined]);
  });

  test("that removes the own peer ends applying for good, also before it is written", () => {
    const applier = applierOf();
    applier.run([change([remove(21, 1)])], engine.batch(), false);
    expect(applier.isRemoved).toBe(true);
    const next = entryOf(7, 6, writes(put("a", "1")));
    expect(() => applier.run([next], engine.batch(), true)).toThrow("its log removed");
  });

  test("refused leaves region and Raft's configuration as they are, but is applied", () => {
    for (const refused of [change([remove(22, 2)], { confVer: 0, version: 1 }), change([remove(77, 7)])]) {
      const run = applierOf().run([refused], engine.batch(), false);
      expect(run.outcomes[0]?.error).toBeDefined();
      expect(run.effects).toMatchObject([{ kind: "confChange", change: undefined }]);
      expect([run.region, run.state.appliedIndex]).toEqual([undefined, 6]);
    }
  });

  test("does not look at the version: writes and splits do not stop it [test_accept_proposal_during_conf_change]", () => {
    const run = apply(applierOf(), [change([remove(22, 2)], { confVer: 1, version: 7 })]);
    expect(run.outcomes[0]?.error).toBeUndefined();
    const after = apply(new Applier(engine, host, run.region as Region, run.state), [
      entryOf(7, 6, writes(put("a", "1"))),
    ]);
    expect(after.outcomes[0]?.error).toBeUndefined();
  });

  test("adds a peer on this store's own account too: being there is told by store, not by id", () => {
    const added = { id: peerId(29), storeId: storeId(4), role: "learner" } as const;
    const run = apply(applierOf(), [change([{ kind: "addLearner", peer: added }])]);
    expect(run.region?.peers.at(-1)).toEqual(added);
    expect(run.effects).toMatchObject([{ kind: "confChange", removedSelf: false }]);
  });
});

describe("a cut of the log", () => {
  const cut = (index: number): Uint8Array =>
    admin({ kind: "compactLog", index: logIndex(index), term: term(6) });
  const empties = [entryOf(6, 6), entryOf(7, 6), entryOf(8, 6)];

  test("moves the truncated state in the apply state and names what may be deleted", () => {
    const run = apply(applierOf(), [...empties, entryOf(9, 6, cut(7))]);
    expect(run.effects).toEqual([{ kind: "compactLog", fromIndex: 6, toIndex: 7 }]);
    expect(readApplyState(engine, region)).toMatchObject({
      truncatedIndex: 7,
      truncatedTerm: 6,
      appliedIndex: 9,
    });
  });

  test("behind what is cut already, or ahead of what is applied, does nothing", () => {
    const run = apply(applierOf(), [...empties, entryOf(9, 6, cut(5)), entryOf(10, 6, cut(10))]);
    expect(run.effects).toEqual([]);
    expect(run.state.truncatedIndex).toBe(5);
  });
});
