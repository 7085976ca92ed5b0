/**
 * One term of an elected leader: a lease on the leader key. It serves only while the lease cannot have run out by
 * this PD's own monotonic clock, counted from before each renewal was sent; the meta store's clock starts later, so
 * this PD always steps down first. (pd-rules 1.7 to 1.12)
 *
 * A renewal has two halves, and both count: etcd's lease, and a key that is put again, by which those who follow see
 * for themselves that the leader lives (`leader-sight.ts`).
 *
 * Writes are fenced by the revision of the leader key. When the outcome of a write is unknown, the key is put
 * again: its new revision shuts out whatever is still under way, and only then is the caller told. So an "unknown"
 * write has happened or never will by the time the caller reads.
 */
import type { Env, TimerHandle } from "../base/index.js";
import { RaftwerkError, utf8 } from "../base/index.js";
import type { Leadership, LookupRole } from "./leadership.js";
import { lostLeadership } from "./leadership.js";
import type {
  MetaCallback,
  MetaCompare,
  MetaOperation,
  MetaStore,
  MetaTransaction,
  MetaTransactionResult,
} from "./meta-store.js";

/** How often the end of the lease is looked for. */
const STEP_DOWN_CHECK_MS = 50;
const REFENCE_PAUSE_MS = 100;
const REVOKE_WAIT_MS = 1_000;
/** Part of the lease that is not used: for clocks that run at a different speed. */
const MARGIN_SHARE = 0.05;

const NOTHING_DONE: MetaTransactionResult = { succeeded: false, revision: 0, entries: [] };

export interface TermOptions {
  readonly leaderKey: Uint8Array;
  /** Put with each renewal; its value is the lease in seconds. */
  readonly renewedKey: Uint8Array;
  readonly leaderValue: Uint8Array;
  readonly leaseId: number;
  readonly leaseSeconds: number;
  /** By the monotonic clock, before the lease was asked for. */
  readonly grantedMs: number;
  /** Of the leader key, when it was won. */
  readonly revision: number;
  /** Once, when the term is over for whatever reason. */
  readonly onEnded: (reason: string) => void;
}

interface Write {
  readonly transaction: MetaTransaction;
  readonly callback: MetaCallback<MetaTransactionResult>;
}

export class TermOfOffice implements Leadership {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #options: TermOptions;
  #revision: number;
  /** Of the lease in etcd, and of what the followers wait for. */
  readonly #expiryMs: { lease: number; sight: number };
  #ended = false;
  #checkTimer: TimerHandle | undefined;
  #renewTimer: TimerHandle | undefined;
  /** A write's outcome is unknown and the key is being put again. */
  #isFencing = false;
  #held: Write[] = [];

  constructor(env: Env, metaStore: MetaStore, options: TermOptions) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#options = options;
    this.#revision = options.revision;
    const expiryMs = this.#expiryAfter(options.grantedMs);
    this.#expiryMs = { lease: expiryMs, sight: expiryMs };
    this.#check();
    this.#renew();
  }

  get leaseId(): number {
    return this.#options.leaseId;
  }

  /** Time until this PD stops by itself, if no renewal is answered. */
  get leftMs(): number {
    const { lease, sight } = this.#expiryMs;
    return Math.max(0, Math.min(lease, sight) - this.#env.clock.monotonicMs());
  }

  isServing(): boolean {
    return !this.#ended && this.leftMs > 0;
  }

  lookupRole(): LookupRole {
    return this.isServing() ? "leader" : "none";
  }

  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    if (!this.isServing()) {
      this.#env.timers.nextTurn(() => callback(lostLeadership(), NOTHING_DONE));
      return;
    }
    if (this.#isFencing) this.#held.push({ transaction, callback });
    else this.#write({ transaction, callback });
  }

  resign(reason: string): void {
    this.resignThen(reason, () => {});
  }

  /** Calls back once the key is free for others, or etcd did not say so in time. */
  resignThen(reason: string, callback: () => void): void {
    let called = false;
    const done = (): void => {
      if (called) return;
      called = true;
      callback();
    };
    this.#end(reason, () => {
      this.#env.timers.set(REVOKE_WAIT_MS, done);
      this.#metaStore.revokeLease(this.#options.leaseId, done);
    });
  }

  /**
   * Stops serving, then gives the key up in one transaction with `operations`, which may name a successor.
   */
  handOver(operations: readonly MetaOperation[], callback: (error: Error | undefined) => void): void {
    if (!this.isServing()) return callback(lostLeadership());
    const compares = [this.#mine()];
    this.#end("handed over", () => {
      const transaction: MetaTransaction = {
        compares,
        onSuccess: [...operations, { kind: "delete", key: this.#options.leaderKey }],
      };
      this.#metaStore.transact(transaction, (error, { succeeded }) => {
        this.#metaStore.revokeLease(this.#options.leaseId, () => {});
        callback(error ?? (succeeded ? undefined : lostLeadership()));
      });
    });
  }

  #mine(): MetaCompare {
    return { kind: "modRevision", key: this.#options.leaderKey, equals: this.#revision };
  }

  #write({ transaction, callback }: Write): void {
    const compares = [this.#mine(), ...transaction.compares];
    this.#metaStore.transact({ ...transaction, compares }, (error, result) => {
      const isUnknown = error instanceof RaftwerkError ? error.retry === "unknown" : error !== undefined;
      if (!isUnknown) return callback(error, result);
      this.#fence(() => callback(error, result));
    });
  }

  /** Puts the leader key again until it is known to be there, or the term is over. */
  #fence(done: () => void): void {
    if (this.#isFencing) {
      // Of two unknown writes the second is settled by the same or the next fence: wait until none is under way.
      this.#env.timers.set(REFENCE_PAUSE_MS, () => (this.#isFencing ? this.#fence(done) : done()));
      return;
    }
    this.#isFencing = true;
    const release = (): void => {
      this.#isFencing = false;
      done();
      const held = this.#held;
      this.#held = [];
      for (const write of held) this.transact(write.transaction, write.callback);
    };
    const attempt = (): void => {
      if (!this.isServing()) return release();
      const { leaderKey, leaderValue, leaseId } = this.#options;
      // By value and lease, not by revision: an earlier attempt may have gone through unseen.
      const put = { kind: "put", key: leaderKey, value: leaderValue, leaseId } as const;
      this.#metaStore.get(leaderKey, (readError, entry) => {
        if (readError !== undefined) return void this.#env.timers.set(REFENCE_PAUSE_MS, attempt);
        if (entry === undefined || entry.leaseId !== leaseId) {
          this.#end("the leader key is no longer mine", () => {});
          return release();
        }
        const unchanged = { kind: "modRevision", key: leaderKey, equals: entry.modRevision } as const;
        this.#metaStore.transact({ compares: [unchanged], onSuccess: [put] }, (error, result) => {
          if (error !== undefined || !result.succeeded)
            return void this.#env.timers.set(REFENCE_PAUSE_MS, attempt);
          this.#revision = result.revision;
          release();
        });
      });
    };
    attempt();
  }

  #expiryAfter(sentMs: number): number {
    return sentMs + this.#options.leaseSeconds * 1000 * (1 - MARGIN_SHARE);
  }

  #check(): void {
    this.#checkTimer = this.#env.timers.set(STEP_DOWN_CHECK_MS, () => {
      if (this.#ended) return;
      if (this.isServing()) return this.#check();
      this.#end("the lease could not be renewed in time", () => {});
    });
  }

  /** Every third of the lease, each renewal on its own: a slow one does not hold up the next. */
  #renew(): void {
    this.#renewTimer = this.#env.timers.set((this.#options.leaseSeconds * 1000) / 3, () => {
      if (this.#ended) return;
      this.#renew();
      const sentMs = this.#env.clock.monotonicMs();
      this.#metaStore.keepAliveLease(this.#options.leaseId, (error, seconds) => {
        if (this.#ended) return;
        if (error !== undefined)
          return this.#env.log.warn("the lease was not renewed", { error: error.message });
        if (seconds <= 0) return this.#end("the lease is gone", () => {});
        this.#extend("lease", sentMs);
      });
      this.#showLife(sentMs);
    });
  }

  #showLife(sentMs: number): void {
    const { renewedKey, leaseId, leaseSeconds } = this.#options;
    const revision = this.#revision;
    const put = { kind: "put", key: renewedKey, value: utf8(String(leaseSeconds)), leaseId } as const;
    const transaction = { compares: [this.#mine()], onSuccess: [put] };
    this.#metaStore.transactOutOfLine(transaction, (error, { succeeded }) => {
      if (this.#ended) return;
      if (error !== undefined)
        return this.#env.log.warn("the leader's renewal was not stored", { error: error.message });
      if (succeeded) return this.#extend("sight", sentMs);
      // Unless the key was put again by this PD meanwhile.
      if (!this.#isFencing && revision === this.#revision)
        this.#end("the leader key is no longer mine", () => {});
    });
  }

  /** Never after it ran out: another PD may have served since. */
  #extend(half: "lease" | "sight", sentMs: number): void {
    if (!this.isServing()) return;
    this.#expiryMs[half] = Math.max(this.#expiryMs[half], this.#expiryAfter(sentMs));
  }

  #end(reason: string, then: () => void): void {
    if (this.#ended) return then();
    this.#ended = true;
    for (const timer of [this.#checkTimer, this.#renewTimer]) {
      if (timer !== undefined) this.#env.timers.clear(timer);
    }
    this.#env.log.warn("PD leadership ends", { reason });
    this.#options.onEnded(reason);
    then();
  }
}
