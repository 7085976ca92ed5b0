/**
 * 7 The other half of the commit rule: a leader counts replicas of entries of its own term only; older ones are
 * committed by those that follow. (Raft 5.4.2, figure 8)
 *
 *   p leads term t before and after, commit(p) grows to i  =>  term(log(p), i) = t
 *
 * An entry that the leader's own disk does not hold yet is left out.
 */
import { logIndex } from "../../base/index.js";
import type { Peer } from "../../region/peer.js";
import { Violation } from "../violation.js";

export function checkOwnTerm(peer: Peer, name: string): void {
  const { commitIndex, term } = peer.node;
  const entryTerm = peer.storage.term(logIndex(commitIndex));
  if (typeof entryTerm === "string" || entryTerm === term) return;
  throw new Violation(
    "7 commit rule",
    `${name} region ${peer.regionId}: the leader of term ${term} commits up to ${commitIndex}, of term ${entryTerm}`,
  );
}
