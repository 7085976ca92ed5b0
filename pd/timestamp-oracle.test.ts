import { describe, expect, test } from "vitest";
import { fromUtf8 } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { decodeTimestampText, encodeTimestampText, encodeUint64 } from "./numbers.js";
import { Harness } from "./test/harness.js";
import { composeTimestamp, LOGICAL_LIMIT } from "./timestamp-oracle.js";

const DAY_MS = 86_400_000;

function take(harness: Harness, count = 1): bigint | string {
  const call = harness.open(PdService.Tso);
  call.send({ header: harness.header, count });
  harness.env.settle();
  const { physical = 0, logical = 0 } = call.answers[0]?.timestamp ?? {};
  return call.answers.length === 0
    ? (call.status?.message ?? "waits")
    : composeTimestamp({ physicalMs: physical, logical });
}

const reset = (harness: Harness, body: object) => harness.http("POST", "/pd/api/v1/admin/reset-ts", body);

describe("timestamps", () => {
  test("stand still and go on when the wall clock jumps back, and an alarm is counted (TestSystemTimeJumpBack)", () => {
    const harness = Harness.started();
    harness.env.advance(1_000);
    const before = take(harness) as bigint;
    harness.env.jumpWall(-60_000);
    harness.env.advance(100);
    const after = take(harness) as bigint;
    expect(after > before).toBe(true);
    expect(after >> 18n).toBe(before >> 18n);
    expect(harness.pd.metrics.value("pd_monitor_time_jump_back_total")).toBe(1);
    harness.env.advance(10_000);
    expect(harness.pd.metrics.value("pd_monitor_time_jump_back_total")).toBe(1);
  });

  test("follow the wall clock ahead, and a lag that is no usual one is counted, as is a clock behind", () => {
    const harness = Harness.started();
    const count = (type: string) => harness.pd.metrics.value("pd_tso_events", { type, group: "default" });
    harness.env.advance(10_000);
    harness.env.jumpWall(90);
    harness.env.advance(1000);
    expect([count("slow_save"), count("system_time_slow")]).toEqual([0, 0]);
    const before = take(harness) as bigint;
    harness.env.jumpWall(3000);
    harness.env.advance(1000);
    expect(count("slow_save")).toBe(1);
    expect(Number(((take(harness) as bigint) >> 18n) - (before >> 18n))).toBeGreaterThan(3900);
    harness.env.jumpWall(-500);
    harness.env.advance(2000);
    expect(count("system_time_slow")).toBeGreaterThanOrEqual(9);
    expect(count("system_time_slow")).toBeLessThanOrEqual(11);
  });

  test("from outside only grow, and never beyond those given out [TestExternalTimestamp]", () => {
    const harness = Harness.started();
    harness.bootstrap();
    const now = take(harness) as bigint;
    const set = (timestamp: bigint) => {
      const error = harness.call(PdService.SetExternalTimestamp, { timestamp }).header?.error;
      return error === null || error === undefined ? "ok" : `${error.type} ${error.message}`;
    };
    const got = () => harness.call(PdService.GetExternalTimestamp).timestamp;
    expect(set(now + (1n << 40n))).toBe("10 the external timestamp should not be larger than global ts");
    expect([set(now - 9n), got(), set(now - 9n), set(now - 5n)]).toEqual([
      "ok",
      now - 9n,
      "10 the external timestamp should be larger than current external timestamp",
      "ok",
    ]);
    expect(harness.crashAndRestart()).toBe(true);
    expect([got(), set(now - 6n)]).toEqual([now - 5n, expect.stringMatching(/^10 /)]);
  });

  test("for others are stored as hex text, and read in the form of an earlier version too", () => {
    for (const timestamp of [0n, 255n, 470642228205715457n]) {
      expect(fromUtf8(encodeTimestampText(timestamp))).toBe(timestamp.toString(16));
      expect(decodeTimestampText(encodeTimestampText(timestamp))).toBe(timestamp);
      expect(decodeTimestampText(encodeUint64(timestamp))).toBe(timestamp);
    }
  });

  test("grow from one request to the next, whatever their size (TestGenerateTSO)", () => {
    const harness = Harness.started();
    let last = 0n;
    for (let i = 0; i < 500; i++) {
      const count = 1 + ((i * 37) % 900);
      const got = take(harness, count) as bigint;
      // All of a batch lie above what came before.
      expect(got - BigInt(count) >= last).toBe(true);
      last = got;
      if (i % 50 === 0) harness.env.advance(33);
    }
  });

  test("of many streams at once are all different and in the order of the answers (TestRequestTSOConcurrently)", () => {
    const harness = Harness.started();
    const streams = Array.from({ length: 20 }, () => harness.open(PdService.Tso));
    const spans: [first: bigint, last: bigint][] = [];
    for (let round = 0; round < 30; round++) {
      for (const [i, stream] of streams.entries())
        stream.send({ header: harness.header, count: 1 + ((round + i) % 7) });
      harness.env.settle();
      for (const stream of streams) {
        const { timestamp, count } = stream.answers[round] as { timestamp: object; count: number };
        const { physical = 0, logical = 0 } = timestamp as { physical?: number; logical?: number };
        const last = composeTimestamp({ physicalMs: physical, logical });
        spans.push([last - BigInt(count) + 1n, last]);
      }
      if (round % 5 === 0) harness.env.advance(20);
    }
    spans.sort(([left], [right]) => (left < right ? -1 : 1));
    const overlaps = spans.filter(([first], i) => i > 0 && first <= (spans[i - 1] as [bigint, bigint])[1]);
    expect(overlaps).toEqual([]);
  });

  test("follow the wall clock forward in one step, however far", () => {
    const harness = Harness.started();
    const before = take(harness) as bigint;
    harness.env.jumpWall(3_600_000);
    harness.env.advance(200);
    const after = take(harness) as bigint;
    expect(Number((after >> 18n) - (before >> 18n))).toBeGreaterThanOrEqual(3_600_000);
  });

  test("of a counter that is used up come from the next milliseconds (TestLogicalOverflow)", () => {
    const harness = Harness.started();
    harness.env.jumpWall(-60_000);
    let last = 0n;
    for (let i = 0; i < 20; i++) {
      const call = harness.open(PdService.Tso);
      call.send({ header: harness.header, count: LOGICAL_LIMIT / 2 });
      harness.env.advance(120);
      const { physical = 0, logical = 0 } = call.answers[0]?.timestamp ?? {};
      const got = composeTimestamp({ physicalMs: physical, logical });
      expect(got - BigInt(LOGICAL_LIMIT / 2) >= last).toBe(true);
      last = got;
    }
    expect(take(harness, LOGICAL_LIMIT)).toMatch(/maximum number of retries exceeded/);
    expect(take(harness, 0)).toMatch(/tso count should be positive/);
  });

  test("are moved forward by reset-ts, within its bounds (TestResetTS)", () => {
    const harness = Harness.started();
    const now = take(harness) as bigint;
    const ahead = now + (BigInt(DAY_MS / 2) << 18n);
    expect(reset(harness, { tso: String(ahead) })).toMatchObject({
      status: 200,
      json: "Reset ts successfully.",
    });
    expect((take(harness) as bigint) > ahead).toBe(true);
    const smaller = reset(harness, { tso: String(now) });
    expect(smaller.status).toBe(403);
    expect(smaller.text).toContain("the specified ts is smaller than now");
    expect(reset(harness, { tso: String(now), "force-use-larger": true }).status).toBe(200);
    const far = ahead + (BigInt(2 * DAY_MS) << 18n);
    expect(reset(harness, { tso: String(far) }).text).toContain("the specified ts is too larger than now");
    expect((take(harness) as bigint) < far).toBe(true);
    expect(reset(harness, { tso: String(far), "force-use-larger": true }).status).toBe(200);
    expect((take(harness) as bigint) > far).toBe(true);
    for (const bad of [{}, { tso: 5 }, { tso: "" }, { tso: "-1" }, { tso: "99999999999999999999" }]) {
      expect(reset(harness, bad)).toMatchObject({ status: 400, json: "invalid tso value" });
    }
    expect(reset(harness, { tso: "5", "force-use-larger": "yes" }).status).toBe(400);
    // And stay there over a crash.
    const last = take(harness) as bigint;
    expect(harness.crashAndRestart()).toBe(true);
    harness.env.advance(100);
    expect((take(harness) as bigint) > last).toBe(true);
  });
});
