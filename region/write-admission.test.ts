import { describe, expect, test } from "vitest";
import { DEFAULT_REGION_CONFIG } from "./config.js";
import { refuseWrite } from "./write-admission.js";

const CONFIG = { ...DEFAULT_REGION_CONFIG, uncommittedBytesMax: 1_000, writeQueueBytesFree: 100 };
const { writeWaitMsMax } = CONFIG;

const refused = (bytes: number, waitsMs: number | undefined, isStoreFull = false): string | undefined => {
  const nowMs = 50_000;
  const oldestMs = waitsMs === undefined ? undefined : nowMs - waitsMs;
  return refuseWrite(2, bytes, oldestMs, isStoreFull, nowMs, CONFIG)?.reason;
};

describe("a write", () => {
  test("is taken while there is room and writes get through", () => {
    expect(refused(0, undefined)).toBeUndefined();
    expect(refused(1_000, writeWaitMsMax)).toBeUndefined();
  });

  test("is refused beyond the bytes of its region, or of all regions", () => {
    expect(refused(1_001, 0)).toBe("region has too many writes");
    expect(refused(0, undefined, true)).toBe("store has too many writes");
  });

  test("is refused when the oldest before it has waited too long, unless the queue is short", () => {
    expect(refused(101, writeWaitMsMax + 1)).toBe("writes wait too long");
    expect(refused(100, writeWaitMsMax + 1)).toBeUndefined();
  });

  test("that is refused hears what is the matter", () => {
    const refusal = refuseWrite(2, 500, 10_000, false, 11_200, CONFIG);
    expect(refusal?.message).toBe(
      "writes to region 2 wait for 1200 ms already: a disk, or the other replicas, cannot keep up",
    );
  });
});
