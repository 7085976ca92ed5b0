/**
 * The nemesis: a list of timed actions, drawn from the seed before the run begins. Since it is a list, a failing
 * run can be
 * cut down: actions are left out as long as the failure stays. What an action meets (which store leads, which
 * keys are there) is found when its time comes, by the numbers it carries.
 */
import { type Random, randomBelow } from "../base/index.js";
import { FAULTS, type FaultKind } from "./faults.js";
import type { SimCluster } from "./cluster.js";
import { DISK_BYTES } from "./engine.js";
import { TURN_US } from "./node.js";
import { MS } from "./world.js";

export const FAULT_CLASSES = ["network", "process", "pause", "clock", "disk", "admin"] as const;
export type FaultClass = (typeof FAULT_CLASSES)[number];

export interface Action {
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Chooses the target. */
  readonly target: number;
  /** Chooses the second target, the key, the size. */
  readonly detail: number;
  readonly durationMs: number;
}

export const describeAction = ({ atMs, kind, target, detail, durationMs }: Action): string =>
  `${atMs} ms ${kind} ${target} ${detail} for ${durationMs} ms`;

/** Draws actions of the given classes over `spanMs`, on average one every `meanGapMs`. */
export function drawActions(
  random: Random,
  classes: ReadonlySet<FaultClass>,
  spanMs: number,
  meanGapMs: number,
): Action[] {
  const draw = drawKinds(random, classes);
  const actions: Action[] = [];
  if (draw === undefined) return actions;
  for (
    let atMs = randomBelow(random, meanGapMs);
    atMs < spanMs;
    atMs += 1 + randomBelow(random, 2 * meanGapMs)
  ) {
    const action = drawAction(random, draw(), atMs, random.u32());
    actions.push(action);
    // Troubles seldom come alone: another befalls the same target while the first lasts.
    if (randomBelow(random, 4) === 0) {
      const laterMs = atMs + randomBelow(random, Math.max(10, Math.min(action.durationMs, 2_000)));
      actions.push(drawAction(random, draw(), laterMs, action.target));
    }
  }
  return actions.sort((left, right) => left.atMs - right.atMs);
}

/** In one seed of three only so many kinds happen, again and again: two that have to meet do so. */
const FEW_KINDS = [2, 3, 4, 6] as const;

/**
 * Which kinds a seed has, and how often each. Of the kinds of a class some are left out, so that one kind is seen alone
 * often enough. One in three draws a class first: a class of few kinds has its share then.
 */
function drawKinds(random: Random, classes: ReadonlySet<FaultClass>): (() => FaultKind) | undefined {
  const all = (Object.keys(FAULTS) as FaultKind[]).filter((kind) => classes.has(FAULTS[kind].class));
  if (all.length === 0) return undefined;
  const pick = <T>(from: readonly T[]): T => from[randomBelow(random, from.length)] as T;
  const byClass = (kinds: readonly FaultKind[]): (() => FaultKind) => {
    const groups = [...classes]
      .map((each) => kinds.filter((kind) => FAULTS[kind].class === each))
      .filter((group) => group.length > 0);
    return () => pick(pick(groups));
  };
  const chosen = all.filter(() => randomBelow(random, 3) !== 0);
  const usable = chosen.length === 0 ? all : chosen;
  switch (randomBelow(random, 3)) {
    case 0: {
      const drawOne = byClass(all);
      const few = Array.from({ length: pick(FEW_KINDS) }, drawOne);
      return () => pick(few);
    }
    case 1:
      return byClass(usable);
    default:
      return () => pick(usable);
  }
}

function drawAction(random: Random, kind: FaultKind, atMs: number, target: number): Action {
  const { durationMsMax } = FAULTS[kind];
  return { atMs, kind, target, detail: random.u32(), durationMs: drawDuration(random, durationMsMax) };
}

/** Of an election take about a second: shorter ones, such as end around it, and long ones are as likely. */
function drawDuration(random: Random, maxMs: number): number {
  const [fromMs, spreadMs] = [
    [5, 700],
    [800, 1_700],
    [5, maxMs],
  ][randomBelow(random, 3)] as [number, number];
  return Math.min(fromMs + randomBelow(random, spreadMs), maxMs + 5);
}

/** Sets the actions to happen; each ends by itself, and those that last beyond the span are ended by `heal`. */
export function unleash(cluster: SimCluster, actions: readonly Action[]): void {
  for (const action of actions) {
    cluster.world.at(action.atMs * MS, `nemesis ${action.kind}`, () => {
      const done = FAULTS[action.kind].begin(cluster, action);
      cluster.world.note(describeAction(action));
      if (done !== undefined) cluster.world.at(action.durationMs * MS, `end of ${action.kind}`, done);
    });
  }
}

const CALM_NETWORK = {
  raftDropPerMillion: 0,
  raftRepeatPerMillion: 0,
  raftReorderPerMillion: 0,
  slowPerMillion: 0,
};

/** All faults end: links, processes, pauses, disks. Clocks keep their rate, which is within what is promised. */
export function heal(cluster: SimCluster): void {
  cluster.network.watchers.clear();
  cluster.network.healAll();
  Object.assign(cluster.network.knobs, CALM_NETWORK);
  for (const victim of cluster.processes) {
    victim.isHeldDown = false;
    victim.disk.watchers.clear();
    if (!victim.disk.hasFailed) victim.disk.failure = undefined;
    Object.assign(victim.disk.knobs, {
      stallPerMillion: 0,
      syncUs: cluster.shape.disk.syncUs,
      availableBytes: DISK_BYTES,
    });
    victim.node.turnUs = TURN_US;
    if (victim.node.isPaused) victim.node.goOn();
    cluster.restart(victim);
  }
}
