import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { GrpcNetwork } from "../../adapters/grpc-network.js";
import { nodeEnv } from "../../adapters/node-env.js";
import { SILENT_LOGGER } from "../../base/index.js";
import { RawClient } from "../../client/index.js";
import { EtcdCluster } from "../support/etcd-cluster.js";
import { PdTraffic } from "../support/pd-traffic.js";
import { Playground } from "../support/playground.js";
import { freePort, ProcessCluster, type RegionJson, voters } from "../support/process-cluster.js";
import { Writers } from "../support/writers.js";

interface MembersJson {
  readonly members: readonly { readonly name: string }[];
  readonly leader?: { readonly name: string; readonly client_urls: readonly string[] };
}
interface StoresJson {
  readonly stores: readonly {
    readonly store: { readonly id: number; readonly address: string; readonly state_name: string };
  }[];
}

/** A playground of three PDs and three etcd nodes, as one reads about it in the README. */
class Tour {
  readonly directory = mkdtempSync(join(tmpdir(), "raftwerk-tour-"));
  readonly playground: Playground;
  readonly addresses: readonly string[];
  readonly etcdPort: number;
  readonly #network = new GrpcNetwork();
  readonly #clients: RawClient[] = [];

  private constructor(ports: { pd: number; etcd: number; store: number; status: number }) {
    this.addresses = [0, 1, 2].map((i) => `127.0.0.1:${ports.pd + i}`);
    this.etcdPort = ports.etcd;
    this.playground = new Playground([
      ...["--pds", "3", "--etcds", "3", "--stores", "3", "--data-dir", this.directory],
      ...["--pd-port", `${ports.pd}`, "--etcd-port", `${ports.etcd}`],
      ...["--store-port", `${ports.store}`, "--status-port", `${ports.status}`],
    ]);
  }

  static async start(): Promise<Tour> {
    const [pd, etcd, store, status] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const tour = new Tour({ pd, etcd, store, status });
    await tour.playground.until(/^ready$/m, 120_000);
    return tour;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.close();
    this.#network.close();
    await this.playground.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async client(): Promise<RawClient> {
    const client = new RawClient(nodeEnv(SILENT_LOGGER), this.#network, { pdEndpoints: this.addresses });
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  /** Of any PD: a follower passes it on to the leader. Tried until it is taken. */
  async api<T>(method: string, path: string, body?: object): Promise<T> {
    const deadlineMs = performance.now() + 20_000;
    for (let tries = 0; ; tries++) {
      try {
        const answer = await fetch(`http://${this.addresses[tries % 3]}/pd/api/v1/${path}`, {
          method,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.timeout(5_000),
        });
        const text = await answer.text();
        if (answer.ok) return JSON.parse(text) as T;
        if (answer.status < 500) throw new Error(`${path}: ${answer.status} ${text}`);
      } catch (error) {
        if (performance.now() > deadlineMs) throw error;
      }
      await delay(100);
    }
  }

  async until(condition: () => Promise<boolean>, timeoutMs: number, otherwise: string): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    let last: unknown;
    const holds = (): Promise<boolean> =>
      condition().catch((error: unknown) => {
        last = error;
        return false;
      });
    while (!(await holds())) {
      if (performance.now() > deadlineMs)
        throw new Error(`${otherwise} (${String(last)})\n${this.#lastWords()}`);
      await delay(200);
    }
  }

  /** The directory goes with the tour. */
  #lastWords(): string {
    const names = readdirSync(this.directory).filter((name) => name.endsWith(".log"));
    const words = names.map((name) => {
      const lines = readFileSync(join(this.directory, name), "utf8").trimEnd().split("\n").slice(-15);
      return `--- ${name}\n${lines.join("\n")}`;
    });
    return `${this.playground.output}\n${words.join("\n")}`;
  }

  async regions(): Promise<readonly RegionJson[]> {
    return (await this.api<{ regions?: readonly RegionJson[] }>("GET", "regions")).regions ?? [];
  }

  async stores(): Promise<StoresJson["stores"]> {
    return (await this.api<StoresJson>("GET", "stores")).stores;
  }

  /** `kill -9`, a while without it, and started again as the playground says. */
  async killLeader(): Promise<void> {
    const { leader } = await this.api<MembersJson>("GET", "members");
    const manifest = this.playground.manifest(this.directory);
    const url = leader?.client_urls[0];
    const pid = this.#pids.get(url ?? "") ?? manifest.pds.find(({ clientUrl }) => clientUrl === url)?.pid;
    if (url === undefined || pid === undefined) throw new Error("no PD leads");
    if (this.#pids.has(url)) process.kill(pid, "SIGKILL");
    else this.#commands.set(url, await this.playground.kill(pid));
    await delay(3_000);
    const again = this.playground.startByHand(this.#commands.get(url) ?? "");
    this.#pids.set(url, again.pid ?? 0);
    await this.until(
      async () => (await this.api<MembersJson>("GET", "members")).leader !== undefined,
      30_000,
      "no PD leads",
    );
  }

  /** Of PDs that were started by hand, by URL. */
  readonly #pids = new Map<string, number>();
  readonly #commands = new Map<string, string>();

  async addStore(name: string): Promise<void> {
    const [port, status] = [await freePort(), await freePort()];
    this.playground.startByHand([
      ...["store", "--pd", this.addresses.join(","), "--addr", `127.0.0.1:${port}`],
      ...["--status-addr", `127.0.0.1:${status}`, "--data-dir", join(this.directory, name)],
      ...["--log-file", join(this.directory, `${name}.log`)],
    ]);
    await this.until(
      async () =>
        (await this.stores()).some(
          ({ store }) => store.address.endsWith(`:${port}`) && store.state_name === "Up",
        ),
      60_000,
      `${name} does not join`,
    );
  }

  /** Through the rules, as one does who has more rules than the default one. Answers what the settings say then. */
  async replicas(count: number): Promise<number> {
    const rule = await this.api<object>("GET", "config/rule/pd/default");
    await this.api("POST", "config/rule", { ...rule, count });
    await this.until(
      async () => (await this.regions()).every((region) => voters(region).length === count),
      120_000,
      `not ${count} replicas`,
    );
    const settings = await this.api<{ "max-replicas": number }>("GET", "config/replicate");
    return settings["max-replicas"];
  }
}

describe("raftwerk playground --pds 3 --etcds 3", () => {
  test("grows to five stores, drains two, goes to five replicas and back, and loses PD leaders: writers see no error", {
    timeout: 600_000,
  }, async () => {
    await using tour = await Tour.start();
    const { members } = await tour.api<MembersJson>("GET", "members");
    expect(members.map(({ name }) => name)).toEqual(["pd-1", "pd-2", "pd-3"]);
    expect(tour.playground.output).toContain(`http://127.0.0.1:${tour.etcdPort + 4}`);

    const writers = new Writers(await tour.client(), 8);
    await tour.addStore("more-1");
    await tour.addStore("more-2");
    await tour.killLeader();
    expect(await tour.replicas(5)).toBe(5);
    await tour.killLeader();
    expect(await tour.replicas(3)).toBe(3);

    const { stores } = tour.playground.manifest(tour.directory);
    const drained = stores.slice(0, 2);
    for (const { id } of drained) await tour.api("DELETE", `store/${id}`);
    await tour.killLeader();
    await tour.until(
      async () => {
        const left = (await tour.stores()).map(({ store }) => store);
        return !drained.some(({ id }) =>
          left.some((store) => store.id === id && store.state_name !== "Tombstone"),
        );
      },
      180_000,
      "the stores are not drained",
    );
    for (const { pid } of drained) process.kill(pid, "SIGTERM");
    await delay(2_000);
    await tour.killLeader();
    await writers.stop();
    expect(writers.errors).toEqual([]);
    expect(writers.wrongReads).toEqual([]);
    expect(await writers.lost(await tour.client())).toEqual([]);
    expect(writers.writes).toBeGreaterThan(1_000);
    for (const region of await tour.regions()) {
      expect(voters(region)).toHaveLength(3);
      for (const { id } of drained) expect(voters(region)).not.toContain(id);
    }
    process.stdout.write(
      `  ${writers.writes} writes, longest pause ${Math.round(writers.longestPauseMs)} ms\n`,
    );
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
