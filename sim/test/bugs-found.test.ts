/** docs/bugs-found.md names a test for each bug: it must be there, under that title. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");

it("names a test that exists for every bug that was found", () => {
  const rows = readFileSync(join(ROOT, "docs", "bugs-found.md"), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| What was wrong"));
  const missing = rows.filter((row) => {
    const [, file, title] = /\| `([^`|]+)`: ([^|]+) \|$/.exec(row) ?? [];
    if (file === undefined || title === undefined || !existsSync(join(ROOT, file))) return true;
    return !readFileSync(join(ROOT, file), "utf8").includes(title);
  });
  expect(missing).toEqual([]);
  expect(rows.length).toBeGreaterThan(20);
});
