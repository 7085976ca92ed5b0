/**
 * What PD knows of one region: the metadata of the last accepted heartbeat, its leader's report of peers, and its
 * figures. Records are immutable; a heartbeat replaces the record. Sizes are whole MiB everywhere inside PD, and 1
 * means empty: 0 would mean "not counted yet" and never stays. (pd-rules 4.5 to 4.7)
 */
import { compareBytes } from "../base/index.js";

export type PeerRole = "voter" | "learner" | "incomingVoter" | "demotingVoter";

export interface Peer {
  readonly id: number;
  readonly storeId: number;
  readonly role: PeerRole;
  readonly isWitness: boolean;
}

export interface RegionEpoch {
  readonly confVer: number;
  readonly version: number;
}

export interface RegionMeta {
  readonly id: number;
  readonly startKey: Uint8Array;
  /** Exclusive; empty means to the last key. */
  readonly endKey: Uint8Array;
  readonly epoch: RegionEpoch;
  readonly peers: readonly Peer[];
}

export interface DownPeer {
  readonly peer: Peer;
  readonly downSeconds: number;
}

export interface RegionFlow {
  /** What the amounts are of; 0 when the report had no usable interval. */
  readonly intervalSeconds: number;
  readonly writtenBytes: number;
  readonly writtenKeys: number;
  readonly readBytes: number;
  readonly readKeys: number;
  readonly writeQueries: number;
  readonly readQueries: number;
  readonly cpuUsage: number;
}

export const NO_FLOW: RegionFlow = {
  intervalSeconds: 0,
  writtenBytes: 0,
  writtenKeys: 0,
  readBytes: 0,
  readKeys: 0,
  writeQueries: 0,
  readQueries: 0,
  cpuUsage: 0,
};

export interface RegionInfo {
  readonly meta: RegionMeta;
  readonly leader: Peer | undefined;
  /** Raft term of the reporting leader; 0 when unknown. */
  readonly term: number;
  /** Sorted by peer id, as `pendingPeers`. */
  readonly downPeers: readonly DownPeer[];
  readonly pendingPeers: readonly Peer[];
  readonly sizeMib: number;
  readonly keys: number;
  readonly flow: RegionFlow;
  /** True until the first heartbeat after PD's start. */
  readonly fromStorage: boolean;
}

export const EMPTY_REGION_SIZE_MIB = 1;

export const isVoter = (peer: Peer): boolean => peer.role !== "learner";

export const isInJointState = (meta: RegionMeta): boolean =>
  meta.peers.some((peer) => peer.role === "incomingVoter" || peer.role === "demotingVoter");

export const voters = (region: RegionInfo): Peer[] => region.meta.peers.filter(isVoter);

export const peerOnStore = (region: RegionInfo, storeId: number): Peer | undefined =>
  region.meta.peers.find((peer) => peer.storeId === storeId);

export const peerWithId = (region: RegionInfo, peerId: number): Peer | undefined =>
  region.meta.peers.find((peer) => peer.id === peerId);

export const isDown = (region: RegionInfo, peerId: number): boolean =>
  region.downPeers.some((down) => down.peer.id === peerId);

export const isPending = (region: RegionInfo, peerId: number): boolean =>
  region.pendingPeers.some((peer) => peer.id === peerId);

export const isUnhealthy = (region: RegionInfo, peerId: number): boolean =>
  isDown(region, peerId) || isPending(region, peerId);

export const containsKey = (meta: RegionMeta, key: Uint8Array): boolean =>
  compareBytes(meta.startKey, key) <= 0 && (meta.endKey.length === 0 || compareBytes(key, meta.endKey) < 0);

const NONE: readonly never[] = [];

/** The record of a region of which only the stored metadata is known. */
export const storedRegion = (meta: RegionMeta): RegionInfo => ({
  meta,
  leader: undefined,
  term: 0,
  downPeers: NONE,
  pendingPeers: NONE,
  sizeMib: EMPTY_REGION_SIZE_MIB,
  keys: 0,
  flow: NO_FLOW,
  fromStorage: true,
});
