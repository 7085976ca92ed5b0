/**
 * The map of scenarios: every unit scenario of etcd's raft and of raft-rs, and every known bug of Raft libraries, with
 * the test of ours that covers it or the reason why none can. Titles are those of the sources, `%s` included.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "..", "..");
const rows = readFileSync(join(import.meta.dirname, "scenarios.tsv"), "utf8")
  .trimEnd()
  .split("\n")
  .slice(1)
  .map((line) => line.split("\t") as [string, string, string, string]);
const of = (...sources: string[]): typeof rows => rows.filter(([source]) => sources.includes(source));
const isReason = (how: string): boolean => how.startsWith("reason: ");

describe("the map of scenarios", () => {
  it("has every row of its sources once", () => {
    expect([of("etcd").length, of("raft-rs").length, of("bug").length]).toEqual([264, 249, 83]);
    expect(new Set(rows.map(([source, file, name]) => `${source} ${file} ${name}`)).size).toBe(rows.length);
    expect(of("bug").map(([, , name]) => Number(name))).toEqual(
      Array.from({ length: 83 }, (_, at) => at + 1),
    );
  });

  it("names tests that exist", () => {
    const sources = new Map<string, string>();
    for (const [, , name, how] of rows) {
      if (isReason(how)) {
        expect(how.length, name).toBeGreaterThan("reason: ".length + 10);
        continue;
      }
      const [file, title] = how.split(" > ") as [string, string];
      const path = join(ROOT, file);
      expect(existsSync(path), how).toBe(true);
      const source = sources.get(file) ?? readFileSync(path, "utf8");
      sources.set(file, source);
      expect(source.includes(JSON.stringify(title)), how).toBe(true);
    }
  });

  it("covers at least 450 of the 513 scenarios, and every known bug", () => {
    const covered = of("etcd", "raft-rs").filter(([, , , how]) => !isReason(how)).length;
    expect(covered).toBeGreaterThanOrEqual(450);
    expect(of("bug").filter(([, , , how]) => isReason(how))).toEqual([]);
  });
});
