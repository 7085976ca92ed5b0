/**
 * Tests on a real etcd: `npm run test:etcd`. Needs the `etcd` program, which is looked for first; every other argument goes
 * to vitest. Ends with a line of counts.
 */
import { execFileSync, spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

let version;
try {
  version = /etcd Version: (\S+)/.exec(execFileSync("etcd", ["--version"], { encoding: "utf8" }))?.[1];
} catch {
  console.error("The program etcd is missing. On Debian: apt-get install -y etcd-server");
  console.log("0 passed, 1 failed");
  process.exit(1);
}
console.log(`etcd ${version}`);
const run = spawn(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", "--config", "vitest.etcd.config.ts", ...process.argv.slice(2)],
  { stdio: ["inherit", "pipe", "inherit"] },
);
let output = "";
run.stdout.setEncoding("utf8").on("data", (text) => {
  process.stdout.write(text);
  output += text;
});
run.on("close", (status) => {
  const sums =
    stripVTControlCharacters(output)
      .match(/^ *Tests .*$/gm)
      ?.at(-1) ?? "";
  const passed = Number(/(\d+) passed/.exec(sums)?.[1] ?? 0);
  const failed = Number(/(\d+) failed/.exec(sums)?.[1] ?? (status === 0 ? 0 : 1));
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(status ?? 1);
});
