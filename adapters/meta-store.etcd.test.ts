import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { ask, META_STORE_CASES, type MetaStoreTarget } from "../pd/test/meta-store-conformance.js";
import type { MetaEntry } from "../pd/index.js";
import { EtcdCluster } from "../test/support/etcd-cluster.js";
import { EtcdMetaStore } from "./etcd-meta-store.js";
import { nodeEnv } from "./node-env.js";

const sleep = (ms: number): Promise<void> => delay(ms);
const open = (endpoints: readonly string[]): MetaStoreTarget & { store: EtcdMetaStore } => ({
  store: new EtcdMetaStore(nodeEnv(SILENT_LOGGER), { endpoints }),
  sleep,
});
const put = (target: MetaStoreTarget, key: string, value: string): Promise<number> =>
  ask<number>(target, (done) => target.store.put(utf8(key), utf8(value), done));
/** As a caller who may repeat it does. */
async function putAgain(target: MetaStoreTarget, key: string, value: string): Promise<void> {
  for (;;) {
    try {
      await put(target, key, value);
      return;
    } catch {
      await delay(50);
    }
  }
}
const get = async (target: MetaStoreTarget, key: string): Promise<string | undefined> => {
  const entry = await ask<MetaEntry | undefined>(target, (done) => target.store.get(utf8(key), done));
  return entry === undefined ? undefined : new TextDecoder().decode(entry.value);
};

describe("the meta store on etcd", () => {
  let etcd: EtcdCluster;
  let target: ReturnType<typeof open>;
  beforeAll(async () => {
    etcd = await EtcdCluster.start();
    target = open(etcd.urls);
  });
  afterAll(async () => {
    target?.store.close(() => {});
    await etcd?.close();
  });

  let cases = 0;
  test.each(META_STORE_CASES)("$title", async (one) => {
    await expect(one.run(target, `case-${cases++}:`)).resolves.toBeUndefined();
  });

  test("a watch is the first thing a caller asks for, and misses nothing that follows", async () => {
    const missed: number[] = [];
    for (let i = 0; i < 40; i++) {
      const fresh = open(etcd.urls);
      const seen: string[] = [];
      const prefix = `first-${i}/`;
      fresh.store.watch(utf8(prefix), utf8(`first-${i}0`), 0, {
        onEvents: (events) => {
          for (const event of events)
            if (event.kind === "put") seen.push(new TextDecoder().decode(event.entry.value));
        },
        onCompacted: () => seen.push("compacted"),
      });
      for (const value of ["1", "2"]) await put(fresh, `${prefix}a`, value);
      await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe("2");
      if (seen.length !== 2) missed.push(i);
      fresh.store.close(() => {});
    }
    expect(missed).toEqual([]);
  });

  test("refuses what is larger than etcd takes, with a reason, and goes on", async () => {
    const large = new Uint8Array(4 << 20);
    const failed = await ask<number>(target, (done) => target.store.put(utf8("large"), large, done)).catch(
      (error: Error) => error,
    );
    expect(String(failed)).toMatch(/etcd refused: .*larger than max|too large/);
    await put(target, "large", "small");
    expect(await get(target, "large")).toBe("small");
  });
});

describe("three etcd nodes", () => {
  test.each(["SIGKILL", "SIGSTOP"] as const)("may each get %s: writes and watches go on", async (signal) => {
    await using etcd = await EtcdCluster.start(3);
    const target = open(etcd.urls);
    const seen: string[] = [];
    target.store.watch(utf8("w/"), utf8("w0"), 0, {
      onEvents: (events) => {
        for (const event of events)
          if (event.kind === "put") seen.push(new TextDecoder().decode(event.entry.value));
      },
      onCompacted: () => seen.push("compacted"),
    });
    let count = 0;
    for (const name of etcd.names) {
      await putAgain(target, "w/a", String(++count));
      await etcd.kill(name, signal);
      const startedMs = performance.now();
      await putAgain(target, "w/a", String(++count));
      const tookMs = performance.now() - startedMs;
      expect(await get(target, "w/a")).toBe(String(count));
      if (signal === "SIGKILL") etcd.restart(name);
      else await etcd.kill(name, "SIGCONT");
      await etcd.waitUntilReady();
      expect(tookMs).toBeLessThan(8_000);
      await delay(1_000);
    }
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(String(count));
    // A put whose answer was lost is repeated, so a value may come twice; but none is missing or out of order.
    expect([...new Set(seen)]).toEqual(Array.from({ length: count }, (_, i) => String(i + 1)));
    expect([...seen].sort((left, right) => Number(left) - Number(right))).toEqual(seen);
    target.store.close(() => {});
  });

  test("without a majority nothing is promised; with it again all goes on", async () => {
    await using etcd = await EtcdCluster.start(3);
    const target = open(etcd.urls);
    await put(target, "a", "1");
    for (const name of ["etcd1", "etcd2"]) await etcd.kill(name);
    const failed = await put(target, "a", "2").catch((error: Error) => error);
    expect(String(failed)).toMatch(/etcd does not answer .* try again/);
    const read = await get(target, "a").catch((error: Error) => String(error));
    expect(read).toMatch(/etcd does not answer/);
    for (const name of ["etcd1", "etcd2"]) etcd.restart(name);
    await etcd.waitUntilReady();
    await putAgain(target, "a", "3");
    expect(await get(target, "a")).toBe("3");
    target.store.close(() => {});
  });

  test("with users, the right password opens and a wrong one is refused with a reason", async () => {
    await using etcd = await EtcdCluster.start();
    const [url] = etcd.urls as [string];
    const post = async (path: string, body: object): Promise<void> => {
      const answer = await fetch(`${url}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
      expect(answer.status).toBe(200);
    };
    await post("auth/user/add", { name: "root", password: "secret" });
    await post("auth/role/add", { name: "root" });
    await post("auth/user/grant", { user: "root", role: "root" });
    await post("auth/enable", {});
    const env = nodeEnv(SILENT_LOGGER);
    const right = new EtcdMetaStore(env, {
      endpoints: [url],
      auth: { username: "root", password: "secret" },
    });
    await put({ store: right, sleep }, "a", "1");
    const wrong = new EtcdMetaStore(env, { endpoints: [url], auth: { username: "root", password: "guess" } });
    const failed = await put({ store: wrong, sleep }, "a", "2").catch((error: Error) => error);
    expect(String(failed)).toMatch(/authentication failed/);
    expect(await get({ store: right, sleep }, "a")).toBe("1");
    right.close(() => {});
    wrong.close(() => {});
  });
});
