/**
 * Before a clean stop: every region this store leads is handed to another voter, so that nobody waits for an
 * election. What cannot be handed over in time (no other voter lives, or lags too far behind) is left as it is.
 */
import type { Env } from "../base/index.js";
import type { Peer } from "../region/peer.js";

const ROUND_MS = 50;

export interface HandoverHost {
  readonly env: Env;
  readonly peers: { all(): Iterable<Peer> };
}

/** Calls back with the number of regions that are still led. */
export function handOverLeaders(
  host: HandoverHost,
  timeoutMs: number,
  callback: (leadersLeft: number) => void,
): void {
  const startMs = host.env.clock.monotonicMs();
  const round = (number: number): void => {
    let left = 0;
    let mayMove = false;
    for (const peer of host.peers.all()) {
      if (!peer.isLeader) continue;
      left += 1;
      const heirs = peer.region.peers.filter(({ id, role }) => id !== peer.peerId && role === "voter");
      if (heirs.length === 0) continue;
      mayMove = true;
      // Another heir in each second round: the first may be the one that does not answer.
      const heir = heirs[(number >> 1) % heirs.length];
      if (heir !== undefined && number % 2 === 0) peer.transferLeader(heir.id);
    }
    const isOver = !mayMove || host.env.clock.monotonicMs() - startMs >= timeoutMs;
    if (isOver) return callback(left);
    host.env.timers.set(ROUND_MS, () => round(number + 1));
  };
  round(0);
}
