/**
 * A region: a key range, its epoch and its peers, as an immutable value. Ranges are in encoded-key space without the
 * data prefix; an empty `endKey` means "to the end". Formula: initialized(region) <=> region.peers.length > 0.
 */
import {
  compareBytes,
  EMPTY_BYTES,
  packBytes,
  type PeerId,
  peerId,
  type RegionId,
  regionId,
  type StoreId,
  storeId,
} from "../base/index.js";
import type { metapb } from "../proto/index.js";

export type PeerRole = "voter" | "learner" | "incomingVoter" | "demotingVoter";

export interface PeerMeta {
  readonly id: PeerId;
  readonly storeId: StoreId;
  readonly role: PeerRole;
}

/** `version` counts splits and merges, `confVer` membership changes. */
export interface RegionEpoch {
  readonly confVer: number;
  readonly version: number;
}

export interface Region {
  readonly id: RegionId;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
  readonly epoch: RegionEpoch;
  readonly peers: readonly PeerMeta[];
}

const ROLES: readonly PeerRole[] = ["voter", "learner", "incomingVoter", "demotingVoter"];

export const peerToProto = (peer: PeerMeta): metapb.IPeer => ({
  id: peer.id,
  storeId: peer.storeId,
  role: ROLES.indexOf(peer.role),
});

export const peerFromProto = (peer: metapb.IPeer): PeerMeta => ({
  id: peerId(peer.id ?? 0),
  storeId: storeId(peer.storeId ?? 0),
  role: ROLES[peer.role ?? 0] ?? "voter",
});

export const epochToProto = (epoch: RegionEpoch): metapb.IRegionEpoch => ({
  confVer: epoch.confVer,
  version: epoch.version,
});

export const epochFromProto = (epoch: metapb.IRegionEpoch | null | undefined): RegionEpoch => ({
  confVer: epoch?.confVer ?? 0,
  version: epoch?.version ?? 0,
});

export const regionToProto = (region: Region): metapb.IRegion => ({
  id: region.id,
  startKey: region.startKey,
  endKey: region.endKey,
  regionEpoch: epochToProto(region.epoch),
  peers: region.peers.map(peerToProto),
});

/** A copy: what was decoded may be a view on much more. */
const border = (key: Uint8Array | null | undefined): Uint8Array =>
  key == null ? EMPTY_BYTES : packBytes(key);

export const regionFromProto = (region: metapb.IRegion): Region => ({
  id: regionId(region.id ?? 0),
  startKey: border(region.startKey),
  endKey: border(region.endKey),
  epoch: epochFromProto(region.regionEpoch),
  peers: (region.peers ?? []).map(peerFromProto),
});

export const isInitialized = (region: Region): boolean => region.peers.length > 0;

/** One smaller component is enough: two epochs may each be stale against the other. */
export const isEpochStale = (epoch: RegionEpoch, against: RegionEpoch): boolean =>
  epoch.version < against.version || epoch.confVer < against.confVer;

export const sameEpoch = (left: RegionEpoch, right: RegionEpoch): boolean =>
  left.version === right.version && left.confVer === right.confVer;

export const containsKey = (region: Region, key: Uint8Array): boolean =>
  compareBytes(key, region.startKey) >= 0 &&
  (region.endKey.length === 0 || compareBytes(key, region.endKey) < 0);

/** Whether two ranges share a key; empty `end` is infinite. */
export function rangesOverlap(
  startA: Uint8Array,
  endA: Uint8Array,
  startB: Uint8Array,
  endB: Uint8Array,
): boolean {
  const aBeforeB = endA.length > 0 && compareBytes(endA, startB) <= 0;
  const bBeforeA = endB.length > 0 && compareBytes(endB, startA) <= 0;
  return !aBeforeB && !bBeforeA;
}

export const findPeerOnStore = (region: Region, id: StoreId): PeerMeta | undefined =>
  region.peers.find((peer) => peer.storeId === id);

export const findPeer = (region: Region, id: PeerId): PeerMeta | undefined =>
  region.peers.find((peer) => peer.id === id);

export const isVoter = (peer: PeerMeta): boolean => peer.role === "voter" || peer.role === "incomingVoter";

/** Raft's view of the membership, joint roles included. */
export function confStateOf(region: Region): {
  voters: number[];
  votersOutgoing: number[];
  learners: number[];
  learnersNext: number[];
  autoLeave: boolean;
} {
  const joint = region.peers.some((peer) => peer.role === "incomingVoter" || peer.role === "demotingVoter");
  const ids = (roles: readonly PeerRole[]): number[] =>
    region.peers.filter((peer) => roles.includes(peer.role)).map((peer) => peer.id);
  return {
    voters: ids(["voter", "incomingVoter"]),
    votersOutgoing: joint ? ids(["voter", "demotingVoter"]) : [],
    learners: ids(["learner"]),
    learnersNext: ids(["demotingVoter"]),
    autoLeave: false,
  };
}
