/**
 * Kills a process that writes, many times over one directory. After each kill every batch that was called
 * back must be there, whole; at most a few more, whole too; and in order. A kill leaves the page cache alone,
 * so this tests the log's atomicity and its replay; that a synced write waits for the disk is seen in the
 * system calls (engine/README.md).
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { afterAll, describe, expect, test } from "vitest";
import { type Engine, randomBelow, SeededRandom } from "../base/index.js";
import { bytesOf, close, get, scanRaw, textOf } from "./conformance-tools.js";
import { LevelEngine } from "./leveldb.js";
import { RocksEngine } from "./rocksdb.js";
import { EXIT_FINAL, partsOf } from "./test/crash-writer.js";

const KILLS = 50;
const CHECKED_BATCHES = 300;
const WRITER = join(import.meta.dirname, "test", "crash-writer.ts");

const root = mkdtempSync(join(tmpdir(), "raftwerk-crash-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Writer = ChildProcessByStdio<Writable, Readable, null>;

const COMMAND = [process.execPath, "--import", "tsx", WRITER];

const startWriter = (kind: string, directory: string): Writer =>
  spawn(COMMAND[0] as string, [...COMMAND.slice(1), kind, directory], { stdio: ["pipe", "pipe", "inherit"] });

/**
 * The system refuses to let a file of this process grow beyond 1 MB: what a full disk looks like to an
 * engine.
 */
const startLimitedWriter = (kind: string, directory: string): Writer =>
  spawn("sh", ["-c", 'ulimit -f 2000; exec "$@"', "sh", ...COMMAND, kind, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });

const lastLine = (output: string): number => Number(output.split("\n").at(-2));

/**
 * Lets a writer write, kills it `delayMs` after its first batch, and returns the last number that it printed.
 */
function writeAndKill(writer: Writer, first: number, delayMs: number): Promise<number> {
  let output = "";
  return new Promise((resolve, reject) => {
    writer.stdout.once("data", () => setTimeout(() => writer.kill("SIGKILL"), delayMs));
    writer.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    writer.once("close", (_, signal) => {
      if (signal !== "SIGKILL") return reject(new Error("the writer ended by itself"));
      resolve(lastLine(output));
    });
    writer.stdin.end(String(first));
  });
}

function countParts(engine: Engine, number: number): { readonly found: number; readonly wrong: number } {
  let found = 0;
  let wrong = 0;
  for (const [space, key, valueBytes] of partsOf(number)) {
    const value = engine.get(space, bytesOf(key));
    if (value === undefined) continue;
    found++;
    if (value.length !== valueBytes || value.some((byte) => byte !== (number & 0xff))) wrong++;
  }
  return { found, wrong };
}

/** Every batch up to the last one is there and whole, nothing of a later one is; returns the last. */
async function check(engine: Engine, acknowledged: number): Promise<number> {
  const last = Number(get(engine, "raft", "last"));
  expect(last, "the last batch is not older than the last acknowledged one").toBeGreaterThanOrEqual(
    acknowledged,
  );
  for (let number = Math.max(1, last - CHECKED_BATCHES); number <= last; number++) {
    const whole = { found: partsOf(number).length, wrong: 0 };
    expect(countParts(engine, number), `batch ${number} of ${last}`).toStrictEqual(whole);
  }
  const range = { start: bytesOf("0"), end: bytesOf("9"), limit: 1, reverse: true };
  for (const space of ["default", "lock", "write", "raft", "snap"] as const) {
    const { rows } = await scanRaw(engine, space, range);
    expect(Number(textOf(rows[0]?.key as Uint8Array).slice(0, 8)), `the last key of ${space}`).toBe(last);
  }
  return last;
}

describe.each([
  ["rocksdb", RocksEngine],
  ["leveldb", LevelEngine],
] as const)("%s", (kind, engineClass) => {
  test(`holds every acknowledged batch, whole, after each of ${KILLS} kills`, async () => {
    const random = new SeededRandom(Date.now());
    const directory = join(root, kind);
    let last = 0;
    let writer = startWriter(kind, directory);
    for (let kill = 0; kill < KILLS; kill++) {
      // Starting a process takes longer than a round: the next one starts meanwhile, and waits.
      const next = startWriter(kind, directory);
      const acknowledged = await writeAndKill(writer, last + 1, randomBelow(random, 120));
      writer = next;
      const engine = await engineClass.open(directory);
      const survived = await check(engine, acknowledged);
      expect(survived, "one batch at most was under way at the kill").toBeLessThanOrEqual(acknowledged + 1);
      last = survived;
      await close(engine);
    }
    writer.kill("SIGKILL");
    expect(last, "the writers made headway").toBeGreaterThan(KILLS * 5);
  }, 180_000);

  test("takes no write after one that failed, and keeps all that were acknowledged", async () => {
    const directory = join(root, `${kind}-limited`);
    const writer = startLimitedWriter(kind, directory);
    let output = "";
    writer.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const ended = new Promise((resolve) => writer.once("close", resolve));
    writer.stdin.end("1");
    expect(await ended).toBe(EXIT_FINAL);
    const acknowledged = lastLine(output);
    expect(acknowledged).toBeGreaterThan(10);
    const engine = await engineClass.open(directory);
    expect(await check(engine, acknowledged)).toBe(acknowledged);
    await close(engine);
  });
});
