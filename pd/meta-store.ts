/**
 * Where PD keeps what must not be lost: a small, revisioned, ordered map with transactions, leases and watches, in
 * the shape of etcd's API, so that one PD can run on the embedded store and several on a real etcd.
 *
 * Contract:
 * - Each transaction that changes something gets the next revision; a `put` or `delete` is a transaction of one.
 * - A callback without error means durable (synced) and visible to every later call.
 * - Calls of one caller take effect in the order they were made.
 * - A transaction names each key at most once in a branch; a put with a lease that is gone is refused as a whole.
 * - An error with the retry class `unknown` means that the change may have happened, or may still happen later: who
 *   goes
 *   on must read first and fence (`Leadership.guard`).
 * - Values handed out and taken in may be kept by either side and are never changed.
 */
import { utf8 } from "../base/index.js";

export interface MetaEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Revision at which the key came into being (after its last deletion). */
  readonly createRevision: number;
  /** Revision of the last change. */
  readonly modRevision: number;
  /** 1 for a new key, plus one for each change. */
  readonly version: number;
  /** 0 when no lease is attached. */
  readonly leaseId: number;
}

/** What must hold for a transaction to take its success branch. A missing key has revision 0 and equals no value. */
export type MetaCompare =
  | { readonly kind: "value"; readonly key: Uint8Array; readonly equals: Uint8Array }
  | { readonly kind: "createRevision"; readonly key: Uint8Array; readonly equals: number }
  | { readonly kind: "modRevision"; readonly key: Uint8Array; readonly equals: number };

export type MetaOperation =
  | { readonly kind: "put"; readonly key: Uint8Array; readonly value: Uint8Array; readonly leaseId?: number }
  | { readonly kind: "delete"; readonly key: Uint8Array };

export interface MetaTransaction {
  readonly compares: readonly MetaCompare[];
  readonly onSuccess: readonly MetaOperation[];
  readonly onFailure?: readonly MetaOperation[];
  /** Read after the branch was taken, in the same revision. */
  readonly reads?: readonly Uint8Array[];
}

export interface MetaTransactionResult {
  readonly succeeded: boolean;
  readonly revision: number;
  /** Answers to `reads`, in order. */
  readonly entries: readonly (MetaEntry | undefined)[];
}

export interface MetaRange {
  readonly start: Uint8Array;
  /** Exclusive; undefined means to the last key. */
  readonly end: Uint8Array | undefined;
  /** 0 means no limit. */
  readonly limit: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

export interface MetaRangeResult {
  readonly entries: readonly MetaEntry[];
  /** True when the limit cut the answer. */
  readonly more: boolean;
  readonly revision: number;
}

export type MetaEvent =
  | { readonly kind: "put"; readonly entry: MetaEntry; readonly previous: MetaEntry | undefined }
  | {
      readonly kind: "delete";
      readonly key: Uint8Array;
      readonly revision: number;
      /** Undefined when the store no longer has it. */
      readonly previous: MetaEntry | undefined;
    };

export interface MetaWatch {
  cancel(): void;
}

export interface MetaWatchListener {
  /** All events of one revision, in the order of the transaction. */
  onEvents(events: readonly MetaEvent[], revision: number): void;
  /** The asked revision is no longer kept: read the range again and watch from its revision + 1. */
  onCompacted(): void;
}

export type MetaCallback<T> = (error: Error | undefined, result: T) => void;

export interface MetaStore {
  get(key: Uint8Array, callback: MetaCallback<MetaEntry | undefined>): void;
  range(range: MetaRange, callback: MetaCallback<MetaRangeResult>): void;
  put(key: Uint8Array, value: Uint8Array, callback: MetaCallback<number>): void;
  delete(key: Uint8Array, callback: MetaCallback<number>): void;
  transact(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void;
  /**
   * As `transact`, but beside the other calls and perhaps more than once: for renewals of a leader, which cannot wait
   * behind what is slow. Must do no harm when it takes place twice, or later than its answer says. After an error
   * it may have happened.
   */
  transactOutOfLine(transaction: MetaTransaction, callback: MetaCallback<MetaTransactionResult>): void;
  /** Keys put with the lease are deleted when it runs out. */
  grantLease(timeToLiveSeconds: number, callback: MetaCallback<number>): void;
  /** Answers the time to live in seconds; 0 when the lease is gone. */
  keepAliveLease(leaseId: number, callback: MetaCallback<number>): void;
  revokeLease(leaseId: number, callback: MetaCallback<void>): void;
  /**
   * Changes in [start, end) from `fromRevision` on; 0 means from now: of everything this caller does after the call
   * nothing is missed, of what it saw finished before nothing is told.
   */
  watch(
    start: Uint8Array,
    end: Uint8Array | undefined,
    fromRevision: number,
    listener: MetaWatchListener,
  ): MetaWatch;
  close(callback: (error: Error | undefined) => void): void;
}

/** Keys are text in PD's own use. */
export const metaKey = (text: string): Uint8Array => utf8(text);
