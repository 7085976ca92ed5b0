/**
 * `npm run raft:bugs [-- --seeds N] [--only WORDS]`: plants each known bug in a copy of the library and lets the fuzzer
 * look for it. Prints how many seeds it took; fails when a bug is not found, or when a replacement does not match
 * exactly once.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PLANTED_BUGS, type PlantedBug } from "./planted-bugs.js";

const ROOT = join(import.meta.dirname, "..", "..");
const { values } = parseArgs({
  options: { seeds: { type: "string", default: "5000" }, only: { type: "string", default: "" } },
});

function plant(directory: string, bug: PlantedBug): void {
  cpSync(join(ROOT, "base"), join(directory, "base"), { recursive: true });
  cpSync(join(ROOT, "raft"), join(directory, "raft"), { recursive: true });
  const path = join(directory, "raft", bug.file);
  const source = readFileSync(path, "utf8");
  const matches = source.split(bug.find).length - 1;
  if (matches !== 1) throw new Error(`"${bug.name}" matches ${matches} times in raft/${bug.file}, not once`);
  writeFileSync(
    path,
    source.replace(bug.find, () => bug.replace),
  );
  writeFileSync(join(directory, "package.json"), '{ "type": "module" }');
}

/** Seeds until the first failure; undefined when none failed. */
function seedsToFind(bug: PlantedBug): number | undefined {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-bug-"));
  try {
    plant(directory, bug);
    const script = join(directory, "raft", "test", "fuzz-main.ts");
    const args = ["--import", "tsx", script, "--seeds", values.seeds, "--stop-at-first"];
    const { stdout } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 });
    const passed = /^(\d+) seeds passed, 1 failed$/m.exec(stdout);
    return passed === null ? undefined : Number(passed[1]) + 1;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let missed = 0;
const bugs = PLANTED_BUGS.filter(({ name }) => name.includes(values.only));
for (const bug of bugs) {
  const seeds = seedsToFind(bug);
  if (seeds === undefined) missed++;
  process.stdout.write(`${(seeds === undefined ? "-" : String(seeds)).padStart(6)}  ${bug.name}\n`);
}
process.stdout.write(`${bugs.length - missed} bugs found, ${missed} missed\n`);
process.exitCode = missed === 0 && bugs.length > 0 ? 0 : 1;
