import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { GrpcNetwork } from "../../adapters/grpc-network.js";
import { nodeEnv } from "../../adapters/node-env.js";
import { must, SILENT_LOGGER } from "../../base/index.js";
import { PdClient } from "../../pd-client/index.js";
import { freePort, ProcessCluster } from "../support/process-cluster.js";

const flag = (args: readonly string[], name: string, value: string): string[] => {
  const changed = [...args];
  changed[changed.indexOf(name) + 1] = value;
  return changed;
};

function call<T>(run: (callback: (error: Error | undefined, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    run((error, result) => (error === undefined ? resolve(result as T) : reject(error)));
  });
}

/** Asks for ids and timestamps as fast as PD answers; what comes must only ever grow. */
class Hammer {
  readonly ids: number[] = [];
  readonly timestamps: bigint[] = [];
  readonly #pd: PdClient;
  readonly #network = new GrpcNetwork();
  #stopped = false;
  #running: Promise<void>[] = [];

  constructor(pdAddress: string) {
    this.#pd = new PdClient(nodeEnv(SILENT_LOGGER), this.#network, { endpoints: [pdAddress] });
  }

  async start(): Promise<void> {
    await call((callback) => this.#pd.connect(callback));
    const tso = this.#pd.openTso();
    const loop = async (step: () => Promise<void>): Promise<void> => {
      while (!this.#stopped) await step().catch(() => delay(20));
    };
    this.#running = [
      loop(async () => {
        this.ids.push(await call<number>((callback) => this.#pd.allocId(callback)));
      }),
      loop(async () => {
        this.timestamps.push(await call<bigint>((callback) => tso.get(callback)));
      }),
    ];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#pd.close();
    this.#network.close();
    await Promise.all(this.#running);
  }
}

const grows = (values: readonly (number | bigint)[]): boolean =>
  values.every((value, i) => i === 0 || value > (values[i - 1] as number | bigint));

test("a killed PD continues its ids and timestamps above all that it ever gave out", {
  timeout: 60_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  const hammer = new Hammer(cluster.pdAddress);
  await hammer.start();
  for (let round = 1; round <= 4; round++) {
    const ids = hammer.ids.length;
    const timestamps = hammer.timestamps.length;
    await cluster.waitUntil(
      async () => hammer.ids.length > ids + 100 && hammer.timestamps.length > timestamps + 100,
      20_000,
      `no ids and timestamps in round ${round}`,
    );
    await cluster.kill("pd");
    cluster.restart("pd");
  }
  await hammer.stop();
  expect(grows(hammer.ids)).toBe(true);
  expect(grows(hammer.timestamps)).toBe(true);
});

test("a second store on the same directory, and a directory of another cluster, are refused with the reason", {
  timeout: 60_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  const args = cluster.argsOf("store-1");
  const [port, statusPort] = [await freePort(), await freePort()];
  const elsewhere = flag(
    flag(flag(args, "--addr", `127.0.0.1:${port}`), "--status-addr", `127.0.0.1:${statusPort}`),
    "--log-file",
    join(cluster.directory, "second.log"),
  );
  const twice = await cluster.run(elsewhere);
  expect(twice.code).toBe(1);
  expect(twice.output).toContain("in use by another process");
  expect(twice.output).toContain("[dataDirectoryInUse]");

  const samePort = await cluster.run(flag(args, "--data-dir", join(cluster.directory, "new")));
  expect(samePort.code).toBe(1);
  expect(samePort.output).toContain("[portInUse]");

  await cluster.kill("store-1", "SIGTERM");
  await using other = await ProcessCluster.start({ stores: 1 });
  const foreign = await cluster.run(flag(elsewhere, "--pd", other.pdAddress));
  expect(foreign.code).toBe(1);
  expect(foreign.output).toContain("belongs to cluster");

  const asPd = await cluster.run([
    "pd",
    "--client-urls",
    `http://127.0.0.1:${port}`,
    "--data-dir",
    dataDir(args),
  ]);
  expect(asPd.code).toBe(1);
  expect(asPd.output).toContain("[dataDirectoryMismatch]");
});

const dataDir = (args: readonly string[]): string =>
  must(args[args.indexOf("--data-dir") + 1], "no --data-dir");

test("a wiped store that comes back under its old address is refused until the old one is removed", {
  timeout: 90_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 3 });
  const client = await cluster.client();
  await client.put(new Uint8Array([1]), new Uint8Array([2]));
  await cluster.kill("store-3");
  const id = (await cluster.stores()).find(({ store }) => store.address === cluster.addressOf("store-3"));
  rmSync(dataDir(cluster.argsOf("store-3")), { recursive: true });
  const refused = await cluster.run(cluster.argsOf("store-3"));
  expect(refused.code).toBe(1);
  expect(refused.output).toMatch(/duplicated store address|already registered/);
  expect(await client.get(new Uint8Array([1]))).toEqual(new Uint8Array([2]));

  // Removed for good, its place is free; the region is rebuilt on the new one.
  const removed = await fetch(`http://${cluster.pdAddress}/pd/api/v1/store/${id?.store.id}?force=true`, {
    method: "DELETE",
  });
  expect(removed.ok).toBe(true);
  cluster.restart("store-3");
  await cluster.waitUntil(
    async () => {
      const fresh = await cluster.storeIdOf("store-3").catch(() => 0);
      const [region] = await cluster.regions();
      return fresh !== id?.store.id && (region?.peers.some((peer) => peer.store_id === fresh) ?? false);
    },
    40_000,
    "the region was not rebuilt on the new store",
  );
});

test("a store that starts while PD is down waits for it and then serves", {
  timeout: 60_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  await cluster.kill("store-1", "SIGTERM");
  await cluster.kill("pd", "SIGTERM");
  cluster.restart("store-1");
  await delay(2_000);
  expect(cluster.isRunning("store-1")).toBe(true);
  cluster.restart("pd");
  const client = await cluster.client();
  await client.put(new Uint8Array([1]), new Uint8Array([2]));
  expect(await client.get(new Uint8Array([1]))).toEqual(new Uint8Array([2]));
});

test("a store tells about itself on its status port", { timeout: 60_000 }, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  const base = `http://${cluster.statusAddressOf("store-1")}`;
  const json = async (path: string): Promise<Record<string, unknown>> =>
    (await (await fetch(base + path)).json()) as Record<string, unknown>;
  expect(await json("/status")).toMatchObject({
    version: "8.5.0",
    engine: "rocksdb",
    regions: 1,
    leaders: 1,
  });
  expect(await json("/config")).toMatchObject({ storage: { "api-version": 1, "enable-ttl": true } });
  expect((await fetch(`${base}/ready`)).status).toBe(200);
  const [region] = await cluster.regions();
  expect(await json(`/region/${region?.id}`)).toMatchObject({ isLeader: true });
  expect((await fetch(`${base}/region/999999`)).status).toBe(404);
  expect((await fetch(`${base}/nonsense`)).status).toBe(404);
  const metrics = await (await fetch(`${base}/metrics`)).text();
  expect(metrics).toMatch(/^tikv_raftstore_region_count\{type="leader"\} 1$/m);
  const level = await fetch(`${base}/log-level`, { method: "PUT", body: '{"level":"debug"}' });
  expect(await level.json()).toEqual({ level: "debug" });
  expect((await fetch(`${base}/log-level`, { method: "PUT", body: '{"level":"loud"}' })).status).toBe(400);
  const pdMetrics = await (await fetch(`http://${cluster.pdAddress}/metrics`)).text();
  expect(pdMetrics).toContain("process_cpu_seconds_total");
});

test("several stores of one machine run under one command, labelled as one host, and stop together", {
  timeout: 60_000,
}, async () => {
  await using cluster = await ProcessCluster.start({ stores: 1 });
  const [port, statusPort] = [await freePort(), await freePort()];
  const args = ["store", "--count", "2", "--pd", cluster.pdAddress, "--addr", `127.0.0.1:${port}`];
  const paths = ["--status-addr", `127.0.0.1:${statusPort}`, "--data-dir", join(cluster.directory, "many")];
  const fleet = cluster.spawn([...args, ...paths]);
  await cluster.waitUntil(async () => (await cluster.stores()).length === 3, 20_000, "the two did not start");
  const addresses = (await cluster.stores()).map(({ store }) => store.address);
  expect(addresses).toContain(`127.0.0.1:${port}`);
  expect(addresses).toContain(`127.0.0.1:${port + 1}`);
  const labels = await cluster.pdGet<{ stores: { store: { labels?: { key: string; value: string }[] } }[] }>(
    "stores",
  );
  const hosts = labels.stores.flatMap(({ store }) => store.labels ?? []).filter(({ key }) => key === "host");
  expect(hosts.length).toBe(2);
  expect(hosts[0]).toEqual(hosts[1]);
  fleet.kill("SIGTERM");
  expect(await new Promise((resolve) => fleet.on("exit", resolve))).toBe(0);
});
