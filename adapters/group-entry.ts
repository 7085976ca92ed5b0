/** `raftwerk/group`: a Raft group around your own state machine. Start with group/README.md. */
import { InProcessNetwork as PortableNetwork } from "../group/index.js";
import { SILENT_LOGGER } from "../base/index.js";
import { nodeEnv } from "./node-env.js";

export { RaftwerkError } from "../base/index.js";
export type { ErrorCode, Logger, RetryClass } from "../base/index.js";
export * from "../group/index.js";
export {
  type ConformanceCase,
  type ConformanceTarget,
  groupStorageConformance,
} from "../group/conformance.js";
export { CompactedLogFiles, type CompactedLogOptions } from "./group-compacted-log.js";
export { GroupCaller, type GroupTls, GrpcGroupTransport, type GrpcTransportOptions } from "./group-grpc.js";
export { groupRegistry } from "./group-metrics.js";
export { GroupNode, type GroupNodeOptions } from "./group-node.js";
export { createLogger } from "./logger.js";

/** Members of one process, with real timers. */
export const inProcessNetwork = (): PortableNetwork => new PortableNetwork(nodeEnv(SILENT_LOGGER).timers);
