/**
 * 28 Scheduler safety: PD has one operator a region (by the way it keeps them), and none that outlives its
 * time. That none of them takes the quorum from a region shows in 33: such a region would never be led again.
 *
 *   forall operator o under way: now - started(o) <= timeout(o) + slack
 */
import type { SimCluster } from "../cluster.js";
import { Violation } from "../world.js";

const SLACK_MS = 30_000;

export function checkOperators({ pd }: SimCluster): void {
  if (pd.pd === undefined || !pd.node.isUp || pd.node.isPaused) return;
  const nowMs = pd.node.monotonicMs();
  const regions = new Set<number>();
  for (const { regionId, startedMs, timeoutMs, desc, state } of pd.pd.scheduling.controller.operators()) {
    const isLate = state === "started" && nowMs - startedMs > timeoutMs + SLACK_MS;
    if (!isLate && !regions.has(regionId)) {
      regions.add(regionId);
      continue;
    }
    const what = isLate ? `is under way for ${nowMs - startedMs} ms` : "is not the only one";
    throw new Violation("28 operators", `operator ${desc} of region ${regionId} ${what}`);
  }
}
