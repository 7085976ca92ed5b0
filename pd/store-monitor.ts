/**
 * Watches the states of stores: wakes the patrol when a store comes, goes or falls silent, lets preparing stores
 * serve, and buries leaving stores once they hold nothing more. (pd-rules 3.16 to 3.22)
 */
import type { TimerHandle } from "../base/index.js";
import { metapb } from "../proto/index.js";
import type { DecisionNotes } from "./decision-notes.js";
import { SAMPLE_SECONDS } from "./progress.js";
import type { SchedulingView } from "./scheduling-view.js";
import { type NodeState, StoreInfo } from "./store-info.js";

export interface StoreMonitorEvents {
  /** A store came, went, fell silent or changed its state. */
  changed(): void;
  buried(storeId: number): void;
  /** Time for samples of progress. */
  sampled(): void;
}

const LOOK_MS = 1000;
/** From PD's start: leaders of quiet regions, too, have reported by then. */
const ALL_REPORTED_MS = 300_000;
const SAMPLE_MS = SAMPLE_SECONDS * 1000;
/** Of what it notes. */
export const STORE_MONITOR = "store-monitor";
const BURIED_KEPT_MS = 30 * 24 * 3_600_000;
const NS_PER_MS = 1_000_000n;

export class StoreMonitor {
  readonly #view: SchedulingView;
  readonly #notes: DecisionNotes;
  readonly #events: StoreMonitorEvents;
  readonly #seen = new Map<number, string>();
  /** Stores whose new state is being stored. */
  readonly #changing = new Set<number>();
  #startedMs = 0;
  #sampledMs = Number.NEGATIVE_INFINITY;
  #timer: TimerHandle | undefined;
  #stopped = true;

  constructor(view: SchedulingView, notes: DecisionNotes, events: StoreMonitorEvents) {
    this.#view = view;
    this.#notes = notes;
    this.#events = events;
  }

  start(): void {
    this.#stopped = false;
    this.#startedMs = this.#view.nowMs();
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#view.env.timers.clear(this.#timer);
  }

  look(): void {
    const nowMs = this.#view.nowMs();
    if (nowMs - this.#sampledMs >= SAMPLE_MS) {
      this.#sampledMs = nowMs;
      this.#events.sampled();
    }
    let changed = false;
    for (const store of this.#view.cluster.stores.values()) {
      const problem = this.#view.leaderTargetProblem(store);
      const state = `${store.nodeState} ${problem ?? this.#view.regionTargetProblem(store) ?? "ok"}`;
      changed ||= this.#seen.get(store.id) !== state;
      this.#seen.set(store.id, state);
      if (store.nodeState === "preparing" && store.stats !== undefined) {
        if (this.#view.cluster.isReadyToServe(store, this.#view.preparingThresholdMib(store)))
          this.#change(store, "serving");
      } else if (store.isRemoving) {
        this.#drained(store);
      } else if (store.isRemoved) {
        this.#forget(store);
      }
    }
    for (const id of this.#seen.keys()) {
      if (!this.#view.cluster.stores.has(id)) this.#seen.delete(id);
    }
    if (changed) this.#events.changed();
  }

  /**
   * Every peer must be gone from the regions' own records, and by the store's own count: a region that was split a
   * moment before a crash of PD is in no record until its leader reports again.
   */
  #drained(store: StoreInfo): void {
    const left = this.#view.cluster.regions.onStore(store.id).regionCount;
    if (left > 0)
      return this.#notes.note("store", store.id, STORE_MONITOR, `${left} peers are still to be moved away`);
    const counted = this.#countedByItself(store);
    if (counted === undefined)
      return this.#notes.note("store", store.id, STORE_MONITOR, "it has not reported since PD's start");
    if (counted > 0)
      return this.#notes.note(
        "store",
        store.id,
        STORE_MONITOR,
        `it counts ${counted} peers that PD does not know of`,
      );
    // Before everybody has reported, an empty index means nothing.
    if (!this.#view.cluster.isPrepared) return;
    this.#notes.clear("store", store.id, STORE_MONITOR);
    this.#change(store, "removed");
  }

  /** Peers by the store's last word; none where it will not speak again and all leaders had time to report. */
  #countedByItself(store: StoreInfo): number | undefined {
    if (store.meta.physicallyDestroyed) return 0;
    const nowMs = this.#view.nowMs();
    if (store.isDisconnected(nowMs) && nowMs - this.#startedMs >= ALL_REPORTED_MS) return 0;
    return store.stats?.regionCount;
  }

  /** Buried, and silent for a month: nobody asks for it any more. (3.16) */
  #forget(store: StoreInfo): void {
    const { cluster, env } = this.#view;
    const { lastHeartbeat } = store.meta;
    const silentMs = env.clock.wallMs() - Number(lastHeartbeat / NS_PER_MS);
    // Of one that was never heard of nobody knows since when it is silent.
    if (lastHeartbeat === 0n || silentMs <= BURIED_KEPT_MS || this.#changing.has(store.id)) return;
    if (cluster.regions.onStore(store.id).regionCount > 0) return;
    this.#changing.add(store.id);
    cluster.storeChanges.run((done) =>
      cluster.forgetStore(store.id, (error) => {
        this.#changing.delete(store.id);
        done();
        if (error === undefined) env.log.info("a buried store is forgotten", { store: store.id });
      }),
    );
  }

  #change(store: StoreInfo, state: NodeState): void {
    if (this.#changing.has(store.id)) return;
    this.#changing.add(store.id);
    const { cluster, env } = this.#view;
    const from = store.nodeState;
    cluster.storeChanges.run((done) => {
      const finish = (): void => {
        this.#changing.delete(store.id);
        done();
      };
      // Another change may have come first, as a removal that was taken back.
      if (store.nodeState !== from || cluster.store(store.id) !== store) return finish();
      const changed = new StoreInfo(metapb.Store.create(store.meta), store.lastHeartbeatMs);
      changed.setNodeState(state);
      cluster.saveStore(changed.meta, (error) => {
        if (error === undefined) {
          store.setNodeState(state);
          env.log.info("store state changed", { store: store.id, state });
          if (state === "removed") this.#events.buried(store.id);
          this.#events.changed();
        } else {
          env.log.warn("storing a store's state failed", { store: store.id, state, error: error.message });
        }
        finish();
      });
    });
  }

  #arm(): void {
    this.#timer = this.#view.env.timers.set(LOOK_MS, () => {
      if (this.#stopped) return;
      this.look();
      this.#arm();
    });
  }
}
