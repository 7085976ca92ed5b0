/** How long PD takes for heartbeats: by the store that sent them, and by the part of the work. */
import type { metapb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";

/** exp 0.1 ms x2: PD's own. */
const SECONDS = Array.from({ length: 29 }, (_, i) => 1e-4 * 2 ** i);

const nameOf = (of: "region" | "store"): string => `pd_scheduler_handle_${of}_heartbeat_duration_seconds`;

export function observeHeartbeat(cluster: Cluster, { id, address }: metapb.Store, startMs: number): void {
  const seconds = (cluster.nowMs() - startMs) / 1000;
  cluster.context.metrics.observe(nameOf("store"), { address, store: String(id) }, seconds, SECONDS);
}

/** For the region heartbeats of a store, which come by the thousand. */
export const regionHeartbeats = (
  cluster: Cluster,
  { id, address }: metapb.Store,
): ((seconds: number) => void) =>
  cluster.context.metrics.histogram(nameOf("region"), { address, store: String(id) }, SECONDS);

const PARTS = ["PreCheck", "SaveCache", "CollectRegionStats"] as const;
export type HeartbeatPart = (typeof PARTS)[number];
/** One heartbeat of so many is timed in its parts: looking at the clock costs as much as some of them. */
const SAMPLE_EVERY = 64;

/** `pd_core_region_heartbeat_breakdown_*`: sums and counts of the heartbeats that were sampled. */
export class HeartbeatBreakdown {
  readonly #cluster: Cluster;
  readonly #sums = new Map<HeartbeatPart, { value: number }>();
  readonly #counts = new Map<HeartbeatPart, { value: number }>();
  #left = 1;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    const { metrics } = cluster.context;
    const name = "pd_core_region_heartbeat_breakdown_handle_duration_seconds";
    for (const part of PARTS) {
      this.#sums.set(part, metrics.counter(`${name}_sum`, { name: part }));
      this.#counts.set(part, metrics.counter(`${name}_count`, { name: part }));
    }
  }

  /** Whether the parts of this heartbeat are timed. */
  next(): boolean {
    this.#left -= 1;
    if (this.#left > 0) return false;
    this.#left = SAMPLE_EVERY;
    return this.#cluster.context.config.flag("schedule.enable-heartbeat-breakdown-metrics");
  }

  /** The part began at `startMs`; when it ended. */
  took(part: HeartbeatPart, startMs: number): number {
    const nowMs = this.#cluster.nowMs();
    (this.#sums.get(part) as { value: number }).value += (nowMs - startMs) / 1000;
    (this.#counts.get(part) as { value: number }).value += 1;
    return nowMs;
  }
}
