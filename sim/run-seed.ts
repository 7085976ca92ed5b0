/**
 * One seed from beginning to end. First safety: faults for a while, nothing promised but that no invariant
 * breaks. Then liveness: everything is healed, and within a bound the cluster must come to rest, serve every
 * key and show that it lost nothing.
 */
import { SeededRandom } from "../base/index.js";
import { RetryRate } from "./checkers/bounded-retry.js";
import type { RegisterOperation } from "./checkers/linearizability.js";
import { leftOpen } from "./checkers/leaks.js";
import { Logs } from "./checkers/logs.js";
import { Peers } from "./checkers/peers.js";
import { disksDiffer, unrest } from "./checkers/quiescence.js";
import { firstDifference, rowsOf } from "./checkers/recovery.js";
import { SimCluster } from "./cluster.js";
import { heal, unleash } from "./nemesis.js";
import type { LogLine } from "./node.js";
import type { Plan, WorkloadName } from "./plan.js";
import { Counters } from "./workloads/counters.js";
import { Followers } from "./workloads/followers.js";
import { Hammers } from "./workloads/hammers.js";
import { Ranges } from "./workloads/ranges.js";
import { Registers } from "./workloads/registers.js";
import { Sets } from "./workloads/sets.js";
import type { Workload, WorkloadStage } from "./workloads/workload.js";
import { type Drain, MS, Violation, World } from "./world.js";

/** Healed, a cluster must be at rest within this time. */
const REST_MS = 90_000;
/** One seed in so many loses all power at rest. */
const RECOVER_EVERY = 3;

export interface SeedResult {
  readonly plan: Plan;
  readonly failure: Error | undefined;
  readonly trace: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly probes: ReadonlyMap<string, number>;
  /** Of registers, by key. */
  readonly histories: ReadonlyMap<string, readonly RegisterOperation[]>;
  /** What the processes said last, in order. */
  readonly lines: readonly LogLine[];
}

const MAKERS: Readonly<Record<WorkloadName, new (stage: WorkloadStage) => Workload>> = {
  registers: Registers,
  sets: Sets,
  counters: Counters,
  hammers: Hammers,
  ranges: Ranges,
  followers: Followers,
};

export async function runSeed(plan: Plan, drain: Drain): Promise<SeedResult> {
  const world = new World(plan.seed, drain);
  const cluster = new SimCluster(world, plan.shape);
  const stage: WorkloadStage = {
    world,
    cluster,
    random: new SeededRandom(plan.seed, 0x3017),
    histories: new Map(),
    isOver: false,
    hasLulls: plan.hasLulls,
    restFactor: plan.restFactor,
    stepsUnderWay: 0,
    succeeded: 0,
    failed: 0,
    underWay: 0,
  };
  let failure: Error | undefined;
  try {
    await phases(plan, stage);
  } catch (error) {
    failure = error as Error;
  }
  return {
    plan,
    failure,
    trace: world.trace.value,
    events: world.events,
    virtualMs: Math.round(world.nowUs / MS),
    succeeded: stage.succeeded,
    failed: stage.failed,
    probes: world.probes,
    histories: stage.histories,
    lines: [...world.lines, ...world.nodes.flatMap(({ lines }) => lines)].sort(
      (left, right) => left.atUs - right.atUs,
    ),
  };
}

async function phases(plan: Plan, stage: WorkloadStage): Promise<void> {
  const { world, cluster } = stage;
  const logs = Logs.watch(cluster);
  Peers.watch(cluster, logs);
  RetryRate.watch(cluster);
  await cluster.start(() => drawClocks(plan, cluster));
  const workloads = plan.workloads.map((name) => new MAKERS[name](stage));
  for (const workload of workloads) workload.start();
  world.mischiefPerMillion = plan.mischiefPerMillion;
  unleash(cluster, plan.actions);
  await world.run(world.nowUs + plan.spanMs * MS);
  world.mischiefPerMillion = 0;
  heal(cluster);
  await world.run(world.nowUs + 3_000 * MS);
  stage.isOver = true;
  await comeToRest(stage);
  const differ = disksDiffer(cluster);
  if (differ !== undefined) throw new Violation("15 16 32 disks", differ);
  const leak = leftOpen(cluster);
  if (leak !== undefined) throw new Violation("32 leak", leak);
  if (plan.seed % RECOVER_EVERY === 0) await recoverTwice(stage);
  await judge(stage, workloads);
}

/** All power fails, and again while everything starts. */
async function recoverTwice(stage: WorkloadStage): Promise<void> {
  const { world, cluster } = stage;
  // What a client still tries may take effect after the power is back: it must have ended first.
  await world.run(world.nowUs + 60_000 * MS, () => stage.underWay === 0);
  if (stage.underWay > 0) throw new Violation("24 retry", `${stage.underWay} operations do not end`);
  await comeToRest(stage);
  const before = rowsOf(cluster);
  for (let round = 0; round < 2; round++) {
    for (const victim of cluster.processes) cluster.crash(victim, true);
    for (const victim of cluster.processes) cluster.restart(victim);
    await world.run(world.nowUs + (world.random.u32() % 30) * MS);
  }
  await comeToRest(stage);
  const difference = firstDifference(before, rowsOf(cluster)) ?? disksDiffer(cluster);
  if (difference !== undefined) throw new Violation("29 30 recovery", difference);
}

/** Clocks of machines run at speeds that differ by what is allowed. */
function drawClocks(plan: Plan, { world }: SimCluster): void {
  if (plan.clockRatePerMillion === 0) return;
  for (const { clock, random } of world.nodes) {
    const spread = 2 * plan.clockRatePerMillion;
    clock.rate = 1 + ((random.u32() % spread) - plan.clockRatePerMillion) / 1_000_000;
  }
}

async function comeToRest(stage: WorkloadStage): Promise<void> {
  const { world, cluster } = stage;
  const replicas = 3;
  const untilUs = world.nowUs + REST_MS * MS;
  const reason = (): string | undefined =>
    unrest(cluster, replicas) ??
    (stage.stepsUnderWay > 0 ? `clients wait for ${stage.stepsUnderWay} operations` : undefined);
  let why = reason();
  let calm = 0;
  while (calm < 3) {
    if (world.nowUs >= untilUs)
      throw new Violation("33 liveness", `not at rest ${REST_MS} ms after healing: ${why}`);
    // Actions that began before may still end, or a process end itself.
    heal(cluster);
    await world.run(world.nowUs + 500 * MS);
    why = reason();
    calm = why === undefined ? calm + 1 : 0;
  }
}

async function judge(stage: WorkloadStage, workloads: readonly Workload[]): Promise<void> {
  const { world } = stage;
  let isJudged = false;
  const all = (async () => {
    for (const workload of workloads) await workload.check();
  })()
    .catch((error: Error) => world.fail(error))
    .finally(() => {
      isJudged = true;
    });
  await world.run(world.nowUs + 60_000 * MS, () => isJudged);
  if (!isJudged) throw new Violation("33 liveness", "clients could not read everything within 60 s of rest");
  await all;
  if (world.failure !== undefined) throw world.failure;
  // Under the worst faults little succeeds, which proves little: it is counted. That nothing does is a failure.
  if (stage.succeeded < 20) world.probe("a run in which next to nothing succeeded");
  if (stage.succeeded === 0) throw new Violation("33 liveness", "no operation succeeded at all");
}
