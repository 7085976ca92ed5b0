/** A store's report of its snapshots and PD's store limit of version 2 together: who sends at ease may send more. */
import { expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import { Harness } from "../pd/test/harness.js";
import { SnapshotStats } from "../store/snapshot-stats.js";

/** MiB that PD lets store 1 send at a time, after four snapshots of 20 s for each of which a follower waited. */
function capacityAfter(waitedMs: number): number {
  const harness = Harness.started({ config: { schedule: { "store-limit-version": "v2" } } });
  harness.bootstrap();
  const windows = harness.pd.cluster.store(1)?.snapshotWindows;
  if (windows === undefined) throw new Error("no store");
  const env = new ManualEnv();
  const stats = new SnapshotStats(env);
  for (let i = 0; i < 4; i++) {
    // Asked for again and again until there is room.
    for (let ms = 0; ms <= waitedMs; ms += 10_000) {
      stats.wanted(22);
      if (ms < waitedMs) env.advance(10_000);
    }
    env.advance(20_000);
    stats.sent({ regionId: 2, toPeerId: 22, bytes: 96 << 20, streamMs: 20_000, readMs: 4_000 });
    windows.take(windows.capacity, 0);
    harness.heartbeatStore(1, { snapshotStats: stats.take() });
    windows.acknowledge(windows.capacity);
  }
  return windows.capacity;
}

test("PD lets a store send more where no follower waits, and no more than at first where they do", () => {
  expect(capacityAfter(0)).toBeGreaterThan(1_000);
  expect(capacityAfter(60_000)).toBe(100);
});
