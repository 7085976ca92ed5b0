import { describe, expect, test } from "vitest";
import { DEFAULT_STORE_CONFIG, validateStoreConfig } from "../store/index.js";
import { boundedByMemory, defaultMemoryBytes, engineMemory, memoryBytes } from "./memory-budget.js";

describe("the memory of a store", () => {
  test("is a quarter of the machine, shared by the stores of one command", () => {
    expect(defaultMemoryBytes(1, 24 * 2 ** 30)).toBe(6 * 2 ** 30);
    expect(defaultMemoryBytes(3, 24 * 2 ** 30)).toBe(2 * 2 ** 30);
    expect(defaultMemoryBytes(16, 2 ** 30)).toBe(128 << 20);
  });

  test("covers caches, memtables and what is under way", () => {
    const bytes = 1 << 30;
    const { blockCacheBytes, memtableBytes } = engineMemory(bytes);
    expect(blockCacheBytes + memtableBytes).toBe((bytes * 3) / 4);
    const config = boundedByMemory(DEFAULT_STORE_CONFIG, bytes);
    expect(config.entryCacheTotalBytesMax + config.writesUnderWayBytesMax).toBeLessThanOrEqual(bytes / 4);
  });

  test("leaves bounds that a store can work with, and never raises one", () => {
    for (const bytes of [128 << 20, 1 << 30, 64 * 2 ** 30]) {
      const config = boundedByMemory(DEFAULT_STORE_CONFIG, bytes);
      validateStoreConfig(config);
      // One proposal of the largest kind must fit.
      expect(config.writesUnderWayBytesMax).toBeGreaterThan(config.raftEntryBytesMax);
      expect(config.scansUnderWayBytesMax).toBeGreaterThanOrEqual(config.scanBytesMax);
      expect(config.writesUnderWayBytesMax).toBeLessThanOrEqual(DEFAULT_STORE_CONFIG.writesUnderWayBytesMax);
    }
  });

  test("is refused where it cannot do", () => {
    expect(() => memoryBytes("--memory", "10MiB")).toThrow("--memory must be at least 128MiB");
    expect(() => memoryBytes("--memory", "much")).toThrow("is no size");
    expect(memoryBytes("--memory", "1GiB")).toBe(2 ** 30);
  });
});
