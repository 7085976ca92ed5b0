/** Numbers that govern a peer, with units, and the relations between them that safety needs. */
import { RaftwerkError } from "../base/index.js";

export interface RegionConfig {
  /** Length of one Raft tick. */
  readonly raftBaseTickMs: number;
  readonly raftHeartbeatTicks: number;
  /** Followers campaign after a random [1, 2) times this many ticks without a leader. Equal on all stores. */
  readonly raftElectionTicks: number;
  /** An idle region falls quiet after this many ticks, and costs none from then on. 0: never. */
  readonly quietAfterTicks: number;
  /** How long after a confirmed request the leader may read alone. */
  readonly leaseMs: number;
  /** One message of entries carries at most this many bytes. */
  readonly raftMessageBytesMax: number;
  readonly raftInflightMessagesMax: number;
  /** Sent to one replica and not acknowledged, beyond which it gets no further entries for now. */
  readonly raftInflightBytesMax: number;
  /** A proposal above this is refused (RaftEntryTooLarge). */
  readonly raftEntryBytesMax: number;
  /** Writes of a turn are gathered into one entry up to this many bytes. */
  readonly proposalBytesMax: number;
  /** Proposed and not yet applied bytes of a region; beyond it writers are told ServerIsBusy. */
  readonly uncommittedBytesMax: number;
  /** When the oldest write of a region waits for longer than this, writers are told ServerIsBusy, ... */
  readonly writeWaitMsMax: number;
  /** ... but for so many bytes under way. */
  readonly writeQueueBytesFree: number;
  /** Reads of one region that wait for a quorum or for the applied index; beyond it readers are told ServerIsBusy. */
  readonly readsWaitingMax: number;
  /** Entries kept for followers that lag by less. */
  readonly logGcThreshold: number;
  /** Beyond this many applied entries, or bytes, lagging followers are left to a snapshot. */
  readonly logGcCountLimit: number;
  readonly logGcBytesLimit: number;
  /** Bytes of recent entries kept in memory per region. */
  readonly entryCacheBytesMax: number;
  readonly leaderTransferLogLagMax: number;
}

export const DEFAULT_REGION_CONFIG: RegionConfig = Object.freeze({
  raftBaseTickMs: 100,
  raftHeartbeatTicks: 2,
  raftElectionTicks: 10,
  quietAfterTicks: 20,
  leaseMs: 800,
  raftMessageBytesMax: 1 << 20,
  raftInflightMessagesMax: 256,
  raftInflightBytesMax: 16 << 20,
  raftEntryBytesMax: 8 << 20,
  proposalBytesMax: 1 << 20,
  uncommittedBytesMax: 32 << 20,
  writeWaitMsMax: 500,
  writeQueueBytesFree: 2 << 20,
  readsWaitingMax: 16_384,
  logGcThreshold: 50,
  logGcCountLimit: 73_728,
  logGcBytesLimit: 72 << 20,
  entryCacheBytesMax: 16 << 20,
  leaderTransferLogLagMax: 128,
});

/**
 * leaseMs <= (electionTicks - 2) x tick: a follower counts its timeout in ticks, the first of which may come at once
 * after the leader's message, and one more tick of distance covers clocks of different speed (rule 15).
 */
export function validateRegionConfig(config: RegionConfig): void {
  const refuse = (reason: string): never => {
    throw new RaftwerkError("invalidConfig", reason, { retry: "never" });
  };
  if (config.raftBaseTickMs < 10) refuse("raft-base-tick-interval must be at least 10 ms");
  if (config.raftHeartbeatTicks < 1) refuse("raft-heartbeat-ticks must be at least 1");
  if (config.raftElectionTicks <= config.raftHeartbeatTicks) {
    refuse("raft-election-timeout-ticks must be greater than raft-heartbeat-ticks");
  }
  const leaseMsMax = (config.raftElectionTicks - 2) * config.raftBaseTickMs;
  if (config.leaseMs > leaseMsMax) {
    refuse(
      `raft-store-max-leader-lease must be at most ${leaseMsMax} ms: two ticks less than the election timeout`,
    );
  }
  if (config.raftInflightBytesMax < config.raftMessageBytesMax) {
    refuse("the bytes under way to a replica must allow for one message of raft-max-size-per-msg");
  }
  if (config.proposalBytesMax > config.raftEntryBytesMax) {
    refuse("a batch of writes must not be allowed to outgrow raft-entry-max-size");
  }
}
