/**
 * A failing seed as a test of its own: the reduced plan written out, so that it means the same when the drawing of
 * plans changes. What the code makes of it changes with the code: a test of the cause, beside the code, is better,
 * and this one is the way to it.
 */
import type { SeedResult } from "../run-seed.js";

export function seedScript({ plan, failure }: SeedResult): string {
  const wrong = (failure?.message ?? "nothing").split("\n")[0]?.replaceAll(/\s+/g, " ").slice(0, 90) ?? "";
  const title = `seed ${plan.seed}, reduced, breaks no invariant any more: ${wrong}`;
  return `/** Seed ${plan.seed} with as few actions as still broke an invariant when it was written. */
import { expect, it } from "vitest";
import type { Plan } from "../plan.js";
import { runSeed } from "../run-seed.js";
import { reportFailure } from "../test/report.js";
import { drain } from "../test/worker.js";

const PLAN: Plan = ${JSON.stringify(plan, null, 2)};

it(${JSON.stringify(title)}, async () => {
  const result = await runSeed(PLAN, drain);
  expect(result.failure === undefined ? "" : reportFailure(result, 25)).toBe("");
});
`;
}
