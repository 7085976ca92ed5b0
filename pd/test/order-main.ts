/**
 * Several PDs under faults with many seeds: `npx tsx pd/test/order-main.ts [seeds] [first]`. Names each seed that
 * failed and ends with a line of counts.
 */
import { runScene, SCENES } from "./pd-scenes.js";

const [seedsText = "2000", firstText = "1"] = process.argv.slice(2);
const [seeds, first] = [Number(seedsText), Number(firstText)];
let [answered, ids, splits, failed] = [0, 0, 0, 0];
for (let seed = first; seed < first + seeds; seed++) {
  try {
    const traffic = runScene(seed);
    answered += traffic.answered;
    ids += traffic.given;
    splits += traffic.splits;
  } catch (error) {
    failed += 1;
    process.stdout.write(`seed ${seed} (${SCENES[(seed - 1) % SCENES.length]?.title}): ${String(error)}\n`);
  }
}
process.stdout.write(
  `${seeds - failed} seeds passed, ${failed} failed: ${answered} answers with timestamps, ${ids} ids, ${splits} splits\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
