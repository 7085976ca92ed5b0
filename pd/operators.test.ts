/** Steps, plans and the queue of operators, one state at a time. (PD: operator/*_test.go) */
import { describe, expect, test } from "vitest";
import { must, SeededRandom, utf8 } from "../base/index.js";
import { mergeOperators } from "./merge-operator.js";
import { addInfluence, type Influence, type Operator, type OperatorPriority } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { confVerUsed, isStepFinished, type Step, stepProblem } from "./operator-step.js";
import type { PeerRole, RegionInfo } from "./region-info.js";
import { splitOperator } from "./split-operator.js";
import { stepCommand, stepTimeoutMs } from "./step-command.js";
import { regionCost, SlidingWindows, TokenBucket } from "./store-limit.js";
import { MockCluster, type MockRegion, stepsOf, times } from "./test/mock-cluster.js";
import { WaitingOperators } from "./waiting-operators.js";

function cluster(config: Readonly<Record<string, unknown>> = {}): MockCluster {
  const mock = new MockCluster(config);
  for (let id = 1; id <= 8; id++) mock.addStore(id, { zone: `z${id}`, host: `h${id}` });
  return mock;
}

const place = (storeId: number, regionId = 1) => ({ storeId, peerId: regionId * 1000 + storeId });

describe("steps", () => {
  const mock = cluster();
  const region = (stores: readonly number[], more: MockRegion = {}): RegionInfo =>
    mock.region(1, stores, more);
  const learner = (...ids: number[]) => ({
    roles: Object.fromEntries(ids.map((id) => [id, "learner" as PeerRole])),
  });

  test("know when they are finished and what they explain of conf_ver [TestOperatorStep]", () => {
    const cases: readonly [Step, RegionInfo, boolean, number][] = [
      [{ kind: "transferLeader", fromStore: 1, toStore: 2, toStores: [] }, region([1, 2]), false, 0],
      [{ kind: "transferLeader", fromStore: 1, toStore: 2, toStores: [] }, region([2, 1]), true, 0],
      [{ kind: "transferLeader", fromStore: 1, toStore: 2, toStores: [3] }, region([3, 1, 2]), true, 0],
      [{ kind: "addPeer", ...place(4) }, region([1, 2]), false, 0],
      [{ kind: "addPeer", ...place(4) }, region([1, 2, 4], { pending: [4] }), false, 1],
      [{ kind: "addPeer", ...place(4) }, region([1, 2, 4]), true, 1],
      [{ kind: "addLearner", ...place(4) }, region([1, 2]), false, 0],
      [{ kind: "addLearner", ...place(4) }, region([1, 4], learner(4)), true, 1],
      [{ kind: "addLearner", ...place(4) }, region([1, 4], { ...learner(4), pending: [4] }), false, 1],
      [{ kind: "addLearner", ...place(4) }, region([1, 4]), false, 1],
      [{ kind: "promoteLearner", ...place(4) }, region([1, 4], learner(4)), false, 0],
      [{ kind: "promoteLearner", ...place(4) }, region([1, 4]), true, 1],
      [{ kind: "removePeer", ...place(2) }, region([1, 2]), false, 0],
      [{ kind: "removePeer", ...place(2) }, region([1]), true, 1],
      [{ kind: "removePeer", storeId: 2, peerId: 99 }, region([1, 2]), false, 1],
    ];
    for (const [i, [step, record, finished, used]] of cases.entries()) {
      expect([isStepFinished(step, record), confVerUsed(step, record)], `case ${i}`).toEqual([
        finished,
        used,
      ]);
    }
  });

  test("know whether a leader can still be transferred [TestTransferLeader]", () => {
    const step: Step = { kind: "transferLeader", fromStore: 1, toStore: 2, toStores: [] };
    const problem = (record: RegionInfo): string | undefined => stepProblem(step, record, mock.view);
    expect(problem(region([1, 2]))).toBeUndefined();
    expect(problem(region([1, 3]))).toMatch(/does not existed/);
    expect(problem(region([1, 2], learner(2)))).toMatch(/learner/);
    expect(problem(mock.region(1, [1, 99]))).toMatch(/does not existed/);
    mock.silence(2, 31 * 60_000);
    expect(problem(region([1, 2]))).toMatch(/down/);
    mock.silence(2, 0);
    const both: Step = { ...step, toStores: [2, 3] };
    expect(stepProblem(both, region([1, 3]), mock.view)).toBeUndefined();
  });

  test("know whether a learner can still be added [TestAddLearner]", () => {
    const step: Step = { kind: "addLearner", ...place(4) };
    const problem = (record: RegionInfo): string | undefined => stepProblem(step, record, mock.view);
    expect(problem(region([1, 2]))).toBeUndefined();
    expect(problem(region([1, 4], learner(4)))).toBeUndefined();
    expect(problem(region([1, 4]))).toMatch(/already is a voter/);
    const other = region([1, 4], learner(4));
    const renamed = {
      ...other,
      meta: { ...other.meta, peers: other.meta.peers.map((peer) => ({ ...peer, id: 7 })) },
    };
    expect(problem(renamed)).toMatch(/has already existed in store 4/);
    mock.silence(4, 31 * 60_000);
    expect(problem(region([1, 2]))).toMatch(/store 4 is down/);
    mock.silence(4, 0);
    expect(stepProblem({ kind: "addLearner", ...place(99) }, region([1]), mock.view)).toMatch(
      /does not exist/,
    );
  });

  const joint = (kind: "enterJoint" | "leaveJoint"): Step => ({
    kind,
    promote: [place(3), place(4)],
    demote: [place(1), place(2)],
  });
  const roles = (one: PeerRole, two: PeerRole, three: PeerRole, four: PeerRole): RegionInfo =>
    region([1, 2, 3, 4], { leader: 3, roles: { 1: one, 2: two, 3: three, 4: four } });

  test("enter a joint state from every state a peer may be in [TestChangePeerV2Enter]", () => {
    const enter = joint("enterJoint");
    const look = (record: RegionInfo) => [
      isStepFinished(enter, record),
      confVerUsed(enter, record),
      stepProblem(enter, record, mock.view) === undefined,
    ];
    expect(look(roles("voter", "voter", "learner", "learner"))).toEqual([false, 0, true]);
    expect(look(roles("demotingVoter", "demotingVoter", "incomingVoter", "incomingVoter"))).toEqual([
      true,
      4,
      true,
    ]);
    expect(look(roles("learner", "learner", "voter", "voter"))).toEqual([true, 4, true]);
    // Half-way there is no state of a joint change.
    expect(look(roles("voter", "voter", "incomingVoter", "learner"))).toEqual([false, 0, false]);
    expect(look(roles("demotingVoter", "voter", "incomingVoter", "incomingVoter"))).toEqual([
      false,
      0,
      false,
    ]);
    expect(look(region([1, 3, 4], { ...learner(3, 4) }))[2]).toBe(false);
    const another = region([1, 2, 3, 4, 5], {
      roles: { 3: "learner", 4: "learner", 5: "incomingVoter" },
    });
    expect(stepProblem(enter, another, mock.view)).toBe("other peer is in joint state");
    const command = must(
      stepCommand(enter, roles("voter", "voter", "learner", "learner"), true),
      "no command",
    );
    expect(command.changePeerV2?.changes).toHaveLength(4);
  });

  test("leave a joint state, but not while a demoted peer leads [TestChangePeerV2Leave]", () => {
    const leave = joint("leaveJoint");
    const look = (record: RegionInfo) => [
      isStepFinished(leave, record),
      confVerUsed(leave, record),
      stepProblem(leave, record, mock.view) === undefined,
    ];
    expect(look(roles("voter", "voter", "learner", "learner"))).toEqual([false, 0, false]);
    expect(look(roles("demotingVoter", "demotingVoter", "incomingVoter", "incomingVoter"))).toEqual([
      false,
      0,
      true,
    ]);
    expect(look(roles("learner", "learner", "voter", "voter"))).toEqual([true, 4, true]);
    expect(look(roles("learner", "demotingVoter", "voter", "voter"))).toEqual([false, 0, false]);
    const ledByDemoted = region([1, 2, 3, 4], {
      leader: 1,
      roles: { 1: "demotingVoter", 2: "demotingVoter", 3: "incomingVoter", 4: "incomingVoter" },
    });
    expect(stepProblem(leave, ledByDemoted, mock.view)).toBe("demoting peer is the leader");
    expect(stepCommand(leave, ledByDemoted, true)).toEqual({ changePeerV2: { changes: [] } });
  });

  test("have time limits by the size of the region [TestOpStepTimeout]", () => {
    const seconds = (step: Step, sizeMib: number): number => stepTimeoutMs(step, sizeMib) / 1000;
    const transfer: Step = { kind: "transferLeader", fromStore: 1, toStore: 2, toStores: [] };
    const add: Step = { kind: "addLearner", ...place(4) };
    expect([seconds(transfer, 1), seconds(transfer, 1000)]).toEqual([60, 600]);
    expect([seconds(add, 1), seconds(add, 1000)]).toEqual([600, 6000]);
    expect(seconds({ kind: "removePeer", ...place(4) }, 10)).toBe(60);
    expect(seconds(joint("enterJoint"), 10)).toBe(300);
    const { meta } = region([1]);
    expect(seconds({ kind: "merge", source: meta, target: meta, isPassive: true }, 10)).toBe(600);
  });
});

describe("operators", () => {
  const plan = (
    mock: MockCluster,
    region: RegionInfo,
    wish: (builder: OperatorBuilder) => unknown,
  ): Operator => {
    const builder = new OperatorBuilder(mock.view, "test", region);
    wish(builder);
    const built = builder.build(["admin"]);
    if (built.kind === "refused") throw new Error(built.reason);
    return built.operator;
  };

  test("change the figures of stores by what is not done yet [TestInfluence]", () => {
    const mock = cluster();
    const region = mock.put(1, [1, 2, 3], { sizeMib: 50 });
    const on = (operator: Operator): Record<string, readonly number[]> => {
      const influence: Influence = new Map();
      addInfluence(influence, operator, region);
      return Object.fromEntries(
        [...influence].map(([id, entry]) => [
          id,
          [entry.leaderCount, entry.leaderSizeMib, entry.regionCount, entry.regionSizeMib],
        ]),
      );
    };
    expect(on(plan(mock, region, (builder) => builder.setLeader(2)))).toEqual({
      1: [-1, -50, 0, 0],
      2: [1, 50, 0, 0],
    });
    const move = plan(mock, region, (builder) => builder.addPeer(4, "voter").removePeer(3));
    expect(on(move)).toEqual({ 3: [0, 0, -1, -50], 4: [0, 0, 1, 50] });
    move.currentStep = 1;
    expect(on(move)).toEqual({ 3: [0, 0, -1, -50] });
    const split = splitOperator(mock.view, "admin-split-region", region, "approximate", []);
    if (typeof split === "string") throw new Error(split);
    expect(on(split)).toEqual({ 1: [1, 0, 1, 0], 2: [0, 0, 1, 0], 3: [0, 0, 1, 0] });
  });

  test("time out after the time of all their steps [TestCheckTimeout]", () => {
    const mock = cluster();
    const region = mock.put(1, [1, 2, 3]);
    const operator = plan(mock, region, (builder) => builder.addPeer(4, "voter").removePeer(1));
    const nowMs = mock.env.clock.monotonicMs();
    expect(operator.timeoutMs).toBe((600 + 60 + 180 + 180 + 60) * 1000);
    operator.state = "started";
    operator.startedMs = nowMs;
    operator.check(region, nowMs + operator.timeoutMs - 1);
    expect(operator.state).toBe("started");
    operator.check(region, nowMs + operator.timeoutMs);
    expect(operator.state).toBe("timeout");
    // What is finished is a success, however late.
    const late = plan(mock, region, (builder) => builder.setLeader(2));
    late.state = "started";
    late.check(mock.region(1, [1, 2, 3], { leader: 2 }), nowMs + 1e9);
    expect(late.state).toBe("success");
    const created = plan(mock, region, (builder) => builder.setLeader(2));
    expect([created.isExpired(nowMs + 2999), created.isExpired(nowMs + 3000)]).toEqual([false, true]);
  });

  test("to merge bring the source to the target's stores first [TestCreateMergeRegionOperator, TestMatchPeers]", () => {
    const mock = cluster();
    const cases: readonly [readonly number[], readonly number[], string[]][] = [
      [[1, 2, 3], [1, 2, 3], ["merge region 1 into region 2"]],
      [[1, 2, 3], [3, 2, 1], ["merge region 1 into region 2"]],
    ];
    for (const [from, to, wanted] of cases) {
      const made = mergeOperators(mock.view, mock.region(1, from), mock.region(2, to), "m", ["merge"]);
      expect(typeof made === "string" ? made : stepsOf(made[0])).toEqual(wanted);
    }
    const made = mergeOperators(mock.view, mock.region(1, [1, 2, 3]), mock.region(2, [1, 2, 4]), "m", [
      "merge",
    ]);
    if (typeof made === "string") throw new Error(made);
    const [active, passive] = made;
    expect(stepsOf(active).map((text) => text.split(" ")[0])).toEqual([
      "add",
      "use",
      "leave",
      "remove",
      "merge",
    ]);
    expect(stepsOf(passive)).toEqual(["merge region 1 into region 2"]);
    expect(passive.timeoutMs).toBe(active.timeoutMs);
    expect([active.relatedRegionId, passive.relatedRegionId]).toEqual([2, 1]);
    expect(active.countedKind).toBe("merge");
    // Roles are matched too.
    const learner = mock.region(2, [1, 2, 3], { roles: { 3: "learner" } });
    const demoting = mergeOperators(mock.view, mock.region(1, [1, 2, 3]), learner, "m", ["merge"]);
    expect(typeof demoting === "string" ? demoting : stepsOf(demoting[0])[0]).toMatch(
      /demote voter peer on store 3/,
    );
    const joint = mock.region(2, [1, 2, 3], { roles: { 3: "incomingVoter" } });
    expect(mergeOperators(mock.view, mock.region(1, [1, 2, 3]), joint, "m", ["merge"])).toMatch(
      /joint state/,
    );
    // The source is told, the target waits until its range has grown.
    const step = must(active.steps.at(-1), "");
    expect(stepCommand(step, mock.region(1, [1, 2, 4]), true)?.merge?.target?.id).toBe(2);
    expect(stepCommand(must(passive.steps[0], ""), mock.region(2, [1, 2, 4]), true)).toBeUndefined();
    expect(isStepFinished(must(passive.steps[0], ""), mock.region(2, [1, 2, 4], { start: "a" }))).toBe(true);
  });

  test("leave a joint state with a leader that may lead [TestCreateLeaveJointStateOperator]", () => {
    const mock = cluster();
    const leave = (roles: Record<number, PeerRole>, leader: number): string[] => {
      const region = mock.region(1, [1, 2, 3, 4], { roles, leader });
      const built = new OperatorBuilder(mock.view, "leave", region, {
        allowJointState: true,
      }).buildLeaveJointState();
      return built.kind === "built"
        ? stepsOf(built.operator).map((text) => text.split(",")[0] as string)
        : [];
    };
    expect(leave({ 3: "incomingVoter", 4: "demotingVoter" }, 1)).toEqual(["leave joint state"]);
    expect(leave({ 1: "demotingVoter", 3: "incomingVoter" }, 1)).toEqual([
      "transfer leader from store 1 to store 2",
      "leave joint state",
    ]);
    mock.store(2).leaderInPauses = 1;
    mock.store(4).leaderInPauses = 1;
    expect(leave({ 1: "demotingVoter", 3: "incomingVoter" }, 1)[0]).toBe(
      "transfer leader from store 1 to store 3",
    );
  });

  test("one by one go from store to store that stands nearest", () => {
    const mock = new MockCluster({ "location-labels": "zone,host", "enable-joint-consensus": "false" });
    for (let id = 1; id <= 6; id++) mock.addStore(id, { zone: `z${((id - 1) % 3) + 1}`, host: `h${id}` });
    const region = mock.put(1, [1, 2, 3]);
    const operator = plan(mock, region, (builder) =>
      builder.addPeer(6, "voter").addPeer(5, "voter").removePeer(2).removePeer(3),
    );
    expect(stepsOf(operator)).toEqual([
      "add learner peer on store 5",
      "promote learner peer on store 5 to voter",
      "remove peer on store 2",
      "add learner peer on store 6",
      "promote learner peer on store 6 to voter",
      "remove peer on store 3",
    ]);
  });

  test("follow the roles that rules expect", () => {
    const mock = cluster();
    const region = mock.put(1, [1, 2, 3]);
    const builder = (): OperatorBuilder =>
      new OperatorBuilder(mock.view, "x", region)
        .addPeer(4, "voter")
        .addPeer(5, "voter")
        .removePeer(1)
        .removePeer(2);
    const roles = new Map([
      [3, "follower"],
      [4, "follower"],
      [5, "leader"],
    ] as const);
    const built = builder().setExpectedRoles(roles).build(["admin"]);
    expect(built.kind === "built" ? stepsOf(built.operator) : []).toContainEqual(
      expect.stringMatching(/^transfer leader from store 1 to store 5/),
    );
    const two = new Map([
      [3, "leader"],
      [4, "leader"],
    ] as const);
    expect(builder().setExpectedRoles(two).build(["admin"])).toMatchObject({ kind: "refused" });
    expect(
      builder()
        .setExpectedRoles(new Map([[3, "follower"]]))
        .build(["admin"]),
    ).toMatchObject({ kind: "refused" });
  });
});

describe("the controller", () => {
  const transfer = (
    mock: MockCluster,
    id: number,
    priority: OperatorPriority = "medium",
    desc = "test",
  ): Operator => {
    const region = must(mock.cluster.regions.byId(id), "no region");
    const built = new OperatorBuilder(mock.view, desc, region).setLeader(2).build(["leader"], priority);
    if (built.kind === "refused") throw new Error(built.reason);
    return built.operator;
  };

  test("lets so many of one author wait, and starts one for each that comes [TestAddWaitingOperator]", () => {
    const mock = cluster({ "scheduler-max-waiting-operator": 2 });
    mock.putMany(times(12, [1, 2, 3]));
    const controller = mock.controller;
    expect(controller.addWaiting(transfer(mock, 1))).toBeUndefined();
    expect([controller.operators().length, controller.waiting.size]).toEqual([1, 0]);
    controller.waiting.put([transfer(mock, 2)]);
    controller.waiting.put([transfer(mock, 3)]);
    const fourth = transfer(mock, 4);
    expect(controller.addWaiting(fourth)).toBe("exceed wait limit");
    expect(fourth.state).toBe("canceled");
    expect(controller.addWaiting(transfer(mock, 4, "medium", "other"))).toBeUndefined();
    expect([controller.operators().length, controller.waiting.size]).toEqual([2, 2]);
    // What waited too long is not started any more.
    mock.env.advance(4000);
    controller.promote();
    expect([controller.operators().length, controller.waiting.size]).toEqual([2, 0]);
  });

  test("draws from the queues by the weight of their priority [TestRandBuckets]", () => {
    const mock = cluster();
    mock.putMany(times(4, [1, 2, 3]));
    const waiting = new WaitingOperators(new SeededRandom(1));
    const names: readonly OperatorPriority[] = ["low", "medium", "high", "urgent"];
    const drawn: Record<string, number> = {};
    for (let i = 0; i < 3000; i++) {
      for (const [k, name] of names.entries())
        if (waiting.countOf(name) === 0) waiting.put([transfer(mock, k + 1, name, name)]);
      const [operator] = must(waiting.take(), "nothing waits");
      drawn[must(operator, "").priority] = (drawn[must(operator, "").priority] ?? 0) + 1;
    }
    const share = (name: OperatorPriority): number => (30 * (drawn[name] ?? 0)) / 3000;
    expect(share("low")).toBeCloseTo(1, 0);
    expect(share("medium")).toBeCloseTo(4, 0);
    expect(share("high")).toBeCloseTo(9, 0);
    expect(share("urgent")).toBeCloseTo(16, 0);
    while (waiting.take() !== undefined);
    expect(waiting.take()).toBeUndefined();
  });

  test("ends both halves of a merge when one ends [TestMergeRegionCancelOneOperator]", () => {
    const mock = cluster();
    const [left, right] = mock.putMany(times(2, [1, 2, 3])) as [RegionInfo, RegionInfo];
    const merge = (): readonly [Operator, Operator] => {
      const made = mergeOperators(mock.view, left, right, "merge-region", ["merge"]);
      if (typeof made === "string") throw new Error(made);
      return made;
    };
    const first = merge();
    expect(mock.controller.add(...first)).toBeUndefined();
    mock.controller.cancel(1, "admin stop");
    expect(first.map(({ state, reason }) => [state, reason])).toEqual([
      ["canceled", "admin stop"],
      ["canceled", "related merge region"],
    ]);
    const second = merge();
    mock.controller.add(...second);
    mock.controller.cancel(2, "admin stop");
    expect(mock.controller.operators()).toEqual([]);
    // Only both or none begin.
    mock.controller.add(transfer(mock, 2, "urgent"));
    const third = merge();
    expect(mock.controller.add(...third)).toBe("already exist");
    expect(third.map(({ state }) => state)).toEqual(["canceled", "canceled"]);
  });

  test("a split or merge of a region ends its merge [TestStoreLimitWithMerge]", () => {
    const mock = cluster();
    const [left, right] = mock.putMany(times(2, [1, 2, 3]), { sizeMib: 50 }) as [RegionInfo, RegionInfo];
    mock.config.defaultStoreLimit = { "add-peer": 60, "remove-peer": 60 };
    const moved = { ...right, meta: { ...right.meta, peers: mock.region(2, [4, 5, 6]).meta.peers } };
    const made = mergeOperators(mock.view, left, moved, "merge-region", ["merge"]);
    if (typeof made === "string") throw new Error(made);
    // Three peers to add at one a second each on its own store: room for one operator, not for a second.
    expect(mock.controller.exceedsStoreLimit(...made)).toBe(false);
    expect(mock.controller.add(...made)).toBeUndefined();
    const again = mergeOperators(mock.view, mock.region(1, [1, 2, 3], { sizeMib: 50 }), moved, "m", [
      "merge",
    ]);
    expect(typeof again === "string" ? again : mock.controller.exceedsStoreLimit(...again)).toBe(true);
    const split = mock.put(1, [1, 2, 3], { version: 2, end: "0000005" });
    mock.controller.onHeartbeat(split);
    expect(made.map(({ state }) => state)).toEqual(["canceled", "canceled"]);
  });

  test("counts each operator in one kind, and forgets what has ended [TestOperatorCount]", () => {
    const mock = cluster();
    mock.putMany(times(3, [1, 2, 3]));
    mock.controller.add(transfer(mock, 1));
    const region = must(mock.cluster.regions.byId(2), "");
    const built = new OperatorBuilder(mock.view, "fix", region)
      .addPeer(4, "voter")
      .removePeer(1)
      .build(["replica"]);
    if (built.kind === "refused") throw new Error(built.reason);
    expect(built.operator.kinds).toEqual(["replica", "region", "leader"]);
    mock.controller.add(built.operator);
    const count = (): number[] =>
      (["leader", "region", "replica"] as const).map((kind) => mock.controller.count(kind));
    expect(count()).toEqual([1, 0, 1]);
    mock.controller.cancel(2, "test");
    expect(count()).toEqual([1, 0, 0]);
    mock.controller.onHeartbeat(mock.put(1, [1, 2, 3], { end: "000001", leader: 2 }));
    expect(count()).toEqual([0, 0, 0]);
    expect(mock.controller.record(1)?.state).toBe("success");
    expect(mock.controller.recentlyFinished()).toHaveLength(1);
  });

  test("may be added to and removed from in any order [TestConcurrentRemoveOperator]", () => {
    const mock = cluster();
    mock.putMany(times(1, [1, 2, 3]));
    const first = transfer(mock, 1, "medium");
    const second = transfer(mock, 1, "high");
    mock.controller.add(first);
    mock.controller.add(second);
    expect([first.state, second.state]).toEqual(["replaced", "started"]);
    // The late end of the first does not touch the second.
    mock.controller.onHeartbeat(mock.put(1, [1, 2, 3], { leader: 2 }));
    expect([first.state, second.state, mock.controller.count("leader")]).toEqual(["replaced", "success", 0]);
    expect(mock.controller.cancel(1, "again")).toBe(false);
  });
});

describe("limits of stores", () => {
  test("cost by size, and fill again with time [TestStoreLimit]", () => {
    expect([0, 1, 2, 20, 21, 500].map(regionCost)).toEqual([0, 0, 200, 200, 1000, 1000]);
    const bucket = new TokenBucket(15, 0);
    expect(bucket.available(1000, 0)).toBe(true);
    bucket.take(1000, 0);
    expect([bucket.available(1, 0), bucket.available(0, 0)]).toEqual([false, true]);
    expect([bucket.available(1000, 3900), bucket.available(1000, 4000)]).toEqual([false, true]);
    // No more than one region is saved up.
    bucket.take(1000, 4000);
    expect(bucket.available(1001, 1e9)).toBe(false);
    const fast = new TokenBucket(120, 0);
    for (let i = 0; i < 2; i++) fast.take(1000, 0);
    expect(fast.available(1, 0)).toBe(false);
    expect(new TokenBucket(0, 0).available(1e9, 0)).toBe(true);
    expect(new TokenBucket(1e8, 0).available(1e9, 0)).toBe(true);
  });

  test("of version 2 are windows that stretch with what stores report", () => {
    const windows = new SlidingWindows();
    for (let i = 0; i < 10; i++) windows.take(10, 0);
    expect(windows.available(10, 0)).toBe(false);
    // A more urgent level has a window of its own.
    expect(windows.available(10, 0, 1)).toBe(true);
    windows.feedback(10);
    expect(windows.capacity).toBe(300);
    expect(windows.available(10, 0)).toBe(true);
    windows.feedback(1000);
    expect(windows.capacity).toBe(300);
    windows.acknowledge(100);
    const mock = cluster({ "store-limit-version": "v2" });
    expect(mock.view.limiterOf(mock.store(1), "add-peer").available(1e9, 0)).toBe(true);
    expect(mock.view.limiterOf(mock.store(1), "send-snapshot")).toBe(mock.store(1).snapshotWindows);
  });

  test("of version 2 leave room to what is more urgent", () => {
    const mock = cluster({ "store-limit-version": "v2" });
    const regions = mock.putMany(times(4, [1, 2, 3]), { sizeMib: 100 });
    const add = (i: number, priority: OperatorPriority): string | undefined => {
      const builder = new OperatorBuilder(mock.view, "test", must(regions[i], "no region"));
      const built = builder.addPeer(4, "voter").removePeer(3).build(["region"], priority);
      return built.kind === "refused" ? built.reason : mock.controller.add(built.operator);
    };
    expect(add(0, "low")).toBeUndefined();
    expect(add(1, "low")).toBe("exceed store limit");
    expect(mock.view.senderProblem(must(regions[1], ""), "low")).toBe("StoreSnapshotThrottled");
    expect(mock.view.senderProblem(must(regions[1], ""), "high")).toBeUndefined();
    expect(add(1, "high")).toBeUndefined();
    expect([add(2, "medium"), add(2, "high")]).toEqual(["exceed store limit", undefined]);
  });

  test("count a large peer on a store that is down as a small one: nothing is deleted there", () => {
    const mock = cluster();
    mock.config.defaultStoreLimit = { "add-peer": 1e8, "remove-peer": 6 };
    mock.silence(3, 31 * 60_000);
    const regions = mock.putMany(times(7, [1, 2, 3]), { sizeMib: 100 });
    const remove = (i: number, store: number): string | undefined => {
      const builder = new OperatorBuilder(mock.view, "test", must(regions[i], "no region"));
      const built = builder.removePeer(store).build(["region"]);
      return built.kind === "refused" ? built.reason : mock.controller.add(built.operator);
    };
    const refused = "exceed store limit";
    expect([remove(0, 2), remove(1, 2)]).toEqual([undefined, refused]);
    expect([1, 2, 3, 4, 5, 6].map((i) => remove(i, 3))).toEqual([...times(5, undefined), refused]);
  });
});

test("a split is ordered with its policy and keys inside of the region [TestCreateSplitRegionOperator]", () => {
  const mock = cluster();
  const region = mock.region(1, [1, 2, 3], { start: "b", end: "d" });
  const split = (policy: "scan" | "approximate" | "usekey", ...keys: string[]): string => {
    const made = splitOperator(mock.view, "admin-split-region", region, policy, keys.map(utf8));
    return typeof made === "string" ? made : must(stepsOf(made)[0], "");
  };
  expect(split("scan")).toBe("split region with policy SCAN");
  expect(split("approximate")).toBe("split region with policy APPROXIMATE");
  expect(split("usekey", "c")).toBe("split region with policy USEKEY and keys [63]");
  expect(split("usekey", "x")).toMatch(/not within region 1/);
});
