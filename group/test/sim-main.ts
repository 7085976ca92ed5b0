/**
 * `npm run group:sim -- --seeds N [--seed S] [--verbose]`: seeds of the group's simulator, in this process. One in
 * twenty runs twice and must do the same. Ends with `N seeds passed, M failed`.
 */
import { parseArgs } from "node:util";
import { runSeed } from "./sim-seed.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    verbose: { type: "boolean", default: false },
  },
});
const print = (text: string): void => void process.stdout.write(`${text}\n`);

const from = Number(values.seed);
const probes = new Map<string, number>();
let [passed, failed, events, virtualMs, succeeded, unsuccessful] = [0, 0, 0, 0, 0, 0];
const started = performance.now();
for (let seed = from; seed < from + Number(values.seeds); seed++) {
  const report = await runSeed(seed);
  events += report.events;
  virtualMs += report.virtualMs;
  succeeded += report.succeeded;
  unsuccessful += report.failed;
  for (const [name, count] of report.probes) probes.set(name, (probes.get(name) ?? 0) + count);
  let { failure } = report;
  if (failure === undefined && seed % 20 === 0) {
    const again = await runSeed(seed);
    if (again.trace !== report.trace) failure = new Error(`two runs differ: ${report.trace}, ${again.trace}`);
  }
  if (failure === undefined) passed++;
  else {
    failed++;
    print(`seed ${seed} FAILED: ${failure.message}`);
    print(
      `  faults ${[...report.plan.faults].join(", ")}; again: npm run group:sim -- --seeds 1 --seed ${seed} --verbose`,
    );
  }
  if (values.verbose) {
    print(JSON.stringify({ ...report.plan, faults: [...report.plan.faults] }));
    for (const line of report.lines.slice(-300)) print(`  ${line}`);
    if (failure !== undefined) print(String(failure.stack));
  }
}
const seconds = (performance.now() - started) / 1000;
for (const [name, count] of [...probes].sort(([left], [right]) => (left < right ? -1 : 1))) {
  print(`  ${String(count).padStart(8)} ${name}`);
}
print(
  `${(virtualMs / 1000 / seconds).toFixed(0)} times real time, ${Math.round(events / seconds / 1000)}k events/s`,
);
print(`${succeeded} operations succeeded, ${unsuccessful} did not`);
print(`${passed} seeds passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
