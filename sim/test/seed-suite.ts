/** Seeds as tests, ten in each, so that a failure names its seeds and the others still run. */
import { describe, expect, it } from "vitest";
import { drawPlan } from "../plan.js";
import { runSeed } from "../run-seed.js";
import { reportFailure } from "./report.js";
import { drain } from "./worker.js";

const SEEDS_PER_TEST = 10;

/** Two test files share the seeds, one a processor. */
export function seedSuite(from: number, count: number): void {
  describe("the simulated cluster under faults", () => {
    for (let first = from; first < from + count; first += SEEDS_PER_TEST) {
      const last = first + SEEDS_PER_TEST - 1;
      it(`breaks no invariant in seeds ${first} to ${last}`, { timeout: 120_000 }, async () => {
        for (let seed = first; seed <= last; seed++) {
          const result = await runSeed(drawPlan(seed), drain);
          expect(result.failure === undefined ? "" : reportFailure(result, 25)).toBe("");
        }
      });
    }
  });
}
