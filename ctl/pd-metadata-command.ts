/** `raftwerk ctl pd export | import | recover`: PD's metadata in and out, while no PD runs. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Command } from "commander";

import type { EtcdOptions } from "../adapters/etcd-client.js";
import { createLogger } from "../adapters/logger.js";
import { nodeEnv } from "../adapters/node-env.js";
import { type Env, must, RaftwerkError } from "../base/index.js";
import { openEngine } from "../engine/open.js";
import { EmbeddedMetaStore, type MetaStore } from "../pd/index.js";
import { type EtcdFlags, etcdSettings } from "./etcd-settings.js";
import { exportMetadata, importMetadata } from "./pd-metadata.js";
import { recover } from "./pd-recover.js";
import { exitWithError, promised } from "./process.js";
import { wholeNumber } from "./units.js";

interface StoreFlags extends EtcdFlags {
  readonly dataDir?: string;
}

export function registerPdMetadata(ctl: Command): void {
  const pd = ctl.command("pd").description("PD's metadata in and out of files, while no PD runs");
  place(pd.command("export").description("write PD's metadata to a file"))
    .option("--output <file>", "the file", "pd-metadata.jsonl")
    .action((flags: StoreFlags & { output: string }) => run(() => exportTo(flags, flags.output)));
  place(pd.command("import").description("fill an empty place from a file that export wrote"))
    .requiredOption("--input <file>", "the file")
    .action((flags: StoreFlags & { input: string }) => run(() => importFrom(flags, flags.input)));
  place(pd.command("recover").description("make new metadata from the stores, when all of PD's is lost"))
    .requiredOption("--stores <addresses>", "status addresses of all stores, which must run")
    .option("--timestamps-ahead <seconds>", "how far ahead of the clock timestamps start", "3600")
    .action((flags: StoreFlags & { stores: string; timestampsAhead: string }) =>
      run(() => recoverInto(flags)),
    );
}

const place = (command: Command): Command =>
  command
    .option("--data-dir <directory>", "of a PD alone")
    .option("--etcd <urls>", "of PDs over etcd: addresses of its nodes")
    .option("--etcd-cacert <file>", "PEM file of the authority that signed etcd's certificates")
    .option("--etcd-cert <file>", "PEM file of a certificate for etcd")
    .option("--etcd-key <file>", "PEM file of that certificate's key")
    .option("--etcd-user <name>", "user of etcd; its password comes from RAFTWERK_ETCD_PASSWORD");

function run(what: () => Promise<string>): Promise<void> {
  return what()
    .then((words) => {
      process.stdout.write(`${words}\n`);
      process.exit(0);
    })
    .catch(exitWithError);
}

async function withStore<T>(flags: StoreFlags, use: (store: MetaStore) => Promise<T>): Promise<T> {
  const log = createLogger({ level: "warn", file: "" });
  const env = nodeEnv(log);
  const etcd = etcdSettings(flags, {});
  if ((etcd === undefined) === (flags.dataDir === undefined)) {
    throw new RaftwerkError("invalidConfig", "give either --data-dir or --etcd", { retry: "never" });
  }
  const store =
    etcd === undefined
      ? must(await openEmbedded(env, flags.dataDir as string, log), "the meta store did not open")
      : await openEtcd(env, etcd.connection);
  try {
    return await use(store);
  } finally {
    await promised<void>((done) => store.close(done));
  }
}

/** Loaded only when asked for. */
async function openEtcd(env: Env, connection: EtcdOptions): Promise<MetaStore> {
  const { EtcdMetaStore } = await import("../adapters/etcd-meta-store.js");
  return new EtcdMetaStore(env, connection);
}

async function openEmbedded(
  env: ReturnType<typeof nodeEnv>,
  directory: string,
  log: ReturnType<typeof createLogger>,
) {
  const { engine } = await openEngine({ directory, kind: "auto", role: "pd", log });
  return promised<EmbeddedMetaStore | undefined>((done) => EmbeddedMetaStore.open(env, engine, done));
}

function exportTo(flags: StoreFlags, output: string): Promise<string> {
  return withStore(flags, async (store) => {
    const lines: string[] = [];
    const { clusterId, entries } = await exportMetadata(store, (line) => lines.push(line));
    writeFileSync(output, `${lines.join("\n")}\n`, { mode: 0o600 });
    return `cluster ${clusterId}: ${entries} entries in ${output} (regions come back with heartbeats)`;
  });
}

function importFrom(flags: StoreFlags, input: string): Promise<string> {
  const lines = readFileSync(input, "utf8").split("\n");
  return withStore(flags, async (store) => {
    const { clusterId, entries } = await importMetadata(store, lines);
    return `cluster ${clusterId}: ${entries} entries imported; start PD on them`;
  });
}

function recoverInto(flags: StoreFlags & { stores: string; timestampsAhead: string }): Promise<string> {
  const aheadMs = wholeNumber("--timestamps-ahead", flags.timestampsAhead, 0, 10 * 365 * 86_400) * 1000;
  const stores = flags.stores
    .split(",")
    .map((address) => address.trim())
    .filter((address) => address !== "");
  return withStore(flags, async (store) => {
    const made = await recover(store, { stores, aheadMs }, Date.now());
    const date = new Date(made.firstTimestampMs).toISOString();
    return `cluster ${made.clusterId} with stores ${made.stores.join(", ")}: ids from ${made.firstId}, timestamps from ${date}; start PD on it`;
  });
}
