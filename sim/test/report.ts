/**
 * A failing seed in a form that a person can read: what broke, how to see it again, and what happened last, a lane
 * a node.
 */
import { describeAction } from "../nemesis.js";
import type { SeedResult } from "../run-seed.js";

const LINES_MAX = 60;
const TEXT_MAX = 150;

export function reportFailure(result: SeedResult, linesMax = LINES_MAX): string {
  const { plan, failure } = result;
  const nodes = [...new Set(result.lines.map(({ node }) => node))].sort();
  const lane = (node: string): string => nodes.map((each) => (each === node ? "●" : "·")).join(" ");
  const last = result.lines.slice(-linesMax).map(({ atUs, node, text }) => {
    const seconds = (atUs / 1e6).toFixed(4).padStart(9);
    return `${seconds} ${lane(node)} ${node.padEnd(8)} ${text.slice(0, TEXT_MAX)}`;
  });
  return [
    `seed ${plan.seed} FAILED after ${(result.virtualMs / 1000).toFixed(1)} virtual seconds, ${result.events} events`,
    `  ${failure?.message ?? "no failure"}`,
    `  faults: ${plan.classes.join(", ") || "none"}; workloads: ${plan.workloads.join(", ")}; ${plan.actions.length} actions`,
    `  again: npm run sim -- --seed ${plan.seed} --seeds 1 --verbose   smaller: --shrink   as a test: --script sim/scripts/seed-${plan.seed}.test.ts`,
    `  lanes: ${nodes.join(" ")}`,
    ...last,
  ].join("\n");
}

export const reportPlan = (result: SeedResult): string =>
  result.plan.actions.map((action) => `  ${describeAction(action)}`).join("\n");
