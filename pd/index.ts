/**
 * The Placement Driver: ids, timestamps, the map of the key space, and the plans that keep regions replicated and
 * spread.
 */
export type { ElectionOptions } from "./candidacy.js";
export { PdConfig } from "./config.js";
export { EmbeddedMetaStore } from "./embedded-meta-store.js";
export type { HttpReply, HttpRequest } from "./http.js";
export * from "./meta-store.js";
export type { MetricHistogram, MetricSample } from "./metrics.js";
export { PdMetrics } from "./metrics.js";
export { PlacementDriver, type PlacementDriverOptions } from "./placement-driver.js";
export type { FetchStoreConfig } from "./region-sizes.js";
export { isolationLevel, REGION_KINDS } from "./statistics/region-kinds.js";
