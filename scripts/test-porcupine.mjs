// Cross-checks our checker of linearizability against porcupine on histories of simulated clusters, good and spoilt
// ones: `npm run test:porcupine [-- SEEDS]`. Says so when Go is missing; under CI that fails. Ends with one line:
// N passed, N failed.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "./clients/cluster.mjs";

const seeds = process.argv[2] ?? "12";
const finish = (text, isGood) => {
  console.log(text);
  console.log(isGood ? "0 passed, 0 failed" : "0 passed, 1 failed");
  process.exit(isGood ? 0 : 1);
};

if (spawnSync("go", ["version"]).status !== 0) {
  finish(
    "porcupine is a Go module: install Go 1.21 or later (https://go.dev/dl) and try again",
    !process.env.CI,
  );
}
const main = join(ROOT, "sim", "test", "histories-main.ts");
const histories = spawnSync(process.execPath, ["--import", "tsx", main, seeds], {
  cwd: ROOT,
  maxBuffer: 1 << 30,
  stdio: ["ignore", "pipe", "inherit"],
});
if (histories.status !== 0) finish("no histories could be made", false);
const judged = spawnSync("go", ["run", "."], {
  cwd: join(ROOT, "test", "clients", "go-porcupine"),
  input: histories.stdout,
  stdio: ["pipe", "inherit", "inherit"],
});
process.exit(judged.status ?? 1);
