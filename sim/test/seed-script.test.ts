/** A failing seed becomes a test: the text that is written, and that its plan is the whole plan. */
import { expect, it } from "vitest";
import { drawPlan, type Plan } from "../plan.js";
import type { SeedResult } from "../run-seed.js";
import { Violation } from "../world.js";
import { seedScript } from "./seed-script.js";

const resultOf = (plan: Plan, failure: Error | undefined): SeedResult =>
  ({ plan, failure, lines: [] }) as unknown as SeedResult;

it("a seed's script holds its whole plan, and names what was broken", () => {
  const plan = drawPlan(236);
  const text = seedScript(resultOf(plan, new Violation("20", 'k is "old"\nand more')));
  const written = /const PLAN: Plan = (\{[\s\S]*?\n\});/.exec(text)?.[1] ?? "";
  expect(JSON.parse(written)).toEqual(plan);
  const title = /^it\((".*"), async/m.exec(text)?.[1] ?? "";
  expect(JSON.parse(title)).toMatch(/^seed 236, reduced, breaks no invariant any more: .*k is "old"$/);
});

it("a plan survives being written: nothing in it is undefined or no JSON", () => {
  for (const seed of [1, 7, 99]) {
    const plan = drawPlan(seed);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  }
});
