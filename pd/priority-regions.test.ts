/** Which regions are looked at before others. (PD: schedule/checker/priority_inspector_test.go) */
import { expect, test } from "vitest";
import { PriorityRegions } from "./priority-regions.js";

const INTERVAL_MS = 10;

test("those that lack most come first, each look in vain later than the one before (TestCheckPriorityRegions)", () => {
  const regions = new PriorityRegions();
  const due = (nowMs: number): number[] => regions.due(nowMs, INTERVAL_MS);
  regions.observe(1, 0, 0);
  expect([regions.size, due(1000)]).toEqual([0, []]);
  regions.observe(2, 1, 0);
  regions.observe(3, 2, 0);
  regions.observe(4, 1, 0);
  expect([due(99), due(100)]).toEqual([[], [3, 2, 4]]);
  regions.observe(3, 2, 100);
  expect([due(250), due(300)]).toEqual([
    [2, 4],
    [3, 2, 4],
  ]);
  // One that lacks less begins anew, behind its like; one that lacks nothing is let go.
  regions.observe(3, 1, 300);
  regions.observe(2, 0, 300);
  expect([due(400), regions.size]).toEqual([[4, 3], 2]);
});

test("no more than so many are kept: of those that lack least the youngest goes, for one that lacks more", () => {
  const regions = new PriorityRegions();
  for (let id = 1; id <= 1280; id++) regions.observe(id, 1, 0);
  regions.observe(2000, 1, 0);
  expect(regions.due(100, INTERVAL_MS)).not.toContain(2000);
  regions.observe(2001, 2, 0);
  const due = regions.due(100, INTERVAL_MS);
  expect([due.length, due[0], due.at(-1)]).toEqual([1280, 2001, 1279]);
  for (const id of due) regions.forget(id);
  expect(regions.size).toBe(0);
});
