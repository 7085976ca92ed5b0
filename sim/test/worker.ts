/** A process that runs the seeds its parent names, one after the other. */
import { drawPlan } from "../plan.js";
import { runSeed, type SeedResult } from "../run-seed.js";
import { reportFailure } from "./report.js";

export interface SeedSummary {
  readonly seed: number;
  readonly report: string | undefined;
  readonly message: string | undefined;
  readonly trace: string;
  readonly events: number;
  readonly virtualMs: number;
  readonly probes: readonly (readonly [string, number])[];
}

/** All promises that can go on have gone on when the loop comes to its next phase. */
export const drain = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function summarize(result: SeedResult): SeedSummary {
  const { plan, failure, trace, events, virtualMs, probes } = result;
  return {
    seed: plan.seed,
    report: failure === undefined ? undefined : reportFailure(result),
    message: failure?.message,
    trace,
    events,
    virtualMs,
    probes: [...probes],
  };
}

if (process.argv.includes("--worker")) {
  process.on("message", (seed: number) => {
    void runSeed(drawPlan(seed), drain).then((result) => process.send?.(summarize(result)));
  });
  process.on("disconnect", () => process.exit(0));
}
