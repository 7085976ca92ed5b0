/** Storage engines: one contract (`base/engine.ts`), three implementations, and the door that picks one for a directory. */
export { MemoryEngine } from "./memory.js";
export { type OpenedEngine, openEngine, type OpenEngineOptions, stampIdentity } from "./open.js";
export type { DirectoryRole, EngineKind, Stamp } from "./stamp.js";
