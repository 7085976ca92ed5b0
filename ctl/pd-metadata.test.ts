import { describe, expect, test } from "vitest";
import { nodeEnv } from "../adapters/node-env.js";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { MemoryEngine } from "../engine/memory.js";
import { EmbeddedMetaStore, type MetaEntry, type MetaStore, PlacementDriver } from "../pd/index.js";
import { PdService } from "../proto/index.js";
import { SimulatedEtcd } from "../sim/simulated-etcd.js";
import { exportMetadata, importMetadata } from "./pd-metadata.js";
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
