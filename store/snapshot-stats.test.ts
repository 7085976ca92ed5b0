/** What PD is told of the snapshots that a store has sent. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { ManualEnv } from "../base/test/manual-env.js";
import type { pdpb } from "../proto/index.js";
import { peerOf } from "../region/test/fixtures.js";
import { SnapshotStats } from "./snapshot-stats.js";
import { Stores } from "./test/harness.js";

const SNAPSHOT = { regionId: 2, bytes: 1_000_000, streamMs: 4_500, readMs: 1_200 };

describe("of the snapshots it has sent", () => {
  test("a store tells PD in its next heartbeat, once", () => {
    const stores = Stores.led(3, { snapshotBytesPerSecondMax: 10_000 }, 2);
    const told: (readonly pdpb.ISnapshotStat[])[] = [];
    stores.pd.storeHeartbeat = (stats, callback) => {
      if (stats.storeId === 1) told.push(stats.snapshotStats ?? []);
      callback(undefined, {} as pdpb.IStoreHeartbeatResponse);
    };
    for (let i = 0; i < 4; i++) stores.put(`k${i}`, "v".repeat(11_000));
    const { region, term, appliedIndex } = stores.peer();
    const compact = { kind: "compactLog", index: appliedIndex as never, term: term as never } as const;
    stores.peer().admin(region.epoch, compact, () => {});
    stores.pass(100);
    const change = { kind: "addLearner", peer: peerOf(23, 3, "learner") } as const;
    stores.peer().admin(region.epoch, { kind: "changePeer", changes: [change] }, () => {});
    stores.pass(15_000);
    expect(stores.member(3).engine.get("default", utf8("zk3"))).toBeDefined();
    const [sent, ...more] = told.flat();
    expect(more).toEqual([]);
    // 44,000 bytes at 10,000 a second.
    expect(sent).toMatchObject({
      regionId: 2,
      generateDurationSec: 0,
      sendDurationSec: 4,
      totalDurationSec: 4,
    });
    expect(sent?.transportSize).toBeGreaterThan(44_000);
    expect(told.at(-1)).toEqual([]);
  });

  const sentAfter = (...wishesMs: readonly number[]): readonly pdpb.ISnapshotStat[] => {
    const env = new ManualEnv();
    const stats = new SnapshotStats(env);
    let nowMs = 0;
    for (const wishMs of wishesMs) {
      env.advance(wishMs - nowMs);
      nowMs = wishMs;
      stats.wanted(22);
    }
    env.advance(SNAPSHOT.streamMs);
    stats.sent({ ...SNAPSHOT, toPeerId: 22 });
    return stats.take();
  };

  test("the time that a follower waited until there was room for its snapshot counts in all", () => {
    const work = { generateDurationSec: 1, sendDurationSec: 3 };
    expect(sentAfter(0)).toMatchObject([{ ...work, totalDurationSec: 4 }]);
    expect(sentAfter(0, 5_000, 10_000)).toMatchObject([{ ...work, totalDurationSec: 14 }]);
  });

  test("a wish that was dropped long ago does not count", () => {
    expect(sentAfter(0, 120_000)).toMatchObject([{ totalDurationSec: 4 }]);
  });

  test("what took less than a second is not worth a word", () => {
    const stats = new SnapshotStats(new ManualEnv());
    stats.wanted(22);
    stats.sent({ ...SNAPSHOT, toPeerId: 22, streamMs: 900, readMs: 0 });
    expect(stats.take()).toEqual([]);
  });
});
