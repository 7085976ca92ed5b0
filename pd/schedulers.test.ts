/** Balance and eviction of leaders, over stores that obey. (PD: balance_*_test.go, evict_leader_test.go) */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { BalanceSolver } from "./balance-solver.js";
import { OperatorBuilder } from "./operator-builder.js";
import { World, type WorldOptions } from "./test/world.js";

const NO_REGION_MOVES = { "region-schedule-limit": 0 };
const NO_LEADER_MOVES = { "leader-schedule-limit": 0 };

const makeWorld = (stores: number, more: Partial<WorldOptions> = {}): World =>
  new World({ stores, obeys: true, ...more });

const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

function startedOperators(world: World): number {
  return world.harness.env.lines.filter((line) => line.startsWith("add operator")).length;
}

describe("balance-leader", () => {
  test("evens out leaders and then rests (TestBalanceLimit)", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions(times(12, [1, 2, 3]));
    world.advance(15_000);
    const leaders = [1, 2, 3].map((id) => world.count(id, "leaders"));
    expect(Math.max(...leaders) - Math.min(...leaders)).toBeLessThanOrEqual(2);
    const moves = startedOperators(world);
    world.advance(60_000);
    expect(startedOperators(world)).toBe(moves);
  });

  test("leaves a difference within the tolerance alone", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions([...times(3, [1, 2, 3]), ...times(2, [2, 1, 3]), [3, 1, 2]]);
    world.advance(30_000);
    expect(startedOperators(world)).toBe(0);
  });

  test("gives no leader to stores that are leaving, busy, full of pauses or silent (TestBalanceFilter)", () => {
    const world = makeWorld(4, {
      schedule: { ...NO_REGION_MOVES, "replica-schedule-limit": 0 },
      replication: { "max-replicas": 4 },
    });
    world.addRegions(times(12, [1, 2, 3, 4]));
    must(world.view.store(2), "").setNodeState("removing");
    must(world.view.store(3), "").leaderInPauses += 1;
    world.advance(15_000);
    expect([2, 3].map((id) => world.count(id, "leaders"))).toEqual([0, 0]);
    expect(world.count(4, "leaders")).toBeGreaterThan(4);
    expect(world.scheduling.notes.of("store", 2)).toContainEqual(
      expect.objectContaining({ reason: "takes no leaders: StoreRemoving" }),
    );
    const { metrics } = world.harness.pd;
    const scope = "balance-leader-scheduler";
    const left = (store: string, type: string): number =>
      metrics.value("pd_schedule_target_filter", { scope, type, target: store });
    expect(left("2", "store-state-offline-filter")).toBeGreaterThan(0);
    expect(left("3", "store-state-reject-leader-filter")).toBeGreaterThan(0);
    expect(left("4", "store-state-offline-filter")).toBe(0);
    const direction = (store: string, way: string): number =>
      metrics.value("pd_scheduler_balance_direction", { type: scope, store, direction: way });
    expect(direction("1", "out")).toBeGreaterThan(0);
    expect(direction("4", "in")).toBeGreaterThan(0);
    expect(direction("2", "in")).toBe(0);
  });

  test("counts leader-weight (TestLeaderWeight)", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    must(world.view.store(1), "").leaderWeight = 4;
    world.addRegions(times(18, [2, 1, 3]));
    world.advance(30_000);
    expect(world.count(1, "leaders")).toBeGreaterThan(2 * world.count(3, "leaders"));
  });

  test("does nothing before enough regions have reported (TestBalanceWhenRegionNotHeartbeat)", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions(times(12, [1, 2, 3]));
    world.harness.env.settle();
    world.harness.pd.cluster.stop(() => {});
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    const before = startedOperators(world);
    world.harness.env.advance(60_000);
    expect(world.harness.pd.cluster.isPrepared).toBe(false);
    expect(startedOperators(world)).toBe(before);
  });
});

describe("balance-region", () => {
  test("fills a store that joins, evenly, and then rests", () => {
    const world = makeWorld(3, { schedule: { ...NO_LEADER_MOVES, "max-snapshot-count": 100 } });
    world.scheduling.view.config.defaultStoreLimit = { "add-peer": 1e8, "remove-peer": 1e8 };
    world.addRegions(times(16, [1, 2, 3]));
    world.advance(20_000);
    expect(startedOperators(world)).toBe(0);
    world.addStore(4);
    world.advance(60_000);
    const peers = [1, 2, 3, 4].map((id) => world.count(id, "peers"));
    expect(Math.max(...peers) - Math.min(...peers)).toBeLessThanOrEqual(2);
    for (const region of world.regions.values()) expect(region.peers).toHaveLength(3);
    const moves = startedOperators(world);
    world.advance(120_000);
    expect(startedOperators(world)).toBe(moves);
  });

  test("keeps replicas apart (TestBalanceRegionReplicas3)", () => {
    const zones: Record<number, string> = { 1: "a", 2: "b", 3: "c", 4: "a" };
    const world = makeWorld(3, {
      schedule: NO_LEADER_MOVES,
      replication: { "location-labels": "zone" },
      labels: (id) => ({ zone: zones[id] as string }),
    });
    world.scheduling.view.config.defaultStoreLimit = { "add-peer": 1e8, "remove-peer": 1e8 };
    world.addRegions(times(16, [1, 2, 3]));
    world.addStore(4);
    world.advance(60_000);
    expect(world.count(4, "peers")).toBeGreaterThan(5);
    expect([2, 3].map((id) => world.count(id, "peers"))).toEqual([16, 16]);
  });

  test("moves no faster than the store limit lets it", () => {
    const world = makeWorld(3, { schedule: NO_LEADER_MOVES });
    world.addRegions(times(40, [1, 2, 3]), 90);
    world.addStore(4);
    world.advance(60_000);
    // 15 a minute and one at once.
    expect(world.count(4, "peers")).toBeGreaterThan(10);
    expect(world.count(4, "peers")).toBeLessThanOrEqual(17);
  });

  test("one big region does not wander to and fro", () => {
    const world = makeWorld(4, { schedule: NO_LEADER_MOVES });
    const regions = world.addRegions([[1, 2, 3], ...times(4, [1, 2, 3])]);
    for (const region of regions) {
      region.sizeMib = region.id === 2 ? 400 : 10;
      world.report(region);
    }
    world.advance(300_000);
    const moved = world.harness.env.lines.filter((line) => /^add operator.*"region":2,/.test(line)).length;
    expect(moved).toBeLessThanOrEqual(1);
  });

  test("is worth it only beyond the tolerance, the more so the more is under way (TestShouldBalance)", () => {
    const world = new World({ stores: 4 });
    world.addRegions([...times(3, [1, 2, 3]), [2, 3, 4]]);
    const solver = new BalanceSolver(world.view, "region");
    const [first, fourth] = [must(world.view.store(1), ""), must(world.view.store(4), "")];
    expect(solver.tolerance).toBe(10);
    // 30 MiB against 10: not more than twice the tolerance apart.
    expect(solver.isWorthwhile(first, fourth)).toBe(false);
    world.addRegions([...times(4, [1, 2, 3]), [2, 3, 4]]);
    const later = new BalanceSolver(world.view, "region");
    expect(later.isWorthwhile(first, fourth)).toBe(true);
    expect(later.isWorthwhile(fourth, first)).toBe(false);
    // And a solver hears of what begins in its own round.
    const record = world.record(2);
    const builder = new OperatorBuilder(world.view, "test", record).addPeer(4, "voter").removePeer(1);
    const built = builder.build(["region"]);
    if (built.kind === "built") later.add(built.operator, record);
    expect(later.influence.get(4)?.regionSizeMib).toBe(10);
    expect(later.isWorthwhile(first, fourth)).toBe(false);
  });
});

describe("evict-leader", () => {
  test("moves all leaders out of a store and keeps them out (TestEvictLeader)", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions(times(9, [1, 2, 3]));
    expect(world.addScheduler("evict-leader-scheduler", 1)).toEqual({
      kind: "ok",
      applied: false,
    });
    world.advance(20_000);
    expect(world.count(1, "leaders")).toBe(0);
    expect(world.count(2, "leaders") + world.count(3, "leaders")).toBe(9);
    expect(world.scheduling.schedulers.names()).toContain("evict-leader-scheduler");
    expect(world.scheduling.schedulers.evictLeaderConfig()).toMatchObject({ batch: 3 });
  });

  test("passes over peers that are pending or down (TestEvictLeaderWithUnhealthyPeer)", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    const [region] = world.addRegions([[1, 2, 3]]);
    const one = must(region, "");
    one.pending = [must(one.peers[1], "").id];
    world.report(one);
    world.addScheduler("evict-leader", 1);
    world.advance(5000);
    expect(one.leaderStore).toBe(3);
  });

  test("lets leaders back when it ends, and ends with its last store", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions(times(9, [1, 2, 3]));
    const { schedulers } = world.scheduling;
    world.addScheduler("evict-leader", 1);
    expect(world.addScheduler("evict-leader", 2)).toEqual({ kind: "ok", applied: true });
    world.advance(20_000);
    expect(world.count(3, "leaders")).toBe(9);
    expect(world.removeScheduler("evict-leader-scheduler-1").kind).toBe("ok");
    world.advance(20_000);
    expect(world.count(1, "leaders")).toBeGreaterThan(2);
    expect(world.count(2, "leaders")).toBe(0);
    expect(world.removeScheduler("evict-leader-scheduler-2").kind).toBe("ok");
    expect(schedulers.names()).not.toContain("evict-leader-scheduler");
    expect(world.removeScheduler("evict-leader-scheduler")).toMatchObject({ kind: "refused", status: 404 });
  });

  test("is there again after a restart of PD", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    world.addRegions(times(3, [1, 2, 3]));
    world.addScheduler("evict-leader", 1);
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(world.scheduling.schedulers.names()).toContain("evict-leader-scheduler");
    expect(must(world.view.store(1), "").leaderInPauses).toBe(1);
  });

  test("refuses unknown stores, unknown names and what this version has not", () => {
    const world = makeWorld(3);
    expect(world.addScheduler("evict-leader", 99)).toMatchObject({ kind: "refused", status: 400 });
    expect(world.addScheduler("evict-leader")).toMatchObject({ reason: "missing store id" });
    expect(world.addScheduler("no-such-scheduler", 1)).toMatchObject({ reason: "unknown scheduler" });
    expect(world.addScheduler("evict-slow-trend", 1)).toMatchObject({
      reason: expect.stringMatching(/not available/),
    });
    expect(world.addScheduler("balance-leader")).toMatchObject({ status: 400 });
  });
});

describe("the list of schedulers", () => {
  test("pauses and resumes, and remembers a default one that was removed", () => {
    const world = makeWorld(3, { schedule: NO_REGION_MOVES });
    const { schedulers } = world.scheduling;
    world.addRegions(times(9, [1, 2, 3]));
    expect(schedulers.pause("all", 60).kind).toBe("ok");
    world.advance(30_000);
    expect(world.count(1, "leaders")).toBe(9);
    expect(schedulers.paused().map(({ name }) => name)).toEqual([
      "balance-region-scheduler",
      "balance-leader-scheduler",
      "balance-hot-region-scheduler",
      "evict-slow-store-scheduler",
      "evict-stopping-store-scheduler",
    ]);
    schedulers.pause("balance-leader-scheduler", 0);
    world.advance(15_000);
    expect(world.count(1, "leaders")).toBeLessThan(6);
    expect(world.removeScheduler("balance-leader-scheduler").kind).toBe("ok");
    expect(schedulers.disabledNames()).toEqual(["balance-leader-scheduler"]);
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(world.scheduling.schedulers.names()).not.toContain("balance-leader-scheduler");
  });
});
