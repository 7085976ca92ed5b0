/**
 * Garbage collection points: t, before which no transaction may start; g, before which data may be gone; barriers
 * that hold t back. Always g <= t <= every unexpired barrier, and both only grow. (pd-rules 12.1 to 12.10)
 *
 * Everything is in memory and stored before it changes; one change at a time.
 */
import { fromUtf8, utf8 } from "../base/index.js";
import { type PdContext, readPrefix, writeGuarded } from "./context.js";
import { Serial } from "./serial.js";
import { TXN_SAFE_POINT_KEY } from "./keys.js";
import type { MetaOperation } from "./meta-store.js";
import { type Step, together } from "./together.js";
import { physicalOf, type TimestampOracle } from "./timestamp-oracle.js";

export const FOREVER: bigint = (1n << 63n) - 1n;
export const GC_WORKER = "gc_worker";

export interface GcBarrier {
  readonly id: string;
  readonly timestamp: bigint;
  /** Unix seconds; FOREVER for never. */
  readonly expiresAt: bigint;
}

export type GcResult<T> =
  | { readonly kind: "ok"; readonly value: T }
  | { readonly kind: "refused"; readonly reason: string };
const ok = <T>(value: T): GcResult<T> => ({ kind: "ok", value });
const refused = (reason: string): GcResult<never> => ({ kind: "refused", reason });

export class GcState {
  readonly #context: PdContext;
  readonly #timestamps: TimestampOracle;
  readonly #changes = new Serial();
  readonly #barriers = new Map<string, GcBarrier>();
  #txnSafePoint = 0n;
  #gcSafePoint = 0n;

  constructor(context: PdContext, timestamps: TimestampOracle) {
    this.#context = context;
    this.#timestamps = timestamps;
  }

  get txnSafePoint(): bigint {
    return this.#txnSafePoint;
  }

  get gcSafePoint(): bigint {
    return this.#gcSafePoint;
  }

  barriers(): GcBarrier[] {
    return [...this.#barriers.values()].filter((barrier) => barrier.id !== GC_WORKER);
  }

  /** Unix seconds by the timestamps, which never go back. */
  nowSeconds(): bigint {
    const wallMs = this.#timestamps.physicalMs || Math.floor(this.#context.env.clock.wallMs());
    return BigInt(Math.floor(wallMs / 1000));
  }

  load(callback: (error: Error | undefined) => void): void {
    const { metaStore, keys } = this.#context;
    const read = (key: Uint8Array, take: (text: string) => void): Step => {
      return (done) =>
        metaStore.get(key, (error, stored) => {
          if (error === undefined) take(stored === undefined ? "" : fromUtf8(stored.value));
          done(error);
        });
    };
    together(
      [
        read(TXN_SAFE_POINT_KEY, (text) => {
          this.#txnSafePoint = BigInt(text || "0");
        }),
        read(keys.gcSafePoint, (text) => {
          this.#gcSafePoint = BigInt(`0x${text || "0"}`);
        }),
        (done) => readPrefix(metaStore, keys.gcBarriers, (_key, value) => this.#loadBarrier(value), done),
      ],
      callback,
    );
  }

  /** Moves t to the target or as far as the barriers allow; being held back is not an error. (12.3) */
  advanceTxnSafePoint(
    target: bigint,
    callback: (result: GcResult<{ previous: bigint; current: bigint; blocker: string }>) => void,
  ): void {
    this.#change(callback, (done) => {
      const previous = this.#txnSafePoint;
      if (target < previous) {
        return done(
          refused(
            `trying to update txn safe point to a smaller value, current value: ${previous}, given: ${target}`,
          ),
        );
      }
      const now = this.nowSeconds();
      const expired = this.barriers().filter((barrier) => barrier.expiresAt < now);
      let current = target;
      let blocker = "";
      for (const barrier of this.barriers()) {
        if (barrier.expiresAt < now || barrier.timestamp >= current) continue;
        current = barrier.timestamp;
        blocker = barrier.id;
      }
      if (current < previous) current = previous;
      // Expired barriers go in the same transaction: one once taken as expired must not come back.
      const operations: MetaOperation[] = [
        { kind: "put", key: TXN_SAFE_POINT_KEY, value: utf8(String(current)) },
        ...expired.map(
          (barrier) => ({ kind: "delete", key: this.#context.keys.gcBarrier(barrier.id) }) as const,
        ),
      ];
      this.#write(operations, done, () => {
        this.#txnSafePoint = current;
        for (const barrier of expired) this.#barriers.delete(barrier.id);
        return { previous, current, blocker };
      });
    });
  }

  /** Moves g; never beyond t. */
  advanceGcSafePoint(
    target: bigint,
    callback: (result: GcResult<{ previous: bigint; current: bigint }>) => void,
  ): void {
    this.#change(callback, (done) => {
      const previous = this.#gcSafePoint;
      if (target === previous) return done(ok({ previous, current: previous }));
      if (target < previous) {
        return done(
          refused(
            `trying to update GC safe point to a smaller value, current value: ${previous}, given: ${target}`,
          ),
        );
      }
      if (target > this.#txnSafePoint) {
        return done(
          refused(
            `trying to update GC safe point to a too large value that exceeds the txn safe point, ` +
              `current value: ${previous}, given: ${target}, current txn safe point: ${this.#txnSafePoint}`,
          ),
        );
      }
      const value = utf8(target.toString(16));
      this.#write([{ kind: "put", key: this.#context.keys.gcSafePoint, value }], done, () => {
        this.#gcSafePoint = target;
        return { previous, current: target };
      });
    });
  }

  setBarrier(
    id: string,
    timestamp: bigint,
    ttlSeconds: bigint,
    callback: (result: GcResult<GcBarrier>) => void,
  ): void {
    this.#change(callback, (done) => {
      if (ttlSeconds <= 0n) return done(refused(`invalid argument for ttl: ${ttlSeconds}`));
      if (id === "" || id === GC_WORKER) {
        return done(refused(`trying to set a GC barrier with a barrier ID that is reserved: ${id}`));
      }
      if (timestamp < this.#txnSafePoint) {
        return done(
          refused(
            `trying to set a GC barrier on ts ${timestamp} which is already behind the txn safe point ` +
              `${this.#txnSafePoint}`,
          ),
        );
      }
      const now = this.nowSeconds();
      const expiresAt = ttlSeconds >= FOREVER - now - 1n ? FOREVER : now + ttlSeconds + 1n;
      const barrier: GcBarrier = { id, timestamp, expiresAt };
      const stored = `{"service_id":${JSON.stringify(id)},"expired_at":${expiresAt},"safe_point":${timestamp}}`;
      const key = this.#context.keys.gcBarrier(id);
      this.#write([{ kind: "put", key, value: utf8(stored) }], done, () => {
        this.#barriers.set(id, barrier);
        return barrier;
      });
    });
  }

  deleteBarrier(id: string, callback: (result: GcResult<GcBarrier | undefined>) => void): void {
    this.#change(callback, (done) => {
      const barrier = this.#barriers.get(id);
      if (barrier === undefined) return done(ok(undefined));
      this.#write([{ kind: "delete", key: this.#context.keys.gcBarrier(id) }], done, () => {
        this.#barriers.delete(id);
        return barrier;
      });
    });
  }

  secondsLeft(expiresAt: bigint): bigint {
    if (expiresAt === FOREVER) return FOREVER;
    const left = expiresAt - this.nowSeconds();
    return left > 0n ? left : 0n;
  }

  #change<T>(
    callback: (result: GcResult<T>) => void,
    run: (done: (result: GcResult<T>) => void) => void,
  ): void {
    this.#changes.run((next) =>
      run((result) => {
        next();
        callback(result);
      }),
    );
  }

  #write<T>(operations: readonly MetaOperation[], done: (result: GcResult<T>) => void, apply: () => T): void {
    writeGuarded(this.#context, operations, (error) => {
      done(error === undefined ? ok(apply()) : refused(error.message));
    });
  }

  /** The numbers are read as text first: JSON numbers lose digits above 2^53. */
  #loadBarrier(value: Uint8Array): void {
    const text = fromUtf8(value);
    const field = (name: string): bigint => BigInt(new RegExp(`"${name}":([0-9]+)`).exec(text)?.[1] ?? "0");
    const id = (JSON.parse(text) as { service_id: string }).service_id;
    this.#barriers.set(id, { id, timestamp: field("safe_point"), expiresAt: field("expired_at") });
  }
}

export const timestampSeconds = (timestamp: bigint): bigint =>
  BigInt(Math.floor(physicalOf(timestamp) / 1000));
