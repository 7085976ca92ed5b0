/**
 * 13 Lease exclusion: over a key at most one peer would serve a read of its own at one time, over regions and
 * splits. A process that stands still serves none.
 *
 *   forall key k, time t: |{p : k in range(p), p may read locally at t}| <= 1
 */
import { compareBytes } from "../../base/index.js";
import type { Peer } from "../../region/peer.js";
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
