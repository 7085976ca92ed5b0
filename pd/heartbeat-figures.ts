/** How long PD takes for heartbeats, by the store that sent them. */
import type { metapb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";

/** exp 0.1 ms x2: PD's own. */
const SECONDS = Array.from({ length: 29 }, (_, i) => 1e-4 * 2 ** i);

export function observeHeartbeat(
  cluster: Cluster,
  of: "region" | "store",
  { id, address }: metapb.Store,
  startMs: number,
): void {
  const name = `pd_scheduler_handle_${of}_heartbeat_duration_seconds`;
  const seconds = (cluster.nowMs() - startMs) / 1000;
  cluster.context.metrics.observe(name, { address, store: String(id) }, seconds, SECONDS);
}
