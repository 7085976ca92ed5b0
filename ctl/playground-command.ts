/** `raftwerk playground`: a cluster on this machine in one command, and what to do with it. */
import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { RaftwerkError } from "../base/index.js";
import type { Child } from "../deploy/child.js";
import { etcdClientUrl } from "../deploy/etcd.js";
import { LocalCluster } from "../deploy/local-cluster.js";
import { defaultMemoryBytes, memoryBytes } from "./memory-budget.js";
import { exitWithError } from "./process.js";
import { wholeNumber } from "./units.js";

interface PlaygroundFlags {
  readonly dataDir: string;
  readonly host: string;
  readonly pdPort: string;
  readonly storePort: string;
  readonly statusPort: string;
  readonly stores: string;
  readonly pds: string;
  readonly etcds?: string;
  readonly etcdPort: string;
  readonly engine: string;
  readonly memory?: string;
  readonly logLevel: string;
  readonly pdConfig?: string;
  readonly storeConfig?: string;
}

export function registerPlayground(program: Command, entry: string): void {
  program
    .command("playground")
    .description("run a local cluster: PD and stores as processes of their own")
    .option(
      "--data-dir <directory>",
      "where the cluster lives; a second start continues with it",
      ".raftwerk",
    )
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .option("--pd-port <port>", "port of PD", "2379")
    .option("--store-port <port>", "port of the first store; the others follow", "20160")
    .option("--status-port <port>", "status port of the first store; the others follow", "20180")
    .option("--stores <count>", "number of stores, 1 to 16", "3")
    .option("--pds <count>", "number of PDs, 1 to 7; several need etcd", "1")
    .option("--etcds <count>", "number of etcd nodes, 0 to 7 (default 3 for several PDs, else 0)")
    .option("--etcd-port <port>", "port of the first etcd node; each takes two", "12379")
    .option("--engine <kind>", "auto, rocksdb or leveldb", "auto")
    .option("--memory <size>", "of each store (default a quarter of the machine for all of them together)")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .option("--pd-config <file>", "TOML file for PD")
    .option("--store-config <file>", "TOML file for the stores")
    .action((flags: PlaygroundFlags) => run(flags, entry).catch(exitWithError));
}

const READY_TIMEOUT_MS = 60_000;
const REPLICAS = 3;

async function run(flags: PlaygroundFlags, entry: string): Promise<void> {
  const say = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  let stopping = false;
  const stores = wholeNumber("--stores", flags.stores, 1, 16);
  const pds = wholeNumber("--pds", flags.pds, 1, 7);
  const etcds = wholeNumber("--etcds", flags.etcds ?? (pds > 1 ? "3" : "0"), pds > 1 ? 1 : 0, 7);
  const cluster = new LocalCluster({
    dataDir: flags.dataDir,
    host: flags.host,
    pdPort: wholeNumber("--pd-port", flags.pdPort, 1, 65_535),
    storePort: wholeNumber("--store-port", flags.storePort, 1, 65_535 - stores),
    statusPort: wholeNumber("--status-port", flags.statusPort, 1, 65_535 - stores),
    stores,
    pds,
    etcds,
    etcdPort: wholeNumber("--etcd-port", flags.etcdPort, 1, 65_535 - 2 * etcds),
    engine: flags.engine,
    storeMemoryBytes:
      flags.memory === undefined ? defaultMemoryBytes(stores) : memoryBytes("--memory", flags.memory),
    logLevel: flags.logLevel,
    pdConfig: flags.pdConfig,
    storeConfig: flags.storeConfig,
    program: entry,
    onChildExit: (child, how) => {
      if (!stopping) tellExit(cluster, child, how, isUp, say);
    },
  });
  let isUp = false;
  const stop = async (): Promise<void> => {
    if (stopping) process.exit(1);
    stopping = true;
    say("stopping ...");
    await cluster.stop();
    say(`stopped; the data stays in ${cluster.options.dataDir}`);
    process.exit(0);
  };
  process.on("SIGINT", () => void stop());
  process.on("SIGTERM", () => void stop());

  const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;
  const pdWords = etcds === 0 ? "PD" : `${plural(etcds, "etcd node")}, ${plural(pds, "PD")}`;
  say(`starting ${pdWords} and ${plural(stores, "store")} in ${cluster.options.dataDir}`);
  const startedMs = performance.now();
  await cluster.start();
  let apiVersion: 1 | 2;
  try {
    apiVersion = await waitUntilReady(cluster, Math.min(REPLICAS, stores), startedMs);
  } catch (error) {
    stopping = true;
    await cluster.stop();
    throw error;
  }
  isUp = true;
  const { storeIds } = await import("../deploy/readiness.js");
  cluster.writeManifest(await storeIds(cluster.pdAddress));
  for (const [i, child] of cluster.children.filter(({ command }) => command === "etcd").entries()) {
    say(
      `etcd ${i + 1}  ${cluster.nodes === undefined ? "" : etcdClientUrl(cluster.nodes, i)}  (pid ${child.pid})`,
    );
  }
  for (const address of cluster.pdAddresses) say(`PD      http://${address}`);
  for (let i = 0; i < stores; i++) {
    say(`store ${i + 1} ${cluster.storeAddress(i)}  (status http://${cluster.statusAddress(i)}/status)`);
  }
  say(`took ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  say("ready");
  say(whatNext(cluster, apiVersion));
}

async function waitUntilReady(cluster: LocalCluster, replicas: number, startedMs: number): Promise<1 | 2> {
  const fail = (message: string): never => {
    throw new RaftwerkError("regionUnavailable", message, { retry: "safe" });
  };
  // Loaded only now, while the processes start.
  const { apiVersionOf, isReplicated, tryWrite } = await import("../deploy/readiness.js");
  for (;;) {
    const dead = cluster.children.find((child) => !child.isRunning);
    if (dead !== undefined) {
      fail(
        `${dead.title} did not start: ${dead.lastWords || "see its log"} (log in ${cluster.options.dataDir})`,
      );
    }
    if (performance.now() - startedMs > READY_TIMEOUT_MS) {
      fail(
        `the cluster is not ready after ${READY_TIMEOUT_MS / 1000} s: see the logs in ${cluster.options.dataDir}`,
      );
    }
    if (await isReplicated(cluster.pdAddress, replicas)) break;
    await delay(30);
  }
  const apiVersion = await apiVersionOf(cluster.statusAddress(0));
  await tryWrite(cluster.pdAddress, READY_TIMEOUT_MS, apiVersion);
  return apiVersion;
}

function tellExit(
  cluster: LocalCluster,
  child: Child,
  how: string,
  isUp: boolean,
  say: (line: string) => void,
): void {
  if (!isUp) return;
  say(`\n${child.title} (pid ${child.pid}) ${how}${child.lastWords === "" ? "" : `: ${child.lastWords}`}`);
  say(`start it again with:\n  ${cluster.restartCommand(child)}`);
}

function whatNext(cluster: LocalCluster, apiVersion: 1 | 2): string {
  const { pdAddress } = cluster;
  const isDefault = pdAddress === "127.0.0.1:2379";
  const api = apiVersion === 2 ? " --api-version 2" : "";
  const kv = `kv${isDefault ? "" : ` --pd ${pdAddress}`}${api}`;
  const ctl = isDefault ? "ctl" : `ctl -u http://${pdAddress}`;
  const rows = [
    [`npx raftwerk ${kv} put hello world`, "write a key"],
    [`npx raftwerk ${kv} get hello`, "and read it"],
    [`npx raftwerk ${ctl} store`, "the stores"],
    [`npx raftwerk ${ctl} region`, "the regions and their leaders"],
    [`npx raftwerk bench ycsb --workload load --records 10000 --pd ${pdAddress}`, "some load"],
  ];
  const width = Math.max(...rows.map(([command]) => (command as string).length));
  const lines = rows.map(([command, what]) => `  ${(command as string).padEnd(width)}  ${what}`);
  return `
Try next, in another terminal:
${lines.join("\n")}
Kill a process of ${cluster.options.dataDir}/playground.json with kill -9 and see what happens.
TiKV's clients connect to ${pdAddress}. Ctrl-C stops everything; the next start continues with the data.`;
}
