import type { BoundMethod } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { Scheduling } from "./scheduling.js";
export const schedulingMethods = (_cluster: Cluster, _scheduling: Scheduling): BoundMethod[] => [];
