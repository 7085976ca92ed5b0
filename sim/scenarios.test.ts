/**
 * `scenarios.tsv` maps TiKV's most important scenarios of Raft groups to our tests: each is covered by a test that
 * exists, under its name, or says why not. Columns: theme, scenario (file::test), our file, our title or the reason.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

/** How many scenarios a theme has. */
const THEMES: Readonly<Record<string, number>> = {
  bootstrap: 5,
  "plain KV faults": 31,
  "conf change": 18,
  joint: 7,
  split: 44,
  snapshot: 34,
  "log GC": 4,
  reads: 37,
  "epoch checker": 8,
  "early apply": 8,
  destroy: 21,
  "leader transfer": 15,
  heartbeats: 15,
};
const COVERED_MIN = 200;
const ROOT = join(import.meta.dirname, "..");

interface Row {
  readonly theme: string;
  readonly scenario: string;
  readonly file: string;
  readonly text: string;
}

const rows: Row[] = readFileSync(join(import.meta.dirname, "scenarios.tsv"), "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map((line) => {
    const [theme = "", scenario = "", file = "", text = ""] = line.split("\t");
    return { theme, scenario, file, text };
  });
const covered = rows.filter(({ file }) => file !== "-");

describe("the list of scenarios", () => {
  it("has every scenario of every theme once", () => {
    const counts: Record<string, number> = {};
    for (const { theme } of rows) counts[theme] = (counts[theme] ?? 0) + 1;
    expect(counts).toEqual(THEMES);
    expect(new Set(rows.map(({ scenario }) => scenario)).size).toBe(rows.length);
    expect(
      rows.filter(({ scenario }) => !/^(raftstore|failpoints)\/test_\w+::test_\w+$/.test(scenario)),
    ).toEqual([]);
  });

  it("names tests that exist, by titles that name the scenario", () => {
    const files = new Map<string, string>();
    const problems: string[] = [];
    for (const { scenario, file, text } of covered) {
      if (!files.has(file)) files.set(file, readFileSync(join(ROOT, file), "utf8"));
      const source = files.get(file) as string;
      const name = scenario.split("::")[1] as string;
      if (!source.includes(text)) problems.push(`${file} has no test "${text}"`);
      if (!new RegExp(`\\[(\\w+, )*${name}(, \\w+)*\\]$`).test(text))
        problems.push(`"${text}" does not name ${name}`);
    }
    expect(problems).toEqual([]);
  });

  it("covers at least as many as it should, and gives a reason for each of the others", () => {
    expect(covered.length).toBeGreaterThanOrEqual(COVERED_MIN);
    expect(rows.filter(({ file, text }) => file === "-" && text.length < 20)).toEqual([]);
  });
});
