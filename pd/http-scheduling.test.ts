/** Operators, schedulers and jobs over the HTTP API, and what malformed requests must not do. */
import { beforeEach, describe, expect, test } from "vitest";
import { must, SeededRandom } from "../base/index.js";
import { PdService } from "../proto/index.js";
import { OperatorBuilder } from "./operator-builder.js";
import { Harness, storeMessage } from "./test/harness.js";

const API = "/pd/api/v1";
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

describe("operators", () => {
  beforeEach(() => startStores(4));

  test("are made, listed, looked up and taken back", () => {
    expect(get("/operators/records")).toMatchObject({ status: 500, json: "operator not found" });
    const created = post("/operators", { name: "transfer-leader", region_id: 2, to_store_id: 3 });
    expect(created).toMatchObject({ status: 200, json: "The operator is created." });
    expect((get("/operators").json as string[])[0]).toMatch(
      /^admin-transfer-leader \{transfer leader: store 1 to 3\} \(kind:admin,leader, region:2\(2, 3\)/,
    );
    expect(get("/operators?kind=region").json).toEqual([]);
    expect(get("/operators?kind=waiting").json).toEqual([]);
    const { controller, view } = harness.pd.scheduling;
    const region = must(view.cluster.regions.byId(2), "no region");
    const built = new OperatorBuilder(view, "later", region).setLeader(2).build(["leader"]);
    if (built.kind === "built") controller.waiting.put([built.operator]);
    expect(get("/operators?kind=waiting").json).toEqual([expect.stringMatching(/^later /)]);
    controller.waiting.take();
    expect(get("/operators/2").json).toMatch(/^status: RUNNING, operator: admin-transfer-leader/);
    expect(get("/operators/2?object=1").json).toMatchObject({ region_id: 2, status: "RUNNING" });
    expect(remove("/operators/2").json).toBe("The pending operator is canceled.");
    expect(remove("/operators/2").status).toBe(500);
    expect(get("/operators/2").json).toMatch(/^status: CANCEL/);
    expect(get("/operators/records?from=0").status).toBe(200);
  });

  test("are refused by PD's texts", () => {
    const refusal = (body: unknown): unknown => {
      const { status, json } = post("/operators", body);
      return [status, json];
    };
    expect(refusal({ name: "no-such", region_id: 2 })).toEqual([400, "unknown operator"]);
    expect(refusal({ name: "add-peer", region_id: 2, store_id: 3 })).toEqual([
      500,
      "region already has peer in store 3",
    ]);
    expect(refusal({ name: "remove-peer", region_id: 2, store_id: 99 })).toEqual([
      500,
      "region has no peer in store 99",
    ]);
  });
});

describe("schedulers", () => {
  beforeEach(() => startStores(3));

  test("are listed, made, applied to more stores, and taken away store by store", () => {
    expect(get("/schedulers").json).toEqual([
      "balance-region-scheduler",
      "balance-leader-scheduler",
      "balance-hot-region-scheduler",
      "evict-slow-store-scheduler",
      "evict-stopping-store-scheduler",
    ]);
    const evict = (id: number): unknown =>
      post("/schedulers", { name: "evict-leader-scheduler", store_id: id }).json;
    expect(evict(1)).toBe("The scheduler is created.");
    expect(evict(2)).toBe("The scheduler has been applied to the store.");
    expect(get("/schedulers").json).toContain("evict-leader-scheduler");
    expect(get("/scheduler-config/evict-leader-scheduler/list").json).toMatchObject({
      "store-id-ranges": {
        "1": [{ "start-key": "", "end-key": "" }],
        "2": [{ "start-key": "", "end-key": "" }],
      },
    });
    expect(remove("/schedulers/evict-leader-scheduler-1")).toMatchObject({ status: 200, json: null });
    expect(remove("/schedulers/evict-leader-scheduler").json).toBe("The scheduler is removed.");
    expect(get("/scheduler-config/evict-leader-scheduler/list").status).toBe(404);
    expect(remove("/schedulers/no-such-scheduler")).toMatchObject({
      status: 404,
      json: "[PD:scheduler:ErrSchedulerNotFound]scheduler not found",
    });
    expect(post("/schedulers", { name: "no-such-scheduler" }).json).toBe("unknown scheduler");
    expect(post("/schedulers", {}).json).toBe("missing scheduler name");
  });

  test("rest for a while", () => {
    const pause = post("/schedulers/balance-region-scheduler", { delay: 60 });
    expect(pause.json).toBe("Pause or resume the scheduler successfully.");
    expect(get("/schedulers?status=paused").json).toEqual(["balance-region-scheduler"]);
    expect(get("/schedulers?status=paused&timestamp=1").json).toMatchObject([
      { name: "balance-region-scheduler" },
    ]);
    expect(post("/schedulers/balance-region-scheduler", { delay: 0 }).status).toBe(200);
    expect(get("/schedulers?status=paused").json).toEqual([]);
  });

  test("every leader on a leaving store's way out blocks the last store that could lead", () => {
    post("/config", { "max-replicas": 1 });
    post("/schedulers", { name: "evict-leader-scheduler", store_id: 1 });
    post("/schedulers", { name: "evict-leader-scheduler", store_id: 2 });
    expect(remove("/store/3").json).toBe(
      "can not remove store 3 since there are no extra up store to store the leader",
    );
  });
});

test("jobs on many regions are checked and answered in PD's form", () => {
  startStores(3);
  expect(post("/regions/split", {}).json).toBe("split_keys should be provided.");
  expect(post("/regions/split", { split_keys: [1] }).json).toBe("split_keys should contain only strings.");
  const body = new TextEncoder().encode('{"split_keys": ["61"], "retry_limit": 0}');
  let split: string | undefined;
  harness.pd.handleHttp(
    { method: "POST", path: `${API}/regions/split`, query: {}, headers: {}, body },
    (_status, _type, text) => {
      split = text;
    },
  );
  harness.env.advance(70_000);
  expect(JSON.parse(split ?? "null")).toEqual({ "processed-percentage": 0, "regions-id": [] });
  expect(post("/regions/scatter", { start_key: "", end_key: "" }).json).toEqual({
    "processed-percentage": 100,
  });
  const scatter = (body: object) => post("/operators", { name: "scatter-regions", retry_limit: 0, ...body });
  expect(scatter({ region_ids: ["2"] })).toMatchObject({ status: 400, json: "region_ids is invalid" });
  const outcomes = [{ region_ids: [99] }, { start_key: "zz", end_key: "" }, { region_ids: [2] }];
  expect(outcomes.map((body) => scatter(body).json)).toEqual([
    { "processed-percentage": 0, error: "region 99 not found" },
    { "processed-percentage": 0, error: "start_key and end_key must be hex" },
    { "processed-percentage": 100, error: "" },
  ]);
  expect(post("/regions/accelerate-schedule", { start_key: "", end_key: "zz" }).status).toBe(400);
  expect(post("/regions/accelerate-schedule", { start_key: "", end_key: "" }).status).toBe(200);
  const ranges = [
    { start_key: "", end_key: "61" },
    { start_key: "61", end_key: "" },
  ];
  expect(post("/regions/accelerate-schedule/batch", ranges).text).toBe(
    "Accelerate regions scheduling in given ranges: [,61), [61,), ",
  );
  expect(post("/regions/accelerate-schedule/batch", [{ start_key: 1 }]).status).toBe(400);
  expect(post("/regions/accelerate-schedule/batch", { start_key: "" }).status).toBe(400);
});

test("no request, however malformed, makes PD throw", () => {
  startStores(3);
  const random = new SeededRandom(7);
  const pick = <T>(items: readonly T[]): T => items[random.u32() % items.length] as T;
  const words = (
    "regions region id key store stores check config schedule replicate operators label weight limit " +
    "state schedulers split scatter accelerate-schedule diagnose"
  ).split(" ");
  const odd = ["%", "%FF", "%2F", "1", "-1", "99999999999999999999", "constructor", "__proto__", "x", ""];
  const bodies = [
    "",
    "{",
    "null",
    "[]",
    "0",
    '"',
    '{"__proto__": 1}',
    '{"name": "add-peer", "region_id": 1e99}',
    '{"rate": {}}',
    '{"constructor": {}}',
    '{"schedule": []}',
    '{"store-limit": {"x": 1}}',
    '{"leader": null, "region": []}',
    '{"name": "transfer-region", "region_id": 2, "to_store_ids": [null]}',
  ];
  for (let i = 0; i < 3000; i += 1) {
    const path = [pick(words), pick([...words, ...odd]), pick([...words, ...odd])]
      .slice(0, 1 + (random.u32() % 3))
      .join("/");
    const query = {
      [pick(["type", "limit", "key", "format", "state", "kind", "from"])]: [pick([...odd, "hex"])],
    };
    const method = pick(["GET", "POST", "DELETE", "HEAD", "PUT"]);
    const body = new TextEncoder().encode(pick(bodies));
    let replies = 0;
    harness.pd.handleHttp({ method, path: `${API}/${path}`, query, headers: {}, body }, () => {
      replies += 1;
    });
    harness.env.settle();
    if (replies === 0) harness.env.advance(120_000);
    expect(replies, `${method} ${path}`).toBe(1);
  }
});
