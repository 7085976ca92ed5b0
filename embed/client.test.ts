import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/index.js";
import type { RawClient } from "../client/index.js";
import { Cluster } from "./cluster.js";

const key = (i: number): Uint8Array => utf8(`k${String(i).padStart(4, "0")}`);

describe.each([1, 2] as const)("with API V%i,", (apiVersion) => {
  let cluster: Cluster;
  let client: RawClient;

  beforeAll(async () => {
    cluster = await Cluster.start({ stores: 3, storeConfig: { apiVersion } });
    client = cluster.client;
  });
  afterAll(async () => {
    await cluster?.close();
  });

  test("what was put is read, overwritten and deleted", async () => {
    await client.put(utf8("a"), utf8("1"));
    expect(fromUtf8((await client.get(utf8("a"))) ?? utf8("?"))).toBe("1");
    await client.put(utf8("a"), new Uint8Array(0));
    expect(await client.get(utf8("a"))).toEqual(new Uint8Array(0));
    await client.delete(utf8("a"));
    expect(await client.get(utf8("a"))).toBeUndefined();
  });

  test("batches and scans go over regions that split meanwhile", async () => {
    const pairs = Array.from({ length: 500 }, (_, i) => ({ key: key(i), value: utf8(`v${i}`) }));
    await client.batchPut(pairs);
    await cluster.split(key(100), key(300));
    const values = await client.batchGet(pairs.map((pair) => pair.key));
    expect(values.map((value) => fromUtf8(value ?? utf8("?")))).toEqual(pairs.map((_, i) => `v${i}`));
    const forward: string[] = [];
    for await (const row of client.scan({ start: key(50), end: key(350) })) forward.push(fromUtf8(row.key));
    expect(forward).toEqual(pairs.slice(50, 350).map((pair) => fromUtf8(pair.key)));
    const backward: string[] = [];
    for await (const row of client.scan({ start: key(50), end: key(350), reverse: true, keysOnly: true })) {
      backward.push(fromUtf8(row.key));
      expect(row.value.length).toBe(0);
    }
    expect(backward).toEqual([...forward].reverse());
    const few: string[] = [];
    for await (const row of client.scan({ start: key(98), limit: 5 })) few.push(fromUtf8(row.key));
    expect(few).toEqual([98, 99, 100, 101, 102].map((i) => fromUtf8(key(i))));
  });

  test("a range delete covers its regions and nothing else", async () => {
    await client.batchPut(Array.from({ length: 500 }, (_, i) => ({ key: key(i), value: utf8("x") })));
    await client.deleteRange(key(90), key(310));
    const left: string[] = [];
    for await (const row of client.scan({ start: key(0), end: key(500) })) left.push(fromUtf8(row.key));
    expect(left.length).toBe(500 - 220);
    expect(left).not.toContain(fromUtf8(key(90)));
    expect(left).toContain(fromUtf8(key(310)));
    await client.batchDelete(left.map(utf8));
    for await (const row of client.scan({ start: key(0), end: key(500) }))
      expect.unreachable(fromUtf8(row.key));
  });

  test("a compare-and-swap succeeds once and tells what it found", async () => {
    const register = utf8("register");
    expect(await client.compareAndSwap(register, undefined, utf8("1"))).toEqual({ swapped: true });
    expect(await client.compareAndSwap(register, undefined, utf8("2"))).toMatchObject({ swapped: false });
    const wrong = await client.compareAndSwap(register, utf8("0"), utf8("2"));
    expect(!wrong.swapped && fromUtf8(wrong.previous ?? utf8("?"))).toBe("1");
    expect(await client.compareAndSwap(register, utf8("1"), utf8("2"))).toEqual({ swapped: true });
    const counter = utf8("counter");
    await client.put(counter, utf8("0"));
    const increment = async (): Promise<void> => {
      for (;;) {
        const seen = (await client.get(counter)) as Uint8Array;
        const next = utf8(String(Number(fromUtf8(seen)) + 1));
        if ((await client.compareAndSwap(counter, seen, next)).swapped) return;
      }
    };
    await Promise.all(Array.from({ length: 20 }, increment));
    expect(fromUtf8((await client.get(counter)) ?? utf8("?"))).toBe("20");
  });

  test("a time to live is kept and shown", async () => {
    await client.put(utf8("t"), utf8("x"), { ttlSeconds: 100 });
    const left = await client.ttl(utf8("t"));
    expect(left).toBeGreaterThan(90);
    expect(left).toBeLessThanOrEqual(100);
    await client.put(utf8("t"), utf8("x"));
    expect(await client.ttl(utf8("t"))).toBe(0);
    expect(await client.ttl(utf8("absent"))).toBeUndefined();
  });

  test("an aborted operation and one whose time is over are told apart", async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(client.get(utf8("a"), { signal: controller.signal })).rejects.toMatchObject({
      code: "cancelled",
    });
    await expect(client.get(new Uint8Array(0))).rejects.toMatchObject({ code: "invalidArgument" });
  });
});
