/**
 * 10 One change of peers at a time: quorums of a configuration and of the next intersect. That a joint
 * configuration is left in the end is of `quiescence.ts`.
 *
 *   conf_ver + 1, neither joint:  |voters xor voters'| <= 1
 *   entering a joint one by n changes, conf_ver + n:  outgoing' = voters
 */
import type { PeerMeta, Region } from "../../region/region.js";
import { Violation } from "../world.js";

const ids = (region: Region, ...roles: readonly PeerMeta["role"][]): number[] =>
  region.peers
    .filter(({ role }) => roles.includes(role))
    .map(({ id }) => id as number)
    .sort((left, right) => left - right);

const isJoint = (region: Region): boolean => ids(region, "incomingVoter", "demotingVoter").length > 0;

export function checkConfChange(before: Region, now: Region, where: string): void {
  const grown = now.epoch.confVer - before.epoch.confVer;
  if (before.peers.length === 0 || grown <= 0 || isJoint(before)) return;
  const voters = ids(before, "voter");
  if (!isJoint(now)) {
    if (grown !== 1) return;
    const next = ids(now, "voter");
    const changed = [...voters, ...next].filter((id) => voters.includes(id) !== next.includes(id));
    if (changed.length > 1) {
      throw new Violation(
        "10 conf change",
        `${where}: region ${now.id} goes from voters ${voters.join()} to ${next.join()} at once`,
      );
    }
    return;
  }
  const isKnown = (id: number): boolean => before.peers.some((peer) => peer.id === id);
  const changes =
    ids(now, "incomingVoter", "demotingVoter").length +
    ids(now, "learner").filter((id) => !isKnown(id)).length;
  const outgoing = ids(now, "voter", "demotingVoter");
  if (changes === grown && outgoing.join() !== voters.join()) {
    throw new Violation(
      "10 conf change",
      `${where}: region ${now.id} leaves ${outgoing.join()} though its voters were ${voters.join()}`,
    );
  }
}
