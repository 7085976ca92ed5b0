/** Entries that left the log, kept in files. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeEntry } from "../raft/index.js";
import { CompactedLogFiles } from "./group-compacted-log.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-compacted-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const entries = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => makeEntry(3, first + i, Buffer.from(`command ${first + i}`)));

const write = (log: CompactedLogFiles, first: number, count: number): Error | undefined => {
  let result: Error | undefined;
  log.write(entries(first, count), (error) => (result = error));
  return result;
};

test("a line each, in files named by their first index, the same again after a crash in between", () => {
  const directory = join(root, "kept", "deep");
  const log = new CompactedLogFiles({ directory });
  expect(write(log, 2, 3)).toBeUndefined();
  expect(write(log, 5, 2)).toBeUndefined();
  expect(write(new CompactedLogFiles({ directory }), 5, 4)).toBeUndefined();
  expect(readdirSync(directory).sort()).toEqual(["0000000000000002.jsonl", "0000000000000005.jsonl"]);
  const lines = readdirSync(directory)
    .sort()
    .flatMap((name) => readFileSync(join(directory, name), "utf8").trim().split("\n"))
    .map((line) => JSON.parse(line) as { index: number; term: number; data: string });
  expect(lines.map(({ index }) => index)).toEqual([2, 3, 4, 5, 6, 7, 8]);
  expect(lines.map(({ data }) => Buffer.from(data, "base64").toString())[3]).toBe("command 5");
});

test("the oldest files go when all together outgrow their limit", () => {
  const directory = join(root, "small");
  const log = new CompactedLogFiles({ directory, bytesMax: 2_000 });
  for (let first = 1; first <= 200; first += 10) expect(write(log, first, 10)).toBeUndefined();
  const names = readdirSync(directory).sort();
  const bytes = names.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  expect(bytes).toBeLessThanOrEqual(2_000);
  expect(names.at(-1)).toBe("0000000000000191.jsonl");
  expect(names[0]).not.toBe("0000000000000001.jsonl");
});

test("what cannot be written is an error, and nothing is removed", () => {
  const directory = join(root, "blocked");
  // Room for one file alone: a write that went on after its failure would remove the first.
  const log = new CompactedLogFiles({ directory, bytesMax: 1 });
  expect(write(log, 1, 2)).toBeUndefined();
  // A directory stands where the next file belongs: refused to everybody, root included.
  mkdirSync(join(directory, "0000000000000003.jsonl"));
  expect(write(log, 3, 2)).toMatchObject({ code: "EISDIR" });
  expect(readFileSync(join(directory, "0000000000000001.jsonl"), "utf8").trim().split("\n")).toHaveLength(2);
});
