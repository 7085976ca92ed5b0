/**
 * Up to which timestamp every store can be read without waiting for a transaction: the least of what stores report,
 * stored whenever it grows. A store that leads regions and reports nothing holds it at 0; raftwerk's own stores know no
 * transactions and report none. (pd-rules 12.19, 12.20)
 */
import type { TimerHandle } from "../base/index.js";
import type { Cluster } from "./cluster.js";
import { writeGuarded } from "./context.js";
import { decodeTimestampText, encodeTimestampText } from "./numbers.js";
import type { StoreInfo } from "./store-info.js";

/** Said of what has no meaning yet: a cluster that begins, a store that leads nothing. */
export const NO_MIN_RESOLVED: bigint = (1n << 64n) - 1n;

type Callback = (error: Error | undefined, timestamp: bigint) => void;

export class MinResolvedTimestamp {
  readonly #cluster: Cluster;
  readonly #ofStore = new Map<number, bigint>();
  /** As stored; undefined until it was read. */
  #known: bigint | undefined;
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#cluster.context.env.timers.clear(this.#timer);
  }

  get intervalMs(): number {
    return this.#cluster.context.config.minResolvedIntervalMs;
  }

  report(store: StoreInfo, timestamp: bigint): void {
    this.#ofStore.set(store.id, timestamp);
    if (this.#timer !== undefined || this.#stopped || this.intervalMs === 0) return;
    this.#timer = this.#cluster.context.env.timers.set(this.intervalMs, () => {
      this.#timer = undefined;
      if (this.intervalMs > 0) this.#advance();
    });
  }

  ofStore(id: number): bigint {
    const store = this.#cluster.store(id);
    if (store === undefined || !this.#cluster.isInitialized || !this.#counts(store)) return NO_MIN_RESOLVED;
    return this.#ofStore.get(id) ?? 0n;
  }

  /** The least of all stores, as stored. */
  ofCluster(callback: Callback): void {
    if (!this.#cluster.isInitialized) return callback(undefined, NO_MIN_RESOLVED);
    this.#read(callback);
  }

  #counts(store: StoreInfo): boolean {
    if (store.isRemoved || store.label("engine").startsWith("tiflash")) return false;
    return this.#cluster.regions.onStore(store.id).leaders.size > 0;
  }

  #read(callback: Callback): void {
    if (this.#known !== undefined) return callback(undefined, this.#known);
    const { metaStore, keys } = this.#cluster.context;
    metaStore.get(keys.minResolvedTimestamp, (error, entry) => {
      if (error !== undefined) return callback(error, 0n);
      this.#known ??= entry === undefined ? 0n : decodeTimestampText(entry.value);
      callback(undefined, this.#known);
    });
  }

  #advance(): void {
    this.#read((error, known) => {
      if (error !== undefined || this.#stopped || !this.#cluster.isInitialized) return;
      let least: bigint | undefined;
      for (const store of this.#cluster.stores.values()) {
        if (!this.#counts(store)) continue;
        const timestamp = this.#ofStore.get(store.id) ?? 0n;
        if (least === undefined || timestamp < least) least = timestamp;
      }
      if (least === undefined || least <= known) return;
      const grown = least;
      const { context } = this.#cluster;
      const value = encodeTimestampText(grown);
      writeGuarded(context, [{ kind: "put", key: context.keys.minResolvedTimestamp, value }], (failed) => {
        if (failed === undefined) this.#known = grown;
      });
    });
  }
}
