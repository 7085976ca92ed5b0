/** Metrics that bear names of TiKV or PD have their types and labels too: dashboards read them unchanged. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import { Cluster } from "../embed/cluster.js";
import type { BoundMethod } from "../proto/rpc.js";
import { PdMetricsPage } from "./pd-metrics.js";
import { StoreMetrics } from "./store-metrics.js";

interface Shape {
  readonly type: string;
  /** Sorted, apart by commas; undefined when no sample has been seen. */
  readonly labels: string | undefined;
}

/** Shapes of the metrics in a page of Prometheus' text format. */
function shapesOf(page: string): Map<string, Shape> {
  const types = new Map([...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1], match[2]]));
  const labels = new Map<string, string>();
  for (const [, sample = "", inner = ""] of page.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const name = types.has(sample) ? sample : sample.replace(/_(bucket|sum|count)$/, "");
    const names = [...inner.matchAll(/(\w+)="/g)].map((match) => match[1] as string);
    labels.set(
      name,
      [...new Set(names)]
        .filter((label) => label !== "le")
        .sort()
        .join(","),
    );
  }
  return new Map(
    [...types].map(([name, type]) => [
      name as string,
      { type: type as string, labels: labels.get(name as string) },
    ]),
  );
}

function known(server: "tikv" | "pd"): Map<string, Shape> {
  const text = readFileSync(join(import.meta.dirname, "test", "known-metrics.tsv"), "utf8");
  const rows = text.split("\n").map((line) => line.split("\t"));
  return new Map(
    rows
      .filter((row) => row[0] === server)
      .map(([, name = "", type = "", labels = ""]) => [name, { type, labels }]),
  );
}

const strangers = (ours: Map<string, Shape>, theirs: Map<string, Shape>, prefixes: RegExp): string[] =>
  [...ours]
    .filter(([name]) => prefixes.test(name))
    .flatMap(([name, { type, labels }]) => {
      const expected = theirs.get(name);
      if (expected === undefined) return [`${name}: unknown there`];
      const same = expected.type === type && (labels === undefined || labels === expected.labels);
      return same ? [] : [`${name}: ${type} {${labels}}, there ${expected.type} {${expected.labels}}`];
    });

/** Three requests in one message, over the watched method, until all are answered. */
function oneBatch(methods: readonly BoundMethod[]): Promise<void> {
  const method = methods.find(({ definition }) => definition.path.endsWith("/BatchCommands"));
  if (method === undefined) throw new Error("no BatchCommands");
  return new Promise((resolve) => {
    let answers = 0;
    const listener = method.handler({
      metadata: {},
      peer: "test",
      pendingBytes: 0,
      send: (message) => {
        answers += (message as { requestIds: number[] }).requestIds.length;
        if (answers === 3) resolve();
      },
      end: () => {},
    });
    const requests = [{ RawScan: { startKey: utf8("a"), limit: 1 } }, { Empty: {} }, { Empty: {} }];
    listener.onMessage({ requests, requestIds: [7, 8, 9] });
  });
}

let cluster: Cluster;
let storePage = "";
let pdPage = "";

beforeAll(async () => {
  cluster = await Cluster.start({ stores: 1 });
  await cluster.client.put(utf8("k"), utf8("v"));
  const metrics = new StoreMetrics();
  const [slot] = cluster.stores;
  if (slot === undefined) throw new Error("no store");
  metrics.watch(slot.store, () => 1);
  // Counted from here on: a write, a tick, a report to PD, a timestamp.
  await cluster.client.put(utf8("k"), utf8("w"));
  slot.store.figures.listener?.logLag(3);
  await new Promise<void>((resolve, reject) => {
    slot.pd.openTso().get((error) => (error === undefined ? resolve() : reject(error)));
  });
  const [method] = slot.store.methods();
  if (method === undefined) throw new Error("no method");
  metrics.port.ended(method.definition, 0, 2);
  metrics.port.ended(method.definition, 3, 2);
  metrics.port.refused("silent connection");
  await oneBatch(metrics.watched(slot.store.methods()));
  metrics.measured(slot.engine).write(slot.engine.batch(), { sync: true }, () => {});
  storePage = await metrics.registry.metrics();
  const page = new PdMetricsPage({ version: "8.5.0", gitHash: "", connections: () => 1 });
  page.port.started(method.definition);
  page.port.ended(method.definition, 0, 2);
  await cluster.waitUntil(() => cluster.pd.metrics.samples().length > 0, 10_000, "PD counted nothing");
  pdPage = await page.text(cluster.pd);
});
afterAll(() => cluster?.close());

test("a store's metrics have TiKV's types and labels", () => {
  expect(strangers(shapesOf(storePage), known("tikv"), /^tikv_/)).toEqual([]);
});

test("PD's metrics have PD's types and labels", () => {
  expect(strangers(shapesOf(pdPage), known("pd"), /^(pd_|grpc_server_|service_)/)).toEqual([]);
});

test("what the summary dashboards begin with is there", () => {
  const store = shapesOf(storePage);
  for (const name of [
    "tikv_grpc_msg_duration_seconds",
    "tikv_grpc_msg_fail_total",
    "tikv_raftstore_append_log_duration_seconds",
    "tikv_raftstore_apply_log_duration_seconds",
    "tikv_raftstore_commit_log_duration_seconds",
    "tikv_raftstore_request_wait_time_duration_secs",
    "tikv_raftstore_store_duration_secs",
    "tikv_raftstore_raft_process_duration_secs",
    "tikv_storage_engine_async_request_duration_seconds",
    "tikv_raftstore_proposal_total",
    "tikv_raftstore_admin_cmd_total",
    "tikv_raftstore_raft_ready_handled_total",
    "tikv_raftstore_raft_sent_message_total",
    "tikv_raftstore_log_lag",
    "tikv_raftstore_check_split_total",
    "tikv_raftstore_snapshot_duration_seconds",
    "tikv_server_raft_message_recv_total",
    "tikv_server_send_snapshot_duration_seconds",
    "tikv_snapshot_size",
    "tikv_region_written_bytes",
    "tikv_engine_num_files_at_level",
    "tikv_raftstore_region_count",
    "tikv_raftstore_region_size",
    "tikv_raftstore_leader_missing",
    "tikv_raftstore_snapshot_traffic_total",
    "tikv_pd_heartbeat_message_total",
    "tikv_server_grpc_req_batch_size",
    "tikv_server_info",
    "tikv_config_raftstore",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
  ]) {
    expect([...store.keys()]).toContain(name);
  }
  const pd = shapesOf(pdPage);
  for (const name of [
    "pd_cluster_status",
    "pd_scheduler_store_status",
    "pd_regions_status",
    "pd_config_status",
    "pd_cluster_store_limit",
    "pd_scheduler_status",
    "pd_cluster_metadata",
    "pd_server_info",
    "pd_scheduler_region_heartbeat",
    "pd_scheduler_handle_region_heartbeat_duration_seconds",
    "pd_scheduler_handle_store_heartbeat_duration_seconds",
    "pd_tso_events",
    "pd_cluster_tso",
    "pd_server_handle_tso_duration_seconds",
    "pd_server_handle_tso_batch_size",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds",
    "service_member_role",
  ]) {
    expect([...pd.keys()]).toContain(name);
  }
  expect(pdPage).toMatch(/^pd_cluster_status\{type="store_up_count",engine="tikv",store="all"\} 1$/m);
  expect(pdPage).toMatch(/^pd_cluster_status\{type="region_count",engine="tikv",store="all"\} 1$/m);
});

test("durations of batched requests are counted under TiKV's names of calls", () => {
  expect(storePage).toMatch(/^tikv_grpc_msg_duration_seconds_count\{priority="normal",type="raw_get"\} 2$/m);
  expect(storePage).toMatch(
    /^tikv_grpc_msg_duration_seconds_bucket\{le="0\.00005",priority="normal",type="raw_get"\} 0$/m,
  );
});

test("what a write takes on its way is counted", () => {
  for (const name of [
    "tikv_raftstore_commit_log_duration_seconds",
    "tikv_raftstore_request_wait_time_duration_secs",
    'tikv_storage_engine_async_request_duration_seconds_count{type="write"}',
  ]) {
    const line = name.includes("{") ? name : `${name}_count`;
    const found = storePage.split("\n").find((each) => each.startsWith(`${line} `));
    expect(Number(found?.split(" ").at(-1))).toBeGreaterThanOrEqual(1);
  }
  expect(storePage).toMatch(/^tikv_raftstore_proposal_total\{type="normal"\} [1-9]/m);
  expect(storePage).toMatch(/^tikv_raftstore_log_lag_bucket\{le="4"\} [1-9]/m);
  expect(pdPage).toMatch(/^pd_server_handle_tso_batch_size_sum(\{\})? 1$/m);
});

test("batches are counted by their size, and each request of a batch by its name", () => {
  expect(storePage).toMatch(/^tikv_grpc_msg_duration_seconds_count\{priority="normal",type="raw_scan"\} 1$/m);
  expect(storePage).toMatch(/^tikv_grpc_msg_duration_seconds_count\{priority="normal",type="empty"\} 2$/m);
  expect(storePage).toMatch(/^tikv_server_grpc_req_batch_size_bucket\{le="2"\} 0$/m);
  expect(storePage).toMatch(/^tikv_server_grpc_req_batch_size_bucket\{le="4"\} 1$/m);
  expect(storePage).toMatch(/^tikv_server_grpc_req_batch_size_sum 3$/m);
});

test("a long page of PD is made in many turns, with each series once", async () => {
  const count = 5_000;
  const scraped = Array.from({ length: count }, (_, i) => ({
    name: "pd_hotcache_status",
    kind: "gauge" as const,
    labels: { store: `store-${i}`, type: 'a "b"' },
    value: i,
  }));
  let turns = 0;
  let isMade = false;
  const turn = (): void => {
    turns += 1;
    if (!isMade) setImmediate(turn);
  };
  setImmediate(turn);
  const page = await new PdMetricsPage({ version: "", gitHash: "", connections: () => 0 }).text({
    metrics: cluster.pd.metrics,
    clusterId: 1n,
    isServing: true,
    scrape: () => [...scraped, { ...(scraped[7] as (typeof scraped)[number]), value: 70 }],
    handleHttp: (_request, reply) => reply(200, "application/json", "{}"),
  });
  isMade = true;
  expect(turns).toBeGreaterThan(count / 500);
  const lines = page.split("\n").filter((line) => line.startsWith("pd_hotcache_status{"));
  expect(lines).toHaveLength(count);
  expect(lines[7]).toBe('pd_hotcache_status{store="store-7",type="a \\"b\\""} 70');
  expect(page.match(/^# TYPE pd_hotcache_status gauge$/gm)).toHaveLength(1);
});

test("stores that are buried or silent are counted as what they are, and the buried have no figures", async () => {
  const nowNs = Date.now() * 1e6;
  const entry = (id: number, name: string, state: number, more = {}) => ({
    store: { id, address: `s${id}:1`, state_name: name, state, last_heartbeat: nowNs, ...more },
    status: { capacity: "1KiB", available: "1KiB", slow_score: id === 1 ? 90 : 1 },
  });
  const stores = [
    entry(1, "Up", 0, { node_state: 1 }),
    entry(2, "Disconnected", 0, { node_state: 1, last_heartbeat: nowNs - 700_000 * 1e6 }),
    entry(3, "Offline", 1, { node_state: 2 }),
    entry(4, "Tombstone", 2, { node_state: 3 }),
  ];
  const hot = { as_leader: { 1: { total_flow_bytes: 5, total_flow_keys: 1, regions_count: 1 } } };
  const page = await new PdMetricsPage({ version: "", gitHash: "", connections: () => 0 }).text({
    metrics: cluster.pd.metrics,
    clusterId: 1n,
    isServing: true,
    scrape: () => [
      {
        name: "pd_cluster_status",
        kind: "gauge",
        labels: { type: "store_low_space_count", engine: "tikv", store: "all" },
        value: 2,
      },
    ],
    handleHttp({ path, query }, reply) {
      const states = query["state"] ?? ["0", "1"];
      const asked = stores.filter((each) => states.includes(String(each.store.state)));
      const body = path.endsWith("/stores")
        ? { stores: asked }
        : path.endsWith("/regions/write")
          ? hot
          : undefined;
      reply(body === undefined ? 404 : 200, "application/json", JSON.stringify(body ?? ""));
    },
  });
  const count = (type: string): string | undefined =>
    new RegExp(`^pd_cluster_status\\{type="store_${type}_count",[^}]*\\} (\\d+)$`, "m").exec(page)?.[1];
  const kinds = ["up", "disconnected", "unhealth", "offline", "tombstone", "slow", "low_space"];
  expect(kinds.map(count)).toEqual(["1", "0", "1", "1", "1", "1", "2"]);
  expect(["preparing", "serving", "removing", "removed"].map(count)).toEqual(["0", "2", "1", "1"]);
  expect(page).not.toMatch(/^pd_scheduler_store_status\{address="s4:1"/m);
  expect(page).toMatch(
    /^pd_hotspot_status\{address="s1:1",store="1",type="total_written_bytes_as_leader"\} 5$/m,
  );
});
