/** What a seed draws before its first step: the group, the options of its nodes, and how bad its world is. */
import type { SeededRandom } from "../../base/random.js";
import type { ConfigInit } from "../config.js";

export interface FuzzOptions {
  readonly nodes: number;
  readonly voters: number;
  /** The same for all nodes, but for what names a node. */
  readonly config: Partial<ConfigInit> & {
    readonly electionTicks: number;
    readonly asyncStorageWrites: boolean;
    readonly checkQuorum: boolean;
  };
  /** By id; undefined when all are equal. */
  readonly priorities: boolean;
  readonly lossPercent: number;
  readonly repeatPercent: number;
  readonly reorderPercent: number;
  readonly delayPercent: number;
  readonly crashes: boolean;
  readonly partitions: boolean;
  readonly pauses: boolean;
  readonly confChanges: boolean;
  readonly compactions: boolean;
  readonly snapshotRequests: boolean;
  /** Faults that are aimed at leaders. */
  readonly strikes: boolean;
  /** Calm and storm take turns. */
  readonly weather: boolean;
  /** Changes that replace many at once, and stay joint for long. */
  readonly replacements: boolean;
  /** Entries to send are not at hand at first; snapshots not always. */
  readonly slowReads: boolean;
  /** Weights of the kinds of steps. */
  readonly weights: {
    readonly deliver: number;
    readonly ready: number;
    readonly write: number;
    readonly acknowledge: number;
    readonly apply: number;
    readonly tick: number;
    readonly propose: number;
    readonly read: number;
    readonly fault: number;
  };
}

/** Small groups and odd ones are most common. */
const SIZES = [1, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 7];

export function drawOptions(random: SeededRandom): FuzzOptions {
  const below = (bound: number): number => random.u32() % bound;
  const chance = (percent: number): boolean => below(100) < percent;
  const percent = (when: number, most: number): number => (chance(when) ? 1 + below(most) : 0);
  const nodes = SIZES[below(SIZES.length)] as number;
  return {
    nodes,
    voters: chance(60) ? nodes : 1 + below(nodes),
    config: drawConfig(below, chance),
    priorities: chance(15),
    lossPercent: percent(60, 25),
    repeatPercent: percent(50, 20),
    reorderPercent: percent(70, 40),
    delayPercent: percent(40, 20),
    crashes: chance(70),
    partitions: chance(60),
    pauses: chance(40),
    confChanges: chance(60),
    compactions: chance(70),
    snapshotRequests: chance(20),
    strikes: chance(60),
    weather: chance(60),
    replacements: chance(40),
    slowReads: chance(20),
    weights: {
      deliver: 30 + below(30),
      ready: 15 + below(20),
      // Disks slower than the network leave much that is neither durable nor known to be.
      write: chance(30) ? 3 : 8 + below(12),
      acknowledge: chance(30) ? 3 : 8 + below(12),
      apply: chance(30) ? 2 : 6 + below(8),
      tick: chance(20) ? 2 : 4 + below(12),
      propose: 2 + below(6),
      read: chance(30) ? 6 + below(6) : below(6),
      fault: chance(30) ? 1 : 2 + below(8),
    },
  };
}

function drawConfig(
  below: (bound: number) => number,
  chance: (percent: number) => boolean,
): FuzzOptions["config"] {
  const electionTicks = 3 + below(4);
  const checkQuorum = chance(60);
  const asyncStorageWrites = chance(70);
  const maxSizePerMessageBytes = [0, 40, 120, 1 << 20][below(4)] as number;
  const isRange = chance(15);
  return {
    electionTicks,
    heartbeatTicks: chance(70) ? 1 : 2,
    ...(isRange ? { minElectionTicks: electionTicks, maxElectionTicks: electionTicks * 2 + below(9) } : {}),
    asyncStorageWrites,
    preVote: chance(60),
    checkQuorum,
    readOnlyOption: checkQuorum && chance(35) ? "leaseBased" : "safe",
    maxSizePerMessageBytes,
    maxCommittedSizePerReadyBytes: chance(25) ? 1 + below(80) : 0,
    maxUncommittedEntriesBytes: chance(20) ? 1 + below(100) : 0,
    maxInflightMessages: chance(25) ? 1 : 1 + below(256),
    maxInflightBytes: chance(20) ? maxSizePerMessageBytes + 1 + below(60) : 0,
    maxPendingReads: chance(20) ? below(3) : 10_000,
    disableProposalForwarding: chance(20),
    disableConfChangeValidation: chance(10),
    stepDownOnRemoval: chance(50),
    commitInResponses: chance(20),
    batchAppend: chance(20),
    skipBroadcastCommit: chance(20),
    commitByVote: chance(25),
    groupCommit: chance(10),
    maxApplyUnpersistedEntries: asyncStorageWrites && chance(20) ? 1 + below(6) : 0,
  };
}
