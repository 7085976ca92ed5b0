/**
 * 13 Lease exclusion: over a key at most one peer would serve a read of its own at one time, over regions and
 * splits. A process that stands still serves none.
 *
 *   forall key k, time t: |{p : k in range(p), p may read locally at t}| <= 1
 *
 * A leader that tells another to campaign gives its lease up by both of its guards, its clock's and Raft's: the
 * other may win before any lease is over.
 *
 *   MsgTimeoutNow leaves p at t, the transfer being under way  =>  lease(p, t) is not valid, nor does Raft trust it
 */
import { compareBytes } from "../../base/index.js";
import type { Peer } from "../../region/peer.js";
import type { SimCluster } from "../cluster.js";
import type { SimNode } from "../node.js";
import { Violation } from "../world.js";

export interface LeaseHolder {
  readonly peer: Peer;
  readonly name: string;
}

export function checkLeases(holders: LeaseHolder[]): void {
  holders.sort((left, right) => compareBytes(left.peer.region.startKey, right.peer.region.startKey));
  for (let i = 1; i < holders.length; i++) {
    const [left, right] = [holders[i - 1] as LeaseHolder, holders[i] as LeaseHolder];
    const { endKey } = left.peer.region;
    if (endKey.length > 0 && compareBytes(endKey, right.peer.region.startKey) <= 0) continue;
    const text = ({ peer, name }: LeaseHolder): string => `${name} region ${peer.regionId} term ${peer.term}`;
    throw new Violation("13 lease exclusion", `${text(left)} and ${text(right)} would both serve a read`);
  }
}

/** An order to campaign leaves `node`; what is wrong with that. */
export function leaseKeptInHandover(
  { stores }: SimCluster,
  node: SimNode,
  regionId: number,
  target: number,
): Violation | undefined {
  const peer = stores.find((store) => store.node === node)?.store?.peers.get(regionId);
  if (peer === undefined || !peer.isLeader || peer.node.leadTransferee !== target) return undefined;
  const keepsLease = peer.lease.inspect(node.monotonicMs()) === "valid";
  if (!keepsLease && !peer.node.inLease()) return undefined;
  const text = `${node.name} tells peer ${target} of region ${regionId} to campaign and keeps its lease`;
  return new Violation("13 lease exclusion", `${text} ${keepsLease ? "by the clock" : "by Raft"}`);
}
