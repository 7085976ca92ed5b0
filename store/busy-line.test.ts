import { describe, expect, test } from "vitest";
import { ByteBudget } from "../base/index.js";
import { BusyLine } from "./busy-line.js";

const MIB = 1 << 20;

describe("writers that are refused", () => {
  const setUp = () => {
    const budget = new ByteBudget(64 * MIB);
    let nowMs = 10_000;
    const line = new BusyLine(budget, () => nowMs);
    return { budget, line, pass: (ms: number) => (nowMs += ms) };
  };

  test("are told to come one after the other, and never later than in two seconds", () => {
    const { budget, line } = setUp();
    budget.add(8 * MIB);
    const waits = Array.from({ length: 40 }, () => line.waitMs(MIB));
    expect(waits[0]).toBe(576);
    expect(waits.slice(0, 20)).toEqual(waits.slice(0, 20).toSorted((a, b) => a - b));
    expect(new Set(waits.slice(0, 20)).size).toBe(20);
    expect(Math.max(...waits)).toBe(2_000);
  });

  test("wait longer where writes are finished slowly, and less once they are fast again", () => {
    const { budget, line, pass } = setUp();
    budget.add(8 * MIB);
    const first = line.waitMs(1_000);
    for (let i = 0; i < 4; i++) {
      pass(500);
      budget.add(-MIB);
      budget.add(MIB);
      line.waitMs(1_000);
    }
    const slow = line.waitMs(1_000);
    expect(slow).toBeGreaterThan(2 * first);
    for (let i = 0; i < 4; i++) {
      pass(500);
      budget.add(-16 * MIB);
      budget.add(16 * MIB);
      line.waitMs(1_000);
    }
    expect(line.waitMs(1_000)).toBeLessThan(first);
  });

  test("after a quiet time are told nothing that was learned before it", () => {
    const { budget, line, pass } = setUp();
    for (let i = 0; i < 500; i++) line.waitMs(MIB);
    pass(60_000);
    expect(line.waitMs(1_000)).toBe(50);
    expect(budget.bytes).toBe(0);
  });
});
