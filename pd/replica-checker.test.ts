/** Which plan the checker makes for a region that is not as it should be. (PD: replica_checker_test.go) */
import { describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { metapb } from "../proto/index.js";
import { stepText } from "./step-command.js";
import type { RegionInfo } from "./region-info.js";
import type { CheckResult } from "./checkers/check-result.js";
import { ReplicaChecker } from "./replica-checker.js";
import { World, type WorldOptions } from "./test/world.js";

const CHANGES = metapb.PeerRole;

function makeWorld(options: Partial<WorldOptions> = {}): World {
  return new World({ stores: 4, ...options });
}

const check = (world: World, region: RegionInfo): CheckResult => new ReplicaChecker(world.view).check(region);

function plan(world: World, region: RegionInfo): { desc: string; steps: string[] } {
  const result = check(world, region);
  if (result.kind !== "operator") throw new Error(`no operator: ${JSON.stringify(result)}`);
  const steps = result.operator.steps.map((step) => stepText(step).replaceAll(/peer [0-9]+/g, "peer"));
  return { desc: result.operator.desc, steps };
}

describe("the replica checker", () => {
  test("leaves a complete region alone", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3]]);
    expect(check(world, world.report(must(region, "")))).toEqual({ kind: "healthy" });
  });

  test("adds a missing replica as a learner and promotes it (TestBasic)", () => {
    const world = makeWorld();
    world.addRegions([[1, 2]]);
    const { desc, steps } = plan(world, world.record(2));
    expect(desc).toBe("make-up-replica");
    expect(steps).toEqual([
      expect.stringMatching(/^add learner peer on store [34]$/),
      expect.stringMatching(/^promote learner peer on store [34] to voter$/),
    ]);
  });

  test("says that it waits when no store is left to add a replica on", () => {
    const world = makeWorld({ stores: 2 });
    world.addRegions([[1, 2]]);
    expect(check(world, world.record(2))).toMatchObject({ reason: "no store to add a replica", soon: false });
  });

  test("removes one of too many voters, the unhealthy one first, never the leader", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3, 4]]);
    const four = must(region, "");
    four.pending = [must(four.peers[2], "").id];
    const { desc, steps } = plan(world, world.report(four));
    expect(desc).toBe("remove-extra-replica");
    expect(steps).toEqual(["remove peer on store 3"]);
    four.pending = [];
    expect(plan(world, world.report(four)).steps).not.toEqual(["remove peer on store 1"]);
  });

  test("replaces the peer of a leaving store, adding before removing (TestReplaceOfflinePeer)", () => {
    const world = makeWorld();
    world.addRegions([[1, 2, 3]]);
    must(world.view.store(3), "").setNodeState("removing");
    const { desc, steps } = plan(world, world.record(2));
    expect(desc).toBe("replace-offline-replica");
    expect(steps).toEqual([
      "add learner peer on store 4",
      "use joint consensus, promote learner peer on store 4 to voter, demote voter peer on store 3 to learner",
      "leave joint state, promote learner peer on store 4 to voter, demote voter peer on store 3 to learner",
      "remove peer on store 3",
    ]);
  });

  test("adds first and removes afterwards when there is only one replica (TestOfflineWithOneReplica)", () => {
    const world = makeWorld({ stores: 2, replication: { "max-replicas": 1 } });
    world.addRegions([[1]]);
    must(world.view.store(1), "").setNodeState("removing");
    const { steps } = plan(world, world.record(2));
    expect(steps[0]).toBe("add learner peer on store 2");
    expect(steps.at(-1)).toBe("remove peer on store 1");
    expect(steps).toContain("transfer leader from store 1 to store 2");
  });

  test("replaces a peer that is down only when its store has been silent long enough (TestDownPeer)", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3]]);
    const three = must(region, "");
    three.down = [must(three.peers[2], "").id];
    expect(check(world, world.report(three))).toEqual({ kind: "healthy" });
    world.deadStores.add(3);
    world.advance(29 * 60_000);
    expect(check(world, world.record(2)).kind).toBe("healthy");
    world.advance(2 * 60_000);
    expect(plan(world, world.record(2)).desc).toBe("replace-down-replica");
  });

  test("does not act on a store that PD does not know (TestLostStore)", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3]]);
    must(region, "").peers[2] = { id: 9_000_000, storeId: 77, role: CHANGES.Voter };
    expect(check(world, world.report(must(region, ""))).kind).toBe("healthy");
  });

  test("chooses the place that keeps replicas apart (TestDistinctScore)", () => {
    const zones: Record<number, string> = { 1: "a", 2: "b", 3: "a", 4: "b", 5: "c" };
    const world = makeWorld({
      stores: 5,
      replication: { "location-labels": "zone" },
      labels: (id) => ({ zone: zones[id] as string }),
    });
    world.addRegions([[1, 2]]);
    expect(plan(world, world.record(2)).steps[0]).toBe("add learner peer on store 5");
  });

  test("moves a replica to a strictly better place and then rests", () => {
    const zones: Record<number, string> = { 1: "a", 2: "b", 3: "b", 4: "c" };
    const world = makeWorld({
      obeys: true,
      schedule: { "region-schedule-limit": 0 },
      replication: { "location-labels": "zone" },
      labels: (id) => ({ zone: zones[id] as string }),
    });
    world.addRegions([[1, 2, 3]]);
    world.advance(20_000);
    expect(world.storesOf(2)).toContain(4);
    expect(world.storesOf(2)).toContain(1);
    expect(check(world, world.record(2))).toEqual({ kind: "healthy" });
  });

  test("never puts a replica on a store that is nearly full (TestStorageThreshold)", () => {
    const world = makeWorld({ stores: 3 });
    world.addRegions([[1, 2]]);
    world.harness.heartbeatStore(3, { capacity: 100 * 2 ** 30, available: 5 * 2 ** 30 });
    expect(check(world, world.record(2)).kind).toBe("waiting");
    world.harness.heartbeatStore(3, { capacity: 100 * 2 ** 30, available: 50 * 2 ** 30 });
    expect(check(world, world.record(2)).kind).toBe("operator");
  });

  test("promotes a learner that was left over while voters are missing, else removes it", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3]]);
    const three = must(region, "");
    must(three.peers[2], "").role = CHANGES.Learner;
    expect(plan(world, world.report(three))).toEqual({
      desc: "promote-learner",
      steps: ["promote learner peer on store 3 to voter"],
    });
    three.peers.push({ id: 9_000_000, storeId: 4, role: CHANGES.Voter });
    expect(plan(world, world.report(three))).toEqual({
      desc: "remove-orphan-peer",
      steps: ["remove peer on store 3"],
    });
  });

  test("leaves a joint state that an operator left behind", () => {
    const world = makeWorld();
    const [region] = world.addRegions([[1, 2, 3]]);
    const three = must(region, "");
    must(three.peers[1], "").role = CHANGES.IncomingVoter;
    must(three.peers[2], "").role = CHANGES.DemotingVoter;
    const { desc, steps } = plan(world, world.report(three));
    expect(desc).toBe("leave-joint-state");
    expect(steps).toEqual([expect.stringMatching(/^leave joint state/)]);
  });

  test("keeps to the switches (TestOpts)", () => {
    const kinds = (item: string, placement: number[], leaving = 0): string[] =>
      ["false", "true"].map((value) => {
        const world = makeWorld({ schedule: { [item]: value } });
        world.addRegions([placement]);
        world.view.store(leaving)?.setNodeState("removing");
        return check(world, world.record(2)).kind;
      });
    const offAndOn = ["healthy", "operator"];
    expect(kinds("enable-replace-offline-replica", [1, 2, 3], 3)).toEqual(offAndOn);
    expect(kinds("enable-make-up-replica", [1, 2])).toEqual(offAndOn);
    expect(kinds("enable-remove-extra-replica", [1, 2, 3, 4])).toEqual(offAndOn);
  });
});
