/** A store: everything of a storage node but its doors to the world, which `adapters/` and the tests bring. */
export { DEFAULT_STORE_CONFIG, type StoreConfig, validateStoreConfig } from "./config.js";
export type { PdCallback, PdPort, RegionHeartbeatStream } from "./pd-port.js";
export { Store, type StoreDependencies, type StoreOptions } from "./store.js";
export type { FigureListener, TimedStep } from "../region/figures.js";
