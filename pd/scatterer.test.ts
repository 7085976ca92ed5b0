/** Where scatter puts the peers of one region, and which regions it leaves alone. (PD: region_scatterer_test.go) */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { Operator } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import { scatterMany, type ScatterOutcome, type ScatterRequest } from "./scatter-many.js";
import { RegionScatterer } from "./scatterer.js";
import { MockCluster, stepsOf, times } from "./test/mock-cluster.js";

class Scene extends MockCluster {
  readonly hot = new Set<number>();
  readonly unreplicated: number[] = [];
  readonly scatterer = new RegionScatterer(
    this.controller,
    (id) => this.hot.has(id),
    (id) => this.unreplicated.push(id),
  );

  scatter(id: number, group = "g"): string {
    const region = must(this.cluster.regions.byId(id), () => `no region ${id}`);
    const result = this.scatterer.scatter(region, group);
    return result.kind === "refused" ? result.reason : result.kind;
  }

  all(request: Partial<ScatterRequest>): ScatterOutcome {
    let found: ScatterOutcome | undefined;
    const wanted = { regionIds: [], group: "g", retryLimit: 2, ...request };
    scatterMany(this.view, this.scatterer, wanted, (outcome) => {
      found = outcome;
    });
    this.env.advance(5000);
    return must(found, "no outcome");
  }
}

const zone = (op: string, ...values: string[]): object[] => [{ key: "zone", op, values }];

describe("a region that is scattered", () => {
  test("stays where its placement rules want it, whatever the group has placed there", () => {
    const scene = new Scene({ "max-replicas": 3 });
    for (const id of [1, 2, 3, 4]) scene.addStore(id, { zone: "fast" });
    for (const id of [5, 6, 7]) scene.addStore(id, { zone: "slow" });
    scene.setRules({ id: "default", count: 3, label_constraints: zone("in", "fast") });
    scene.putMany(times(12, [1, 2, 3]));
    for (let id = 1; id <= 12; id++) scene.scatter(id);
    const targets = scene.controller
      .operators()
      .flatMap(({ steps }) => steps.flatMap((step) => (step.kind === "addLearner" ? [step.storeId] : [])));
    expect(new Set(targets)).toEqual(new Set([4]));
  });

  test("keeps the roles of its peers, and is led by one whose rule allows it", () => {
    const scene = new Scene();
    for (const id of [1, 2, 3, 4]) scene.addStore(id, { zone: "near" });
    for (const id of [5, 6]) scene.addStore(id, { zone: "far" });
    scene.setRules(
      { id: "default", count: 2, label_constraints: zone("in", "near") },
      { id: "back", count: 1, role: "follower", label_constraints: zone("in", "far") },
      { id: "read", count: 1, role: "learner", label_constraints: zone("in", "far") },
    );
    scene.putMany(times(4, [1, 2, 5, 6]), { roles: { 6: "learner" } });
    for (const id of [1, 2, 3, 4]) expect(["started", "nothing"]).toContain(scene.scatter(id));
    expect(scene.controller.operators().length).toBeGreaterThan(0);
    for (const operator of scene.controller.operators()) {
      for (const step of operator.steps) {
        if (step.kind === "transferLeader") expect([1, 2, 3, 4]).toContain(step.toStore);
        if (step.kind === "addLearner") expect([3, 4]).toContain(step.storeId);
      }
    }
  });

  test("moves a learner as a learner", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3);
    for (const id of [4, 5]) scene.addStore(id, { zone: "far" });
    scene.setRules(
      { id: "default", count: 3, label_constraints: zone("notIn", "far") },
      { id: "read", count: 1, role: "learner", label_constraints: zone("in", "far") },
    );
    scene.putMany(times(2, [1, 2, 3, 4]), { roles: { 4: "learner" } });
    scene.scatter(1);
    expect(scene.scatter(2)).toBe("started");
    const operator = must(scene.controller.operator(2), "no operator");
    const peers = stepsOf(operator).filter((text) => !text.startsWith("transfer"));
    expect(peers).toEqual(["add learner peer on store 5", "remove peer on store 4"]);
  });

  test("takes no room to come, and room to leave unless that is waived", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    scene.putMany(times(2, [1, 2, 3]), { sizeMib: 50 });
    scene.scatter(1);
    scene.scatter(2);
    const moved = must(scene.controller.operators()[0], "nothing moved");
    expect(moved.storeLimit).toBe("removals");
    const room = (kind: "add-peer" | "remove-peer", id: number): boolean =>
      scene.view.limiterOf(scene.store(id), kind).available(1000, scene.env.clock.monotonicMs());
    expect(room("add-peer", 4)).toBe(true);
    expect([1, 2, 3].filter((id) => !room("remove-peer", id))).toHaveLength(1);
  });
});

describe("a region is left alone", () => {
  test("while it is hot, incomplete or without a leader", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    scene.put(1, [1, 2, 3], { end: "b" });
    scene.hot.add(1);
    expect(scene.scatter(1)).toBe("region 1 is hot");
    scene.put(2, [1, 2], { start: "b", end: "c" });
    expect([scene.scatter(2), scene.unreplicated]).toEqual(["region 2 is not fully replicated", [2]]);
    scene.put(3, [1, 2, 3], { start: "c", leader: 99 });
    expect(scene.scatter(3)).toBe("region 3 has no leader");
  });

  test("while it is under way for this group; another group's or another plan's operator is an error", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    scene.putMany(times(2, [1, 2, 3]));
    scene.scatter(1);
    expect(scene.scatter(2)).toBe("started");
    expect(scene.scatter(2)).toBe("nothing");
    expect(scene.scatter(2, "other")).toBe("the operator of region 2 already exist");
    const region = must(scene.cluster.regions.byId(1), "no region");
    scene.controller.cancel(1, "test");
    const built = new OperatorBuilder(scene.view, "test", region).setLeader(2).build(["admin"], "urgent");
    if (built.kind === "built") scene.controller.add(built.operator);
    expect(scene.controller.operator(1)).toBeInstanceOf(Operator);
    expect(scene.scatter(1)).toBe("the operator of region 1 already exist");
  });
});

describe("many regions", () => {
  test("are scattered although one of them is gone; one that is gone alone is an error", () => {
    const scene = new Scene();
    scene.addStores(1, 2, 3, 4);
    scene.putMany(times(3, [1, 2, 3]));
    const outcome = scene.all({ regionIds: [1, 2, 77, 3] });
    expect(outcome).toMatchObject({ kind: "done", percentage: 75 });
    expect(outcome.kind === "done" && [...outcome.failures]).toEqual([[77, "region 77 not found"]]);
    expect(scene.all({ regionIds: [77] })).toEqual({ kind: "refused", reason: "region 77 not found" });
    expect(scene.all({ regionIds: [] })).toEqual({ kind: "refused", reason: "empty region" });
  });
});
