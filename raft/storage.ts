/**
 * `MemStorage`: a log in memory. The reference for what a `Storage` must do (its tests are the contract for others),
 * and the stable storage of tests and examples.
 *
 * `#entries[0]` is a dummy that holds index and term of the last snapshot or compaction. `append` cuts off what an
 * overlapping write replaces: a storage that only pushes makes followers reject for ever.
 */
import { assert } from "../base/assert.js";
import type { LogIndex, Term } from "../base/ids.js";
import {
  EMPTY_CONF_STATE,
  EMPTY_HARD_STATE,
  limitEntries,
  makeEntry,
  makeSnapshot,
  NO_ENTRIES,
} from "./message.js";
import type {
  Append,
  ConfState,
  EntriesContext,
  Entry,
  HardState,
  NodeId,
  Snapshot,
  Storage,
  StorageError,
} from "./types.js";

const copyConfState = (state: ConfState): ConfState => ({
  voters: [...state.voters],
  votersOutgoing: [...state.votersOutgoing],
  learners: [...state.learners],
  learnersNext: [...state.learnersNext],
  autoLeave: state.autoLeave,
});

export class MemStorage implements Storage {
  #hardState: HardState = EMPTY_HARD_STATE;
  #snapshot: Snapshot = makeSnapshot(0, 0);
  #entries: Entry[] = [makeEntry(0, 0)];

  /** A storage whose group was bootstrapped with this configuration, without a log. */
  static withConfState(confState: Partial<ConfState>): MemStorage {
    const storage = new MemStorage();
    storage.#snapshot = makeSnapshot(0, 0, copyConfState({ ...EMPTY_CONF_STATE, ...confState }));
    return storage;
  }

  initialState(): { readonly hardState: HardState; readonly confState: ConfState } {
    return { hardState: this.#hardState, confState: this.#snapshot.metadata.confState };
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState;
  }

  #offset(): number {
    return (this.#entries[0] as Entry).index;
  }

  firstIndex(): LogIndex {
    return (this.#offset() + 1) as LogIndex;
  }

  lastIndex(): LogIndex {
    return (this.#offset() + this.#entries.length - 1) as LogIndex;
  }

  term(index: LogIndex): Term | StorageError {
    const at = index - this.#offset();
    if (at < 0) return "compacted";
    const entry = this.#entries[at];
    return entry === undefined ? "unavailable" : entry.term;
  }

  entries(
    low: LogIndex,
    high: LogIndex,
    bytesMax: number,
    _context?: EntriesContext,
  ): readonly Entry[] | StorageError {
    const offset = this.#offset();
    if (low <= offset) return "compacted";
    if (high > this.lastIndex() + 1) return "unavailable";
    return limitEntries(this.#entries.slice(low - offset, high - offset), bytesMax);
  }

  snapshot(requestIndex: LogIndex, _to: NodeId): Snapshot | StorageError {
    if (this.#snapshot.metadata.index < requestIndex) return "snapshotTemporarilyUnavailable";
    return this.#snapshot;
  }

  /** Replaces log and snapshot; refused when it is not newer than the present one. */
  applySnapshot(snapshot: Snapshot): StorageError | undefined {
    const { index } = snapshot.metadata;
    const present = this.#snapshot.metadata.index;
    if (present !== 0 && present >= index) return "snapshotOutOfDate";
    this.#replace(snapshot);
    return undefined;
  }

  #replace(snapshot: Snapshot): void {
    const { index, term, confState } = snapshot.metadata;
    this.#snapshot = {
      metadata: { index, term, confState: copyConfState(confState) },
      data: snapshot.data,
    };
    this.#entries = [makeEntry(term, index)];
  }

  /** Makes a snapshot of the state at `index`, which must be in the log. The caller's `confState` is copied. */
  createSnapshot(
    index: LogIndex,
    confState: ConfState | undefined,
    data: Uint8Array,
  ): Snapshot | StorageError {
    if (index <= this.#snapshot.metadata.index) return "snapshotOutOfDate";
    const term = this.term(index);
    if (typeof term === "string") return term;
    const kept = copyConfState(confState ?? this.#snapshot.metadata.confState);
    this.#snapshot = { metadata: { index, term, confState: kept }, data };
    return this.#snapshot;
  }

  /** Drops all before and including `index`, whose term is kept for matching. */
  compact(index: LogIndex): StorageError | undefined {
    const offset = this.#offset();
    if (index <= offset) return "compacted";
    if (index > this.lastIndex()) return "unavailable";
    const kept = this.#entries.slice(index - offset);
    kept[0] = makeEntry((kept[0] as Entry).term, index);
    this.#entries = kept;
    return undefined;
  }

  /** Adds entries; those at and above the first of them are overwritten, those before the log are ignored. */
  append(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    const first = this.firstIndex();
    const start = (entries[0] as Entry).index;
    if (start + entries.length - 1 < first) return;
    const skip = start < first ? first - start : 0;
    const at = start + skip - this.#offset();
    assert(at <= this.#entries.length, () => `hole in the log: last ${this.lastIndex()}, append at ${start}`);
    this.#entries.length = at;
    for (let i = skip; i < entries.length; i++) this.#entries.push(entries[i] as Entry);
  }

  /** All of one `Append` of a Ready; the atomic write that precedes `ackAppend`. */
  write(append: Append): StorageError | undefined {
    if (append.snapshot !== undefined) {
      // One that was asked for may have the index of the one that is stored: it replaces it.
      if (append.snapshot.metadata.index < this.#snapshot.metadata.index) return "snapshotOutOfDate";
      this.#replace(append.snapshot);
    }
    this.append(append.entries);
    if (append.hardState !== undefined) this.setHardState(append.hardState);
    return undefined;
  }

  /** Entries from `low` to the end; for tests. */
  tail(low: LogIndex): readonly Entry[] {
    const entries = this.entries(low, (this.lastIndex() + 1) as LogIndex, Number.POSITIVE_INFINITY);
    return typeof entries === "string" ? NO_ENTRIES : entries;
  }
}
