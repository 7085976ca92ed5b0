/**
 * A cluster of real processes on this machine: one PD and n stores, each with its own directory below one. The same
 * directory started again continues with its data: ports come from the options, everything else from the directories.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Child } from "./child.js";
import { requireFreePorts, type WantedPort } from "./ports.js";

export interface LocalClusterOptions {
  readonly dataDir: string;
  readonly host: string;
  readonly pdPort: number;
  /** Store i, from 0, listens on `storePort + i`, and answers about itself on `statusPort + i`. */
  readonly storePort: number;
  readonly statusPort: number;
  readonly stores: number;
  readonly engine: string;
  readonly logLevel: string;
  /** The script that node runs: `bin/raftwerk.js`. */
  readonly program: string;
  readonly pdConfig?: string | undefined;
  readonly storeConfig?: string | undefined;
  readonly onChildExit: (child: Child, how: string) => void;
}

export class LocalCluster {
  readonly options: LocalClusterOptions;
  readonly pdAddress: string;
  #pd: Child | undefined;
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
    await requireFreePorts(options.host, [
      { port: options.pdPort, option: "--pd-port" },
      ...each(options.storePort, "--store-port"),
      ...each(options.statusPort, "--status-port"),
    ]);
    mkdirSync(options.dataDir, { recursive: true });
    this.#pd = this.#spawn("PD", this.#pdArgs());
    for (let i = 0; i < options.stores; i++)
      this.#stores.push(this.#spawn(`store ${i + 1}`, this.#storeArgs(i)));
  }

  get children(): readonly Child[] {
    return this.#pd === undefined ? this.#stores : [this.#pd, ...this.#stores];
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
      pd: { pid: this.#pd?.pid ?? 0, clientUrl: `http://${this.pdAddress}` },
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
    return `npx raftwerk ${child.args.map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`)).join(" ")}`;
  }

  /** Stores first, so that PD hears of nothing that looks like a failure. */
  async stop(): Promise<void> {
    await Promise.all(this.#stores.map((child) => child.stop()));
    await this.#pd?.stop();
  }

  #spawn(title: string, args: readonly string[]): Child {
    const child: Child = new Child({
      title,
      args,
      program: this.options.program,
      onExit: (how) => this.options.onChildExit(child, how),
    });
    return child;
  }

  #pdArgs(): string[] {
    const { dataDir, logLevel, engine, pdConfig } = this.options;
    return [
      "pd",
      ...["--name", "pd", "--client-urls", `http://${this.pdAddress}`],
      ...["--data-dir", join(dataDir, "pd"), "--engine", engine],
      ...["--log-level", logLevel, "--log-file", join(dataDir, "pd.log")],
      ...(pdConfig === undefined ? [] : ["--config", pdConfig]),
    ];
  }

  #storeArgs(i: number): string[] {
    const { dataDir, logLevel, engine, storeConfig } = this.options;
    const name = `store-${i + 1}`;
    return [
      "store",
      ...["--pd", this.pdAddress, "--addr", this.storeAddress(i), "--status-addr", this.statusAddress(i)],
      ...["--data-dir", join(dataDir, name), "--engine", engine],
      ...["--log-level", logLevel, "--log-file", join(dataDir, `${name}.log`)],
      ...(storeConfig === undefined ? [] : ["--config", storeConfig]),
    ];
  }
}
