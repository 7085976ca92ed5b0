/**
 * The log of one node: stable storage below, unstable entries above, and the cursors over both.
 *
 * applied <= applying <= committed <= last index. `applying` counts what was handed out to apply; the bytes handed out
 * and not acknowledged are bounded over all Readys, and `applyingPaused` remembers that the bound cut something off.
 * Hand-out moves by what was handed out, never by what was asked for: a storage may return less.
 */
import { assert } from "../base/assert.js";
import type { Logger } from "../base/env.js";
import type { LogIndex, Term } from "../base/ids.js";
import { entriesBytes, limitEntries, NO_ENTRIES } from "./message.js";
import type { EntriesContext, Entry, NodeId, Snapshot, Storage, StorageError } from "./types.js";
import { Unstable } from "./unstable.js";

export class RaftLog {
  readonly storage: Storage;
  readonly unstable: Unstable;
  committed: number;
  applying: number;
  applied: number;
  readonly #applyingBytesMax: number;
  #applyingBytes = 0;
  #applyingPaused = false;
  /** Entries beyond the durable log that may be applied; raft-rs's limit for leaders. 0 in asynchronous mode. */
  unpersistedMax: number;

  constructor(storage: Storage, logger: Logger, applyingBytesMax: number, unpersistedMax: number) {
    this.storage = storage;
    const first = storage.firstIndex();
    this.unstable = new Unstable(storage.lastIndex() + 1, logger);
    this.committed = first - 1;
    this.applying = first - 1;
    this.applied = first - 1;
    this.#applyingBytesMax = applyingBytesMax;
    this.unpersistedMax = unpersistedMax;
  }

  firstIndex(): number {
    return this.unstable.maybeFirstIndex() ?? this.storage.firstIndex();
  }

  lastIndex(): number {
    const unstable = this.unstable;
    const count = unstable.entries.length;
    if (count > 0) return unstable.offset + count - 1;
    return unstable.snapshot?.metadata.index ?? this.storage.lastIndex();
  }

  term(index: number): number | StorageError {
    const own = this.unstable.maybeTerm(index);
    if (own !== undefined) return own;
    // The entry before the first is known by its term only.
    if (index + 1 < this.firstIndex()) return "compacted";
    if (index > this.lastIndex()) return "unavailable";
    const term = this.storage.term(index as LogIndex);
    assert(
      typeof term === "number" || term === "compacted" || term === "unavailable",
      () => `storage cannot answer the term of ${index}: ${term}`,
    );
    return term;
  }

  lastTerm(): number {
    const term = this.term(this.lastIndex());
    assert(typeof term === "number", () => `no term for the last index ${this.lastIndex()}: ${term}`);
    return term;
  }

  matchTerm(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  isUpToDate(index: number, term: number): boolean {
    const own = this.lastTerm();
    return term > own || (term === own && index >= this.lastIndex());
  }

  append(entries: readonly Entry[]): number {
    if (entries.length === 0) return this.lastIndex();
    const after = (entries[0] as Entry).index - 1;
    assert(
      after >= this.committed,
      () => `append after ${after} would overwrite committed ${this.committed}`,
    );
    this.unstable.truncateAndAppend(entries);
    return this.lastIndex();
  }

  /** Index of the first of `entries` that this log does not hold, or 0. */
  findConflict(entries: readonly Entry[]): number {
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (!this.matchTerm(entry.index, entry.term)) return entry.index;
    }
    return 0;
  }

  /**
   * The largest index <= `index` whose term is <= `term`: where this log and one that has `term` at `index` can agree
   * at best. An unknown term is a possible match, returned with term 0.
   */
  findConflictByTerm(index: number, term: number): { readonly index: number; readonly term: number } {
    for (let at = index; at > 0; at--) {
      const own = this.term(at);
      if (typeof own !== "number") return { index: at, term: 0 };
      if (own <= term) return { index: at, term: own };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): void {
    if (index <= this.committed) return;
    assert(index <= this.lastIndex(), () => `commit ${index} is beyond the last index ${this.lastIndex()}`);
    this.committed = index;
  }

  /** Commits `index` if it is new and of this term: entries of older terms commit only along with it. */
  maybeCommit(index: number, term: number): boolean {
    if (term === 0 || index <= this.committed || !this.matchTerm(index, term)) return false;
    this.commitTo(index);
    return true;
  }

  /** At start only: `index` may be ahead of what the state says is committed, then commit follows. */
  restoreApplied(index: number): void {
    assert(index >= this.applied && index <= this.committed, () => {
      return `applied ${index} is out of [${this.applied}, ${this.committed}]: was the commit index not persisted?`;
    });
    this.applied = index;
    this.applying = index;
  }

  appliedTo(index: number, bytes: number): void {
    assert(index <= this.committed && index >= this.applied, () => {
      return `applied ${index} is out of [${this.applied}, ${this.committed}]`;
    });
    this.applied = index;
    if (this.applying < index) this.applying = index;
    this.#applyingBytes = this.#applyingBytes > bytes ? this.#applyingBytes - bytes : 0;
    // Nothing under way is never too much: with a limit of 0 entries go one by one, and not only the first.
    this.#applyingPaused = this.#applyingBytes > 0 && this.#applyingBytes >= this.#applyingBytesMax;
  }

  #appliableTo(allowUnstable: boolean): number {
    if (allowUnstable) return this.committed;
    const durable = this.unstable.offset - 1 + this.unpersistedMax;
    return durable < this.committed ? durable : this.committed;
  }

  hasPendingSnapshot(): boolean {
    return this.unstable.snapshot !== undefined;
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.#applyingPaused || this.unstable.snapshot !== undefined) return false;
    return this.applying < this.#appliableTo(allowUnstable);
  }

  /** Entries to apply next. */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(allowUnstable)) return NO_ENTRIES;
    const room = this.#applyingBytesMax - this.#applyingBytes;
    const high = this.#appliableTo(allowUnstable) + 1;
    const entries = this.slice(this.applying + 1, high, room, READY_CONTEXT);
    assert(
      typeof entries !== "string",
      () => `committed entries are not readable: ${JSON.stringify(entries)}`,
    );
    return entries;
  }

  acceptApplying(index: number, bytes: number, allowUnstable: boolean): void {
    assert(index <= this.committed, () => `applying ${index} is beyond committed ${this.committed}`);
    this.applying = index;
    this.#applyingBytes += bytes;
    this.#applyingPaused =
      this.#applyingBytes >= this.#applyingBytesMax || index < this.#appliableTo(allowUnstable);
  }

  snapshot(requestIndex: number, to: NodeId): Snapshot | StorageError {
    const own = this.unstable.snapshot;
    if (own !== undefined && own.metadata.index >= requestIndex) return own;
    return this.storage.snapshot(requestIndex as LogIndex, to);
  }

  restore(snapshot: Snapshot): void {
    this.committed = snapshot.metadata.index;
    this.unstable.restore(snapshot);
  }

  /** Entries from `from` on, at most `bytesMax`. */
  entries(from: number, bytesMax: number, context: EntriesContext): readonly Entry[] | StorageError {
    const high = this.lastIndex() + 1;
    return from >= high ? NO_ENTRIES : this.slice(from, high, bytesMax, context);
  }

  slice(
    low: number,
    high: number,
    bytesMax: number,
    context: EntriesContext,
  ): readonly Entry[] | StorageError {
    assert(low <= high && high <= this.lastIndex() + 1, () => `slice [${low}, ${high}) is out of bounds`);
    if (low < this.firstIndex()) return "compacted";
    const offset = this.unstable.offset;
    if (low >= offset) return limitEntries(this.unstable.slice(low, high), bytesMax);
    const cut = high < offset ? high : offset;
    const stable = this.storage.entries(low as LogIndex, cut as LogIndex, bytesMax, context);
    if (typeof stable === "string") {
      assert(stable !== "unavailable", () => `entries [${low}, ${cut}) are missing from the storage`);
      return stable;
    }
    if (high <= offset || stable.length < cut - low) return stable;
    const room = bytesMax - (bytesMax === Number.POSITIVE_INFINITY ? 0 : entriesBytes(stable));
    if (room <= 0) return stable;
    const above = limitEntries(this.unstable.slice(offset, high), room);
    // The first of a limited list may be oversized: not behind others.
    if (above.length === 1 && entriesBytes(above) > room) return stable;
    return stable.concat(above);
  }

  /** Visits entries of [low, high) page by page until `visit` returns true; true if it did. */
  scan(
    low: number,
    high: number,
    pageBytes: number,
    visit: (entry: Entry) => boolean,
  ): boolean | StorageError {
    let at = low;
    while (at < high) {
      const page = this.slice(at, high, pageBytes, SCAN_CONTEXT);
      if (typeof page === "string") return page;
      assert(page.length > 0, () => `the storage returned no entries of [${at}, ${high})`);
      for (const entry of page) if (visit(entry)) return true;
      at += page.length;
    }
    return false;
  }
}

const READY_CONTEXT: EntriesContext = Object.freeze({
  reason: "ready",
  to: 0,
  term: 0 as Term,
  aggressively: false,
});
const SCAN_CONTEXT: EntriesContext = Object.freeze({
  reason: "campaign",
  to: 0,
  term: 0 as Term,
  aggressively: false,
});
