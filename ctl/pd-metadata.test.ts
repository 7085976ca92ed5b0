import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { EmbeddedMetaStore, type MetaEntry, type MetaStore, PlacementDriver } from "../pd/index.js";
import { PdService } from "../proto/index.js";
import { SimulatedEtcd } from "../sim/simulated-etcd.js";
import { exportMetadata, importMetadata } from "./pd-metadata.js";
import { recover } from "./pd-recover.js";
import { promised } from "./process.js";

const env = nodeEnv(SILENT_LOGGER);
const etcd = (): MetaStore => new SimulatedEtcd(env).connect(env);
const embedded = async (): Promise<MetaStore> =>
  (await promised<EmbeddedMetaStore | undefined>((done) =>
    EmbeddedMetaStore.open(env, new MemoryEngine(), done),
  )) as MetaStore;

async function withPd<T>(store: MetaStore, use: (pd: PlacementDriver) => Promise<T>): Promise<T> {
  const pd = new PlacementDriver(env, { name: "pd", clientUrls: ["http://127.0.0.1:1"] }, store);
  await promised<void>((done) => pd.start(done));
  try {
    return await use(pd);
  } finally {
    await promised<void>((done) => pd.stop(() => done(undefined)));
  }
}

const id = (pd: PlacementDriver): Promise<number> =>
  promised<number>((done) => pd.cluster.context.ids.allocate(1, done));

async function exported(store: MetaStore): Promise<string[]> {
  const lines: string[] = [];
  await exportMetadata(store, (line) => lines.push(line));
  return lines;
}

describe("PD's metadata", () => {
  test.each([
    ["a PD alone", "etcd", embedded, async () => etcd()],
    ["etcd", "a PD alone", async () => etcd(), embedded],
  ])("goes from %s to %s, and ids go on above", async (_from, _to, from, to) => {
    const source = await from();
    const { clusterId, last } = await withPd(source, async (pd) => {
      expect(pd.methods().some(({ definition }) => definition.path === PdService.Tso.path)).toBe(true);
      await promised<number>((done) =>
        source.put(utf8("/tidb/store/gcworker/saved_safe_point"), utf8("7"), done),
      );
      return { clusterId: pd.clusterId, last: await id(pd) };
    });
    const lines = await exported(source);
    const target = await to();
    const summary = await importMetadata(target, lines);
    expect(summary.clusterId).toBe(clusterId);
    const kept = await promised<MetaEntry | undefined>((done) =>
      target.get(utf8("/tidb/store/gcworker/saved_safe_point"), done),
    );
    expect(new TextDecoder().decode(kept?.value)).toBe("7");
    await withPd(target, async (pd) => {
      expect(pd.clusterId).toBe(clusterId);
      expect(await id(pd)).toBeGreaterThan(last);
    });
  });

  test("is imported only into an empty place, whole, and from a file of ours", async () => {
    const source = await embedded();
    await withPd(source, async () => {});
    const lines = await exported(source);
    await expect(importMetadata(source, lines)).rejects.toThrow(/there is metadata of cluster \d+ already/);
    await expect(importMetadata(etcd(), lines.slice(0, -1))).rejects.toThrow(/cut off/);
    await expect(importMetadata(etcd(), lines.toSpliced(1, 1))).rejects.toThrow(/cut off/);
    await expect(importMetadata(etcd(), ["{}"])).rejects.toThrow(/no file of/);
    await expect(importMetadata(etcd(), [...lines.slice(0, 2), "{", ...lines.slice(2)])).rejects.toThrow(
      /line 3/,
    );
  });

  test("is not exported where there is none, nor while a PD leads", async () => {
    await expect(exported(etcd())).rejects.toThrow(/no metadata/);
    const store = etcd();
    await withPd(store, async (pd) => {
      const leaseId = await promised<number>((done) => store.grantLease(60, done));
      const put = {
        kind: "put",
        key: utf8(`/pd/${pd.clusterId}/leader`),
        value: utf8("x"),
        leaseId,
      } as const;
      await promised((done) => store.transact({ compares: [], onSuccess: [put] }, done));
    });
    await expect(exported(store)).rejects.toThrow(/a PD leads/);
  });
});

describe("metadata that is made anew from the stores", () => {
  const servers: Server[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await new Promise((done) => server.close(done));
  });

  /** A store's status port that answers so. */
  async function status(answer: object): Promise<string> {
    const server = createServer((_request, response) => {
      response.end(JSON.stringify(answer));
    });
    servers.push(server);
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
  const told = (storeId: number, more: object = {}) => ({
    clusterId: "7700000000000000001",
    storeId,
    address: `10.0.0.${storeId}:20160`,
    version: "8.5.0",
    highestId: 40 + storeId,
    storeIds: [1, 4],
    ...more,
  });
  const nowMs = 1_900_000_000_000;
  const ask = async (store: MetaStore, answers: readonly object[]) =>
    recover(store, { stores: await Promise.all(answers.map(status)), aheadMs: 3_600_000 }, nowMs);

  test("starts ids and timestamps above all that any of them knows", async () => {
    const store = etcd();
    const made = await ask(store, [told(1, { highestId: 9_000 }), told(4)]);
    expect(made).toMatchObject({ stores: [1, 4], firstId: 1_009_000, firstTimestampMs: nowMs + 3_600_000 });
    await withPd(store, async (pd) => {
      expect(pd.clusterId).toBe(7_700_000_000_000_000_001n);
      expect(await id(pd)).toBeGreaterThan(1_009_000);
      expect([...pd.cluster.stores.values()].map(({ id: storeId, isUp }) => [storeId, isUp])).toEqual([
        [1, true],
        [4, true],
      ]);
      const key = utf8(`/pd/${pd.clusterId}/timestamp`);
      const window = await promised<MetaEntry | undefined>((done) => store.get(key, done));
      const bytes = window?.value ?? new Uint8Array(8);
      const endMs = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0) / 1_000_000n;
      // PD has started above it and stored the next window.
      expect(Number(endMs)).toBeGreaterThan(nowMs + 3_600_000);
    });
    await expect(ask(store, [told(1), told(4)])).rejects.toThrow(/there is metadata of cluster 77/);
  });

  test("needs all stores of one cluster, each once, and says which is wrong", async () => {
    const refusals: readonly (readonly [readonly object[], RegExp])[] = [
      [[told(1)], /replicas are on stores that were not named: 4/],
      [[told(1), told(4, { clusterId: "8" })], /different clusters: 7700000000000000001, 8/],
      [[told(1), told(1)], /named twice/],
      [[told(1), { version: "1" }], /no status address of a store/],
    ];
    for (const [answers, reason] of refusals) await expect(ask(etcd(), answers)).rejects.toThrow(reason);
    const gone = { stores: ["127.0.0.1:1"], aheadMs: 0 };
    await expect(recover(etcd(), gone, nowMs)).rejects.toThrow(/127\.0\.0\.1:1 does not answer/);
  });
});
