/** What each scheduler starts for one state of the cluster. (PD: schedulers/*_test.go) */
import { describe, expect, test, vi } from "vitest";
import { must } from "../../base/index.js";
import { BalanceLeader } from "../balance-leader.js";
import { BalanceRegion } from "../balance-region.js";
import { BalanceSolver } from "../balance-solver.js";
import { Diagnosis } from "../diagnosis.js";
import { EvictLeader } from "../evict-leader.js";
import type { Operator } from "../operator.js";
import { OperatorBuilder } from "../operator-builder.js";
import { labelRuleFromJson, type RegionLabelRule } from "../region-labeler.js";
import { regionScoreV1, regionScoreV2 } from "../region-score.js";
import { Statistics } from "../statistics/statistics.js";
import type { SchedulerHost } from "../scheduler.js";
import { MockCluster, type MockRegion, times } from "../test/mock-cluster.js";
import { EvictSlowStore } from "./evict-slow-store.js";
import { EvictStoppingStore } from "./evict-stopping-store.js";
import { GrantLeader } from "./grant-leader.js";
import { LabelScheduler } from "./label.js";
import { ScatterRange } from "./scatter-range.js";
import { RandomMerge, ShuffleHotRegion, ShuffleLeader, ShuffleRegion } from "./shuffle.js";

const GIB = 2 ** 30;
const UNLIMITED = { "add-peer": 1e8, "remove-peer": 1e8 };

class Scene extends MockCluster {
  readonly host: SchedulerHost;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super({ "location-labels": "zone,rack,host", ...config });
    this.config.defaultStoreLimit = UNLIMITED;
    this.host = { controller: this.controller, notes: this.notes, statistics: new Statistics(this.view) };
  }

  running(): Operator[] {
    return this.controller.operators();
  }

  /** Starts of one round: `desc brief`, in the order of regions. */
  briefs(): string[] {
    return this.running().map((operator) => operator.brief);
  }

  /** Everything that runs is forgotten. */
  clear(): void {
    for (const operator of this.running()) this.controller.cancel(operator.regionId, "test");
  }

  /** The first store leads all of them. */
  leaders(counts: Readonly<Record<number, number>>, all: readonly number[], more: MockRegion = {}): void {
    const placements: number[][] = [];
    for (const [id, count] of Object.entries(counts)) {
      const others = all.filter((other) => other !== Number(id));
      for (let i = 0; i < count; i++) placements.push([Number(id), ...others]);
    }
    this.putMany(placements, more);
  }
}

const targetsOf = (operators: readonly Operator[]): number[] =>
  operators.map((operator) => {
    const step = operator.steps.find((each) => each.kind === "addLearner" || each.kind === "transferLeader");
    return step?.kind === "transferLeader" ? step.toStore : step?.kind === "addLearner" ? step.storeId : 0;
  });

describe("balance-leader", () => {
  test("moves a leader only when the difference is above the tolerance [TestBalanceLimit]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 2.5 });
    scene.addStores(1, 2, 3, 4);
    const solver = (counts: Record<number, number>): BalanceSolver => {
      for (const region of [...scene.cluster.regions.all()]) scene.cluster.removeRegion(region.meta.id);
      scene.leaders(counts, [1, 2, 3, 4]);
      return new BalanceSolver(scene.view, "leader");
    };
    const worth = (counts: Record<number, number>): boolean =>
      solver(counts).isWorthwhile(scene.store(1), scene.store(4));
    expect(worth({ 1: 1 })).toBe(false);
    expect(worth({ 1: 4, 4: 0 })).toBe(false);
    expect(worth({ 1: 5, 4: 0 })).toBe(true);
    expect(worth({ 1: 16, 4: 12 })).toBe(false);
    expect(worth({ 1: 17, 4: 12 })).toBe(true);
  });

  test("counts what runs against the source and for the target [TestScheduleWithOpInfluence]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 2.5 });
    scene.addStores(1, 2, 3, 4);
    scene.leaders({ 1: 7, 2: 8, 3: 9, 4: 14 }, [1, 2, 3, 4]);
    const scheduler = new BalanceLeader(scene.host);
    scheduler.change({ batch: 1 });
    expect(scheduler.run()).toBe(1);
    expect(scene.briefs()).toEqual(["transfer leader: store 4 to 1"]);
    // 14 - 1 - 2 against 7 + 1 + 2 still, then 14 - 2 - 2 against 7 + 2 + 2 no more.
    expect(scheduler.run()).toBe(1);
    expect(scheduler.run()).toBe(0);
  });

  test("gives out from the highest first, several at once [TestTransferLeaderOut]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 0.1 });
    scene.addStores(1, 2, 3, 4);
    scene.leaders({ 1: 7, 2: 8, 3: 9, 4: 12 }, [1, 2, 3, 4]);
    expect(new BalanceLeader(scene.host).run()).toBeGreaterThan(1);
    const [first] = scene.running();
    expect(first?.brief).toBe("transfer leader: store 4 to 1");
    expect(new Set(scene.running().map((operator) => operator.regionId)).size).toBe(scene.running().length);
  });

  test("passes over stores that are busy, down, silent or refuse leaders [TestBalanceFilter]", () => {
    const trouble: readonly ((scene: Scene) => void)[] = [
      (scene) => scene.setStats(1, { isBusy: true }),
      (scene) => scene.silence(1, 31 * 60_000),
      (scene) => scene.silence(1, 30_000),
      (scene) => scene.store(1).setNodeState("removing"),
      (scene) => void (scene.store(1).leaderInPauses += 1),
    ];
    for (const [i, make] of trouble.entries()) {
      const scene = new Scene();
      scene.addStores(1, 2, 3, 4);
      scene.leaders({ 1: 1, 2: 2, 3: 3, 4: 16 }, [1, 2, 3, 4]);
      make(scene);
      expect(new BalanceLeader(scene.host).run(), `trouble ${i}`).toBeGreaterThan(0);
      expect(targetsOf(scene.running()), `trouble ${i}`).not.toContain(1);
    }
  });

  test("counts the weight of stores [TestLeaderWeight]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 2.5 });
    scene.addStores(1, 2, 3, 4);
    for (const [id, weight] of [0.5, 0.9, 1, 2].entries()) scene.store(id + 1).leaderWeight = weight;
    scene.leaders({ 1: 20, 2: 20, 3: 20, 4: 20 }, [1, 2, 3, 4]);
    const target = (): string => {
      scene.clear();
      new BalanceLeader(scene.host).run();
      return must(scene.briefs()[0], "nothing moved");
    };
    expect(target()).toBe("transfer leader: store 1 to 4");
    scene.store(4).leaderWeight = 1;
    scene.store(3).leaderWeight = 4;
    expect(target()).toBe("transfer leader: store 1 to 3");
  });

  test("goes by size where the settings say so [TestBalancePolicy]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 1 });
    scene.addStores(1, 2, 3);
    // Store 1 leads few large regions, store 2 many small ones.
    const placements = [...times(2, [1, 2, 3]), ...times(30, [2, 3, 1]), ...times(20, [3, 2, 1])];
    for (const region of scene.putMany(placements, { sizeMib: 10 })) {
      if (region.leader?.storeId !== 1) continue;
      scene.cluster.putRegion({ ...region, sizeMib: 1000 });
    }
    new BalanceLeader(scene.host).run();
    expect(scene.briefs()[0]).toBe("transfer leader: store 2 to 1");
    scene.clear();
    scene.set("leader-schedule-policy", "size");
    new BalanceLeader(scene.host).run();
    expect(scene.briefs()[0]).toMatch(/^transfer leader: store 1 to/);
  });

  test("looks at the fullest source first, of two equal ones at the newer [TestBalanceSelector]", () => {
    const scene = new Scene({ "tolerant-size-ratio": 0.1 });
    scene.addStores(1, 2, 3, 4);
    scene.leaders({ 1: 1, 2: 2, 3: 16, 4: 16 }, [1, 2, 3, 4]);
    const scheduler = new BalanceLeader(scene.host);
    scheduler.change({ batch: 1 });
    scheduler.run();
    expect(scene.briefs()).toEqual(["transfer leader: store 4 to 1"]);
    scheduler.run();
    expect(scene.briefs()[1]).toBe("transfer leader: store 3 to 1");
  });

  test("uses each region once a round and stops at its batch [TestBatchBalance]", () => {
    const scene = new Scene({ "leader-schedule-limit": 100 });
    scene.addStores(1, 2, 3, 4, 5, 6);
    scene.leaders({ 1: 30, 2: 30, 3: 30 }, [1, 2, 3, 4, 5, 6]);
    const scheduler = new BalanceLeader(scene.host);
    expect(scheduler.change({ batch: 10 })).toMatchObject({ status: 200, body: "Config is updated." });
    expect(scheduler.run()).toBe(10);
    expect(new Set(scene.running().map((operator) => operator.regionId)).size).toBe(10);
    expect(new Set(targetsOf(scene.running()))).toEqual(new Set([4, 5, 6]));
    expect(scheduler.change({ batch: 10 }).body).toMatch(/same with origin/);
    expect(scheduler.change({ batch: 0 })).toMatchObject({ status: 400 });
    expect(scheduler.change({ other: 1 })).toMatchObject({ status: 400, body: "Config item is not found." });
    expect(scheduler.settings()).toMatchObject({ batch: 10 });
  });

  test("leaves hot regions and stores whose labels reject leaders alone [TestRejectLeader]", () => {
    const scene = new Scene();
    scene.addStore(1, { noleader: "true" });
    scene.addStores(2, 3);
    scene.config.setLabelProperty("reject-leader", "noleader", "true");
    scene.leaders({ 2: 10, 3: 2 }, [1, 2, 3]);
    new BalanceLeader(scene.host).run();
    expect(targetsOf(scene.running())).not.toContain(1);
    // The label scheduler takes away what it has; the evictor does not bring any.
    scene.clear();
    const led = scene.put(100, [1, 2, 3], { start: "zz" });
    expect(led.leader?.storeId).toBe(1);
    expect(new LabelScheduler(scene.host).run()).toBe(1);
    expect(scene.running()[0]?.desc).toBe("label-reject-leader");
    scene.config.deleteLabelProperty("reject-leader", "noleader", "true");
    scene.clear();
    expect(new LabelScheduler(scene.host).run()).toBe(0);
  });

  test("stops for a label schedule=deny, which an eviction does not", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 12 }, [1, 2, 3]);
    const rule = labelRuleFromJson(
      {
        id: "still",
        labels: [{ key: "schedule", value: "deny" }],
        rule_type: "key-range",
        data: [{ start_key: "", end_key: "" }],
      },
      0,
    ) as RegionLabelRule;
    scene.cluster.labels.change([rule], [], () => {});
    scene.env.settle();
    expect(new BalanceLeader(scene.host).run()).toBe(0);
    expect(new ShuffleLeader(scene.host).run()).toBe(0);
    const evict = new EvictLeader(scene.host);
    evict.addStore(scene.store(1));
    expect(evict.run()).toBe(3);
  });
});

describe("balance-region", () => {
  /** Regions alone on each store, `counts` of them. */
  function single(scene: Scene, counts: Readonly<Record<number, number>>, sizeMib = 100): void {
    const placements = Object.entries(counts).flatMap(([id, count]) => times(count, [Number(id)]));
    scene.putMany(placements, { sizeMib });
  }

  const one = { "max-replicas": 1 };
  const run = (scene: Scene): string | undefined => {
    scene.clear();
    new BalanceRegion(scene.host).run();
    return scene.briefs()[0];
  };

  test("moves from the fullest to the emptiest store that can take a peer [TestBalanceRegionSchedule1]", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2, 3, 4);
    single(scene, { 1: 6, 2: 8, 3: 8, 4: 16 });
    expect(run(scene)).toBe("mv peer: store [4] to [1]");
    scene.store(1).setNodeState("removing");
    expect(run(scene)).toMatch(/^mv peer: store \[4\] to \[[23]\]$/);
    scene.store(1).setNodeState("serving");
    // One that leaves, or is silent, gives like others.
    scene.store(4).setNodeState("removing");
    expect(run(scene)).toBe("mv peer: store [4] to [1]");
    scene.store(4).setNodeState("serving");
    scene.silence(1, 31 * 60_000);
    expect(run(scene)).toMatch(/^mv peer: store \[4\] to \[[23]\]$/);
    scene.silence(1, 0);
    scene.setStats(1, { capacity: 100 * GIB, available: 5 * GIB });
    scene.set("region-schedule-limit", 0);
    expect(new BalanceRegion(scene.host).limitReached()).toBe("region-schedule-limit 0 is reached");
  });

  test("lets moves that have just ended count on, where free space that lags behind decides", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2);
    single(scene, { 1: 10, 2: 5 }, 10);
    const again = (): string | undefined => {
      const operator = must(scene.running()[0], "nothing moved");
      scene.clear();
      const ended = vi.spyOn(scene.controller, "recentlyFinished").mockReturnValue([operator]);
      const brief = run(scene);
      ended.mockRestore();
      return brief;
    };
    expect(run(scene)).toBe("mv peer: store [1] to [2]");
    // Stores that are equally full: sizes alone decide, and those are of now.
    expect(again()).toBe("mv peer: store [1] to [2]");
    scene.setStats(2, { available: 77 * GIB });
    scene.env.advance(1100);
    for (const id of [1, 2]) scene.silence(id, 0);
    expect(again()).toBeUndefined();
    expect(run(scene)).toBe("mv peer: store [1] to [2]");
  });

  test("says of the store that could not take a peer why, in PD's words", () => {
    const scene = new Scene(one);
    scene.addStore(1, { zone: "a" });
    scene.addStore(2, { zone: "a", specialUse: "reserved" });
    scene.addStore(3, { zone: "b" });
    scene.setRules({
      id: "default",
      count: 1,
      label_constraints: [{ key: "zone", op: "in", values: ["a"] }],
    });
    single(scene, { 1: 16, 2: 2, 3: 2 });
    const balance = new BalanceRegion(scene.host);
    balance.diagnosis.begin();
    expect(balance.diagnosis.end(balance.run())).toBe("normal");
    const reasons = balance.diagnosis.lastReasons;
    expect([reasons.get(2), reasons.get(3)]).toEqual(["StoreSpecialUse", "StoreNotMatchRule"]);
    expect(reasons.get(1)).toBeUndefined();
    expect(balance.diagnosis.result("balance-region-scheduler")?.summary).toContain(
      "2 store(s) StoreNotMatchRule; ",
    );
  });

  function zoned(scene: Scene): void {
    const places: readonly (readonly [string, string, string])[] = [
      ["z1", "r1", "h1"],
      ["z1", "r2", "h1"],
      ["z1", "r2", "h2"],
      ["z2", "r1", "h1"],
      ["z2", "r2", "h1"],
      ["z3", "r1", "h1"],
      ["z3", "r2", "h1"],
      ["z4", "r1", "h1"],
      ["z5", "r1", "h1"],
    ];
    for (const [i, [zone, rack, host]] of places.entries()) scene.addStore(i + 1, { zone, rack, host });
  }

  test("keeps three replicas as far apart as they stand [TestBalanceRegionReplicas3]", () => {
    const scene = new Scene();
    zoned(scene);
    scene.putMany(times(20, [1, 4, 6]), { sizeMib: 100 });
    // Within the zone, or to a zone that has none; never to a zone that has one.
    for (let i = 0; i < 8; i++) {
      const brief = must(run(scene), "nothing moved");
      const [, from, to] = must(/\[(\d)\] to \[(\d)\]/.exec(brief), brief).map(Number) as [
        number,
        number,
        number,
      ];
      const zone = (id: number): string => scene.store(id).label("zone");
      const others = [1, 4, 6].filter((id) => id !== from).map(zone);
      expect(others).not.toContain(zone(to));
    }
  });

  test("keeps five replicas in five zones [TestBalanceRegionReplicas5]", () => {
    const scene = new Scene({ "max-replicas": 5 });
    zoned(scene);
    scene.putMany(times(20, [1, 4, 6, 8, 9]), { sizeMib: 100 });
    const allowed: Record<number, number[]> = { 1: [2, 3], 4: [5], 6: [7] };
    for (let i = 0; i < 8; i++) {
      const [, from, to] = must(/\[(\d)\] to \[(\d)\]/.exec(run(scene) ?? ""), "none").map(
        Number,
      ) as number[];
      expect(allowed[from as number]).toContain(to);
    }
  });

  test("counts the weight of stores [TestBalanceRegionStoreWeight]", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2, 3, 4);
    scene.store(1).regionWeight = 0.5;
    scene.store(2).regionWeight = 0.9;
    scene.store(4).regionWeight = 2;
    single(scene, { 1: 10, 2: 10, 3: 10, 4: 10 });
    expect(run(scene)).toBe("mv peer: store [1] to [4]");
    scene.store(4).regionWeight = 1;
    scene.store(3).regionWeight = 3;
    expect(run(scene)).toBe("mv peer: store [1] to [3]");
  });

  test("counts five times what is under way [TestBalanceRegionOpInfluence]", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2);
    single(scene, { 1: 10, 2: 30 });
    const scheduler = new BalanceRegion(scene.host);
    let moves = 0;
    while (scheduler.run() > 0) moves += 1;
    // 30 - 5n - 1 > 10 + 5n + 1 holds for n = 0 and 1 only.
    expect(moves).toBe(2);
  });

  test("moves peers that wait for a snapshot first [TestBalanceRegionReplacePendingRegion]", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4, 5);
    scene.putMany(times(20, [1, 2, 3]), { sizeMib: 100 });
    scene.put(50, [1, 2, 3], { start: "zz", sizeMib: 100, pending: [3] });
    scene.store(3).regionWeight = 0.5;
    new BalanceRegion(scene.host).run();
    expect(scene.running()[0]?.regionId).toBe(50);
  });

  test("leaves regions without a leader, unhealthy or incomplete ones alone [TestBalanceRegionShouldNotBalance]", () => {
    const cases: readonly ((scene: Scene) => void)[] = [
      (scene) =>
        void scene.cluster.putRegion({ ...scene.region(1, [1, 2, 3], { sizeMib: 100 }), leader: undefined }),
      (scene) => void scene.put(1, [1, 2, 3], { sizeMib: 100, down: [2] }),
      (scene) => void scene.put(1, [1, 2], { sizeMib: 100 }),
      (scene) => void scene.put(1, [1, 2, 3], { sizeMib: 100, roles: { 3: "learner" } }),
    ];
    for (const [i, make] of cases.entries()) {
      const scene = new Scene();
      scene.addStores(1, 2, 3, 4, 5, 6);
      make(scene);
      expect(run(scene), `case ${i}`).toBeUndefined();
    }
  });

  test("does not move empty regions in clusters that have many [TestBalanceRegionEmptyRegion]", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2);
    scene.putMany(times(120, [1]), { sizeMib: 1 });
    expect(run(scene)).toBeUndefined();
    const few = new Scene(one);
    few.addStores(1, 2);
    few.putMany(times(50, [1]), { sizeMib: 1 });
    expect(run(few)).toBe("mv peer: store [1] to [2]");
  });

  test("moves only where it is worth more than the tolerance [TestShouldBalance]", () => {
    const worth = (ratio: number, from: number, to: number): boolean => {
      const scene = new Scene({ ...one, "tolerant-size-ratio": ratio });
      scene.addStores(1, 2);
      single(scene, { 1: from, 2: to }, 100);
      return new BalanceSolver(scene.view, "region").isWorthwhile(scene.store(1), scene.store(2));
    };
    const cases: readonly [number, number, number, boolean][] = [
      [1, 10, 8, false],
      [1, 11, 8, true],
      [2, 12, 8, false],
      [2, 13, 8, true],
      [0.5, 10, 9, false],
      [0.5, 11, 9, true],
      [5, 20, 8, true],
    ];
    for (const [ratio, from, to, wanted] of cases) {
      expect(worth(ratio, from, to), `${ratio}: ${from} against ${to}`).toBe(wanted);
    }
  });

  test("tolerates more the more regions a store has [TestTolerantRatio]", () => {
    const tolerance = (ratio: number, count: number): number => {
      const scene = new Scene({ ...one, "tolerant-size-ratio": ratio });
      scene.addStores(1, 2);
      single(scene, { 1: count }, 100);
      return new BalanceSolver(scene.view, "region").tolerance;
    };
    expect(tolerance(0, 10)).toBe(100);
    expect(tolerance(0, 1000)).toBe(500);
    expect(tolerance(10, 10)).toBe(1000);
    const scene = new Scene({ "tolerant-size-ratio": 7 });
    expect(new BalanceSolver(scene.view, "leader").tolerance).toBe(7);
  });

  test("says store by store why nothing moves [TestSchedulerDiagnosticAPI]", () => {
    const scene = new Scene(one);
    scene.addStores(1, 2, 3);
    single(scene, { 1: 5, 2: 5, 3: 5 });
    const scheduler = new BalanceRegion(scene.host);
    const { diagnosis } = scheduler;
    diagnosis.begin();
    expect(diagnosis.end(scheduler.run())).toBe("normal");
    expect(diagnosis.result("balance-region-scheduler")).toEqual({
      status: "normal",
      summary: "2 store(s) StoreScoreDisallowed; ",
    });
    diagnosis.skipped("paused");
    expect(diagnosis.result("x")).toEqual({ status: "paused", summary: "" });
    diagnosis.skipped("pending");
    expect(diagnosis.result("x")).toEqual({ status: "pending", summary: "x reach limit" });
    const other = new Diagnosis();
    expect(other.result("x")).toBeUndefined();
    other.begin();
    other.reject(1, 0, "StoreBusy");
    other.reject(2, 0, "StoreBusy");
    other.reject(2, 2, "StoreScoreDisallowed");
    expect(other.end(0)).toBe("pending");
    expect(other.result("x")?.summary).toBe("1 store(s) StoreBusy; 1 store(s) StoreScoreDisallowed; ");
  });
});

describe("the region score", () => {
  const space = (capacity: number, available: number, used: number) => ({
    capacityBytes: capacity * GIB,
    availableBytes: available * GIB,
    usedBytes: used * GIB,
  });

  test("is the size while there is space, and grows as it ends [TestRegionScore]", () => {
    expect(regionScoreV1(space(512, 512, 0), 1, 0, 0.8, 0.7)).toBe(1);
    // Below the low bound the free space alone counts, and outweighs any size.
    const low = regionScoreV1(space(512, 50, 462), 1000, 0, 0.8, 0.7);
    expect(low).toBeGreaterThan(2 ** 29);
    // A fresh store scores its size.
    expect(regionScoreV2(space(100, 100, 0), 500, 0, 0.8)).toBe(500);
    expect(regionScoreV2(space(0.5, 0.2, 0.1), 500, 0, 0.8)).toBe(500);
    // Twice the data is twice the score where the space is the same.
    const once = regionScoreV2(space(1000, 800, 200), 1000, 0, 0.8);
    expect(regionScoreV2(space(1000, 800, 200), 2000, 0, 0.8)).toBeCloseTo(2 * once, 6);
  });

  test("climbs without a step down to the reserve and below it [TestLowSpaceScoreV2]", () => {
    let last = 0;
    for (let available = 990; available > 0; available -= 10) {
      const score = regionScoreV2(space(1000, available, 1000 - available), 1000, 0, 0.8);
      expect(score).toBeGreaterThan(last);
      last = score;
    }
    const at = (available: number): number =>
      regionScoreV2(space(1000, available, 1000 - available), 1000, 0, 0.8);
    expect(at(200 + 1e-9) / at(200 - 1e-9)).toBeGreaterThan(0.5);
    // A store below its reserve is fuller than any other, however little it holds.
    expect(regionScoreV2(space(1000, 100, 10), 1, 0, 0.8)).toBeGreaterThan(at(300));
  });

  test("goes by size alone where free space says nothing", () => {
    const scene = new Scene();
    scene.addStores(1, 2);
    scene.setStats(1, { capacity: 40 * GIB, available: 20.1 * GIB, usedSize: GIB });
    scene.setStats(2, { capacity: 40 * GIB, available: 20 * GIB, usedSize: GIB });
    expect(scene.view.regionScoreWith(scene.store(1), 500, 0)).toBe(500);
    scene.env.advance(2000);
    scene.setStats(2, { capacity: 40 * GIB, available: 5 * GIB, usedSize: GIB });
    expect(scene.view.regionScoreWith(scene.store(2), 500, 0)).toBeGreaterThan(1e6);
  });
});

describe("evictions", () => {
  test("take every leader out of a store, in batches [TestBatchEvict]", () => {
    const scene = new Scene({ "leader-schedule-limit": 100 });
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 12 }, [1, 2, 3]);
    const evict = new EvictLeader(scene.host);
    evict.addStore(scene.store(1));
    expect(evict.run()).toBe(3);
    expect(evict.change({ store_id: 1, batch: 5 }).status).toBe(200);
    expect(evict.run()).toBe(5);
    expect(new Set(scene.running().map((operator) => operator.regionId)).size).toBe(8);
    expect(evict.change({ batch: 101 })).toMatchObject({
      status: 400,
      body: "batch must be an integer in [1, 100]",
    });
    expect(evict.change({ store_id: 9 })).toMatchObject({ status: 500 });
    expect(scene.running()[0]).toMatchObject({ priority: "urgent", desc: "evict-leader-scheduler" });
    evict.stop();
    expect(scene.store(1).leaderInPauses).toBe(0);
  });

  test("empty several stores together, one leader of each in turn", () => {
    const scene = new Scene({ "leader-schedule-limit": 100 });
    scene.addStores(1, 2, 3, 4);
    scene.leaders({ 1: 20, 2: 20, 3: 0 }, [1, 2, 3]);
    const evict = new EvictLeader(scene.host);
    for (const id of [1, 2]) evict.addStore(scene.store(id));
    expect(evict.run()).toBe(4);
    const from = scene
      .running()
      .map(({ steps: [step] }) => (step?.kind === "transferLeader" ? step.fromStore : 0));
    expect(from).toEqual([1, 2, 1, 2]);
  });

  test("take the leaders of the one slow store, and give it back when it is quick again [TestEvictSlowStore]", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 6, 2: 6 }, [1, 2, 3]);
    const evict = new EvictSlowStore(scene.host);
    expect(evict.run()).toBe(0);
    scene.setStats(1, { slowScore: 100 });
    scene.setStats(2, { slowScore: 85 });
    // Two slow ones: it is the load.
    expect(evict.run()).toBe(0);
    scene.setStats(2, { slowScore: 1 });
    expect(evict.run()).toBe(3);
    expect(evict.evictedStore).toBe(1);
    expect(scene.view.leaderTargetProblem(scene.store(1))).toBe("StoreRejectLeader");
    expect(evict.settings()).toMatchObject({ "evict-stores": [1], "recovery-duration": 1800 });
    scene.clear();
    evict.change({ "recovery-duration": 600 });
    scene.setStats(1, { slowScore: 1 });
    evict.run();
    scene.env.advance(599_000);
    for (const id of [1, 2, 3]) scene.silence(id, 0);
    evict.run();
    expect(evict.evictedStore).toBe(1);
    scene.env.advance(2000);
    for (const id of [1, 2, 3]) scene.silence(id, 0);
    expect(evict.run()).toBe(0);
    expect([evict.evictedStore, scene.store(1).isEvictedAsSlow]).toEqual([undefined, false]);
    // A PD that takes over goes on with what was stored.
    const again = new EvictSlowStore(scene.host);
    again.loadSettings({ "evict-stores": [2], "recovery-duration": 600, batch: 4 });
    expect([again.evictedStore, again.batch]).toEqual([2, 4]);
  });

  test("keep leaders from a store that the others reach slowly, if switched on", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    const evict = new EvictSlowStore(scene.host);
    for (const id of [2, 3, 4]) scene.setStats(id, { networkSlowScores: { 1: 100 } });
    scene.setStats(1, { networkSlowScores: { 2: 100, 3: 100, 4: 100 } });
    evict.run();
    expect(scene.store(1).leaderInPauses).toBe(0);
    expect(evict.change({ "enable-network-slow-store": true }).body).toBe("Config updated.");
    evict.run();
    expect(scene.store(1).leaderInPauses).toBe(1);
    // It reaches nobody, for long: its leaders go, too.
    scene.leaders({ 1: 6 }, [1, 2, 3]);
    scene.store(1).networkSlowReports = 5;
    expect(evict.run()).toBe(0);
    scene.store(1).networkSlowReports = 6;
    expect(evict.run()).toBe(3);
    evict.change({ "enable-network-slow-store": false });
    evict.run();
    expect(scene.store(1).leaderInPauses).toBe(0);
  });

  test("take the leaders of a store that says it stops [TestEvictStoppingStore]", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 6 }, [1, 2, 3]);
    const evict = new EvictStoppingStore(scene.host);
    expect(evict.run()).toBe(0);
    scene.setStats(1, { isStopping: true });
    expect(evict.run()).toBe(3);
    expect(scene.store(1).isEvictedAsStopping).toBe(true);
    scene.clear();
    // A second one that stops does not end what is under way.
    scene.setStats(2, { isStopping: true });
    expect(evict.run()).toBe(3);
    scene.clear();
    scene.setStats(1, { isStopping: false });
    scene.setStats(2, { isStopping: false });
    expect(evict.run()).toBe(0);
    expect(scene.store(1).isEvictedAsStopping).toBe(false);
  });

  test("and their contrary, grant-leader, brings leaders in and keeps them", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 6 }, [1, 2, 3]);
    const grant = new GrantLeader(scene.host);
    grant.addStore(scene.store(3));
    expect(grant.run()).toBe(1);
    expect(scene.briefs()).toEqual(["transfer leader: store 1 to 3"]);
    expect(scene.view.leaderSourceProblem(scene.store(3))).toBe("StoreRejectLeader");
    grant.stop();
    expect(scene.store(3).leaderOutPauses).toBe(0);
  });
});

describe("schedulers for tests and for ranges", () => {
  test("shuffle leaders and peers at random, at low priority", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    scene.putMany(times(8, [1, 2, 3]), { sizeMib: 100 });
    let [leaders, peers] = [0, 0];
    const shuffleRegion = new ShuffleRegion(scene.host);
    for (let i = 0; i < 12; i++) {
      leaders += new ShuffleLeader(scene.host).run();
      peers += shuffleRegion.run();
    }
    expect(leaders).toBeGreaterThan(0);
    expect(peers).toBeGreaterThan(0);
    expect(scene.running().every((operator) => operator.priority === "low")).toBe(true);
    expect(shuffleRegion.setRoles(["leader", "boss"]).status).toBe(400);
    expect(shuffleRegion.setRoles(["learner"]).status).toBe(200);
    scene.clear();
    for (let i = 0; i < 5; i++) expect(shuffleRegion.run()).toBe(0);
  });

  test("merge at random what may be merged", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.putMany(times(4, [1, 2, 3]), { sizeMib: 10 });
    const merge = new RandomMerge(scene.host);
    let started = 0;
    // Not every store has said that it can.
    for (let i = 0; i < 10; i++) expect(merge.run()).toBe(0);
    for (const id of [1, 2, 3]) scene.addStore(id, { merge: "true" });
    for (let i = 0; i < 10 && started === 0; i++) started = merge.run();
    expect(started).toBe(1);
    const [source, target] = scene.running();
    expect(source?.relatedRegionId).toBe(target?.regionId);
    expect(target?.relatedRegionId).toBe(source?.regionId);
    expect(merge.limitReached()).toBeUndefined();
  });

  test("move the leader of a hot region, with its peer, to a store that has none", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    const flow = { intervalSeconds: 60, writtenBytes: 2 ** 30, writtenKeys: 2 ** 20 };
    for (let i = 0; i < 3; i++) {
      for (const region of scene.putMany(times(2, [1, 2, 3]), { flow })) {
        scene.host.statistics.onRegionHeartbeat(region, undefined);
      }
    }
    const shuffle = new ShuffleHotRegion(scene.host);
    let started = 0;
    for (let i = 0; i < 20 && started === 0; i++) started = shuffle.run();
    expect(scene.running()).toMatchObject([
      { desc: "random-move-hot-leader", brief: "mv peer: store [1] to [4]", priority: "low" },
    ]);
    expect(scene.running()[0]?.steps).toContainEqual(
      expect.objectContaining({ kind: "transferLeader", fromStore: 1, toStore: 4 }),
    );
    expect(shuffle.limitReached()).toBe("its limit 1 is reached");
    expect(shuffle.change({ limit: 0 }).status).toBe(400);
  });

  test("spread one range whatever else the stores hold", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    // Outside of the range store 4 is full; the range stands on 1, 2, 3 alone.
    scene.putMany([...times(8, [1, 2, 3]), ...times(30, [4, 2, 3])], { sizeMib: 1 });
    const scatter = new ScatterRange(scene.host, "t1");
    expect(scatter.name).toBe("scatter-range-scheduler-t1");
    expect(scatter.change({ "start-key": "", "end-key": "000008" }).status).toBe(200);
    expect(scatter.change({ "range-name": "t2" })).toMatchObject({ status: 500 });
    for (let i = 0; i < 10; i++) scatter.run();
    expect(scene.running().length).toBeGreaterThan(2);
    expect(scene.running().every(({ regionId, kinds }) => regionId <= 8 && kinds.includes("range"))).toBe(
      true,
    );
    expect(scene.briefs().some((brief) => brief.includes("to [4]"))).toBe(true);
    // Within twice a region's size it is even enough, and two leaders more are.
    const solver = new BalanceSolver(scene.view, "leader", scene.cluster.regions, 2);
    expect([solver.tolerance, new BalanceSolver(scene.view, "leader").tolerance]).toEqual([2, 1]);
    expect(scatter.settings()).toEqual({ "range-name": "t1", "start-key": "", "end-key": "000008" });
  });

  test("an operator knows the figures behind it", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    scene.leaders({ 1: 12 }, [1, 2, 3]);
    new BalanceLeader(scene.host).run();
    expect(scene.running()[0]?.details).toMatchObject({ "source-score": 12, "target-score": 0 });
    const region = must(scene.cluster.regions.byId(12), "");
    expect(new OperatorBuilder(scene.view, "x", region).setLeader(2).build(["leader"]).kind).toBe("built");
  });
});
