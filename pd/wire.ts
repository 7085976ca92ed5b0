/**
 * Between PD's own records and the messages of the wire. Keys are copied on the way in: decoded bytes alias the
 * buffer of the request, and regions live for years.
 */
import { copyBytes } from "../base/index.js";
import { CompactMeta, isKeyText, keyText } from "./compact-meta.js";
import { codec, metapb, type pdpb } from "../proto/index.js";
import { readQueries, writeQueries } from "./statistics/store-figures.js";
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

export const metaFromWire = (region: metapb.Region): CompactMeta =>
  new CompactMeta(
    region.id,
    keyText(region.startKey),
    keyText(region.endKey),
    region.regionEpoch?.confVer ?? 0,
    region.regionEpoch?.version ?? 0,
    region.peers.map(peerFromWire),
  );

const isPeer = (peer: Peer, wire: metapb.Peer): boolean =>
  peer.id === wire.id &&
  peer.storeId === wire.storeId &&
  peer.role === (ROLES[wire.role] ?? "voter") &&
  peer.isWitness === wire.isWitness;

/** The record known already where the message says the same: most heartbeats, and then nothing is made anew. */
function metaLike(known: RegionMeta | undefined, wire: metapb.Region): RegionMeta {
  const { regionEpoch, peers } = wire;
  if (!(known instanceof CompactMeta)) return metaFromWire(wire);
  const isSame =
    known.confVer === (regionEpoch?.confVer ?? 0) &&
    known.version === (regionEpoch?.version ?? 0) &&
    known.peers.length === peers.length &&
    peers.every((peer, i) => isPeer(known.peers[i] as Peer, peer)) &&
    isKeyText(known.start, wire.startKey) &&
    isKeyText(known.end, wire.endKey);
  return isSame ? known : metaFromWire(wire);
}

const NO_PEERS: readonly Peer[] = [];
const NO_DOWN_PEERS: readonly DownPeer[] = [];

/** Sorted by id; the list known already where it says the same. */
function pendingPeersLike(known: readonly Peer[] | undefined, wire: readonly metapb.Peer[]): readonly Peer[] {
  if (wire.length === 0) return NO_PEERS;
  const peers = wire.map(peerFromWire).sort(byId);
  const isSame = known?.length === peers.length && wire.every((_, i) => known[i]?.id === peers[i]?.id);
  return isSame ? known : peers;
}

function downPeersFromWire(wire: readonly pdpb.PeerStats[]): readonly DownPeer[] {
  if (wire.length === 0) return NO_DOWN_PEERS;
  const down: DownPeer[] = [];
  for (const { peer, downSeconds } of wire) {
    if (peer !== null) down.push({ peer: peerFromWire(peer), downSeconds });
  }
  return down.sort((left, right) => byId(left.peer, right.peer));
}

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
    return request.cpuUsage === 0 ? NO_FLOW : { ...NO_FLOW, cpuUsage: request.cpuUsage };
  }
  const { queryStats: queries } = request;
  const flow: RegionFlow = {
    intervalSeconds: seconds,
    writtenBytes: flowFigure(request.bytesWritten),
    writtenKeys: flowFigure(request.keysWritten),
    readBytes: flowFigure(request.bytesRead),
    readKeys: flowFigure(request.keysRead),
    writeQueries: flowFigure(writeQueries(queries)),
    readQueries: flowFigure(readQueries(queries)),
    cpuUsage: request.cpuUsage,
  };
  if (isIdle(flow)) return idleFlow(seconds);
  return isPlainWrite(flow) ? new WriteFlow(flow) : flow;
}

/** Above it V8 keeps a number in an object of its own. */
const SMALL_MAX = 2 ** 31 - 1;

const isPlainWrite = (flow: RegionFlow): boolean =>
  flow.readBytes === 0 &&
  flow.readKeys === 0 &&
  flow.readQueries === 0 &&
  flow.cpuUsage === 0 &&
  flow.writtenBytes <= SMALL_MAX &&
  flow.writtenKeys <= SMALL_MAX &&
  flow.writeQueries <= SMALL_MAX;

/** Reads come with the stores' heartbeats, so most busy regions report writes alone: half the memory of the rest. */
class WriteFlow implements RegionFlow {
  readonly intervalSeconds: number;
  readonly writtenBytes: number;
  readonly writtenKeys: number;
  readonly writeQueries: number;

  constructor({ intervalSeconds, writtenBytes, writtenKeys, writeQueries }: RegionFlow) {
    this.intervalSeconds = intervalSeconds;
    this.writtenBytes = writtenBytes;
    this.writtenKeys = writtenKeys;
    this.writeQueries = writeQueries;
  }

  get readBytes(): number {
    return 0;
  }

  get readKeys(): number {
    return 0;
  }

  get readQueries(): number {
    return 0;
  }

  get cpuUsage(): number {
    return 0;
  }
}

const isIdle = (flow: RegionFlow): boolean =>
  flow.writtenBytes === 0 &&
  flow.readBytes === 0 &&
  flow.writtenKeys === 0 &&
  flow.readKeys === 0 &&
  flow.writeQueries === 0 &&
  flow.readQueries === 0 &&
  flow.cpuUsage === 0;

/** Most regions are idle: they share one record for each length of the interval. */
const IDLE = new Map<number, RegionFlow>();
function idleFlow(intervalSeconds: number): RegionFlow {
  let flow = IDLE.get(intervalSeconds);
  if (flow === undefined) {
    flow = { ...NO_FLOW, intervalSeconds };
    IDLE.set(intervalSeconds, flow);
  }
  return flow;
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
  const meta = metaLike(previous?.meta, region);
  return {
    meta,
    // The entry of the peer list: the leader's own copy may lack the role.
    leader: meta.peers.find((peer) => peer.id === leader.id) ?? peerFromWire(leader),
    term: request.term,
    downPeers: downPeersFromWire(request.downPeers),
    pendingPeers: pendingPeersLike(previous?.pendingPeers, request.pendingPeers),
    sizeMib,
    keys,
    flow: flowFromWire(request),
    fromStorage: false,
  };
}
