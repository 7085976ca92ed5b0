/** Bugs are planted into text that changes: each must still find its place, or it proves nothing. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { PlantedBug } from "./pool.js";

const ROOT = join(import.meta.dirname, "..", "..");
const FOLDER = join(import.meta.dirname, "..", "planted");

it("finds the text of every planted bug exactly once, and changes it", () => {
  const wrong: string[] = [];
  const files = readdirSync(FOLDER).filter((file) => file.endsWith(".json"));
  for (const name of files) {
    const { file, find, replace } = JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as PlantedBug;
    const matches = readFileSync(join(ROOT, file), "utf8").split(find).length - 1;
    if (matches !== 1 || find === replace) wrong.push(`${name}: ${matches} times in ${file}`);
  }
  expect(wrong).toEqual([]);
  expect(files.length).toBeGreaterThan(20);
});
