/**
 * A cluster of real processes for tests: each may be killed, stopped for a while and started again on its directory.
 * Ports are free ones, directories temporary; everything is gone after `close`, also when a test fails half way.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { GrpcNetwork } from "../../adapters/grpc-network.js";
import { nodeEnv } from "../../adapters/node-env.js";
import { must, SILENT_LOGGER } from "../../base/index.js";
import { RawClient } from "../../client/index.js";

const PROGRAM = new URL("../../bin/raftwerk.js", import.meta.url).pathname;

export interface ProcessClusterOptions {
  readonly stores?: number;
  /** TOML. */
  readonly storeConfig?: string;
  readonly pdConfig?: string;
  /** Data directories elsewhere than in the cluster's own, by name. */
  readonly dataDirOf?: Readonly<Record<string, string>>;
  /** Several PDs, `pd1` to `pdN`, over this etcd; else one, `pd`, alone. */
  readonly etcdUrls?: readonly string[];
  readonly pds?: number;
  /** Arguments of node itself for a PD: its index from 1. */
  readonly pdNodeArgs?: (index: number) => readonly string[];
}

interface Server {
  readonly name: string;
  readonly args: readonly string[];
  readonly nodeArgs: readonly string[];
  process: ChildProcess | undefined;
  errorText: string;
}

/** One region as PD's HTTP API shows it. */
export interface RegionJson {
  readonly id: number;
  readonly start_key: string;
  readonly end_key: string;
  readonly epoch: { readonly conf_ver: number; readonly version: number };
  readonly peers: readonly { readonly id: number; readonly store_id: number; readonly role_name?: string }[];
  readonly leader?: { readonly id: number; readonly store_id: number };
  readonly pending_peers?: readonly unknown[];
}

export interface StoreJson {
  readonly store: { readonly id: number; readonly address: string; readonly state_name: string };
  readonly status: { readonly region_count?: number; readonly leader_count?: number };
}

/**
 * A free port below the range from which the system takes ports for outgoing connections: one of those could be taken
 * again before the process that is to listen there has started.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(11_000, 32_000);
    if (await canListen(port)) return port;
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

export class ProcessCluster {
  readonly directory = mkdtempSync(join(tmpdir(), "raftwerk-test-"));
  readonly #servers = new Map<string, Server>();
  readonly #clients: RawClient[] = [];
  readonly #spawned: ChildProcess[] = [];
  pdAddress = "";
  /** Of all PDs. */
  pdAddresses: string[] = [];

  readonly #options: ProcessClusterOptions;

  private constructor(options: ProcessClusterOptions) {
    this.#options = options;
  }

  /** Ready when every region has three voters (or as many as there are stores). */
  static async start(options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
    const cluster = await ProcessCluster.prepare(options);
    try {
      for (const name of cluster.#servers.keys()) cluster.restart(name);
      const replicas = Math.min(3, options.stores ?? 3);
      await cluster.waitUntil(async () => cluster.#isReplicated(replicas), 120_000, "not replicated");
    } catch (error) {
      cluster.keepLogs(error);
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** Chooses ports and directories for PDs and stores and starts nothing. */
  static async prepare(options: ProcessClusterOptions = {}): Promise<ProcessCluster> {
    const cluster = new ProcessCluster(options);
    writeFileSync(join(cluster.directory, "store.toml"), options.storeConfig ?? "");
    writeFileSync(join(cluster.directory, "pd.toml"), options.pdConfig ?? "");
    const names = options.etcdUrls === undefined ? ["pd"] : range(options.pds ?? 1).map((i) => `pd${i}`);
    for (const [i, name] of names.entries()) {
      const address = `127.0.0.1:${await freePort()}`;
      cluster.pdAddresses.push(address);
      const etcd = options.etcdUrls === undefined ? [] : ["--etcd", options.etcdUrls.join(",")];
      const args = [
        ...["pd", "--name", name, "--client-urls", `http://${address}`, ...etcd],
        ...["--data-dir", cluster.#directoryFor(name), "--log-file", join(cluster.directory, `${name}.log`)],
        ...["--config", join(cluster.directory, "pd.toml")],
      ];
      cluster.#add(name, args, options.pdNodeArgs?.(i + 1) ?? []);
    }
    cluster.pdAddress = cluster.pdAddresses[0] as string;
    for (let i = 1; i <= (options.stores ?? 3); i++) await cluster.#newStore([]);
    return cluster;
  }

  /** Starts one more store, `store-N`. */
  async addStore(flags: readonly string[] = []): Promise<string> {
    const name = await this.#newStore(flags);
    this.restart(name);
    return name;
  }

  async #newStore(flags: readonly string[]): Promise<string> {
    const name = `store-${this.storeNames.length + 1}`;
    const [port, statusPort] = [await freePort(), await freePort()];
    this.#add(name, [
      ...["store", "--pd", this.pdAddresses.join(","), "--addr", `127.0.0.1:${port}`],
      ...["--status-addr", `127.0.0.1:${statusPort}`, "--data-dir", this.#directoryFor(name)],
      ...["--config", join(this.directory, "store.toml"), "--log-file", join(this.directory, `${name}.log`)],
      ...flags,
    ]);
    return name;
  }

  #directoryFor(name: string): string {
    return this.#options.dataDirOf?.[name] ?? join(this.directory, name);
  }

  get storeNames(): string[] {
    return [...this.#servers.keys()].filter((name) => name.startsWith("store-"));
  }

  get pdNames(): string[] {
    return [...this.#servers.keys()].filter((name) => name.startsWith("pd"));
  }

  /** The PD that leads, by its own word; waits a while for one. */
  async pdLeader(): Promise<string> {
    const deadlineMs = performance.now() + 20_000;
    for (;;) {
      const leader = await this.#pdLeaderNow();
      if (leader !== undefined) return leader;
      if (performance.now() > deadlineMs) throw new Error("no PD leads");
      await delay(50);
    }
  }

  async #pdLeaderNow(): Promise<string | undefined> {
    for (const name of this.pdNames) {
      const url = this.#server(name).args.find((arg) => arg.startsWith("http://127"));
      try {
        const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1_000) });
        if (answer.ok) return name;
      } catch {
        // Down or stopped.
      }
    }
    return undefined;
  }

  argsOf(name: string): readonly string[] {
    return this.#server(name).args;
  }

  directoryOf(name: string): string {
    const { args } = this.#server(name);
    return must(args[args.indexOf("--data-dir") + 1], "no data directory");
  }

  pidOf(name: string): number {
    return this.#server(name).process?.pid ?? 0;
  }

  /** What the process has logged so far. */
  logOf(name: string): string {
    try {
      return readFileSync(join(this.directory, `${name}.log`), "utf8");
    } catch {
      return "";
    }
  }

  /** Adds the last lines of every log to an error: the directory goes with the cluster. */
  keepLogs(error: unknown): void {
    if (!(error instanceof Error)) return;
    for (const name of this.#servers.keys()) {
      const lines = this.logOf(name).trimEnd().split("\n").slice(-25);
      error.message += `\n--- ${name} ${this.isRunning(name) ? "runs" : "has ended"}\n${lines.join("\n")}`;
    }
  }

  addressOf(name: string): string {
    const { args } = this.#server(name);
    return must(args[args.indexOf("--addr") + 1], "no address");
  }

  statusAddressOf(name: string): string {
    const { args } = this.#server(name);
    return must(args[args.indexOf("--status-addr") + 1], "no status address");
  }

  isRunning(name: string): boolean {
    return this.#server(name).process?.exitCode === null && this.#server(name).process?.signalCode === null;
  }

  errorTextOf(name: string): string {
    return this.#server(name).errorText;
  }

  /** Sends a signal and, for those that end the process, waits until it is gone. */
  async kill(name: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = must(this.#server(name).process, `${name} was never started`);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") await gone;
  }

  restart(name: string): void {
    const server = this.#server(name);
    const child = spawn(
      process.execPath,
      [...server.nodeArgs, PROGRAM, ...server.args, "--stop-on-stdin-end"],
      {
        stdio: ["pipe", "ignore", "pipe"],
      },
    );
    child.stdin?.on("error", () => {});
    child.stderr?.on("data", (chunk: Buffer) => {
      server.errorText = (server.errorText + chunk.toString()).slice(-10_000);
    });
    server.process = child;
  }

  /** Starts a command that ends with the cluster at the latest. */
  spawn(args: readonly string[]): ChildProcess {
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: "ignore" });
    this.#spawned.push(child);
    return child;
  }

  /** Runs the command to its end: for `ctl` and for starts that must fail. */
  run(args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ["ignore", "pipe", "pipe"] });
      let output = "";
      child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
      child.on("close", (code) => resolve({ code: code ?? -1, output }));
    });
  }

  ctl(...args: string[]): Promise<{ readonly code: number; readonly output: string }> {
    return this.run(["ctl", "-u", `http://${this.pdAddress}`, ...args]);
  }

  async client(): Promise<RawClient> {
    const client = new RawClient(nodeEnv(SILENT_LOGGER), new GrpcNetwork(), {
      pdEndpoints: this.pdAddresses,
    });
    this.#clients.push(client);
    await client.connect();
    return client;
  }

  async pdGet<T>(path: string): Promise<T> {
    let last: unknown;
    for (const address of this.pdAddresses) {
      try {
        const signal = AbortSignal.timeout(5_000);
        const response = await fetch(`http://${address}/pd/api/v1/${path}`, { signal });
        if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
        return (await response.json()) as T;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async regions(): Promise<readonly RegionJson[]> {
    return (await this.pdGet<{ regions?: readonly RegionJson[] }>("regions")).regions ?? [];
  }

  async stores(): Promise<readonly StoreJson[]> {
    return (await this.pdGet<{ stores?: readonly StoreJson[] }>("stores")).stores ?? [];
  }

  async storeIdOf(name: string): Promise<number> {
    const address = this.addressOf(name);
    const found = (await this.stores()).find(({ store }) => store.address === address);
    return must(found, `${name} is unknown to PD`).store.id;
  }

  /** The process that holds the leader of the region, as PD knows it. */
  async leaderOf(regionId: number): Promise<string> {
    const { leader } = await this.pdGet<RegionJson>(`region/id/${regionId}`);
    for (const name of this.storeNames) {
      if ((await this.storeIdOf(name).catch(() => 0)) === leader?.store_id) return name;
    }
    throw new Error(`region ${regionId} has no leader here`);
  }

  async waitUntil(condition: () => Promise<boolean>, timeoutMs: number, otherwise: string): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (!(await condition().catch(() => false))) {
      if (performance.now() > deadlineMs) {
        const words = [...this.#servers.values()].map(({ name, errorText }) => `${name}: ${errorText}`);
        throw new Error(`${otherwise} within ${timeoutMs} ms\n${words.join("\n")}`);
      }
      await delay(50);
    }
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const child of this.#spawned) child.kill("SIGTERM");
    await Promise.all(
      [...this.#servers]
        .filter(([, server]) => server.process !== undefined)
        .map(([name]) => this.kill(name)),
    );
    rmSync(this.directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #isReplicated(replicas: number): Promise<boolean> {
    const regions = await this.regions();
    const isServed = (region: RegionJson): boolean =>
      voters(region).length >= replicas && (region.leader?.store_id ?? 0) > 0;
    return regions.length > 0 && regions.every(isServed);
  }

  #add(name: string, args: readonly string[], nodeArgs: readonly string[] = []): void {
    this.#servers.set(name, { name, args, nodeArgs, process: undefined, errorText: "" });
  }

  #server(name: string): Server {
    return must(this.#servers.get(name), () => `no process named ${name}`);
  }
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

export const voters = (region: RegionJson): number[] =>
  region.peers.filter((peer) => (peer.role_name ?? "Voter") === "Voter").map((peer) => peer.store_id);
