/** Settings for some seconds, and what was hot. (PD: server/api/config_test.go, region_test.go, hot_status_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { toHex, utf8 } from "../base/index.js";
import { Harness } from "./test/harness.js";
import { PdCluster } from "./test/pd-cluster.js";
import { threeStores } from "./test/three-stores.js";
import { World } from "./test/world.js";

type Json = Record<string, unknown>;

describe("settings with ttlSecond", () => {
  let harness: Harness;
  beforeEach(() => {
    harness = Harness.started();
    harness.bootstrap();
  });
  const post = (body: object, ttl = "") =>
    harness.http("POST", `/pd/api/v1/config${ttl === "" ? "" : `?ttlSecond=${ttl}`}`, body);
  const limit = (): unknown =>
    (harness.http("GET", "/pd/api/v1/config/schedule").json as Json)["merge-schedule-limit"];

  test("win over what is stored, end by themselves, and leave it as it was", () => {
    expect(limit()).toBe(8);
    expect(post({ "schedule.merge-schedule-limit": 0 }, "20")).toMatchObject({
      status: 200,
      json: "The ttl config is updated.",
    });
    expect(limit()).toBe(0);
    harness.env.advance(10_000);
    expect(limit()).toBe(0);
    harness.env.advance(15_000);
    expect(limit()).toBe(8);
  });

  test("hold over a crash of PD, forbid a lasting change meanwhile, and are ended by 0", () => {
    post({ "schedule.merge-schedule-limit": 0, "schedule.enable-location-replacement": "false" }, "600");
    expect(harness.crashAndRestart()).toBe(true);
    harness.env.advance(1_000);
    expect(limit()).toBe(0);
    expect(post({ "merge-schedule-limit": 3 })).toMatchObject({
      status: 400,
      json: "need to clean up TTL first for schedule.merge-schedule-limit",
    });
    expect(post({ "schedule.merge-schedule-limit": 0 }, "0").json).toBe("The ttl config is deleted.");
    expect([limit(), post({ "merge-schedule-limit": 3 }).status, limit()]).toEqual([8, 200, 3]);
  });

  test.each([
    [{ "schedule.low-space-ratio": 0.5 }, "60", /unsupported ttl config schedule.low-space-ratio/],
    [{ "merge-schedule-limit": 1 }, "60", /unsupported ttl config merge-schedule-limit/],
    [{ "schedule.merge-schedule-limit": -1 }, "60", /cannot unmarshal/],
    [{ "schedule.merge-schedule-limit": 1, "schedule.leader-schedule-limit": "x" }, "60", /cannot unmarshal/],
    [{ "schedule.merge-schedule-limit": 1 }, "soon", /parsing \\"soon\\"/],
    [{ "schedule.merge-schedule-limit": 1 }, "-5", /invalid syntax/],
    [{ "schedule.merge-schedule-limit": 1 }, "99999999999", /invalid syntax/],
  ])("refuse %j for %s s and change nothing", (body, ttl, text) => {
    const answer = post(body, ttl);
    expect([answer.status, limit()]).toEqual([400, 8]);
    expect(answer.text).toMatch(text);
  });

  test("are those of the next leader too", () => {
    const cluster = new PdCluster(2);
    cluster.waitForLeader();
    cluster.env.advance(2_000);
    cluster.bootstrap();
    const body = utf8('{"schedule.leader-schedule-limit": 1}');
    const request = {
      method: "POST",
      path: "/pd/api/v1/config",
      query: { ttlSecond: ["30"] },
      headers: {},
      body,
    };
    cluster.leader().pd?.handleHttp(request, (status) => expect(status).toBe(200));
    cluster.env.advance(500);
    cluster.kill(cluster.leader().name);
    cluster.waitForLeader();
    const { config } = cluster.leader().pd?.cluster.context ?? {};
    expect(config?.number("schedule.leader-schedule-limit")).toBe(1);
    cluster.env.advance(40_000);
    expect(config?.number("schedule.leader-schedule-limit")).toBe(4);
  });
});

describe("what was hot", () => {
  test("is told by time, store, kind and role, from a sample now and then", () => {
    const harness = Harness.started();
    threeStores(harness);
    const ask = (body: object) => harness.http("GET", "/pd/api/v1/hotspot/regions/history", body);
    const rows = (body: object): Json[] =>
      (ask(body).json as { history_hot_region: Json[] }).history_hot_region;
    expect(rows({})).toEqual([]);
    harness.http("POST", "/pd/api/v1/config", { "hot-regions-write-interval": "1s" });
    harness.env.advance(1_500);
    harness.heartbeatStore(1);
    const all = rows({});
    expect(all).toHaveLength(3);
    expect(all[0]).toMatchObject({
      region_id: 2,
      store_id: 1,
      is_leader: true,
      is_learner: false,
      hot_region_type: "write",
      flow_bytes: 2000,
      end_key: "6D",
    });
    const nowMs = harness.env.clock.wallMs();
    expect(rows({ store_ids: [2], hot_region_type: ["write"] })).toHaveLength(1);
    expect(rows({ is_leaders: [false], start_time: nowMs - 60_000, end_time: nowMs })).toHaveLength(2);
    expect(rows({ start_time: nowMs + 1 }).concat(rows({ hot_region_type: ["read"] }))).toEqual([]);
    expect(rows({ region_ids: [10] }).concat(rows({ peer_ids: [99] }))).toEqual([]);
    for (const bad of [{ store_ids: "x" }, { store_ids: [1.5] }, { is_leaders: [1] }, { start_time: "x" }])
      expect(ask(bad).status).toBe(400);
    expect(ask({ hot_region_type: ["cold"] }).status).toBe(400);
    expect(harness.http("GET", "/pd/api/v1/hotspot/regions/history").status).toBe(400);
  });
});

describe("whether a range is replicated", () => {
  const hex = (text: string): string => toHex(utf8(text));
  test("is said of all its regions together [TestRegionsReplicated]", () => {
    const world = new World({ stores: 4, obeys: true, schedule: { "replica-schedule-limit": 0 } });
    world.addRegions([
      [1, 2, 3],
      [1, 2],
      [1, 2, 3],
    ]);
    const ask = (start: string, end: string) =>
      world.harness.http("GET", `/pd/api/v1/regions/replicated?startKey=${start}&endKey=${end}`);
    expect(ask("", hex("k00001")).json).toBe("REPLICATED");
    expect(ask(hex("k00002"), "").json).toBe("REPLICATED");
    expect(ask("", "").json).toBe("INPROGRESS");
    // With two stores there is nowhere to put a third peer: it waits.
    const few = new World({ stores: 2, obeys: true });
    few.addRegions([[1, 2]]);
    few.advance(5_000);
    const path = "/pd/api/v1/regions/replicated?startKey=&endKey=";
    expect(few.harness.http("GET", path).json).toBe("PENDING");
    expect([ask("x", "").status, ask("", "1").status]).toEqual([400, 400]);
    expect(world.harness.http("GET", "/pd/api/v1/regions/replicated").status).toBe(404);
  });
});
