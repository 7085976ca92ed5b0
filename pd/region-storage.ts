/**
 * Keeps region metadata in the meta store so that a restarted PD knows every region at once. Writes are gathered for
 * a moment and go as one transaction; what a crash loses of them the next heartbeats bring back. (pd-rules 4.10)
 */
import type { TimerHandle } from "../base/index.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import type { MetaOperation } from "./meta-store.js";
import type { RegionMeta } from "./region-info.js";
import { decodeRegionMeta, encodeRegionMeta } from "./wire.js";

const FLUSH_DELAY_MS = 100;
/** etcd's default limit is 128 operations a transaction. */
const OPERATIONS_MAX = 100;

export class RegionStorage {
  readonly #context: PdContext;
  /** Undefined stands for a deletion. */
  readonly #dirty = new Map<number, RegionMeta | undefined>();
  #timer: TimerHandle | undefined;
  #flushing = false;

  constructor(context: PdContext) {
    this.#context = context;
  }

  load(visit: (meta: RegionMeta) => void, callback: (error: Error | undefined) => void): void {
    const { metaStore, keys } = this.#context;
    readPrefix(metaStore, keys.regions, (_key, value) => visit(decodeRegionMeta(value)), callback);
  }

  save(meta: RegionMeta): void {
    this.#dirty.set(meta.id, meta);
    this.#schedule();
  }

  delete(regionId: number): void {
    this.#dirty.set(regionId, undefined);
    this.#schedule();
  }

  /** Writes what is left now; for an orderly stop. */
  flush(callback: () => void): void {
    if (this.#timer !== undefined) this.#context.env.timers.clear(this.#timer);
    this.#timer = undefined;
    if (this.#dirty.size === 0 || this.#flushing) return callback();
    this.#write(() => this.flush(callback), callback);
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#flushing) return;
    this.#timer = this.#context.env.timers.set(FLUSH_DELAY_MS, () => {
      this.#timer = undefined;
      const again = (): void => {
        if (this.#dirty.size > 0) this.#schedule();
      };
      this.#write(again, again);
    });
  }

  #write(onDone: () => void, onFailed: () => void): void {
    const operations: MetaOperation[] = [];
    const written: [number, RegionMeta | undefined][] = [];
    for (const [id, meta] of this.#dirty) {
      const key = this.#context.keys.region(id);
      operations.push(
        meta === undefined ? { kind: "delete", key } : { kind: "put", key, value: encodeRegionMeta(meta) },
      );
      written.push([id, meta]);
      if (operations.length >= OPERATIONS_MAX) break;
    }
    if (operations.length === 0) return onDone();
    for (const [id] of written) this.#dirty.delete(id);
    this.#flushing = true;
    writeGuarded(this.#context, operations, (error) => {
      this.#flushing = false;
      if (error === undefined) return onDone();
      this.#context.env.log.warn("storing regions failed", { error: error.message, regions: written.length });
      for (const [id, meta] of written) if (!this.#dirty.has(id)) this.#dirty.set(id, meta);
      if (this.#context.leadership.isServing()) onFailed();
    });
  }
}
