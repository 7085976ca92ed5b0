/**
 * Who may decide. Everything in PD asks `isServing()` before it answers and writes through `transact`, so that a PD
 * that lost its office can neither answer nor write. (pd-rules 1.4, 1.9, 1.12)
 *
 * Three kinds: a PD alone on its embedded store (`SoleLeadership`), one term of an elected leader
 * (`term-of-office.ts`), and the time between terms, when a PD follows (`Followership`).
 */
import type { Env } from "../base/index.js";
import { RaftwerkError } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import type { MetaCallback, MetaStore, MetaTransaction, MetaTransactionResult } from "./meta-store.js";

/**
 * What a PD may say about regions. `leader`: all of it; `follower`: to callers that allow it, its copy being a little
 * old; `leaderless`: to everybody, because nobody knows better and stores check epochs themselves; `none`: nothing.
 */
export type LookupRole = "leader" | "follower" | "leaderless" | "none";

export interface Leadership {
  /**
   * Whether this PD is the leader now. Cheap: asked for every request, and again after a timestamp was taken.
   */
  isServing(): boolean;
  lookupRole(): LookupRole;
  /**
   * A transaction that takes place only while the leader key is still mine; `succeeded` is false otherwise, as when
   * one of its own compares fails. After an error the change is either there already or will never be: read, then
   * go on.
   */
  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void;
  /** Gives up at once. */
  resign(reason: string): void;
}

const NOTHING_DONE: MetaTransactionResult = { succeeded: false, revision: 0, entries: [] };

export class SoleLeadership implements Leadership {
  readonly #env: Env;
  readonly #metaStore: MetaStore;
  readonly #keys: MetaKeys;
  /** The fencing token: the same bytes for the whole life of the process. */
  readonly #token: Uint8Array;
  readonly #onResigned: (reason: string) => void;
  #serving = false;

  constructor(
    env: Env,
    metaStore: MetaStore,
    keys: MetaKeys,
    token: Uint8Array,
    onResigned: (reason: string) => void,
  ) {
    this.#env = env;
    this.#metaStore = metaStore;
    this.#keys = keys;
    this.#token = token;
    this.#onResigned = onResigned;
  }

  /**
   * Takes the key, whoever held it: with an embedded store there is no other PD, only an earlier life of this
   * one.
   */
  campaign(callback: (error: Error | undefined) => void): void {
    this.#metaStore.put(this.#keys.leader, this.#token, (error) => {
      if (error === undefined) this.#serving = true;
      callback(error);
    });
  }

  isServing(): boolean {
    return this.#serving;
  }

  lookupRole(): LookupRole {
    return this.#serving ? "leader" : "none";
  }

  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    const mine = { kind: "value", key: this.#keys.leader, equals: this.#token } as const;
    this.#metaStore.transact(
      { ...transaction, compares: [mine, ...transaction.compares] },
      (error, result) => {
        callback(error, result);
        // A store that failed once takes nothing more, and only a new process finds out what it holds. Timestamps would
        // notice when their window ends, which after a jump of the clock may be far away.
        if (error instanceof RaftwerkError && error.code === "engineFailed") this.resign(error.message);
      },
    );
  }

  resign(reason: string): void {
    if (!this.#serving) return;
    this.#serving = false;
    this.#env.log.error("PD stops serving", { reason });
    this.#onResigned(reason);
  }

  /** An orderly end: no message, no callback. */
  stop(): void {
    this.#serving = false;
  }
}

/** Between terms: nothing is decided or written; what is known of regions may be asked for. */
export class Followership implements Leadership {
  /** Set by who follows, as the next. */
  isLeaderKnown = false;
  /** All of that leader's regions are here. */
  isSynced = false;
  hasRegions: () => boolean = () => false;

  isServing(): boolean {
    return false;
  }

  lookupRole(): LookupRole {
    if (this.isLeaderKnown) return this.isSynced ? "follower" : "none";
    return this.hasRegions() ? "leaderless" : "none";
  }

  transact(_transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void {
    callback(lostLeadership(), NOTHING_DONE);
  }

  resign(): void {}
}

export const lostLeadership = (): RaftwerkError =>
  new RaftwerkError(
    "pdUnavailable",
    "[PD:etcd:ErrEtcdTxnConflict]etcd transaction failed, conflicted and rolled back",
    {
      retry: "safe",
    },
  );
