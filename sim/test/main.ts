/**
 * `npm run sim -- [--set NAME] [--seeds N] [--seed S] [--minutes M] [--jobs J] [--verbose] [--shrink]
 * [--stop-at-first] [--script FILE]`: runs seeds on all cores. One seed in twenty is run twice, by two
 * processes, and must do the same. Ends with `N seeds passed, M failed`.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { drawPlan } from "../plan.js";
import { runSeed, type SeedResult } from "../run-seed.js";
import { SeedProgram } from "./pool.js";
import { emptyProbes, SOMETIMES } from "./probes.js";
import { reportFailure, reportPlan } from "./report.js";
import { seedScript } from "./seed-script.js";
import { shrink } from "./shrink.js";
import { Totals } from "./totals.js";
import { drain } from "./worker.js";

/** How many seeds, and whether every rare state must have been seen. */
const SETS = {
  smoke: { seeds: 40, allProbes: false },
  nightly: { seeds: 2_000, allProbes: true },
  all: { seeds: 20_000, allProbes: true },
} as const;

const USAGE = `usage: npm run sim -- [--set ${Object.keys(SETS).join("|")}]
         [--seeds N] [--seed FIRST] [--minutes M] [--jobs J] [--stop-at-first]
         [--verbose] [--shrink] [--script FILE]: these three are for one seed, that of --seed
`;

/** Ends the process where they are none of ours. */
function flags<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${USAGE}`);
    process.exit(2);
  }
}

const parseFlags = () =>
  parseArgs({
    options: {
      help: { type: "boolean", default: false },
      set: { type: "string" },
      seeds: { type: "string" },
      seed: { type: "string", default: "1" },
      minutes: { type: "string" },
      jobs: { type: "string", default: String(availableParallelism()) },
      verbose: { type: "boolean", default: false },
      shrink: { type: "boolean", default: false },
      script: { type: "string" },
      "stop-at-first": { type: "boolean", default: false },
    },
  });
const { values } = flags(parseFlags);
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);

function positive(name: string, text: string): number {
  const number = Number(text);
  if (Number.isFinite(number) && number > 0) return number;
  process.stderr.write(`--${name} ${text}: a number above 0 is asked for\n`);
  process.exit(2);
}

const set = values.set === undefined ? undefined : SETS[values.set as keyof typeof SETS];
if (values.set !== undefined && set === undefined) {
  process.stderr.write(`--set ${values.set}: there are ${Object.keys(SETS).join(", ")}\n`);
  process.exit(2);
}
const seed = positive("seed", values.seed);
const count = values.seeds === undefined ? (set?.seeds ?? 100) : positive("seeds", values.seeds);
const isSingle = values.verbose || values.shrink || values.script !== undefined;

/** Runs seeds until there are no more, time is up, or one failed and the first is enough. */
async function runAll(totals: Totals): Promise<void> {
  const untilSeconds =
    values.minutes === undefined ? Number.POSITIVE_INFINITY : 60 * positive("minutes", values.minutes);
  const seeds: number[] = [];
  for (let each = seed; each < seed + count; each++) {
    seeds.push(each);
    if (totals.isTwice(each)) seeds.push(each);
  }
  const program = await SeedProgram.build();
  const jobs = Array.from({ length: positive("jobs", values.jobs) }, () => program.start());
  const isOver = (): boolean =>
    totals.wallSeconds > untilSeconds || (values["stop-at-first"] && totals.failed > 0);
  let next = 0;
  const work = async (job: (typeof jobs)[number], number: number): Promise<void> => {
    while (next < seeds.length && !isOver()) {
      const mine = seeds[next++] as number;
      const text = totals.take(await job.run({ seed: mine }), number);
      if (text !== undefined) print(text);
      if (totals.runs % 50 === 0) print(totals.progress());
    }
  };
  try {
    await Promise.all(jobs.map((job, number) => work(job, number)));
  } finally {
    for (const job of jobs) job.stop();
    program.remove();
  }
}

/** One seed in this process, with all that can be said about it. */
async function runOne(number: number): Promise<boolean> {
  let result = await runSeed(drawPlan(number), drain);
  if (result.failure !== undefined && (values.shrink || values.script !== undefined)) {
    result = await shrink(
      result,
      (plan) => runSeed(plan, drain),
      (text) => print(`  still fails with ${text}`),
    );
  }
  if (values.script !== undefined) writeScript(result, values.script);
  print(reportPlan(result));
  print(reportFailure(result, 400));
  print(`trace ${result.trace}; ${result.succeeded} operations succeeded, ${result.failed} failed`);
  return result.failure === undefined;
}

/** The test goes where its imports lead: into sim/scripts. */
function writeScript(result: SeedResult, file: string): void {
  if (result.failure === undefined) return print(`seed ${result.plan.seed} passes: no script is written`);
  if (!/(^|\/)sim\/scripts\/[^/]+\.test\.ts$/.test(file)) {
    print(`--script ${file}: give a path like sim/scripts/seed-${result.plan.seed}.test.ts`);
    process.exitCode = 2;
    return;
  }
  writeFileSync(file, seedScript(result));
  print(`${file} is written: npx biome format --write ${file} && npx vitest run ${file}`);
}

const totals = new Totals();
if (isSingle) {
  for (let each = seed; each < seed + count; each++) {
    if (await runOne(each)) totals.passed++;
    else totals.failed++;
  }
} else {
  await runAll(totals);
  print(totals.progress());
  for (const [name, times] of [...totals.probes].sort(([left], [right]) => (left < right ? -1 : 1)))
    print(`  ${String(times).padStart(8)} ${name}`);
  const empty = emptyProbes(totals.probes);
  print(`${SOMETIMES.length - empty.length} of ${SOMETIMES.length} rare states were seen`);
  for (const name of empty) print(`  never: ${name}`);
  if (set?.allProbes === true && empty.length > 0) {
    print(`the set ${values.set} asks for all of them`);
    process.exitCode = 1;
  }
}
print(`${totals.passed} seeds passed, ${totals.failed} failed`);
if (totals.failed > 0 || totals.passed === 0) process.exitCode = 1;
