/** The HTTP API as clients and pd-ctl see it: field names, order and texts are those of a recorded PD. */
import { beforeEach, describe, expect, test } from "vitest";
import { toHex, utf8 } from "../base/index.js";
import { Harness } from "./test/harness.js";
import { threeStores } from "./test/three-stores.js";

const API = "/pd/api/v1";
const hex = (text: string): string => toHex(utf8(text)).toUpperCase();

const REGION_FIELDS = [
  "id",
  "start_key",
  "end_key",
  "epoch",
  "peers",
  "leader",
  "cpu_usage",
  "written_bytes",
  "read_bytes",
  "written_keys",
  "read_keys",
  "approximate_size",
  "approximate_keys",
  "approximate_kv_size",
  "approximate_columnar_kv_size",
];
const STORE_FIELDS = [
  "id",
  "address",
  "version",
  "peer_address",
  "status_address",
  "git_hash",
  "start_timestamp",
  "deploy_path",
  "last_heartbeat",
  "node_state",
  "state_name",
];
const STATUS_FIELDS = [
  "capacity",
  "available",
  "used_size",
  "leader_count",
  "leader_weight",
  "leader_score",
  "leader_size",
  "region_count",
  "region_weight",
  "region_score",
  "region_size",
  "slow_score",
  "slow_trend",
  "start_ts",
  "last_heartbeat_ts",
  "uptime",
];

type Json = Record<string, unknown>;
let harness: Harness;

const get = (path: string): ReturnType<Harness["http"]> => harness.http("GET", `${API}${path}`);
const keysOf = (value: unknown): string[] => Object.keys(value as Json);

beforeEach(() => {
  harness = Harness.started();
});

describe("the router", () => {
  test("knows unknown paths, wrong methods and clusters that do not exist yet", () => {
    expect(get("/nothing-here")).toMatchObject({ status: 404, text: "404 page not found\n" });
    expect(harness.http("GET", "/").status).toBe(404);
    expect(harness.http("DELETE", `${API}/regions`).status).toBe(405);
    expect(harness.http("GET", "/pd/ping")).toMatchObject({ status: 200, text: "" });
    expect(get("/ping").status).toBe(200);
    expect(get("/regions")).toMatchObject({
      status: 500,
      json: "[PD:cluster:ErrNotBootstrapped]TiKV cluster not bootstrapped, please start TiKV first",
    });
    expect(get("/members").status).toBe(200);
  });

  test("answers a body that is not JSON with its place", () => {
    expect(harness.http("POST", `${API}/operators`, "{not json")).toMatchObject({
      status: 400,
      json: {
        code: "input",
        msg: "invalid character 'n' looking for beginning of object key string",
        data: { Offset: 2 },
      },
    });
    expect(harness.http("POST", `${API}/config`, "").json).toMatchObject({
      msg: "unexpected end of JSON input",
      data: { Offset: 0 },
    });
    const trailing = harness.http("POST", `${API}/config`, '{"a": 1} x').json;
    expect(trailing).toMatchObject({ msg: "invalid character 'x' after top-level value" });
    expect(harness.http("POST", `${API}/config`, "[1]").status).toBe(400);
  });
});

describe("regions", () => {
  beforeEach(() => threeStores(harness));

  test("have PD's fields, keys in upper-case hex and marks of learners", () => {
    const region = get("/region/id/2").json as Json;
    expect(keysOf(region)).toEqual(REGION_FIELDS);
    expect(region).toMatchObject({
      start_key: "",
      end_key: hex("m"),
      epoch: { conf_ver: 3, version: 2 },
      leader: { role_name: "Voter", id: 3, store_id: 1 },
      approximate_size: 50,
      written_bytes: 120_000,
    });
    const learner = { role_name: "Learner", is_learner: true, id: 13, store_id: 3, role: 1 };
    expect(get("/region/id/10").json).toMatchObject({
      down_peers: [{ peer: learner, down_seconds: 7 }],
      pending_peers: [learner],
    });
  });

  test("are found by key, raw, encoded or in hex", () => {
    const byKey = (path: string): unknown => (get(path).json as Json)["id"];
    expect(byKey("/region/key/apple")).toBe(2);
    expect(byKey("/region/key/m")).toBe(10);
    expect(byKey("/region/key/%FF%00")).toBe(10);
    expect(byKey(`/region/key/${hex("zoo")}?format=hex`)).toBe(10);
    expect(get("/region/key/xyz?format=hex").status).toBe(400);
  });

  test("are refused by PD's texts", () => {
    expect(get("/region/id/99")).toMatchObject({
      status: 404,
      json: "[PD:region:ErrRegionNotFound]region 99 not found",
    });
    expect(get("/region/id/abc")).toMatchObject({
      status: 400,
      json: 'strconv.ParseUint: parsing "abc": invalid syntax',
    });
  });

  test("come as lists by range, store and kind", () => {
    const ids = (path: string): unknown[] =>
      ((get(path).json as Json)["regions"] as Json[]).map((region) => region["id"]);
    expect(get("/regions").json).toMatchObject({ count: 2 });
    expect(get("/regions/count").json).toEqual({ count: 2, regions: null });
    expect(ids("/regions/key?limit=1")).toEqual([2]);
    expect(ids(`/regions/key?format=hex&key=${hex("n")}`)).toEqual([10]);
    expect(get("/regions/key?limit=x").status).toBe(400);
    expect(ids("/regions/store/2?type=leader")).toEqual([10]);
    expect(ids("/regions/store/3?type=learner")).toEqual([10]);
    expect(ids("/regions/store/77")).toEqual([]);
    expect(get("/regions/store/1?type=constructor").status).toBe(400);
    expect(ids("/regions/check/learner-peer")).toEqual([10]);
    expect(ids("/regions/check/down-peer")).toEqual([10]);
    expect(ids("/regions/check/pending-peer")).toEqual([10]);
    expect(ids("/regions/check/empty-region")).toEqual([10]);
    expect(ids("/regions/check/miss-peer")).toEqual([]);
    expect(ids("/regions/size?limit=1")).toEqual([2]);
    expect(get("/regions/sibling/2").json).toMatchObject({ count: 2, regions: [{}, { id: 10 }] });
    expect(get("/regions/range-holes").json).toEqual([]);
    expect(get("/regions/check/hist-keys").json).toEqual([
      { start: 0, end: 999, count: 1 },
      { start: 1000, end: 1999, count: 1 },
    ]);
    expect(get("/stats/region?start_key=&end_key=").json).toMatchObject({
      count: 2,
      empty_count: 1,
      storage_size: 51,
      store_leader_count: { "1": 1, "2": 1 },
      store_peer_size: { "1": 51, "2": 51, "3": 51 },
    });
  });
});

describe("stores, the cluster and hot spots", () => {
  beforeEach(() => threeStores(harness));

  test("stores have PD's fields", () => {
    const answer = get("/store/2").json as Json;
    expect(keysOf(answer["store"])).toEqual(STORE_FIELDS);
    expect(keysOf(answer["status"])).toEqual(expect.arrayContaining(STATUS_FIELDS));
    expect(answer["store"]).toMatchObject({ node_state: 1, state_name: "Up" });
    expect(answer["status"]).toMatchObject({ capacity: "100GiB", used_size: "1.5GiB", leader_count: 1 });
    expect((get("/stores").json as Json)["count"]).toBe(3);
    expect(get("/store/999")).toMatchObject({
      status: 404,
      json: "[PD:core:ErrStoreNotFound]store 999 not found",
    });
    expect(get("/store/x")).toMatchObject({ status: 400, json: { code: "input" } });
  });

  test("members carry ids of 64 bits in full", () => {
    const { text } = get("/members");
    expect(text).toContain(`"cluster_id": ${harness.pd.clusterId}`);
    const parsed = JSON.parse(text) as Json;
    expect(keysOf(parsed)).toEqual(["header", "members", "leader", "etcd_leader"]);
    expect(parsed["leader"]).toMatchObject({ name: "pd", client_urls: ["http://127.0.0.1:2379"] });
    expect(keysOf(get("/leader").json)).toEqual(["name", "member_id", "peer_urls", "client_urls"]);
    expect(keysOf((get("/health").json as Json[])[0])).toEqual([
      "name",
      "member_id",
      "client_urls",
      "health",
    ]);
  });

  test("the cluster and its points answer with PD's fields", () => {
    expect(keysOf(get("/cluster").json)).toEqual(["id", "max_peer_count"]);
    expect(get("/cluster/status").json).toMatchObject({ is_initialized: true, replication_status: "" });
    expect(keysOf(get("/version").json)).toEqual(["version", "build_time", "hash", "branch"]);
    expect(keysOf(get("/status").json)).toContain("start_timestamp");
    expect(get("/gc/safepoint").json).toEqual({
      service_gc_safe_points: [
        { service_id: "gc_worker", expired_at: Number(9223372036854775807n), safe_point: 0 },
      ],
      gc_safe_point: 0,
    });
    expect(get("/min-resolved-ts").json).toMatchObject({ is_real_time: true, persist_interval: "1s" });
    expect(harness.http("DELETE", `${API}/gc/safepoint/%FFx`).status).toBe(200);
  });

  test("hot spots come from the heartbeats' figures", () => {
    expect(get("/hotspot/stores").json).toMatchObject({
      "bytes-write-rate": { "1": 200, "2": 200, "3": 200 },
    });
    const hot = get("/hotspot/regions/write").json as Record<string, Record<string, Json>>;
    expect(hot["as_leader"]?.["1"]).toMatchObject({
      store_bytes: 2000,
      regions_count: 1,
      statistics: [{ region_id: 2, is_leader: true, flow_bytes: 2000, flow_keys: 1 }],
    });
    expect(hot["as_leader"]?.["2"]).toMatchObject({ regions_count: 0, statistics: [] });
    expect(hot["as_peer"]?.["3"]).toMatchObject({ store_bytes: 200, regions_count: 1 });
    expect(get("/hotspot/regions/read?store_id=9").status).toBe(500);
  });
});
