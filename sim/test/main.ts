/**
 * `npm run sim -- --seeds N [--seed S] [--minutes M] [--jobs J] [--verbose] [--shrink] [--stop-at-first]`: runs seeds on all
 * cores. One seed in twenty is run twice, by two processes, and must do the same. Ends with `N seeds passed, M failed`.
 */
import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawPlan } from "../plan.js";
import { runSeed } from "../run-seed.js";
import { reportFailure, reportPlan } from "./report.js";
import { shrink } from "./shrink.js";
import { drain, type SeedSummary } from "./worker.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
    verbose: { type: "boolean", default: false },
    shrink: { type: "boolean", default: false },
    "stop-at-first": { type: "boolean", default: false },
  },
});

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const isRepeated = (seed: number): boolean => seed % 20 === 0;

interface Totals {
  passed: number;
  failed: number;
  events: number;
  virtualMs: number;
  readonly probes: Map<string, number>;
  readonly traces: Map<number, string>;
}

function take(summary: SeedSummary, totals: Totals): void {
  const { seed, report, trace, events, virtualMs, probes } = summary;
  const before = totals.traces.get(seed);
  if (isRepeated(seed)) totals.traces.set(seed, trace);
  const differs = before !== undefined && before !== trace;
  totals.events += events;
  totals.virtualMs += virtualMs;
  for (const [name, count] of probes) totals.probes.set(name, (totals.probes.get(name) ?? 0) + count);
  if (differs) print(`seed ${seed} FAILED: two runs of it differ, ${before} and ${trace}`);
  if (report !== undefined && before === undefined) print(report);
  if (report !== undefined || differs) totals.failed++;
  else if (before === undefined) totals.passed++;
}

/** Runs seeds until there are no more, time is up, or one failed and the first is enough. */
function runAll(from: number, count: number, totals: Totals): Promise<void> {
  const started = performance.now();
  const untilMs = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes) * 60_000;
  const seeds: number[] = [];
  for (let seed = from; seed < from + count; seed++)
    seeds.push(...(isRepeated(seed) ? [seed, seed] : [seed]));
  let next = 0;
  const isOver = (): boolean =>
    next >= seeds.length ||
    performance.now() - started > untilMs ||
    (values["stop-at-first"] && totals.failed > 0);
  const script = fileURLToPath(new URL("./worker.ts", import.meta.url));
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child: ChildProcess = fork(script, ["--worker"], { execArgv: ["--import", "tsx"] });
      const give = (): void => {
        if (isOver()) child.disconnect();
        else child.send(seeds[next++] as number);
      };
      child.on("message", (summary: SeedSummary) => {
        take(summary, totals);
        if ((totals.passed + totals.failed) % 50 === 0) progress(totals, started);
        give();
      });
      child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))));
      give();
    });
  return Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, work)).then(() => {});
}

function progress({ passed, failed, virtualMs, events }: Totals, started: number): void {
  const seconds = (performance.now() - started) / 1000;
  const speed = (virtualMs / 1000 / seconds).toFixed(0);
  const rate = Math.round(events / seconds / 1000);
  print(
    `${passed} passed, ${failed} failed, ${seconds.toFixed(0)} s, ${speed} times real time, ${rate}k events/s`,
  );
}

/** One seed in this process, with all that can be said about it. */
async function runOne(seed: number): Promise<boolean> {
  let result = await runSeed(drawPlan(seed), drain);
  if (result.failure !== undefined && values.shrink) {
    result = await shrink(
      result,
      (plan) => runSeed(plan, drain),
      (text) => print(`  still fails with ${text}`),
    );
  }
  print(reportPlan(result));
  print(reportFailure(result, 400));
  print(`trace ${result.trace}; ${result.succeeded} operations succeeded, ${result.failed} failed`);
  return result.failure === undefined;
}

const seed = Number(values.seed);
const count = Number(values.seeds);
const totals: Totals = {
  passed: 0,
  failed: 0,
  events: 0,
  virtualMs: 0,
  probes: new Map(),
  traces: new Map(),
};
if (values.verbose || values.shrink) {
  for (let each = seed; each < seed + count; each++) {
    if (await runOne(each)) totals.passed++;
    else totals.failed++;
  }
} else {
  const started = performance.now();
  await runAll(seed, count, totals);
  progress(totals, started);
  for (const [name, times] of [...totals.probes].sort(([left], [right]) => (left < right ? -1 : 1)))
    print(`  ${String(times).padStart(8)} ${name}`);
}
print(`${totals.passed} seeds passed, ${totals.failed} failed`);
process.exitCode = totals.failed > 0 || totals.passed === 0 ? 1 : 0;
