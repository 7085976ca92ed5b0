import { expect, test } from "vitest";
import { runSeed } from "./test/fuzz.js";

const SEEDS = 1_000;

test("under faults no invariant breaks, and without them the group goes on", { timeout: 120_000 }, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = runSeed(seed);
    const words = result.kind === "failed" ? [String(result.error.stack), ...result.events].join("\n") : "";
    expect(words, `npm run raft:fuzz -- --seeds 1 --seed ${seed}`).toBe("");
  }
});

test("the same seed gives the same run", () => {
  for (const seed of [3, 77, 4_711]) {
    const first = runSeed(seed);
    expect(first.kind).toBe("passed");
    expect(runSeed(seed)).toEqual(first);
  }
  expect(runSeed(3)).not.toEqual(runSeed(4));
});
