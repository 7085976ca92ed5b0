/**
 * `npm run sim:planted [-- --seeds N] [--only NAME,NAME] [--jobs J]`: plants each bug of sim/planted in the
 * sources while they are bundled, and lets the simulator look for it. Prints the table of bug, seeds, seconds and
 * invariant; fails when one is not found within N seeds (2,000), when a text to replace is not there exactly
 * once, or when the sources without a bug fail a seed.
 */
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { type PlantedBug, SeedProgram } from "./pool.js";

const FOLDER = join(import.meta.dirname, "..", "planted");
/** Without a bug nothing may be found in so many seeds. */
const CLEAN_SEEDS = 60;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    only: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
  },
});
const jobs = Math.max(1, Number(values.jobs));
const print = (text: string): void => void process.stdout.write(`${text}\n`);

interface Found {
  readonly seed: number;
  readonly message: string;
}

/** The lowest of the first seeds that fail, or undefined when none did. */
async function look(bug: PlantedBug | undefined, seeds: number): Promise<Found | undefined> {
  const program = await SeedProgram.build(bug);
  const processes = Array.from({ length: jobs }, () => program.start());
  const all: Found[] = [];
  let next = 1;
  try {
    await Promise.all(
      processes.map(async (each) => {
        while (next <= seeds && all.length === 0) {
          const seed = next++;
          const message = await each.run({ seed }).then(
            (summary) => summary.message,
            (error: Error) => error.message,
          );
          if (message !== undefined) all.push({ seed, message });
        }
      }),
    );
  } finally {
    for (const each of processes) each.stop();
    program.remove();
  }
  return all.sort((left, right) => left.seed - right.seed)[0];
}

const line = (seeds: string, started: number, bug: string, text: string): void =>
  print(
    `${seeds.padStart(6)} ${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s  ${bug}  (${text
      .replaceAll(/\s+/g, " ")
      .slice(0, 110)})`,
  );

const wanted = values.only?.split(",");
const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => basename(file, ".json"))
  .filter((name) => wanted?.includes(name) !== false)
  .sort();
let missed = 0;
for (const name of names) {
  const bug = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as PlantedBug;
  const started = performance.now();
  const found = await look(bug, Number(values.seeds));
  if (found === undefined) missed++;
  line(found === undefined ? "-" : String(found.seed), started, name, found?.message ?? "NOT FOUND");
}
const started = performance.now();
const none = wanted === undefined ? await look(undefined, CLEAN_SEEDS) : undefined;
if (none !== undefined) line(String(none.seed), started, "no bug was planted", none.message);
print(
  `${names.length - missed} bugs found, ${missed} missed${none === undefined ? "" : ", and one that is not there"}`,
);
process.exitCode = missed === 0 && none === undefined && names.length > 0 ? 0 : 1;
