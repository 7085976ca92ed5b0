/**
 * The cluster, its PDs, versions, health, garbage collection points and probes over HTTP. (pd-rules 11.43 to 11.47)
 */
import { fromUtf8 } from "../base/index.js";
import { formatInstant } from "./duration.js";
import { FOREVER, GC_WORKER } from "./gc-state.js";
import type { HttpCall } from "./http-call.js";
import { NO_MIN_RESOLVED } from "./min-resolved-timestamp.js";
import { type Route, route } from "./http-route.js";
import { unescapeToBytes } from "./http-text.js";
import { PD_GIT_HASH, PD_VERSION } from "./version.js";

const empty = (call: HttpCall): void => call.text(200, "");

/** Calls are neither audited nor limited. */
const MIDDLEWARE = {
  audit: { "enable-audit": "false" },
  "rate-limit": { "enable-rate-limit": "false", "limiter-config": {} },
  "grpc-rate-limit": { "enable-grpc-rate-limit": "false", "grpc-limiter-config": {} },
};
const NO_PROMETHEUS = {
  status: "error",
  errorType: "proxy",
  error: "metric query failed: ask Prometheus itself, this PD has no address of it",
};

export const CLUSTER_ROUTES: readonly Route[] = [
  route(
    "GET",
    "/cluster",
    (call) => {
      const { context, cluster, config } = call.parts;
      const max = cluster.isBootstrapped ? cluster.meta.maxPeerCount : config.maxReplicas;
      call.json({ id: context.clusterId, max_peer_count: max });
    },
    "leader",
  ),
  route("ANY", "/cluster/status", clusterStatus, "leader"),
  route(
    "GET",
    "/version",
    (call) => {
      call.json({ version: `v${PD_VERSION}`, build_time: "", hash: PD_GIT_HASH, branch: "" });
    },
    "any",
  ),
  route(
    "GET",
    "/status",
    (call) => {
      call.json({
        build_ts: "None",
        version: `v${PD_VERSION}`,
        git_hash: PD_GIT_HASH,
        start_timestamp: Math.floor(call.parts.startedWallMs / 1000),
        kernel_type: "Classic",
      });
    },
    "any",
  ),
  route("GET", "/ping", empty, "any"),
  route("GET", "/gc/safepoint", safePoints, "leader"),
  route("DELETE", "/gc/safepoint/{service}", deleteSafePoint, "leader"),
  route("GET", "/min-resolved-ts", minResolvedTimestamp),
  route("GET", "/min-resolved-ts/{store}", minResolvedOfStore),
  route("GET", "/replication_mode/status", (call) => {
    const sync = { label_key: "", state: "", acid_consistent: false };
    call.json({ mode: "majority", "dr-auto-sync": sync });
  }),
  route("GET", "/regions/keyspace/id/{id}", (call) => {
    const id = call.idParam(0);
    if (id !== undefined) call.fail(400, "[PD:keyspace:ErrKeyspaceNotFound]keyspace does not exist");
  }),
  route("GET", "/service-middleware/config", (call) => call.json(MIDDLEWARE), "any"),
  ...["", "/rate-limit", "/grpc-rate-limit"].map((path) =>
    route(
      "POST",
      `/service-middleware/config${path}`,
      (call) => call.fail(400, "rate limits cannot be set in this version"),
      "any",
    ),
  ),
  // PD passes these on to Prometheus, of which this one knows nothing.
  ...["query", "query_range"].flatMap((name) =>
    (["GET", "POST"] as const).map((method) =>
      route(method, `/metric/${name}`, (call) => call.json(NO_PROMETHEUS, 502), "any"),
    ),
  ),
  { method: "GET", path: "/pd/ping", scope: "any", handle: empty },
  { method: "GET", path: "/pd/api/v2/ready", scope: "leader", handle: empty },
  {
    method: "GET",
    path: "/health",
    scope: "any",
    handle: (call) => {
      const healthy = call.parts.leadership.isServing();
      const reason = healthy ? "" : "NOT SERVING";
      call.text(healthy ? 200 : 503, JSON.stringify({ health: String(healthy), reason }));
    },
  },
];

function clusterStatus(call: HttpCall): void {
  const { cluster } = call.parts;
  const { isBootstrapped } = cluster;
  call.json({
    raft_bootstrap_time: isBootstrapped ? formatInstant(cluster.bootstrapWallMs) : undefined,
    is_initialized: isBootstrapped && cluster.isInitialized,
    replication_status: "",
  });
}

/** Barriers appear as service safe points, and the collector itself as one that never expires. (12.12) */
function safePoints(call: HttpCall): void {
  const { gc } = call.parts;
  const services = gc.barriers().map((barrier) => ({
    service_id: barrier.id,
    expired_at: barrier.expiresAt,
    safe_point: barrier.timestamp,
  }));
  services.push({ service_id: GC_WORKER, expired_at: FOREVER, safe_point: gc.txnSafePoint });
  const now = gc.nowSeconds();
  const points = services.filter((service) => service.expired_at > now).map(({ safe_point }) => safe_point);
  const least = points.reduce((left, right) => (right < left ? right : left));
  call.json({
    service_gc_safe_points: services,
    min_service_gc_safe_point: least === 0n ? undefined : least,
    gc_safe_point: gc.gcSafePoint,
  });
}

function deleteSafePoint(call: HttpCall): void {
  const name = unescapeToBytes(call.param(0), false);
  if (name === undefined) return call.fail(400, "the name of the service is malformed");
  const service = fromUtf8(name);
  call.parts.gc.deleteBarrier(service, (result) => {
    if (result.kind === "refused") return call.fail(500, result.reason);
    call.json("Delete service GC safepoint successfully.");
  });
}

/** `?scope=cluster` tells of each store besides, `?scope=1,2` the least of those. (12.20) */
function minResolvedTimestamp(call: HttpCall): void {
  const { minResolved, cluster } = call.parts;
  const scope = call.query("scope") ?? "";
  const named = scope === "" || scope === "cluster" ? [] : scope.split(",");
  const wrong = named.find((text) => !/^[0-9]{1,15}$/.test(text));
  if (wrong !== undefined) return call.fail(400, `invalid store id ${wrong}`);
  const ids = scope === "cluster" ? [...cluster.stores.keys()] : named.map(Number);
  const stores = new Map(ids.map((id) => [id, minResolved.ofStore(id)]));
  minResolved.ofCluster((error, ofCluster) => {
    if (error !== undefined) return call.fail(503, error.message);
    const least = [...stores.values()].reduce(
      (left, right) => (right < left ? right : left),
      NO_MIN_RESOLVED,
    );
    call.json({
      ...resolvedJson(call, named.length > 0 ? least : ofCluster),
      stores_min_resolved_ts: stores.size === 0 ? null : Object.fromEntries(stores),
    });
  });
}

function minResolvedOfStore(call: HttpCall): void {
  const id = call.idParam(0);
  if (id !== undefined) call.json(resolvedJson(call, call.parts.minResolved.ofStore(id)));
}

function resolvedJson(call: HttpCall, timestamp: bigint): Record<string, unknown> {
  const isRealTime = call.parts.minResolved.intervalMs > 0;
  return {
    is_real_time: isRealTime ? true : undefined,
    min_resolved_ts: timestamp,
    persist_interval: call.parts.config.section("pd-server")["min-resolved-ts-persistence-interval"],
  };
}
