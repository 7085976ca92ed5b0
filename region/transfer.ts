/** Who may be given the leadership: a voter that holds nearly the whole log and does not wait for a snapshot. */
import type { PeerId } from "../base/index.js";
import type { RawNode } from "../raft/index.js";
import { findPeer, isVoter, type Region } from "./region.js";

/** Why not; undefined when nothing speaks against it. `node` leads. */
export function refuseTransfer(
  region: Region,
  target: PeerId,
  node: RawNode,
  lagMax: number,
): string | undefined {
  const meta = findPeer(region, target);
  if (meta === undefined || !isVoter(meta)) return `peer ${target} is not a voter of region ${region.id}`;
  let lag = Number.POSITIVE_INFINITY;
  let isLoading = false;
  node.withProgress((id, progress) => {
    if (id !== target) return;
    lag = node.lastIndex - progress.match;
    isLoading = progress.state === "StateSnapshot";
  });
  if (isLoading) return `peer ${target} is waiting for a snapshot`;
  return lag > lagMax ? `peer ${target} lags by ${lag} entries` : undefined;
}
