/**
 * A cluster without streams, timers or disk, for tests of one decision: stores and regions are put in by hand, the
 * classes that decide are the real ones. Tests in milliseconds.
 */
import { must, utf8 } from "../../base/index.js";
import { metapb, type pdpb } from "../../proto/index.js";
import { Cluster } from "../cluster.js";
import { PdConfig } from "../config.js";
import type { PdContext } from "../context.js";
import { DecisionNotes } from "../decision-notes.js";
import { HeartbeatStreams } from "../heartbeat-streams.js";
import { IdAllocator } from "../id-allocator.js";
import { MetaKeys } from "../keys.js";
import { SoleLeadership } from "../leadership.js";
import { PdMetrics } from "../metrics.js";
import { OperatorController } from "../operator-controller.js";
import type { Operator } from "../operator.js";
import { type Rule, ruleFromJson } from "../placement/rule.js";
import type { RuleChange } from "../placement/rule-manager.js";
import { NO_FLOW, type Peer, type PeerRole, type RegionFlow, type RegionInfo } from "../region-info.js";
import { SchedulingView } from "../scheduling-view.js";
import { stepText } from "../step-command.js";
import { StoreInfo } from "../store-info.js";
import { EmbeddedMetaStore } from "../embedded-meta-store.js";
import { FakeEnv } from "./fake-env.js";
import { MemoryEngine } from "./memory-engine.js";
import { storeMessage } from "./harness.js";

export interface MockRegion {
  readonly leader?: number;
  readonly sizeMib?: number;
  readonly keys?: number;
  readonly version?: number;
  readonly confVer?: number;
  readonly term?: number;
  /** Stores whose peer is reported so. */
  readonly pending?: readonly number[];
  readonly down?: readonly number[];
  readonly roles?: Readonly<Record<number, PeerRole>>;
  readonly start?: string;
  readonly end?: string;
  readonly flow?: Partial<RegionFlow>;
}

const GIB = 2 ** 30;

export class MockCluster {
  readonly env = new FakeEnv();
  readonly config = new PdConfig();
  readonly metrics = new PdMetrics();
  readonly cluster: Cluster;
  readonly controller: OperatorController;
  readonly notes: DecisionNotes;
  readonly context: PdContext;
  /** Peer ids: a thousand a region and the store's id, unless a builder made them. */
  constructor(config: Readonly<Record<string, unknown>> = {}) {
    const engine = new MemoryEngine(this.env);
    let metaStore: EmbeddedMetaStore | undefined;
    EmbeddedMetaStore.open(this.env, engine, (_error, store) => {
      metaStore = store;
    });
    this.env.settle();
    const store = must(metaStore, "no meta store");
    const keys = new MetaKeys(1n);
    const leadership = new SoleLeadership(this.env, store, keys, utf8("me"), () => {});
    leadership.campaign(() => {});
    this.env.settle();
    const ids = new IdAllocator(this.env, store, keys, leadership);
    ids.rebase(() => {});
    this.env.settle();
    const { env, metrics } = this;
    this.config.clusterVersion = "8.5.0";
    for (const [name, value] of Object.entries(config)) this.set(name, value);
    this.context = {
      env,
      clusterId: 1n,
      keys,
      metaStore: store,
      leadership,
      ids,
      config: this.config,
      metrics,
    };
    this.cluster = new Cluster(this.context);
    const streams = new HeartbeatStreams(this.context);
    this.controller = new OperatorController((running) => new SchedulingView(this.cluster, running), streams);
    this.notes = new DecisionNotes(() => env.clock.wallMs());
    this.cluster.rules.load(() => {});
    this.env.settle();
  }

  get view(): SchedulingView {
    return this.controller.view;
  }

  /** By name, in whichever section it is. */
  set(name: string, value: unknown): void {
    const section = must(PdConfig.sectionOf(name), () => `no setting ${name}`);
    const change = this.config.set(section, name, value);
    if (change.kind === "refused") throw new Error(change.reason);
  }

  addStore(id: number, labels: Readonly<Record<string, string>> = {}, more: metapb.IStore = {}): StoreInfo {
    const list = Object.entries(labels).map(([key, value]) => ({ key, value }));
    const meta = metapb.Store.create({ ...storeMessage(id), nodeState: 1, ...more, labels: list });
    const store = new StoreInfo(meta, this.env.clock.monotonicMs());
    store.stats = { capacity: 100 * GIB, available: 80 * GIB, usedSize: 10 * GIB } as StoreInfo["stats"];
    this.cluster.addStore(store);
    return store;
  }

  addStores(...ids: readonly number[]): void {
    for (const id of ids) this.addStore(id);
  }

  /** Changes figures of a store's last heartbeat. */
  setStats(id: number, stats: Partial<pdpb.StoreStats>): void {
    this.store(id).stats = Object.assign({}, this.store(id).stats, stats) as pdpb.StoreStats;
  }

  store(id: number): StoreInfo {
    return must(this.cluster.store(id), () => `no store ${id}`);
  }

  /** Last heard from so long ago. */
  silence(id: number, ms: number): void {
    this.store(id).lastHeartbeatMs = this.env.clock.monotonicMs() - ms;
  }

  peer(regionId: number, storeId: number, role: PeerRole = "voter"): Peer {
    return { id: regionId * 1000 + storeId, storeId, role, isWitness: false };
  }

  /** The first store leads unless said otherwise. Without keys: the whole key space. */
  region(id: number, stores: readonly number[], more: MockRegion = {}): RegionInfo {
    const peers = stores.map((storeId) => this.peer(id, storeId, more.roles?.[storeId]));
    const on = (list: readonly number[] = []): Peer[] => peers.filter((peer) => list.includes(peer.storeId));
    const leaderStore = more.leader ?? stores[0];
    return {
      meta: {
        id,
        startKey: utf8(more.start ?? ""),
        endKey: utf8(more.end ?? ""),
        epoch: { confVer: more.confVer ?? 1, version: more.version ?? 1 },
        peers,
      },
      leader: peers.find((peer) => peer.storeId === leaderStore),
      term: more.term ?? 5,
      downPeers: on(more.down).map((peer) => ({ peer, downSeconds: 7200 })),
      pendingPeers: on(more.pending),
      sizeMib: more.sizeMib ?? 10,
      keys: more.keys ?? 1000,
      flow: { ...NO_FLOW, ...more.flow },
      fromStorage: false,
    };
  }

  put(id: number, stores: readonly number[], more: MockRegion = {}): RegionInfo {
    const region = this.region(id, stores, more);
    const result = this.cluster.putRegion(region);
    if (result.kind === "stale") throw new Error(result.reason);
    return region;
  }

  /** Regions 1.. side by side over the whole key space, each on the given stores. */
  putMany(placements: readonly (readonly number[])[], more: MockRegion = {}): RegionInfo[] {
    const key = (i: number): string => (i === 0 || i === placements.length ? "" : String(i).padStart(6, "0"));
    return placements.map((stores, i) =>
      this.put(i + 1, stores, { ...more, start: key(i), end: key(i + 1) }),
    );
  }

  rule(json: Readonly<Record<string, unknown>>): Rule {
    const rule = ruleFromJson({
      group_id: "pd",
      start_key: "",
      end_key: "",
      role: "voter",
      count: 1,
      ...json,
    });
    if (typeof rule === "string") throw new Error(rule);
    return rule;
  }

  /** Instead of everything there was. */
  setRules(...rules: readonly Readonly<Record<string, unknown>>[]): RuleChange {
    let changed: RuleChange | undefined;
    const setRules = rules.map((json) => this.rule(json));
    const deleteRules = this.cluster.rules
      .rules()
      .filter((old) => !setRules.some((rule) => rule.id === old.id && rule.groupId === old.groupId));
    this.cluster.rules.change({ setRules, deleteRules }, (change) => {
      changed = change;
    });
    this.env.settle();
    return must(changed, "the rules were not changed");
  }
}

/** Ids of peers made by builders are left out. */
export const stepsOf = (operator: Operator): string[] =>
  operator.steps.map((step) => stepText(step).replaceAll(/peer [0-9]+/g, "peer"));

export const times = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);
