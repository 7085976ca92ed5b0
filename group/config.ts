/** How a member is set up: limits, times, policies. All have defaults; what cannot work is refused at the start. */
import { RaftwerkError } from "../base/index.js";

export interface SnapshotPolicy {
  /** A snapshot is made after this many entries were applied since the last. 0: not by entries. */
  readonly entries: number;
  /** Or when the log behind the last one holds this many bytes. 0: not by bytes. */
  readonly bytes: number;
  /** Or after this time, if anything was applied. 0: not by time. */
  readonly intervalMs: number;
  /** Entries that stay in the log behind a snapshot, for members that are a little slow. */
  readonly keepEntries: number;
  /** But no more bytes of them than this. */
  readonly keepBytes: number;
  /** A log of this many bytes is cut even while a snapshot is being sent to somebody, who then begins anew. */
  readonly logBytesMax: number;
  /** Pieces in which a snapshot is kept and sent. */
  readonly chunkBytes: number;
  /** Pieces on their way to one member. */
  readonly windowChunks: number;
  /** Bytes a second to all members together. 0: as fast as they take it. */
  readonly sendBytesPerSecond: number;
  /** A member that is silent for this long is given up; it may go on where it was, for as long again. */
  readonly timeoutMs: number;
}

export interface GroupConfig {
  readonly tickMs: number;
  /** Ticks without a leader before an election; drawn anew from [electionTicks, 2 x electionTicks). */
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /**
   * `readIndex`: a round of heartbeats for the reads of a turn, safe whatever clocks do. `lease`: none while the
   * leader's lease lasts; monotonic clocks must not differ in speed by more than 10 %.
   */
  readonly reads: "readIndex" | "lease";
  /** Longest encoded command. */
  readonly commandBytesMax: number;
  /** Commands of a turn share entries of up to this size; a longer command gets one of its own. */
  readonly entryBytesMax: number;
  /** Proposals and reads that wait here, by count and by bytes; more are refused with `serverIsBusy`. */
  readonly waitingMax: number;
  readonly waitingBytesMax: number;
  /** How long a proposal, read or change may take when its caller sets no limit. */
  readonly timeoutMs: number;
  /** A session that is idle for longer ends. */
  readonly sessionTtlMs: number;
  /** Learners are promoted when they lack fewer entries than this. */
  readonly promoteEntries: number;
  readonly snapshots: SnapshotPolicy;
}

export const DEFAULT_SNAPSHOTS: SnapshotPolicy = Object.freeze({
  entries: 100_000,
  bytes: 64 << 20,
  intervalMs: 0,
  keepEntries: 10_000,
  keepBytes: 64 << 20,
  logBytesMax: 1 << 30,
  chunkBytes: 256 << 10,
  windowChunks: 8,
  sendBytesPerSecond: 128 << 20,
  timeoutMs: 30_000,
});

export const DEFAULT_GROUP_CONFIG: GroupConfig = Object.freeze({
  tickMs: 100,
  electionTicks: 10,
  heartbeatTicks: 1,
  reads: "readIndex",
  commandBytesMax: 4 << 20,
  entryBytesMax: 1 << 20,
  waitingMax: 65_536,
  waitingBytesMax: 128 << 20,
  timeoutMs: 10_000,
  sessionTtlMs: 3_600_000,
  promoteEntries: 256,
  snapshots: DEFAULT_SNAPSHOTS,
});

export type GroupConfigInit = Partial<Omit<GroupConfig, "snapshots">> & {
  readonly snapshots?: Partial<SnapshotPolicy> | undefined;
};

const COUNTS = ["tickMs", "electionTicks", "heartbeatTicks", "commandBytesMax", "entryBytesMax"] as const;
const MORE_COUNTS = ["waitingMax", "waitingBytesMax", "timeoutMs", "sessionTtlMs", "promoteEntries"] as const;

export function groupConfig(init: GroupConfigInit = {}): GroupConfig {
  const snapshots = { ...DEFAULT_SNAPSHOTS, ...init.snapshots };
  const config: GroupConfig = { ...DEFAULT_GROUP_CONFIG, ...init, snapshots };
  const refuse = (reason: string): never => {
    throw new RaftwerkError("invalidConfig", `configuration of the group: ${reason}`, { retry: "never" });
  };
  for (const name of [...COUNTS, ...MORE_COUNTS]) {
    if (!(config[name] >= 1 && Number.isFinite(config[name]))) refuse(`${name} must be a number from 1`);
  }
  if (config.electionTicks < config.heartbeatTicks * 3) {
    refuse(
      "electionTicks must be at least three times heartbeatTicks, or leaders lose their place to chance",
    );
  }
  if (config.reads === "lease" && config.electionTicks < 4) refuse("lease reads need electionTicks >= 4");
  if (config.commandBytesMax > 32 << 20) refuse("commandBytesMax must be at most 32 MiB");
  for (const [name, value] of Object.entries(snapshots)) {
    if (!(value >= 0)) refuse(`snapshots.${name} must be a number from 0`);
  }
  if (snapshots.chunkBytes < 1 || snapshots.chunkBytes > 8 << 20) {
    refuse("snapshots.chunkBytes must be from 1 to 8 MiB");
  }
  if (snapshots.windowChunks < 1) refuse("snapshots.windowChunks must be at least 1");
  return config;
}

/** A leader may trust a confirmation of its leadership this long, given clocks whose speeds differ by 10 %. */
export const leaseMs = (config: GroupConfig): number => (config.electionTicks - 2) * config.tickMs * 0.9;
