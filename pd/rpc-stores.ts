/**
 * Bootstrap and the calls about stores: PutStore with its address rules, StoreHeartbeat, reads. (pd-rules 1.4, 3.1,
 * 3.2)
 */
import { type BoundMethod, metapb, PdService, type pdpb, RPC_CODE } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { PdContext } from "./context.js";
import { observeHeartbeat } from "./heartbeat-figures.js";
import {
  clusterCall,
  ERROR_TYPE,
  failure,
  leaderCall,
  lookupCall,
  okHeader,
  statusError,
} from "./rpc-answers.js";
import { describeStore, mergeLabels, StoreInfo } from "./store-info.js";
import { compareVersions, formatVersion, parseVersion, type Version } from "./version.js";
import { metaFromWire } from "./wire.js";

/** A store that a follower does not know is said to be unknown, as by the leader. */
const never = (): boolean => false;
/** What a store's label `engine` may say. (3.1) */
const ENGINES: readonly string[] = ["", "tikv", "tiflash", "tiflash_compute"];
const AWAKEN_INTERVAL_MS = 600_000;
/** Shorter ones say nothing of how busy the sender is. (3.13) */
const SNAPSHOT_SECONDS_MIN = 5;

/** Said by the parts above the cluster when a store's report matters to them. */
export interface StoreEvents {
  onStoreHeartbeat(store: StoreInfo, stats: pdpb.StoreStats): void;
  /** It found data of this region that it cannot read. */
  onDamagedRegion(store: StoreInfo, regionId: number): void;
}

export function storeMethods(cluster: Cluster, saveConfig: () => void, events: StoreEvents): BoundMethod[] {
  const { context } = cluster;
  const header = okHeader(context);
  return [
    leaderCall(cluster, PdService.IsBootstrapped, (_request, reply) => {
      reply({ header, bootstrapped: cluster.isBootstrapped });
    }),
    leaderCall(cluster, PdService.Bootstrap, (request, reply) => {
      cluster.storeChanges.run((done) =>
        bootstrap(cluster, request, (answer) => {
          done();
          reply(answer);
          if (answer.header?.error === undefined) saveConfig();
        }),
      );
    }),
    lookupCall(cluster, PdService.GetStore, never, (request, reply) => {
      const store = cluster.store(request.storeId);
      if (store === undefined) {
        return reply(failure(context, `invalid store ID ${request.storeId}, not found`));
      }
      reply({ header, store: store.meta, stats: store.stats });
    }),
    lookupCall(cluster, PdService.GetAllStores, never, (request, reply) => {
      const stores = [...cluster.stores.values()].filter(
        (store) => !(request.excludeTombstoneStores && store.isRemoved),
      );
      reply({ header, stores: stores.map((store) => store.meta) });
    }),
    clusterCall(cluster, PdService.PutStore, (request, reply) => {
      cluster.storeChanges.run((done) =>
        putStore(cluster, request.store, (answer) => {
          done();
          reply(answer);
          if (answer.header?.error === undefined) saveConfig();
        }),
      );
    }),
    clusterCall(cluster, PdService.StoreHeartbeat, (request, reply) => {
      storeHeartbeat(cluster, request, events, reply);
    }),
  ];
}

type BootstrapReply = (answer: pdpb.IBootstrapResponse) => void;

function bootstrap(cluster: Cluster, request: pdpb.BootstrapRequest, reply: BootstrapReply): void {
  const { context } = cluster;
  const refuse = (message: string, type = ERROR_TYPE.UNKNOWN): void => reply(failure(context, message, type));
  if (cluster.isBootstrapped)
    return refuse("cluster is already bootstrapped", ERROR_TYPE.ALREADY_BOOTSTRAPPED);
  const { store, region } = request;
  if (store === null) return refuse(`missing store meta for bootstrap ${context.clusterId}`);
  if (store.id === 0) return refuse("invalid zero store id");
  if (region === null) return refuse(`missing region meta for bootstrap ${context.clusterId}`);
  if (region.startKey.length > 0 || region.endKey.length > 0) {
    return refuse("invalid first region key range, must all be empty for bootstrap");
  }
  if (region.id === 0) return refuse("invalid zero region id");
  const peer = region.peers[0];
  if (peer === undefined || region.peers.length !== 1) {
    return refuse(`invalid first region peer count ${region.peers.length}, must be 1`);
  }
  if (peer.storeId !== store.id) return refuse(`invalid peer store id ${peer.storeId} != ${store.id}`);
  if (peer.id === 0) return refuse("invalid zero peer id");
  cluster.bootstrap(metapb.Store.create(store), metaFromWire(region), (error) => {
    if (error !== undefined) return refuse(error.message);
    context.env.log.info("cluster bootstrapped", { store: store.id, region: region.id });
    adjustClusterVersion(cluster);
    reply({ header: okHeader(context) });
  });
}

type PutStoreReply = (answer: pdpb.IPutStoreResponse) => void;

function putStore(cluster: Cluster, given: metapb.Store | null, reply: PutStoreReply): void {
  const { context } = cluster;
  const refuse = (message: string, type = ERROR_TYPE.UNKNOWN): void => reply(failure(context, message, type));
  if (given === null || given.id === 0) return refuse("invalid put store");
  const known = cluster.store(given.id);
  if (known?.isRemoved === true) return refuse("store is tombstone", ERROR_TYPE.STORE_TOMBSTONE);
  const engine = given.labels.find(({ key }) => key.toLowerCase() === "engine")?.value ?? "";
  if (!ENGINES.includes(engine)) {
    const known = ENGINES.slice(1).join(", ");
    return refuse(`the label engine is ${engine}: it may be ${known}, or none`, ERROR_TYPE.INVALID_VALUE);
  }
  // Without rules nothing would keep ordinary peers from a columnar store.
  if (engine === "tiflash" && !cluster.rules.isEnabled) return refuse("placement rules is disabled");
  const reason = storeRefusal(cluster, given);
  if (reason !== undefined) return refuse(reason);
  const meta = metapb.Store.create(known?.meta ?? given);
  if (known !== undefined) {
    // Only what the process itself decides: a restarting store must not resurrect itself from Offline. (3.3)
    meta.address = given.address;
    meta.statusAddress = given.statusAddress;
    meta.peerAddress = given.peerAddress;
    meta.version = given.version;
    meta.gitHash = given.gitHash;
    meta.startTimestamp = given.startTimestamp;
    meta.deployPath = given.deployPath;
  }
  meta.labels = mergeLabels(known?.meta.labels ?? [], given.labels);
  const labelProblem = labelRefusal(context, meta.labels);
  if (labelProblem !== undefined) return refuse(labelProblem);
  cluster.saveStore(meta, (error) => {
    if (error !== undefined) return refuse(error.message);
    if (known === undefined) {
      cluster.addStore(new StoreInfo(meta, cluster.nowMs()));
      context.env.log.info("store joined", { store: meta.id, address: meta.address });
    } else {
      meta.lastHeartbeat = known.meta.lastHeartbeat;
      known.meta = meta;
      // A restarted store is alive now, whatever its last heartbeat was.
      known.lastHeartbeatMs = Math.max(known.lastHeartbeatMs, cluster.nowMs());
    }
    adjustClusterVersion(cluster);
    reply({ header: okHeader(context) });
  });
}

/** Version and addresses. A wiped node under a new id is refused until the old id is buried. (3.1, 3.2) */
function storeRefusal(cluster: Cluster, given: metapb.Store): string | undefined {
  const version = parseVersion(given.version);
  if (version === undefined) return `invalid store version ${given.version}`;
  const current = parseVersion(cluster.context.config.clusterVersion) as Version;
  const sameLine = version.major === current.major && version.minor === current.minor;
  if (compareVersions(current, version) > 0 && !sameLine) {
    return `version should compatible with version  ${formatVersion(current)}, got ${formatVersion(version)}`;
  }
  const taken = (store: StoreInfo, address: string): boolean =>
    address !== "" && (store.meta.address === address || store.meta.peerAddress === address);
  for (const store of cluster.stores.values()) {
    if (store.id === given.id || store.isRemoved || store.meta.physicallyDestroyed) continue;
    const registered = `already registered by ${describeStore(store.meta)}`;
    if (taken(store, given.address)) {
      return `duplicated store address: ${describeStore(given)}, ${registered}`;
    }
    if (taken(store, given.peerAddress)) {
      return `duplicated store peer address: ${describeStore(given)}, ${registered}`;
    }
  }
  return undefined;
}

/** Only checked strictly when asked to; otherwise worth a line in the log. (3.5) */
export function labelRefusal(context: PdContext, labels: readonly metapb.StoreLabel[]): string | undefined {
  const wanted = context.config.locationLabels;
  const missing = wanted.find((key) => !labels.some((label) => label.key === key && label.value !== ""));
  const extra = labels.find((label) => !wanted.includes(label.key) && !/^engine(_role)?$/.test(label.key));
  if (missing === undefined && extra === undefined) return undefined;
  if (!context.config.flag("replication.strictly-match-label")) {
    context.env.log.debug("store labels differ from location-labels", { missing, extra: extra?.key });
    return undefined;
  }
  return missing !== undefined
    ? `label configuration is incorrect, need to specify the key: ${missing} `
    : `key matching the label was not found in the PD, store label key: ${extra?.key} `;
}

/** The minimum over living stores, down as well as up. (3.7) */
export function adjustClusterVersion(cluster: Cluster): void {
  let minimum: Version | undefined;
  for (const store of cluster.liveStores()) {
    const version = parseVersion(store.meta.version);
    if (version === undefined) continue;
    if (minimum === undefined || compareVersions(version, minimum) < 0) minimum = version;
  }
  if (minimum !== undefined) cluster.context.config.clusterVersion = formatVersion(minimum);
}

function storeHeartbeat(
  cluster: Cluster,
  request: pdpb.StoreHeartbeatRequest,
  events: StoreEvents,
  reply: (answer: pdpb.IStoreHeartbeatResponse | ReturnType<typeof statusError>) => void,
): void {
  const { context } = cluster;
  const { stats } = request;
  const startMs = cluster.nowMs();
  if (stats === null)
    return reply(statusError(RPC_CODE.invalidArgument, "invalid store heartbeat command, but nil"));
  const store = cluster.store(stats.storeId);
  if (store === undefined) return reply(failure(context, `store ${stats.storeId} not found`));
  if (store.isRemoved) return reply(failure(context, "store is tombstone", ERROR_TYPE.STORE_TOMBSTONE));
  const state = store.meta.nodeState;
  if (request.storeReport === null) {
    cluster.heardFrom(store, stats);
    for (const { generateDurationSec, sendDurationSec, totalDurationSec } of stats.snapshotStats) {
      if (context.config.text("schedule.store-limit-version") !== "v2") break;
      const workSeconds = Math.max(SNAPSHOT_SECONDS_MIN, generateDurationSec + sendDurationSec);
      store.snapshotWindows.feedback(2 * workSeconds - totalDurationSec);
    }
    events.onStoreHeartbeat(store, stats);
    for (const regionId of stats.damagedRegionsId) events.onDamagedRegion(store, regionId);
  }
  const answer: pdpb.IStoreHeartbeatResponse = {
    header: okHeader(context),
    clusterVersion: context.config.clusterVersion,
    state,
  };
  const abnormal = storesToWakeFor(cluster, store);
  if (abnormal.length > 0) answer.awakenRegions = { abnormalStores: abnormal };
  reply(answer);
  observeHeartbeat(cluster, store.meta, startMs);
}

/** A slow store elsewhere: regions that sleep must wake, so that they find a better leader. (3.11) */
function storesToWakeFor(cluster: Cluster, store: StoreInfo): number[] {
  const nowMs = cluster.nowMs();
  if (store.isSlow || nowMs - store.lastAwakenedMs < AWAKEN_INTERVAL_MS) return [];
  const slow = [...cluster.stores.values()].filter(
    (other) => other !== store && !other.isRemoved && other.isSlow,
  );
  if (slow.length > 0) store.lastAwakenedMs = nowMs;
  return slow.map((other) => other.id);
}
