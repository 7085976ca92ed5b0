/** How stores, clients and tools talk to PD: leader discovery, unary calls with retry, heartbeat and TSO streams. */
export { type PdCallback, PdClient, type PdClientOptions } from "./pd-client.js";
export { RegionHeartbeats } from "./region-heartbeats.js";
export { type TimestampCallback, TsoStream } from "./tso-stream.js";
