/** The program in the README is complete: it compiles, runs as it stands and prints what a reader expects. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "..");

function example(): string {
  const readme = readFileSync(join(ROOT, "raft", "README.md"), "utf8");
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] as string);
  expect(blocks.length).toBe(1);
  return blocks[0] as string;
}

test("the example of the README has at most 100 lines and imports the public entry point alone", () => {
  const source = example();
  expect(source.split("\n").length).toBeLessThanOrEqual(100);
  const imports = [...source.matchAll(/from "([^"]+)"/g)].map((match) => match[1]);
  expect(new Set(imports)).toEqual(new Set(["raftwerk/raft"]));
});

test("the example of the README elects a leader, replicates three entries and answers a read", () => {
  const directory = mkdtempSync(join(tmpdir(), "raftwerk-readme-"));
  try {
    const entry = pathToFileURL(join(ROOT, "raft", "index.ts")).href;
    writeFileSync(join(directory, "example.mts"), example().replaceAll("raftwerk/raft", entry));
    const args = ["--import", "tsx", join(directory, "example.mts")];
    const lines = execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" }).trim().split("\n");
    expect(lines[0]).toBe("a leader was elected");
    expect(lines).toContainEqual(
      expect.stringMatching(/^node [123] may answer the read: it has applied \d+$/),
    );
    expect(lines.slice(-3)).toEqual([1, 2, 3].map((id) => `node ${id} applied one, two, three`));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
