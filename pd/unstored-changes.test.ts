/**
 * A change that cannot be stored leaves nothing behind: neither in the answers that follow nor, as half of it, on disk.
 * Here the leader key has changed hands, which fences every write off; with etcd away it is the same.
 */
import { describe, expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { MetaKeys } from "./keys.js";
import { World } from "./test/world.js";

const API = "/pd/api/v1";
const HEX = "6100000000000000f8";

const RULE = { group_id: "pd", id: "default", start_key: "", end_key: "", role: "voter", count: 5 };
const MORE = { group_id: "more", id: "one", start_key: HEX, end_key: "", role: "learner", count: 1 };
const LABEL = {
  id: "one",
  labels: [{ key: "schedule", value: "deny" }],
  rule_type: "key-range",
  data: [{ start_key: HEX, end_key: "62" }],
};

const CHANGES: readonly (readonly [method: string, path: string, body: object | string])[] = [
  ["POST", "/config", { "leader-schedule-limit": 9, "low-space-ratio": 0.9 }],
  ["POST", "/config", { "max-replicas": 5 }],
  ["POST", "/config", { "replication.location-labels": "zone,host" }],
  ["POST", "/config", { "halt-scheduling": false }],
  ["POST", "/config?ttlSecond=60", { "schedule.leader-schedule-limit": 9 }],
  ["POST", "/config/schedule", { "region-schedule-limit": 9 }],
  ["POST", "/config/replicate", { "max-replicas": 5 }],
  ["POST", "/config/cluster-version", { "cluster-version": "9.0.0" }],
  ["POST", "/config/rule", RULE],
  ["POST", "/config/rules", [RULE, MORE]],
  ["POST", "/config/rules/batch", [{ ...MORE, action: "add" }]],
  ["POST", "/config/rule_group", { id: "pd", index: 5, override: true }],
  ["POST", "/config/placement-rule/pd", { group_id: "pd", group_index: 3, rules: [RULE] }],
  ["POST", "/config/region-label/rule", LABEL],
  ["PATCH", "/config/region-label/rules", { sets: [LABEL], deletes: [] }],
  ["POST", "/schedulers", { name: "shuffle-leader-scheduler" }],
  ["POST", "/schedulers", { name: "evict-leader-scheduler", store_id: 1 }],
  ["POST", "/schedulers", { name: "evict-leader-scheduler", store_id: 3 }],
  ["DELETE", "/schedulers/balance-leader-scheduler", ""],
  ["DELETE", "/schedulers/evict-leader-scheduler", ""],
  ["DELETE", "/schedulers/evict-leader-scheduler-2", ""],
  ["POST", "/scheduler-config/balance-leader-scheduler/config", { batch: 9 }],
  ["POST", "/scheduler-config/evict-leader-scheduler/config", { store_id: 4 }],
  ["POST", "/scheduler-config/evict-slow-store-scheduler/config", { "recovery-duration": 9 }],
  ["DELETE", "/scheduler-config/evict-leader-scheduler/delete/2", ""],
  ["POST", "/stores/limit", { rate: 33 }],
  ["POST", "/store/1/limit", { rate: 33, type: "add-peer" }],
  ["POST", "/store/1/label", { zone: "z1" }],
  ["POST", "/store/1/weight", { leader: 2, region: 3 }],
  ["POST", "/store/1/drain", ""],
  ["DELETE", "/store/2/drain", ""],
  ["DELETE", "/store/1", ""],
  ["POST", "/store/1/state?state=Offline", ""],
];

const SHOWN = [
  "/config",
  "/config/rules",
  "/config/rule_groups",
  "/config/region-label/rules",
  "/schedulers",
  "/schedulers?status=disabled",
  "/scheduler-config/balance-leader-scheduler/list",
  "/scheduler-config/evict-leader-scheduler/list",
  "/scheduler-config/evict-slow-store-scheduler/list",
  "/stores",
  "/stores/limit",
  "/store/1/drain",
  "/store/2/drain",
];

function started(): World {
  const world = new World({ stores: 5 });
  world.addRegions([
    [1, 2, 3],
    [2, 3, 4],
  ]);
  world.harness.http("POST", `${API}/store/2/drain`);
  return world;
}

const shown = (world: World): Record<string, string> =>
  Object.fromEntries(SHOWN.map((path) => [path, world.harness.http("GET", API + path).text]));

describe("a change that cannot be stored", () => {
  test.each(CHANGES)("%s %s %j is answered 500 and changes nothing", (method, path, body) => {
    const world = started();
    const before = shown(world);
    const { harness } = world;
    const keys = new MetaKeys(harness.pd.clusterId);
    must(harness.metaStore, "no meta store").put(keys.leader, utf8("another"), () => {});
    harness.env.settle();
    const answer = harness.http(method, API + path, body);
    expect([answer.status, answer.text]).toEqual([500, expect.stringContaining("ErrEtcdTxnConflict")]);
    expect(shown(world)).toEqual(before);
    expect(must(world.view.store(1), "").leaderInPauses).toBe(0);
    expect(must(world.view.store(2), "").leaderInPauses).toBe(1);
    // And what the next PD reads is what the last one showed.
    expect(harness.crashAndRestart()).toBe(true);
    const stored = ["/config/rules", "/schedulers", "/config/region-label/rules"];
    for (const shownPath of stored) {
      expect(harness.http("GET", API + shownPath).text).toBe(before[shownPath]);
    }
  });

  test.each(CHANGES)("%s %s %j is the same request that is taken otherwise", (method, path, body) => {
    const world = started();
    const before = shown(world);
    expect(world.harness.http(method, API + path, body).status).toBe(200);
    expect(shown(world)).not.toEqual(before);
  });

  test("with several items of which one is refused changes none of them", () => {
    const world = started();
    const before = shown(world);
    const items = { "leader-schedule-limit": 9, "low-space-ratio": 0.9, "region-schedule-limit": -1 };
    expect(world.harness.http("POST", `${API}/config`, items).status).toBe(400);
    expect(shown(world)).toEqual(before);
  });
});
