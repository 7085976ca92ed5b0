/** The first hundred seeds. The next hundred are in a file of their own, for a second processor. */
import { expect, it } from "vitest";
import { drawPlan } from "./plan.js";
import { runSeed } from "./run-seed.js";
import { drain } from "./test/worker.js";
import { seedSuite } from "./test/seed-suite.js";

seedSuite(1, 100);

it("gives the same trace for the same seed, and another for another", async () => {
  const run = async (seed: number): Promise<string> =>
    (await runSeed(drawPlan(seed, { spanMs: 2_000 }), drain)).trace;
  const first = await run(7);
  expect(await run(7)).toBe(first);
  expect(await run(8)).not.toBe(first);
});
