/**
 * How a node is set up. Every limit in bytes may be `Infinity` (`NO_LIMIT`). The second half are options that raft-rs
 * has beyond etcd's raft: all off by default, so that what a node says and does is exactly etcd's.
 */
import type { Logger, Random } from "../base/env.js";
import { SILENT_LOGGER } from "../base/env.js";
import { RaftwerkError } from "../base/errors.js";
import type { TraceHook } from "./trace.js";
import type { WindowLimits } from "./tracker/inflights.js";
import type { NodeId, Storage } from "./types.js";

export const NO_LIMIT: number = Number.POSITIVE_INFINITY;

export interface Config {
  /** Unique in the group for ever, >= 1; a node that lost its disk must come back under another. */
  readonly id: NodeId;
  readonly storage: Storage;
  /** Last index applied before the restart; entries after it are handed out again. 0 = what the log begins with. */
  readonly applied: number;
  /** Ticks without a leader before an election; drawn anew from [electionTicks, 2 x electionTicks) each time. */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly preVote: boolean;
  /** The leader steps down when a quorum is silent for electionTicks; followers of a live leader refuse votes. */
  readonly checkQuorum: boolean;
  /** `leaseBased` trusts ticks instead of a round of heartbeats and needs `checkQuorum`. */
  readonly readOnlyOption: "safe" | "leaseBased";
  readonly maxSizePerMessageBytes: number;
  /** Bytes handed out to apply and not acknowledged. 0 = maxSizePerMessageBytes. */
  readonly maxCommittedSizePerReadyBytes: number;
  /** Bytes of proposals in the leader's uncommitted tail; more is refused. 0 = no limit. */
  readonly maxUncommittedEntriesBytes: number;
  readonly maxInflightMessages: number;
  /** 0 = no limit, else >= maxSizePerMessageBytes. */
  readonly maxInflightBytes: number;
  /** Several Readys may be under way; entries are applied only once they are durable. */
  readonly asyncStorageWrites: boolean;
  readonly disableProposalForwarding: boolean;
  /** The application checks configuration changes itself. */
  readonly disableConfChangeValidation: boolean;
  /** A leader that applies its own removal or demotion becomes follower. */
  readonly stepDownOnRemoval: boolean;
  /** Read requests a leader keeps waiting for its first commit or for a quorum; more are dropped. */
  readonly maxPendingReads: number;
  /** Of this node alone: nodes that share a seed campaign together for ever. */
  readonly random: Random;
  readonly logger: Logger;
  readonly traceHook?: TraceHook | undefined;

  /** Election timeout range in ticks instead of [electionTicks, 2 x electionTicks); 0 = not set. */
  readonly minElectionTicks: number;
  readonly maxElectionTicks: number;
  /** Votes with equal logs go to the higher priority. */
  readonly priority: number;
  /** Vote requests and refusals carry the commit index, so that those who lag learn it. */
  readonly commitByVote: boolean;
  /** Append and heartbeat responses carry the follower's commit index (`Progress.committed`). */
  readonly commitInResponses: boolean;
  /** Merge consecutive appends to a peer into one message while it has not been taken. */
  readonly batchAppend: boolean;
  /** Do not tell followers of a commit by an empty append; heartbeats do. */
  readonly skipBroadcastCommit: boolean;
  /** An entry commits only when it is on two commit groups (`assignCommitGroups`). */
  readonly groupCommit: boolean;
  /** Entries that a leader may apply before they are durable here (asynchronous mode). */
  readonly maxApplyUnpersistedEntries: number;
}

export const DEFAULT_CONFIG = {
  applied: 0,
  electionTicks: 10,
  heartbeatTicks: 1,
  preVote: false,
  checkQuorum: false,
  readOnlyOption: "safe",
  maxSizePerMessageBytes: 1024 * 1024,
  maxCommittedSizePerReadyBytes: 0,
  maxUncommittedEntriesBytes: 0,
  maxInflightMessages: 256,
  maxInflightBytes: 0,
  asyncStorageWrites: false,
  disableProposalForwarding: false,
  disableConfChangeValidation: false,
  stepDownOnRemoval: false,
  maxPendingReads: 10_000,
  logger: SILENT_LOGGER,
  traceHook: undefined,
  minElectionTicks: 0,
  maxElectionTicks: 0,
  priority: 0,
  commitByVote: false,
  commitInResponses: false,
  batchAppend: false,
  skipBroadcastCommit: false,
  groupCommit: false,
  maxApplyUnpersistedEntries: 0,
} as const satisfies Omit<Config, "id" | "storage" | "random">;

/** What a caller must give; the rest has defaults. */
export type ConfigInit = Pick<Config, "id" | "storage" | "random"> & Partial<Config>;

export const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const isLimit = (value: number): boolean => value === NO_LIMIT || isCount(value);

/** What nodes of one process have in common: all of the configuration that does not name a node. */
export interface Settings
  extends Omit<Config, "id" | "storage" | "random" | "applied" | "priority" | "traceHook"> {
  readonly window: WindowLimits;
}

/** A node's configuration, checked: its own part, and what it has in common with others. */
export interface NodeConfig
  extends Pick<Config, "id" | "storage" | "random" | "applied" | "priority" | "traceHook"> {
  readonly settings: Settings;
}

/** What names a node, or is its own. */
const OWN_KEYS: ReadonlySet<string> = new Set([
  "id",
  "storage",
  "random",
  "applied",
  "priority",
  "traceHook",
]);
type DefaultKey = keyof typeof DEFAULT_CONFIG;
const SETTING_KEYS = (Object.keys(DEFAULT_CONFIG) as DefaultKey[]).filter((key) => !OWN_KEYS.has(key));
const given = (init: ConfigInit, key: DefaultKey): unknown => (key in init ? init[key] : DEFAULT_CONFIG[key]);

/** The settings of the last node, and what they were made of, in the order of `SETTING_KEYS`. */
let last: { readonly given: readonly unknown[]; readonly settings: Settings } | undefined;

/**
 * As `validateConfig`. A store makes a hundred thousand nodes at its start, all with the same settings: those are
 * checked once, and kept once.
 */
export function nodeConfig(init: ConfigInit): NodeConfig {
  const known = last;
  if (known === undefined || !SETTING_KEYS.every((key, i) => Object.is(given(init, key), known.given[i]))) {
    const { id, storage, random, applied, priority, traceHook, ...settings } = validateConfig(init);
    const window = { countMax: settings.maxInflightMessages, bytesMax: settings.maxInflightBytes };
    last = { given: SETTING_KEYS.map((key) => given(init, key)), settings: { ...settings, window } };
    return { id, storage, random, applied, priority, traceHook, settings: last.settings };
  }
  const { id, storage, random } = init;
  const [applied, priority] = [given(init, "applied") as number, given(init, "priority") as number];
  const { traceHook } = init;
  const own = { id, storage, random, applied, priority, traceHook, settings: known.settings };
  const reason = ownProblem(own);
  if (reason !== undefined) throw invalidConfig(id, reason);
  return own;
}

const invalidConfig = (id: number, reason: string): RaftwerkError =>
  new RaftwerkError("invalidConfig", `Raft configuration of node ${id}: ${reason}`, { retry: "never" });

/** The first thing wrong with what is a node's own. */
function ownProblem(
  config: Pick<Config, "id" | "storage" | "random" | "applied" | "priority">,
): string | undefined {
  if (!Number.isSafeInteger(config.id) || config.id <= 0) return "id must be a safe integer >= 1";
  if (typeof config.storage?.initialState !== "function") return "storage must be given";
  if (typeof config.random?.u32 !== "function") return "random must be given";
  if (!isCount(config.applied)) return "applied must be a log index";
  return Number.isSafeInteger(config.priority) ? undefined : "priority must be a safe integer";
}

/** The first thing wrong with a configuration, as a sentence; undefined when it is sound. */
function problem(config: Config): string | undefined {
  const own = ownProblem(config);
  if (own !== undefined) return own;
  if (!isCount(config.heartbeatTicks) || config.heartbeatTicks === 0) return "heartbeatTicks must be >= 1";
  if (!isCount(config.electionTicks) || config.electionTicks <= config.heartbeatTicks) {
    return "electionTicks must be greater than heartbeatTicks";
  }
  if (!isLimit(config.maxSizePerMessageBytes)) return "maxSizePerMessageBytes must be >= 0";
  if (!isLimit(config.maxCommittedSizePerReadyBytes)) return "maxCommittedSizePerReadyBytes must be >= 0";
  if (!isLimit(config.maxUncommittedEntriesBytes)) return "maxUncommittedEntriesBytes must be >= 0";
  if (!isLimit(config.maxInflightMessages) || config.maxInflightMessages === 0) {
    return "maxInflightMessages must be >= 1";
  }
  if (!isLimit(config.maxInflightBytes)) return "maxInflightBytes must be >= 0";
  if (config.maxInflightBytes !== 0 && config.maxInflightBytes < config.maxSizePerMessageBytes) {
    return "maxInflightBytes must be at least maxSizePerMessageBytes, or 0 for none";
  }
  if (config.readOnlyOption === "leaseBased" && !config.checkQuorum) {
    return "readOnlyOption leaseBased needs checkQuorum";
  }
  if (!isLimit(config.maxPendingReads)) return "maxPendingReads must be >= 0";
  if (!isCount(config.minElectionTicks) || !isCount(config.maxElectionTicks)) {
    return "minElectionTicks and maxElectionTicks must be >= 0";
  }
  const low = config.minElectionTicks || config.electionTicks;
  const high = config.maxElectionTicks || config.electionTicks * 2;
  if (low < config.electionTicks) return "minElectionTicks must be at least electionTicks";
  if (low >= high) return "minElectionTicks must be less than maxElectionTicks";
  if (!isLimit(config.maxApplyUnpersistedEntries)) return "maxApplyUnpersistedEntries must be >= 0";
  return undefined;
}

type Draft = { -readonly [K in keyof Config]: Config[K] };

/** Fills in defaults; throws `RaftwerkError("invalidConfig")` when something cannot work. */
export function validateConfig(init: ConfigInit): Config {
  const config: Draft = { ...DEFAULT_CONFIG, ...init };
  const reason = problem(config);
  if (reason !== undefined) throw invalidConfig(config.id, reason);
  config.maxCommittedSizePerReadyBytes ||= config.maxSizePerMessageBytes;
  config.maxUncommittedEntriesBytes ||= NO_LIMIT;
  config.maxInflightBytes ||= NO_LIMIT;
  config.minElectionTicks ||= config.electionTicks;
  config.maxElectionTicks ||= config.electionTicks * 2;
  return config;
}
