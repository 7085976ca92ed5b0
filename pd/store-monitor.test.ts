/** Stores that leave, by order or by falling silent. */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { World } from "./test/world.js";

describe("a store that leaves", () => {
  test("is drained, then buried", () => {
    const world = new World({ stores: 4, obeys: true });
    world.addRegions(Array.from({ length: 8 }, () => [1, 2, 3]));
    const answer = world.harness.http("DELETE", "/pd/api/v1/store/1");
    expect(answer.status).toBe(200);
    world.advance(120_000);
    expect(world.count(1, "peers")).toBe(0);
    for (const region of world.regions.values()) expect(region.peers).toHaveLength(3);
    expect(must(world.view.store(1), "").nodeState).toBe("removed");
  });

  test("is forgotten a month after it was buried and fell silent", () => {
    const world = new World({ stores: 4, obeys: true });
    world.addRegions([[2, 3, 4]]);
    const month = 30 * 24 * 3_600_000;
    const store = must(world.view.store(1), "");
    const { clock } = world.harness.env;
    store.setNodeState("removed");
    const silentFor = (ms: number): boolean => {
      store.meta.lastHeartbeat = BigInt(Math.floor(clock.wallMs() - ms)) * 1_000_000n;
      world.harness.env.advance(3000);
      return world.harness.pd.cluster.stores.has(1);
    };
    store.meta.lastHeartbeat = 0n;
    world.harness.env.advance(3000);
    expect(world.harness.pd.cluster.stores.has(1)).toBe(true);
    expect(silentFor(month - 60_000)).toBe(true);
    expect(silentFor(month + 60_000)).toBe(false);
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(world.harness.pd.cluster.stores.has(1)).toBe(false);
  });

  test("is not buried while it counts peers itself, though PD has no record of them", () => {
    const world = new World({ stores: 4, obeys: true });
    world.addRegions([[2, 3, 4]]);
    expect(world.harness.http("DELETE", "/pd/api/v1/store/1").status).toBe(200);
    const store = must(world.view.store(1), "");
    for (let seconds = 0; seconds < 30; seconds++) {
      world.harness.heartbeatStore(1, { regionCount: 2 });
      world.harness.env.advance(1000);
    }
    expect(store.nodeState).toBe("removing");
    world.harness.heartbeatStore(1, { regionCount: 0 });
    world.harness.env.advance(3000);
    expect(store.nodeState).toBe("removed");
  });

  test("is not buried before it has spoken to this PD, unless it stays silent for long", () => {
    const world = new World({ stores: 4, obeys: true });
    world.addRegions([[2, 3, 4]]);
    expect(world.harness.http("DELETE", "/pd/api/v1/store/1").status).toBe(200);
    const store = must(world.view.store(1), "");
    store.stats = undefined;
    world.deadStores.add(1);
    world.advance(200_000);
    expect(store.nodeState).toBe("removing");
    world.advance(150_000);
    expect(store.nodeState).toBe("removed");
  });

  test("has the replicas of a silent store made anew after max-store-down-time", () => {
    const world = new World({ stores: 4, obeys: true, schedule: { "max-store-down-time": "1m" } });
    const regions = world.addRegions(Array.from({ length: 3 }, () => [2, 3, 1]));
    world.deadStores.add(1);
    world.advance(50_000);
    for (const region of regions) {
      region.down = region.peers.filter((peer) => peer.storeId === 1).map((peer) => peer.id);
    }
    world.advance(5000);
    expect(world.count(1, "peers")).toBe(3);
    world.advance(60_000);
    expect(world.count(1, "peers")).toBe(0);
    expect(world.count(4, "peers")).toBe(3);
  });
});
