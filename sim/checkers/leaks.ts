/**
 * 32 Nothing stays open: at rest no engine holds a snapshot, and between two processes there are no more calls of a
 * method than one stream needs. What is left over on disks is of `quiescence.ts`.
 *
 *   forall store s: snapshots(s) = 0
 *   forall processes a, b, method m: |calls(a, b, m)| <= bound
 */
import type { SimCluster } from "../cluster.js";

/** A stream, one that follows it, and a call that has just begun; a client's workloads have streams of their own. */
const CALLS_MAX = 4;

/** What is still open that should not be; undefined when there is nothing. */
export function leftOpen(cluster: SimCluster): string | undefined {
  for (const { node, disk } of cluster.stores) {
    const open = disk.engine?.openSnapshots ?? 0;
    if (open > 0) return `${node.name} holds ${open} snapshots of its engine`;
  }
  for (const [route, count] of cluster.network.openCalls()) {
    if (count > CALLS_MAX) return `${count} calls are open: ${route}`;
  }
  return undefined;
}
