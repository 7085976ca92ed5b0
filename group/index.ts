/** A Raft group around your own state machine: the portable half. `raftwerk/group` adds real adapters to it. */
export { type GroupCall, type GroupCallResult, askLeader } from "./calls.js";
export type { CompactedLog } from "./compacted-log.js";
export {
  DEFAULT_GROUP_CONFIG,
  DEFAULT_SNAPSHOTS,
  type GroupConfig,
  type GroupConfigInit,
  type SnapshotPolicy,
} from "./config.js";
export { EngineGroupStorage } from "./disk-storage.js";
export type {
  GroupCounters,
  GroupEventName,
  GroupEvents,
  GroupPhase,
  GroupStatus,
  MemberStatus,
} from "./events.js";
export type { Entry } from "../raft/index.js";
export { type Founder, groupIdOf } from "./founding.js";
export {
  type DescribedCommand,
  type DescribedEntry,
  type DescribedStorage,
  describeEntry,
  describeStorage,
} from "./inspect.js";
export { type Recovery, recoverGroup, type RecoveryOptions } from "./recover.js";
export { InProcessNetwork } from "./in-process.js";
export type { Member, MemberRole } from "./members.js";
export type { MembershipChange } from "./membership.js";
export { MemoryGroupStorage } from "./memory-storage.js";
export {
  BaseGroupNode,
  type NodeGround,
  type NodeOptions,
  type ProposeOptions,
  type WaitOptions,
} from "./node.js";
export { GroupSession, type SessionOwner } from "./session.js";
export type { StartOptions } from "./start.js";
export {
  type AppliedEntry,
  type ApplyContext,
  bytesCodec,
  type Codec,
  jsonCodec,
  type StateMachine,
} from "./state-machine.js";
export type {
  Done,
  GroupIdentity,
  GroupStorage,
  GroupWrite,
  InitialState,
  SnapshotInfo,
  SnapshotWriter,
} from "./storage.js";
export type { GroupTransport, TransportHandlers } from "./transport.js";
