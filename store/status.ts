/** What a store tells of itself and its regions on its status port. */
import type { Peer } from "../region/peer.js";
import { regionToProto } from "../region/region.js";

/** What a lost PD is made anew from: the highest id in use, and the stores that replicas are on. */
export function knownIds(
  ownStoreId: number,
  peers: Iterable<Peer>,
): { readonly highestId: number; readonly storeIds: readonly number[] } {
  let highestId = ownStoreId;
  const storeIds = new Set<number>();
  for (const { region } of peers) {
    highestId = Math.max(highestId, region.id);
    for (const peer of region.peers) {
      highestId = Math.max(highestId, peer.id, peer.storeId);
      storeIds.add(peer.storeId);
    }
  }
  return { highestId, storeIds: [...storeIds] };
}

/** One region as `/region/N` shows it. */
export function regionStatus(peer: Peer): Record<string, unknown> {
  return {
    region: regionToProto(peer.region),
    peerId: peer.peerId,
    isLeader: peer.isLeader,
    isQuiet: peer.isQuiet,
    leaderId: peer.leaderId,
    term: peer.term,
    appliedIndex: peer.appliedIndex,
    firstIndex: peer.storage.firstIndex(),
    lastIndex: peer.storage.lastIndex(),
    commitIndex: peer.node.commitIndex,
    approximateBytes: peer.approximateBytes,
    approximateKeys: peer.approximateKeys,
  };
}
