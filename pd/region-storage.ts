/**
 * Keeps region metadata so that a restarted PD knows every region at once. Writes are gathered for a moment and go
 * together; what a crash loses of them the next heartbeats bring back. (pd-rules 4.10)
 *
 * Each PD keeps them on a disk of its own: the meta store holds what must be agreed upon and synced, and regions need
 * not be. Only a PD without such a disk keeps them as metadata.
 */
import { type Engine, type Env, nextKey, type TimerHandle } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import type { MetaOperation } from "./meta-store.js";
import type { RegionMeta } from "./region-info.js";
import { decodeRegionMeta, encodeRegionMeta } from "./wire.js";

const FLUSH_DELAY_MS = 100;
/** Between the parts of what does not go into one write. */
const REST_MS = 10;
/** etcd's default limit is 128 operations a transaction. */
const META_STORE_BATCH = 100;
/** Two milliseconds of a turn. */
const ENGINE_BATCH = 250;
const PAGE_ROWS = 1_000;

export type WrittenRegions = readonly (readonly [id: number, meta: RegionMeta | undefined])[];

/** Where the regions are. */
export interface RegionDisk {
  load(visit: (meta: RegionMeta) => void, callback: (error: Error | undefined) => void): void;
  /** An undefined record is to be deleted. */
  write(regions: WrittenRegions, callback: (error: Error | undefined) => void): void;
  /** Records that go into one write. */
  readonly batchMax: number;
  /** After a failed write: whether to try again. */
  readonly isWorthRetry: boolean;
}

/** In the meta store, as the leader alone may. */
export class MetaStoreRegions implements RegionDisk {
  readonly batchMax = META_STORE_BATCH;
  readonly #context: PdContext;

  constructor(context: PdContext) {
    this.#context = context;
  }

  get isWorthRetry(): boolean {
    return this.#context.leadership.isServing();
  }

  load(visit: (meta: RegionMeta) => void, callback: (error: Error | undefined) => void): void {
    const { metaStore, keys } = this.#context;
    readPrefix(metaStore, keys.regions, (_key, value) => visit(decodeRegionMeta(value)), callback);
  }

  write(regions: WrittenRegions, callback: (error: Error | undefined) => void): void {
    const operations = regions.map(([id, meta]): MetaOperation => {
      const key = this.#context.keys.region(id);
      return meta === undefined
        ? { kind: "delete", key }
        : { kind: "put", key, value: encodeRegionMeta(meta) };
    });
    writeGuarded(this.#context, operations, callback);
  }
}

/** On a disk of this PD's own, leader or not; without sync, since a loss heals. */
export class EngineRegions implements RegionDisk {
  readonly batchMax = ENGINE_BATCH;
  readonly isWorthRetry = true;
  readonly #engine: Engine;
  readonly #keys: MetaKeys;

  constructor(engine: Engine, keys: MetaKeys) {
    this.#engine = engine;
    this.#keys = keys;
  }

  load(visit: (meta: RegionMeta) => void, callback: (error: Error | undefined) => void): void {
    const prefix = this.#keys.regions;
    const end = prefix.slice();
    end[end.length - 1] = (end.at(-1) as number) + 1;
    const page = (start: Uint8Array): void => {
      this.#engine.scan("default", { start, end, limit: PAGE_ROWS }, (error, result) => {
        if (error !== undefined) return callback(error);
        for (const row of result.rows) visit(decodeRegionMeta(row.value));
        const last = result.rows.at(-1);
        if (result.finished || last === undefined) callback(undefined);
        else page(nextKey(last.key));
      });
    };
    page(prefix);
  }

  write(regions: WrittenRegions, callback: (error: Error | undefined) => void): void {
    const batch = this.#engine.batch();
    for (const [id, meta] of regions) {
      const key = this.#keys.region(id);
      if (meta === undefined) batch.delete("default", key);
      else batch.put("default", key, encodeRegionMeta(meta));
    }
    this.#engine.write(batch, { sync: false }, callback);
  }
}

export class RegionStorage {
  readonly #env: Env;
  readonly #disk: RegionDisk;
  /** Undefined stands for a deletion. */
  readonly #dirty = new Map<number, RegionMeta | undefined>();
  #timer: TimerHandle | undefined;
  #flushing = false;

  constructor(env: Env, disk: RegionDisk) {
    this.#env = env;
    this.#disk = disk;
  }

  load(visit: (meta: RegionMeta) => void, callback: (error: Error | undefined) => void): void {
    this.#disk.load(visit, callback);
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
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
    this.#timer = undefined;
    if (this.#dirty.size === 0 || this.#flushing) return callback();
    this.#write(() => this.flush(callback), callback);
  }

  #schedule(delayMs = FLUSH_DELAY_MS): void {
    if (this.#timer !== undefined || this.#flushing) return;
    this.#timer = this.#env.timers.set(delayMs, () => {
      this.#timer = undefined;
      const again = (restMs: number): void => {
        if (this.#dirty.size > 0) this.#schedule(restMs);
      };
      const { size } = this.#dirty;
      this.#write(
        () => again(size > this.#disk.batchMax ? REST_MS : FLUSH_DELAY_MS),
        () => again(FLUSH_DELAY_MS),
      );
    });
  }

  #write(onDone: () => void, onFailed: () => void): void {
    const written: [number, RegionMeta | undefined][] = [];
    for (const one of this.#dirty) {
      written.push(one);
      if (written.length >= this.#disk.batchMax) break;
    }
    if (written.length === 0) return onDone();
    for (const [id] of written) this.#dirty.delete(id);
    this.#flushing = true;
    this.#disk.write(written, (error) => {
      this.#flushing = false;
      if (error === undefined) return onDone();
      this.#env.log.warn("storing regions failed", { error: error.message, regions: written.length });
      for (const [id, meta] of written) if (!this.#dirty.has(id)) this.#dirty.set(id, meta);
      if (this.#disk.isWorthRetry) onFailed();
    });
  }
}
