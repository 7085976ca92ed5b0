/**
 * 9 What a leader believes of its followers.
 *
 *   0 <= match < next,  match <= last index of the leader's log
 *   entries on their way to a follower <= the bound for them
 */
import type { Peer } from "../../region/peer.js";
import { Violation } from "../world.js";

export function checkProgress(peer: Peer, inflightMax: number, where: string): void {
  const { lastIndex } = peer.node;
  peer.node.withProgress((id, progress) => {
    const { match, next } = progress;
    const flying = progress.inflights.count;
    if (match >= 0 && match < next && match <= lastIndex && flying <= inflightMax) return;
    throw new Violation(
      "9 progress",
      `${where} region ${peer.regionId}: of peer ${id} match ${match}, next ${next}, ${flying} of ${inflightMax} ` +
        `on their way; the log ends at ${lastIndex}`,
    );
  });
}
