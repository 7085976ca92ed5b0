/** The raw commands on one store: contexts and their region errors, limits, odd keys, scans, times to live. */
import { describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/index.js";
import type { errorpb, kvrpcpb } from "../proto/index.js";
import { rawChecksum } from "./checksum.js";
import { Stores } from "./test/harness.js";
import { regionOf } from "../region/test/fixtures.js";

type Scan = kvrpcpb.IRawScanRequest;
const text = (bytes: Uint8Array | null | undefined): string => fromUtf8(bytes ?? new Uint8Array(0));

function scan(
  stores: Stores,
  request: Omit<Scan, "startKey" | "endKey"> & { from: string; to: string },
): string[] {
  const { from, to, ...rest } = request;
  const answer: kvrpcpb.IRawScanResponse = stores.raw("scan", {
    ...rest,
    startKey: utf8(from),
    endKey: utf8(to),
  });
  expect(answer.regionError ?? undefined).toBeUndefined();
  return (answer.kvs ?? []).map((pair) => `${text(pair.key)}=${text(pair.value)}`);
}
function filled(): Stores {
  const stores = Stores.led();
  for (const key of ["a", "b", "c", "d", "e"]) stores.put(key, key.toUpperCase());
  return stores;
}

describe("the context of a command", () => {
  const errorFor = (stores: Stores, change: Partial<kvrpcpb.IContext>): errorpb.IError | null | undefined =>
    stores.put("k", "v", { context: { ...stores.context(), ...change } }).regionError;

  test("of another store is refused with both ids [test_raft_storage_store_not_match]", () => {
    const stores = Stores.led();
    expect(errorFor(stores, { peer: { id: 21, storeId: 9 } })?.storeNotMatch).toEqual({
      requestStoreId: 9,
      actualStoreId: 1,
    });
  });

  test("of an unknown region, of none at all, and of another peer is refused", () => {
    const stores = Stores.led();
    expect(errorFor(stores, { regionId: 99 })?.regionNotFound).toEqual({ regionId: 99 });
    expect(errorFor(stores, { regionId: 0 })?.regionNotFound).toBeDefined();
    expect(errorFor(stores, { peer: null })?.storeNotMatch).toBeDefined();
    expect(errorFor(stores, { peer: { id: 99, storeId: 1 } })?.mismatchPeerId).toEqual({
      requestPeerId: 99,
      storePeerId: 21,
    });
  });

  test("of an API version with keyspaces is refused, one with times to live is not", () => {
    const stores = Stores.led();
    const put = (apiVersion: number): kvrpcpb.IRawPutResponse =>
      stores.put("k", "v", { context: { ...stores.context(), apiVersion } });
    expect(put(1)).toEqual({});
    // Not a region error, after which a client would ask again.
    expect(put(2)).toEqual({
      error:
        "Api version in request does not match with TiKV storage, cmd: raw_put, storage: V1ttl, request: V2",
    });
  });

  test("of another version is refused with the regions that are here now, both ways", () => {
    const stores = Stores.led();
    for (const version of [0, 9]) {
      const error = errorFor(stores, { regionEpoch: { confVer: 1, version } });
      expect(error?.epochNotMatch?.currentRegions).toMatchObject([{ id: 2 }]);
    }
    expect(errorFor(stores, { regionEpoch: null })?.epochNotMatch).toBeDefined();
    expect(errorFor(stores, { regionEpoch: { confVer: 7, version: 1 } })).toBeUndefined();
  });

  test("of a term long past is stale; of the term before it is not", () => {
    const stores = Stores.led();
    const { term } = stores.peer();
    expect(errorFor(stores, { term: term - 1 })).toBeUndefined();
    expect(errorFor(stores, { term: term - 2 })?.staleCommand).toBeDefined();
  });

  test("on a follower names the leader, as far as it is known", () => {
    const stores = Stores.led(3);
    const answer: kvrpcpb.IRawGetResponse = stores.raw(
      "get",
      { key: utf8("k"), context: stores.context(2) },
      2,
    );
    expect(answer.regionError?.notLeader).toMatchObject({ regionId: 2, leader: { id: 21, storeId: 1 } });
  });

  test("that allows a replica's answer gets it from the follower, in step with the leader", () => {
    const stores = Stores.led(3);
    stores.put("k", "v");
    const answer: kvrpcpb.IRawGetResponse = stores.raw(
      "get",
      { key: utf8("k"), context: { ...stores.context(2), replicaRead: true } },
      2,
    );
    expect(text(answer.value)).toBe("v");
  });
});

describe("a key", () => {
  test("outside of the region is refused with the region's range", () => {
    const stores = Stores.led(1, {}, 1, regionOf(2, 1, "b", "d"));
    for (const key of ["a", "d", "z"]) {
      expect(stores.put(key, "v").regionError?.keyNotInRegion).toMatchObject({ regionId: 2, key: utf8(key) });
      expect(() => stores.get(key)).toThrow("not in region");
    }
    expect(stores.put("b", "v").regionError).toBeUndefined();
  });

  test("that is empty is a key like others in the first region, as in TiKV; one beyond the limit is none", () => {
    const stores = Stores.led(1, { keyBytesMax: 100 });
    expect(stores.put("", "v")).toEqual({});
    expect(stores.get("")).toBe("v");
    expect(scan(stores, { from: "", to: "", limit: 9 })).toEqual(["=v"]);
    expect(stores.put("k".repeat(101), "v").error).toContain("longer than 100");
    expect(stores.put("k".repeat(100), "v")).toEqual({});
  });

  test("may have an empty value, which is not an absent one", () => {
    const stores = Stores.led();
    stores.put("k", "");
    expect(stores.get("k")).toBe("");
    expect(stores.get("l")).toBeUndefined();
  });

  test("in another column family is refused", () => {
    expect(Stores.led().put("k", "v", { cf: "lock" }).error).toContain("column family");
  });
});

describe("batches", () => {
  test("put, get in the order asked without the absent, delete", () => {
    const stores = Stores.led();
    const pairs = ["a", "b", "c"].map((key) => ({ key: utf8(key), value: utf8(key) }));
    const put: kvrpcpb.IRawBatchPutResponse = stores.raw("batchPut", { pairs });
    expect(put).toEqual({});
    const get = (): string[] => {
      const keys = ["c", "x", "a"].map(utf8);
      const answer: kvrpcpb.IRawBatchGetResponse = stores.raw("batchGet", { keys });
      return (answer.pairs ?? []).map((pair) => text(pair.key));
    };
    expect(get()).toEqual(["c", "a"]);
    stores.raw("batchDelete", {
      keys: [utf8("a"), utf8("x")],
    });
    expect(get()).toEqual(["c"]);
  });

  test("of nothing are answered with nothing", () => {
    const stores = Stores.led();
    expect(stores.raw("batchGet", {})).toEqual({});
    expect(stores.raw("batchPut", {})).toEqual({});
    expect(stores.raw("batchDelete", {})).toEqual({});
    expect(stores.raw("batchScan", {})).toEqual({
      kvs: [],
    });
  });

  test("with a wrong number of times to live are refused", () => {
    const stores = Stores.led();
    const pairs = ["a", "b", "c"].map((key) => ({ key: utf8(key), value: utf8(key) }));
    const answer: kvrpcpb.IRawBatchPutResponse = stores.raw("batchPut", { pairs, ttls: [1, 2] });
    expect(answer.error).toContain("2 ttls for 3 pairs");
  });
});

describe("a scan", () => {
  test("runs forwards from its start, without its end", () => {
    expect(scan(filled(), { from: "b", to: "d", limit: 10 })).toEqual(["b=B", "c=C"]);
    expect(scan(filled(), { from: "", to: "", limit: 2 })).toEqual(["a=A", "b=B"]);
  });

  test("runs backwards from below its start down to its end", () => {
    expect(scan(filled(), { from: "d", to: "b", limit: 10, reverse: true })).toEqual(["c=C", "b=B"]);
    expect(scan(filled(), { from: "", to: "", limit: 2, reverse: true })).toEqual(["e=E", "d=D"]);
  });

  test("of keys only leaves the values out", () => {
    expect(scan(filled(), { from: "a", to: "c", limit: 10, keyOnly: true })).toEqual(["a=", "b="]);
  });

  test("of no rows, or of a range that ends before it begins, is empty", () => {
    expect(scan(filled(), { from: "a", to: "", limit: 0 })).toEqual([]);
    expect(scan(filled(), { from: "d", to: "b", limit: 10 })).toEqual([]);
    expect(scan(filled(), { from: "c", to: "c", limit: 10 })).toEqual([]);
  });

  test("is clipped to the region, both ways", () => {
    const stores = Stores.led(1, {}, 1, regionOf(2, 1, "b", "d"));
    for (const key of ["b", "c"]) stores.put(key, key);
    expect(scan(stores, { from: "", to: "", limit: 10 })).toEqual(["b=b", "c=c"]);
    expect(scan(stores, { from: "z", to: "a", limit: 10, reverse: true })).toEqual(["c=c", "b=b"]);
  });

  test("goes on behind a page that its bytes cut off: clients take few rows for the end of the region", () => {
    const stores = Stores.led(1, { scanBytesMax: 50 });
    const keys = Array.from({ length: 40 }, (_, i) => `k${String(i).padStart(2, "0")}`);
    for (const key of keys) stores.put(key, "v".repeat(20));
    const value = "v".repeat(20);
    const all = keys.map((key) => `${key}=${value}`);
    expect(scan(stores, { from: "", to: "", limit: 100 })).toEqual(all);
    expect(scan(stores, { from: "", to: "", limit: 7 })).toEqual(all.slice(0, 7));
    expect(scan(stores, { from: "", to: "", limit: 100, reverse: true })).toEqual(all.toReversed());
    expect(scan(stores, { from: "k31", to: "k05", limit: 9, reverse: true })).toEqual(
      all.slice(22, 31).toReversed(),
    );
  });

  test("goes on behind rows that have expired", () => {
    const stores = Stores.led();
    for (let i = 0; i < 10; i++) stores.put(`a${i}`, "gone", { ttl: 1 });
    stores.put("b", "here");
    stores.pass(2000);
    expect(scan(stores, { from: "", to: "", limit: 3 })).toEqual(["b=here"]);
  });

  test("whose answer would be too large is refused rather than cut", () => {
    const stores = Stores.led(1, { scanBytesMax: 100, scanAnswerBytesMax: 300 });
    for (let i = 0; i < 20; i++) stores.put(`k${i}`, "v".repeat(40));
    const answer: kvrpcpb.IRawScanResponse = stores.raw("scan", { limit: 100 });
    expect(answer.regionError?.message).toContain("smaller limit");
    expect(answer.kvs ?? []).toEqual([]);
  });

  test("of several ranges gives each its own limit", () => {
    const stores = filled();
    const answer: kvrpcpb.IRawBatchScanResponse = stores.raw("batchScan", {
      ranges: [
        { startKey: utf8("a"), endKey: utf8("c") },
        { startKey: utf8("d"), endKey: utf8("") },
      ],
      eachLimit: 1,
    });
    expect((answer.kvs ?? []).map((pair) => text(pair.key))).toEqual(["a", "d"]);
  });

  test("for a checksum walks the whole region, however many pages that is", () => {
    const sum = (config: object): kvrpcpb.IRawChecksumResponse => {
      const stores = Stores.led(1, config);
      for (let i = 0; i < 30; i++) stores.put(`k${i}`, "v".repeat(i));
      return stores.wait((reply) =>
        rawChecksum(
          stores.store().raw,
          { context: stores.context(), ranges: [{ startKey: utf8(""), endKey: utf8("") }] },
          reply,
        ),
      );
    };
    const whole = sum({});
    expect(whole.totalKvs).toBe(30);
    expect(sum({ scanBytesMax: 64 })).toEqual(whole);
    expect(sum({ scanRowsMax: 7 })).toEqual(whole);
  });
});

describe("a time to live", () => {
  const ttlOf = (stores: Stores, key: string): kvrpcpb.IRawGetKeyTTLResponse =>
    stores.raw("keyTtl", {
      key: utf8(key),
    });

  test("of any length can be asked for, and everything is answered afterwards", () => {
    const stores = Stores.led();
    stores.put("k", "v", { ttl: 2 ** 64 - 1 });
    expect(stores.get("k")).toBe("v");
    const swapped = stores.raw("compareAndSwap", {
      key: utf8("k"),
      previousValue: utf8("v"),
      value: utf8("w"),
    });
    expect(swapped).toMatchObject({ succeed: true });
    expect(stores.get("k")).toBe("w");
  });

  test("counts down, then the value is gone for every kind of read", () => {
    const stores = Stores.led();
    stores.put("k", "v", { ttl: 10 });
    stores.pass(3000);
    expect(ttlOf(stores, "k").ttl).toBeGreaterThanOrEqual(6);
    expect(ttlOf(stores, "k").ttl).toBeLessThanOrEqual(7);
    expect(stores.get("k")).toBe("v");
    stores.pass(8000);
    expect(stores.get("k")).toBeUndefined();
    expect(ttlOf(stores, "k").notFound).toBe(true);
    expect(scan(stores, { from: "", to: "", limit: 10 })).toEqual([]);
  });

  test("of a value for ever is none; of an absent one is not found", () => {
    const stores = Stores.led();
    stores.put("k", "v");
    expect(ttlOf(stores, "k")).toEqual({});
    expect(ttlOf(stores, "x")).toEqual({ notFound: true });
  });
});

describe("compare and swap", () => {
  const swap = (stores: Stores, request: kvrpcpb.IRawCASRequest): kvrpcpb.IRawCASResponse =>
    stores.raw("compareAndSwap", request);

  test("tells whether it took place and what was there [test_atomic_basic]", () => {
    const stores = Stores.led();
    const key = utf8("k");
    expect(swap(stores, { key, previousNotExist: true, value: utf8("1") })).toMatchObject({
      succeed: true,
      previousNotExist: true,
    });
    expect(swap(stores, { key, previousNotExist: true, value: utf8("2") })).toMatchObject({
      succeed: false,
      previousNotExist: false,
      previousValue: utf8("1"),
    });
    expect(swap(stores, { key, previousValue: utf8("1"), value: utf8("3") }).succeed).toBe(true);
    expect(stores.get("k")).toBe("3");
    expect(swap(stores, { key, previousValue: utf8("3"), delete: true }).succeed).toBe(true);
    expect(stores.get("k")).toBeUndefined();
  });

  test("finds no value where it has expired", () => {
    const stores = Stores.led();
    stores.put("k", "v", { ttl: 1 });
    stores.pass(2000);
    expect(swap(stores, { key: utf8("k"), previousNotExist: true, value: utf8("1") }).succeed).toBe(true);
  });
});

describe("a range delete", () => {
  const erase = (stores: Stores, from: string, to: string): kvrpcpb.IRawDeleteRangeResponse =>
    stores.raw("deleteRange", {
      startKey: utf8(from),
      endKey: utf8(to),
    });

  test("takes its start and leaves its end", () => {
    const stores = filled();
    expect(erase(stores, "b", "d")).toEqual({});
    expect(scan(stores, { from: "", to: "", limit: 10 })).toEqual(["a=A", "d=D", "e=E"]);
  });

  test("of an empty range does nothing; of one the wrong way round is refused", () => {
    const stores = filled();
    expect(erase(stores, "b", "b")).toEqual({});
    expect(erase(stores, "d", "b").regionError?.message).toContain("start key is above");
    expect(scan(stores, { from: "", to: "", limit: 10 })).toHaveLength(5);
  });

  test("beyond the region is refused as a whole", () => {
    const stores = Stores.led(1, {}, 1, regionOf(2, 1, "b", "d"));
    for (const [from, to] of [
      ["a", "c"],
      ["c", "e"],
      ["c", ""],
      ["", ""],
    ] as const) {
      expect(erase(stores, from, to).regionError?.keyNotInRegion).toBeDefined();
    }
    expect(erase(stores, "b", "d")).toEqual({});
  });
});
