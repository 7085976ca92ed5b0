/**
 * Orders of an administrator: what becomes of them, what is refused. (PD: create_operator_test.go,
 * operator_test.go)
 */
import { describe, expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { metapb } from "../proto/index.js";
import { addOperator, type CommandResult } from "./operator-commands.js";
import { stepText } from "./step-command.js";
import { World } from "./test/world.js";

function setUp(stores = 5): World {
  const world = new World({ stores });
  world.addRegions([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  return world;
}

const order = (world: World, name: string, more: object): CommandResult =>
  addOperator(world.scheduling, { name, region_id: 2, ...more });

function stepsOf(world: World, name: string, more: object): string[] {
  world.scheduling.controller.cancel(2, "another order");
  const result = order(world, name, more);
  if (result.kind === "refused") return [`${result.status} ${result.reason}`];
  const operator = must(world.scheduling.controller.operator(2), "no operator");
  return operator.steps.map((step) => stepText(step).replaceAll(/peer [0-9]+ /g, "peer "));
}

describe("orders", () => {
  test("become steps", () => {
    const world = setUp();
    expect(stepsOf(world, "add-peer", { store_id: 4 })).toEqual([
      "add learner peer on store 4",
      "promote learner peer on store 4 to voter",
    ]);
    expect(stepsOf(world, "add-learner", { store_id: 4 })).toEqual(["add learner peer on store 4"]);
    expect(stepsOf(world, "remove-peer", { store_id: 3 })).toEqual(["remove peer on store 3"]);
    expect(stepsOf(world, "transfer-leader", { to_store_id: 2 })).toEqual([
      "transfer leader from store 1 to store 2",
    ]);
    expect(stepsOf(world, "transfer-peer", { from_store_id: 3, to_store_id: 4 }).at(-1)).toBe(
      "remove peer on store 3",
    );
  });

  test("move a whole region, with the leader that was asked for (TestCreateMoveRegionOperator)", () => {
    const steps = stepsOf(setUp(), "transfer-region", {
      to_store_ids: [3, 4, 5],
      peer_roles: ["follower", "leader", "follower"],
    });
    expect(steps.filter((text) => text.startsWith("add"))).toHaveLength(2);
    expect(steps).toContain("transfer leader from store 1 to store 4");
    expect(steps.filter((text) => text.startsWith("remove"))).toHaveLength(2);
  });

  test("promote a learner", () => {
    const world = setUp();
    const region = must(world.regions.get(2), "no region");
    must(region.peers[2], "no peer").role = metapb.PeerRole.Learner;
    world.report(region);
    expect(stepsOf(world, "promote-learner", { store_id: 3 })).toEqual([
      "promote learner peer on store 3 to voter",
    ]);
  });

  test("split by policy, and at keys (TestCreateSplitRegionOperator)", () => {
    const world = setUp();
    expect(stepsOf(world, "split-region", { policy: "approximate" })).toEqual([
      "split region with policy APPROXIMATE",
    ]);
    expect(world.commands.at(-1)?.splitRegion?.policy).toBe(1);
    expect(stepsOf(world, "split-region", { policy: "usekey", keys: ["61", "6263"] })).toEqual([
      "split region with policy USEKEY and keys [61 6263]",
    ]);
    expect(world.commands.at(-1)?.splitRegion?.keys.map((key) => new Uint8Array(key))).toEqual([
      utf8("a"),
      utf8("bc"),
    ]);
    const operator = must(world.scheduling.controller.operator(2), "no operator");
    expect(operator.toText()).toMatch(/^admin-split-region \{split: region 2 use policy USEKEY and keys/);
  });

  test("are refused for their form with 400, for the cluster with 500", () => {
    const world = setUp();
    const form: [string, object, string][] = [
      ["no-such", {}, "unknown operator"],
      ["toString", {}, "unknown operator"],
      ["transfer-leader", {}, "missing store id to transfer leader to"],
      ["transfer-peer", { to_store_id: 4 }, "invalid store id to transfer peer from"],
      ["transfer-region", { to_store_ids: [] }, "missing store ids to transfer region to"],
      ["split-region", {}, "missing split policy"],
      ["add-peer", { region_id: "2", store_id: 4 }, "missing region id"],
    ];
    for (const [name, body, reason] of form) {
      expect(order(world, name, body)).toEqual({ kind: "refused", status: 400, reason });
    }
    expect(addOperator(world.scheduling, { region_id: 2 })).toMatchObject({
      reason: "missing operator name",
    });
    const cluster: [string, object, RegExp][] = [
      ["add-peer", { store_id: 3 }, /^region already has peer in store 3$/],
      ["add-peer", { store_id: 99 }, /ErrStoreNotFound/],
      ["remove-peer", { store_id: 99 }, /^region has no peer in store 99$/],
      ["transfer-leader", { to_store_id: 4 }, /^region has no voter in store 4$/],
      ["transfer-leader", { region_id: 999, to_store_id: 2 }, /region 999 not found$/],
      ["split-region", { policy: "nonsense" }, /^check policy nonsense is not supported$/],
      ["split-region", { policy: "usekey", keys: ["xy"] }, /not in hex format$/],
      ["split-region", { policy: "usekey", keys: ["ff"] }, /not within region 2$/],
      ["merge-region", { source_region_id: 2, target_region_id: 99 }, /region 99 not found/],
    ];
    for (const [name, body, reason] of cluster) {
      expect(order(world, name, body)).toEqual({
        kind: "refused",
        status: 500,
        reason: expect.stringMatching(reason),
      });
    }
  });

  test("wait for no other: a second one is refused while the first runs", () => {
    const world = setUp();
    expect(order(world, "add-peer", { store_id: 4 })).toEqual({ kind: "ok" });
    expect(order(world, "add-peer", { store_id: 5 })).toMatchObject({
      status: 500,
      reason: expect.stringMatching(/maybe already have one$/),
    });
  });
});
