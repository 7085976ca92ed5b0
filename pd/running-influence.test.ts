/** What the running operators will change of the stores' figures is kept up, and must be what counting anew gives. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { addInfluence, type Influence, type OperatorPriority } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { World } from "./test/world.js";

const STORES = 5;
const REGIONS = 3;
const PLACEMENTS = Array.from({ length: REGIONS }, (_, i) => [0, 1, 2].map((p) => 1 + ((i + p) % STORES)));
const LIMITS = "leader region hot-region merge replica".split(" ");

const region = fc.nat(REGIONS - 1);
const store = fc.integer({ min: 1, max: STORES });
const priority = fc.constantFrom<OperatorPriority>("medium", "high", "urgent");
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("move" as const), region, store, priority }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("transfer" as const), region, store, priority }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel" as const), region }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("resize" as const),
      region,
      sizeMib: fc.integer({ min: 1, max: 200 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("forget" as const), region }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("silence" as const), store }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(10, 600, 5_000) }),
  },
  // Longer than any operator may take.
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("outlast" as const), ms: fc.constant(3_600_000) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Whether an operator was asked for and begun. */
function begin(
  world: World,
  { region, store, priority, kind }: Step & { kind: "move" | "transfer" },
): boolean {
  const made = [...world.regions.values()][region];
  const record = world.scheduling.cluster.regions.byId(made?.id ?? 0);
  if (record?.leader === undefined) return false;
  const builder = new OperatorBuilder(world.view, "test", record);
  const { peers } = record.meta;
  if (kind === "transfer") builder.setLeader(store);
  else {
    const from = peers.find((peer) => peer.storeId !== record.leader?.storeId);
    if (from === undefined || peers.some((peer) => peer.storeId === store)) return false;
    builder.addPeer(store, "voter").removePeer(from.storeId);
  }
  const built = builder.build(["region"], priority);
  return built.kind === "built" && world.scheduling.controller.add(built.operator) === undefined;
}

function take(world: World, taken: Step): boolean {
  const idOf = (index: number): number => [...world.regions.keys()][index] ?? 0;
  switch (taken.kind) {
    case "move":
    case "transfer":
      return begin(world, taken);
    case "cancel":
      world.scheduling.controller.cancel(idOf(taken.region), "test");
      return false;
    case "resize": {
      const fake = world.regions.get(idOf(taken.region));
      if (fake !== undefined) {
        fake.sizeMib = taken.sizeMib;
        if (!world.deadStores.has(fake.leaderStore)) world.report(fake);
      }
      return false;
    }
    case "forget":
      world.scheduling.cluster.removeRegion(idOf(taken.region));
      return false;
    case "silence":
      if (!world.deadStores.delete(taken.store)) world.deadStores.add(taken.store);
      return false;
    case "wait":
      world.advance(taken.ms);
      return false;
    case "outlast":
      // Without what was due in it.
      world.harness.env.spend(taken.ms);
      world.harness.env.advance(600);
      return false;
  }
}

function countedAnew({ scheduling }: World): Influence {
  const sum: Influence = new Map();
  for (const operator of scheduling.controller.operators()) {
    const record = scheduling.cluster.regions.byId(operator.regionId);
    if (record !== undefined) addInfluence(sum, operator, record);
  }
  for (const [id, part] of sum) if (Object.values(part).every((figure) => figure === 0)) sum.delete(id);
  return sum;
}

test("after any adds, steps, cancels and time-outs the kept influence is that of the operators that run", () => {
  let begun = 0;
  const ends = new Set<string>();
  fc.assert(
    fc.property(fc.array(step, { minLength: 4, maxLength: 24 }), (steps) => {
      const schedule = Object.fromEntries(LIMITS.map((kind) => [`${kind}-schedule-limit`, 0]));
      const world = new World({ stores: STORES, schedule, obeys: true });
      world.addRegions(PLACEMENTS, 20);
      const { controller } = world.scheduling;
      controller.onEnded = ({ state }) => void ends.add(state);
      for (const each of steps) {
        if (take(world, each)) begun += 1;
        expect(world.view.influence()).toEqual(countedAnew(world));
      }
    }),
    { numRuns: 50, seed: 1 },
  );
  expect(begun).toBeGreaterThan(40);
  expect([...ends].sort()).toEqual(expect.arrayContaining(["canceled", "replaced", "success", "timeout"]));
});
