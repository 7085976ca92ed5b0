#!/usr/bin/env node
/**
 * `npm run test:group`: the long tests of groups. Fifty kills of real processes with a linearizability check, and a
 * snapshot of 1 GiB through heaps of 200 MiB, which needs some 5 GB of disk below the system's directory of temporary
 * files. Two minutes. Ends with `N passed, M failed`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const disk = statfsSync(tmpdir());
const freeGiB = (disk.bavail * disk.bsize) / 2 ** 30;
if (freeGiB < 8) {
  process.stderr.write(
    `${tmpdir()} has ${freeGiB.toFixed(1)} GiB free, 8 are needed: set TMPDIR to another disk\n`,
  );
  process.exit(1);
}
const directory = mkdtempSync(join(tmpdir(), "raftwerk-test-group-"));
const report = join(directory, "report.json");
const env = { ...process.env, GROUP_KILLS: "50", GROUP_SNAPSHOT_MIB: "1024" };
const args = [
  "vitest",
  "run",
  "group/kills.cluster.test.ts",
  "group/big.cluster.test.ts",
  "--no-file-parallelism",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
];
let [passed, failed] = [0, 1];
try {
  const { status } = spawnSync("npx", args, { stdio: "inherit", env });
  const { numPassedTests, numFailedTests, success } = JSON.parse(readFileSync(report, "utf8"));
  passed = numPassedTests;
  // An error outside of every test fails the run and none of the tests.
  failed = success && status === 0 ? 0 : Math.max(1, numFailedTests);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
