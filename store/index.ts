export { DEFAULT_STORE_CONFIG, type StoreConfig, validateStoreConfig } from "./config.js";
export type { PdCallback, PdPort, RegionHeartbeatStream } from "./pd-port.js";
export { Store, type StoreDependencies, type StoreOptions } from "./store.js";
