/**
 * Between PD's own records and the messages of the wire. Keys are copied on the way in: decoded bytes alias the
 * buffer of the request, and regions live for years.
 */
import { copyBytes } from "../base/index.js";
import { codec, metapb, type pdpb } from "../proto/index.js";
import {
  type DownPeer,
  EMPTY_REGION_SIZE_MIB,
  NO_FLOW,
  type Peer,
  type PeerRole,
  type RegionFlow,
  type RegionInfo,
  type RegionMeta,
} from "./region-info.js";

const BYTES_PER_MIB = 1 << 20;
/** Figures at or above this are an overflow in an old store. (4.6) */
const FLOW_LIMIT = 2 ** 50;
/** A rate over an interval outside these bounds means nothing. (4.7) */
const INTERVAL_SECONDS_MIN = 3;
const INTERVAL_SECONDS_MAX = 300;

const ROLES: readonly PeerRole[] = ["voter", "learner", "incomingVoter", "demotingVoter"];

const regionCodec = codec<metapb.Region, metapb.IRegion>(metapb.Region);
const storeCodec = codec<metapb.Store, metapb.IStore>(metapb.Store);
const clusterCodec = codec<metapb.Cluster, metapb.ICluster>(metapb.Cluster);

export const peerFromWire = (peer: metapb.Peer): Peer => ({
  id: peer.id,
  storeId: peer.storeId,
  role: ROLES[peer.role] ?? "voter",
  isWitness: peer.isWitness,
});

export const peerToWire = (peer: Peer): metapb.IPeer => ({
  id: peer.id,
  storeId: peer.storeId,
  role: ROLES.indexOf(peer.role),
  isWitness: peer.isWitness,
});

export const metaFromWire = (region: metapb.Region): RegionMeta => ({
  id: region.id,
  startKey: copyBytes(region.startKey),
  endKey: copyBytes(region.endKey),
  epoch: { confVer: region.regionEpoch?.confVer ?? 0, version: region.regionEpoch?.version ?? 0 },
  peers: region.peers.map(peerFromWire),
});

export const metaToWire = (meta: RegionMeta): metapb.IRegion => ({
  id: meta.id,
  startKey: meta.startKey,
  endKey: meta.endKey,
  regionEpoch: { confVer: meta.epoch.confVer, version: meta.epoch.version },
  peers: meta.peers.map(peerToWire),
});

export const downPeerToWire = (down: DownPeer): pdpb.IPeerStats => ({
  peer: peerToWire(down.peer),
  downSeconds: down.downSeconds,
});

/** The form of a region in answers to clients; a region without known leader has an empty peer. (4.19) */
export const regionToWire = (region: RegionInfo): pdpb.IRegion => ({
  region: metaToWire(region.meta),
  leader: region.leader === undefined ? {} : peerToWire(region.leader),
  downPeers: region.downPeers.map(downPeerToWire),
  pendingPeers: region.pendingPeers.map(peerToWire),
});

export const encodeRegionMeta = (meta: RegionMeta): Uint8Array => regionCodec.encode(metaToWire(meta));
export const decodeRegionMeta = (bytes: Uint8Array): RegionMeta => metaFromWire(regionCodec.decode(bytes));

export const encodeStoreMeta = (store: metapb.IStore): Uint8Array => storeCodec.encode(store);
export const decodeStoreMeta = (bytes: Uint8Array): metapb.Store => storeCodec.decode(copyBytes(bytes));

export const encodeClusterMeta = (cluster: metapb.ICluster): Uint8Array => clusterCodec.encode(cluster);
export const decodeClusterMeta = (bytes: Uint8Array): metapb.Cluster => clusterCodec.decode(bytes);

const flowFigure = (value: number): number => (value >= FLOW_LIMIT ? 0 : value);

function flowFromWire(request: pdpb.RegionHeartbeatRequest): RegionFlow {
  const start = request.interval?.startTimestamp ?? 0;
  const seconds = (request.interval?.endTimestamp ?? 0) - start;
  if (seconds < INTERVAL_SECONDS_MIN || seconds > INTERVAL_SECONDS_MAX) {
    return { ...NO_FLOW, cpuUsage: request.cpuUsage };
  }
  const queries = request.queryStats;
  return {
    intervalSeconds: seconds,
    writtenBytes: flowFigure(request.bytesWritten),
    writtenKeys: flowFigure(request.keysWritten),
    readBytes: flowFigure(request.bytesRead),
    readKeys: flowFigure(request.keysRead),
    writeQueries:
      queries === null ? 0 : queries.Put + queries.Delete + queries.DeleteRange + queries.Prewrite,
    readQueries: queries === null ? 0 : queries.Get + queries.Scan + queries.Coprocessor,
    cpuUsage: request.cpuUsage,
  };
}

const byId = (left: Peer, right: Peer): number => left.id - right.id;

/** The record of a heartbeat. A size of 0 means "not counted yet": then the previous figures stay. (4.5) */
export function regionFromHeartbeat(
  request: pdpb.RegionHeartbeatRequest,
  region: metapb.Region,
  leader: metapb.Peer,
  previous: RegionInfo | undefined,
): RegionInfo {
  const counted = request.approximateSize > 0;
  const sizeMib = counted
    ? Math.max(1, Math.floor(request.approximateSize / BYTES_PER_MIB))
    : (previous?.sizeMib ?? EMPTY_REGION_SIZE_MIB);
  const keys = counted || previous === undefined ? request.approximateKeys : previous.keys;
  const downPeers: DownPeer[] = [];
  for (const down of request.downPeers) {
    if (down.peer !== null) downPeers.push({ peer: peerFromWire(down.peer), downSeconds: down.downSeconds });
  }
  const leaderPeer = peerFromWire(leader);
  const meta = metaFromWire(region);
  return {
    meta,
    // The entry of the peer list: the leader's own copy may lack the role.
    leader: meta.peers.find((peer) => peer.id === leaderPeer.id) ?? leaderPeer,
    term: request.term,
    downPeers: downPeers.sort((left, right) => byId(left.peer, right.peer)),
    pendingPeers: request.pendingPeers.map(peerFromWire).sort(byId),
    sizeMib,
    keys,
    flow: flowFromWire(request),
    fromStorage: false,
  };
}
