/**
 * A cluster of real processes on this machine: one PD, or several over etcd nodes, and n stores, each with its own
 * directory below one. The same directory started again continues with its data: ports come from the options,
 * everything else from the directories.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Child } from "./child.js";
import { etcdArgs, etcdClientUrl, type EtcdNodes, requireEtcd } from "./etcd.js";
import { requireFreePorts, type WantedPort } from "./ports.js";

export interface LocalClusterOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly pdPort: number;
  /** Store i, from 0, listens on `storePort + i`, and answers about itself on `statusPort + i`. */
  readonly storePort: number;
  readonly statusPort: number;
  readonly stores: number;
  /** More than one needs etcd. PD i, from 0, listens on `pdPort + i`. */
  readonly pds?: number;
  /** etcd nodes; 0 is none, and a PD alone. */
  readonly etcds?: number;
  readonly etcdPort?: number;
  readonly engine: string;
  /** Of each store; undefined: as `raftwerk store` has it. */
  readonly storeMemoryBytes?: number | undefined;
  readonly logLevel: string;
  /** The script that node runs: `bin/raftwerk.js`. */
  readonly program: string;
  readonly pdConfig?: string | undefined;
  readonly storeConfig?: string | undefined;
  readonly onChildExit: (child: Child, how: string) => void;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

export class LocalCluster {
  readonly options: LocalClusterOptions;
  /** Of the first PD, which is enough to find the others. */
  readonly pdAddress: string;
  readonly #pds: Child[] = [];
  readonly #etcds: Child[] = [];
  readonly #stores: Child[] = [];

  constructor(options: LocalClusterOptions) {
    this.options = { ...options, dataDir: resolve(options.dataDir) };
    this.pdAddress = `${options.host}:${options.pdPort}`;
  }

  /** Starts all processes at once; stores wait for PD by themselves. Rejects when a port is in use. */
  async start(): Promise<void> {
    const { options } = this;
    const each = (first: number, option: string): WantedPort[] =>
      Array.from({ length: options.stores }, (_, i) => ({ port: first + i, option }));
    const { nodes } = this;
    if (nodes !== undefined) requireEtcd();
    await requireFreePorts(options.host, [
      ...range(this.#pdCount).map((i) => ({ port: options.pdPort + i, option: "--pd-port" })),
      ...range(2 * (nodes?.count ?? 0)).map((i) => ({ port: (nodes?.port ?? 0) + i, option: "--etcd-port" })),
      ...each(options.storePort, "--store-port"),
      ...each(options.statusPort, "--status-port"),
    ]);
    mkdirSync(options.dataDir, { recursive: true });
    if (nodes !== undefined) {
      for (const i of range(nodes.count)) {
        this.#etcds.push(this.#spawn(`etcd ${i + 1}`, etcdArgs(nodes, i), "etcd"));
      }
    }
    for (const i of range(this.#pdCount)) {
      this.#pds.push(this.#spawn(this.#pdCount === 1 ? "PD" : `PD ${i + 1}`, this.#pdArgs(i)));
    }
    for (let i = 0; i < options.stores; i++)
      this.#stores.push(this.#spawn(`store ${i + 1}`, this.#storeArgs(i)));
  }

  get children(): readonly Child[] {
    return [...this.#etcds, ...this.#pds, ...this.#stores];
  }

  get pdAddresses(): string[] {
    return range(this.#pdCount).map((i) => `${this.options.host}:${this.options.pdPort + i}`);
  }

  get nodes(): EtcdNodes | undefined {
    const { etcds = 0, etcdPort = 12_379, host, dataDir } = this.options;
    return etcds === 0 ? undefined : { host, port: etcdPort, count: etcds, dataDir };
  }

  get #pdCount(): number {
    return this.options.pds ?? 1;
  }

  storeAddress(i: number): string {
    return `${this.options.host}:${this.options.storePort + i}`;
  }

  statusAddress(i: number): string {
    return `${this.options.host}:${this.options.statusPort + i}`;
  }

  /** Writes `playground.json`: which processes there are, for people and programs. `ids` by store address. */
  writeManifest(ids: ReadonlyMap<string, number>): string {
    const path = join(this.options.dataDir, "playground.json");
    const manifest = {
      pd: { pid: this.#pds[0]?.pid ?? 0, clientUrl: `http://${this.pdAddress}` },
      pds: this.#pds.map((child, i) => ({ pid: child.pid, clientUrl: `http://${this.pdAddresses[i]}` })),
      etcds: this.#etcds.map((child, i) => ({
        pid: child.pid,
        clientUrl: this.nodes === undefined ? "" : etcdClientUrl(this.nodes, i),
      })),
      stores: this.#stores.map((child, i) => ({
        id: ids.get(this.storeAddress(i)) ?? 0,
        pid: child.pid,
        addr: this.storeAddress(i),
        statusAddr: this.statusAddress(i),
      })),
    };
    // By rename, so that a reader never sees half of it.
    writeFileSync(`${path}.new`, `${JSON.stringify(manifest, undefined, 2)}\n`);
    renameSync(`${path}.new`, path);
    return path;
  }

  /** The command that starts a process again by hand. */
  restartCommand(child: Child): string {
    return `${child.command ?? "npx raftwerk"} ${child.args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`)).join(" ")}`;
  }

  /** Stores first, so that PD hears of nothing that looks like a failure. */
  async stop(): Promise<void> {
    await Promise.all(this.#stores.map((child) => child.stop()));
    await Promise.all(this.#pds.map((child) => child.stop()));
    await Promise.all(this.#etcds.map((child) => child.stop()));
  }

  #spawn(title: string, args: readonly string[], command?: string): Child {
    const child: Child = new Child({
      title,
      args,
      program: this.options.program,
      ...(command === undefined ? {} : { command }),
      onExit: (how) => this.options.onChildExit(child, how),
    });
    return child;
  }

  #pdArgs(i: number): string[] {
    const { dataDir, logLevel, engine, pdConfig } = this.options;
    const { nodes } = this;
    const name = nodes === undefined ? "pd" : `pd-${i + 1}`;
    const urls = nodes === undefined ? [] : range(nodes.count).map((at) => etcdClientUrl(nodes, at));
    return [
      "pd",
      ...["--name", name, "--client-urls", `http://${this.pdAddresses[i]}`],
      ...(nodes === undefined ? [] : ["--etcd", urls.join(",")]),
      ...["--data-dir", join(dataDir, name), "--engine", engine],
      ...["--log-level", logLevel, "--log-file", join(dataDir, `${name}.log`)],
      ...(pdConfig === undefined ? [] : ["--config", pdConfig]),
    ];
  }

  #storeArgs(i: number): string[] {
    const { dataDir, logLevel, engine, storeConfig, storeMemoryBytes } = this.options;
    const name = `store-${i + 1}`;
    return [
      "store",
      ...[
        "--pd",
        this.pdAddresses.join(","),
        "--addr",
        this.storeAddress(i),
        "--status-addr",
        this.statusAddress(i),
      ],
      ...["--data-dir", join(dataDir, name), "--engine", engine],
      ...["--log-level", logLevel, "--log-file", join(dataDir, `${name}.log`)],
      ...(storeMemoryBytes === undefined ? [] : ["--memory", String(storeMemoryBytes)]),
      ...(storeConfig === undefined ? [] : ["--config", storeConfig]),
    ];
  }
}
