/**
 * What one seed does: the shape of its cluster, the classes of faults, the actions of the nemesis, the
 * workloads. Drawn before the run from the seed alone. Whole classes are on or off, and odd sizes are drawn,
 * since no one mix of faults finds every bug, and more noise can hide one.
 */
import { randomBelow, SeededRandom } from "../base/index.js";
import type { StoreConfig } from "../store/index.js";
import type { ClusterShape } from "./cluster.js";
import { QUIET_DISK } from "./engine.js";
import { type Action, drawActions, FAULT_CLASSES, type FaultClass } from "./nemesis.js";
import { QUIET_NETWORK } from "./network.js";

export const WORKLOADS = ["registers", "sets", "counters", "hammers", "ranges", "followers"] as const;
export type WorkloadName = (typeof WORKLOADS)[number];

export interface Plan {
  readonly seed: number;
  /** How long faults last, in virtual milliseconds. */
  readonly spanMs: number;
  readonly classes: readonly FaultClass[];
  readonly actions: readonly Action[];
  readonly workloads: readonly WorkloadName[];
  readonly shape: ClusterShape;
  /** Of a million, the speed by which monotonic clocks of machines differ. */
  readonly clockRatePerMillion: number;
  /** Of a million passes of an active site of mischief in the code, how many misbehave; 0: none. */
  readonly mischiefPerMillion: number;
  /** Clients only read for some seconds now and then: leases live on reads alone, and logs do not grow. */
  readonly hasLulls: boolean;
  /** So many times longer clients rest than when they are busiest: under little load regions fall asleep. */
  readonly restFactor: number;
}

/** Either way; docs/guarantees.md asks that two clocks differ by less than 10 %. */
const CLOCK_RATES_MAX = 45_000;
/** Over before it can serve. */
const NO_LEASE_MS = 1;
const PAGE_BYTES_MIN = 200;

export interface PlanOptions {
  readonly spanMs?: number;
}

export function drawPlan(seed: number, options: PlanOptions = {}): Plan {
  const random = new SeededRandom(seed, 0x91a9);
  const chance = (percent: number): boolean => randomBelow(random, 100) < percent;
  const classes = FAULT_CLASSES.filter((kind) => chance(kind === "admin" ? 80 : 50));
  const spanMs = options.spanMs ?? 20_000;
  const meanGapMs = [150, 500, 1_500, 4_000][randomBelow(random, 4)] as number;
  const actions = drawActions(random, new Set(classes), spanMs, meanGapMs);
  const workloads = WORKLOADS.filter(() => chance(65));
  return {
    seed,
    spanMs,
    classes,
    actions,
    workloads: workloads.length === 0 ? ["registers"] : workloads,
    shape: drawShape(random, chance, classes),
    clockRatePerMillion: classes.includes("clock") ? randomBelow(random, CLOCK_RATES_MAX) : 0,
    mischiefPerMillion: chance(50) ? 20_000 + randomBelow(random, 230_000) : 0,
    hasLulls: chance(50),
    restFactor: [1, 1, 3, 8][randomBelow(random, 4)] as number,
  };
}

type Chance = (percent: number) => boolean;

function drawShape(random: SeededRandom, chance: Chance, classes: readonly FaultClass[]): ClusterShape {
  const isNoisy = classes.includes("network");
  const isSlowDisk = classes.includes("disk");
  const shape: ClusterShape = {
    stores: 3 + (chance(60) ? 1 + randomBelow(random, 2) : 0),
    clients: 1 + randomBelow(random, 4),
    storeConfig: drawStoreConfig(random, chance),
    pdConfig: {
      schedule: {
        "max-store-down-time": chance(30) ? "10s" : "30m",
        "patrol-region-interval": "100ms",
      },
    },
    network: {
      ...QUIET_NETWORK,
      latencyUs: 50 + randomBelow(random, chance(20) ? 20_000 : 500),
      jitterUs: randomBelow(random, chance(20) ? 30_000 : 500),
      slowPerMillion: isNoisy && chance(30) ? 3_000 : 0,
      slowUs: 300_000,
      raftDropPerMillion: isNoisy && chance(25) ? 20_000 : 0,
      raftRepeatPerMillion: isNoisy && chance(25) ? 20_000 : 0,
      raftReorderPerMillion: isNoisy && chance(25) ? 30_000 : 0,
      keepAliveUs: (1_000 + randomBelow(random, 9_000)) * 1_000,
    },
    disk: {
      ...QUIET_DISK,
      syncUs: 50 + randomBelow(random, isSlowDisk && chance(50) ? 20_000 : 500),
      jitterUs: randomBelow(random, isSlowDisk && chance(50) ? 20_000 : 500),
      isVisibleEarly: chance(50),
      writesAtOnce: chance(50),
      scansLater: chance(50),
    },
    clientTimeoutMs: [1_000, 3_000, 10_000][randomBelow(random, 3)] as number,
  };
  // A scan whose every page asks a quorum may need longer than a second over a slow network. (seed 1011)
  const { leaseMs, scanBytesMax } = shape.storeConfig;
  const asksForPages = leaseMs === NO_LEASE_MS && scanBytesMax === PAGE_BYTES_MIN;
  return asksForPages ? { ...shape, clientTimeoutMs: 10_000 } : shape;
}

/** Small sizes make rare paths common: splits all the time, logs cut at once, snapshots in many chunks. */
function drawStoreConfig(random: SeededRandom, chance: Chance): Partial<StoreConfig> {
  const regionSplitBytes = [400, 1_500, 6_000, 96 << 20][randomBelow(random, 4)] as number;
  const isHasty = chance(50);
  return {
    regionSplitBytes,
    regionMaxBytes: Math.floor(regionSplitBytes * 1.5),
    splitCheckTickMs: 300 + randomBelow(random, 1_000),
    logGcTickMs: isHasty ? 100 : 1_000,
    logGcThreshold: isHasty ? randomBelow(random, 12) : 50,
    logGcCountLimit: isHasty ? 10 + randomBelow(random, 30) : 1_000,
    proposalBytesMax: chance(20) ? 64 : 1 << 20,
    raftMessageBytesMax: chance(20) ? 128 : 1 << 20,
    raftInflightMessagesMax: chance(20) ? 1 + randomBelow(random, 3) : 256,
    entryCacheBytesMax: chance(20) ? 0 : 16 << 20,
    snapshotChunkBytesMax: chance(30) ? 64 + randomBelow(random, 400) : 1 << 20,
    // Without a lease all reads ask a quorum.
    leaseMs: chance(15) ? NO_LEASE_MS : 800,
    scanBytesMax: chance(30) ? PAGE_BYTES_MIN : 16 << 20,
    pdHeartbeatTickMs: 1_000 + randomBelow(random, 4_000),
    pdStoreHeartbeatTickMs: 1_000,
    peerDownMs: 5_000,
    leaderMissingMs: 5_000 + randomBelow(random, 5_000),
    snapshotTimeoutMs: 10_000,
    // Regions that fall asleep at every pause, seldom, or never.
    quietAfterTicks: [2, 5, 20, 0][randomBelow(random, 4)] as number,
    pdQuietHeartbeatTickMs: 5_000 + randomBelow(random, 10_000),
  };
}
