/**
 * The scenes of `test/cluster/pd-faults.etcd.cluster.test.ts` under virtual time: each seed takes one of them, at other
 * moments, with other delays and something else that happens besides.
 */
import { randomBelow, SeededRandom } from "../../base/index.js";
import type { Seams } from "./pd-cluster.js";
import { PDS, type RunFigures, runSteps, type Step } from "./pd-order.js";

export interface PdScene {
  readonly title: string;
  readonly steps: (random: SeededRandom) => readonly Step[];
}

const between = (random: SeededRandom, min: number, max: number): number =>
  min + randomBelow(random, max - min + 1);
const wait = (random: SeededRandom, min: number, max: number): Step => ({
  kind: "wait",
  ms: between(random, min, max),
});
/** Which of the three leads is not known to a list of steps: all are hit in turn where it matters. */
const each = (make: (pd: number) => readonly Step[]): Step[] =>
  Array.from({ length: PDS }, (_, pd) => make(pd)).flat();
const one = (random: SeededRandom): number => randomBelow(random, PDS);

export const SCENES: readonly PdScene[] = [
  {
    title: "kill -9 of each PD in turn",
    steps: (random) =>
      each((pd) => [
        { kind: "kill", pd },
        wait(random, 1, 4_000),
        { kind: "restart", pd },
        wait(random, 1, 2_000),
      ]),
  },
  {
    title: "a PD that is stopped and wakes after its lease",
    steps: (random) =>
      each((pd) => [
        { kind: "pause", pd },
        wait(random, 2_000, 5_000),
        { kind: "resume", pd },
        wait(random, 1, 1_000),
      ]),
  },
  {
    title: "a PD that is stopped for less than its lease, again and again",
    steps: (random) =>
      each((pd) => [
        { kind: "pause", pd },
        wait(random, 1, 1_900),
        { kind: "resume", pd },
        wait(random, 1, 500),
      ]),
  },
  {
    title: "hand-overs, one after the other",
    steps: (random) => Array.from({ length: 12 }, () => handOver(random)).flat(),
  },
  {
    title: "two PDs killed at once",
    steps: (random) => {
      const left = one(random);
      const lost = [0, 1, 2].filter((pd) => pd !== left);
      const kills = lost.map((pd): Step => ({ kind: "kill", pd }));
      return [...kills, wait(random, 3_000, 6_000), ...lost.map((pd): Step => ({ kind: "restart", pd }))];
    },
  },
  {
    title: "each PD cut off from etcd in turn",
    steps: (random) =>
      each((pd) => [
        { kind: "cut", pd },
        wait(random, 500, 5_000),
        { kind: "heal", pd },
        wait(random, 1, 1_500),
      ]),
  },
  {
    title: "etcd without a majority for a while",
    steps: (random) => [
      { kind: "loseQuorum" },
      wait(random, 1, 8_000),
      { kind: "regainQuorum" },
      wait(random, 1, 4_000),
    ],
  },
  {
    title: "etcd elects again and again",
    steps: (random) =>
      Array.from({ length: 8 }, () => [
        { kind: "loseQuorum" } as const,
        wait(random, 1, 900),
        { kind: "regainQuorum" } as const,
        wait(random, 1, 900),
      ]).flat(),
  },
  {
    title: "a PD killed while etcd has no majority",
    steps: (random) => {
      const pd = one(random);
      return [
        { kind: "loseQuorum" },
        wait(random, 1, 1_500),
        { kind: "kill", pd },
        wait(random, 1, 1_500),
        { kind: "regainQuorum" },
        wait(random, 1, 3_000),
        { kind: "restart", pd },
      ];
    },
  },
  {
    title: "a PD that is stopped while etcd elects",
    steps: (random) => {
      const pd = one(random);
      return [
        { kind: "pause", pd },
        { kind: "loseQuorum" },
        wait(random, 1, 3_000),
        { kind: "regainQuorum" },
        wait(random, 1, 3_000),
        { kind: "resume", pd },
      ];
    },
  },
  {
    title: "etcd forgets its history under watches that are cut",
    steps: (random) => {
      const pd = one(random);
      return [
        { kind: "cut", pd },
        handOverStep,
        wait(random, 500, 3_000),
        { kind: "compact" },
        { kind: "heal", pd },
      ];
    },
  },
  {
    title: "wall clocks an hour apart",
    steps: (random) => [
      { kind: "jumpWall", pd: 0, ms: 3_600_000 },
      { kind: "jumpWall", pd: 1, ms: -3_600_000 },
      ...Array.from({ length: 6 }, () => handOver(random)).flat(),
    ],
  },
  {
    title: "a wall clock that jumps under the leader, both ways",
    steps: (random) =>
      each((pd) => [
        { kind: "jumpWall", pd, ms: between(random, -20_000, 20_000) },
        wait(random, 1, 800),
        { kind: "jumpWall", pd, ms: between(random, -20_000, 20_000) },
        ...handOver(random),
      ]),
  },
  {
    title: "all PDs killed and started again",
    steps: (random) => [
      ...each((pd) => [{ kind: "kill", pd }]),
      wait(random, 1, 4_000),
      ...each((pd) => [{ kind: "restart", pd }, wait(random, 1, 700)]),
    ],
  },
  {
    title: "a hand-over to one that is killed at that moment",
    steps: (random) =>
      each((pd) => [
        { kind: "handOver" },
        wait(random, 1, 60),
        { kind: "kill", pd },
        wait(random, 1, 3_000),
        { kind: "restart", pd },
        wait(random, 200, 1_500),
      ]),
  },
];

const handOverStep: Step = { kind: "handOver" };
function handOver(random: SeededRandom): Step[] {
  return [handOverStep, wait(random, 1, 1_200)];
}

/** One more thing that goes wrong, at any moment. */
function besides(random: SeededRandom): Step[] {
  const pd = one(random);
  switch (randomBelow(random, 5)) {
    case 0:
      return [{ kind: "kill", pd }, wait(random, 1, 300), { kind: "restart", pd }];
    case 1:
      return [{ kind: "cut", pd }, wait(random, 1, 600), { kind: "heal", pd }];
    case 2:
      return [{ kind: "pause", pd }, wait(random, 1, 600), { kind: "resume", pd }];
    case 3:
      return [{ kind: "compact" }];
    default:
      return [];
  }
}

/** Throws where order is broken, or where nobody serves once all is well again. */
export function runScene(seed: number, seams: Seams = {}): RunFigures {
  const random = new SeededRandom(seed);
  const scene = SCENES[(seed - 1) % SCENES.length] as PdScene;
  const steps = [wait(random, 1, 2_500), ...scene.steps(random)];
  const at = randomBelow(random, steps.length);
  return runSteps(seed, [...steps.slice(0, at), ...besides(random), ...steps.slice(at)], seams);
}
