/**
 * Scheduling, put together: heartbeats drive operators and checks, the patrol goes over what no heartbeat shows, and
 * the monitor of stores turns changes of stores into new looks. (pd-rules 6, 8, 9)
 */
import type { pdpb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { DecisionNotes } from "./decision-notes.js";
import type { HeartbeatStreams } from "./heartbeat-streams.js";
import { OperatorController } from "./operator-controller.js";
import type { RegionInfo } from "./region-info.js";
import { RegionPatrol } from "./region-patrol.js";
import { RegionSplitter } from "./region-splitter.js";
import { adjustClusterVersion } from "./rpc-stores.js";
import { RegionScatterer } from "./scatterer.js";
import { SchedulerAdmin } from "./scheduler-admin.js";
import { SchedulerRunner } from "./scheduler-runner.js";
import { SchedulingView } from "./scheduling-view.js";
import type { StoreInfo } from "./store-info.js";
import { StoreMonitor } from "./store-monitor.js";

export class Scheduling {
  readonly cluster: Cluster;
  readonly view: SchedulingView;
  readonly controller: OperatorController;
  /** Why regions and stores were left as they are. */
  readonly notes: DecisionNotes;
  readonly patrol: RegionPatrol;
  readonly scatterer: RegionScatterer;
  readonly splitter: RegionSplitter;
  /** The list of schedulers as users see and change it. */
  readonly schedulers: SchedulerAdmin;
  readonly #runner: SchedulerRunner;
  readonly #monitor: StoreMonitor;

  constructor(cluster: Cluster, streams: HeartbeatStreams, saveConfig: () => void) {
    const { env } = cluster.context;
    this.cluster = cluster;
    this.controller = new OperatorController((running) => new SchedulingView(cluster, running), streams);
    this.view = this.controller.view;
    this.notes = new DecisionNotes(() => env.clock.wallMs());
    this.patrol = new RegionPatrol(this.controller, this.notes);
    this.scatterer = new RegionScatterer(this.controller, (id) => this.patrol.suspect(id));
    this.splitter = new RegionSplitter(this.controller, (id) => this.patrol.suspect(id));
    this.#runner = new SchedulerRunner({ controller: this.controller, notes: this.notes });
    this.schedulers = new SchedulerAdmin(this.view, this.#runner, saveConfig);
    this.#monitor = new StoreMonitor(this.view, this.notes, {
      changed: () => {
        this.patrol.wake();
        this.#runner.kick();
      },
      buried: (storeId) => {
        cluster.context.config.storeLimits.delete(storeId);
        this.schedulers.forgetStore(storeId);
        adjustClusterVersion(cluster);
        saveConfig();
      },
    });
  }

  load(callback: (error: Error | undefined) => void): void {
    this.schedulers.load();
    callback(undefined);
  }

  start(): void {
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

  onStoreHeartbeat(_store: StoreInfo, _stats: pdpb.StoreStats): void {
    this.#monitor.look();
  }

  /** The running operator first; what it leaves free is looked at, so that repairs follow each other at once. */
  onRegionHeartbeat(region: RegionInfo, _previous: RegionInfo | undefined): void {
    this.controller.onHeartbeat(region);
    this.patrol.check(region);
  }

  /** Regions that have just been cut get their first look soon. */
  onSplitAsked(sourceId: number, newIds: readonly number[]): void {
    this.patrol.suspect(sourceId);
    for (const id of newIds) this.patrol.suspect(id);
  }
}
