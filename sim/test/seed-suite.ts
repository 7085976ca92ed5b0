/** Seeds as tests, ten in each, so that a failure names its seeds and the others still run. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type SeedProcess, SeedProgram } from "./pool.js";

const SEEDS_PER_TEST = 10;
/** One seed in so many runs a second time, in another process. */
const TWICE_EVERY = 20;

/** Two test files share the seeds, one a processor. */
export function seedSuite(from: number, count: number): void {
  describe("the simulated cluster under faults", () => {
    const traces = new Map<number, string>();
    let program: SeedProgram;
    let process: SeedProcess;
    beforeAll(async () => {
      program = await SeedProgram.build();
      process = program.start();
    });
    afterAll(() => {
      process.stop();
      program.remove();
    });

    for (let first = from; first < from + count; first += SEEDS_PER_TEST) {
      const last = first + SEEDS_PER_TEST - 1;
      it(`breaks no invariant in seeds ${first} to ${last}`, { timeout: 240_000 }, async () => {
        for (let seed = first; seed <= last; seed++) {
          const { report, trace } = await process.run({ seed });
          expect(report ?? "").toBe("");
          traces.set(seed, trace);
        }
      });
    }

    it("does the same for the same seed in another process", { timeout: 240_000 }, async () => {
      const other = program.start();
      for (const [seed, trace] of traces) {
        if (seed % TWICE_EVERY === 0)
          expect(`${seed} ${(await other.run({ seed })).trace}`).toBe(`${seed} ${trace}`);
      }
      other.stop();
      expect(new Set(traces.values()).size).toBe(traces.size);
    });
  });
}
