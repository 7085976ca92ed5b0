/**
 * What an administrator does to a store: take it out of service, take that back, bury what is gone, label, weigh and
 * limit it. What must survive is stored before memory changes, one change of stores at a time. (pd-rules 3.17 to
 * 3.27)
 *
 * Taking a store out only marks it Removing and lifts its remove-peer limit; repairs then replace its peers, and the
 * monitor buries it once nothing is left on it. `physicallyDestroyed` says that its data will not come back: then the
 * number of remaining stores is not asked about, and its address may be taken by a new store.
 */
import { utf8 } from "../base/index.js";
import { metapb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { type PdConfig, type StoreLimitConfig, UNLIMITED_RATE } from "./config.js";
import { writeGuarded } from "./context.js";
import { adjustClusterVersion, labelRefusal } from "./rpc-stores.js";
import type { Settings } from "./settings.js";
import { mergeLabels, StoreInfo } from "./store-info.js";
import type { LimitKind } from "./store-limit.js";
import { encodeStoreMeta } from "./wire.js";

export type StoreProblem = "unknown" | "removed" | "refused" | "failed";
export type StoreChange =
  | { readonly kind: "ok" }
  | { readonly kind: "refused"; readonly problem: StoreProblem; readonly reason: string };
export type StoreChangeCallback = (change: StoreChange) => void;

const OK: StoreChange = { kind: "ok" };
const refused = (problem: StoreProblem, reason: string): StoreChange => ({
  kind: "refused",
  problem,
  reason,
});
const unknownStore = (id: number): StoreChange =>
  refused("unknown", `[PD:core:ErrStoreNotFound]store ${id} not found`);

export class StoreAdmin {
  readonly #cluster: Cluster;
  readonly #settings: Settings;

  constructor(cluster: Cluster, settings: Settings) {
    this.#cluster = cluster;
    this.#settings = settings;
  }

  /** Marks a store as leaving. Again with the same flag does nothing; again with the flag upgrades. (3.17) */
  remove(id: number, physicallyDestroyed: boolean, callback: StoreChangeCallback): void {
    this.#change(id, callback, (store, done) => {
      if (store.isRemoving && store.meta.physicallyDestroyed === physicallyDestroyed) return done(OK);
      const gone = goneProblem(store);
      if (gone !== undefined) return done(gone);
      const tooFew = physicallyDestroyed || !store.isUp ? undefined : this.#tooFewStoresLeft(store);
      if (tooFew !== undefined) return done(refused("refused", tooFew));
      const limits = store.isUp ? this.#cluster.context.config.storeLimit(id) : undefined;
      const state = (changed: StoreInfo): void => {
        changed.setNodeState("removing");
        changed.meta.physicallyDestroyed = physicallyDestroyed;
      };
      if (limits === undefined) return this.#save(store, state)(done);
      this.#saveWithLimit(store, state, { ...limits, "remove-peer": UNLIMITED_RATE }, (change) => {
        if (change.kind === "ok") store.limitsBeforeRemoval = limits;
        done(change);
      });
    });
  }

  /** Takes a removal back. (3.18) */
  putInService(id: number, callback: StoreChangeCallback): void {
    this.#change(id, callback, (store, done) => {
      const gone = goneProblem(store);
      if (gone !== undefined) return done(gone);
      if (store.isUp) return done(OK);
      const serve = (changed: StoreInfo): void => changed.setNodeState("serving");
      this.#saveWithLimit(store, serve, store.limitsBeforeRemoval, (change) => {
        if (change.kind === "ok") store.limitsBeforeRemoval = undefined;
        done(change);
      });
    });
  }

  /** Forgets buried stores; those that still have regions in PD's map stay and are named. (3.21) */
  forgetRemoved(callback: StoreChangeCallback): void {
    const { context, regions, stores } = this.#cluster;
    const buried = [...stores.values()].filter((store) => store.isRemoved);
    const failed = buried.filter((store) => regions.onStore(store.id).regionCount > 0);
    const empty = buried.filter((store) => !failed.includes(store));
    const next = (index: number): void => {
      const store = empty[index];
      if (store === undefined) {
        // Limits and the version follow by themselves: they are stored with the next change at the latest.
        this.#settings.save(() => {});
        if (failed.length === 0) return callback(OK);
        const ids = failed.map(({ id }) => id).join(", ");
        return callback(refused("failed", `failed stores: ${ids}`));
      }
      this.#cluster.storeChanges.run((done) => {
        this.#cluster.forgetStore(store.id, (error) => {
          done();
          if (error !== undefined) return callback(refused("failed", error.message));
          context.config.storeLimits.delete(store.id);
          adjustClusterVersion(this.#cluster);
          next(index + 1);
        });
      });
    };
    next(0);
  }

  /** Merged with what is there, or in its place; an empty value deletes. (3.4, 3.27) */
  setLabels(
    id: number,
    labels: readonly metapb.StoreLabel[],
    replace: boolean,
    callback: StoreChangeCallback,
  ): void {
    this.#change(id, callback, (store, done) => {
      this.#saveLabels(store, mergeLabels(replace ? [] : store.meta.labels, labels), done);
    });
  }

  deleteLabel(id: number, key: string, callback: StoreChangeCallback): void {
    this.#change(id, callback, (store, done) => {
      const labels = store.meta.labels.filter((label) => label.key !== key);
      if (labels.length === store.meta.labels.length) {
        return done(refused("failed", `the label key ${key} does not exist`));
      }
      this.#saveLabels(store, labels, done);
    });
  }

  /** How much of leaders and of data the store should carry, relative to others. (3.25) */
  setWeights(id: number, leader: number, region: number, callback: StoreChangeCallback): void {
    this.#change(id, callback, (store, done) => {
      const { context } = this.#cluster;
      const weights = [
        { kind: "put", key: context.keys.storeWeight(id, "leader"), value: utf8(String(leader)) },
        { kind: "put", key: context.keys.storeWeight(id, "region"), value: utf8(String(region)) },
      ] as const;
      writeGuarded(context, weights, (error) => {
        if (error !== undefined) return done(refused("failed", error.message));
        store.leaderWeight = leader;
        store.regionWeight = region;
        done(OK);
      });
    });
  }

  #saveLabels(store: StoreInfo, labels: metapb.StoreLabel[], done: StoreChangeCallback): void {
    const problem = labelRefusal(this.#cluster.context, labels);
    if (problem !== undefined) return done(refused("failed", problem));
    this.#save(store, (changed) => {
      changed.meta.labels = labels;
    })(done);
  }

  #change(
    id: number,
    callback: StoreChangeCallback,
    run: (store: StoreInfo, done: StoreChangeCallback) => void,
  ): void {
    this.#cluster.storeChanges.run((finish) => {
      const done: StoreChangeCallback = (change) => {
        finish();
        callback(change);
      };
      const store = this.#cluster.store(id);
      if (store === undefined) return done(unknownStore(id));
      run(store, done);
    });
  }

  /** Stores the changed metadata first; memory takes it over without losing a heartbeat that came meanwhile. */
  #save(store: StoreInfo, edit: (changed: StoreInfo) => void): (callback: StoreChangeCallback) => void {
    const changed = editedCopy(store, edit);
    return (callback) =>
      this.#cluster.saveStore(changed.meta, (error) => {
        if (error !== undefined) return callback(refused("failed", error.message));
        this.#take(store, changed);
        callback(OK);
      });
  }

  /** The store and its limit together; no limit means the default one. */
  #saveWithLimit(
    store: StoreInfo,
    edit: (changed: StoreInfo) => void,
    limit: StoreLimitConfig | undefined,
    callback: StoreChangeCallback,
  ): void {
    const changed = editedCopy(store, edit);
    const { keys } = this.#cluster.context;
    this.#settings.change(
      () => ({
        edit: (config) => {
          if (limit === undefined) config.storeLimits.delete(store.id);
          else config.storeLimits.set(store.id, limit);
          return undefined;
        },
        operations: () => [{ kind: "put", key: keys.store(store.id), value: encodeStoreMeta(changed.meta) }],
        apply: () => this.#take(store, changed),
      }),
      (outcome) => callback(outcome.kind === "failed" ? refused("failed", outcome.error.message) : OK),
    );
  }

  #take(store: StoreInfo, changed: StoreInfo): void {
    changed.meta.lastHeartbeat = store.meta.lastHeartbeat;
    store.meta = changed.meta;
    this.#cluster.context.env.log.info("store changed by an administrator", {
      store: store.id,
      state: store.nodeState,
      destroyed: store.meta.physicallyDestroyed,
    });
  }

  /** The remaining stores must be able to hold every replica, and one of them every leader. */
  #tooFewStoresLeft(leaving: StoreInfo): string | undefined {
    const { stores, context } = this.#cluster;
    const left = [...stores.values()].filter((store) => store.isUp && store !== leaving);
    const needed = context.config.maxReplicas;
    if (left.length < needed) {
      return (
        `can not remove store ${leaving.id} since the number of up stores would be ${left.length} ` +
        `while need ${needed}`
      );
    }
    if (left.every((store) => store.leaderInPauses > 0)) {
      return `can not remove store ${leaving.id} since there are no extra up store to store the leader`;
    }
    return undefined;
  }
}

/** Undefined kind means both. (3.26) */
export function setStoreLimit(
  config: PdConfig,
  id: number,
  perMinute: number,
  kind: LimitKind | undefined,
): void {
  config.storeLimits.set(id, withLimit(config.storeLimit(id), perMinute, kind));
}

export function withLimit(
  current: StoreLimitConfig,
  perMinute: number,
  kind: LimitKind | undefined,
): StoreLimitConfig {
  return kind === undefined
    ? { "add-peer": perMinute, "remove-peer": perMinute }
    : { ...current, [kind]: perMinute };
}

function editedCopy(store: StoreInfo, edit: (changed: StoreInfo) => void): StoreInfo {
  const changed = new StoreInfo(metapb.Store.create(store.meta), store.lastHeartbeatMs);
  edit(changed);
  return changed;
}

function goneProblem(store: StoreInfo): StoreChange | undefined {
  if (store.isRemoved) {
    return refused("removed", `[PD:core:ErrStoreRemoved]store ${store.id} has been removed`);
  }
  if (store.meta.physicallyDestroyed) {
    const reason = `[PD:core:ErrStoreDestroyed]store ${store.id} has been physically destroyed`;
    return refused("refused", reason);
  }
  return undefined;
}
