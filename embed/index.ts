/** A whole cluster inside a program. */
export { type Pair, type PutOptions, RawClient, type ScanOptions, type SwapResult } from "../client/index.js";
export { Cluster, type ClusterOptions, type ClusterStore } from "./cluster.js";
