import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { EtcdCluster } from "../support/etcd-cluster.js";
import { PdTraffic } from "../support/pd-traffic.js";
import { freePort, ProcessCluster, voters } from "../support/process-cluster.js";
import { Writers } from "../support/writers.js";

const PROGRAM = new URL("../../bin/raftwerk.js", import.meta.url).pathname;

describe("a cluster on three PDs and three etcd nodes", () => {
  test("grows to five stores and five replicas, shrinks again, and loses PD leaders: writers see no error", {
    timeout: 600_000,
  }, async () => {
    await using etcd = await EtcdCluster.start(3);
    await using cluster = await ProcessCluster.start({ etcdUrls: etcd.urls, pds: 3 });
    const writers = new Writers(await cluster.client(), 8);
    const killLeader = async (): Promise<void> => {
      const leader = await cluster.pdLeader();
      await cluster.kill(leader);
      await delay(3_000);
      cluster.restart(leader);
      await cluster.waitUntil(async () => (await cluster.pdLeader()) !== "", 10_000, "no PD leads");
    };
    const replicas = async (count: number): Promise<void> => {
      const body = JSON.stringify({ "max-replicas": count });
      await cluster.waitUntil(
        async () =>
          (await fetch(`http://${cluster.pdAddress}/pd/api/v1/config`, { method: "POST", body })).ok,
        15_000,
        "the setting is not taken",
      );
      await cluster.waitUntil(
        async () => (await cluster.regions()).every((region) => voters(region).length === count),
        90_000,
        `not ${count} replicas`,
      );
    };

    await cluster.addStore();
    await cluster.addStore();
    await killLeader();
    await cluster.waitUntil(
      async () => (await cluster.stores()).filter(({ store }) => store.state_name === "Up").length === 5,
      30_000,
      "five stores are not up",
    );
    await replicas(5);
    await killLeader();
    await replicas(3);

    const drained = await Promise.all(["store-1", "store-2"].map((name) => cluster.storeIdOf(name)));
    for (const id of drained) {
      await cluster.waitUntil(
        async () =>
          (await fetch(`http://${cluster.pdAddress}/pd/api/v1/store/${id}`, { method: "DELETE" })).status ===
          200,
        15_000,
        `store ${id} is not let go`,
      );
    }
    await killLeader();
    await cluster.waitUntil(
      async () => {
        const left = await cluster.stores();
        return !left.some(({ store }) => drained.includes(store.id) && store.state_name !== "Tombstone");
      },
      120_000,
      "the stores are not drained",
    );
    for (const name of ["store-1", "store-2"]) await cluster.kill(name, "SIGTERM");
    await delay(2_000);
    await killLeader();
    await writers.stop();
    expect(writers.errors).toEqual([]);
    expect(await writers.lost(await cluster.client())).toEqual([]);
    expect(writers.writes).toBeGreaterThan(1_000);
    for (const region of await cluster.regions()) {
      expect(voters(region)).toHaveLength(3);
      for (const id of drained) expect(voters(region)).not.toContain(id);
    }
  });

  test("starts as a playground, and its PDs and etcd nodes are told", { timeout: 180_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-playground-"));
    const [pdPort, etcdPort, storePort, statusPort] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const args = [
      ...["playground", "--pds", "3", "--etcds", "3", "--stores", "1", "--data-dir", directory],
      ...["--pd-port", `${pdPort}`, "--etcd-port", `${etcdPort}`],
      ...["--store-port", `${storePort}`, "--status-port", `${statusPort}`],
    ];
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    try {
      await expect.poll(() => output, { timeout: 120_000 }).toContain("\nready\n");
      const answer = await fetch(`http://127.0.0.1:${pdPort + 1}/pd/api/v1/members`);
      const { members } = (await answer.json()) as { members: readonly { name: string }[] };
      expect(members.map(({ name }) => name)).toEqual(["pd-1", "pd-2", "pd-3"]);
      expect(output).toContain(`http://127.0.0.1:${etcdPort + 4}`);
    } finally {
      child.kill("SIGINT");
      await gone;
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

describe("PD's metadata", () => {
  test("moves from a PD alone to etcd, under stores that run", { timeout: 240_000 }, async () => {
    await using etcd = await EtcdCluster.start(1);
    await using cluster = await ProcessCluster.start({ stores: 1 });
    const client = await cluster.client();
    await client.put(new TextEncoder().encode("a"), new TextEncoder().encode("1"));
    const before = await PdTraffic.start(cluster.pdAddresses, 1);
    await delay(1_000);
    await before.stop();
    const place = join(cluster.directory, "pd");
    const running = await cluster.run(["ctl", "pd", "export", "--data-dir", place]);
    expect(running.code).toBe(1);
    expect(running.output).toMatch(/in use/);
    await cluster.kill("pd", "SIGTERM");
    const file = join(cluster.directory, "metadata.jsonl");
    const out = await cluster.run(["ctl", "pd", "export", "--data-dir", place, "--output", file]);
    expect(out.output).toMatch(/entries in/);
    const to = ["--etcd", etcd.urls.join(",")];
    const into = await cluster.run(["ctl", "pd", "import", ...to, "--input", file]);
    expect(into.output).toMatch(/entries imported/);
    const again = await cluster.run(["ctl", "pd", "import", ...to, "--input", file]);
    expect(again.output).toMatch(/already/);
    cluster.spawn([
      ...["pd", "--name", "pd1", "--client-urls", `http://${cluster.pdAddress}`, ...to],
      ...["--data-dir", join(cluster.directory, "pd-on-etcd")],
    ]);
    await cluster.waitUntil(
      async () => (await cluster.regions()).some(({ leader }) => (leader?.id ?? 0) > 0),
      60_000,
      "the stores did not come back",
    );
    const after = await PdTraffic.start(cluster.pdAddresses, 1);
    await delay(1_000);
    await after.stop();
    expect(after.broken).toEqual([]);
    expect(after.firstTimestamp > before.lastTimestamp).toBe(true);
    expect(after.firstId).toBeGreaterThan(before.lastId);
    await cluster.addStore();
    await cluster.waitUntil(async () => (await cluster.stores()).length === 2, 120_000, "no store joins");
  });

  test("is made anew from the stores when all of it is lost", { timeout: 240_000 }, async () => {
    await using cluster = await ProcessCluster.start();
    const client = await cluster.client();
    await client.put(new TextEncoder().encode("a"), new TextEncoder().encode("1"));
    const before = await PdTraffic.start(cluster.pdAddresses, 1);
    await delay(1_000);
    await before.stop();
    await cluster.kill("pd");
    const place = join(cluster.directory, "pd");
    rmSync(place, { recursive: true });
    const stores = cluster.storeNames.map((name) => cluster.statusAddressOf(name));
    const few = await cluster.run([
      ...["ctl", "pd", "recover", "--data-dir", place],
      ...["--stores", stores.slice(1).join(",")],
    ]);
    expect(few.output).toMatch(/replicas are on stores that were not named/);
    const made = await cluster.run([
      "ctl",
      "pd",
      "recover",
      "--data-dir",
      place,
      "--stores",
      stores.join(","),
    ]);
    expect(made.output).toMatch(/with stores .* start PD on it/);
    cluster.restart("pd");
    await cluster.waitUntil(
      async () => {
        const regions = await cluster.regions();
        return regions.length > 0 && regions.every(({ leader }) => (leader?.id ?? 0) > 0);
      },
      60_000,
      "the regions did not come back",
    );
    const after = await PdTraffic.start(cluster.pdAddresses, 1);
    await delay(1_000);
    await after.stop();
    expect(after.firstTimestamp > before.lastTimestamp).toBe(true);
    expect(after.firstId).toBeGreaterThan(before.lastId);
    const fresh = await cluster.client();
    expect(new TextDecoder().decode(await fresh.get(new TextEncoder().encode("a")))).toBe("1");
    await cluster.addStore();
    await cluster.waitUntil(async () => (await cluster.stores()).length === 4, 120_000, "no store joins");
  });
});
