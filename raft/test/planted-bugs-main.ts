/**
 * `npm run raft:bugs [-- --seeds N] [--only WORDS]`: plants each known bug in a copy of the library and lets the fuzzer
 * look for it. Prints how many seeds it took; fails when a bug is not found, or when a replacement does not match
 * exactly once.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.js";

const RAFT = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: { seeds: { type: "string", default: "5000" }, only: { type: "string", default: "" } },
});

/** Loads the file of a bug with the bug in it; all other files as they are. */
function planted(bug: PlantedBug): Plugin {
  const path = join(RAFT, bug.file);
  return {
    name: "planted bug",
    setup(bundle) {
      bundle.onLoad({ filter: /\.ts$/ }, (file) => {
        if (file.path !== path) return undefined;
        const source = readFileSync(path, "utf8");
        const matches = source.split(bug.find).length - 1;
        if (matches !== 1)
          throw new Error(`"${bug.name}" matches ${matches} times in raft/${bug.file}, not once`);
        return { contents: source.replace(bug.find, () => bug.replace), loader: "ts" };
      });
    },
  };
}

/** Seeds until the first failure; undefined when none failed. */
async function seedsToFind(bug: PlantedBug): Promise<number | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-bug-"));
  const script = join(directory, "fuzz.mjs");
  try {
    await build({
      entryPoints: [join(RAFT, "test", "fuzz-main.ts")],
      outfile: script,
      bundle: true,
      platform: "node",
      format: "esm",
      logLevel: "silent",
      plugins: [planted(bug)],
    });
    const args = [script, "--seeds", values.seeds, "--stop-at-first"];
    const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 28 });
    const passed = /^(\d+) seeds passed, 1 failed$/m.exec(stdout);
    return passed === null ? undefined : Number(passed[1]) + 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let missed = 0;
const bugs = PLANTED_BUGS.filter(({ name }) => name.includes(values.only));
for (const bug of bugs) {
  const seeds = await seedsToFind(bug);
  if (seeds === undefined) missed++;
  process.stdout.write(`${(seeds === undefined ? "-" : String(seeds)).padStart(6)}  ${bug.name}\n`);
}
process.stdout.write(`${bugs.length - missed} bugs found, ${missed} missed\n`);
process.exitCode = missed === 0 && bugs.length > 0 ? 0 : 1;
