/** A process that runs the seeds its parent names, one after the other. */
import { drawPlan, type PlanOptions } from "../plan.js";
import { runSeed, type SeedResult } from "../run-seed.js";
import { reportFailure } from "./report.js";

export interface SeedOrder {
  readonly seed: number;
  readonly options?: PlanOptions;
}

export interface SeedSummary {
  readonly seed: number;
  readonly report: string | undefined;
  readonly message: string | undefined;
  readonly trace: string;
  readonly events: number;
  readonly virtualMs: number;
  /** Of the processor. */
  readonly seconds: number;
  readonly heapBytes: number;
  readonly probes: readonly (readonly [string, number])[];
}

/** Node comes to what was put off to its next tick when no promise is left that can go on. */
export const drain = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

function summarize(result: SeedResult, seconds: number): SeedSummary {
  const { plan, failure, trace, events, virtualMs, probes } = result;
  return {
    seed: plan.seed,
    report: failure === undefined ? undefined : reportFailure(result),
    message: failure?.message,
    trace,
    events,
    virtualMs,
    seconds,
    heapBytes: process.memoryUsage().heapUsed,
    probes: [...probes],
  };
}

async function answer({ seed, options }: SeedOrder): Promise<void> {
  const before = process.cpuUsage();
  const result = await runSeed(drawPlan(seed, options), drain);
  const { user, system } = process.cpuUsage(before);
  // Whoever asked may be gone: then nobody wants to know.
  process.send?.(summarize(result, (user + system) / 1e6), () => {});
}

if (process.argv.includes("--worker")) {
  process.on("message", (order: SeedOrder) => void answer(order));
  process.on("disconnect", () => process.exit(0));
}
