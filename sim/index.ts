/** The simulator: `drawPlan(seed)` says what a seed does, `runSeed(plan, drain)` does it. For scripts: world, cluster, network. */
export { Logs } from "./checkers/logs.js";
export {
  checkRegister,
  type RegisterCall,
  type RegisterOperation,
  type Verdict,
} from "./checkers/linearizability.js";
export { Peers } from "./checkers/peers.js";
export { disksDiffer, unrest } from "./checkers/quiescence.js";
export { type ClusterShape, QUIET_SHAPE, SimCluster, type SimStore } from "./cluster.js";
export { type DiskKnobs, QUIET_DISK, SimDisk, SimEngine } from "./engine.js";
export { FAULTS, type FaultKind } from "./faults.js";
export { type Action, FAULT_CLASSES, type FaultClass, heal, unleash } from "./nemesis.js";
export { type Frame, type FrameVerdict, type NetworkKnobs, QUIET_NETWORK, SimNetwork } from "./network.js";
export { SimNode } from "./node.js";
export { drawPlan, type Plan, WORKLOADS, type WorkloadName } from "./plan.js";
export { runSeed, type SeedResult } from "./run-seed.js";
export { type Drain, MS, Violation, World } from "./world.js";
