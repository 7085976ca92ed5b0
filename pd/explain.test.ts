/** Reasons, drains and progress, as an administrator asks for them. (PD: api/*_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { topoWeight } from "./scheduling-view.js";
import { Progress } from "./progress.js";
import { storeMessage } from "./test/harness.js";
import { MockCluster, times } from "./test/mock-cluster.js";
import { World } from "./test/world.js";

let world: World;

const get = (path: string) => world.harness.http("GET", `/pd/api/v1${path}`);
const post = (path: string, body: unknown = "") => world.harness.http("POST", `/pd/api/v1${path}`, body);
const remove = (path: string) => world.harness.http("DELETE", `/pd/api/v1${path}`);
const json = (path: string): Record<string, unknown> => get(path).json as Record<string, unknown>;

describe("explain", () => {
  beforeEach(() => {
    world = new World({ stores: 4, schedule: { "halt-scheduling": "true" } });
    world.addRegions(times(4, [1, 2, 3]));
  });

  test("says of a region what its rules want, what runs, and why it is not split or merged", () => {
    expect(json("/explain/region/2")).toMatchObject({
      verdict: "all scheduling is halted (halt-scheduling)",
      replicated: true,
      rules: { "rule-fits": [{ peers: [{}, {}, {}] }], "orphan-peers": null },
      "next-check": { checker: "rule", result: "healthy" },
      merge: "not every store says that it can merge (store label merge=true)",
      split: expect.stringMatching(/stores split by size/),
    });
    post("/config", { "halt-scheduling": "false" });
    expect(json("/explain/region/2")["verdict"]).toMatch(/^complete: it stands as its rules want it/);
    const order = { name: "transfer-leader", region_id: 2, to_store_id: 2 };
    expect(post("/operators", order).status).toBe(200);
    expect(json("/explain/region/2")).toMatchObject({
      verdict: "an operator runs: admin-transfer-leader {transfer leader: store 1 to 2}",
      operator: { state: "started", steps: [{ state: "now" }] },
    });
    expect(json("/explain/operator/2")).toMatchObject({
      desc: "admin-transfer-leader",
      kinds: ["admin", "leader"],
    });
    remove("/operators/2");
    expect(json("/explain/operator/2")).toMatchObject({ state: "canceled", reason: "admin stop" });
    expect([get("/explain/region/999").status, get("/explain/operator/999").status]).toEqual([404, 404]);
    expect([get("/explain/region/x").status, get("/explain/store/9").status]).toEqual([400, 404]);
  });

  test("says why a leaving store does not empty, and when it will", () => {
    post("/config", { "halt-scheduling": "false", "replica-schedule-limit": 0 });
    expect(remove("/store/1").status).toBe(200);
    world.advance(30_000);
    const store = json("/explain/store/1") as { removing: { reasons: { reason: string }[] } } & Record<
      string,
      unknown
    >;
    expect(store["verdict"]).toMatch(/it leaves: 4 peers are still on it; nothing has moved/);
    expect(store.removing.reasons.length).toBeGreaterThan(0);
    expect(json("/explain/region/2")["notes"]).toContainEqual(
      expect.objectContaining({ author: "rule-checker", reason: "replica-schedule-limit 0 is reached" }),
    );
    expect(json("/explain/store/2")).toMatchObject({ "takes-leaders": "yes", state: "serving" });
  });

  test("says what holds a scheduler back", () => {
    expect(json("/explain/scheduler/balance-leader-scheduler")).toMatchObject({ status: "normal" });
    world.advance(5000);
    expect(json("/explain/scheduler/balance-leader-scheduler")["held-by"]).toBe("halt-scheduling is on");
    post("/config", { "halt-scheduling": "false", "leader-schedule-limit": 0 });
    world.advance(5000);
    expect(json("/explain/scheduler/balance-leader-scheduler")["held-by"]).toBe(
      "leader-schedule-limit 0 is reached",
    );
    post("/config", { "leader-schedule-limit": 4 });
    post("/schedulers/balance-leader-scheduler", { delay: 60 });
    world.advance(1000);
    expect(json("/explain/scheduler/balance-leader-scheduler")["held-by"]).toMatch(
      /^it is paused by hand until /,
    );
    remove("/schedulers/balance-region-scheduler");
    expect(json("/explain/scheduler/balance-region-scheduler")).toMatchObject({ status: "disabled" });
    expect(get("/explain/scheduler/nobody").status).toBe(404);
  });
});

describe("a drain", () => {
  test("moves the leaders away, says how far it is, and lets them back", () => {
    world = new World({ stores: 3, obeys: true, schedule: { "region-schedule-limit": 0 } });
    world.addRegions(times(9, [1, 2, 3]));
    expect(json("/store/1/ready-to-stop")).toMatchObject({
      ready: false,
      leaders_left: 9,
      reason: "9 leaders are still on store 1",
    });
    expect(post("/store/1/drain").status).toBe(200);
    expect(json("/store/1/drain")).toMatchObject({ draining: true, progress: 0 });
    world.advance(20_000);
    expect(json("/store/1/drain")).toMatchObject({
      draining: true,
      leaders_left: 0,
      progress: 1,
      ready: true,
    });
    expect(json("/store/1/ready-to-stop")).toMatchObject({ ready: true, regions_at_risk: 0 });
    expect(remove("/store/1/drain").status).toBe(200);
    expect(remove("/store/1/drain").status).toBe(404);
    expect(json("/store/1/drain")).toMatchObject({ draining: false });
    expect(get("/schedulers").json).not.toContain("evict-leader-scheduler");
  });

  test("is refused where a quorum would be lost, with the reason", () => {
    world = new World({ stores: 3 });
    const [region] = world.addRegions([
      [1, 2, 3],
      [1, 2, 3],
    ]);
    const one = must(region, "");
    one.pending = [must(one.peers[1], "").id];
    world.report(one);
    const refused = post("/store/1/drain");
    expect(refused.status).toBe(400);
    expect(refused.json).toMatch(
      /would cost 1 regions their quorum, as region 2: of 3 voters 1 would be left, and 2 are needed/,
    );
    expect(json("/store/1/ready-to-stop")).toMatchObject({ ready: false, examples: [{ region: 2 }] });
    expect(get("/schedulers").json).not.toContain("evict-leader-scheduler");
    expect([post("/store/9/drain").status, post("/store/x/drain").status]).toEqual([404, 400]);
  });
});

test("a drain goes on, with its progress, after a restart of PD, and ends with its scheduler", () => {
  world = new World({ stores: 4, obeys: true });
  world.addRegions(times(6, [1, 2, 3]));
  world.harness.env.advance(5000);
  expect(post("/store/1/drain").status).toBe(200);
  expect(world.harness.crashAndRestart()).toBe(true);
  expect(json("/store/1/drain")).toMatchObject({ draining: true });
  world.advance(20_000);
  expect(json("/store/1/drain")).toMatchObject({ draining: true, progress: expect.any(Number) });
  expect(remove("/schedulers/evict-leader-scheduler").status).toBe(200);
  world.advance(20_000);
  expect(json("/store/1/drain")).toMatchObject({ draining: false });
  expect(json("/store/1/drain")).not.toHaveProperty("progress");
});

describe("a drain of the last store that leads", () => {
  test("is refused, and names those that drain already", () => {
    world = new World({ stores: 3, obeys: true, schedule: { "region-schedule-limit": 0 } });
    world.addRegions(times(9, [1, 2, 3]));
    for (const id of [1, 2]) {
      expect(post(`/store/${id}/drain`).status).toBe(200);
      world.advance(20_000);
    }
    const refused = post("/store/3/drain");
    expect([refused.status, refused.json]).toEqual([
      400,
      expect.stringMatching(/no store would be left to lead: 1, 2/),
    ]);
    expect(remove("/store/1/drain").status).toBe(200);
    expect(post("/store/3/drain").status).toBe(200);
    world.advance(20_000);
    expect(json("/store/3/ready-to-stop")).toMatchObject({ ready: true });
  });
});

describe("progress", () => {
  test("of a store that empties has speed and seconds left [TestRemovingProgress]", () => {
    world = new World({ stores: 4, obeys: true });
    world.view.config.defaultStoreLimit = { "add-peer": 15, "remove-peer": 15 };
    world.addRegions(times(12, [1, 2, 3]), 100);
    expect(get("/stores/progress").status).toBe(400);
    expect(get("/stores/progress?action=removing").json).toBe(
      "[PD:progress:ErrProgressNotFound]no progress found for the action: removing",
    );
    expect(get("/stores/progress?id=1").status).toBe(404);
    remove("/store/1");
    world.advance(25_000);
    const state = json("/stores/progress?action=removing") as Record<string, number>;
    expect(state["progress"]).toBeGreaterThan(0);
    expect(state["current_speed"]).toBeGreaterThan(0);
    expect(state["left_seconds"]).toBeLessThan(600);
    expect(json("/stores/progress?id=1")).toMatchObject({ action: "removing", store_id: 1 });
    world.advance(60_000);
    expect(get("/stores/progress?action=removing").status).toBe(404);
  });

  test("is that of a window of samples, and done at its end [TestRemovingProcess]", () => {
    const progress = new Progress();
    progress.update("removing", 1, 0, 1000);
    expect(progress.of("removing", 1)).toEqual({ percent: 0, speed: 0, leftSeconds: Number.MAX_VALUE });
    progress.update("removing", 1, 100, 1000);
    expect(progress.of("removing", 1)).toEqual({ percent: 0.1, speed: 10, leftSeconds: 90 });
    progress.update("removing", 1, 600, 1000);
    expect(progress.of("removing", 1)).toEqual({ percent: 0.6, speed: 30, leftSeconds: 400 / 30 });
    progress.update("removing", 1, 1000, 1000);
    expect(progress.of("removing", 1)).toMatchObject({ percent: 1, leftSeconds: 0 });
    progress.update("removing", 2, 0, 0);
    expect(progress.average("removing")?.percent).toBe(1);
    progress.end("removing", 1);
    expect(progress.stores("removing")).toEqual([2]);
    expect(progress.of("removing", 1)).toBeUndefined();
  });

  test("of a store that fills goes by its share of its place [TestPreparingProgress]", () => {
    const mock = new MockCluster({ "location-labels": "zone,host" });
    for (const [i, zone] of ["a", "a", "b", "c"].entries()) mock.addStore(i + 1, { zone, host: `h${i}` });
    const labels = ["zone", "host"];
    const weights = [1, 2, 3, 4].map((id) => topoWeight(mock.view.stores(), mock.store(id), labels, 3));
    expect(weights).toEqual([1 / 6, 1 / 6, 1 / 3, 1 / 3]);
    // Four zones for three replicas: they do not say where data belongs, and all stores share alike.
    const wide = new MockCluster({ "location-labels": "zone,host" });
    for (const [i, zone] of ["a", "a", "b", "c", "d"].entries())
      wide.addStore(i + 1, { zone, host: `h${i}` });
    const share = (replicas: number) =>
      [1, 3].map((id) => topoWeight(wide.view.stores(), wide.store(id), labels, replicas));
    expect(share(3)).toEqual([1 / 5, 1 / 5]);
    expect(share(4)).toEqual([1 / 8, 1 / 4]);
    // With more replicas than zones a zone's stores share what the zone has.
    expect(share(5)).toEqual([1 / 5, 1 / 5]);
    expect(share(6)).toEqual([1 / 8, 1 / 4]);
    mock.putMany(times(100, [1, 3, 4]), { sizeMib: 10 });
    expect(mock.view.preparingThresholdMib(mock.store(3))).toBeCloseTo(0.9 * 1000 * 3 * (1 / 3), 6);
    const joining = mock.addStore(
      5,
      { zone: "b", host: "h5" },
      {
        nodeState: 0,
        startTimestamp: Math.floor(mock.env.clock.wallMs() / 1000),
      },
    );
    const threshold = mock.view.preparingThresholdMib(joining);
    expect(threshold).toBeCloseTo(0.9 * 1000 * 3 * (1 / 6), 6);
    expect(mock.cluster.isReadyToServe(joining, threshold)).toBe(false);
    world = new World({ stores: 3 });
    world.addRegions(times(120, [1, 2, 3]), 10);
    const startTimestamp = Math.floor(world.harness.env.clock.wallMs() / 1000);
    world.harness.putStore(storeMessage(4, { startTimestamp }));
    world.harness.heartbeatStore(4);
    world.harness.env.advance(11_000);
    expect(json("/stores/progress?action=preparing")).toMatchObject({ action: "preparing", progress: 0 });
    expect(json("/stores/progress?id=4")).toMatchObject({ action: "preparing", store_id: 4 });
  });
});

describe("rules over HTTP", () => {
  beforeEach(() => {
    world = new World({ stores: 3 });
    world.addRegions([[1, 2, 3]]);
  });

  const rule = (id: string, more: object = {}): Record<string, unknown> => ({
    group_id: "g",
    id,
    start_key: "",
    end_key: "",
    role: "voter",
    count: 1,
    ...more,
  });

  test("are set, read and deleted with PD's texts", () => {
    expect(post("/config/rule", rule("a", { count: 3, role: "learner" })).json).toMatch(
      /^Update rule successfully. Warning: rules g\/a and pd\/default want 6 peers/,
    );
    expect(get("/config/rule/g/a").json).toMatchObject({
      id: "a",
      role: "learner",
      create_timestamp: expect.any(Number),
    });
    expect(get("/config/rules/group/g").json).toHaveLength(1);
    expect(get("/config/rules/region/2").json).toHaveLength(2);
    expect(get("/config/rules/region/2/detail").json).toMatchObject({ "orphan-peers": null });
    expect(get("/config/rules/key/61").json).toHaveLength(2);
    expect(remove("/config/rule/g/a").json).toBe("Delete rule successfully.");
    expect(remove("/config/rule/g/a").json).toBe("Delete rule successfully.");
    expect(get("/config/rule/g/a")).toMatchObject({ status: 404 });
    expect(remove("/config/rule/pd/default")).toMatchObject({
      status: 400,
      json: expect.stringMatching(/no rule left/),
    });
    const bad: readonly [string, unknown, number][] = [
      ["/config/rule", rule("a", { role: "king" }), 400],
      ["/config/rule", rule("a", { start_key: "zz" }), 400],
      ["/config/rule", "{", 400],
      ["/config/rule", [], 400],
      ["/config/rules", {}, 400],
      ["/config/rules/batch", [{ action: "turn" }], 400],
      ["/config/rule_group", { id: "" }, 400],
      ["/config/placement-rule", {}, 400],
      ["/config/placement-rule/g", { group_id: "other", rules: [] }, 400],
      ["/config/region-label/rule", { id: "x" }, 400],
    ];
    for (const [path, body, status] of bad)
      expect(post(path, body).status, `${path} ${JSON.stringify(body)}`).toBe(status);
    expect(get("/config/rules").json).toHaveLength(1);
    expect([get("/config/rules/region/x").status, get("/config/rules/region/99").status]).toEqual([400, 404]);
    expect(get("/config/rules/key/xyz").status).toBe(400);
    post("/config", { "enable-placement-rules": "false" });
    expect(post("/config/rule", rule("a")).status).toBe(412);
  });

  test("have borders in the form of tables' keys, unless keys are said to be raw [TestAdjustRule]", () => {
    const whole = "6d00000000000000f8";
    const cases: readonly (readonly [string, number])[] = [
      ["", 200],
      [whole, 200],
      [`${whole}5f72`, 200],
      ["6d", 400],
      ["6d00000000000000ff", 400],
      ["6d01000000000000f8", 400],
      ["6d000000000000000a", 400],
    ];
    const border = (start: string) => post("/config/rule", rule("t", { start_key: start }));
    for (const [start, status] of cases) expect(border(start).status, start).toBe(status);
    expect(border("6d").json).toMatch(/start key should be encoded in table mode/);
    const end = post("/config/rules", [rule("t", { end_key: "7a" })]);
    expect(end.json).toMatch(/end key should be encoded in table mode/);
    const bundle = { group_id: "g", rules: [rule("t", { start_key: "6d" })] };
    expect(post("/config/placement-rule/g", bundle).status).toBe(400);
    post("/config", { "key-type": "raw" });
    expect(border("6d").status).toBe(200);
  });

  test("change in batches, all or nothing [TestBatch]", () => {
    post("/config", { "key-type": "raw" });
    const batch = [
      { ...rule("13", { start_key: "1111", end_key: "3333" }), action: "add" },
      { ...rule("24", { start_key: "2222", end_key: "4444" }), action: "add" },
    ];
    expect(post("/config/rules/batch", batch).json).toMatch(/^Batch operations successfully./);
    expect(get("/config/rules").json).toHaveLength(3);
    const wrong = [
      { group_id: "g", id: "13", action: "del" },
      { ...rule("x", { count: -1 }), action: "add" },
    ];
    expect(post("/config/rules/batch", wrong).status).toBe(400);
    expect(get("/config/rules").json).toHaveLength(3);
    post("/config/rules/batch", [{ ...rule("135"), action: "add" }]);
    const byPrefix = [{ group_id: "g", id: "13", action: "del", delete_by_id_prefix: true }];
    expect(post("/config/rules/batch", byPrefix).json).toMatch(/^Batch operations successfully./);
    expect((get("/config/rules").json as { id: string }[]).map(({ id }) => id)).toEqual(["24", "default"]);
  });

  test("come and go as bundles [TestBundle]", () => {
    const first = { group_id: "pd", group_index: 0, group_override: false };
    expect(get("/config/placement-rule/pd").json).toMatchObject(first);
    const foo = {
      group_id: "foo",
      group_index: 42,
      group_override: true,
      rules: [rule("bar", { group_id: "foo", count: 2 })],
    };
    expect(post("/config/placement-rule/foo", foo).json).toBe("Update group and rules successfully.");
    expect(get("/config/placement-rule").json).toMatchObject([
      { group_id: "pd" },
      { group_id: "foo", group_index: 42 },
    ]);
    expect(get("/config/rule_group/foo").json).toEqual({ id: "foo", index: 42, override: true });
    expect(remove("/config/placement-rule/fo+?regexp").json).toBe("Delete group and rules successfully.");
    expect(get("/config/rule_groups").json).toEqual([{ id: "pd" }]);
    // Without a group of its own a rule belongs to that of the bundle.
    const bare = { group_id: "id", rules: [{ id: "r", role: "voter", count: 3 }] };
    expect(post("/config/placement-rule?partial=true", [bare]).json).toMatch(
      /^Update rules and groups successfully./,
    );
    expect(get("/config/rules").json).toHaveLength(2);
    expect(post("/config/placement-rule", [bare]).json).toMatch(/^Update rules and groups successfully./);
    expect(get("/config/rules").json).toHaveLength(1);
    expect(post("/config/placement-rule", []).status).toBe(400);
  });

  test("and labels of regions have their routes", () => {
    const label = {
      id: "keep/still",
      labels: [{ key: "schedule", value: "deny" }],
      rule_type: "key-range",
      data: [{ start_key: "", end_key: "" }],
    };
    expect(post("/config/region-label/rule", label).json).toBe("Update region label rule successfully.");
    expect(get("/config/region-label/rules").json).toMatchObject([{ id: "keep/still" }]);
    expect(get(`/config/region-label/rule/${encodeURIComponent("keep/still")}`).json).toMatchObject({
      index: 0,
    });
    expect(get("/region/id/2/label/schedule").json).toBe("deny");
    expect(get("/region/id/2/labels").json).toEqual([{ key: "schedule", value: "deny" }]);
    const patch = { sets: [{ ...label, id: "two" }], deletes: ["keep/still"] };
    expect(world.harness.http("PATCH", "/pd/api/v1/config/region-label/rules", patch).status).toBe(200);
    expect(
      world.harness.http("GET", "/pd/api/v1/config/region-label/rules/ids", ["two", "x"]).json,
    ).toHaveLength(1);
    expect(remove("/config/region-label/rule/two").text).toBe("Delete rule successfully.");
    expect(remove("/config/region-label/rule/two").status).toBe(404);
    expect(get("/config/region-label/rule/two")).toMatchObject({ status: 404, json: null });
  });

  test("checkers pause, and schedulers have their settings [TestAPI]", () => {
    expect(get("/checker/merge").json).toEqual({ paused: false });
    expect(post("/checker/rule", { delay: 30 }).json).toBe("Pause the checker successfully.");
    expect(get("/checker/rule").json).toEqual({ paused: true });
    expect(post("/checker/rule", { delay: 0 }).json).toBe("Resume the checker successfully.");
    expect([post("/checker/rule", { delay: -1 }).status, post("/checker/x", { delay: 1 }).status]).toEqual([
      400, 500,
    ]);
    const config = (name: string, body: unknown) => post(`/scheduler-config/${name}/config`, body);
    expect(config("balance-leader-scheduler", { batch: 7 }).json).toBe("Config is updated.");
    expect(get("/scheduler-config/balance-leader-scheduler/list").json).toEqual({
      ranges: [{ "start-key": "", "end-key": "" }],
      batch: 7,
    });
    expect(config("balance-hot-region-scheduler", { "min-hot-byte-rate": -1 }).status).toBe(400);
    expect(config("nobody", {}).status).toBe(404);
    expect(post("/schedulers", { name: "shuffle-region-scheduler" }).status).toBe(200);
    expect(post("/scheduler-config/shuffle-region-scheduler/roles", ["leader"]).json).toBeNull();
    expect(get("/scheduler-config/shuffle-region-scheduler/roles").json).toEqual(["leader"]);
    expect(post("/schedulers", { name: "grant-leader-scheduler", store_id: 2 }).status).toBe(200);
    expect(remove("/scheduler-config/grant-leader-scheduler/delete/2").json).toBe(
      "The last store has been deleted",
    );
    const range = { name: "scatter-range", range_name: "t", start_key: "", end_key: "" };
    expect(post("/schedulers", range).json).toBe("The scheduler is created.");
    expect(post("/schedulers", range).json).toMatch(/existed/);
    expect(get("/schedulers").json).toContain("scatter-range-scheduler-t");
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    // All of that is there again.
    expect(get("/schedulers").json).toEqual(
      expect.arrayContaining(["scatter-range-scheduler-t", "shuffle-region-scheduler"]),
    );
    expect(get("/scheduler-config/balance-leader-scheduler/list").json).toMatchObject({ batch: 7 });
    expect(get("/scheduler-config/shuffle-region-scheduler/roles").json).toEqual(["leader"]);
    expect(remove("/schedulers/scatter-range-scheduler-t").status).toBe(200);
    const diagnostic = (name: string) => get(`/schedulers/diagnostic/${name}`);
    expect(diagnostic("balance-hot-region-scheduler").json).toMatch(/hasn't supported diagnostic/);
    post("/config", { "enable-diagnostic": "false" });
    expect(diagnostic("balance-leader-scheduler").json).toMatch(/diagnostic is disabled/);
  });
});
