/** `npm run raft:fuzz -- --seeds N [--seed S] [--verbose]`: runs N seeds from S on; ends with `N seeds passed, M failed`. */
import { parseArgs } from "node:util";
import { runSeed, STEPS } from "./fuzz.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    steps: { type: "string", default: String(STEPS) },
    "stop-at-first": { type: "boolean", default: false },
  },
});

const first = Number(values.seed);
const count = Number(values.seeds);
let passed = 0;
let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const result = runSeed(seed, Number(values.steps));
  if (result.kind === "passed") {
    passed++;
    continue;
  }
  failed++;
  process.stdout.write(
    `seed ${seed} failed at step ${result.step}: ${result.error.stack ?? result.error.message}\n`,
  );
  for (const event of result.events) process.stdout.write(`  ${event}\n`);
  process.stdout.write(`repeat it with: npm run raft:fuzz -- --seeds 1 --seed ${seed}\n\n`);
  if (values["stop-at-first"]) break;
}
process.stdout.write(`${passed} seeds passed, ${failed} failed\n`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
