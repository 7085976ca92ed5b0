/** What the HTTP API changes about stores and settings. Changes must be there after a crash. */
import { beforeEach, describe, expect, test } from "vitest";
import { PdService } from "../proto/index.js";
import { Harness, storeMessage } from "./test/harness.js";

const API = "/pd/api/v1";
type Json = Record<string, unknown>;
let harness: Harness;

const get = (path: string): ReturnType<Harness["http"]> => harness.http("GET", `${API}${path}`);
const post = (path: string, body: unknown): ReturnType<Harness["http"]> =>
  harness.http("POST", `${API}${path}`, body);
const remove = (path: string, body: unknown = ""): ReturnType<Harness["http"]> =>
  harness.http("DELETE", `${API}${path}`, body);

/** Region 2 led from store 1, with voters on 1, 2 and 3, of `count` stores. */
function startStores(count: number): void {
  harness = Harness.started();
  harness.bootstrap();
  for (let id = 1; id <= count; id += 1) {
    harness.putStore(storeMessage(id));
    harness.heartbeatStore(id);
  }
  const peers = [1, 2, 3].map((storeId) => ({ id: storeId + 2, storeId }));
  const call = harness.open(PdService.RegionHeartbeat);
  call.send({
    header: harness.header,
    region: { id: 2, regionEpoch: { confVer: 3, version: 2 }, peers },
    leader: peers[0] ?? null,
    term: 6,
    approximateSize: 50 * 2 ** 20,
    interval: { startTimestamp: 100, endTimestamp: 160 },
  });
  harness.env.settle();
}

const stateOf = (id: number): unknown => ((get(`/store/${id}`).json as Json)["store"] as Json)["state_name"];
const statusOf = (id: number): Json => (get(`/store/${id}`).json as Json)["status"] as Json;

describe("taking a store out of service", () => {
  test("needs enough other stores, unless its data is gone anyway", () => {
    startStores(3);
    expect(remove("/store/2")).toMatchObject({
      status: 400,
      json: "can not remove store 2 since the number of up stores would be 2 while need 3",
    });
    expect(stateOf(2)).toBe("Up");
    expect(remove("/store/2?force=true")).toMatchObject({
      status: 200,
      json: "The store is set as Offline.",
    });
    expect((get("/store/2").json as Json)["store"]).toMatchObject({
      state: 1,
      node_state: 2,
      physically_destroyed: true,
    });
    expect(post("/store/2/state?state=Up", "").status).toBe(400);
  });

  test("lifts its limit, survives a crash and can be taken back", () => {
    startStores(4);
    expect(post("/store/2/limit", { rate: 20 }).json).toBe("The store's limit is updated.");
    expect(remove("/store/2").status).toBe(200);
    expect(remove("/store/2").status).toBe(200);
    expect(get("/stores/limit").json).toMatchObject({ "2": { "add-peer": 20, "remove-peer": 1e8 } });
    expect(get("/regions/check/offline-peer").json).toMatchObject({ count: 1 });
    expect(post("/store/2/state?state=Up", "").json).toBe("The store's state is updated.");
    expect(stateOf(2)).toBe("Up");
    expect(get("/stores/limit").json).toMatchObject({ "2": { "add-peer": 20, "remove-peer": 20 } });
    expect(remove("/store/3").status).toBe(200);
    expect(harness.crashAndRestart()).toBe(true);
    expect(stateOf(3)).toBe("Offline");
    expect(remove("/store/999").status).toBe(404);
    expect(post("/store/2/state?state=Sideways", "").json).toBe("invalid state Sideways");
  });

  test("ends buried, hidden from the list, and forgotten on request", () => {
    startStores(4);
    expect(remove("/store/4").status).toBe(200);
    harness.env.advance(5000);
    expect(stateOf(4)).toBe("Tombstone");
    expect((get("/stores").json as Json)["count"]).toBe(3);
    expect((get("/stores?state=2").json as Json)["count"]).toBe(1);
    expect(remove("/store/4").status).toBe(410);
    expect(remove("/stores/remove-tombstone").json).toBe("Remove tombstone successfully.");
    expect(get("/store/4").status).toBe(404);
  });
});

describe("a store's figures", () => {
  beforeEach(() => startStores(3));

  test("labels merge, are replaced by force and deleted one by one", () => {
    expect(post("/store/1/label", { zone: "z1", host: "h1" }).json).toBe("The store's label is updated.");
    expect(post("/store/1/label", { Zone: "z2" }).status).toBe(200);
    expect(get("/labels").json).toEqual([
      { key: "zone", value: "z2" },
      { key: "host", value: "h1" },
    ]);
    expect(get("/labels/stores?name=zone&value=z2").json).toMatchObject({ count: 1 });
    expect(remove("/store/1/label", '"zone"').json).toBe("The label zone is deleted for store 1.");
    expect(remove("/store/1/label", '"zone"').status).toBe(500);
    expect(post("/store/1/label?force=true", { rack: "r1" }).status).toBe(200);
    expect(harness.crashAndRestart()).toBe(true);
    expect(get("/labels").json).toEqual([{ key: "rack", value: "r1" }]);
    expect(post("/store/1/label", { zone: "z 1!" })).toMatchObject({
      status: 400,
      json: { code: "input", msg: 'z 1! does not match format "^[-A-Za-z0-9_./]*$"' },
    });
    expect(post("/store/1/label", { engine: "x" }).status).toBe(400);
  });

  test("weights and limits are checked and stored", () => {
    expect(post("/store/1/weight", { leader: 1.5, region: 1.2 }).json).toBe("The store's weight is updated.");
    expect(post("/store/1/weight", { leader: 1 }).json).toBe("region weight unset");
    expect(post("/store/1/weight", { leader: -1, region: 1 }).status).toBe(400);
    expect(post("/store/1/limit", { type: "add-peer", rate: -1 }).json).toBe(
      "invalid rate which should be larger than 0",
    );
    expect(post("/store/1/limit", { type: "sideways", rate: 1 }).json).toBe("unknown type");
    post("/config", { "store-limit-version": "v2" });
    for (const path of ["/store/1/limit", "/stores/limit"]) {
      expect(post(path, { rate: 1 })).toMatchObject({
        status: 400,
        json: "current store limit version:v2 not support set limit",
      });
    }
    post("/config", { "store-limit-version": "v1" });
    expect(post("/stores/limit", { type: "add-peer", rate: 30 }).json).toBe("Set store limit successfully.");
    expect(harness.crashAndRestart()).toBe(true);
    expect(statusOf(1)).toMatchObject({ leader_weight: 1.5, region_weight: 1.2 });
    expect(get("/stores/limit").json).toMatchObject({ "3": { "add-peer": 30, "remove-peer": 15 } });
  });
});

describe("settings", () => {
  beforeEach(() => startStores(1));

  test("are changed by name or path, stored, and shown as PD shows them", () => {
    expect(post("/config", { "leader-schedule-limit": 5 }).json).toBe("The config is updated.");
    expect(post("/config", { "schedule.merge-schedule-limit": 0, "max-replicas": 1 }).status).toBe(200);
    expect(post("/config/replicate", { "location-labels": "zone,host" }).status).toBe(200);
    expect(harness.crashAndRestart()).toBe(true);
    expect(get("/config/schedule").json).toMatchObject({
      "leader-schedule-limit": 5,
      "merge-schedule-limit": 0,
      "max-store-down-time": "30m0s",
      "enable-joint-consensus": "true",
      "store-limit": { "1": { "add-peer": 15, "remove-peer": 15 } },
    });
    expect(get("/config/replicate").json).toMatchObject({
      "max-replicas": 1,
      "location-labels": "zone,host",
    });
    const whole = get("/config").json as Json;
    expect(Object.keys(whole)).toEqual(
      expect.arrayContaining(["schedule", "replication", "pd-server", "cluster-version", "client-urls"]),
    );
    expect(get("/config/default").json).toMatchObject({ schedule: { "leader-schedule-limit": 4 } });
  });

  test("sent back whole are accepted unchanged", () => {
    expect(post("/config/schedule", get("/config/schedule").json).status).toBe(200);
    expect(post("/config/replicate", get("/config/replicate").json).status).toBe(200);
  });

  test("are refused by PD's texts", () => {
    const reason = (body: unknown): unknown => post("/config", body).json;
    expect(reason({ "no-such-item": 1 })).toBe("config item no-such-item not found");
    expect(reason({ constructor: 1 })).toBe("config item constructor not found");
    expect(reason({ "nowhere.item": 1 })).toBe("config prefix nowhere not found");
    expect(reason({ "leader-schedule-limit": "x" })).toBe(
      "json: cannot unmarshal string into Go struct field ScheduleConfig.leader-schedule-limit of type uint64",
    );
    expect(reason({ "max-replicas": 0 })).toBe(
      "[PD:placement:ErrRuleContent]invalid rule content, invalid count 0",
    );
    expect(post("/config", { "max-replicas": 0 }).status).toBe(400);
    expect(post("/config", { "enable-placement-rules": "false" }).status).toBe(200);
    expect(get("/config/rules")).toMatchObject({
      status: 412,
      json: "[PD:placement:ErrPlacementDisabled]placement rules feature is disabled",
    });
  });

  test("are changed together or not at all, with bounds between them at the end", () => {
    const schedule = (): Json => get("/config/schedule").json as Json;
    const before = schedule();
    expect(post("/config", { "leader-schedule-limit": 9, "no-such-item": 1 }).status).toBe(400);
    expect(post("/config/schedule", { "leader-schedule-limit": 9, "low-space-ratio": 2 }).status).toBe(500);
    expect(post("/config", { "max-replicas": 5, "isolation-level": "zone" }).status).toBe(400);
    expect(schedule()).toEqual(before);
    expect(get("/config/rules").json).toMatchObject([{ count: 3 }]);
    // Either alone would be refused, in this order.
    expect(post("/config", { "low-space-ratio": 0.6, "high-space-ratio": 0.4 }).status).toBe(200);
    expect(post("/config", { "max-replicas": 5, "location-labels": "zone" }).status).toBe(200);
    expect(get("/config/rules").json).toMatchObject([{ count: 5, location_labels: ["zone"] }]);
    expect(harness.crashAndRestart()).toBe(true);
    expect(schedule()).toMatchObject({ "low-space-ratio": 0.6, "high-space-ratio": 0.4 });
  });

  test("have bounds, and the answer says which", () => {
    const reason = (body: unknown): unknown => {
      const answer = post("/config", body);
      return answer.status === 400 ? answer.json : answer.status;
    };
    expect(reason({ "low-space-ratio": 1.1 })).toBe("low-space-ratio must be at most 1, not 1.1");
    expect(reason({ "patrol-region-worker-count": 0 })).toBe(
      "patrol-region-worker-count must be at least 1, not 0",
    );
    expect(reason({ "patrol-region-worker-count": 9 })).toMatch(/at most 8/);
    expect(reason({ "tolerant-size-ratio": -1 })).toMatch(/at least 0/);
    expect(reason({ "slow-store-evicting-affected-store-ratio-threshold": 0 })).toMatch(/at least 0.01/);
    expect(reason({ "server-memory-limit": 1 })).toMatch(/at most 0.99/);
    expect(reason({ "leader-schedule-policy": "mass" })).toMatch(/one of count, size/);
    expect(reason({ "max-store-down-time": "soon" })).toMatch(/Duration/);
    expect(reason({ "store-limit-version": "v3" })).toMatch(/one of v1, v2/);
    expect(reason({ "store-limit": { "1": { "add-peer": -1, "remove-peer": 1 } } })).toMatch(/malformed/);
  });

  test("of labels that leaders avoid are set, shown, stored and deleted", () => {
    const change = (action: string): ReturnType<Harness["http"]> =>
      post("/config/label-property", {
        action,
        type: "reject-leader",
        "label-key": "disk",
        "label-value": "hdd",
      });
    expect(change("set").json).toBe("The config is updated.");
    expect(harness.crashAndRestart()).toBe(true);
    const shown = { "reject-leader": [{ key: "disk", value: "hdd" }] };
    expect(get("/config/label-property").json).toEqual(shown);
    expect(get("/config").json).toMatchObject({ "label-property": shown });
    expect(change("forget")).toMatchObject({ status: 500, json: "unknown action forget" });
    expect(change("delete").status).toBe(200);
    expect(get("/config/label-property").json).toEqual({});
    expect(post("/config/label-property", { action: "set", type: 7 }).status).toBe(400);
  });
});

describe("for restore tools", () => {
  beforeEach(() => startStores(1));

  test("marks are set, seen by both protocols, survive a crash and are taken away", () => {
    const marked = (name: string): unknown => get(`/admin/cluster/markers/${name}`).json;
    const seen = (): boolean => harness.call(PdService.IsSnapshotRecovering).marked;
    expect([marked("snapshot-recovering"), seen()]).toEqual([{ marked: false }, false]);
    expect(post("/admin/cluster/markers/snapshot-recovering", "")).toMatchObject({ status: 200, text: "" });
    expect(harness.crashAndRestart()).toBe(true);
    expect([marked("snapshot-recovering"), seen()]).toEqual([{ marked: true }, true]);
    expect(marked("pitr-restore-mode")).toEqual({ marked: false });
    expect(remove("/admin/cluster/markers/snapshot-recovering").status).toBe(200);
    expect([marked("snapshot-recovering"), seen()]).toEqual([{ marked: false }, false]);
  });

  test("ids are raised above what was restored, only under the mark, and never given out again", () => {
    const raise = (id: unknown): number => post("/admin/base-alloc-id", { id }).status;
    const next = (): number => harness.call(PdService.AllocID, { count: 1 }).id;
    expect(raise("50000")).toBe(403);
    expect([raise(5), raise("x"), raise("99999999999999999999")]).toEqual([400, 400, 400]);
    post("/admin/cluster/markers/snapshot-recovering", "");
    expect(raise("50000")).toBe(200);
    expect(next()).toBeGreaterThan(50_000);
    // Lower than what was given out: nothing goes back.
    expect(raise("10")).toBe(200);
    expect(next()).toBeGreaterThan(50_000);
    expect(harness.crashAndRestart()).toBe(true);
    expect(next()).toBeGreaterThan(50_000);
  });

  test("the log's level changes while PD runs, by PD's names, and only to one there is", () => {
    startStores(3);
    const before = harness.logLevels.length;
    for (const level of ["debug", "warning", "fatal"])
      expect(post("/admin/log", JSON.stringify(level))).toMatchObject({
        status: 200,
        json: "The log level is updated.",
      });
    for (const none of ["loud", 3, {}, null, "constructor"])
      expect(post("/admin/log", JSON.stringify(none)).status).toBe(400);
    expect(harness.logLevels.slice(before)).toEqual(["debug", "warn", "error"]);
  });

  test("stale records go; those that PD does not know are said so", () => {
    expect(remove("/admin/storage/region/99")).toMatchObject({
      status: 400,
      json: "failed to get target region from cache",
    });
    expect(remove("/admin/storage/region/2").json).toBe(
      "The region is removed from server cache and region meta storage.",
    );
    expect(get("/region/id/2").status).toBe(404);
  });
});
