/** Starts: torn ones, in any order, without PD, twice on one directory, on a directory that was wiped. */
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { ProcessCluster, voters } from "../support/process-cluster.js";
import { HANG_MS, Scenario } from "../support/scenario.js";

const EVERYTHING = ["pd", "store-1", "store-2", "store-3"];
const STORES = EVERYTHING.slice(1);
const QUICK =
  '[raftstore]\npd-heartbeat-tick-interval = "500ms"\npd-store-heartbeat-tick-interval = "500ms"\n' +
  'max-peer-down-duration = "3s"\nmax-leader-missing-duration = "5s"\n';

test("PD is absent for a minute: writes go on, and a store that was killed meanwhile comes back without it", () =>
  Scenario.run({}, async (s) => {
    await s.kill("pd");
    const name = "store-2";
    await s.progress();
    await s.kill(name);
    await s.progress();
    s.restart(name);
    const untilMs = performance.now() + 60_000;
    while (performance.now() < untilMs) await s.progress();
    expect(s.cluster.isRunning(name)).toBe(true);
    s.restart("pd");
    await s.ready("pd", name);
  }));

test("stores start a minute before PD does and serve once it is there", () =>
  Scenario.run({}, async (s) => {
    for (const name of EVERYTHING) await s.cluster.kill(name, "SIGTERM");
    s.restart(...STORES);
    await delay(60_000);
    for (const name of STORES) expect(s.cluster.isRunning(name)).toBe(true);
    s.restart("pd");
    await s.ready("pd", ...STORES);
  }));

for (const order of [
  ["store-3", "store-1", "pd", "store-2"],
  ["store-2", "pd", "store-3", "store-1"],
  ["pd", "store-3", "store-2", "store-1"],
]) {
  test(`after a stop of all, ${order.join(", ")} start in this order with pauses between [test_multi_node_cluster_restart]`, () =>
    Scenario.run({}, async (s) => {
      for (const name of EVERYTHING) await s.cluster.kill(name, "SIGTERM");
      for (const name of order) {
        s.restart(name);
        await delay(1_200);
      }
      await s.ready(...EVERYTHING);
    }));
}

test("the cluster starts without one of its stores, which comes later", () =>
  Scenario.run({}, async (s) => {
    await s.kill(...EVERYTHING);
    s.restart("pd", "store-1", "store-3");
    await s.progress();
    s.restart("store-2");
    await s.ready("store-2");
  }));

test("a second process on the directory of a store, and of PD, is refused and does the first no harm", () =>
  Scenario.run({}, async (s) => {
    for (const name of ["store-1", "pd"]) {
      const args = s.cluster.argsOf(name).map((arg) => (arg.endsWith(".log") ? `${arg}.second` : arg));
      const free = (i: number): string => `127.0.0.1:${10_100 + i + Math.floor(Math.random() * 800)}`;
      const elsewhere = args.map((arg, i) => {
        const option = args[i - 1];
        if (option === "--addr" || option === "--status-addr") return free(i);
        return option === "--client-urls" ? `http://${free(i)}` : arg;
      });
      const { code, output } = await s.cluster.run(elsewhere);
      expect(output).toContain("[dataDirectoryInUse]");
      expect(code).toBe(1);
      await s.progress();
    }
  }));

test("a wiped store is refused under its old address with the reason, and takes its place once the old one is buried", () =>
  Scenario.run({ storeConfig: QUICK, pdConfig: '[schedule]\nmax-store-down-time = "5s"\n' }, async (s) => {
    const name = await s.follower();
    const id = await s.cluster.storeIdOf(name);
    await s.kill(name);
    rmSync(s.cluster.directoryOf(name), { recursive: true });
    const refused = await s.cluster.run(s.cluster.argsOf(name));
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.output).toMatch(/duplicated store address|already registered/);
    await s.progress();
    // What it had is rebuilt on a fourth; then the dead one can be taken out, and its address is free.
    const fourth = await s.cluster.addStore();
    await s.ready(fourth);
    await s.until(
      async () => (await s.cluster.regions()).every((region) => !voters(region).includes(id)),
      "the replicas are not rebuilt",
    );
    expect(await s.cluster.ctl("store", "delete", `${id}`, "--physically-destroyed")).toMatchObject({
      code: 0,
    });
    await s.until(
      async () =>
        (await s.cluster.pdGet<{ store: { state_name: string } }>(`store/${id}`)).store.state_name ===
        "Tombstone",
      "it does not become a tombstone",
    );
    s.restart(name);
    await s.ready(name);
    expect(await s.cluster.storeIdOf(name)).not.toBe(id);
  }));

test("a store that lost its database but kept its stamp, and one with a damaged stamp, refuse to start", () =>
  Scenario.run({}, async (s) => {
    const name = await s.follower();
    await s.kill(name);
    const directory = s.cluster.directoryOf(name);
    renameSync(join(directory, "db"), join(s.cluster.directory, "aside"));
    const lost = await s.cluster.run(s.cluster.argsOf(name));
    expect(lost).toMatchObject({ code: 1 });
    expect(lost.output).toContain("missing or empty");
    rmSync(join(directory, "db"), { recursive: true, force: true });
    renameSync(join(s.cluster.directory, "aside"), join(directory, "db"));

    const stamp = join(directory, "RAFTWERK.json");
    const text = readFileSync(stamp, "utf8");
    writeFileSync(stamp, text.slice(0, text.length / 2));
    const damaged = await s.cluster.run(s.cluster.argsOf(name));
    expect(damaged).toMatchObject({ code: 1 });
    expect(damaged.output).toContain("is damaged");
    writeFileSync(stamp, text);
    s.restart(name);
    await s.ready(name);
  }));

test("PD that lost its database is refused, and stores refuse a PD of another cluster", () =>
  Scenario.run({}, async (s) => {
    await s.kill("pd");
    const directory = s.cluster.directoryOf("pd");
    const aside = join(s.cluster.directory, "pd-aside");
    renameSync(directory, aside);
    s.restart("pd");
    await s.until(
      async () => s.cluster.logOf("pd").split('"PD serves"').length > 2,
      "the new PD does not start",
    );
    await s.cluster.kill("store-1", "SIGTERM");
    const foreign = await s.cluster.run(s.cluster.argsOf("store-1"));
    expect(foreign).toMatchObject({ code: 1 });
    expect(foreign.output).toContain("belongs to cluster");
    await s.kill("pd");
    rmSync(directory, { recursive: true });
    renameSync(aside, directory);
    s.restart("pd", "store-1");
    await s.ready("pd", "store-1");
  }));

test("the first start of a cluster is cut short again and again, and ends with one first region [test_bootstrap_half_way_failure_after_bootstrap_store, test_bootstrap_half_way_failure_after_prepare_bootstrap_cluster, test_bootstrap_half_way_failure_after_bootstrap_cluster, test_node_bootstrap_idempotent]", async () => {
  await using cluster = await ProcessCluster.prepare({ stores: 3, storeConfig: QUICK });
  // Words of the logs around which the steps of a first start lie; each is reached, then all is killed.
  for (const [name, words] of [
    ["store-1", "engine rocksdb"],
    ["pd", "PD serves"],
    ["store-1", "cluster"],
  ] as const) {
    for (const extraMs of [0, 15, 40]) {
      for (const each of ["pd", "store-1"]) cluster.restart(each);
      const seen = cluster.logOf(name).split(words).length;
      await cluster
        .waitUntil(async () => cluster.logOf(name).split(words).length > seen, 10_000, words)
        .catch(() => undefined);
      await delay(extraMs);
      await Promise.all(["pd", "store-1"].map((each) => cluster.kill(each)));
    }
  }
  for (const name of EVERYTHING) cluster.restart(name);
  await cluster.waitUntil(
    async () => {
      const regions = await cluster.regions();
      return regions.length === 1 && regions.every((region) => voters(region).length === 3);
    },
    HANG_MS,
    "no whole cluster",
  );
  expect((await cluster.stores()).length).toBe(3);
  const client = await cluster.client();
  await client.put(Uint8Array.of(1), Uint8Array.of(2));
  expect(await client.get(Uint8Array.of(1))).toEqual(Uint8Array.of(2));
  expect(existsSync(join(cluster.directoryOf("store-1"), "RAFTWERK.json"))).toBe(true);
});
