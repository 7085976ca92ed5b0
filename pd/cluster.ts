/**
 * The cluster as PD sees it: bootstrap, stores, regions. What must not be lost is stored first and changed in memory
 * afterwards; changes of stores run one at a time, so that two stores cannot take one address at once.
 * (pd-rules 1.4, 3, 4)
 */
import { type Engine, type Env, fromUtf8, must } from "../base/index.js";
import { metapb, type pdpb } from "../proto/index.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import type { MetaKeys } from "./keys.js";
import { Serial } from "./serial.js";
import type { MetaEntry, MetaOperation, MetaWatch } from "./meta-store.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";
import { RuleManager } from "./placement/rule-manager.js";
import { RegionLabeler } from "./region-labeler.js";
import { type RegionInfo, type RegionMeta, storedRegion, voters } from "./region-info.js";
import { EngineRegions, MetaStoreRegions, RegionStorage } from "./region-storage.js";
import { type PutResult, Regions } from "./regions.js";
import { SAVE_INTERVAL_MS, StoreInfo } from "./store-info.js";
import { together } from "./together.js";
import {
  decodeClusterMeta,
  decodeStoreMeta,
  encodeClusterMeta,
  encodeRegionMeta,
  encodeStoreMeta,
} from "./wire.js";

const PREPARE_TIMEOUT_MS = 300_000;
const PREPARED_SHARE = 0.9;
const FEW_REGIONS = 100;
export const NS_PER_MS = 1_000_000n;

/** What of the map of regions outlives a term of leadership. */
export interface RegionMap {
  readonly regions: Regions;
  readonly storage: RegionStorage;
  isLoaded: boolean;
}

/** A map that is kept on this disk. */
export const mapOn = (env: Env, engine: Engine, keys: MetaKeys): RegionMap => ({
  regions: new Regions(),
  storage: new RegionStorage(env, new EngineRegions(engine, keys)),
  isLoaded: false,
});

type Rows = (readonly [key: Uint8Array, value: Uint8Array])[];

export type ClusterCallback = (error: Error | undefined) => void;

export class Cluster {
  readonly context: PdContext;
  readonly regions: Regions;
  readonly stores: Map<number, StoreInfo> = new Map();
  /** Changes of stores, one after the other. */
  readonly storeChanges: Serial = new Serial();
  readonly #map: RegionMap;
  /** Told of each region whose record says something new. */
  onRegionChanged: ((region: RegionInfo) => void) | undefined;
  readonly rules: RuleManager;
  readonly labels: RegionLabeler;
  /** A region gave way to newer ones, or was taken out by hand. */
  onRegionRemoved: (regionId: number) => void = () => {};
  #meta: metapb.Cluster | undefined;
  #bootstrapWallMs = 0;
  #startedMs = 0;
  #prepared = false;

  constructor(context: PdContext, map?: RegionMap) {
    this.context = context;
    this.#map = map ?? {
      regions: new Regions(),
      storage: new RegionStorage(context.env, new MetaStoreRegions(context)),
      isLoaded: false,
    };
    this.regions = this.#map.regions;
    this.rules = new RuleManager(context, this);
    this.labels = new RegionLabeler(context);
  }

  get isBootstrapped(): boolean {
    return this.#meta !== undefined;
  }

  get meta(): metapb.Cluster {
    return must(this.#meta, "the cluster is not bootstrapped");
  }

  get bootstrapWallMs(): number {
    return this.#bootstrapWallMs;
  }

  nowMs(): number {
    return this.context.env.clock.monotonicMs();
  }

  wallNs(): bigint {
    return BigInt(Math.floor(this.context.env.clock.wallMs() * 1000)) * 1000n;
  }

  store(id: number): StoreInfo | undefined {
    return this.stores.get(id);
  }

  /**
   * Reads everything an earlier PD stored. Without a stored cluster nothing happens: it waits for Bootstrap.
   */
  load(callback: ClusterCallback): void {
    const { metaStore, keys } = this.context;
    this.#startedMs = this.nowMs();
    let stored: MetaEntry | undefined;
    let time: MetaEntry | undefined;
    const [stores, weights]: Rows[] = [[], []];
    together(
      [
        (done) =>
          metaStore.get(keys.cluster, (error, entry) => {
            stored = entry;
            done(error);
          }),
        (done) =>
          metaStore.get(keys.bootstrapTime, (error, entry) => {
            time = entry;
            done(error);
          }),
        (done) => readPrefix(metaStore, keys.stores, (...row) => stores.push(row), done),
        (done) => readPrefix(metaStore, keys.storeWeights, (...row) => weights.push(row), done),
      ],
      (error) => {
        if (error !== undefined || stored === undefined) return callback(error);
        const meta = decodeClusterMeta(stored.value);
        this.#bootstrapWallMs = time === undefined ? 0 : Number(decodeUint64(time.value) / NS_PER_MS);
        this.#takeStores(stores, weights);
        this.#loadRegions((regionError) => {
          if (regionError === undefined) this.#meta = meta;
          callback(regionError);
        });
      },
    );
  }

  stop(callback: () => void): void {
    this.#map.storage.flush(callback);
  }

  /**
   * One transaction, only if there is no cluster: two stores that bootstrap at once must not make two first
   * regions.
   */
  bootstrap(store: metapb.Store, region: RegionMeta, callback: ClusterCallback): void {
    const { keys, config } = this.context;
    const wallNs = this.wallNs();
    const meta = metapb.Cluster.create({ maxPeerCount: config.maxReplicas });
    const operations: MetaOperation[] = [
      { kind: "put", key: keys.cluster, value: encodeClusterMeta(meta) },
      { kind: "put", key: keys.bootstrapTime, value: encodeUint64(wallNs) },
      { kind: "put", key: keys.store(store.id), value: encodeStoreMeta(store) },
      { kind: "put", key: keys.region(region.id), value: encodeRegionMeta(region) },
    ];
    const notBootstrapped = { kind: "createRevision", key: keys.cluster, equals: 0 } as const;
    writeGuarded(
      this.context,
      operations,
      (error) => {
        if (error !== undefined) return this.#bootstrappedAfterAll(store, region, error, callback);
        this.#bootstrapWallMs = Number(wallNs / NS_PER_MS);
        // A new cluster: there is nothing that an earlier PD stored.
        this.#map.isLoaded = true;
        this.addStore(new StoreInfo(store, this.nowMs()));
        this.putRegion(storedRegion(region));
        this.#meta = meta;
        callback(undefined);
      },
      [notBootstrapped],
    );
  }

  /** The answer may be lost, this time or the last, and the cluster be there: then it is taken as it is stored. */
  #bootstrappedAfterAll(
    store: metapb.Store,
    region: RegionMeta,
    failed: Error,
    callback: ClusterCallback,
  ): void {
    this.load((error) => {
      if (error !== undefined || !this.isBootstrapped) return callback(failed);
      // By the same store it is the one that was asked for.
      if (this.store(store.id)?.meta.address !== store.address) return callback(failed);
      if (this.regions.count === 0) this.putRegion(storedRegion(region));
      callback(undefined);
    });
  }

  putMeta(meta: metapb.Cluster, callback: ClusterCallback): void {
    const operations: MetaOperation[] = [
      { kind: "put", key: this.context.keys.cluster, value: encodeClusterMeta(meta) },
    ];
    writeGuarded(this.context, operations, (error) => {
      if (error === undefined) this.#meta = meta;
      callback(error);
    });
  }

  addStore(store: StoreInfo): void {
    store.lastSavedMs = this.nowMs();
    this.stores.set(store.id, store);
  }

  /** Stores the metadata of a store as given, before memory changes. */
  saveStore(meta: metapb.Store, callback: ClusterCallback): void {
    const operations: MetaOperation[] = [
      { kind: "put", key: this.context.keys.store(meta.id), value: encodeStoreMeta(meta) },
    ];
    writeGuarded(this.context, operations, callback);
  }

  forgetStore(id: number, callback: ClusterCallback): void {
    writeGuarded(this.context, [{ kind: "delete", key: this.context.keys.store(id) }], (error) => {
      if (error === undefined) this.stores.delete(id);
      callback(error);
    });
  }

  /** Takes in the figures of a heartbeat; the metadata reaches the meta store only now and then. (3.10) */
  heardFrom(store: StoreInfo, stats: pdpb.StoreStats): void {
    store.stats = stats;
    store.lastHeartbeatMs = this.nowMs();
    store.meta.lastHeartbeat = this.wallNs();
    if (this.nowMs() - store.lastSavedMs <= SAVE_INTERVAL_MS) return;
    store.lastSavedMs = this.nowMs();
    this.saveStore(store.meta, (error) => {
      if (error !== undefined) {
        this.context.env.log.warn("storing a store failed", { store: store.id, error: error.message });
      }
    });
  }

  putRegion(region: RegionInfo): PutResult {
    const result = this.regions.put(region);
    if (result.kind === "stale") return result;
    for (const removed of result.removed) {
      this.#map.storage.delete(removed.meta.id);
      this.onRegionRemoved(removed.meta.id);
    }
    if (result.save) this.#map.storage.save(result.region.meta);
    if (this.onRegionChanged !== undefined && (result.save || result.sync))
      this.onRegionChanged(result.region);
    return result;
  }

  removeRegion(id: number): void {
    if (this.regions.remove(id) === undefined) return;
    this.#map.storage.delete(id);
    this.onRegionRemoved(id);
  }

  /** Stores that exist for users: all but buried ones. */
  liveStores(): StoreInfo[] {
    return [...this.stores.values()].filter((store) => !store.isRemoved);
  }

  /**
   * Whether enough is known for checkers and schedulers to act; once true it stays so. After a restart the leaders
   * and pending peers are unknown: a plan on stale data would add replicas that exist. A fresh cluster has nothing
   * from storage, so its first heartbeats open the gate. (1.26)
   */
  get isPrepared(): boolean {
    if (this.#prepared) return true;
    if (!this.isBootstrapped) return false;
    this.#prepared = this.nowMs() - this.#startedMs >= PREPARE_TIMEOUT_MS || this.#enoughHeard();
    return this.#prepared;
  }

  #enoughHeard(): boolean {
    const { regions } = this;
    if (regions.count === 0 || regions.freshCount < PREPARED_SHARE * regions.count) return false;
    for (const store of this.stores.values()) {
      if (!store.isUp) continue;
      const onStore = regions.onStore(store.id);
      const reported = store.stats?.regionCount ?? 0;
      if (onStore.freshCount < PREPARED_SHARE * reported) return false;
      if (onStore.freshCount < PREPARED_SHARE * onStore.regionCount) return false;
    }
    return true;
  }

  /** More than one region, or the first one complete. (1.24) */
  get isInitialized(): boolean {
    if (this.regions.count > 1) return true;
    const first = this.regions.find(new Uint8Array(0));
    if (first === undefined) return false;
    return voters(first).length >= this.context.config.maxReplicas && first.pendingPeers.length === 0;
  }

  /**
   * A preparing store serves at once while the cluster is small, else when it holds most of its share or is old
   * enough. (3.16)
   */
  isReadyToServe(store: StoreInfo, thresholdMib: number): boolean {
    if (this.regions.count < FEW_REGIONS) return true;
    const uptimeMs = this.context.env.clock.wallMs() - store.meta.startTimestamp * 1000;
    if (uptimeMs >= this.context.config.number("schedule.max-store-preparing-time")) return true;
    return this.isPrepared && this.regions.onStore(store.id).regionSizeMib >= thresholdMib;
  }

  #takeStores(stores: Rows, weights: Rows): void {
    const { keys, env } = this.context;
    const wallMs = env.clock.wallMs();
    for (const [, value] of stores) {
      const meta = decodeStoreMeta(value);
      const silentMs = wallMs - Number(meta.lastHeartbeat / NS_PER_MS);
      // A wall clock that went back must not make a heartbeat of the future.
      this.addStore(new StoreInfo(meta, this.nowMs() - Math.max(0, silentMs)));
    }
    for (const [key, value] of weights) {
      const [id, kind] = fromUtf8(key.subarray(keys.storeWeights.length)).split("/");
      const store = this.stores.get(Number(id));
      if (store === undefined) continue;
      if (kind === "leader") store.leaderWeight = Number(fromUtf8(value));
      else store.regionWeight = Number(fromUtf8(value));
    }
  }

  /** Keeps the cluster's metadata and stores as the leader stores them, for the time this PD follows. */
  followStored(): MetaWatch {
    const { metaStore, keys } = this.context;
    const start = keys.cluster;
    const end = start.slice();
    end[end.length - 1] = (end.at(-1) as number) + 1;
    const isBelow = (key: Uint8Array, prefix: Uint8Array): boolean =>
      prefix.every((byte, i) => key[i] === byte);
    return metaStore.watch(start, end, 0, {
      onEvents: (events) => {
        for (const event of events) {
          const key = event.kind === "put" ? event.entry.key : event.key;
          if (event.kind === "delete") {
            if (isBelow(key, keys.stores))
              this.stores.delete(Number(fromUtf8(key.subarray(keys.stores.length))));
          } else if (key.length === start.length) this.#meta = decodeClusterMeta(event.entry.value);
          else if (isBelow(key, keys.stores)) this.#takeStored(decodeStoreMeta(event.entry.value));
        }
      },
      onCompacted: () => this.load(() => {}),
    });
  }

  /** For a PD that just lost the office and may be unable to read anything now. */
  inherit(earlier: Cluster): void {
    this.#meta = earlier.#meta;
    this.#bootstrapWallMs = earlier.#bootstrapWallMs;
    for (const [id, store] of earlier.stores) this.stores.set(id, store);
  }

  #takeStored(meta: metapb.Store): void {
    const known = this.stores.get(meta.id);
    if (known === undefined) this.addStore(new StoreInfo(meta, this.nowMs()));
    else known.meta = meta;
  }

  /** Once per process: after that the map lives on through terms of leading and following. (1.25) */
  #loadRegions(callback: ClusterCallback): void {
    if (this.#map.isLoaded) return callback(undefined);
    const stale: number[] = [];
    const visit = (meta: RegionMeta): void => {
      // What heartbeats or a leader told meanwhile says more than the disk.
      if (this.regions.byId(meta.id) !== undefined) return;
      const result = this.regions.put(storedRegion(meta));
      if (result.kind === "stale") stale.push(meta.id);
      else for (const removed of result.removed) stale.push(removed.meta.id);
    };
    const done = (error: Error | undefined): void => {
      if (error === undefined) {
        for (const id of stale) this.#map.storage.delete(id);
        this.#map.isLoaded = true;
      }
      callback(error);
    };
    this.#map.storage.load(visit, (error) => {
      if (error !== undefined || this.regions.count > 0) return done(error);
      // Nothing here so far: the first region stands with the cluster's metadata, and so did all of them in PDs before.
      const move = (meta: RegionMeta): void => {
        visit(meta);
        this.#map.storage.save(meta);
      };
      new MetaStoreRegions(this.context).load(move, done);
    });
  }
}
