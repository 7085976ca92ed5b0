/**
 * What plans are made from: stores with their states, scores and room, under the influence of the operators that run.
 * The filters name their reason, so that "why does nothing move" has an answer. (pd-rules 7.29 to 7.47, 9.14)
 *
 * The region score is the size on the store, running moves included, made larger by what lacks in free space and
 * divided by the weight.
 */
import { RunningInfluence } from "./running-influence.js";
import { FilterFigures, type FilterSide } from "./filter-figures.js";
import type { Env } from "../base/index.js";
import type { Cluster } from "./cluster.js";
import { matchesConstraints } from "./placement/label-constraint.js";
import { type RegionFit, rulesAllowLeader } from "./placement/fit.js";
import { type Influence, NO_INFLUENCE, type OperatorPriority, priorityLevel } from "./operator.js";
import type { StoreView } from "./operator-step.js";
import { type RegionInfo, voters } from "./region-info.js";
import { regionScoreV1, regionScoreV2, type StoreSpace } from "./region-score.js";
import { locationScore, type StoreInfo } from "./store-info.js";
import { FULL_COST, type Limiter, type LimitKind, NO_LIMIT } from "./store-limit.js";
import { isolates } from "./store-selector.js";
import { parseVersion } from "./version.js";

const WEIGHT_MIN = 1e-6;
const LOCATIONS_KEPT_MS = 1000;
const SPACE_KEPT_MS = 1000;
/** Of the capacity. */
const SPACE_NOISE = 0.02;
const PREPARED_SHARE = 0.9;
/** A store kept for hot regions, or for nothing yet, takes ordinary peers from nobody. (7.33) */
const SPECIAL_USE = "specialUse";

export class SchedulingView implements StoreView {
  readonly cluster: Cluster;
  readonly env: Env;
  readonly #running: RunningInfluence;
  readonly #sourceFilters: FilterFigures;
  readonly #targetFilters: FilterFigures;
  #spaceAskedMs = Number.NEGATIVE_INFINITY;
  #spaceDiffered = false;
  #hasLocations = false;
  #locationsAskedMs = Number.NEGATIVE_INFINITY;

  constructor(cluster: Cluster, running: RunningInfluence = new RunningInfluence()) {
    this.cluster = cluster;
    this.#sourceFilters = new FilterFigures(cluster.context.metrics, "source");
    this.#targetFilters = new FilterFigures(cluster.context.metrics, "target");
    this.env = cluster.context.env;
    this.#running = running;
  }

  get config(): Cluster["context"]["config"] {
    return this.cluster.context.config;
  }

  /** The scheduler or checker `scope` left a store out. */
  leftOut(side: FilterSide, scope: string, storeId: number, reason: string): void {
    (side === "source" ? this.#sourceFilters : this.#targetFilters).count(scope, storeId, reason);
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

  /** Of all operators that run; the caller's own copy. */
  influence(): Influence {
    return new Map([...this.influenceNow()].map(([id, entry]) => [id, { ...entry }]));
  }

  /** The same for looking at: it changes with the operators. */
  influenceNow(): Influence {
    return this.#running.sum((id) => this.cluster.regions.byId(id));
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
    return this.regionScoreWith(
      store,
      this.cluster.regions.onStore(store.id).regionSizeMib,
      on.regionSizeMib,
    );
  }

  /** By the formula that the settings name. (9.15, 9.16) */
  regionScoreWith(store: StoreInfo, sizeMib: number, deltaMib: number): number {
    const { config } = this;
    const space: StoreSpace = {
      capacityBytes: store.stats?.capacity ?? 0,
      availableBytes: store.averageAvailableBytes,
      usedBytes: store.stats?.usedSize ?? 0,
    };
    const low = config.number("schedule.low-space-ratio");
    if (!this.weighsSpace()) return (sizeMib + deltaMib) / Math.max(store.regionWeight, WEIGHT_MIN);
    const score =
      config.text("schedule.region-score-formula-version") === "v2"
        ? regionScoreV2(space, sizeMib, deltaMib, low)
        : regionScoreV1(space, sizeMib, deltaMib, low, config.number("schedule.high-space-ratio"));
    return score / Math.max(store.regionWeight, WEIGHT_MIN);
  }

  /**
   * Whether free space says anything about where data should go. Stores of one capacity that are about equally full
   * (all stores of a machine share a disk) tell nothing by it but noise, larger than any difference in size.
   */
  weighsSpace(): boolean {
    const nowMs = this.nowMs();
    if (nowMs - this.#spaceAskedMs < SPACE_KEPT_MS) return this.#spaceDiffered;
    this.#spaceAskedMs = nowMs;
    let [capacity, least, most] = [0, Number.POSITIVE_INFINITY, 0];
    let isSameCapacity = true;
    for (const store of this.stores()) {
      const own = store.stats?.capacity ?? 0;
      if (own === 0) continue;
      isSameCapacity &&= capacity === 0 || capacity === own;
      capacity = own;
      least = Math.min(least, store.averageAvailableBytes);
      most = Math.max(most, store.averageAvailableBytes);
    }
    this.#spaceDiffered = !isSameCapacity || most - least > SPACE_NOISE * capacity;
    return this.#spaceDiffered;
  }

  leaderSourceProblem(store: StoreInfo): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (this.isDown(store)) return "StoreDown";
    if (store.leaderOutPauses > 0) return "StoreRejectLeader";
    if (store.isDisconnected(this.nowMs())) return "StoreDisconnected";
    return this.#specialUseOfSource(store);
  }

  /** One slow store is evicted by its scheduler; when all are slow, somebody must lead all the same. (7.43, 9.41) */
  leaderTargetProblem(store: StoreInfo): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (store.isRemoving) return "StoreRemoving";
    if (this.isDown(store)) return "StoreDown";
    if (store.leaderInPauses > 0 || store.isStopping) return "StoreRejectLeader";
    if (store.isEvictedAsSlow || store.isEvictedAsStopping) return "StoreRejectLeader";
    if (store.isDisconnected(this.nowMs())) return "StoreDisconnected";
    if (store.isBusy) return "StoreBusy";
    return this.config.rejectsLeader(store.meta.labels) ? "StoreRejectLeader" : undefined;
  }

  /** A down or removing store is a valid source. */
  regionSourceProblem(store: StoreInfo): string | undefined {
    if (store.isBusy) return "StoreBusy";
    if (!this.#hasRoom(store, "remove-peer")) return "StoreRemovePeerThrottled";
    return this.#snapshotProblem(store) ?? this.#specialUseOfSource(store);
  }

  isLowSpace(store: StoreInfo): boolean {
    const count = this.cluster.regions.onStore(store.id).regionCount;
    return store.isLowSpace(this.config.number("schedule.low-space-ratio"), count);
  }

  /** What will not pass by itself: such a store is no candidate at all. */
  regionTargetProblem(store: StoreInfo, allowedUse = ""): string | undefined {
    if (store.isRemoved) return "StoreRemoved";
    if (store.isRemoving) return "StoreRemoving";
    if (this.isDown(store)) return "StoreDown";
    if (this.isLowSpace(store)) return "StoreLowSpace";
    return this.specialUseProblem(store, allowedUse);
  }

  /** As a target of peers, or of leaders that schedulers move of their own accord. (7.33) */
  specialUseProblem(store: StoreInfo, allowedUse = ""): string | undefined {
    const use = store.label(SPECIAL_USE);
    return use === "" || use === allowedUse ? undefined : "StoreSpecialUse";
  }

  /** What passes: a busy best store delays a placement, it does not displace it. */
  temporaryTargetProblem(store: StoreInfo): string | undefined {
    if (store.isDisconnected(this.nowMs())) return "StoreDisconnected";
    if (store.isBusy) return "StoreBusy";
    if (!this.#hasRoom(store, "add-peer")) return "StoreAddPeerThrottled";
    const pendingMax = this.config.number("schedule.max-pending-peer-count");
    if (pendingMax > 0 && this.cluster.regions.onStore(store.id).pending.size > pendingMax) {
      return "StorePendingPeerThrottled";
    }
    return this.#snapshotProblem(store);
  }

  /** For a region of full size, whatever the size of the one in question. (6.31) */
  #hasRoom(store: StoreInfo, kind: LimitKind): boolean {
    return this.limiterOf(store, kind).available(FULL_COST, this.nowMs());
  }

  /** Whether the leader's store may send one more snapshot to a move of this priority. (6.32, 7.47) */
  senderProblem(region: RegionInfo, priority: OperatorPriority): string | undefined {
    const sender = this.store(region.leader?.storeId ?? 0);
    if (sender === undefined) return undefined;
    if (sender.isBusy) return "StoreBusy";
    const limiter = this.limiterOf(sender, "send-snapshot");
    const hasRoom = limiter.available(region.sizeMib, this.nowMs(), priorityLevel(priority));
    return hasRoom ? undefined : "StoreSnapshotThrottled";
  }

  /** Version 1 limits peers a minute, version 2 the snapshots that are sent. (6.30 to 6.32) */
  limiterOf(store: StoreInfo, kind: LimitKind): Limiter {
    const isSecond = this.config.text("schedule.store-limit-version") === "v2";
    if (kind === "send-snapshot") return isSecond ? store.snapshotWindows : NO_LIMIT;
    if (isSecond) return NO_LIMIT;
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

  /** Whether the isolation level of the settings lets `store` stand beside the others. (7.32) */
  isolates(others: readonly StoreInfo[], store: StoreInfo): boolean {
    const level = this.config.text("replication.isolation-level");
    return isolates({ locationLabels: this.config.locationLabels, isolationLevel: level }, others, store);
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

  get usesRules(): boolean {
    return this.cluster.rules.isEnabled;
  }

  fit(region: RegionInfo): RegionFit {
    return this.cluster.rules.fit(region);
  }

  /** All its rules are met; without rules: complete, and nobody is learning. (7.47) */
  isReplicated(region: RegionInfo): boolean {
    if (this.usesRules) return this.fit(region).isSatisfied;
    return (
      region.meta.peers.length === this.config.maxReplicas &&
      voters(region).length === region.meta.peers.length
    );
  }

  /** Whether a peer may stand on a store in place of the one on `sourceId` without harm to the placement. (7.46) */
  safeguard(region: RegionInfo, sourceId: number): (target: StoreInfo) => boolean {
    if (this.usesRules) {
      const fit = this.fit(region);
      return (target) => fit.replace(sourceId, target);
    }
    const beside = this.storesOf(region, sourceId);
    const source = this.store(sourceId);
    const present = source === undefined ? -1 : this.locationScore(beside, source);
    return (target) => this.isolates(beside, target) && this.locationScore(beside, target) >= present;
  }

  /** Whether the store's peer may lead in place of the present leader. (7.23, 7.46) */
  leaderSafeguard(region: RegionInfo): (target: StoreInfo) => boolean {
    if (!this.usesRules) return () => true;
    const rules = this.cluster.rules.appliedTo(region.meta);
    return (target) => {
      const peer = region.meta.peers.find((other) => other.storeId === target.id);
      return peer !== undefined && rulesAllowLeader(rules, target, peer);
    };
  }

  /**
   * The size at which a store that joins counts as filled: nine tenths of its share. The share is that of its place:
   * the same for all stores at one location, and for all locations. (3.22)
   */
  preparingThresholdMib(store: StoreInfo): number {
    const { rules, regions } = this.cluster;
    if (!this.usesRules) {
      const { maxReplicas, locationLabels } = this.config;
      const weight = topoWeight(this.stores(), store, locationLabels, maxReplicas);
      return PREPARED_SHARE * regions.sizeMib * maxReplicas * weight;
    }
    let shareMib = 0;
    for (const rule of rules.rules()) {
      if (!matchesConstraints(store, rule.labelConstraints)) continue;
      const matching = this.stores().filter((other) => matchesConstraints(other, rule.labelConstraints));
      const isWhole = rule.startKey.length === 0 && rule.endKey.length === 0;
      const ofRange = isWhole ? undefined : regions.scan(rule.startKey, rule.endKey, 0);
      const sizeMib = ofRange?.reduce((sum, region) => sum + region.sizeMib, 0) ?? regions.sizeMib;
      shareMib += sizeMib * rule.count * topoWeight(matching, store, rule.locationLabels, rule.count);
    }
    return PREPARED_SHARE * shareMib;
  }

  /** Kept for a special use it gives nothing away, unless its space ends. (7.33) */
  #specialUseOfSource(store: StoreInfo): string | undefined {
    return store.label(SPECIAL_USE) === "" || this.isLowSpace(store) ? undefined : "StoreSpecialUse";
  }

  #snapshotProblem(store: StoreInfo): string | undefined {
    const limit = this.config.number("schedule.max-snapshot-count");
    const { sendingSnapCount = 0, receivingSnapCount = 0 } = store.stats ?? {};
    return sendingSnapCount > limit || receivingSnapCount > limit ? "StoreSnapshotThrottled" : undefined;
  }
}

/**
 * The part of the data that belongs on the store. Locations share evenly, top down; a level with as many places as
 * replicas decides alone, one with more says nothing, because replicas do not stand in all of them. (3.22)
 */
export function topoWeight(
  stores: readonly StoreInfo[],
  store: StoreInfo,
  labels: readonly string[],
  replicas: number,
): number {
  const up = stores.filter((other) => other.isUp);
  const placeOf = (other: StoreInfo, depth: number): string =>
    JSON.stringify(labels.slice(0, depth).map((label) => other.label(label)));
  let depth = 0;
  let isExact = false;
  while (depth < labels.length && !isExact) {
    const places = new Set(up.map((other) => placeOf(other, depth + 1))).size;
    if (places > replicas) break;
    isExact = places === replicas;
    depth += 1;
  }
  const valid = labels.slice(0, depth);
  const beside = up.filter((other) => other === store || locationScore(valid, [other], store) === 0).length;
  if (isExact) return 1 / replicas / Math.max(1, beside);
  let weight = 1;
  let group = up;
  for (const label of valid) {
    weight /= Math.max(1, new Set(group.map((other) => other.label(label))).size);
    group = group.filter((other) => other.label(label) === store.label(label));
  }
  return weight / Math.max(1, beside);
}
