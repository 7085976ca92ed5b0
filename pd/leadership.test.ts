import { expect, test } from "vitest";
import { Harness } from "./test/harness.js";

test("a PD whose disk refuses a change stops serving at once, whenever its next timestamp window is due (seed 262)", () => {
  const harness = Harness.started();
  harness.bootstrap();
  expect(harness.fatal).toBeUndefined();
  harness.engine.failAt = { write: harness.engine.writes + 1, applied: false };
  const answer = harness.http("POST", "/pd/api/v1/config", { "leader-schedule-limit": 7 });
  expect(answer.status).toBe(500);
  expect(harness.fatal?.message).toMatch(/PD cannot write its metadata: disk failed/);
});
