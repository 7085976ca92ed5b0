/**
 * A store's figures under TiKV's metric names, labels and buckets where TiKV has them; what only raftwerk has begins
 * with `raftwerk_`. Most are read when asked, so that counting costs the store nothing.
 */
import { availableParallelism } from "node:os";
import { collectDefaultMetrics, Registry } from "prom-client";
import type { Engine } from "../base/index.js";
import { type BoundMethod, RPC_CODE } from "../proto/rpc.js";
import type { Store } from "../store/index.js";
import { watchBatches } from "./batch-metrics.js";
import { exponential, LightHistogram, onScrape, type Set } from "./histogram.js";
import { measuredEngine } from "./measured-engine.js";
import { aboutEngine } from "./engine-metrics.js";
import { callLabel, type PortCounters, portCounters } from "./port-metrics.js";
import type { PortObserver } from "./port-observer.js";
import { watchPeers } from "./raft-metrics.js";
import { threadCpu } from "./thread-cpu.js";

const MIB = 1 << 20;

/** The metrics of one store process. Made before the store, whose engine and methods it watches. */
export class StoreMetrics {
  readonly registry = new Registry();
  readonly #calls: LightHistogram;
  readonly #counters: PortCounters;
  readonly #append: LightHistogram;
  readonly #apply: LightHistogram;

  constructor() {
    const { registry } = this;
    collectDefaultMetrics({ register: registry });
    this.#calls = new LightHistogram({
      name: "tikv_grpc_msg_duration_seconds",
      help: "Time from a request to its answer, inside batches too",
      label: "type",
      fixed: { priority: "normal" },
      buckets: exponential(5e-5, 2, 22),
      registry,
    });
    this.#append = seconds(registry, "tikv_raftstore_append_log_duration_seconds", "Writes with fsync", 26);
    this.#apply = seconds(registry, "tikv_raftstore_apply_log_duration_seconds", "Writes without fsync", 26);
    this.#counters = portCounters(registry, "tikv_grpc_msg_fail_total");
  }

  /** The engine with its writes measured. */
  measured(engine: Engine): Engine {
    return measuredEngine(engine, (ms, synced) => (synced ? this.#append : this.#apply).observe(ms / 1000));
  }

  /** All of them in Prometheus' text form; empty if one could not be read. */
  text(callback: (text: string) => void): void {
    this.registry.metrics().then(callback, () => callback(""));
  }

  /** The methods with batches watched. */
  watched(methods: readonly BoundMethod[]): BoundMethod[] {
    return watchBatches(methods, this.#calls, this.registry);
  }

  readonly port: PortObserver = {
    started() {},
    ended: (method, code, durationMs) => {
      const type = callLabel(method.path);
      if (method.kind === "unary") this.#calls.observe(durationMs / 1000, type);
      if (code !== RPC_CODE.ok) this.#counters.failed(type);
    },
    refused: (reason) => this.#counters.refused(reason),
  };

  /** Adds what the store itself knows. */
  watch(store: Store, connections: () => number): void {
    const { registry } = this;
    const gauge = (name: string, help: string, read: (set: Set) => void): void =>
      onScrape(registry, "gauge", name, help, read);
    const counter = (name: string, help: string, read: (set: Set) => void): void =>
      onScrape(registry, "counter", name, help, read);
    aboutServer(store, connections, gauge);
    aboutRegions(store, registry, gauge);
    aboutBounds(store, gauge);
    aboutEngine(store.engine, registry);
    gauge("tikv_thread_cpu_seconds_total", "Processor time of each thread", threadCpu);
    watchPeers(store, registry);
    counter("tikv_pd_heartbeat_message_total", "Heartbeats to PD", (set) =>
      set({ type: "report" }, Number(store.status()["heartbeatsSent"])),
    );
    counter("raftwerk_store_refused_total", "Requests turned away, by reason", (set) => {
      for (const [reason, count] of store.admission.refusals) set({ reason }, count);
      set({ reason: "streams of another cluster" }, store.streams.strangers);
    });
    counter("raftwerk_store_streams_cut_off_total", "Batch streams ended for what clients did", (set) =>
      set({}, store.batches.streamsCutOff),
    );
    counter("raftwerk_store_turns_total", "Turns of the store", (set) => set({}, store.turn.turns));
    counter("raftwerk_store_synced_writes_total", "Engine writes with fsync", (set) =>
      set({}, store.turn.syncedWrites),
    );
    counter("raftwerk_store_unsynced_writes_total", "Engine writes without fsync", (set) =>
      set({}, store.turn.unsyncedWrites),
    );
  }
}

type Gauge = (name: string, help: string, read: (set: Set) => void) => void;

/** What is held against the bounds that all clients share. */
function aboutBounds({ admission }: Store, gauge: Gauge): void {
  const { budgets, scans, answers } = admission;
  gauge("raftwerk_store_held_bytes", "Bytes held against a bound of the store", (set) => {
    set({ type: "writes" }, budgets.proposals.bytes);
    set({ type: "entry_cache" }, budgets.entryCache.bytes);
    set({ type: "scans" }, scans.bytes);
    set({ type: "answers" }, answers.bytes);
  });
}

function aboutServer(store: Store, connections: () => number, gauge: Gauge): void {
  const { version, gitHash } = store.options;
  gauge("tikv_server_info", "Version", (set) => set({ version, hash: gitHash }, 1));
  gauge("tikv_server_cpu_cores_quota", "Cores of this machine", (set) => set({}, availableParallelism()));
  gauge("tikv_server_memory_usage", "Resident bytes", (set) => set({}, process.memoryUsage.rss()));
  gauge(
    "tikv_raftstore_slow_score",
    "1 is the best, 100 the worst: by synced writes of half a second",
    (set) => set({ type: "disk" }, store.slowScore.value),
  );
  gauge("raftwerk_port_connections", "Open connections of clients and stores", (set) =>
    set({}, connections()),
  );
  gauge("tikv_store_size_bytes", "Disk of this store", (set) => {
    const figures = store.capacity();
    if (figures === undefined) return;
    set({ type: "capacity" }, figures.capacity);
    set({ type: "available" }, figures.available);
    set({ type: "used" }, figures.used);
  });
  gauge("tikv_config_raftstore", "Settings that are numbers", (set) => {
    for (const [name, value] of Object.entries(store.options.config)) {
      if (typeof value === "number") {
        set({ name: name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) }, value);
      }
    }
  });
}

function aboutRegions(store: Store, registry: Registry, gauge: Gauge): void {
  const sizes = new LightHistogram({
    name: "tikv_raftstore_region_size",
    help: "Approximate bytes of the regions led here, observed at each scrape",
    buckets: exponential(MIB, 2, 20),
    registry,
  });
  const keys = new LightHistogram({
    name: "tikv_raftstore_region_keys",
    help: "Approximate keys of the regions led here, observed at each scrape",
    buckets: exponential(1, 2, 20),
    registry,
  });
  gauge("tikv_raftstore_region_count", "Regions on this store", (set) => {
    let leaders = 0;
    for (const peer of store.peers.all()) {
      if (!peer.isLeader) continue;
      leaders++;
      sizes.observe(peer.approximateBytes);
      keys.observe(peer.approximateKeys);
    }
    set({ type: "region" }, store.peers.size);
    set({ type: "leader" }, leaders);
  });
  gauge("tikv_raftstore_hibernated_peer_state", "Peers with and without ticks", (set) => {
    const { quietCount } = store.quiet;
    set({ state: "hibernated" }, quietCount);
    set({ state: "awaken" }, store.peers.size - quietCount);
  });
  gauge("tikv_raftstore_leader_missing", "Peers that know no leader", (set) => {
    let missing = 0;
    for (const peer of store.peers.all()) if (peer.leaderId === 0) missing++;
    set({}, missing);
  });
  gauge("tikv_raftstore_snapshot_traffic_total", "Snapshots under way", (set) => {
    const status = store.status();
    set({ type: "sending" }, Number(status["snapshotsSending"]));
    set({ type: "receiving" }, Number(status["snapshotsReceiving"]));
  });
}

const seconds = (registry: Registry, name: string, help: string, buckets: number): LightHistogram =>
  new LightHistogram({ name, help, buckets: exponential(1e-5, 2, buckets), registry });
