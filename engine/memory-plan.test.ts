import { describe, expect, test } from "vitest";
import { DEFAULT_ENGINE_MEMORY, memoryOfSpaces } from "./memory-plan.js";

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

describe("memory of an engine", () => {
  test("is divided among the key spaces without growing", () => {
    const memory = { blockCacheBytes: 1 << 30, memtableBytes: 512 << 20 };
    const spaces = Object.values(memoryOfSpaces(memory));
    expect(sum(spaces.map(({ cacheBytes }) => cacheBytes))).toBeLessThanOrEqual(memory.blockCacheBytes);
    expect(sum(spaces.map(({ cacheBytes }) => cacheBytes))).toBeGreaterThan(memory.blockCacheBytes * 0.99);
    expect(sum(spaces.map(({ memtableBytes }) => memtableBytes))).toBeLessThanOrEqual(memory.memtableBytes);
  });

  test("gives data the most and keeps within what the binding can be told", () => {
    const { default: data, raft } = memoryOfSpaces({ blockCacheBytes: 2 ** 40, memtableBytes: 2 ** 40 });
    expect(data.cacheBytes).toBe(2 ** 32 - 1);
    expect(data.memtableBytes).toBe(128 << 20);
    const small = memoryOfSpaces(DEFAULT_ENGINE_MEMORY);
    expect(small.default.cacheBytes).toBeGreaterThan(small.raft.cacheBytes);
    expect(raft.memtableBytes).toBe(64 << 20);
  });

  test("leaves every key space memtables that it can work with", () => {
    for (const { memtableBytes } of Object.values(memoryOfSpaces({ blockCacheBytes: 0, memtableBytes: 0 }))) {
      expect(memtableBytes).toBe(4 << 20);
    }
  });
});
