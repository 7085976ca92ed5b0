/**
 * `npm run pd:order [-- --seeds N] [--seed S]`: several PDs under faults with N seeds (2,000), the first of them S (1).
 * Names each seed that failed, and ends with a line of counts.
 */
import { parseArgs } from "node:util";
import { runScene, SCENES } from "./pd-scenes.js";

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "2000" }, seed: { type: "string", default: "1" } },
});

function wholeNumber(name: "seeds" | "seed"): number {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number > 0) return number;
  process.stderr.write(`--${name} ${values[name]}: a whole number above 0 is asked for\n`);
  process.exit(2);
}

// Refusals are made by the thousand here, and only their texts are looked at.
Error.stackTraceLimit = 0;
const [seeds, first] = [wholeNumber("seeds"), wholeNumber("seed")];
const sums = { answered: 0, ids: 0, splits: 0, operators: 0, settings: 0 };
let failed = 0;
for (let seed = first; seed < first + seeds; seed++) {
  try {
    const figures = runScene(seed);
    for (const name of Object.keys(sums) as (keyof typeof sums)[]) sums[name] += figures[name];
  } catch (error) {
    failed += 1;
    process.stdout.write(`seed ${seed} (${SCENES[(seed - 1) % SCENES.length]?.title}): ${String(error)}\n`);
  }
}
process.stdout.write(
  `${sums.answered} answers with timestamps, ${sums.ids} ids, ${sums.splits} splits, ${sums.operators} operators, ` +
    `${sums.settings} changes of settings\n`,
);
process.stdout.write(`${seeds - failed} seeds passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
