/** Keys of the API's versions: what is refused with which words, how keys of version 2 lie in the engine. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareBytes, concatBytes, utf8, decodeMemcomparable, encodeMemcomparable } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import { dataKey } from "../region/keys.js";
import { ApiMode } from "./api-mode.js";
import { rawChecksum } from "./checksum.js";
import { Stores } from "./test/harness.js";

const KEYSPACE = Uint8Array.of(0x72, 0, 0, 0);
/** A raw key of keyspace DEFAULT. */
const inDefault = (text: string): Uint8Array => concatBytes(KEYSPACE, utf8(text));
const END = Uint8Array.of(0x72, 0, 0, 1);
const V2 = { apiVersion: 2, enableTtl: true } as const;

describe("the memcomparable form", () => {
  test("is that of TiKV's documentation", () => {
    expect([...encodeMemcomparable(new Uint8Array(0))]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 247]);
    expect([...encodeMemcomparable(Uint8Array.of(1, 2, 3))]).toEqual([1, 2, 3, 0, 0, 0, 0, 0, 250]);
    expect([...encodeMemcomparable(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))]).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 247,
    ]);
  });

  test("keeps order and comes back", () => {
    const bytes = fc.uint8Array({ maxLength: 30 });
    fc.assert(
      fc.property(bytes, bytes, (left, right) => {
        expect(decodeMemcomparable(encodeMemcomparable(left))).toEqual(left);
        const order = compareBytes(encodeMemcomparable(left), encodeMemcomparable(right));
        expect(Math.sign(order)).toBe(Math.sign(compareBytes(left, right)));
      }),
    );
  });
});

describe("a store of version 2", () => {
  const led = (): Stores => Stores.led(1, V2);
  const context = (stores: Stores): kvrpcpb.IContext => ({ ...stores.context(), apiVersion: 2 });
  const put = (stores: Stores, key: Uint8Array, value: string, more = {}): kvrpcpb.IRawPutResponse =>
    stores.raw("put", { key, value: utf8(value), context: context(stores), ...more });

  test("puts, gets, swaps, deletes, and tells keys as the client wrote them", () => {
    const stores = led();
    for (const name of ["a", "b", "longer than eight bytes"])
      expect(put(stores, inDefault(name), name)).toEqual({});
    const get = stores.raw("get", { key: inDefault("b"), context: context(stores) });
    expect(get).toEqual({ value: utf8("b") });
    const keys = [inDefault("a"), inDefault("zz")];
    expect(stores.raw("batchGet", { keys, context: context(stores) })).toEqual({
      pairs: [{ key: inDefault("a"), value: utf8("a") }],
    });
    const scan = { startKey: KEYSPACE, endKey: END, limit: 10, context: context(stores) };
    const forward: kvrpcpb.IRawScanResponse = stores.raw("scan", scan);
    const names = ["a", "b", "longer than eight bytes"].map(inDefault);
    expect(forward.kvs?.map(({ key }) => key)).toEqual(names);
    const backward: kvrpcpb.IRawScanResponse = stores.raw("scan", {
      ...scan,
      startKey: END,
      endKey: inDefault("b"),
      reverse: true,
      keyOnly: true,
    });
    expect(backward.kvs?.map(({ key }) => key)).toEqual([...names].reverse().slice(0, 2));
    const range = { startKey: KEYSPACE, endKey: END };
    const batch = { ranges: [range], eachLimit: 2, context: context(stores) };
    expect((stores.raw("batchScan", batch) as kvrpcpb.IRawBatchScanResponse).kvs).toHaveLength(2);
    const sum = stores.wait<kvrpcpb.IRawChecksumResponse>((reply) =>
      rawChecksum(stores.store().raw, { ranges: [range], context: context(stores) }, reply),
    );
    expect(sum.totalKvs).toBe(3);
    stores.raw("deleteRange", { startKey: inDefault("b"), endKey: END, context: context(stores) });
    expect((stores.raw("scan", scan) as kvrpcpb.IRawScanResponse).kvs).toHaveLength(1);
    stores.raw("batchDelete", { keys: [inDefault("a")], context: context(stores) });
    expect((stores.raw("scan", scan) as kvrpcpb.IRawScanResponse).kvs).toHaveLength(0);
  });

  test("keeps keys and its regions' borders in memcomparable form, so that splits lie between keys", () => {
    const stores = led();
    for (const name of ["a", "m", "z"]) put(stores, inDefault(name), name);
    expect(
      stores.member(1).engine.get("default", dataKey(encodeMemcomparable(inDefault("m")))),
    ).toBeDefined();
    const border = encodeMemcomparable(inDefault("m"));
    stores.store().splits.splitAt(stores.peer(), stores.peer().region.epoch, [border], () => {});
    stores.pass(500);
    const left = { ...stores.context(1, 1000), apiVersion: 2 };
    const scan = { startKey: KEYSPACE, endKey: END, limit: 10 };
    const names = (of: kvrpcpb.IContext): number | undefined =>
      (stores.raw("scan", { ...scan, context: of }) as kvrpcpb.IRawScanResponse).kvs?.length;
    expect([names(left), names(context(stores))]).toEqual([1, 2]);
    expect(put(stores, inDefault("b"), "x").regionError?.keyNotInRegion).toBeDefined();
  });

  test("refuses requests of version 1, and keys of no mode or of another", () => {
    const stores = led();
    expect(put(stores, inDefault("a"), "x", { context: stores.context() }).error).toBe(
      "Api version in request does not match with TiKV storage, cmd: raw_put, storage: V2, request: V1",
    );
    for (const key of [utf8("a"), utf8("x\0\0\0a"), new Uint8Array(0)]) {
      expect(put(stores, key, "x").error).toContain(
        "Key mode mismatched with the request mode, cmd: raw_put",
      );
    }
    const scan = { limit: 1, context: context(stores) };
    for (const range of [{}, { startKey: KEYSPACE }, { startKey: utf8("a"), endKey: END }]) {
      const answer: kvrpcpb.IRawScanResponse = stores.raw("scan", { ...scan, ...range });
      expect(answer.kvs?.[0]?.error?.abort).toContain("Key mode mismatched");
    }
    const answer: kvrpcpb.IRawDeleteRangeResponse = stores.raw("deleteRange", { context: context(stores) });
    expect(answer.error).toContain("raw_delete_range");
    expect(
      (
        stores.raw("batchGet", {
          keys: [utf8("a")],
          context: context(stores),
        }) as kvrpcpb.IRawBatchGetResponse
      ).pairs,
    ).toMatchObject([{ error: { abort: expect.stringContaining("raw_batch_get") } }]);
  });

  test("needs times to live", () => {
    expect(() => Stores.led(1, { apiVersion: 2, enableTtl: false })).toThrow("enable-ttl must be true");
  });
});

describe("a store without times to live", () => {
  test("refuses them in words, and takes everything else", () => {
    const stores = Stores.led(1, { enableTtl: false });
    expect(stores.put("k", "v", { ttl: 5 }).error).toContain("ttl is not enabled");
    const pairs = [{ key: utf8("k"), value: utf8("v") }];
    expect(stores.raw("batchPut", { pairs, ttls: [5] })).toMatchObject({
      error: expect.stringContaining("ttl"),
    });
    expect(stores.raw("keyTtl", { key: utf8("k") })).toMatchObject({ error: expect.stringContaining("ttl") });
    expect(stores.put("k", "v")).toEqual({});
    expect(new ApiMode({ apiVersion: 1, enableTtl: false }).name).toBe("V1");
  });
});

describe("a store that is started with another version", () => {
  const restart = (stores: Stores, change: object): Stores => {
    const { engine } = stores.member(1);
    stores.crash(1);
    const again = new Stores({ ...stores.config, ...change });
    again.start(1, engine);
    again.pass(2_000);
    return again;
  };

  test("is refused once it holds data, whichever way", () => {
    const first = Stores.led();
    first.put("k", "v");
    expect(() => restart(first, V2)).toThrow(
      "holds keys of storage.api-version 1, and the configuration says 2",
    );
    const second = Stores.led(1, V2);
    second.raw("put", {
      key: inDefault("k"),
      value: utf8("v"),
      context: { ...second.context(), apiVersion: 2 },
    });
    expect(() => restart(second, { apiVersion: 1 })).toThrow("set it back");
  });

  test("takes the new one while it is empty, and with or without times to live as you like", () => {
    const stores = Stores.led();
    const again = restart(restart(stores, { enableTtl: false }), V2);
    const key = inDefault("k");
    expect(again.raw("put", { key, value: key, context: { ...again.context(), apiVersion: 2 } })).toEqual({});
  });
});

describe("expired values", () => {
  const held = (stores: Stores, id: number): number => {
    let rows = -1;
    const range = { start: new Uint8Array(0), end: undefined, limit: 9_999, keysOnly: true };
    stores.member(id).engine.scan("default", range, (_error, result) => {
      rows = result.rows.length;
    });
    return rows;
  };

  test("are given back on all replicas, page by page, and no others", () => {
    const stores = Stores.led(3, { ttlCheckTickMs: 5_000 });
    const pairs = Array.from({ length: 700 }, (_, i) => ({ key: utf8(`k${i}`), value: utf8("v") }));
    stores.raw("batchPut", { pairs, ttls: pairs.map((_, i) => (i % 2 === 0 ? 1 : 0)) });
    stores.put("later", "v", { ttl: 1_000 });
    stores.pass(2_000);
    expect(held(stores, 1)).toBe(701);
    stores.pass(8_000);
    expect([1, 2, 3].map((id) => held(stores, id))).toEqual([351, 351, 351]);
    expect(stores.get("later")).toBe("v");
  });

  test("that are written anew while they are looked for stay", () => {
    const stores = Stores.led(1, { ttlCheckTickMs: 3_000 });
    stores.put("k", "old", { ttl: 1 });
    stores.pass(1_500);
    const peer = stores.peer();
    const write = peer.write.bind(peer);
    let proposed = 0;
    // The delete comes behind a put that the walk has not seen.
    peer.write = (request) => {
      peer.write = write;
      proposed++;
      stores.store().raw.put({ key: utf8("k"), value: utf8("new"), context: stores.context() }, () => {});
      peer.write(request);
    };
    stores.pass(3_000);
    expect(proposed).toBe(1);
    expect(stores.get("k")).toBe("new");
  });
});
