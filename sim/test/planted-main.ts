/**
 * `npm run sim:planted [-- --seeds N] [--only NAME]`: plants each bug of sim/planted in a copy of the sources
 * and lets the
 * simulator look for it. Prints the table of bug, seeds, seconds and the invariant; fails when one is not found
 * within N seeds (2,000), or when a replacement does not match exactly once.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

interface PlantedBug {
  readonly bug: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const ROOT = join(import.meta.dirname, "..", "..");
const FOLDERS = ["base", "proto", "raft", "region", "store", "pd", "pd-client", "client", "engine", "sim"];
const { values } = parseArgs({
  options: { seeds: { type: "string", default: "2000" }, only: { type: "string" } },
});

function plant(directory: string, { bug, file, find, replace }: PlantedBug): void {
  for (const folder of FOLDERS) cpSync(join(ROOT, folder), join(directory, folder), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
  cpSync(join(ROOT, "package.json"), join(directory, "package.json"));
  cpSync(join(ROOT, "tsconfig.json"), join(directory, "tsconfig.json"));
  const path = join(directory, file);
  const source = readFileSync(path, "utf8");
  const matches = source.split(find).length - 1;
  if (matches !== 1) throw new Error(`"${bug}" matches ${matches} times in ${file}, not once`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
}

/** Seeds until the first failure and what failed; undefined when none did. */
function find(bug: PlantedBug): { readonly seeds: number; readonly invariant: string } | undefined {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-planted-"));
  try {
    plant(directory, bug);
    const script = join(directory, "sim", "test", "main.ts");
    const args = ["--import", "tsx", script, "--seeds", values.seeds, "--stop-at-first"];
    const { stdout } = spawnSync(process.execPath, args, {
      cwd: directory,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    const passed = /^(\d+) seeds passed, ([1-9]\d*) failed$/m.exec(stdout);
    const text = /^seed \d+ FAILED.*\n\s+(.*)$/m.exec(stdout);
    if (passed === null) return undefined;
    return { seeds: Number(passed[1]) + 1, invariant: text?.[1] ?? "" };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

let missed = 0;
let count = 0;
const folder = join(ROOT, "sim", "planted");
for (const name of readdirSync(folder)
  .filter((file) => file.endsWith(".json"))
  .sort()) {
  if (values.only !== undefined && basename(name, ".json") !== values.only) continue;
  const bug = JSON.parse(readFileSync(join(folder, name), "utf8")) as PlantedBug;
  const started = performance.now();
  const found = find(bug);
  count++;
  if (found === undefined) missed++;
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const seeds = found === undefined ? "-" : String(found.seeds);
  process.stdout.write(
    `${seeds.padStart(6)} ${seconds.padStart(5)} s  ${bug.bug}  (${(found?.invariant ?? "not found").slice(0, 110)})\n`,
  );
}
process.stdout.write(`${count - missed} bugs found, ${missed} missed\n`);
process.exitCode = missed === 0 && count > 0 ? 0 : 1;
