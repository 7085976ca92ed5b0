/** Bounds of what a store takes on: disk, writes, reads, scans, answers. Each refusal says why and is counted. */
import { beforeEach, describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import type { errorpb, kvrpcpb } from "../proto/index.js";
import { Stores } from "./test/harness.js";

let stores: Stores;
const key = utf8("k");
const refusals = (id = 1): Record<string, number> => Object.fromEntries(stores.store(id).admission.refusals);

describe("a disk that fills up", () => {
  beforeEach(() => {
    stores = Stores.led(3);
    stores.put("k", "v");
  });
  /** Of 1,000 bytes; the reserve is a twentieth, 50. */
  const leave = (bytes: number, ...ids: number[]): void => {
    for (const id of ids) stores.member(id).availableBytes = bytes;
    stores.pass(1_500);
  };
  const leader = (): number => [1, 2, 3].find((id) => stores.peer(id).isLeader) ?? 0;
  const write = (id = leader()): errorpb.IError | null | undefined =>
    stores.raw("put", { key, value: utf8("w") }, id).regionError;
  const remove = (id = leader()): errorpb.IError | null | undefined =>
    stores.raw("delete", { key }, id).regionError;

  test("everywhere: reads and deletes go on, writes are refused with the stores that are full", () => {
    leave(30, 1, 2, 3);
    const id = leader();
    expect(write()?.diskFull).toEqual({ storeId: [1, 2, 3], reason: "disk full" });
    const swap: kvrpcpb.IRawCASResponse = stores.raw(
      "compareAndSwap",
      { key, value: key, previousNotExist: true },
      id,
    );
    expect(swap.regionError?.diskFull).toBeDefined();
    const puts: kvrpcpb.IRawBatchPutResponse = stores.raw("batchPut", { pairs: [{ key, value: key }] }, id);
    expect(puts.regionError?.diskFull).toBeDefined();
    expect(stores.get("k", id)).toBe("v");
    expect(remove()).toBeUndefined();
    expect(stores.get("k", id)).toBeUndefined();
    expect(refusals(id)["disk full"]).toBe(3);
  });

  test("to the last reserve refuses deletes too, and still serves reads", () => {
    leave(5, 1, 2, 3);
    expect(remove()?.diskFull).toBeDefined();
    expect(stores.get("k", leader())).toBe("v");
  });

  test("and has room again takes writes again", () => {
    leave(30, 1, 2, 3);
    expect(write()?.diskFull).toBeDefined();
    leave(500, 1, 2, 3);
    expect(write()).toBeUndefined();
  });

  test("on the leader alone hands leadership to a store with room", () => {
    leave(30, 1);
    expect(write(1)).toBeDefined();
    stores.pass(1_000);
    expect(leader()).not.toBe(1);
    expect(write()).toBeUndefined();
  });

  test("on most of the followers stops the leader's writes, on one of them it does not", () => {
    leave(30, 2);
    expect(write(1)).toBeUndefined();
    leave(30, 3);
    expect(write(1)?.diskFull?.storeId).toEqual([2, 3]);
  });

  test("on a follower to the last reserve takes no entries, and gets them later", () => {
    leave(5, 3);
    expect(write(1)).toBeUndefined();
    stores.pass(500);
    expect(stores.peer(3).appliedIndex).toBeLessThan(stores.peer(1).appliedIndex);
    leave(500, 3);
    stores.pass(2_000);
    expect(stores.peer(3).appliedIndex).toBe(stores.peer(1).appliedIndex);
  });

  test("takes no part in a transfer of leadership", () => {
    leave(30, 2);
    stores.peer(1).transferLeader(stores.peer(2).peerId);
    stores.pass(2_000);
    expect(stores.peer(2).isLeader).toBe(false);
  });
});

describe("writes under way", () => {
  test("of all regions together have a bound, beyond which the store is busy, and no longer once they are done", () => {
    stores = Stores.led(3, { writesUnderWayBytesMax: 1_000 });
    const answers: kvrpcpb.IRawPutResponse[] = [];
    const put = (): void =>
      stores
        .store()
        .raw.put({ key, value: new Uint8Array(600), context: stores.context() }, (answer) =>
          answers.push(answer),
        );
    // One turn's writes are one entry, counted when it is proposed.
    for (let i = 0; i < 3; i++) {
      put();
      stores.peer().flushWrites();
    }
    expect(answers.map(({ regionError }) => regionError?.serverIsBusy)).toEqual([
      { reason: "the store has too many writes under way", backoffMs: 50 },
    ]);
    expect(refusals()).toEqual({ "store has too many writes": 1 });
    stores.pass(500);
    expect(answers.slice(1)).toEqual([{}, {}]);
    expect(stores.store().admission.budgets.proposals.bytes).toBe(0);
    expect(stores.put("k", "v")).toEqual({});
  });

  test("larger than an entry may be are refused one by one", () => {
    stores = Stores.led(1, { raftEntryBytesMax: 2_000, proposalBytesMax: 1_000 });
    expect(stores.put("k", "v".repeat(3_000)).regionError?.raftEntryTooLarge).toMatchObject({ regionId: 2 });
    expect(stores.put("k", "v".repeat(1_800))).toEqual({});
    expect(refusals()).toEqual({ "raft entry too large": 1 });
  });

  test("of keys that are too long are refused, and counted", () => {
    stores = Stores.led();
    expect(stores.put("k".repeat(8_193), "v").error).toContain("longer than 8192");
    expect(stores.put("k".repeat(8_192), "v")).toEqual({});
    expect(refusals()).toEqual({ "key too long": 1 });
  });
});

describe("log entries in memory", () => {
  test("of all regions together have a bound, and none of a destroyed peer stay", () => {
    stores = Stores.led(1, { entryCacheTotalBytesMax: 2_000, logGcTickMs: 1_000_000 });
    const { budgets } = stores.store().admission;
    for (let i = 0; i < 20; i++) stores.put(`k${i}`, "v".repeat(200));
    expect(budgets.entryCache.bytes).toBeGreaterThan(200);
    expect(budgets.entryCache.bytes).toBeLessThan(2_600);
    stores.peer().destroy();
    expect(budgets.entryCache.bytes).toBe(0);
  });
});

describe("reads", () => {
  test("that wait for a quorum have a bound", () => {
    stores = Stores.led(3, { readsWaitingMax: 2 });
    stores.pass(1_000);
    const answers: kvrpcpb.IRawGetResponse[] = [];
    const peer = stores.peer();
    peer.lease.expire();
    for (let i = 0; i < 3; i++) {
      stores.store().raw.get({ key, context: stores.context() }, (answer) => answers.push(answer));
    }
    expect(answers.map(({ regionError }) => regionError?.serverIsBusy?.reason)).toEqual([
      "region 2 has too many reads waiting",
    ]);
    stores.pass(200);
    expect(answers.slice(1)).toEqual([{ notFound: true }, { notFound: true }]);
    expect(refusals()).toEqual({ "region has too many reads": 1 });
  });

  test("are refused while answers wait for clients who do not read them", () => {
    stores = Stores.led(1, { answersPendingBytesMax: 1_000 });
    stores.put("k", "v");
    const { answers } = stores.store().admission;
    answers.add(2_000);
    const busy = /answers wait/;
    expect(stores.raw("get", { key }).regionError?.serverIsBusy?.reason).toMatch(busy);
    expect(stores.raw("batchGet", { keys: [key] }).regionError?.serverIsBusy?.reason).toMatch(busy);
    expect(stores.raw("scan", { limit: 9 }).regionError?.serverIsBusy?.reason).toMatch(busy);
    expect(stores.put("k", "w")).toEqual({});
    answers.add(-2_000);
    expect(stores.get("k")).toBe("w");
    expect(refusals()).toEqual({ "answers not taken": 3 });
  });
});

describe("scans", () => {
  test("under way together have a bound; one alone goes on", () => {
    stores = Stores.led(1, { scansUnderWayBytesMax: 500, scanBytesMax: 300 });
    for (let i = 0; i < 10; i++) stores.put(`k${i}`, "v".repeat(100));
    expect((stores.raw("scan", { limit: 99 }) as kvrpcpb.IRawScanResponse).kvs).toHaveLength(10);
    const done: kvrpcpb.IRawScanResponse[] = [];
    for (let i = 0; i < 4; i++) {
      stores.store().raw.scan({ limit: 99, context: stores.context() }, (answer) => done.push(answer));
    }
    stores.pass(500);
    const busy = done.filter(({ regionError }) => regionError?.serverIsBusy != null);
    expect([done.length, busy.length]).toEqual([4, 3]);
    expect(done.find(({ kvs }) => kvs?.length === 10)).toBeDefined();
    expect(stores.store().admission.scans.bytes).toBe(0);
    expect(refusals()["scans too large"]).toBe(3);
  });

  test("whose answer would be too large are refused with what to do", () => {
    stores = Stores.led(1, { scanAnswerBytesMax: 500 });
    for (let i = 0; i < 10; i++) stores.put(`k${i}`, "v".repeat(100));
    expect(stores.raw("scan", { limit: 99 }).regionError?.message).toContain("smaller limit");
    expect((stores.raw("scan", { limit: 3 }) as kvrpcpb.IRawScanResponse).kvs).toHaveLength(3);
    const ranges = Array.from({ length: 5 }, () => ({}));
    expect(stores.raw("batchScan", { eachLimit: 2, ranges }).regionError?.message).toContain("smaller limit");
    expect(stores.store().admission.scans.bytes).toBe(0);
  });
});
