/** A few seeds of the group's simulator; `npm run group:sim -- --seeds 1000` runs many. */
import { expect, test } from "vitest";
import { runSeed } from "./test/sim-seed.js";

const SEEDS = 30;

test(`${SEEDS} seeds of a group under faults keep all promises`, async () => {
  let succeeded = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const report = await runSeed(seed);
    expect(report.failure, `seed ${seed}`).toBeUndefined();
    succeeded += report.succeeded;
  }
  expect(succeeded).toBeGreaterThan(SEEDS * 100);
}, 120_000);

test("a seed does the same each time", async () => {
  const [first, second] = [await runSeed(7), await runSeed(7)];
  expect(second.trace).toBe(first.trace);
});
