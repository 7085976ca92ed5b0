import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Engine, SILENT_LOGGER } from "../base/index.js";
import { bytesOf, close, get, write } from "./conformance-tools.js";
import { openEngine, type OpenEngineOptions, stampIdentity } from "./open.js";
import { probeRocks } from "./probe.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-open-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const newDirectory = (): string => mkdtempSync(join(root, "data-"));
const openAt = (directory: string, options: Partial<OpenEngineOptions> = {}) =>
  openEngine({ directory, kind: "leveldb", role: "store", log: SILENT_LOGGER, ...options });
const stampOf = (directory: string): unknown =>
  JSON.parse(readFileSync(join(directory, "RAFTWERK.json"), "utf8"));

async function createAt(directory: string, options: Partial<OpenEngineOptions> = {}): Promise<void> {
  const { engine } = await openAt(directory, options);
  await write(engine, [["default", "k", "v"]], true);
  await close(engine);
}

async function expectData(engine: Engine): Promise<void> {
  expect(get(engine, "default", "k")).toBe("v");
  await close(engine);
}

describe("openEngine", () => {
  test("creates a missing directory and stamps it", async () => {
    const directory = join(newDirectory(), "a", "b");
    await createAt(directory);
    expect(stampOf(directory)).toStrictEqual({ format: 1, engine: "leveldb", role: "store" });
  });

  test.each(["rocksdb", "leveldb"] as const)(
    "opens what %s wrote with it, asked for or not",
    async (kind) => {
      const directory = newDirectory();
      await createAt(directory, { kind });
      const again = await openAt(directory, { kind: "auto" });
      expect(again).toMatchObject({ kind, reason: "the data directory was written by it" });
      expect(again.engine.kind).toBe(kind);
      await expectData(again.engine);
      await expectData((await openAt(directory, { kind })).engine);
    },
  );

  test("picks RocksDB where its binary works", async () => {
    const opened = await openAt(newDirectory(), { kind: "auto" });
    expect(opened).toMatchObject({ kind: "rocksdb", reason: "its binary works on this machine" });
    await close(opened.engine);
  });

  test("refuses another engine and names the right one", async () => {
    const directory = newDirectory();
    await createAt(directory);
    await expect(openAt(directory, { kind: "rocksdb" })).rejects.toMatchObject({
      code: "dataDirectoryMismatch",
      message: expect.stringContaining("start with --engine leveldb") as string,
    });
  });

  test("refuses a directory of another role", async () => {
    const directory = newDirectory();
    await createAt(directory, { role: "pd" });
    await expect(openAt(directory)).rejects.toMatchObject({
      code: "dataDirectoryMismatch",
      message: expect.stringContaining("holds the data of a pd") as string,
    });
  });

  test.each([
    ["another format", '{"format":2,"engine":"new","role":"store"}', "writes format 1"],
    ["a damaged stamp", '{"format":1,"eng', "is damaged"],
    ["a stamp of an unknown engine", '{"format":1,"engine":"other","role":"store"}', "is damaged"],
  ])("refuses %s", async (_, text, reason) => {
    const directory = newDirectory();
    await createAt(directory);
    writeFileSync(join(directory, "RAFTWERK.json"), text);
    await expect(openAt(directory)).rejects.toMatchObject({
      code: "dataDirectoryMismatch",
      message: expect.stringContaining(reason) as string,
    });
  });

  test("refuses a directory with files that are not its own, and names them", async () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "thesis.txt"), "");
    await expect(openAt(directory)).rejects.toMatchObject({
      code: "dataDirectoryNotEmpty",
      message: expect.stringContaining("thesis.txt") as string,
    });
  });

  test("refuses data whose stamp is gone", async () => {
    const directory = newDirectory();
    await createAt(directory);
    rmSync(join(directory, "RAFTWERK.json"));
    await expect(openAt(directory)).rejects.toMatchObject({ code: "dataDirectoryNotEmpty" });
  });

  test("refuses a stamp whose data is gone", async () => {
    const directory = newDirectory();
    await createAt(directory);
    rmSync(join(directory, "db"), { recursive: true });
    await expect(openAt(directory)).rejects.toMatchObject({
      code: "dataDirectoryNotEmpty",
      message: expect.stringContaining("missing or empty") as string,
    });
  });

  test("goes on with a first start that was cut short, with the engine of that start", async () => {
    const directory = newDirectory();
    mkdirSync(join(directory, "db"));
    writeFileSync(join(directory, "RAFTWERK.json.new"), '{"format":1,"engine":"leveldb","role":"store"}');
    const { engine, kind } = await openAt(directory, { kind: "auto" });
    expect(kind).toBe("leveldb");
    await close(engine);
    expect(stampOf(directory)).toMatchObject({ engine: "leveldb" });
  });

  test("starts over when the first start died while it wrote its choice", async () => {
    const directory = newDirectory();
    writeFileSync(join(directory, "RAFTWERK.json.new"), '{"for');
    await createAt(directory);
    expect(stampOf(directory)).toMatchObject({ engine: "leveldb" });
  });

  test.each(["rocksdb", "leveldb"] as const)("says that a directory is open already in %s", async (kind) => {
    const directory = newDirectory();
    const { engine } = await openAt(directory, { kind });
    await expect(openAt(directory, { kind })).rejects.toMatchObject({
      code: "dataDirectoryInUse",
      message: `${directory} is in use by another process: stop it, or take another directory`,
    });
    engine.get("default", bytesOf("k"));
    await close(engine);
  });

  test.each(["rocksdb", "leveldb"] as const)("sees the lock of another process in %s", async (kind) => {
    const directory = newDirectory();
    await createAt(directory, { kind });
    const holder = spawn(
      process.execPath,
      ["--import", "tsx", join(import.meta.dirname, "test", "crash-writer.ts"), kind, join(directory, "db")],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    holder.stdin.end("1");
    try {
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      await expect(openAt(directory, { kind })).rejects.toMatchObject({ code: "dataDirectoryInUse" });
    } finally {
      const gone = new Promise((resolve) => holder.once("exit", resolve));
      holder.kill("SIGKILL");
      await gone;
    }
    await expectData((await openAt(directory, { kind })).engine);
  });
});

describe("stampIdentity", () => {
  test("adds what is new, keeps what is known and refuses anything else", async () => {
    const directory = newDirectory();
    await createAt(directory);
    await stampIdentity(directory, { clusterId: "7" });
    await stampIdentity(directory, { storeId: 4 });
    await stampIdentity(directory, { clusterId: "7", storeId: 4 });
    expect(stampOf(directory)).toStrictEqual({
      format: 1,
      engine: "leveldb",
      role: "store",
      clusterId: "7",
      storeId: 4,
    });
    await expect(stampIdentity(directory, { clusterId: "8" })).rejects.toMatchObject({
      code: "dataDirectoryMismatch",
      message: expect.stringContaining("belongs to cluster 7") as string,
    });
    await expect(stampIdentity(directory, { clusterId: "7", storeId: 5 })).rejects.toMatchObject({
      code: "dataDirectoryMismatch",
      message: expect.stringContaining("belongs to store 4") as string,
    });
    await expectData((await openAt(directory)).engine);
  });
});

describe("the probe of RocksDB", () => {
  test.each([
    ["a binary that kills its process", "process.kill(process.pid, 'SIGILL')", "killed by SIGILL"],
    ["a binary that is not there", "require('no-such-package')", "Cannot find module"],
    ["a process that gives up", "process.exit(3)", "exit code 3"],
  ])("reports %s", async (_, program, reason) => {
    expect(await probeRocks(program)).toContain(reason);
  });

  test("finds nothing wrong here", async () => {
    expect(await probeRocks()).toBeUndefined();
  });
});
