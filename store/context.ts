/**
 * The checks that every client command passes, in TiKV's order (raftstore rules 3.1), each with the region error that
 * lets the client find its way: wrong store, unknown region, wrong peer, not leader, old term, other epoch.
 */
import { epochFromProto, type RegionEpoch } from "../region/region.js";
import type { kvrpcpb } from "../proto/index.js";
import {
  mismatchPeerId,
  regionNotFound,
  regionNotInitialized,
  type RegionError,
  serverIsBusy,
  staleCommand,
  storeNotMatch,
} from "../region/errors.js";
import type { Peer } from "../region/peer.js";

export interface CommandContext {
  /** `anyReplica`: the command may be served by a follower though the context does not say so. */
  check(
    context: kvrpcpb.IContext | null | undefined,
    anyReplica?: boolean,
  ): { readonly peer: Peer } | RegionError;
  epochOf(context: kvrpcpb.IContext | null | undefined): RegionEpoch;
}

export class ContextChecker implements CommandContext {
  readonly #storeId: () => number;
  readonly #peer: (regionId: number) => Peer | undefined;

  constructor(storeId: () => number, peer: (regionId: number) => Peer | undefined) {
    this.#storeId = storeId;
    this.#peer = peer;
  }

  epochOf(context: kvrpcpb.IContext | null | undefined): RegionEpoch {
    return epochFromProto(context?.regionEpoch);
  }

  check(
    context: kvrpcpb.IContext | null | undefined,
    anyReplica = context?.replicaRead ?? false,
  ): { readonly peer: Peer } | RegionError {
    const storeId = context?.peer?.storeId ?? 0;
    if (storeId !== this.#storeId()) return storeNotMatch(storeId, this.#storeId());
    const regionId = context?.regionId ?? 0;
    const peer = this.#peer(regionId);
    if (peer === undefined || peer.isRemoved) return regionNotFound(regionId);
    const peerId = context?.peer?.id ?? 0;
    if (peerId !== peer.peerId) return mismatchPeerId(peerId, peer.peerId);
    if (!peer.isLeader && !peer.awaitsElection && !anyReplica) return peer.notLeaderError();
    if (!peer.isInitialized) return regionNotInitialized(regionId);
    if (peer.isApplyingSnapshot) return serverIsBusy(`region ${regionId} is loading a snapshot`, 100);
    const term = context?.term ?? 0;
    if (term !== 0 && peer.term > term + 1) return staleCommand();
    const epoch = epochFromProto(context?.regionEpoch);
    if (epoch.version !== peer.region.epoch.version) return peer.epochError(epoch);
    return { peer };
  }
}
