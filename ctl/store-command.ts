/** `raftwerk store`: one store process over one data directory. */
import type { Command } from "commander";
import { createLogger, type LeveledLogger, parseLogFormat, parseLogLevel } from "../adapters/logger.js";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import { PortServer } from "../adapters/port-server.js";
import { StatusServer } from "../adapters/status-server.js";
import { StoreMetrics } from "../adapters/store-metrics.js";
import { RaftwerkError } from "../base/index.js";
import { openEngine, type OpenEngineOptions, stampIdentity } from "../engine/open.js";
import { PdClient } from "../pd-client/index.js";
import { Store, type StoreConfig, type StoreOptions } from "../store/index.js";
import { toToml } from "./config-file.js";
import { diskFigures } from "./disk.js";
import { boundedByMemory, defaultMemoryBytes, engineMemory, memoryBytes } from "./memory-budget.js";
import { exitWithError, fatalExit, promised, stopOnSignal } from "./process.js";
import { runFleet } from "./store-fleet.js";
import { describeStoreConfig, loadStoreConfig, type StoreFileConfig } from "./store-config.js";
import {
  advertisedAddress,
  parseAddress,
  parseLabels,
  reachableAddress,
  sizeBytes,
  sizeText,
} from "./units.js";
import { RAFTWERK_VERSION, TIKV_VERSION } from "./version.js";

/** Half of what a clean stop may take in all. */
const HANDOVER_MS = 2_500;

const stopStore = (store: Store) => promised<void>((callback) => store.stop(() => callback(undefined)));

/** A child whose parent ends goes with the whole cluster: there is nobody to hand over to. */
async function handOver(store: Store, log: LeveledLogger, isChild: boolean): Promise<void> {
  if (isChild) return;
  const left = await promised<number>((callback) =>
    store.handOver(HANDOVER_MS, (leadersLeft) => callback(undefined, leadersLeft)),
  );
  if (left > 0) log.warn("some leaders could not be handed over before the stop", { leadersLeft: left });
  else log.info("leaders are handed over");
}

interface StoreFlags {
  readonly pd?: string;
  readonly addr?: string;
  readonly advertiseAddr?: string;
  readonly statusAddr?: string;
  readonly advertiseStatusAddr?: string;
  readonly dataDir?: string;
  readonly config?: string;
  readonly labels?: string;
  readonly capacity?: string;
  readonly engine?: string;
  readonly memory?: string;
  readonly logLevel?: string;
  readonly logFile?: string;
  readonly logFormat?: string;
  readonly printConfig?: boolean;
  readonly stopOnStdinEnd?: boolean;
  readonly count?: string;
}

export function registerStore(program: Command, entry: string): void {
  program
    .command("store")
    .description("run a store: many Raft groups over one disk-backed engine")
    .option("--pd <addresses>", "PD's client addresses, separated by commas")
    .option("--addr <host:port>", "address to listen on (default 127.0.0.1:20160)")
    .option("--advertise-addr <host:port>", "address that others reach this store by (default --addr)")
    .option("--status-addr <host:port>", "address of /status and /metrics (default 127.0.0.1:20180)")
    .option("--advertise-status-addr <host:port>", "status address for PD and tools (default --status-addr)")
    .option("--data-dir <directory>", "where the data lives (default ./raftwerk-store)")
    .option("--config <file>", "TOML file with TiKV's names; flags win over it")
    .option("--labels <labels>", "labels of this store: zone=a,host=b")
    .option("--capacity <size>", "disk to use at most, such as 100GiB (default: all)")
    .option("--engine <kind>", "auto, rocksdb or leveldb (default auto)")
    .option("--memory <size>", "caches, memtables and requests under way (default a quarter of the machine)")
    .option("--log-level <level>", "debug, info, warn or error (default info)")
    .option("--log-file <file>", "log to a file (default standard error)")
    .option("--log-format <format>", "json or text (default json)")
    .option("--print-config", "print the configuration in effect and stop")
    .option(
      "--count <n>",
      "run several stores, a process each, on consecutive ports, in <data-dir>/1 and so on",
    )
    .option("--stop-on-stdin-end", "stop when standard input closes")
    .action((flags: StoreFlags) => runStore(flags, entry).catch(exitWithError));
}

const ENGINES = ["auto", "rocksdb", "leveldb"] as const;

function settings(flags: StoreFlags, file: StoreFileConfig) {
  const engine = flags.engine ?? file.engine ?? "auto";
  if (!(ENGINES as readonly string[]).includes(engine)) {
    throw new RaftwerkError("invalidConfig", `--engine "${engine}" is none of ${ENGINES.join(", ")}`, {
      retry: "never",
    });
  }
  const addr = flags.addr ?? file.addr ?? "127.0.0.1:20160";
  const labels = { ...file.labels };
  const memory = flags.memory ?? file.memory;
  const stores = flags.count === undefined ? 1 : Math.max(1, Number(flags.count) || 1);
  for (const { key, value } of parseLabels("--labels", flags.labels ?? "")) labels[key] = value;
  const advertiseAddr = advertisedAddress(
    "--advertise-addr",
    flags.advertiseAddr ?? file.advertiseAddr ?? addr,
  );
  const statusAddr = flags.statusAddr ?? file.statusAddr ?? "127.0.0.1:20180";
  return {
    addr,
    listen: parseAddress("--addr", addr),
    advertiseAddr,
    statusAddr,
    advertiseStatusAddr: advertisedAddress(
      "--advertise-status-addr",
      flags.advertiseStatusAddr ??
        file.advertiseStatusAddr ??
        reachableAddress("--status-addr", statusAddr, advertiseAddr),
    ),
    dataDir: flags.dataDir ?? file.dataDir ?? "raftwerk-store",
    engine: engine as (typeof ENGINES)[number],
    memoryBytes: memory === undefined ? defaultMemoryBytes(stores) : memoryBytes("--memory", memory),
    capacityBytes: sizeBytes("--capacity", flags.capacity ?? file.capacity ?? "0"),
    endpoints: flags.pd?.split(",") ?? file.endpoints ?? [],
    labels: Object.entries(labels).map(([key, value]) => ({ key, value })),
    logLevel: parseLogLevel(flags.logLevel ?? file.logLevel ?? "info"),
    logFile: flags.logFile ?? file.logFile ?? "",
    logFormat: parseLogFormat(flags.logFormat ?? file.logFormat ?? "json"),
    redactKeys: file.redactKeys ?? false,
  };
}

type Settings = ReturnType<typeof settings>;

/** With TiKV's names, flags and file together; a file with this content says the same. */
function configInEffect(options: Settings, described: Record<string, unknown>): Record<string, unknown> {
  const { server, storage, raftstore, ...others } = described as Record<string, object>;
  const { addr, advertiseAddr, statusAddr, advertiseStatusAddr } = options;
  const { dataDir, engine, capacityBytes, endpoints } = options;
  const { logLevel, logFile, logFormat, redactKeys } = options;
  return {
    log: { level: logLevel, format: logFormat, ...(logFile === "" ? {} : { file: { filename: logFile } }) },
    security: { "redact-info-log": redactKeys },
    pd: endpoints.length === 0 ? {} : { endpoints },
    server: {
      addr,
      "advertise-addr": advertiseAddr,
      "status-addr": statusAddr,
      "advertise-status-addr": advertiseStatusAddr,
      labels: Object.fromEntries(options.labels.map(({ key, value }) => [key, value])),
      ...server,
    },
    storage: { "data-dir": dataDir, engine, ...storage },
    raftstore: { capacity: sizeText(capacityBytes), ...raftstore },
    ...others,
  };
}

/** The arguments that stores of one machine have in common. */
function sharedArgs(flags: StoreFlags, options: Settings): string[] {
  const shared: [name: string, value: string | undefined][] = [
    ["--pd", flags.pd],
    ["--config", flags.config],
    ["--capacity", flags.capacity],
    ["--engine", flags.engine],
    ["--memory", String(options.memoryBytes)],
    ["--log-level", flags.logLevel],
    ["--log-format", flags.logFormat],
  ];
  return shared.flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}

async function runMany(
  flags: StoreFlags,
  options: Settings,
  log: LeveledLogger,
  entry: string,
): Promise<void> {
  const count = Number(flags.count);
  if (!Number.isInteger(count) || count < 1 || count > 256) {
    throw new RaftwerkError(
      "invalidConfig",
      `--count must be a whole number from 1 to 256, not "${flags.count}"`,
      {
        retry: "never",
      },
    );
  }
  const { addr, advertiseAddr, statusAddr, advertiseStatusAddr, dataDir, labels } = options;
  const shared = sharedArgs(flags, options);
  const program = entry;
  process.exitCode = await runFleet({
    count,
    program,
    addr,
    advertiseAddr,
    statusAddr,
    advertiseStatusAddr,
    dataDir,
    labels,
    shared,
    log,
  });
}

async function runStore(flags: StoreFlags, entry: string): Promise<void> {
  const file = loadStoreConfig(flags.config);
  const options = settings(flags, file);
  const config = boundedByMemory(file.store, options.memoryBytes);
  if (flags.printConfig === true) {
    process.stdout.write(toToml(configInEffect(options, describeStoreConfig(config, options.memoryBytes))));
    return;
  }
  if (options.endpoints.length === 0) {
    throw new RaftwerkError(
      "invalidConfig",
      "--pd is missing: give PD's address, such as --pd 127.0.0.1:2379",
      {
        retry: "never",
      },
    );
  }
  parseAddress("--advertise-addr", options.advertiseAddr);
  const log = createLogger({
    level: options.logLevel,
    file: options.logFile,
    format: options.logFormat,
    redactKeys: options.redactKeys,
  });
  if (flags.count !== undefined) return runMany(flags, options, log, entry);
  const fatal = (error: Error): never => fatalExit(log, error);
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", (reason) =>
    fatal(reason instanceof Error ? reason : new Error(String(reason))),
  );
  await serve(options, config, log, fatal, flags.stopOnStdinEnd === true);
}

type Step = (callback: (error: Error | undefined) => void) => void;

/** A store outlives any absence of PD, at its start too: a step that only failed for want of PD is taken again. */
async function untilPdAnswers(log: LeveledLogger, step: Step): Promise<void> {
  for (;;) {
    try {
      return await promised<void>(step);
    } catch (error) {
      if (!(error instanceof RaftwerkError) || error.code !== "pdUnavailable") throw error;
      log.warn("PD does not answer: the store waits for it", { error: error.message });
    }
  }
}

const engineOptions = (options: Settings, log: LeveledLogger): OpenEngineOptions => ({
  directory: options.dataDir,
  kind: options.engine,
  role: "store",
  log,
  memory: engineMemory(options.memoryBytes),
});

const storeOptions = (options: Settings, config: StoreConfig): StoreOptions => ({
  advertiseAddress: options.advertiseAddr,
  statusAddress: options.advertiseStatusAddr,
  version: TIKV_VERSION,
  gitHash: "",
  labels: options.labels,
  config,
});

async function serve(
  options: Settings,
  config: StoreConfig,
  log: LeveledLogger,
  fatal: (error: Error) => never,
  onStdinEnd: boolean,
): Promise<void> {
  const env = nodeEnv(log);
  const network = new GrpcNetwork();
  const opened = await openEngine(engineOptions(options, log));
  log.info(`engine ${opened.kind}: ${opened.reason}`, { directory: options.dataDir });
  const pd = new PdClient(env, network, { endpoints: options.endpoints });
  const metrics = new StoreMetrics();
  const store = new Store(env, storeOptions(options, config), {
    engine: metrics.measured(opened.engine),
    network,
    pd,
    capacity: diskFigures(options.dataDir, options.capacityBytes),
    metricsText: (callback) => metrics.text(callback),
    onFatal: fatal,
  });
  // The ports first: a port in use should be told before anything else is waited for.
  const port = await PortServer.listen({
    ...options.listen,
    log,
    methods: metrics.watched(store.methods()),
    observer: metrics.port,
    answers: store.admission.answers,
    onFatal: fatal,
  });
  const status = await StatusServer.listen({
    ...parseAddress("--status-addr", options.statusAddr),
    source: {
      status: () => statusOf(store, options.advertiseAddr),
      region: (id) => store.regionStatus(id),
      config: () => describeStoreConfig(config, options.memoryBytes),
      isReady: () => store.isServing,
    },
    registry: metrics.registry,
    onMalformed: () => metrics.port.refused("malformed HTTP"),
    log,
  });
  stopOnSignal({
    ...{ log, onStdinEnd },
    stop: async () => {
      await handOver(store, log, onStdinEnd);
      await port.close();
      status.close();
      await stopStore(store);
      pd.close();
      await promised<void>((callback) => opened.engine.close(callback));
    },
  });
  await untilPdAnswers(log, (callback) => pd.connect(callback));
  await stampIdentity(options.dataDir, { clusterId: pd.clusterId.toString() });
  await untilPdAnswers(log, (callback) => store.start(callback));
  await stampIdentity(options.dataDir, { storeId: store.id });
  metrics.watch(store, () => port.connections);
  log.info("store serves", { store: store.id, addr: options.addr, cluster: String(pd.clusterId) });
}

const statusOf = (store: Store, address: string): Record<string, unknown> => ({
  ...store.status(),
  address,
  raftwerkVersion: RAFTWERK_VERSION,
  pid: process.pid,
});
