import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { runScript, SCRIPT_KINDS } from "./test/conformance.js";
import { parseScript } from "./test/datadriven.js";

const DATA = join(import.meta.dirname, "scripts");

describe.each(SCRIPT_KINDS)("%s scripts", (kind) => {
  const folder = join(DATA, kind);
  test.each(readdirSync(folder).filter((name) => name.endsWith(".txt")))("%s", (name) => {
    const text = readFileSync(join(folder, name), "utf8");
    const result = runScript(kind, name, text);
    expect(result.failure).toBeUndefined();
    expect(result.passed).toBe(parseScript(text).directives.length);
    expect(result.passed).toBeGreaterThan(0);
  });
});

test("every script lies in the folder of its kind, and says at its top what it shows", () => {
  const files = readdirSync(DATA, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".txt"),
  );
  expect(files.length).toBeGreaterThanOrEqual(26);
  for (const file of files) {
    expect(file).toMatch(/^(interaction|confchange|quorum)[\\/][a-z_]+\.txt$/);
    expect(readFileSync(join(DATA, file), "utf8")).toMatch(/^# [A-Z]/);
  }
});

test("a script whose expectation is wrong fails with its place", () => {
  const result = runScript(
    "interaction",
    "wrong.txt",
    "add-nodes 1 voters=(1) index=2\n----\nsomething else\n",
  );
  expect(result.failure).toContain("wrong.txt:1");
  expect(result.passed).toBe(0);
});
