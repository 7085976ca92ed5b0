/**
 * The parts of PD for one term of leading, or for the time between terms. Each term gets parts of its own, so that
 * nothing of an earlier one can act in a later one; what outlives terms is the map of regions.
 */
import { type Env, RaftwerkError } from "../base/index.js";
import type { BoundMethod, pdpb } from "../proto/index.js";
import { Cluster, type RegionMap } from "./cluster.js";
import { PdConfig, UNKNOWN_VERSION } from "./config.js";
import type { PdContext } from "./context.js";
import { GcState } from "./gc-state.js";
import { HeartbeatStreams } from "./heartbeat-streams.js";
import { IdAllocator } from "./id-allocator.js";
import type { MetaKeys } from "./keys.js";
import type { Leadership } from "./leadership.js";
import { type MemberIdentity, type MemberRegistry, Members } from "./members.js";
import { MinResolvedTimestamp } from "./min-resolved-timestamp.js";
import type { MetaStore } from "./meta-store.js";
import type { PdMetrics } from "./metrics.js";
import { type FetchStoreConfig, RegionSizesWatch } from "./region-sizes.js";
import { RegionSyncServer } from "./region-sync-server.js";
import { coreMethods } from "./rpc-core.js";
import { gcMethods } from "./rpc-gc.js";
import { otherMethods } from "./rpc-other.js";
import { regionMethods } from "./rpc-regions.js";
import { schedulingMethods } from "./rpc-scheduling.js";
import { splitMethods } from "./rpc-split.js";
import { adjustClusterVersion, storeMethods } from "./rpc-stores.js";
import { Scheduling } from "./scheduling.js";
import { Settings } from "./settings.js";
import { StoreAdmin } from "./store-admin.js";
import { TemporaryConfig } from "./temporary-config.js";
import { TimestampOracle } from "./timestamp-oracle.js";
import { type Step, together } from "./together.js";

const TSO_SAVE_INTERVAL_MS = 5000;
const TSO_UPDATE_INTERVAL_MS = 50;
/** Under PD's names. */
const CLOCK_EVENTS = { ahead: "slow_save", behind: "system_time_slow" } as const;

export type StartConfig = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export interface PartsInputs {
  readonly env: Env;
  readonly metaStore: MetaStore;
  readonly clusterId: bigint;
  readonly keys: MetaKeys;
  readonly self: MemberIdentity;
  readonly leadership: Leadership;
  readonly metrics: PdMetrics;
  readonly config: StartConfig | undefined;
  readonly tsoSaveIntervalMs: number | undefined;
  readonly tsoUpdateIntervalMs: number | undefined;
  readonly startedWallMs: number;
  readonly registry?: MemberRegistry;
  readonly otherLeader?: () => pdpb.IMember | undefined;
  readonly map?: RegionMap;
  readonly fetchStoreConfig?: FetchStoreConfig | undefined;
}

export interface Parts {
  readonly context: PdContext;
  readonly leadership: Leadership;
  readonly timestamps: TimestampOracle;
  readonly cluster: Cluster;
  readonly streams: HeartbeatStreams;
  readonly sync: RegionSyncServer;
  readonly members: Members;
  readonly gc: GcState;
  readonly scheduling: Scheduling;
  readonly stores: StoreAdmin;
  readonly temporary: TemporaryConfig;
  readonly settings: Settings;
  readonly sizes: RegionSizesWatch;
  readonly minResolved: MinResolvedTimestamp;
  readonly startedWallMs: number;
  /** By path. */
  readonly methods: ReadonlyMap<string, BoundMethod>;
}

export function buildParts(inputs: PartsInputs): Parts {
  const { env, metaStore, clusterId, keys, leadership, metrics, startedWallMs } = inputs;
  const config = startConfig(inputs.config);
  const ids = new IdAllocator(env, metaStore, keys, leadership);
  const context: PdContext = { env, clusterId, keys, metaStore, leadership, ids, config, metrics };
  const timestamps = new TimestampOracle(env, metaStore, keys, leadership, {
    saveIntervalMs: inputs.tsoSaveIntervalMs ?? TSO_SAVE_INTERVAL_MS,
    updateIntervalMs: inputs.tsoUpdateIntervalMs ?? TSO_UPDATE_INTERVAL_MS,
    onClock: (event) => {
      if (event === "back") metrics.increment("pd_monitor_time_jump_back_total");
      else metrics.increment("pd_tso_events", { type: CLOCK_EVENTS[event], group: "default" });
    },
  });
  const cluster = new Cluster(context, inputs.map);
  const streams = new HeartbeatStreams(context, (id) => cluster.store(id)?.meta.address ?? "");
  const sync = new RegionSyncServer(cluster);
  if (inputs.registry !== undefined) cluster.onRegionChanged = (region) => sync.changed(region);
  const settings = new Settings(context, (changed, items) => cluster.rules.followOperations(changed, items));
  const save = (): void => settings.save(() => {});
  const members = new Members(inputs.self, leadership, inputs.registry, inputs.otherLeader);
  const gc = new GcState(context, timestamps);
  const scheduling = new Scheduling(cluster, streams, settings);
  const minResolved = new MinResolvedTimestamp(cluster);
  const methods = [
    ...coreMethods(cluster, members, timestamps),
    ...storeMethods(cluster, save, scheduling),
    ...regionMethods(cluster, streams, scheduling),
    ...splitMethods(cluster, scheduling),
    ...schedulingMethods(cluster, scheduling),
    ...gcMethods(cluster, gc),
    ...otherMethods(cluster, members, timestamps, minResolved),
    ...sync.methods(),
  ];
  return {
    context,
    leadership,
    timestamps,
    cluster,
    streams,
    sync,
    members,
    gc,
    scheduling,
    stores: new StoreAdmin(cluster, settings),
    temporary: new TemporaryConfig(context),
    settings,
    minResolved,
    sizes: new RegionSizesWatch(cluster, settings, inputs.fetchStoreConfig),
    startedWallMs,
    methods: new Map(methods.map((method) => [method.definition.path, method])),
  };
}

/**
 * Reads what earlier leaders stored and starts everything that acts. Everything is read after the office was won, so
 * nobody else writes it any more and the order of the reads does not matter; the settings come first, because a
 * default rule and the list of schedulers follow from them.
 */
export function beginTerm(parts: Parts, callback: (error: Error | undefined) => void): void {
  const { context, timestamps, gc, cluster, scheduling } = parts;
  parts.temporary.start();
  loadConfig(context, (configError) => {
    if (configError !== undefined) return callback(configError);
    const loads: readonly Step[] = [
      (done) => timestamps.start(done),
      (done) => gc.load(done),
      (done) => cluster.load(done),
      (done) => scheduling.load(done),
    ];
    together(loads, (error) => {
      if (error !== undefined) return callback(error);
      // A PD that ended before it stored what its first store had told.
      if (context.config.clusterVersion === UNKNOWN_VERSION) adjustClusterVersion(cluster);
      parts.streams.start();
      scheduling.start();
      parts.sizes.start();
      callback(undefined);
      // Lookups need none. Who needs one waits for the window, and tries again if it could not be stored.
      context.ids.rebase(() => {});
    });
  });
}

/** Stops what acts; calls back once what was still in memory is written. */
export function endTerm(parts: Parts, callback: () => void): void {
  parts.scheduling.stop();
  parts.sizes.stop();
  parts.minResolved.stop();
  parts.streams.stop();
  parts.sync.stop();
  parts.timestamps.stop();
  parts.temporary.stop();
  parts.cluster.stop(callback);
}

export function loadConfig(context: PdContext, callback: (error: Error | undefined) => void): void {
  context.metaStore.get(context.keys.config, (error, stored) => {
    if (error !== undefined || stored === undefined) return callback(error);
    const ignored = context.config.loadStored(JSON.parse(new TextDecoder().decode(stored.value)));
    if (ignored.length > 0) context.env.log.warn("stored settings are ignored", { ignored });
    callback(undefined);
  });
}

/** The settings that a config file gave; throws on those that are none. */
export function startConfig(given: StartConfig | undefined): PdConfig {
  const config = new PdConfig();
  for (const [section, items] of Object.entries(given ?? {})) {
    const known = section === "schedule" || section === "replication" || section === "pd-server";
    for (const [item, value] of Object.entries(items)) {
      const result = known
        ? config.set(section, item, value)
        : ({ kind: "refused", reason: `config prefix ${section} not found` } as const);
      if (result.kind === "refused") {
        throw new RaftwerkError("invalidConfig", `${section}.${item}: ${result.reason}`, { retry: "never" });
      }
    }
  }
  return config;
}
