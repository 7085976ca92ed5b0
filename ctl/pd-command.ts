/** `raftwerk pd`: the Placement Driver over a data directory of its own; gRPC and HTTP on one port. */
import type { Command } from "commander";
import { GrpcNetwork } from "../adapters/grpc-network.js";
import type { EtcdMetaStore } from "../adapters/etcd-meta-store.js";
import { bridge } from "../adapters/http-bridge.js";
import { forwardHttp } from "../adapters/http-forward.js";
import { fetchStoreConfig } from "../adapters/store-settings.js";
import { createLogger, type LeveledLogger, parseLogFormat, parseLogLevel } from "../adapters/logger.js";
import { nodeEnv } from "../adapters/node-env.js";
import { PdMetricsPage } from "../adapters/pd-metrics.js";
import { PortServer } from "../adapters/port-server.js";
import { type Engine, type Env, must, RaftwerkError } from "../base/index.js";
import { openEngine } from "../engine/open.js";
import { EmbeddedMetaStore, PlacementDriver } from "../pd/index.js";
import { etcdSettings } from "./etcd-settings.js";
import { toToml } from "./config-file.js";
import { effectiveSections, loadPdConfig, type PdFileConfig, pdSections } from "./pd-config.js";
import { exitWithError, fatalExit, promised, stopOnSignal } from "./process.js";
import { parseAddress } from "./units.js";
import { TIKV_VERSION } from "./version.js";

interface PdFlags {
  readonly name?: string;
  readonly dataDir?: string;
  readonly clientUrls?: string;
  readonly advertiseClientUrls?: string;
  readonly config?: string;
  readonly engine?: string;
  readonly etcd?: string;
  readonly etcdCacert?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly lease?: string;
  readonly logLevel?: string;
  readonly logFile?: string;
  readonly logFormat?: string;
  readonly printConfig?: boolean;
  readonly stopOnStdinEnd?: boolean;
}

export function registerPd(program: Command): void {
  program
    .command("pd")
    .description("run the Placement Driver: ids, timestamps, the map of regions, scheduling")
    .option("--name <name>", "name of this member (default pd)")
    .option("--data-dir <directory>", "where the metadata lives (default ./raftwerk-pd)")
    .option("--client-urls <urls>", "URL to listen on (default http://127.0.0.1:2379)")
    .option("--advertise-client-urls <urls>", "URL that clients and stores use (default --client-urls)")
    .option("--config <file>", "TOML file with PD's names; flags win over it")
    .option(
      "--etcd <urls>",
      "keep the metadata on this etcd cluster, beside other PDs (default: on own disk)",
    )
    .option("--etcd-cacert <file>", "PEM file of the authority that signed etcd's certificates")
    .option("--etcd-cert <file>", "PEM file of this PD's certificate for etcd")
    .option("--etcd-key <file>", "PEM file of that certificate's key")
    .option("--etcd-user <name>", "user of etcd; its password comes from RAFTWERK_ETCD_PASSWORD")
    .option("--lease <seconds>", "how long a PD leader may be silent before another takes over (default 2)")
    .option("--engine <kind>", "auto, rocksdb or leveldb (default auto)")
    .option("--log-level <level>", "debug, info, warn or error (default info)")
    .option("--log-file <file>", "log to a file (default standard error)")
    .option("--log-format <format>", "json or text (default json)")
    .option("--print-config", "print the configuration in effect and stop")
    .option("--stop-on-stdin-end", "stop when standard input closes")
    .action((flags: PdFlags) => runPd(flags).catch(exitWithError));
}

const refuse = (message: string): never => {
  throw new RaftwerkError("invalidConfig", message, { retry: "never" });
};

function settings(flags: PdFlags, file: PdFileConfig) {
  const clientUrls = flags.clientUrls ?? file["client-urls"] ?? "http://127.0.0.1:2379";
  if (clientUrls.includes(",")) refuse("--client-urls takes one URL: PD listens on one address");
  if (clientUrls.startsWith("https://")) refuse("--client-urls: https is not supported, use http://");
  const engine = flags.engine ?? file.engine ?? "auto";
  if (engine !== "auto" && engine !== "rocksdb" && engine !== "leveldb") {
    return refuse(`--engine "${engine}" is none of auto, rocksdb, leveldb`);
  }
  const withScheme = (url: string): string => (url.startsWith("http://") ? url : `http://${url}`);
  const advertised = flags.advertiseClientUrls ?? file["advertise-client-urls"] ?? clientUrls;
  for (const url of advertised.split(",")) parseAddress("--advertise-client-urls", url);
  return {
    name: flags.name ?? file.name ?? "pd",
    dataDir: flags.dataDir ?? file["data-dir"] ?? "raftwerk-pd",
    listen: parseAddress("--client-urls", clientUrls),
    clientUrls: advertised.split(",").map(withScheme),
    engine,
    etcd: etcdSettings(flags, file),
    logLevel: parseLogLevel(flags.logLevel ?? file.log?.level ?? "info"),
    logFile: flags.logFile ?? file.log?.file?.filename ?? "",
    logFormat: parseLogFormat(flags.logFormat ?? file.log?.format ?? "json"),
    redactKeys: file.security?.["redact-info-log"] ?? false,
  } as const;
}

async function openEmbedded(env: Env, engine: Engine): Promise<EmbeddedMetaStore> {
  const opened = await promised<EmbeddedMetaStore | undefined>((callback) =>
    EmbeddedMetaStore.open(env, engine, callback),
  );
  return must(opened, "the meta store did not open");
}

type Settings = ReturnType<typeof settings>;

/** With PD's names, flags and file together; a file with this content says the same. Passwords are in neither. */
function configInEffect(flags: PdFlags, options: Settings, file: PdFileConfig): Record<string, unknown> {
  const { name, dataDir, clientUrls, listen, engine, etcd, logLevel, logFile, logFormat, redactKeys } =
    options;
  const given = (key: string, value: string | undefined): object =>
    value === undefined ? {} : { [key]: value };
  return {
    name,
    "data-dir": dataDir,
    "client-urls": `http://${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${listen.port}`,
    "advertise-client-urls": clientUrls.join(","),
    engine,
    log: { level: logLevel, format: logFormat, ...(logFile === "" ? {} : { file: { filename: logFile } }) },
    security: { "redact-info-log": redactKeys },
    ...(etcd === undefined
      ? {}
      : {
          etcd: {
            endpoints: etcd.connection.endpoints,
            lease: etcd.leaseSeconds,
            ...given("cacert-path", flags.etcdCacert ?? file.etcd?.["cacert-path"]),
            ...given("cert-path", flags.etcdCert ?? file.etcd?.["cert-path"]),
            ...given("key-path", flags.etcdKey ?? file.etcd?.["key-path"]),
            ...given("user", flags.etcdUser ?? file.etcd?.user),
          },
        }),
    ...effectiveSections(file),
  };
}

async function runPd(flags: PdFlags): Promise<void> {
  const file = loadPdConfig(flags.config);
  const options = settings(flags, file);
  if (flags.printConfig === true) {
    process.stdout.write(toToml(configInEffect(flags, options, file)));
    return;
  }
  const log = createLogger({
    level: options.logLevel,
    file: options.logFile,
    format: options.logFormat,
    redactKeys: options.redactKeys,
  });
  const fatal = (error: Error): never => fatalExit(log, error);
  process.on("uncaughtException", fatal);
  process.on("unhandledRejection", (reason) =>
    fatal(reason instanceof Error ? reason : new Error(String(reason))),
  );
  await serve(options, file, log, fatal, flags.stopOnStdinEnd === true);
}

/** Loaded only when asked for: etcd's client costs as much as the rest of PD. */
async function onEtcd(
  env: Env,
  connection: ConstructorParameters<typeof EtcdMetaStore>[1],
): Promise<EtcdMetaStore> {
  const { EtcdMetaStore } = await import("../adapters/etcd-meta-store.js");
  return new EtcdMetaStore(env, connection);
}

async function serve(
  options: Settings,
  file: PdFileConfig,
  log: LeveledLogger,
  fatal: (error: Error) => never,
  onStdinEnd: boolean,
): Promise<void> {
  const env = nodeEnv(log);
  const opened = await openEngine({ directory: options.dataDir, kind: options.engine, role: "pd", log });
  log.info(`engine ${opened.kind}: ${opened.reason}`, { directory: options.dataDir });
  const network = new GrpcNetwork();
  const { etcd } = options;
  const metaStore =
    etcd === undefined ? await openEmbedded(env, opened.engine) : await onEtcd(env, etcd.connection);
  const regionEngine = opened.engine;
  const election =
    etcd === undefined
      ? { regionEngine }
      : { election: { network, regionEngine, leaseSeconds: etcd.leaseSeconds }, forwardHttp };
  const { name, clientUrls } = options;
  const setLogLevel = (level: LeveledLogger["level"]): void => void (log.level = level);
  const pd = new PlacementDriver(
    env,
    {
      name,
      clientUrls,
      config: pdSections(file),
      onFatal: fatal,
      setLogLevel,
      fetchStoreConfig,
      ...election,
    },
    metaStore,
  );
  if (etcd !== undefined) log.info("metadata on etcd", { endpoints: etcd.connection.endpoints });
  await promised<void>((callback) => pd.start(callback));
  const metrics = new PdMetricsPage({
    version: TIKV_VERSION,
    gitHash: "",
    connections: () => port.connections,
  });
  const port: PortServer = await PortServer.listen({
    ...options.listen,
    log,
    methods: pd.methods(),
    observer: metrics.port,
    onFatal: fatal,
    http: bridge((request, reply) => {
      if (request.path !== "/metrics") return pd.handleHttp(request, reply);
      metrics.text(pd).then(
        (body) => reply(200, metrics.contentType, body),
        (error: Error) => reply(500, "text/plain", `${error.message}\n`),
      );
    }, fatal),
  });
  stopOnSignal({
    log,
    onStdinEnd,
    stop: async () => {
      await port.close();
      await promised<void>((callback) => pd.stop(() => callback(undefined)));
      await promised<void>((callback) => metaStore.close(callback));
      network.close();
      if (etcd !== undefined) await promised<void>((callback) => opened.engine.close(callback));
    },
  });
  log.info("PD serves", { name: options.name, urls: options.clientUrls, cluster: String(pd.clusterId) });
}
