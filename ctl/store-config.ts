/**
 * A store's settings: TiKV's names in TOML, our names with units inside. One table maps them both ways, so that
 * `--config`, `--print-config` and the status port's `/config` cannot disagree.
 */
import { z } from "zod";
import { DEFAULT_STORE_CONFIG, type StoreConfig, validateStoreConfig } from "../store/index.js";
import { checkConfig, readTomlFile } from "./config-file.js";
import { durationMs, durationText, sizeBytes, sizeText } from "./units.js";

type NumberKey = Exclude<
  { [K in keyof StoreConfig]: StoreConfig[K] extends number ? K : never }[keyof StoreConfig],
  "apiVersion"
>;
type Unit = "duration" | "size" | "count";

/** TiKV's section and key, ours, and the unit. */
const ITEMS: readonly (readonly [section: string, key: string, ours: NumberKey, unit: Unit])[] = [
  ["raftstore", "raft-base-tick-interval", "raftBaseTickMs", "duration"],
  ["raftstore", "raft-heartbeat-ticks", "raftHeartbeatTicks", "count"],
  ["raftstore", "raft-election-timeout-ticks", "raftElectionTicks", "count"],
  ["raftstore", "quiet-after-ticks", "quietAfterTicks", "count"],
  ["raftstore", "raft-store-max-leader-lease", "leaseMs", "duration"],
  ["raftstore", "raft-max-size-per-msg", "raftMessageBytesMax", "size"],
  ["raftstore", "raft-max-inflight-msgs", "raftInflightMessagesMax", "count"],
  ["raftstore", "raft-entry-max-size", "raftEntryBytesMax", "size"],
  ["raftstore", "raft-log-gc-threshold", "logGcThreshold", "count"],
  ["raftstore", "raft-log-gc-count-limit", "logGcCountLimit", "count"],
  ["raftstore", "raft-log-gc-size-limit", "logGcBytesLimit", "size"],
  ["raftstore", "raft-log-gc-tick-interval", "logGcTickMs", "duration"],
  ["raftstore", "leader-transfer-max-log-lag", "leaderTransferLogLagMax", "count"],
  ["raftstore", "split-region-check-tick-interval", "splitCheckTickMs", "duration"],
  ["raftstore", "pd-heartbeat-tick-interval", "pdHeartbeatTickMs", "duration"],
  ["raftstore", "pd-store-heartbeat-tick-interval", "pdStoreHeartbeatTickMs", "duration"],
  ["raftstore", "max-peer-down-duration", "peerDownMs", "duration"],
  ["raftstore", "max-leader-missing-duration", "leaderMissingMs", "duration"],
  ["storage", "ttl-check-poll-interval", "ttlCheckTickMs", "duration"],
  ["storage", "reserve-space", "reserveSpaceBytes", "size"],
  ["coprocessor", "region-split-size", "regionSplitBytes", "size"],
  ["coprocessor", "region-max-size", "regionMaxBytes", "size"],
  ["coprocessor", "region-split-keys", "regionSplitKeys", "count"],
  ["coprocessor", "region-max-keys", "regionMaxKeys", "count"],
  ["server", "snap-io-max-bytes-per-sec", "snapshotBytesPerSecondMax", "size"],
  ["server", "concurrent-send-snap-limit", "snapshotSendsMax", "count"],
  ["server", "concurrent-recv-snap-limit", "snapshotReceivesMax", "count"],
];

export interface StoreFileConfig {
  readonly store: StoreConfig;
  readonly addr?: string | undefined;
  readonly advertiseAddr?: string | undefined;
  readonly statusAddr?: string | undefined;
  readonly advertiseStatusAddr?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly dataDir?: string | undefined;
  readonly engine?: "auto" | "rocksdb" | "leveldb" | undefined;
  readonly capacity?: string | undefined;
  readonly endpoints?: readonly string[] | undefined;
  readonly logLevel?: string | undefined;
  readonly logFile?: string | undefined;
  readonly logFormat?: string | undefined;
  readonly redactKeys?: boolean | undefined;
  /** Of all that grows with load; `store` is bounded by it later, flags being able to change it. */
  readonly memory?: string | undefined;
}

function itemsOf(section: string): Record<string, z.ZodOptional<z.ZodType<string | number>>> {
  const shape: Record<string, z.ZodOptional<z.ZodType<string | number>>> = {};
  for (const [of, key, , unit] of ITEMS) {
    if (of !== section) continue;
    shape[key] = (unit === "count" ? z.number().int().nonnegative() : z.string()).optional();
  }
  return shape;
}

const text = z.string().optional();
const SCHEMA = z.strictObject({
  "memory-usage-limit": text,
  log: z
    .strictObject({ level: text, format: text, file: z.strictObject({ filename: text }).optional() })
    .optional(),
  security: z.strictObject({ "redact-info-log": z.boolean().optional() }).optional(),
  server: z
    .strictObject({
      addr: text,
      "advertise-addr": text,
      "status-addr": text,
      "advertise-status-addr": text,
      labels: z.record(z.string(), z.string()).optional(),
      ...itemsOf("server"),
    })
    .optional(),
  storage: z
    .strictObject({
      "data-dir": text,
      engine: z.enum(["auto", "rocksdb", "leveldb"]).optional(),
      "api-version": z.union([z.literal(1), z.literal(2)]).optional(),
      "enable-ttl": z.boolean().optional(),
      ...itemsOf("storage"),
    })
    .optional(),
  pd: z.strictObject({ endpoints: z.array(z.string()).min(1).optional() }).optional(),
  raftstore: z.strictObject({ capacity: text, ...itemsOf("raftstore") }).optional(),
  coprocessor: z.strictObject(itemsOf("coprocessor")).optional(),
});

/** Defaults with the file's settings over them; `path` undefined means defaults alone. */
export function loadStoreConfig(path: string | undefined): StoreFileConfig {
  const file = checkConfig(path ?? "", SCHEMA, path === undefined ? {} : readTomlFile(path));
  const sections = file as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
  const store: { -readonly [K in keyof StoreConfig]: StoreConfig[K] } = { ...DEFAULT_STORE_CONFIG };
  for (const [section, key, ours, unit] of ITEMS) {
    const value = sections[section]?.[key];
    if (value !== undefined) store[ours] = read(`${section}.${key}`, unit, value as string | number);
  }
  if (file.storage?.["api-version"] === 2) store.apiVersion = 2;
  store.enableTtl = file.storage?.["enable-ttl"] ?? store.enableTtl;
  validateStoreConfig(store);
  return {
    store,
    addr: file.server?.addr,
    advertiseAddr: file.server?.["advertise-addr"],
    statusAddr: file.server?.["status-addr"],
    advertiseStatusAddr: file.server?.["advertise-status-addr"],
    labels: file.server?.labels ?? {},
    dataDir: file.storage?.["data-dir"],
    engine: file.storage?.engine,
    capacity: file.raftstore?.capacity,
    endpoints: file.pd?.endpoints,
    logLevel: file.log?.level,
    logFile: file.log?.file?.filename,
    logFormat: file.log?.format,
    redactKeys: file.security?.["redact-info-log"],
    memory: file["memory-usage-limit"],
  };
}

function read(name: string, unit: Unit, value: string | number): number {
  if (unit === "duration") return durationMs(name, String(value));
  return unit === "size" ? sizeBytes(name, String(value)) : Number(value);
}

/** In TiKV's shape, for `/config` and `--print-config`. */
export function describeStoreConfig(config: StoreConfig, memory: number): Record<string, unknown> {
  const sections: Record<string, Record<string, unknown>> = {
    storage: { "api-version": config.apiVersion, "enable-ttl": config.enableTtl },
  };
  for (const [section, key, ours, unit] of ITEMS) {
    const value = config[ours];
    const shown = unit === "duration" ? durationText(value) : unit === "size" ? sizeText(value) : value;
    sections[section] ??= {};
    sections[section][key] = shown;
  }
  return { "memory-usage-limit": sizeText(memory), ...sections };
}
