/**
 * Scheduling, put together: heartbeats drive operators and checks, the patrol goes over what no heartbeat shows, and
 * the monitor of stores turns changes of stores into new looks. (pd-rules 6, 8, 9)
 */
import type { metapb, pdpb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { Drain } from "./drain.js";
import { DecisionNotes } from "./decision-notes.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import { HotHistory } from "./hot-history.js";
import { OperatorController } from "./operator-controller.js";
import { OperatorBuilder } from "./operator-builder.js";
import type { RegionFlow, RegionInfo } from "./region-info.js";
import type { ChangedRange } from "./placement/rule-manager.js";
import { Progress } from "./progress.js";
import { RegionPatrol } from "./region-patrol.js";
import { RegionSplitter } from "./region-splitter.js";
import { adjustClusterVersion } from "./rpc-stores.js";
import { RegionScatterer } from "./scatterer.js";
import type { SchedulerHost } from "./scheduler.js";
import { SchedulerAdmin } from "./scheduler-admin.js";
import { SchedulerRunner } from "./scheduler-runner.js";
import { SchedulingView } from "./scheduling-view.js";
import type { Settings } from "./settings.js";
import { Statistics } from "./statistics/statistics.js";
import type { StoreInfo } from "./store-info.js";
import { StoreMonitor } from "./store-monitor.js";
import { type Step, together } from "./together.js";

const LABELS_EVERY_MS = 3_600_000;
const NETWORK_SLOW_SCORE = 99;
const NETWORK_QUICK_SCORE = 1;

export class Scheduling {
  readonly cluster: Cluster;
  readonly view: SchedulingView;
  readonly controller: OperatorController;
  /** Why regions and stores were left as they are. */
  readonly notes: DecisionNotes;
  readonly statistics: Statistics;
  readonly hotHistory: HotHistory;
  readonly patrol: RegionPatrol;
  readonly scatterer: RegionScatterer;
  readonly splitter: RegionSplitter;
  /** The list of schedulers as users see and change it. */
  readonly schedulers: SchedulerAdmin;
  /** How far stores are with filling and emptying. */
  readonly progress: Progress = new Progress();
  readonly drain: Drain;
  readonly #runner: SchedulerRunner;
  readonly #monitor: StoreMonitor;
  #labelsSeenMs: number;

  constructor(cluster: Cluster, streams: HeartbeatStreams, settings: Settings) {
    const { env } = cluster.context;
    this.cluster = cluster;
    this.#labelsSeenMs = env.clock.monotonicMs();
    this.controller = new OperatorController((running) => new SchedulingView(cluster, running), streams);
    this.view = this.controller.view;
    this.notes = new DecisionNotes(() => env.clock.wallMs());
    this.statistics = new Statistics(this.view);
    this.hotHistory = new HotHistory(this.view, this.statistics);
    const isHot = (regionId: number): boolean => this.statistics.isRegionHot(regionId);
    this.patrol = new RegionPatrol(this.controller, this.notes, isHot);
    cluster.onRegionRemoved = (regionId) => {
      this.controller.onRegionRemoved(regionId);
      this.statistics.onRegionRemoved(regionId);
      this.notes.forget("region", regionId);
    };
    const suspect = (ranges: readonly ChangedRange[]): void => {
      for (const { startKey, endKey } of ranges) this.patrol.suspectRange(startKey, endKey);
    };
    cluster.rules.onChanged = suspect;
    cluster.labels.onChanged = suspect;
    this.scatterer = new RegionScatterer(this.controller, isHot, (id) => this.patrol.suspect(id));
    this.splitter = new RegionSplitter(this.controller, (id) => this.patrol.suspect(id));
    this.#runner = new SchedulerRunner(this.#host());
    this.schedulers = new SchedulerAdmin(this.#host(), this.#runner, settings);
    this.drain = new Drain(this.view, this.schedulers, this.progress);
    this.#monitor = new StoreMonitor(this.view, this.notes, {
      sampled: () => this.#sampleProgress(),
      changed: () => {
        this.patrol.wake();
        this.#runner.kick();
      },
      buried: (storeId) => {
        cluster.context.config.storeLimits.delete(storeId);
        this.schedulers.forgetStore(storeId);
        this.statistics.onStoreRemoved(storeId);
        this.notes.forget("store", storeId);
        adjustClusterVersion(cluster);
        settings.save(() => {});
      },
    });
  }

  #host(): SchedulerHost {
    return { controller: this.controller, notes: this.notes, statistics: this.statistics };
  }

  load(callback: (error: Error | undefined) => void): void {
    const { rules, labels } = this.cluster;
    const parts = [rules, labels, this.schedulers];
    together(
      parts.map(
        (part): Step =>
          (done) =>
            part.load(done),
      ),
      callback,
    );
  }

  /** After the settings, the cluster and this are loaded. */
  start(): void {
    this.schedulers.addListed();
    this.patrol.start();
    this.#monitor.start();
    this.#runner.start();
  }

  stop(): void {
    this.patrol.stop();
    this.#monitor.stop();
    this.#runner.stop();
    this.splitter.stop();
    this.controller.stop();
  }

  onStoreHeartbeat(store: StoreInfo, stats: pdpb.StoreStats): void {
    store.availableAverage.push(stats.available);
    this.#countNetworkSlow(store, stats);
    this.cluster.regions.flowDigits = this.view.config.flowDigits;
    this.statistics.onStoreHeartbeat(store, stats);
    this.hotHistory.look();
    this.#monitor.look();
  }

  /** A store that gives no score to another reaches it well. (3.14) */
  #countNetworkSlow(store: StoreInfo, { networkSlowScores: scores }: pdpb.StoreStats): void {
    if (Object.keys(scores).length === 0) {
      store.networkSlowReports = 0;
      return;
    }
    const others = this.cluster.liveStores().filter((other) => other !== store);
    const sum = others.reduce((total, { id }) => total + (scores[id] ?? NETWORK_QUICK_SCORE), 0);
    const average = sum / Math.max(1, others.length);
    if (average >= NETWORK_SLOW_SCORE) store.networkSlowReports += 1;
    else if (average <= NETWORK_QUICK_SCORE) store.networkSlowReports = 0;
  }

  /** Its peer there is given up; the checkers make another from one that is whole. (3.15) */
  onDamagedRegion(store: StoreInfo, regionId: number): void {
    const { log } = this.cluster.context.env;
    const region = this.cluster.regions.byId(regionId);
    if (region === undefined)
      return log.warn("a damaged region is unknown", { store: store.id, region: regionId });
    const builder = new OperatorBuilder(this.view, "admin-remove-peer", region);
    const built = builder.removePeer(store.id).build(["admin"], "urgent");
    const refused = built.kind === "refused" ? built.reason : this.controller.add(built.operator);
    if (refused === undefined)
      return log.warn("a damaged peer is removed", { store: store.id, region: regionId });
    this.notes.note(
      "region",
      regionId,
      "admin-remove-peer",
      `its peer on store ${store.id} is damaged: ${refused}`,
    );
  }

  /** The running operator first; what it leaves free is looked at, so that repairs follow each other at once. */
  onRegionHeartbeat(region: RegionInfo, previous: RegionInfo | undefined, flow: RegionFlow): void {
    this.statistics.onRegionHeartbeat(region, previous, flow);
    this.controller.onHeartbeat(region);
    // Figures alone are left to the patrol, unless something was wrong with the region.
    if (isWorthLook(region, previous) || this.patrol.isNoted(region.meta.id)) this.patrol.check(region);
  }

  onBuckets(buckets: metapb.Buckets): void {
    if (this.statistics.buckets.report(buckets)) return;
    this.cluster.context.env.log.debug("malformed buckets are ignored", { region: buckets.regionId });
  }

  bucketsOf(regionId: number): metapb.IBuckets | undefined {
    return this.statistics.buckets.metaOf(regionId);
  }

  /** Every ten seconds. (3.28) */
  #sampleProgress(): void {
    const { progress, cluster } = this;
    const nowMs = this.view.nowMs();
    if (nowMs - this.#labelsSeenMs >= LABELS_EVERY_MS) {
      this.#labelsSeenMs = nowMs;
      cluster.labels.forgetExpired();
    }
    for (const store of cluster.stores.values()) {
      const { id } = store;
      const sizeMib = cluster.regions.onStore(id).regionSizeMib;
      if (store.isRemoving) {
        const target = progress.targetOf("removing", id) ?? sizeMib;
        progress.update("removing", id, Math.max(0, target - sizeMib), target);
      } else progress.end("removing", id);
      const threshold = store.nodeState === "preparing" ? this.view.preparingThresholdMib(store) : 0;
      const fills = store.nodeState === "preparing" && !cluster.isReadyToServe(store, threshold);
      if (fills && store.stats !== undefined) progress.update("preparing", id, sizeMib, threshold);
      else progress.end("preparing", id);
    }
    this.drain.sample();
  }

  /** Regions that have just been cut get their first look soon. */
  onSplitAsked(sourceId: number, newIds: readonly number[]): void {
    this.patrol.checker.merge.recordSplit([sourceId, ...newIds]);
    this.patrol.suspect(sourceId);
    for (const id of newIds) this.patrol.suspect(id);
  }
}

/** Whether a heartbeat tells of more than another size or flow. */
function isWorthLook(region: RegionInfo, previous: RegionInfo | undefined): boolean {
  if (previous === undefined) return true;
  if (region === previous) return false;
  const troubled =
    region.downPeers.length +
    region.pendingPeers.length +
    previous.downPeers.length +
    previous.pendingPeers.length;
  return (
    region.meta !== previous.meta ||
    region.leader?.id !== previous.leader?.id ||
    region.fromStorage !== previous.fromStorage ||
    troubled > 0
  );
}
