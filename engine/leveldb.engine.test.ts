import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../base/index.js";
import { engineConformance } from "./conformance.js";
import { LevelEngine } from "./leveldb.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-leveldb-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("the LevelDB engine", () => {
  const directories = new Map<Engine, string>();
  const openAt = async (directory: string): Promise<Engine> => {
    const engine = await LevelEngine.open(directory);
    directories.set(engine, directory);
    return engine;
  };
  const target = {
    name: "it",
    open: () => openAt(mkdtempSync(join(root, "case-"))),
    reopen: (closed: Engine) => openAt(directories.get(closed) as string),
  };
  test.each(engineConformance(target))("$title", async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});
