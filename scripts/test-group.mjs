#!/usr/bin/env node
/**
 * `npm run test:group`: the long tests of groups. Fifty kills of real processes with a linearizability check, and a
 * snapshot of 1 GiB through heaps of 200 MiB, which needs some 5 GB of disk below the system's directory of temporary
 * files.
 */
import { spawnSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";

const disk = statfsSync(tmpdir());
const freeGiB = (disk.bavail * disk.bsize) / 2 ** 30;
if (freeGiB < 8) {
  process.stderr.write(
    `${tmpdir()} has ${freeGiB.toFixed(1)} GiB free, 8 are needed: set TMPDIR to another disk\n`,
  );
  process.exit(1);
}
const env = { ...process.env, GROUP_KILLS: "50", GROUP_SNAPSHOT_MIB: "1024" };
const args = [
  "vitest",
  "run",
  "group/kills.cluster.test.ts",
  "group/big.cluster.test.ts",
  "--no-file-parallelism",
];
const { status } = spawnSync("npx", args, { stdio: "inherit", env });
process.exit(status ?? 1);
