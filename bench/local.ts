/** A cluster of real processes for the length of a bench: on free ports, in a directory that is removed afterwards. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { RaftwerkError, SILENT_LOGGER, utf8 } from "../base/index.js";
import { RawClient } from "../client/index.js";
import { defaultMemoryBytes } from "../ctl/memory-budget.js";
import { Child } from "../deploy/child.js";
import { LocalCluster } from "../deploy/local-cluster.js";
import { isReplicated, storeIds, tryWrite } from "../deploy/readiness.js";
import { freePorts } from "./free-ports.js";
import { splitRegions } from "./splitting.js";

export type Say = (words: string) => void;

const READY_MS = 120_000;
const REPLICAS = 3;

export interface PdRegion {
  readonly id: number;
  readonly epoch: { readonly conf_ver?: number; readonly version?: number };
  readonly start_key: string;
  readonly end_key: string;
  readonly peers: readonly { readonly id: number; readonly store_id: number }[];
  readonly leader: { readonly store_id?: number };
  readonly approximate_size?: number;
}

export interface LocalOptions {
  readonly stores?: number;
  /** Settings of the stores, and of PD, as lines of TOML. */
  readonly storeConfig?: string;
  readonly pdConfig?: string;
}

/** The user and system time of a process in seconds, and its resident bytes; undefined once it is gone. */
export function processUse(
  pid: number,
): { readonly cpuSeconds: number; readonly residentBytes: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Linux counts in hundredths of a second and in pages of 4 KiB on all platforms that Node is built for.
    return {
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / 100,
      residentBytes: Number(fields[21]) * 4096,
    };
  } catch {
    return undefined;
  }
}

export class BenchCluster {
  readonly directory: string;
  readonly local: LocalCluster;
  /** Milliseconds from the first process to a write that was read back. */
  readyMs = 0;
  readonly #closers: (() => void)[] = [];
  readonly #restarted: Child[] = [];
  /** For orders to the stores, apart from any client that is measured. */
  #ownNetwork: GrpcNetwork | undefined;

  private constructor(directory: string, local: LocalCluster) {
    this.directory = directory;
    this.local = local;
  }

  static async start(options: LocalOptions = {}): Promise<BenchCluster> {
    const stores = options.stores ?? 3;
    const first = await freePorts(1 + 2 * stores);
    const directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-"));
    const file = (name: string, text: string | undefined): string | undefined => {
      if (text === undefined) return undefined;
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    };
    const local = new LocalCluster({
      dataDir: join(directory, "data"),
      host: "127.0.0.1",
      pdPort: first,
      storePort: first + 1,
      statusPort: first + 1 + stores,
      stores,
      engine: "auto",
      storeMemoryBytes: defaultMemoryBytes(stores),
      logLevel: "info",
      program: process.argv[1] as string,
      pdConfig: file("pd.toml", options.pdConfig),
      storeConfig: file("store.toml", options.storeConfig),
      onChildExit: () => {},
    });
    const cluster = new BenchCluster(directory, local);
    const began = performance.now();
    try {
      await local.start();
      await until(() => isReplicated(local.pdAddress, Math.min(stores, REPLICAS)), "the cluster to be ready");
      await tryWrite(local.pdAddress, READY_MS);
      cluster.readyMs = performance.now() - began;
      local.writeManifest(await storeIds(local.pdAddress));
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get pdAddress(): string {
    return this.local.pdAddress;
  }

  get stores(): readonly Child[] {
    return this.local.children.filter((child) => child.title.startsWith("store"));
  }

  /** The process of a store, and its place among `stores`, by PD's id of it. */
  async processOf(storeId: number): Promise<{ readonly pid: number; readonly at: number }> {
    const { stores } = await this.get<{ stores: { store: { id: number; address: string } }[] }>("stores");
    const address = stores.find(({ store }) => store.id === storeId)?.store.address;
    const at = this.stores.findIndex((_, i) => this.local.storeAddress(i) === address);
    const pid = this.stores[at]?.pid;
    if (pid === undefined) throw new Error(`store ${storeId} is none of this cluster's`);
    return { pid, at };
  }

  /** How many regions the stores lead, but for one of them, as they say themselves. */
  async leadersBut(at: number): Promise<number> {
    const counts = this.stores.map(async (_, i) => {
      if (i === at) return 0;
      const answer = await fetch(`http://${this.local.statusAddress(i)}/status`);
      return ((await answer.json()) as { leaders: number }).leaders;
    });
    return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
  }

  /** Stops a store and starts it again; resolves with the milliseconds from its process to `/ready`. */
  async restart(index: number): Promise<number> {
    const child = this.stores[index] as Child;
    await child.stop();
    const began = performance.now();
    this.#restarted.push(
      new Child({
        title: child.title,
        args: child.args,
        program: process.argv[1] as string,
        onExit: () => {},
      }),
    );
    const url = `http://${this.local.statusAddress(index)}/ready`;
    const isReady = (): Promise<boolean> =>
      fetch(url).then(
        (answer) => answer.ok,
        () => false,
      );
    await until(isReady, "the store to be ready", READY_MS, 20);
    return performance.now() - began;
  }

  /** Of all processes of the cluster. */
  get cpuSeconds(): number {
    return this.local.children.reduce((sum, { pid }) => sum + (processUse(pid)?.cpuSeconds ?? 0), 0);
  }

  /** Of the largest store. */
  get storeResidentBytes(): number {
    return Math.max(...this.stores.map(({ pid }) => processUse(pid)?.residentBytes ?? 0));
  }

  #network(): GrpcNetwork {
    if (this.#ownNetwork === undefined) {
      const network = new GrpcNetwork();
      this.#closers.push(() => network.close());
      this.#ownNetwork = network;
    }
    return this.#ownNetwork;
  }

  async client(connections = 4, timeoutMs = 60_000): Promise<RawClient> {
    const network = new GrpcNetwork();
    const client = new RawClient(nodeEnv(SILENT_LOGGER), network, {
      pdEndpoints: [this.pdAddress],
      connections,
      timeoutMs,
    });
    this.#closers.push(() => {
      client.close();
      network.close();
    });
    await client.connect();
    return client;
  }

  async get<T>(path: string): Promise<T> {
    const url = `http://${this.pdAddress}/pd/api/v1/${path}`;
    // A machine that is short of time breaks a connection now and then: nothing was changed, so it is asked again.
    const response = await fetch(url).catch(() => delay(500).then(() => fetch(url)));
    if (!response.ok) throw new Error(`PD refused ${path}: ${await response.text()}`);
    return (await response.json()) as T;
  }

  async post(path: string, body: unknown): Promise<void> {
    const response = await fetch(`http://${this.pdAddress}/pd/api/v1/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`PD refused ${path}: ${await response.text()}`);
  }

  async regions(): Promise<readonly PdRegion[]> {
    return (await this.get<{ regions?: readonly PdRegion[] }>("regions")).regions ?? [];
  }

  /** The numbers of a store's `/metrics` page by name, summed over labels. */
  async metrics(store: number): Promise<ReadonlyMap<string, number>> {
    const response = await fetch(`http://${this.local.statusAddress(store)}/metrics`);
    return parseMetrics(await response.text());
  }

  /** Cuts the regions at these keys; resolves with the number of regions when PD knows all and a leader of each. */
  async split(keys: readonly Uint8Array[], timeoutMs = READY_MS): Promise<number> {
    const { stores } = await this.get<{ stores: { store: { id: number; address: string } }[] }>("stores");
    const addresses = new Map(stores.map(({ store }) => [store.id, store.address]));
    const before = await this.regions();
    const network = this.#network();
    const regions = before.map((each) => ({
      region: regionOfPd(each),
      leaderStoreId: each.leader.store_id ?? 0,
    }));
    await splitRegions({ network, addresses, timeoutMs }, regions, keys);
    const starts = new Set(before.map(({ start_key }) => start_key));
    const wanted = before.length + keys.filter((key) => !starts.has(hexOf(key))).length;
    const count = async (): Promise<number> => (await this.get<{ count: number }>("regions/count")).count;
    await until(async () => (await count()) >= wanted, "PD to know all regions", timeoutMs, 5);
    return (await this.regions()).length;
  }

  /** Waits until the leaders are spread so evenly that PD leaves them, at most this long. */
  async settle(maxMs = 20_000): Promise<void> {
    const began = performance.now();
    let last = "";
    while (performance.now() - began < maxMs) {
      await delay(2_000);
      const now = (await this.regions()).map((each) => each.leader.store_id).join();
      if (now === last) return;
      last = now;
    }
  }

  /** Replicas that tick, of all stores. */
  async awake(): Promise<number> {
    const counts = this.stores.map(async (_, store) => {
      const response = await fetch(`http://${this.local.statusAddress(store)}/metrics`);
      const awake = AWAKE.exec(await response.text())?.[1];
      if (awake === undefined) throw new Error(`store ${store + 1} does not say how many replicas are awake`);
      return Number(awake);
    });
    return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
  }

  async stop(): Promise<void> {
    for (const close of this.#closers) close();
    await Promise.all(this.#restarted.map((child) => child.stop()));
    await this.local.stop();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

const AWAKE = /^tikv_raftstore_hibernated_peer_state\{[^}]*state="awaken"[^}]*\} (\d+)/m;

const hexOf = (key: Uint8Array): string => Buffer.from(key).toString("hex").toUpperCase();

const regionOfPd = ({ id, epoch, start_key, end_key, peers }: PdRegion) => ({
  id,
  startKey: Buffer.from(start_key, "hex"),
  endKey: Buffer.from(end_key, "hex"),
  regionEpoch: { confVer: epoch.conf_ver ?? 0, version: epoch.version ?? 0 },
  peers: peers.map((peer) => ({ id: peer.id, storeId: peer.store_id })),
});

export function parseMetrics(text: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^([a-z_]+)(?:\{[^}]*\})? ([-+.0-9eE]+)/.exec(line);
    if (match === null) continue;
    const name = match[1] as string;
    sums.set(name, (sums.get(name) ?? 0) + Number(match[2]));
  }
  return sums;
}

export async function until(
  condition: () => Promise<boolean> | boolean,
  what: string,
  timeoutMs = READY_MS,
  stepMs = 30,
): Promise<void> {
  const began = performance.now();
  while (!(await condition())) {
    if (performance.now() - began > timeoutMs) {
      throw new RaftwerkError(
        "deadlineExceeded",
        `waited ${Math.round(timeoutMs / 1000)} s in vain for ${what}`,
        {
          retry: "safe",
        },
      );
    }
    await delay(stepMs);
  }
}

/** Keys that cut the space of `recordKey` into `count` even parts. */
export function splitKeys(count: number): Uint8Array[] {
  return Array.from({ length: count - 1 }, (_, i) => {
    const at = (BigInt(i + 1) << 64n) / BigInt(count);
    return utf8(`user${at.toString(10).padStart(20, "0")}`);
  });
}
