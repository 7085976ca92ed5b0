/** Which operators may run, what moves them on, and what ends them. (PD: operator_controller_test.go) */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { metapb } from "../proto/index.js";
import type { Operator, OperatorPriority } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import type { OperatorController } from "./operator-controller.js";
import { type FakeRegion, World } from "./test/world.js";

const ROLE = metapb.PeerRole;

class Scene {
  readonly world: World;
  readonly region: FakeRegion;

  constructor(schedule: Record<string, unknown> = {}, sizeMib = 10) {
    this.world = new World({ stores: 5, schedule });
    this.region = must(this.world.addRegions([[1, 2, 3]], sizeMib)[0], "no region");
  }

  get controller(): OperatorController {
    return this.world.scheduling.controller;
  }

  build(wish: (builder: OperatorBuilder) => unknown, priority: OperatorPriority = "medium"): Operator {
    const builder = new OperatorBuilder(this.world.view, "test", this.world.record(2));
    wish(builder);
    const built = builder.build(["region"], priority);
    if (built.kind === "refused") throw new Error(built.reason);
    return built.operator;
  }

  /** An operator that moves a peer from store 3 to store 4, and runs. */
  startMove(): Operator {
    const operator = this.build((builder) => builder.addPeer(4, "voter").removePeer(3));
    const refused = this.controller.add(operator);
    if (refused !== undefined) throw new Error(refused);
    return operator;
  }

  /** The learner on store 4 appears in the leader's report. */
  learnerAppears(operator: Operator, pending: boolean): void {
    const step = operator.steps[0];
    if (step?.kind !== "addLearner") throw new Error("no learner is added");
    this.region.peers.push({ id: step.peerId, storeId: 4, role: ROLE.Learner });
    this.region.pending = pending ? [step.peerId] : [];
    this.region.confVer += 1;
    this.world.report(this.region);
  }
}

describe("adding an operator", () => {
  test("is refused while one of the same or higher priority runs; a higher one takes over", () => {
    const scene = new Scene();
    const first = scene.startMove();
    expect(scene.controller.add(scene.build((builder) => builder.removePeer(3)))).toBe("already exist");
    const urgent = scene.build((builder) => builder.removePeer(3), "urgent");
    expect(scene.controller.add(urgent)).toBeUndefined();
    expect(first.state).toBe("replaced");
    expect(scene.controller.operator(2)).toBe(urgent);
    expect(scene.controller.operators()).toHaveLength(1);
  });

  test("is refused when stale, ended or too late (TestCheckAddUnexpectedStatus)", () => {
    const scene = new Scene();
    const stale = scene.build((builder) => builder.removePeer(3));
    scene.region.confVer += 1;
    scene.world.report(scene.region);
    expect(scene.controller.add(stale)).toBe("epoch not match");
    expect(stale.state).toBe("canceled");
    const late = scene.build((builder) => builder.removePeer(3));
    scene.world.harness.env.advance(3000);
    expect(scene.controller.add(late)).toBe("expired");
    const ended = scene.startMove();
    expect(scene.controller.cancel(2, "admin stop")).toBe(true);
    expect(scene.controller.add(ended)).toBe("not in create status");
  });

  test("sends the first step at once", () => {
    const scene = new Scene();
    scene.world.commands.length = 0;
    scene.startMove();
    const command = scene.world.commands[0];
    expect(command?.regionId).toBe(2);
    expect(command?.regionEpoch).toMatchObject({ confVer: 10, version: 10 });
    expect(command?.changePeerV2?.changes[0]?.peer).toMatchObject({ storeId: 4, role: ROLE.Learner });
  });

  test("is refused when a store has had its share of peers for this minute (TestStoreLimit)", () => {
    const scene = new Scene({}, 50);
    scene.startMove();
    scene.controller.cancel(2, "admin stop");
    const again = (): string | undefined =>
      scene.controller.add(scene.build((builder) => builder.addPeer(4, "voter").removePeer(3)));
    expect(again()).toBe("exceed store limit");
    scene.world.harness.env.advance(4000);
    expect(again()).toBeUndefined();
  });
});

describe("a running operator", () => {
  test("waits with the promotion until the learner has its snapshot (TestDispatchUnfinishedStep)", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    scene.learnerAppears(operator, true);
    expect(operator.currentStep).toBe(0);
    scene.world.commands.length = 0;
    scene.region.pending = [];
    scene.world.report(scene.region);
    expect(operator.currentStep).toBe(1);
    expect(scene.world.commands[0]?.changePeerV2?.changes).toHaveLength(2);
  });

  test("ends when membership changed in a way that no step explains (TestDispatchOutdatedRegion)", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    scene.region.peers.push({ id: 9_000_000, storeId: 5, role: ROLE.Learner });
    scene.region.confVer += 1;
    scene.world.report(scene.region);
    expect(operator.state).toBe("canceled");
    expect(operator.reason).toBe("epoch not match");
    expect(scene.controller.record(2)).toBe(operator);
  });

  test("lives through a split of its region", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    scene.region.version += 1;
    scene.world.report(scene.region);
    expect(operator.state).toBe("started");
    scene.learnerAppears(operator, false);
    expect(operator.currentStep).toBe(1);
  });

  test("ends when the store that should get the peer goes down (TestFastFailWithUnhealthyStore)", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    must(scene.world.view.store(4), "no store").lastHeartbeatMs -= 31 * 60_000;
    scene.world.report(scene.region);
    expect(operator.state).toBe("canceled");
    expect(operator.reason).toMatch(/store 4 is down/);
  });

  test("ends when the leader moved onto the peer that is to go (TestFastFailOperator)", () => {
    const scene = new Scene();
    const operator = scene.build((builder) => builder.removePeer(3));
    expect(scene.controller.add(operator)).toBeUndefined();
    scene.region.leaderStore = 3;
    scene.world.report(scene.region);
    expect(operator.state).toBe("canceled");
    expect(operator.reason).toMatch(/cannot remove leader peer/);
  });

  test("has its step sent again while no heartbeat comes, seldom for slow steps (TestPollDispatchRegion)", () => {
    const scene = new Scene();
    scene.startMove();
    scene.world.commands.length = 0;
    scene.world.harness.env.advance(4000);
    expect(scene.world.commands).toHaveLength(0);
    scene.world.harness.env.advance(2000);
    expect(scene.world.commands).toHaveLength(1);
  });

  test("times out and is kept in the records for ten minutes (TestOperatorStatus)", () => {
    const scene = new Scene();
    const operator = scene.build((builder) => builder.setLeader(2));
    expect(scene.controller.add(operator)).toBeUndefined();
    scene.world.harness.env.advance(59_000);
    expect(scene.controller.operator(2)).toBe(operator);
    scene.world.harness.env.advance(3000);
    expect(scene.controller.operator(2)).toBeUndefined();
    expect(operator.statusText).toBe("TIMEOUT");
    expect(operator.toRecordText()).toMatch(/timeout \(finishAt:.*duration:1m/);
    expect(scene.controller.records(0)).toEqual([operator]);
    scene.world.harness.env.advance(601_000);
    expect(scene.controller.record(2)).toBeUndefined();
  });

  test("counts in the influence on stores until its steps are visible (TestGetOpInfluence)", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    const on = (storeId: number): number => scene.world.view.influence().get(storeId)?.regionSizeMib ?? 0;
    expect([on(3), on(4)]).toEqual([-10, 10]);
    scene.learnerAppears(operator, true);
    expect([on(3), on(4)]).toEqual([-10, 0]);
    scene.controller.cancel(2, "admin stop");
    expect(scene.world.view.influence().size).toBe(0);
  });
});

describe("a store that is buried while an operator wants a peer on it", () => {
  test("ends the operator, instead of keeping its region from every other change until the time is up", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    const store = must(scene.world.view.store(4), "no store 4");
    store.setNodeState("removed");
    scene.world.report(scene.region);
    expect([operator.state, operator.reason]).toEqual([
      "canceled",
      "stale status: target store 4 has been removed",
    ]);
  });

  test("ends it as soon as the store is said to be destroyed, and not when it is buried (seed 282)", () => {
    const scene = new Scene();
    const operator = scene.startMove();
    must(scene.world.view.store(4), "no store 4").meta.physicallyDestroyed = true;
    scene.world.report(scene.region);
    expect([operator.state, operator.reason]).toEqual([
      "canceled",
      "stale status: target store 4 is destroyed",
    ]);
  });
});
