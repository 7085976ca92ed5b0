/**
 * What plans are made from: stores with their states, scores and room, under the influence of the operators that run.
 * The filters name their reason, so that "why does nothing move" has an answer. (pd-rules 7.29 to 7.47, 9.14)
 *
 * The region score is the size on the store, running moves included, divided by the weight. PD's score also falls
 * with free disk space; on stores that share a disk that makes noise larger than any difference in size. Full stores
 * are kept out by the low-space filter instead.
 */
import type { Env } from "../base/index.js";
import type { Cluster } from "./cluster.js";
import { addInfluence, type Influence, NO_INFLUENCE, type Operator } from "./operator.js";
import type { StoreView } from "./operator-step.js";
import { type RegionInfo, voters } from "./region-info.js";
import { locationScore, type StoreInfo } from "./store-info.js";
import { type LimitKind, regionCost } from "./store-limit.js";
import { parseVersion } from "./version.js";

const WEIGHT_MIN = 1e-6;
const LOCATIONS_KEPT_MS = 1000;

export class SchedulingView implements StoreView {
  readonly cluster: Cluster;
  readonly env: Env;
  readonly #running: () => Iterable<Operator>;
  #hasLocations = false;
  #locationsAskedMs = Number.NEGATIVE_INFINITY;

  constructor(cluster: Cluster, running: () => Iterable<Operator>) {
    this.cluster = cluster;
    this.env = cluster.context.env;
    this.#running = running;
  }

  get config(): Cluster["context"]["config"] {
    return this.cluster.context.config;
  }

  nowMs(): number {
    return this.env.clock.monotonicMs();
  }

  store(id: number): StoreInfo | undefined {
    return this.cluster.store(id);
  }

  stores(): StoreInfo[] {
    return this.cluster.liveStores();
  }

  takeId(): number | undefined {
    return this.cluster.context.ids.take();
  }

  isDown(store: StoreInfo): boolean {
    return store.isDown(this.nowMs(), this.config.number("schedule.max-store-down-time"));
  }

  /** Joint membership changes: from version 5 on, unless switched off. */
  jointConsensus(sinceMajor: number): boolean {
    return this.config.flag("schedule.enable-joint-consensus") && this.usesChangePeerV2(sinceMajor);
  }

  usesChangePeerV2(sinceMajor = 5): boolean {
    return (parseVersion(this.config.clusterVersion)?.major ?? 0) >= sinceMajor;
  }

  influence(): Influence {
    const influence: Influence = new Map();
    for (const operator of this.#running()) {
      const region = this.cluster.regions.byId(operator.regionId);
      if (region !== undefined) addInfluence(influence, operator, region);
    }
    return influence;
  }

  leaderCount(storeId: number): number {
    return this.cluster.regions.onStore(storeId).leaders.size;
  }

  leaderScore(store: StoreInfo, influence: Influence): number {
    const on = influence.get(store.id) ?? NO_INFLUENCE;
    const regions = this.cluster.regions.onStore(store.id);
    const amount =
      this.config.text("schedule.leader-schedule-policy") === "size"
        ? regions.leaderSizeMib + on.leaderSizeMib
        : regions.leaders.size + on.leaderCount;
    return Math.max(0, amount) / Math.max(store.leaderWeight, WEIGHT_MIN);
  }

  regionScore(store: StoreInfo, influence: Influence): number {
    const on = influence.get(store.id) ?? NO_INFLUENCE;
    const amount = this.cluster.regions.onStore(store.id).regionSizeMib + on.regionSizeMib;
    return Math.max(0, amount) / Math.max(store.regionWeight, WEIGHT_MIN);
  }

  leaderSourceProblem(store: StoreInfo): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (this.isDown(store)) return "StoreDown";
    if (store.leaderOutPauses > 0) return "StoreRejectLeader";
    return store.isDisconnected(this.nowMs()) ? "StoreDisconnected" : undefined;
  }

  leaderTargetProblem(store: StoreInfo): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (store.isRemoving) return "StoreRemoving";
    if (this.isDown(store)) return "StoreDown";
    if (store.leaderInPauses > 0 || store.isStopping || store.isSlow) return "StoreRejectLeader";
    if (store.isDisconnected(this.nowMs())) return "StoreDisconnected";
    return store.isBusy ? "StoreBusy" : undefined;
  }

  /** A down or removing store is a valid source. */
  regionSourceProblem(store: StoreInfo, sizeMib: number): string | undefined {
    if (store.isBusy) return "StoreBusy";
    if (!this.hasRoom(store, "remove-peer", sizeMib)) return "StoreRemovePeerThrottled";
    return this.#snapshotProblem(store);
  }

  /** What will not pass by itself: such a store is no candidate at all. */
  regionTargetProblem(store: StoreInfo): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (store.isRemoving) return "StoreRemoving";
    if (this.isDown(store)) return "StoreDown";
    const count = this.cluster.regions.onStore(store.id).regionCount;
    const low = store.isLowSpace(this.config.number("schedule.low-space-ratio"), count);
    return low ? "StoreLowSpace" : undefined;
  }

  /** What passes: a busy best store delays a placement, it does not displace it. */
  temporaryTargetProblem(store: StoreInfo, sizeMib: number): string | undefined {
    if (store.isDisconnected(this.nowMs())) return "StoreDisconnected";
    if (store.isBusy) return "StoreBusy";
    if (!this.hasRoom(store, "add-peer", sizeMib)) return "StoreAddPeerThrottled";
    const pendingMax = this.config.number("schedule.max-pending-peer-count");
    if (pendingMax > 0 && this.cluster.regions.onStore(store.id).pending.size > pendingMax) {
      return "StorePendingPeerThrottled";
    }
    return this.#snapshotProblem(store);
  }

  hasRoom(store: StoreInfo, kind: LimitKind, sizeMib: number): boolean {
    return this.bucketOf(store, kind).available(regionCost(sizeMib), this.nowMs());
  }

  bucketOf(store: StoreInfo, kind: LimitKind): ReturnType<StoreInfo["bucket"]> {
    return store.bucket(kind, this.config.storeLimit(store.id)[kind], this.nowMs());
  }

  /** Whether any store says where it stands; asked for each region, so the answer is kept for a second. */
  hasLocations(): boolean {
    const nowMs = this.nowMs();
    if (nowMs - this.#locationsAskedMs >= LOCATIONS_KEPT_MS) {
      this.#locationsAskedMs = nowMs;
      const labels = this.config.locationLabels;
      this.#hasLocations = this.stores().some((store) => labels.some((key) => store.label(key) !== ""));
    }
    return this.#hasLocations;
  }

  locationScore(others: readonly StoreInfo[], store: StoreInfo): number {
    return locationScore(this.config.locationLabels, others, store);
  }

  /** Whether the isolation level lets `store` stand beside the others. (7.32) */
  isolates(others: readonly StoreInfo[], store: StoreInfo): boolean {
    const level = this.config.text("replication.isolation-level");
    if (level === "") return true;
    const labels = this.config.locationLabels;
    const until = labels.indexOf(level) + 1;
    return others.every((other) =>
      labels.slice(0, until).some((key) => store.label(key) !== other.label(key)),
    );
  }

  /** The stores of a region's peers, without one of them. */
  storesOf(region: RegionInfo, withoutStore = 0): StoreInfo[] {
    const found: StoreInfo[] = [];
    for (const peer of region.meta.peers) {
      const store = peer.storeId === withoutStore ? undefined : this.store(peer.storeId);
      if (store !== undefined) found.push(store);
    }
    return found;
  }

  /** Complete, and nobody is learning. (7.47) */
  isReplicated(region: RegionInfo): boolean {
    return (
      region.meta.peers.length === this.config.maxReplicas &&
      voters(region).length === region.meta.peers.length
    );
  }

  #snapshotProblem(store: StoreInfo): string | undefined {
    const limit = this.config.number("schedule.max-snapshot-count");
    const { sendingSnapCount = 0, receivingSnapCount = 0 } = store.stats ?? {};
    return sendingSnapCount > limit || receivingSnapCount > limit ? "StoreSnapshotThrottled" : undefined;
  }
}
