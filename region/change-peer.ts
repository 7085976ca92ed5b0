/**
 * What a change of peers does to a region when its entry is applied. Deterministic: every replica comes to the same
 * answer, an error included (then nothing changes but the applied index). (raftstore rules 5.6)
 */
import { assert, type LogIndex, logIndex, type PeerId } from "../base/index.js";
import { type ConfChangeV2, decodeConfChange, type Entry, type RawNode } from "../raft/index.js";
import type { PeerChange } from "./admin.js";
import { findPeer, findPeerOnStore, isVoter, type PeerMeta, type PeerRole, type Region } from "./region.js";

export type ChangePeerResult =
  | { readonly kind: "changed"; readonly region: Region }
  | { readonly kind: "refused"; readonly reason: string };

const refused = (reason: string): ChangePeerResult => ({ kind: "refused", reason });

/** `conf_ver` grows by the number of changes; on leaving, by the number of peers whose role changes. */
export function applyChangePeer(region: Region, changes: readonly PeerChange[]): ChangePeerResult {
  if (changes.length === 0) return leaveJoint(region);
  if (isJoint(region.peers)) return refused("the region is in a joint configuration already");
  return changes.length === 1 ? simpleChange(region, changes[0] as PeerChange) : enterJoint(region, changes);
}

function withPeers(region: Region, peers: readonly PeerMeta[], confVerMore: number): ChangePeerResult {
  const epoch = { ...region.epoch, confVer: region.epoch.confVer + confVerMore };
  return { kind: "changed", region: { ...region, epoch, peers } };
}

const replace = (peers: readonly PeerMeta[], id: number, role: PeerRole): PeerMeta[] =>
  peers.map((peer) => (peer.id === id ? { ...peer, role } : peer));

function simpleChange(region: Region, change: PeerChange): ChangePeerResult {
  const present = findPeerOnStore(region, change.peer.storeId);
  const { peer } = change;
  switch (change.kind) {
    case "addVoter":
      if (present === undefined) return withPeers(region, [...region.peers, { ...peer, role: "voter" }], 1);
      if (present.id !== peer.id) return refused(`store ${peer.storeId} holds peer ${present.id} already`);
      if (present.role !== "learner") return refused(`peer ${peer.id} is a voter already`);
      return withPeers(region, replace(region.peers, peer.id, "voter"), 1);
    case "addLearner":
      if (present === undefined) return withPeers(region, [...region.peers, { ...peer, role: "learner" }], 1);
      if (present.id !== peer.id) return refused(`store ${peer.storeId} holds peer ${present.id} already`);
      if (present.role === "learner") return refused(`peer ${peer.id} is a learner already`);
      return withPeers(region, replace(region.peers, peer.id, "learner"), 1);
    case "remove": {
      if (present === undefined || present.id !== peer.id)
        return refused(`peer ${peer.id} is not in the region`);
      if (region.peers.length === 1) return refused("the last peer of a region cannot be removed");
      return withPeers(
        region,
        region.peers.filter((other) => other.id !== peer.id),
        1,
      );
    }
  }
}

function enterJoint(region: Region, changes: readonly PeerChange[]): ChangePeerResult {
  let peers: readonly PeerMeta[] = region.peers;
  const seen = new Set<number>();
  for (const { kind, peer } of changes) {
    if (seen.has(peer.id)) return refused(`two changes for peer ${peer.id}`);
    seen.add(peer.id);
    const present = peers.find((other) => other.storeId === peer.storeId);
    if (present !== undefined && present.id !== peer.id) {
      return refused(`store ${peer.storeId} holds peer ${present.id} already`);
    }
    if (kind === "remove") {
      if (present === undefined) return refused(`peer ${peer.id} is not in the region`);
      if (present.role === "voter") return refused(`voter ${peer.id} must be demoted before it is removed`);
      peers = peers.filter((other) => other.id !== peer.id);
    } else if (present === undefined) {
      peers = [...peers, { ...peer, role: kind === "addVoter" ? "incomingVoter" : "learner" }];
    } else if (kind === "addVoter" && present.role === "learner") {
      peers = replace(peers, peer.id, "incomingVoter");
    } else if (kind === "addLearner" && present.role === "voter") {
      peers = replace(peers, peer.id, "demotingVoter");
    } else {
      return refused(`peer ${peer.id} has the asked role already`);
    }
  }
  // Raft would be joint, but no role on disk would say so: after a restart nobody could leave. (rule 3.7.4)
  if (!isJoint(peers)) return refused("several changes at once must promote, add or demote a voter");
  return withPeers(region, peers, changes.length);
}

const isJoint = (peers: readonly PeerMeta[]): boolean =>
  peers.some((peer) => peer.role === "incomingVoter" || peer.role === "demotingVoter");

function leaveJoint(region: Region): ChangePeerResult {
  const changing = region.peers.filter(
    (peer) => peer.role === "incomingVoter" || peer.role === "demotingVoter",
  );
  if (changing.length === 0) return refused("the region is not in a joint configuration");
  const peers = region.peers.map((peer): PeerMeta => {
    if (peer.role === "incomingVoter") return { ...peer, role: "voter" };
    return peer.role === "demotingVoter" ? { ...peer, role: "learner" } : peer;
  });
  return withPeers(region, peers, changing.length);
}

/**
 * Why a leader must not even propose a change, or undefined. `matches`: what each peer holds of the log, the leader
 * itself included; a peer without an entry holds nothing. (raftstore rules 3.7)
 */
export function refuseChange(
  region: Region,
  changes: readonly PeerChange[],
  leader: PeerId,
  matches: ReadonlyMap<number, number>,
  firstIndex: LogIndex,
): string | undefined {
  const result = applyChangePeer(region, changes);
  if (result.kind === "refused") return result.reason;
  const own = findPeer(result.region, leader);
  // Entering a joint configuration may demote the leader: it leads on until another leaves for it. (rule 3.7.2)
  if (own === undefined || (changes.length <= 1 && !isVoter(own))) {
    return "the leader cannot be removed or demoted: transfer leadership first";
  }
  const voters = region.peers.filter(isVoter).length;
  if (voters === 1 && changes.every((change) => change.kind !== "addVoter")) return undefined;
  // A quorum of the new configuration must be reachable by the log alone, not wait for a snapshot.
  const held = result.region.peers.filter(isVoter).map(({ id }) => matches.get(id) ?? 0);
  held.sort((left, right) => right - left);
  const quorumMatch = held[Math.floor(held.length / 2)] as number;
  return voters > 1 && quorumMatch + 1 < firstIndex
    ? "a quorum after the change would have to wait for a snapshot: add the peer as a learner first"
    : undefined;
}

/** What each peer is known to hold of the log of a leader, which itself holds all. */
export function matchesOf(leader: RawNode): ReadonlyMap<number, number> {
  const matches = new Map<number, number>();
  leader.withProgress((id, progress) => matches.set(id, progress.match));
  matches.set(leader.id, leader.lastIndex);
  return matches;
}

/** The change that an entry of the log carries. */
export function confChangeOf(entry: Entry): ConfChangeV2 {
  const decoded = decodeConfChange(entry.data);
  assert(decoded !== undefined, () => `malformed conf change in entry ${logIndex(entry.index)}`);
  return decoded;
}
