/** Patrol, checkers, schedulers and limits working together. (PD: cluster/cluster_test.go, filter, merge_checker) */
import { describe, expect, test } from "vitest";
import { encodeMemcomparable, must, utf8 } from "../base/index.js";
import { metapb, PdService } from "../proto/index.js";
import { MergeChecker, mergeProblem } from "./checkers/merge-checker.js";
import { OperatorBuilder } from "./operator-builder.js";
import type { RegionInfo } from "./region-info.js";
import { RegionPatrol } from "./region-patrol.js";
import { labelRuleFromJson, type RegionLabelRule } from "./region-labeler.js";
import { isolates, selectStoreToAdd } from "./store-selector.js";
import { locationScore } from "./store-info.js";
import { MockCluster, type MockRegion, times } from "./test/mock-cluster.js";
import { World, type WorldOptions } from "./test/world.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Nothing but repairs. */
const REPAIRS = { "leader-schedule-limit": 0, "region-schedule-limit": 0 };
const NOTHING_ALLOWED = { ...REPAIRS, "replica-schedule-limit": 0 };

/** Four stores that obey, and regions on the stores given; the first leads. */
function worldOf(placements: readonly number[][], options: Partial<WorldOptions> = {}): World {
  const world = new World({ stores: 4, obeys: true, ...options });
  world.addRegions(placements);
  return world;
}

/** Six hundred regions that wait for the patrol, of a cluster that is ready for it. */
function patrolScene(): { readonly mock: MockCluster; readonly patrol: RegionPatrol } {
  const mock = labelled({}, ["a", "b", "c"]);
  mock.putMany(times(600, [1, 2, 3]));
  mock.cluster.putMeta(metapb.Cluster.create({ maxPeerCount: 3 }), () => {});
  mock.env.settle();
  for (const store of mock.view.stores()) store.stats = Object.assign({}, store.stats, { regionCount: 600 });
  return { mock, patrol: new RegionPatrol(mock.controller, mock.notes) };
}

function labelled(config: Readonly<Record<string, unknown>>, zones: readonly string[]): MockCluster {
  const mock = new MockCluster({ "location-labels": "zone,host", ...config });
  for (const [i, zone] of zones.entries()) mock.addStore(i + 1, { zone, host: `h${i + 1}` });
  return mock;
}

describe("filters of stores", () => {
  test("name the state that stands in the way, first the lasting ones [TestStoreStateFilter]", () => {
    const mock = labelled({}, ["a", "b"]);
    const one = mock.store(1);
    const problems = () => [
      mock.view.leaderSourceProblem(one) ?? "-",
      mock.view.leaderTargetProblem(one) ?? "-",
      mock.view.regionSourceProblem(one) ?? "-",
      mock.view.regionTargetProblem(one) ?? "-",
      mock.view.temporaryTargetProblem(one) ?? "-",
    ];
    expect(problems()).toEqual(["-", "-", "-", "-", "-"]);
    mock.silence(1, 25_000);
    expect(problems()).toEqual(["StoreDisconnected", "StoreDisconnected", "-", "-", "StoreDisconnected"]);
    mock.silence(1, 31 * MINUTE_MS);
    expect(problems()).toEqual(["StoreDown", "StoreDown", "-", "StoreDown", "StoreDisconnected"]);
    mock.silence(1, 0);
    mock.setStats(1, { isBusy: true });
    expect(problems()).toEqual(["-", "StoreBusy", "StoreBusy", "-", "StoreBusy"]);
    mock.setStats(1, { isBusy: false, receivingSnapCount: 65 });
    expect(problems()).toEqual(["-", "-", "StoreSnapshotThrottled", "-", "StoreSnapshotThrottled"]);
    mock.setStats(1, { receivingSnapCount: 0 });
    one.leaderInPauses = 1;
    one.leaderOutPauses = 1;
    expect(problems()).toEqual(["StoreRejectLeader", "StoreRejectLeader", "-", "-", "-"]);
    one.setNodeState("removing");
    expect(problems()).toEqual(["StoreRejectLeader", "StoreRemoving", "-", "StoreRemoving", "-"]);
    one.setNodeState("removed");
    expect(problems().slice(0, 2)).toEqual(["StoreRemoved", "StoreRemoved"]);
  });

  test("keep a store for its special use: it takes only that, and gives only when its space ends", () => {
    const mock = labelled({}, ["a"]);
    const kept = mock.addStore(9, { specialUse: "hotRegion" });
    const { view } = mock;
    const problems = () => [
      view.regionTargetProblem(kept),
      view.specialUseProblem(kept, "reserved"),
      view.regionTargetProblem(kept, "hotRegion"),
      view.regionSourceProblem(kept),
      view.leaderSourceProblem(kept),
    ];
    const use = "StoreSpecialUse";
    expect(problems()).toEqual([use, use, undefined, use, use]);
    mock.setStats(9, { available: 5 * 2 ** 30 });
    expect(problems().slice(3)).toEqual([undefined, undefined]);
  });

  test("let slow stores lead: somebody must when all are slow, and one alone is evicted by its scheduler", () => {
    const mock = labelled({}, ["a", "b", "c"]);
    for (const id of [1, 2, 3]) mock.setStats(id, { slowScore: 90 });
    const region = mock.put(1, [1, 2, 3]);
    mock.store(1).setNodeState("removing");
    const built = new OperatorBuilder(mock.view, "test", region).setLeader(2).build(["leader"]);
    expect(built.kind).toBe("built");
    mock.store(2).isEvictedAsSlow = true;
    expect(mock.view.leaderTargetProblem(mock.store(2))).toBe("StoreRejectLeader");
  });

  test("ask for the room of a full region, however small the one in question", () => {
    const mock = labelled({}, ["a"]);
    mock.config.defaultStoreLimit = { "add-peer": 6, "remove-peer": 6 };
    const one = mock.store(1);
    const take = (kind: "add-peer" | "remove-peer") =>
      mock.view.limiterOf(one, kind).take(200, mock.env.clock.monotonicMs());
    take("add-peer");
    take("remove-peer");
    expect(mock.view.temporaryTargetProblem(one)).toBe("StoreAddPeerThrottled");
    expect(mock.view.regionSourceProblem(one)).toBe("StoreRemovePeerThrottled");
    mock.env.advance(2100);
    expect([mock.view.temporaryTargetProblem(one), mock.view.regionSourceProblem(one)]).toEqual([
      undefined,
      undefined,
    ]);
  });

  test("ask how far a place is from the others [TestDistinctScoreFilter]", () => {
    const mock = labelled({ "enable-placement-rules": "false" }, ["a", "a", "b", "b"]);
    const fits = (stores: readonly number[], from: number, to: number): boolean =>
      mock.view.safeguard(mock.region(1, stores), from)(mock.store(to));
    expect([fits([1, 3], 1, 2), fits([1, 3], 1, 4), fits([1, 2], 2, 3), fits([1, 2], 2, 2)]).toEqual([
      true,
      false,
      true,
      true,
    ]);
    const better = (store: number): boolean => {
      const beside = [mock.store(1)];
      const labels = ["zone", "host"];
      return locationScore(labels, beside, mock.store(store)) > locationScore(labels, beside, mock.store(2));
    };
    expect([better(2), better(3)]).toEqual([false, true]);
  });

  test("ask whether replicas stay apart at the level demanded [TestIsolationFilter]", () => {
    const mock = labelled({}, ["a", "a", "b"]);
    mock.addStore(4, { host: "h4" });
    const apart = (isolationLevel: string, store: number, ...others: number[]): boolean =>
      isolates(
        { locationLabels: ["zone", "host"], isolationLevel },
        others.map((id) => mock.store(id)),
        mock.store(store),
      );
    expect([apart("zone", 2, 1), apart("zone", 3, 1), apart("host", 2, 1), apart("", 2, 1)]).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect([apart("zone", 3, 1, 2), apart("host", 1, 1)]).toEqual([true, false]);
  });

  test("keep a move within the rules [TestPlacementGuard]", () => {
    const mock = labelled({}, ["a", "b", "c", "d"]);
    const only = (...zones: string[]): object[] => [{ key: "zone", op: "in", values: zones }];
    mock.setRules(
      { id: "default", count: 1, label_constraints: only("a") },
      { id: "rest", count: 2, label_constraints: only("b", "c", "d") },
    );
    const region = mock.region(1, [1, 2, 3]);
    const fits = (from: number, to: number): boolean => mock.view.safeguard(region, from)(mock.store(to));
    expect([fits(2, 4), fits(1, 4), fits(3, 4)]).toEqual([true, false, true]);
    const mayLead = mock.view.leaderSafeguard(region);
    expect([mayLead(mock.store(2)), mayLead(mock.store(4))]).toEqual([true, false]);
  });

  test("do not take a pending peer for a healthy one that can replace another [TestReplacePendingPeer]", () => {
    const mock = labelled({}, ["a", "b", "c", "d"]);
    mock.store(1).setNodeState("removing");
    const region = mock.put(1, [1, 2, 3], { pending: [3], sizeMib: 50 });
    const patrol = new RegionPatrol(mock.controller, mock.notes);
    const { result } = patrol.checker.check(region);
    expect(result).toMatchObject({ kind: "operator", operator: { brief: "mv peer: store [1] to [4]" } });
    // The leader goes to the peer that is well.
    const steps = result.kind === "operator" ? result.operator.steps : [];
    expect(steps).toContainEqual(
      expect.objectContaining({ kind: "transferLeader", fromStore: 1, toStore: 2 }),
    );
  });

  test("choose by room: a full best store delays, it is not passed over [TestOffline]", () => {
    const mock = labelled({}, ["a", "b", "c", "d"]);
    mock.store(3).setNodeState("removing");
    const region = mock.put(1, [1, 2, 3], { sizeMib: 50 });
    const brief = (): string => {
      const { result } = new RegionPatrol(mock.controller, mock.notes).checker.check(region);
      return result.kind === "operator"
        ? result.operator.brief
        : result.kind === "waiting"
          ? result.reason
          : "healthy";
    };
    expect(brief()).toBe("mv peer: store [3] to [4]");
    mock.view.limiterOf(mock.store(4), "add-peer").take(1000, mock.view.nowMs());
    expect(brief()).toMatch(/offline store 3 stays: the stores that are best .* cannot take a peer just now/);
    const demand = { locationLabels: [], isolationLevel: "" };
    expect(selectStoreToAdd(mock.view, region, [], demand).kind).toBe("later");
    mock.env.advance(5000);
    for (const id of [1, 2, 3, 4]) mock.silence(id, 0);
    expect(brief()).toBe("mv peer: store [3] to [4]");
  });
});

describe("the merge checker", () => {
  function scene(config: Readonly<Record<string, unknown>> = {}): {
    mock: MockCluster;
    checker: MergeChecker;
    hot: Set<number>;
  } {
    const mock = new MockCluster({ "split-merge-interval": "1h", "location-labels": "", ...config });
    for (let id = 1; id <= 4; id++) mock.addStore(id, { merge: "true" });
    const hot = new Set<number>();
    const checker = new MergeChecker(mock.view, (id) => hot.has(id));
    mock.env.advance(HOUR_MS);
    for (let id = 1; id <= 4; id++) mock.silence(id, 0);
    return { mock, checker, hot };
  }

  const key = (i: number): string => (i === 0 || i === 4 ? "" : ("abc"[i - 1] as string));
  const fill = (mock: MockCluster, more: Readonly<Record<number, MockRegion>> = {}): RegionInfo[] =>
    [1, 2, 3, 4].map((id) =>
      mock.put(id, [1, 2, 3], {
        start: key(id - 1),
        end: key(id),
        sizeMib: id === 2 ? 1 : 200,
        keys: 10,
        ...more[id],
      }),
    );

  test("has many reasons not to, and takes the smaller neighbour [TestBasic]", () => {
    const { mock, checker, hot } = scene();
    const outcome = (more: Readonly<Record<number, MockRegion>> = {}): string => {
      const region = must(fill(mock, more)[1], "");
      const result = checker.check(region);
      if (result.kind === "operator") return result.operator.brief;
      return result.kind === "waiting" ? result.reason : "large";
    };
    expect(checker.isPossible).toBe(true);
    expect(outcome({ 1: { sizeMib: 90 }, 3: { sizeMib: 80 } })).toBe("merge: region 2 to 3");
    expect(outcome({ 1: { sizeMib: 70 }, 3: { sizeMib: 80 } })).toBe("merge: region 2 to 1");
    expect(outcome({ 2: { sizeMib: 55 } })).toBe("large");
    expect(outcome({ 2: { sizeMib: 1, keys: 600_000 } })).toBe("large");
    expect(outcome({ 2: { sizeMib: 1, pending: [3] } })).toBe("a peer is not well");
    expect(outcome({ 2: { sizeMib: 1, down: [3] } })).toBe("a peer is not well");
    // Larger than what may grow, or what would be cut again at once.
    expect(outcome({ 1: { sizeMib: 900 }, 3: { sizeMib: 900 } })).toMatch(/larger than 576 MiB/);
    expect(outcome({ 1: { sizeMib: 196 }, 3: { sizeMib: 196 } })).toMatch(/split again/);
    hot.add(2);
    expect(outcome()).toBe("the region is hot");
    hot.delete(2);
    hot.add(1);
    expect(outcome({ 1: { sizeMib: 70 }, 3: { sizeMib: 80 } })).toBe("merge: region 2 to 3");
    hot.clear();
    mock.set("enable-one-way-merge", "true");
    expect(outcome({ 1: { sizeMib: 70 }, 3: { sizeMib: 80 } })).toBe("merge: region 2 to 3");
    mock.set("enable-one-way-merge", "false");
    mock.setRules({ id: "default", count: 3 }, { id: "border", role: "learner", start_key: "62" });
    mock.set("enable-one-way-merge", "true");
    expect(outcome({ 3: { sizeMib: 80 } })).toBe("a border of placement rules lies between them");
    mock.set("enable-one-way-merge", "false");
    mock.setRules({ id: "default", count: 3 });
    const deny = labelRuleFromJson(
      {
        id: "d",
        labels: [{ key: "merge_option", value: "deny" }],
        rule_type: "key-range",
        data: [{ start_key: "", end_key: "" }],
      },
      0,
    ) as RegionLabelRule;
    mock.cluster.labels.change([deny], [], () => {});
    mock.env.settle();
    expect(outcome({ 1: { sizeMib: 70 }, 3: { sizeMib: 80 } })).toBe("a label denies the merge");
  });

  test("keeps tables apart if it shall, where keys are those of tables", () => {
    const { mock, checker } = scene();
    const border = (table: number, row: number): Uint8Array => {
      const key = new Uint8Array(19);
      [key[0], key[8], key[18]] = ["t".charCodeAt(0), table, row];
      return encodeMemcomparable(key);
    };
    const merges = (first: number, second: number): string => {
      const [start, middle] = [border(first, 0), border(second, 1)];
      const made = (id: number, startKey: Uint8Array, endKey: Uint8Array): RegionInfo => {
        const region = mock.region(id, [1, 2, 3]);
        return { ...region, meta: { ...region.meta, startKey, endKey } };
      };
      const pair = [made(1, start, middle), made(2, middle, utf8(""))] as const;
      return mergeProblem(mock.view, ...pair) ?? "may merge";
    };
    expect(checker.isPossible).toBe(true);
    expect(merges(1, 2)).toBe("may merge");
    mock.set("enable-cross-table-merge", "false");
    expect([merges(1, 2), merges(2, 2)]).toEqual(["they are of two tables", "may merge"]);
    mock.set("key-type", "raw");
    expect(merges(1, 2)).toBe("may merge");
  });

  test("leaves what was split lately alone, and everything in PD's first hour [TestCache]", () => {
    const mock = new MockCluster({ "split-merge-interval": "1h", "location-labels": "" });
    for (let id = 1; id <= 4; id++) mock.addStore(id, { merge: "true" });
    const checker = new MergeChecker(mock.view, () => false);
    const region = must(fill(mock, { 1: { sizeMib: 70 } })[1], "");
    expect(checker.check(region)).toMatchObject({
      reason: expect.stringMatching(/led for less than split-merge-interval/),
    });
    mock.env.advance(HOUR_MS - 1000);
    checker.recordSplit([2]);
    mock.env.advance(2000);
    for (let id = 1; id <= 4; id++) mock.silence(id, 0);
    expect(checker.check(region)).toMatchObject({ reason: "the region was split lately" });
    mock.env.advance(HOUR_MS);
    for (let id = 1; id <= 4; id++) mock.silence(id, 0);
    expect(checker.check(region).kind).toBe("operator");
  });

  test("proposes nothing until every store says that it can merge", () => {
    const { mock, checker } = scene();
    mock.addStore(5);
    mock.env.advance(1000);
    expect(checker.isPossible).toBe(false);
  });
});

describe("the coordinator", () => {
  test("adds, replaces by priority and removes operators [TestBasic]", () => {
    const mock = labelled({}, ["a", "b", "c"]);
    const [region] = mock.putMany(times(2, [1, 2, 3])) as [RegionInfo];
    const plan = (priority: "medium" | "high") => {
      const built = new OperatorBuilder(mock.view, priority, region).setLeader(2).build(["leader"], priority);
      if (built.kind === "refused") throw new Error(built.reason);
      return built.operator;
    };
    const first = plan("medium");
    expect([mock.controller.add(first), mock.controller.add(plan("medium"))]).toEqual([
      undefined,
      "already exist",
    ]);
    const second = plan("high");
    expect([mock.controller.add(second), first.state]).toEqual([undefined, "replaced"]);
    expect(mock.controller.cancel(1, "admin stop")).toBe(true);
    expect([mock.controller.operators(), second.state, mock.controller.record(1)]).toEqual([
      [],
      "canceled",
      second,
    ]);
  });

  test("brings a region that lacks a peer to three voters, step by step [TestCheckRegion, TestDispatch]", () => {
    const world = worldOf([[1, 2]], { schedule: REPAIRS });
    world.advance(5000);
    expect(world.storesOf(2)).toHaveLength(3);
    expect(world.record(2).meta.peers.every((peer) => peer.role === "voter")).toBe(true);
    expect(world.commands.length).toBeGreaterThanOrEqual(2);
    expect(world.commands[0]?.changePeerV2?.changes[0]?.changeType).toBe(2);
  });

  test("repairs a region whatever a label denies to schedulers [TestCheckRegionWithScheduleDeny]", () => {
    const world = worldOf([], { schedule: REPAIRS });
    const label = {
      id: "deny",
      labels: [{ key: "schedule", value: "deny" }],
      rule_type: "key-range",
      data: [{ start_key: "", end_key: "" }],
    };
    expect(world.harness.http("POST", "/pd/api/v1/config/region-label/rule", label).status).toBe(200);
    world.addRegions([[1, 2]]);
    world.advance(5000);
    expect(world.storesOf(2)).toHaveLength(3);
  });

  test("starts no more repairs than their limit lets it [TestCheckerIsBusy, TestCheckCache]", () => {
    const schedule = { "replica-schedule-limit": 2, "halt-scheduling": "false" };
    const world = worldOf(times(6, [1, 2]), { obeys: false, schedule });
    world.harness.env.advance(3000);
    expect(world.scheduling.controller.count("replica")).toBe(2);
    const waiting = world.scheduling.patrol.suspectCount;
    expect(waiting).toBeGreaterThan(0);
    expect(world.scheduling.notes.of("region", 105)).toContainEqual(
      expect.objectContaining({ reason: "replica-schedule-limit 2 is reached" }),
    );
    // Once there is room the ones that wait are looked at again, without a heartbeat.
    world.harness.http("POST", "/pd/api/v1/config", { "replica-schedule-limit": 64 });
    world.harness.env.advance(1000);
    expect(world.scheduling.controller.count("replica")).toBeGreaterThan(2);
  });

  test("takes no ids for plans that a limit keeps from starting", () => {
    const world = worldOf(times(6, [1, 2]), {
      obeys: false,
      schedule: { ...NOTHING_ALLOWED, "halt-scheduling": "false" },
    });
    const { harness } = world;
    const nextId = (): number => harness.call(PdService.AllocID, { count: 1 }).id;
    const before = nextId();
    harness.env.advance(10_000);
    expect(world.scheduling.notes.of("region", 105)).not.toEqual([]);
    expect(nextId()).toBe(before + 1);
    harness.http("POST", "/pd/api/v1/config", { "replica-schedule-limit": 2 });
    harness.env.advance(1000);
    const added = world.scheduling.controller.operators().map(({ steps: [step] }) => step);
    expect(added).toMatchObject([
      { kind: "addLearner", peerId: before + 2 },
      { kind: "addLearner", peerId: before + 3 },
    ]);
    expect(nextId()).toBe(before + 4);
  });

  test("repairs first what lacks most, whatever has waited longer (TestCheckPriorityRegions)", () => {
    const world = worldOf([...times(300, [1, 2]), [1]], {
      obeys: false,
      schedule: { ...NOTHING_ALLOWED, "halt-scheduling": "false" },
    });
    world.harness.env.advance(3000);
    expect(world.scheduling.controller.operators()).toEqual([]);
    world.harness.http("POST", "/pd/api/v1/config", { "replica-schedule-limit": 1 });
    // Each was looked at in vain for a while and is looked at the less often.
    world.harness.env.advance(4000);
    expect(world.scheduling.controller.operators().map(({ regionId }) => regionId)).toEqual([400]);
  });

  test("replaces down, leaving and surplus peers [TestReplica]", () => {
    const world = worldOf([[1, 2, 3]], { schedule: { ...REPAIRS, "max-store-down-time": "1m" } });
    const region = must(world.regions.get(2), "");
    world.deadStores.add(3);
    region.down = [must(region.peers[2], "").id];
    world.advance(90_000);
    expect(world.storesOf(2)).toEqual([1, 2, 4]);
    region.down = [];
    world.deadStores.clear();
    world.advance(30_000);
    world.harness.http("DELETE", "/pd/api/v1/store/2");
    world.advance(30_000);
    expect(world.storesOf(2)).toEqual([1, 3, 4]);
  });

  test("visits every region in a pass, in batches that grow with the cluster [TestPatrolRegionConcurrency, TestScanLimit]", () => {
    const { mock, patrol } = patrolScene();
    const seen = new Map<number, number>();
    const check = patrol.check.bind(patrol);
    patrol.check = (region) => {
      seen.set(region.meta.id, (seen.get(region.meta.id) ?? 0) + 1);
      check(region);
    };
    patrol.start();
    patrol.wake();
    mock.env.advance(60);
    expect(seen.size).toBe(600);
    expect([...seen.values()].every((count) => count === 1)).toBe(true);
    expect(patrol.lastPassMs).toBeLessThan(100);
    patrol.stop();
  });

  test("ends its turn after some milliseconds, however long looks take, and goes on soon where it was", () => {
    const { mock, patrol } = patrolScene();
    const inTurn = new Map<number, number>();
    let turn = 0;
    const seen = new Set<number>();
    patrol.check = (region) => {
      seen.add(region.meta.id);
      inTurn.set(turn, (inTurn.get(turn) ?? 0) + 1);
      mock.env.spend(0.1);
    };
    patrol.start();
    patrol.wake();
    for (; seen.size < 600 && turn < 100; turn++) mock.env.advance(1);
    patrol.stop();
    expect(seen.size).toBe(600);
    expect(Math.max(...inTurn.values())).toBeLessThanOrEqual(128);
    expect(inTurn.size).toBeGreaterThan(4);
  });

  test("does not finish an operator while the new peer is pending [TestPeerState]", () => {
    const mock = labelled({}, ["a", "b", "c", "d"]);
    const region = mock.put(1, [1, 2, 3]);
    const built = new OperatorBuilder(mock.view, "move", region).addPeer(4, "voter").build(["region"]);
    if (built.kind === "refused") throw new Error(built.reason);
    mock.controller.add(built.operator);
    const step = built.operator.steps[0];
    const peerId = step?.kind === "addLearner" ? step.peerId : 0;
    const learner = { id: peerId, storeId: 4, role: "learner", isWitness: false } as const;
    const withLearner = {
      ...region,
      meta: { ...region.meta, epoch: { version: 1, confVer: 2 }, peers: [...region.meta.peers, learner] },
    };
    mock.cluster.putRegion({ ...withLearner, pendingPeers: [learner] });
    mock.controller.onHeartbeat({ ...withLearner, pendingPeers: [learner] });
    expect([built.operator.currentStep, built.operator.state]).toEqual([0, "started"]);
    mock.controller.onHeartbeat(withLearner);
    expect(built.operator.currentStep).toBe(1);
  });

  test("makes schedulers once, and keeps what was added over a restart [TestAddScheduler, TestPersistScheduler]", () => {
    const world = worldOf([]);
    const { schedulers } = world.scheduling;
    expect(world.addScheduler("balance-leader")).toMatchObject({ kind: "refused", status: 400 });
    expect(world.addScheduler("shuffle-leader-scheduler").kind).toBe("ok");
    expect(world.addScheduler("evict-leader", 1).kind).toBe("ok");
    const names = schedulers.names();
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(world.scheduling.schedulers.names()).toEqual(names);
    expect(world.scheduling.schedulers.evictLeaderConfig()).toMatchObject({ "store-id-ranges": { 1: [{}] } });
  });

  test("keeps a default scheduler away that was removed [TestRemoveScheduler]", () => {
    const world = worldOf([]);
    const { schedulers } = world.scheduling;
    for (const name of schedulers.names()) expect(world.removeScheduler(name).kind).toBe("ok");
    expect([schedulers.names(), schedulers.disabledNames().length]).toEqual([[], 5]);
    expect(world.removeScheduler("balance-leader-scheduler")).toMatchObject({ status: 404 });
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(world.scheduling.schedulers.names()).toEqual([]);
    expect(world.addScheduler("hot-region").kind).toBe("ok");
    expect(world.scheduling.schedulers.names()).toEqual(["balance-hot-region-scheduler"]);
  });

  test("pauses a scheduler for a while and resumes it [TestPauseScheduler]", () => {
    const world = worldOf(times(9, [1, 2, 3]), { schedule: { "region-schedule-limit": 0 } });
    const { schedulers } = world.scheduling;
    expect(schedulers.pause("nobody", 60)).toMatchObject({ kind: "refused", status: 500 });
    schedulers.pause("balance-leader-scheduler", 30);
    world.advance(20_000);
    expect([schedulers.status("balance-leader-scheduler"), world.count(1, "leaders")]).toEqual(["paused", 9]);
    world.advance(20_000);
    expect(world.count(1, "leaders")).toBeLessThan(9);
  });

  test("asks a scheduler only below its limit, and ever less often while it finds nothing [TestController, TestInterval]", () => {
    const unheard = (placements: readonly number[][], schedule: WorldOptions["schedule"] = {}): World =>
      worldOf(placements, { stores: 3, obeys: false, schedule: { "halt-scheduling": "false", ...schedule } });
    const world = unheard(times(12, [1, 2, 3]), { "leader-schedule-limit": 2 });
    world.harness.env.advance(5000);
    // Nobody obeys: two run, and no third is made.
    expect(world.scheduling.controller.count("leader")).toBe(2);
    expect(world.scheduling.schedulers.heldBy("balance-leader-scheduler")).toBe(
      "leader-schedule-limit 2 is reached",
    );
    const rest = unheard([[1, 2, 3]]);
    rest.harness.env.advance(1000);
    const runs = (): number =>
      rest.harness.pd.metrics.value("pd_scheduler_event_count", {
        type: "balance-leader-scheduler",
        name: "schedule",
      });
    rest.harness.env.advance(60_000);
    const before = runs();
    rest.harness.env.advance(60_000);
    expect(runs() - before).toBeLessThanOrEqual(13);
    expect(runs() - before).toBeGreaterThanOrEqual(11);
  });

  test("lets a store take no more than its limit until tokens are back [TestStoreOverloaded, TestDownStoreLimit]", () => {
    const mock = labelled({}, ["a", "b", "c", "d"]);
    mock.config.defaultStoreLimit = { "add-peer": 60, "remove-peer": 60 };
    const regions = mock.putMany(times(4, [1, 2, 3]), { sizeMib: 50 });
    const move = (region: RegionInfo, from: number): string | undefined => {
      const built = new OperatorBuilder(mock.view, "m", region)
        .addPeer(4, "voter")
        .removePeer(from)
        .build(["region"]);
      return built.kind === "refused" ? built.reason : mock.controller.addWaiting(built.operator);
    };
    expect(move(regions[0] as RegionInfo, 3)).toBeUndefined();
    expect(move(regions[1] as RegionInfo, 2)).toBe("exceed store limit");
    expect(mock.view.temporaryTargetProblem(mock.store(4))).toBe("StoreAddPeerThrottled");
    mock.env.advance(1100);
    expect(move(regions[1] as RegionInfo, 2)).toBeUndefined();
    // An empty region costs nothing.
    const empty = mock.put(4, [1, 2, 3], { start: "000003", sizeMib: 1, version: 2 });
    expect(move(empty, 1)).toBeUndefined();
  });
});

describe("operators by hand", () => {
  const add = (world: World, body: object) => world.harness.http("POST", "/pd/api/v1/operators", body);

  test("add and remove peers [TestAddRemovePeer]", () => {
    const world = worldOf([[1, 2, 3]], { obeys: false });
    expect(add(world, { name: "add-peer", region_id: 2, store_id: 4 }).json).toBe("The operator is created.");
    expect(world.harness.http("GET", "/pd/api/v1/operators/2").json).toMatch(
      /add learner peer \d+ on store 4/,
    );
    world.harness.http("DELETE", "/pd/api/v1/operators/2");
    expect(add(world, { name: "remove-peer", region_id: 2, store_id: 2 }).status).toBe(200);
    expect(world.harness.http("GET", "/pd/api/v1/operators/2").json).toMatch(/remove peer on store 2/);
    world.harness.http("DELETE", "/pd/api/v1/operators/2");
    expect(add(world, { name: "add-peer", region_id: 2, store_id: 3 })).toMatchObject({ status: 500 });
    expect(add(world, { name: "remove-peer", region_id: 2, store_id: 4 })).toMatchObject({ status: 500 });
    expect(add(world, { name: "add-learner", region_id: 2, store_id: 4 }).status).toBe(200);
  });

  test("merge neighbours only, and only where stores can [TestMergeRegionOperator]", () => {
    const three = { stores: 3, obeys: false };
    const world = worldOf(times(3, [1, 2, 3]), { ...three, labels: () => ({ merge: "true" }) });
    const merge = (source: number, target: number) =>
      add(world, { name: "merge-region", source_region_id: source, target_region_id: target });
    expect(merge(2, 102)).toMatchObject({ status: 500, json: expect.stringMatching(/not adjacent/) });
    expect(merge(2, 999).status).toBe(500);
    expect(merge(2, 101).json).toBe("The operator is created.");
    expect(world.scheduling.controller.operators()).toHaveLength(2);
    const plain = worldOf(times(2, [1, 2, 3]), three);
    expect(add(plain, { name: "merge-region", source_region_id: 2, target_region_id: 101 })).toMatchObject({
      status: 500,
      json: expect.stringMatching(/not every store/),
    });
  });

  test("move a region with the roles that rules demand [TestTransferRegionWithPlacementRule]", () => {
    const world = worldOf([[1, 2, 3]], { obeys: false });
    const move = (more: object) => add(world, { name: "transfer-region", region_id: 2, ...more });
    expect(move({ to_store_ids: [2, 3, 4] })).toMatchObject({
      status: 500,
      json: "transfer region without peer role is not supported when placement rules enabled",
    });
    expect(move({ to_store_ids: [2, 3, 4], peer_roles: ["leader", "leader", "voter"] }).status).toBe(500);
    expect(move({ to_store_ids: [2, 3, 4], peer_roles: ["follower", "leader", "voter"] }).status).toBe(200);
    expect(world.harness.http("GET", "/pd/api/v1/operators/2").json).toMatch(
      /transfer leader from store 1 to store 3/,
    );
    world.harness.http("DELETE", "/pd/api/v1/operators/2");
    world.harness.http("POST", "/pd/api/v1/config", { "enable-placement-rules": "false" });
    expect(move({ to_store_ids: [2, 3, 4] }).status).toBe(200);
  });
});

test("keys to split at go to their regions, and what is left is tried again [TestGroupKeysByRegion, TestRegionSplitter]", () => {
  const world = worldOf(times(3, [1, 2, 3]), { stores: 3 });
  let outcome: unknown;
  const keys = ["k00000", "k000005", "k000015", "k00001"].map(utf8);
  world.scheduling.splitter.split(keys, 0, (result) => {
    outcome = result;
  });
  const running = world.scheduling.controller.operators().map(({ regionId, desc }) => [regionId, desc]);
  expect(running).toEqual([
    [2, "region-splitter"],
    [101, "region-splitter"],
  ]);
  // One key is the start of a region already.
  world.harness.env.advance(61_000);
  expect(outcome).toMatchObject({ percentage: 25, regionIds: [101] });
});
