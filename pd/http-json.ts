/**
 * Regions and stores as PD's HTTP API shows them: field names, order and what is left out when empty are part of the
 * interface, because clients, pd-ctl and dashboards read them. Keys are upper-case hex of the stored key; sizes of
 * regions are MiB, those of stores text like `1.5GiB`. (pd-rules 11.12, 11.20)
 */
import { toHex } from "../base/index.js";
import { NS_PER_MS } from "./cluster.js";
import { formatBytes, formatDurationMs, formatInstant } from "./duration.js";
import type { Peer, PeerRole, RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";
import type { StoreInfo } from "./store-info.js";

type Json = Record<string, unknown>;

const ROLE_NAMES: Readonly<Record<PeerRole, string>> = {
  voter: "Voter",
  learner: "Learner",
  incomingVoter: "IncomingVoter",
  demotingVoter: "DemotingVoter",
};
const ROLE_NUMBERS: Readonly<Record<PeerRole, number>> = {
  voter: 0,
  learner: 1,
  incomingVoter: 2,
  demotingVoter: 3,
};

export const keyJson = (key: Uint8Array): string => toHex(key).toUpperCase();

const unlessEmpty = <T>(list: readonly T[]): readonly T[] | undefined =>
  list.length === 0 ? undefined : list;
const unlessZero = (value: number | undefined): number | undefined => (value === 0 ? undefined : value);

export function peerJson(peer: Peer): Json {
  return {
    role_name: ROLE_NAMES[peer.role],
    is_learner: peer.role === "learner" ? true : undefined,
    id: peer.id,
    store_id: peer.storeId,
    role: unlessZero(ROLE_NUMBERS[peer.role]),
    is_witness: peer.isWitness ? true : undefined,
  };
}

export function regionJson(region: RegionInfo): Json {
  const { meta, flow } = region;
  return {
    id: meta.id,
    start_key: keyJson(meta.startKey),
    end_key: keyJson(meta.endKey),
    epoch: { conf_ver: unlessZero(meta.epoch.confVer), version: unlessZero(meta.epoch.version) },
    peers: meta.peers.map(peerJson),
    leader: region.leader === undefined ? { role_name: "" } : peerJson(region.leader),
    down_peers: unlessEmpty(
      region.downPeers.map((down) => ({
        peer: peerJson(down.peer),
        down_seconds: unlessZero(down.downSeconds),
      })),
    ),
    pending_peers: unlessEmpty(region.pendingPeers.map(peerJson)),
    cpu_usage: flow.cpuUsage,
    written_bytes: flow.writtenBytes,
    read_bytes: flow.readBytes,
    written_keys: flow.writtenKeys,
    read_keys: flow.readKeys,
    approximate_size: region.sizeMib,
    approximate_keys: region.keys,
    approximate_kv_size: 0,
    approximate_columnar_kv_size: 0,
  };
}

export const regionsJson = (regions: readonly RegionInfo[]): Json => ({
  count: regions.length,
  regions: regions.map(regionJson),
});

/** `Disconnected` and `Down` are shown in the place of `Up`; nothing of that is stored. (3.23) */
export function stateName(view: SchedulingView, store: StoreInfo): string {
  if (store.isRemoved) return "Tombstone";
  if (store.isRemoving) return "Offline";
  if (view.isDown(store)) return "Down";
  return store.isDisconnected(view.nowMs()) ? "Disconnected" : "Up";
}

export function storeJson(view: SchedulingView, store: StoreInfo): Json {
  return { store: storeMetaJson(view, store), status: storeStatusJson(view, store) };
}

function storeMetaJson(view: SchedulingView, store: StoreInfo): Json {
  const { meta } = store;
  const text = (value: string): string | undefined => (value === "" ? undefined : value);
  return {
    id: meta.id,
    address: meta.address,
    state: unlessZero(meta.state),
    labels: unlessEmpty(meta.labels.map(({ key, value }) => ({ key, value }))),
    version: text(meta.version),
    peer_address: text(meta.peerAddress),
    status_address: text(meta.statusAddress),
    git_hash: text(meta.gitHash),
    start_timestamp: unlessZero(meta.startTimestamp),
    deploy_path: meta.deployPath,
    last_heartbeat: meta.lastHeartbeat === 0n ? undefined : meta.lastHeartbeat,
    physically_destroyed: meta.physicallyDestroyed ? true : undefined,
    node_state: unlessZero(meta.nodeState),
    state_name: stateName(view, store),
  };
}

function storeStatusJson(view: SchedulingView, store: StoreInfo): Json {
  const { stats, meta } = store;
  const regions = view.cluster.regions.onStore(store.id);
  const influence = new Map();
  const heartbeatMs = Number(meta.lastHeartbeat / NS_PER_MS);
  const uptimeMs = heartbeatMs - meta.startTimestamp * 1000;
  const trend = stats?.slowTrend;
  return {
    capacity: formatBytes(stats?.capacity ?? 0),
    available: formatBytes(stats?.available ?? 0),
    used_size: formatBytes(stats?.usedSize ?? 0),
    leader_count: regions.leaders.size,
    leader_weight: store.leaderWeight,
    leader_score: view.leaderScore(store, influence),
    leader_size: regions.leaderSizeMib,
    region_count: regions.regionCount,
    region_weight: store.regionWeight,
    region_score: view.regionScore(store, influence),
    region_size: regions.regionSizeMib,
    learner_count: unlessZero(regions.learners.size),
    pending_peer_count: unlessZero(regions.pending.size),
    slow_score: unlessZero(stats?.slowScore),
    slow_trend:
      trend === undefined || trend === null
        ? undefined
        : {
            cause_value: trend.causeValue,
            cause_rate: trend.causeRate,
            result_value: trend.resultValue,
            result_rate: trend.resultRate,
          },
    sending_snap_count: unlessZero(stats?.sendingSnapCount),
    receiving_snap_count: unlessZero(stats?.receivingSnapCount),
    is_busy: stats?.isBusy === true ? true : undefined,
    start_ts: meta.startTimestamp === 0 ? undefined : formatInstant(meta.startTimestamp * 1000),
    last_heartbeat_ts: meta.lastHeartbeat === 0n ? undefined : formatInstant(heartbeatMs),
    uptime: uptimeMs > 0 && meta.lastHeartbeat > 0n ? formatDurationMs(uptimeMs) : undefined,
    pause_leader_transfer_in: store.leaderInPauses > 0 ? true : undefined,
    pause_leader_transfer_out: store.leaderOutPauses > 0 ? true : undefined,
  };
}

/** By id, so that two looks can be compared. */
export function storesJson(view: SchedulingView, stores: readonly StoreInfo[]): Json {
  const sorted = [...stores].sort((left, right) => left.id - right.id);
  return { count: sorted.length, stores: sorted.map((store) => storeJson(view, store)) };
}
