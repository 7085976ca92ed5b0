/**
 * A store's figures under TiKV's metric names where TiKV has them, read when asked: counting costs the store
 * nothing.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { Store } from "../store/index.js";

export function storeRegistry(store: Store): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  gauge(registry, "tikv_raftstore_region_count", "Regions on this store", ["type"], (set) => {
    const status = store.status();
    set({ type: "region" }, Number(status["regions"]));
    set({ type: "leader" }, Number(status["leaders"]));
  });
  gauge(registry, "tikv_raftstore_snapshot_traffic_total", "Snapshots under way", ["type"], (set) => {
    const status = store.status();
    set({ type: "sending" }, Number(status["snapshotsSending"]));
    set({ type: "recving" }, Number(status["snapshotsReceiving"]));
  });
  gauge(registry, "tikv_store_size_bytes", "Disk of this store", ["type"], (set) => {
    const capacity = store.capacity();
    if (capacity === undefined) return;
    set({ type: "capacity" }, capacity.capacity);
    set({ type: "available" }, capacity.available);
    set({ type: "used" }, capacity.used);
  });
  total(registry, "raftwerk_store_turns_total", "Turns of the store", () => store.turn.turns);
  total(
    registry,
    "raftwerk_store_synced_writes_total",
    "Engine writes with fsync",
    () => store.turn.syncedWrites,
  );
  total(
    registry,
    "raftwerk_store_unsynced_writes_total",
    "Engine writes without fsync",
    () => store.turn.unsyncedWrites,
  );
  total(
    registry,
    "tikv_server_grpc_req_batch_size_sum",
    "Commands that came in batches",
    () => store.batches.requests,
  );
  total(
    registry,
    "tikv_server_grpc_req_batch_size_count",
    "Batches of commands",
    () => store.batches.messages,
  );
  const requests = new Counter({
    name: "tikv_grpc_msg_total",
    help: "Unary requests by method",
    labelNames: ["type"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [path, count] of store.requestCounts) {
        this.inc({ type: path.slice(path.lastIndexOf("/") + 1) }, count);
      }
    },
  });
  admissionMetrics(registry, store);
  registry.setDefaultLabels({ store: String(store.id) });
  void requests;
  return registry;
}

/** What is held against bounds, and what was refused because of them. */
function admissionMetrics(registry: Registry, store: Store): void {
  gauge(registry, "raftwerk_store_held_bytes", "Bytes held against a bound of the store", ["type"], (set) => {
    const { budgets, scans, answers } = store.admission;
    set({ type: "writes" }, budgets.proposals.bytes);
    set({ type: "entry_cache" }, budgets.entryCache.bytes);
    set({ type: "scans" }, scans.bytes);
    set({ type: "answers" }, answers.bytes);
  });
  const refusals = new Counter({
    name: "raftwerk_store_refused_total",
    help: "What was not taken on, by reason",
    labelNames: ["reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [reason, count] of store.admission.refusals) this.inc({ reason }, count);
      this.inc({ reason: "client streams cut off" }, store.batches.streamsCutOff);
      this.inc({ reason: "streams of another cluster" }, store.streams.strangers);
    },
  });
  void refusals;
}

type SetGauge = (labels: Record<string, string>, value: number) => void;

function gauge(
  registry: Registry,
  name: string,
  help: string,
  labelNames: string[],
  read: (set: SetGauge) => void,
): Gauge {
  return new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      read((labels, value) => this.set(labels, value));
    },
  });
}

function total(registry: Registry, name: string, help: string, read: () => number): Counter {
  return new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}
