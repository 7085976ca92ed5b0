/** A disk that is slow, for a moment and for long. */
import { expect, test } from "vitest";
import { SlowScore } from "./slow-score.js";

function periods(score: SlowScore, fromMs: number, count: number, ...durationsMs: number[]): number {
  let nowMs = fromMs;
  for (let i = 0; i < count; i++) {
    for (const durationMs of durationsMs) score.observe(durationMs);
    nowMs += 10_000;
    score.tick(nowMs);
  }
  return nowMs;
}

test("a disk that is slow at a tenth of its writes is at the worst score after seven periods, and not before", () => {
  const score = new SlowScore(0);
  const writes = [600, ...Array.from({ length: 9 }, () => 3)];
  const nowMs = periods(score, 0, 6, ...writes);
  expect(score.value).toBe(64);
  periods(score, nowMs, 4, ...writes);
  expect(score.value).toBe(100);
});

test("one slow write among thousands is nothing, and writes below the limit are none", () => {
  const score = new SlowScore(0);
  periods(score, 0, 3, 600, ...Array.from({ length: 5_000 }, () => 499));
  expect(score.value).toBe(1);
});

test("a disk that has recovered is at the best score after five minutes, idle or not", () => {
  const score = new SlowScore(0);
  let nowMs = periods(score, 0, 10, 30_000);
  expect(score.value).toBe(100);
  nowMs = periods(score, nowMs, 15, 2);
  expect(score.value).toBe(50);
  periods(score, nowMs, 15);
  expect(score.value).toBe(1);
});

test("nothing is judged before a period is over", () => {
  const score = new SlowScore(0);
  score.observe(900);
  score.tick(9_999);
  expect(score.value).toBe(1);
  score.tick(10_000);
  expect(score.value).toBe(2);
});
