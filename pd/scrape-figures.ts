/** Gauges that are made when somebody asks for the metrics: what is counted anyway costs nothing meanwhile. */
import type { MetricSample } from "./metrics.js";
import type { Parts } from "./parts.js";
import { REGION_KINDS } from "./statistics/region-kinds.js";
import type { Direction } from "./statistics/store-figures.js";

type ScrapedParts = Pick<Parts, "context" | "cluster" | "scheduling" | "sync">;

const gauge = (name: string, labels: Record<string, string>, value: number): MetricSample => ({
  name,
  kind: "gauge",
  labels,
  value,
});

/** PD's spelling: the kinds of peers have `region` once more. */
const kindType = (kind: string): string =>
  kind.endsWith("-region") ? `${kind}-count` : `${kind}-region-count`;

export function scrapeFigures({ context, cluster, scheduling, sync }: ScrapedParts): MetricSample[] {
  const { view, statistics } = scheduling;
  const lowSpace = cluster.liveStores().filter((store) => view.isLowSpace(store)).length;
  const isHalted = context.config.flag("schedule.halt-scheduling");
  return [
    gauge("pd_cluster_status", { type: "store_low_space_count", engine: "tikv", store: "all" }, lowSpace),
    gauge("pd_cluster_id", { type: "idalloc" }, context.ids.windowEnd),
    gauge("pd_scheduling_allowance_status", { kind: "halt-scheduling" }, isHalted ? 1 : 0),
    ...REGION_KINDS.map((kind) =>
      gauge("pd_regions_status", { type: kindType(kind) }, statistics.kinds.ids(kind).size),
    ),
    ...[...statistics.kinds.isolationCounts()].map(([level, count]) =>
      gauge("pd_regions_label_level", { type: level }, count),
    ),
    ...(["first_index", "last_index"] as const).map((type) =>
      gauge("pd_region_syncer_status", { type }, type === "first_index" ? sync.firstIndex : sync.lastIndex),
    ),
    ...(["read", "write"] as const).flatMap((type) => hotCache(type, { cluster, scheduling })),
  ];
}

/** How many peers of each store are in the cache, and from which rates on a peer comes in. */
function hotCache(
  type: Direction,
  { cluster, scheduling }: Pick<Parts, "cluster" | "scheduling">,
): MetricSample[] {
  const cache = scheduling.statistics.hot(type);
  return cluster.liveStores().flatMap(({ id }) => {
    const [bytes, keys, queries] = cache.thresholds(id, cluster.nowMs());
    const figures: readonly (readonly [name: string, value: number])[] = [
      ["total_length", cache.sizeOf(id)],
      ["byte-rate-threshold", bytes],
      ["key-rate-threshold", keys],
      ["query-rate-threshold", queries],
    ];
    return figures.map(([name, value]) =>
      gauge("pd_hotcache_status", { name, store: `store-${id}`, type }, value),
    );
  });
}
