/** What PD is told of reads: its hot caches and the hot-region scheduler rest on it. */
import { expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { Stores } from "./test/harness.js";

test("keys and bytes of gets, batches and scans reach PD with the region's next heartbeat, once", () => {
  const stores = Stores.led(1, {}, 1);
  stores.put("k1", "12345");
  stores.put("k2", "1234567890");
  const flowSince = (from: number): { readonly keys: number; readonly bytes: number } => {
    stores.pass(stores.config.pdHeartbeatTickMs + 2_000);
    let [keys, bytes] = [0, 0];
    for (const { region, keysRead, bytesRead } of stores.pd.heartbeats.slice(from)) {
      if (region?.id !== 2) continue;
      keys += keysRead ?? 0;
      bytes += bytesRead ?? 0;
    }
    return { keys, bytes };
  };
  flowSince(0);
  const from = stores.pd.heartbeats.length;
  expect(stores.get("k1")).toBe("12345");
  expect(stores.get("missing")).toBeUndefined();
  stores.raw("batchGet", { keys: [utf8("k1"), utf8("k2"), utf8("k3")] });
  stores.raw("scan", { startKey: utf8("k"), limit: 10 });
  // Five pairs as they are stored: a key has the prefix of user data, a value the byte that says whether it expires.
  expect(flowSince(from)).toEqual({ keys: 5, bytes: 5 * (3 + 1) + 5 + 2 * (5 + 10) });
  expect(flowSince(stores.pd.heartbeats.length)).toEqual({ keys: 0, bytes: 0 });
});
