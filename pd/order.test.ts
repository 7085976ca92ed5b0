/**
 * Order of ids and timestamps over several PDs, whatever happens to them: kills, pauses, cuts, lost answers of
 * etcd, loss of its majority, hand-overs, wall clocks that jump. (invariants 25 and 26)
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PdCluster } from "./test/pd-cluster.js";
import { PDS, runSteps, type Step, Traffic } from "./test/pd-order.js";
import { runScene, SCENES } from "./test/pd-scenes.js";

const pd = fc.integer({ min: 0, max: PDS - 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("kill", "pause", "cut" as const), pd }) },
  { weight: 9, arbitrary: fc.record({ kind: fc.constantFrom("resume", "restart", "heal" as const), pd }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("handOver", "compact" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("loseQuorum" as const) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("regainQuorum" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("jumpWall" as const),
      pd,
      ms: fc.integer({ min: -100_000, max: 100_000 }),
    }),
  },
  {
    weight: 14,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 2_500 }) }),
  },
);

describe("ids and timestamps of several PDs", () => {
  test("come from a new leader only when it has stored its window, however slow etcd is [TestDelaySyncTimestamp]", () => {
    const cluster = new PdCluster(3, 3, { timeoutMs: 4_000 });
    cluster.waitForLeader();
    const traffic = new Traffic(cluster);
    const live = (ms: number): void => {
      for (let passed = 0; passed < ms; passed += 20) {
        cluster.env.advance(20);
        // `collect` compares each answer with the window that etcd holds.
        for (const process of cluster.processes) traffic.ask(process, 1 + (passed % 5) * 1_000);
        traffic.collect();
      }
    };
    live(2_000);
    for (let round = 0; round < 4; round++) {
      const old = cluster.leader();
      // The old window reaches far ahead of the clock of whoever follows.
      old.env.wallOffsetMs += 2_000;
      live(500);
      for (const process of cluster.processes) process.store.knobs.delayMs = process === old ? 1 : 400;
      cluster.kill(old.name);
      live(6_000);
      for (const process of cluster.processes) process.store.knobs.delayMs = 1;
      cluster.restart(old.name);
      live(1_000);
      const before = traffic.answered;
      live(1_000);
      expect(traffic.answered).toBeGreaterThan(before);
    }
  });

  test("are never handed out twice nor in a wrong order, whatever happens", { timeout: 120_000 }, () => {
    let answered = 0;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.array(step, { maxLength: 40 }), (seed, steps) => {
        answered += runSteps(seed, steps).answered;
      }),
      { numRuns: Number(globalThis.process?.env?.["ORDER_RUNS"] ?? 15), seed: 20_261_127 },
    );
    expect(answered).toBeGreaterThan(1_000);
  });

  test.each(SCENES.map(({ title }) => title))("keep their order through: %s", (title) => {
    const at = SCENES.findIndex((scene) => scene.title === title);
    expect(runScene(1 + at).answered).toBeGreaterThan(50);
  });
});
