/** The Raft library: `raftwerk/raft`. Start with README.md beside this file. */
export type { Logger, Random } from "../base/env.js";
export type { LogIndex, Term } from "../base/ids.js";
export { confChangeMode, decodeConfChange, encodeConfChange, makeConfChange } from "./confchange-codec.js";
export type { ConfChangeMode } from "./confchange-codec.js";
export { DEFAULT_CONFIG, NO_LIMIT, validateConfig } from "./config.js";
export type { Config, ConfigInit } from "./config.js";
export type { ApplyConfChangeResult } from "./membership.js";
export {
  EMPTY_CONF_STATE,
  EMPTY_HARD_STATE,
  entryBytes,
  entriesBytes,
  equalConfState,
  equalHardState,
  isConfChangeEntry,
  isLocalMessage,
  isResponseMessage,
  limitEntries,
  makeEntry,
  makeHardState,
  makeMessage,
  makeSnapshot,
  payloadBytes,
} from "./message.js";
export type { MessageInit } from "./message.js";
export { TERM_MAX } from "./raft.js";
export { RawNode } from "./rawnode.js";
export type { StepResult } from "./rawnode.js";
export type { BasicStatus, ProgressStatus, ProgressVisitor, Status } from "./status.js";
export { MemStorage } from "./storage.js";
export { traceLine } from "./trace.js";
export type { TraceEvent, TraceHook } from "./trace.js";
export { describeProgress, Progress } from "./tracker/progress.js";
export type { ProgressState } from "./tracker/progress.js";
export type { TrackerConfig } from "./tracker/tracker.js";
export { describeConfig } from "./tracker/tracker.js";
export * from "./types.js";
