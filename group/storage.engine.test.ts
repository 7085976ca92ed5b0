/** The storages of a group against their contract: in memory, and on disk over each engine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../base/index.js";
import { LevelEngine, MemoryEngine, RocksEngine } from "../engine/index.js";
import { type ConformanceTarget, groupStorageConformance } from "./conformance.js";
import { EMPTY_CONF_STATE, makeEntry, makeHardState } from "../raft/index.js";
import { EngineGroupStorage, type GroupStorage, MemoryGroupStorage } from "./index.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-group-"));
const opened = new Set<Engine>();
afterAll(async () => {
  for (const engine of opened) await new Promise<void>((resolve) => engine.close(() => resolve()));
  rmSync(root, { recursive: true, force: true });
});

let prefix = 0;
/** One engine for all cases of a kind, each under a prefix of its own. */
function onEngine(openEngine: () => Promise<Engine> | Engine): ConformanceTarget {
  let engine: Engine | undefined;
  const prefixes = new Map<GroupStorage, string>();
  const make = (name: string): GroupStorage => {
    const storage = new EngineGroupStorage(engine as Engine, name);
    prefixes.set(storage, name);
    return storage;
  };
  return {
    create: async () => {
      engine ??= await openEngine();
      opened.add(engine);
      return make(`group${prefix++}/`);
    },
    reopen: (closed) => make(prefixes.get(closed) as string),
  };
}

const targets: Readonly<Record<string, ConformanceTarget>> = {
  "in memory": { create: () => new MemoryGroupStorage() },
  "over the memory engine": onEngine(() => new MemoryEngine()),
  "over RocksDB": onEngine(() => RocksEngine.open(join(root, "rocksdb"))),
  "over LevelDB": onEngine(() => LevelEngine.open(join(root, "leveldb"))),
};

for (const [name, target] of Object.entries(targets)) {
  describe(`a storage ${name}`, () => {
    test.each(groupStorageConformance(target))("$title", async ({ run }) => {
      await expect(run()).resolves.toBeUndefined();
    });
  });
}

/** Rows of an engine under each prefix of the group's keys. */
const rowsOf = (engine: Engine, space: "raft" | "snap"): Promise<number> =>
  new Promise((resolve, reject) => {
    engine.scan(
      space,
      { start: new Uint8Array(0), end: undefined, limit: 1_000, keysOnly: true },
      (error, { rows }) => {
        if (error !== undefined) reject(error);
        else resolve(rows.length);
      },
    );
  });

const done = (run: (callback: (error: Error | undefined) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => run((error) => (error === undefined ? resolve() : reject(error))));

test("on disk nothing is left of snapshots that were replaced, aborted or cut off, nor of logs", async () => {
  const engine = new MemoryEngine();
  const open = (storage: GroupStorage): Promise<void> => done((callback) => storage.open(callback));
  const write = async (storage: GroupStorage, index: number, chunks: number) => {
    const writer = storage.beginSnapshot();
    for (let i = 0; i < chunks; i++) {
      await done((callback) => writer.write(writer.offset, new Uint8Array(10), callback));
    }
    const confState = { ...EMPTY_CONF_STATE, voters: [1] };
    const info = { index, term: 1, confState, bytes: writer.offset, checksum: 0, source: "s", number: index };
    return { writer, info };
  };
  let storage = new EngineGroupStorage(engine);
  await open(storage);
  const entries = Array.from({ length: 20 }, (_, i) => makeEntry(1, i + 1));
  await done((callback) => storage.write({ entries, hardState: undefined, mustSync: true }, callback));
  for (const index of [5, 8]) {
    const { writer, info } = await write(storage, index, 3);
    await done((callback) => storage.publishSnapshot(writer, info, callback));
    expect(await rowsOf(engine, "snap")).toBe(3);
  }
  const aborted = await write(storage, 9, 5);
  expect(await rowsOf(engine, "snap")).toBe(8);
  await done((callback) => aborted.writer.abort(callback));
  expect(await rowsOf(engine, "snap")).toBe(3);
  // The process dies while it writes one.
  await write(storage, 10, 5);
  storage = new EngineGroupStorage(engine);
  await open(storage);
  expect(await rowsOf(engine, "snap")).toBe(3);
  const before = await rowsOf(engine, "raft");
  await done((callback) => storage.deleteThrough(8, callback));
  expect(await rowsOf(engine, "raft")).toBe(before - 8 + 1);
  const { writer, info } = await write(storage, 30, 2);
  await done((callback) => storage.installSnapshot(writer, info, makeHardState(1, 0, 30), callback));
  expect(await rowsOf(engine, "snap")).toBe(2);
  // Hard state, beginning of the log, which snapshot lives: no entry.
  expect(await rowsOf(engine, "raft")).toBe(3);
});

test("the suite notices a storage that only adds", async () => {
  class OnlyAdds extends MemoryGroupStorage {
    override write(...[write, done]: Parameters<GroupStorage["write"]>): void {
      super.write({ ...write, entries: write.entries.filter(({ index }) => index > this.lastIndex()) }, done);
    }
  }
  const cases = groupStorageConformance({ create: () => new OnlyAdds() });
  const overwrite = cases.find(({ title }) => title.startsWith("overwrites"));
  await expect(overwrite?.run()).rejects.toThrow("last index");
});
