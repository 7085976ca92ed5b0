/** Everything PD counts from heartbeats: figures of stores, hot peers, regions that need attention. (pd-rules 10) */
import type { pdpb } from "../../proto/index.js";
import type { Peer, RegionFlow, RegionInfo } from "../region-info.js";
import type { SchedulingView } from "../scheduling-view.js";
import type { StoreInfo } from "../store-info.js";
import { HotBuckets } from "./hot-buckets.js";
import { HOT_READ, HOT_WRITE, type HotPeer, HotPeerCache } from "./hot-peer-cache.js";
import type { Rates } from "./rates.js";
import { RegionKinds } from "./region-kinds.js";
import { type Direction, intervalSeconds, readQueries, StoreFigures } from "./store-figures.js";

const storeIdsOf = (peers: readonly Peer[]): number[] => peers.map((peer) => peer.storeId);

export class Statistics {
  readonly write: HotPeerCache = new HotPeerCache(HOT_WRITE);
  readonly read: HotPeerCache = new HotPeerCache(HOT_READ);
  readonly kinds: RegionKinds;
  readonly buckets: HotBuckets = new HotBuckets();
  readonly #view: SchedulingView;
  readonly #figures = new Map<number, StoreFigures>();

  constructor(view: SchedulingView) {
    this.#view = view;
    this.kinds = new RegionKinds(view);
  }

  hot(direction: Direction): HotPeerCache {
    return direction === "read" ? this.read : this.write;
  }

  figures(storeId: number): StoreFigures {
    let figures = this.#figures.get(storeId);
    if (figures === undefined) {
      figures = new StoreFigures();
      this.#figures.set(storeId, figures);
    }
    return figures;
  }

  get #hitsThreshold(): number {
    return this.#view.config.number("schedule.hot-region-cache-hits-threshold");
  }

  /** Hot for long enough to be shown and scheduled. (10.12) */
  hotPeers(direction: Direction, storeId: number): HotPeer[] {
    return this.hot(direction).hotPeers(storeId, this.#hitsThreshold, this.#view.nowMs());
  }

  /** Balance, scatter and merge leave such regions to the hot-region scheduler. */
  isRegionHot(regionId: number): boolean {
    const degree = this.#hitsThreshold;
    return this.write.isRegionHot(regionId, degree) || this.read.isRegionHot(regionId, degree);
  }

  onStoreHeartbeat(store: StoreInfo, stats: pdpb.StoreStats): void {
    const figures = this.figures(store.id);
    figures.observe(stats);
    const seconds = intervalSeconds(stats.interval);
    if (!figures.reportsPeers || seconds <= 0) return;
    const nowMs = this.#view.nowMs();
    const reported = new Set<number>();
    for (const peer of stats.peerStats) {
      const region = this.#view.cluster.regions.byId(peer.regionId);
      if (region === undefined || !region.meta.peers.some((other) => other.storeId === store.id)) continue;
      reported.add(peer.regionId);
      const cpu = peer.cpuStats?.UnifiedRead ?? 0;
      const amounts: Rates = [peer.readBytes, peer.readKeys, readQueries(peer.queryStats), cpu * seconds];
      this.#report(this.read, region, store.id, storeIdsOf(region.meta.peers), amounts, seconds, nowMs);
    }
    this.read.reportCold(store.id, reported, seconds, nowMs);
  }

  /** The flow is that of the heartbeat: a record that did not change keeps an older one. */
  onRegionHeartbeat(
    region: RegionInfo,
    previous: RegionInfo | undefined,
    flow: RegionFlow = region.flow,
  ): void {
    this.#flow(region, previous, flow);
    // Kinds of an unchanged record may change too: by a store that leaves, by other rules.
    this.kinds.observe(region);
    if (previous === undefined || previous.meta.peers !== region.meta.peers)
      this.kinds.observeIsolation(region);
  }

  #flow(region: RegionInfo, previous: RegionInfo | undefined, flow: RegionFlow): void {
    const { meta, leader } = region;
    const nowMs = this.#view.nowMs();
    const moved =
      previous?.leader !== undefined && leader !== undefined && previous.leader.storeId !== leader.storeId;
    if (moved && leader !== undefined) {
      this.write.leaderMoved(meta.id, leader.storeId, nowMs);
      this.read.leaderMoved(meta.id, leader.storeId, nowMs);
    }
    const seconds = flow.intervalSeconds;
    let ids: number[] | undefined;
    if (!moved) {
      const written: Rates = [flow.writtenBytes, flow.writtenKeys, flow.writeQueries, 0];
      if (this.write.matters(meta.id, written, seconds)) {
        ids = storeIdsOf(meta.peers);
        for (const storeId of ids) this.#report(this.write, region, storeId, ids, written, seconds, nowMs);
      }
      // Stores that do not report peers: the leader's own figures, with the region's heartbeat.
      if (leader !== undefined && this.#figures.get(leader.storeId)?.reportsPeers !== true) {
        const read: Rates = [flow.readBytes, flow.readKeys, flow.readQueries, flow.cpuUsage * seconds];
        if (this.read.matters(meta.id, read, seconds)) {
          ids ??= storeIdsOf(meta.peers);
          this.#report(this.read, region, leader.storeId, ids, read, seconds, nowMs);
        }
      }
    }
    const isInWrite = this.write.has(meta.id);
    if (!isInWrite && !this.read.has(meta.id)) return;
    ids ??= storeIdsOf(meta.peers);
    this.write.keepStores(meta.id, ids);
    this.read.keepStores(meta.id, ids);
  }

  #report(
    cache: HotPeerCache,
    region: RegionInfo,
    storeId: number,
    stores: readonly number[],
    amounts: Rates,
    seconds: number,
    nowMs: number,
  ): void {
    // Warm, but cold for its store: nothing would be kept of it.
    if (!cache.has(region.meta.id) && !cache.isHot(storeId, amounts, seconds, nowMs)) return;
    const store = this.#view.store(storeId);
    // A late heartbeat must not bring a buried store back.
    if (store === undefined || store.isRemoved) return;
    cache.report({
      regionId: region.meta.id,
      storeId,
      isLeader: region.leader?.storeId === storeId,
      stores,
      amounts,
      seconds,
      nowMs,
    });
  }

  onRegionRemoved(regionId: number): void {
    this.write.removeRegion(regionId);
    this.read.removeRegion(regionId);
    this.kinds.forget(regionId);
    this.buckets.forget(regionId);
  }

  onStoreRemoved(storeId: number): void {
    this.write.removeStore(storeId);
    this.read.removeStore(storeId);
    this.#figures.delete(storeId);
  }
}
