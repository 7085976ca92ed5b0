/**
 * `npm run sim:planted [-- --seeds N] [--seed S] [--only NAME,NAME] [--jobs J]`: plants each bug of sim/planted in the
 * sources while they are bundled, and lets the simulator look for it. As many bugs are looked for at once as there are
 * processes; who has nothing left to begin helps with what is still being looked for. Prints the table of bug, seeds,
 * seconds of processor and invariant; fails when one is not found within N seeds (2,000), when a text to replace is
 * not there exactly once, or when the sources without a bug fail a seed.
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
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    jobs: { type: "string", default: String(availableParallelism()) },
  },
});

function wholeNumber(name: "seeds" | "seed" | "jobs"): number {
  const number = Number(values[name]);
  if (Number.isInteger(number) && number > 0) return number;
  process.stderr.write(`--${name} ${values[name]}: a whole number above 0 is asked for\n`);
  process.exit(2);
}

const jobs = wholeNumber("jobs");
const firstSeed = wholeNumber("seed");
const print = (text: string): void => void process.stdout.write(`${text}\n`);

interface Found {
  readonly seed: number;
  readonly message: string;
}

/** The search for one bug, or for anything at all where none was planted. */
class Search {
  readonly name: string;
  readonly found: Found[] = [];
  readonly #bug: PlantedBug | undefined;
  readonly #seeds: number;
  #program: Promise<SeedProgram> | undefined;
  #next = firstSeed;
  #helpers = 0;
  #runs = 0;
  #cpuSeconds = 0;
  isReported = false;

  constructor(name: string, bug: PlantedBug | undefined, seeds: number) {
    this.name = name;
    this.#bug = bug;
    this.#seeds = seeds;
  }

  get isBegun(): boolean {
    return this.#program !== undefined;
  }
  get isOver(): boolean {
    return this.found.length > 0 || this.#next >= firstSeed + this.#seeds;
  }

  /** Takes part until it is over, with a process of its own. */
  async help(): Promise<void> {
    this.#helpers++;
    this.#program ??= SeedProgram.build(this.#bug);
    const program = await this.#program;
    const process = program.start();
    try {
      while (!this.isOver) {
        const seed = this.#next++;
        this.#runs++;
        const message = await process.run({ seed }).then(
          (summary) => {
            this.#cpuSeconds += summary.seconds;
            return summary.message;
          },
          (error: Error) => error.message,
        );
        if (message !== undefined) this.found.push({ seed, message });
      }
    } finally {
      process.stop();
      if (--this.#helpers === 0) program.remove();
    }
    if (this.#helpers === 0) this.#report();
  }

  #report(): void {
    if (this.isReported) return;
    this.isReported = true;
    const [first] = this.found.sort((left, right) => left.seed - right.seed);
    if (first === undefined && this.#bug === undefined) {
      print(`     - ${this.#seconds()}  ${this.name}  (nothing was found in ${this.#runs} seeds)`);
      return;
    }
    const text = (first?.message ?? "NOT FOUND").replaceAll(/\s+/g, " ").slice(0, 110);
    print(`${String(first?.seed ?? "-").padStart(6)} ${this.#seconds()}  ${this.name}  (${text})`);
  }

  #seconds(): string {
    return `${this.#cpuSeconds.toFixed(0).padStart(5)} s`;
  }
}

const wanted = values.only?.split(",");
const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .map((file) => basename(file, ".json"))
  .filter((name) => wanted?.includes(name) !== false)
  .sort();
const unknown = wanted?.filter((name) => !names.includes(name)) ?? [];
if (unknown.length > 0) {
  process.stderr.write(`--only: there is no ${unknown.join(", ")} in sim/planted\n`);
  process.exit(2);
}
const started = performance.now();
const bugs = names.map((name) => {
  const bug = JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8")) as PlantedBug;
  return new Search(name, bug, wholeNumber("seeds"));
});
const none = new Search("no bug was planted", undefined, CLEAN_SEEDS);
const searches = wanted === undefined ? [...bugs, none] : bugs;

async function work(): Promise<void> {
  for (;;) {
    const next = searches.find(({ isBegun }) => !isBegun) ?? searches.find(({ isOver }) => !isOver);
    if (next === undefined) return;
    await next.help();
  }
}
print("  seed  seconds  bug");
await Promise.all(Array.from({ length: jobs }, work));
const missed = bugs.filter(({ found }) => found.length === 0).length;
const isClean = none.found.length === 0;
print(
  `${bugs.length - missed} bugs found, ${missed} missed${isClean ? "" : ", and one that is not there"}, in ` +
    `${((performance.now() - started) / 60_000).toFixed(1)} minutes`,
);
process.exitCode = missed === 0 && isClean && bugs.length > 0 ? 0 : 1;
