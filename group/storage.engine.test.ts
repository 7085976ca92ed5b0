/** The storages of a group against their contract: in memory, and on disk over each engine. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../base/index.js";
import { LevelEngine, MemoryEngine, RocksEngine } from "../engine/index.js";
import { type ConformanceTarget, groupStorageConformance } from "./conformance.js";
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
