/** The scenarios of PD's own tests that matter most, each with the test here that shows it, or why there is none. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const MOST_IMPORTANT = 230;
const COVERED_MIN = 228;

const rows = readFileSync(`${ROOT}/pd/test/scenarios.tsv`, "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map((line) => line.split("\t"));

test("no scenario is missing, and none is named twice", () => {
  const names = rows.map(([file, name]) => `${file} ${name}`);
  expect(names).toHaveLength(MOST_IMPORTANT);
  expect(new Set(names).size).toBe(MOST_IMPORTANT);
});

test("every test that is named exists, and every gap has its reason", () => {
  const texts = new Map<string, string>();
  const problems: string[] = [];
  for (const [file, name, ours, title] of rows) {
    if (title === undefined || title === "") problems.push(`${file} ${name}: neither title nor reason`);
    else if (ours !== undefined && ours !== "-") {
      if (!texts.has(ours)) texts.set(ours, readFileSync(`${ROOT}/${ours}`, "utf8"));
      if (texts.get(ours)?.includes(`"${title}"`) !== true) problems.push(`${ours} has no test "${title}"`);
    }
  }
  expect(problems).toEqual([]);
  expect(rows.filter(([, , ours]) => ours !== "-").length).toBeGreaterThanOrEqual(COVERED_MIN);
});
