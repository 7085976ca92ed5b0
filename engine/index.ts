/**
 * Storage engines: one contract (`base/engine.ts`), three implementations, and the door that picks one for a
 * directory. The native packages are loaded when an engine is opened, not before.
 */
export { type ConformanceCase, type ConformanceTarget, engineConformance } from "./conformance.js";
export { LevelEngine } from "./leveldb.js";
export { MemoryEngine } from "./memory.js";
export { type OpenedEngine, openEngine, type OpenEngineOptions, stampIdentity } from "./open.js";
export { RocksEngine } from "./rocksdb.js";
export type { DirectoryIdentity, DirectoryRole, EngineKind, Stamp } from "./stamp.js";
