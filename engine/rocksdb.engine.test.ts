import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { compareBytes, type Engine } from "../base/index.js";
import { engineConformance } from "./conformance.js";
import { RocksEngine } from "./rocksdb.js";

const root = mkdtempSync(join(tmpdir(), "raftwerk-rocksdb-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("the RocksDB engine", () => {
  const directories = new Map<Engine, string>();
  const openAt = async (directory: string): Promise<Engine> => {
    const engine = await RocksEngine.open(directory);
    directories.set(engine, directory);
    return engine;
  };
  const target = {
    name: "it",
    open: () => openAt(mkdtempSync(join(root, "case-"))),
    reopen: (closed: Engine) => openAt(directories.get(closed) as string),
  };
  test("gives out keys byte for byte, whether they are text or not", async () => {
    const engine = await openAt(mkdtempSync(join(root, "case-")));
    const texts = Array.from({ length: 200 }, (_, i) => Buffer.from(`text-${String(i).padStart(3, "0")}\0`));
    // Text that is no ASCII, a mark of byte order, half a character, and what is no text at all.
    const others = ["c3a9", "efbbbf41", "f09f", "80ff00", "ff"].map((hex) => Buffer.from(hex, "hex"));
    const write = (keys: readonly Uint8Array[]): void => {
      const batch = engine.batch();
      for (const key of keys) batch.put("default", key, Buffer.concat([Buffer.from("v"), key]));
      engine.write(batch, { sync: false }, () => {});
    };
    const scanned = (reverse: boolean, keysOnly: boolean): string[] => {
      const found: string[] = [];
      const range = { start: new Uint8Array(0), end: undefined, limit: 1_000 };
      engine.scan("default", { ...range, reverse, keysOnly }, (error, { rows }) => {
        expect(error).toBeUndefined();
        for (const { key, value } of rows) {
          const hex = Buffer.from(key).toString("hex");
          expect(Buffer.from(value).toString("hex")).toBe(keysOnly ? "" : `76${hex}`);
          found.push(hex);
        }
      });
      return found;
    };
    const expectAll = (keys: readonly Uint8Array[]): void => {
      const sorted = [...keys].sort(compareBytes).map((key) => Buffer.from(key).toString("hex"));
      for (const keysOnly of [false, true]) {
        expect(scanned(false, keysOnly)).toEqual(sorted);
        expect(scanned(true, keysOnly)).toEqual([...sorted].reverse());
      }
    };
    write(texts);
    expectAll(texts);
    write(others);
    // More often than one that meets such a key is remembered.
    for (let times = 0; times < 80; times++) expectAll([...texts, ...others]);
    await new Promise((resolve) => engine.close(resolve));
  });

  test.each(engineConformance(target))("$title", async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});
