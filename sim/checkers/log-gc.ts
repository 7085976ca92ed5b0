/**
 * 19 Log GC, on what is durable: what was cut had been applied here, and what is left has no hole.
 *
 *   truncated <= applied
 *   forall i in (truncated, applied]: entry i is on the disk
 */
import type { ApplyState } from "../../region/local-state.js";
import { Violation } from "../world.js";

export function checkLogGc(
  where: string,
  region: number,
  { truncatedIndex, appliedIndex }: ApplyState,
  before: number,
  has: (index: number) => boolean,
): void {
  if (truncatedIndex > appliedIndex) {
    throw new Violation(
      "19 log gc",
      `${where}: region ${region} is cut to ${truncatedIndex}, applied ${appliedIndex}`,
    );
  }
  // Only where this batch moved something; a snapshot begins behind its own index.
  for (let index = Math.max(truncatedIndex, before) + 1; index <= appliedIndex; index++) {
    if (has(index)) continue;
    throw new Violation(
      "19 log gc",
      `${where}: region ${region} has no entry ${index} in ${truncatedIndex}..${appliedIndex}`,
    );
  }
}
