/**
 * A peer's log and states over the engine: what the Raft library reads (`Storage`) and what a turn writes.
 *
 * Writes go into the turn's batch first (`stageAppend`, `applyStaged`) and count for reads only once the batch has
 * been written (`appendWritten`, `applyWritten`); until then the library serves those entries from its own memory.
 * Invariants: truncatedIndex <= appliedIndex; truncatedIndex <= lastIndex; firstIndex = truncatedIndex + 1.
 */
import {
  assert,
  type ByteBudget,
  type Engine,
  type EngineBatch,
  type LogIndex,
  logIndex,
  type Term,
} from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import type { Append, ConfState, Entry, HardState, Snapshot, Storage, StorageError } from "../raft/types.js";
import { EntryCache } from "./entry-cache.js";
import { decodeEntry, encodeEntry } from "./entry-codec.js";
import { applyStateKey, raftLogKey, raftStateKey, regionStateKey, uninitializedVoteKey } from "./keys.js";
import {
  type ApplyState,
  encodeApplyState,
  encodeRaftState,
  encodeRegionState,
  type RaftState,
} from "./local-state.js";
import { missingEntry, readStoredStates, type StoredStates } from "./stored-states.js";
import { confStateOf, isInitialized, type Region, regionToProto } from "./region.js";

export class PeerStorage implements Storage {
  readonly #engine: Engine;
  readonly #regionId: number;
  /** Undefined while nothing is kept. */
  #cache: EntryCache | undefined;
  readonly #cacheBytesMax: number;
  readonly #cacheBudget: ByteBudget | undefined;
  /** As of the last written batch. */
  #region: Region;
  #applyState: ApplyState;
  #hardState: HardState;
  #lastIndex: LogIndex;
  /** Of the entry there. Each vote asks for it, also of a quiet region, whose entries are on disk alone. */
  #lastTerm: Term;
  /** As of the last staged batch. */
  #stagedHardState: HardState;
  #stagedLastIndex: LogIndex;
  /** Apply batches staged and not yet written: a snapshot cannot be taken between. */
  #appliesUnderWay = 0;

  /** `states`: what is stored of the region, if that was read already. */
  constructor(
    engine: Engine,
    region: Region,
    entryCacheBytesMax: number,
    budget?: ByteBudget,
    states = readStoredStates(engine, [region])[0] as StoredStates,
  ) {
    this.#engine = engine;
    this.#regionId = region.id;
    this.#region = region;
    this.#cacheBytesMax = entryCacheBytesMax;
    this.#cacheBudget = budget;
    const { hardState, lastIndex } = states.raftState;
    this.#applyState = states.applyState;
    this.#hardState = hardState;
    this.#lastIndex = lastIndex;
    this.#stagedHardState = hardState;
    this.#stagedLastIndex = lastIndex;
    this.#lastTerm = states.lastTerm;
  }

  get region(): Region {
    return this.#region;
  }
  get applyState(): ApplyState {
    return this.#applyState;
  }
  get hardState(): HardState {
    return this.#hardState;
  }
  get appliesUnderWay(): number {
    return this.#appliesUnderWay;
  }
  get cachedBytes(): number {
    return this.#cache?.bytes ?? 0;
  }

  initialState(): { hardState: HardState; confState: ConfState } {
    return { hardState: this.#hardState, confState: confStateOf(this.#region) };
  }

  firstIndex(): LogIndex {
    return logIndex(this.#applyState.truncatedIndex + 1);
  }

  lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  term(index: LogIndex): Term | StorageError {
    if (index === this.#applyState.truncatedIndex) return this.#applyState.truncatedTerm;
    if (index < this.#applyState.truncatedIndex) return "compacted";
    if (index > this.#lastIndex) return "unavailable";
    if (index === this.#lastIndex) return this.#lastTerm;
    const cached = this.#cache?.get(index);
    if (cached !== undefined) return cached.term;
    return this.#readEntry(index).term;
  }

  entries(low: LogIndex, high: LogIndex, bytesMax: number): readonly Entry[] | StorageError {
    if (low <= this.#applyState.truncatedIndex) return "compacted";
    if (high > this.#lastIndex + 1) return "unavailable";
    if (low === high) return [];
    const cachedFrom = this.#cache?.firstIndex();
    if (this.#cache !== undefined && cachedFrom !== undefined && low >= cachedFrom)
      return this.#cache.slice(low, high, bytesMax);
    const diskEnd = cachedFrom !== undefined && cachedFrom < high ? cachedFrom : high;
    return this.#readEntries(low, diskEnd, bytesMax);
  }

  snapshot(requestIndex: LogIndex): Snapshot | StorageError {
    if (this.#appliesUnderWay > 0 || this.#applyState.appliedIndex < requestIndex) {
      return "snapshotTemporarilyUnavailable";
    }
    if (!isInitialized(this.#region)) return "snapshotTemporarilyUnavailable";
    return {
      metadata: {
        index: this.#applyState.appliedIndex,
        term: this.#applyState.appliedTerm,
        confState: confStateOf(this.#region),
      },
      data: raft_serverpb.RaftSnapshotData.encode({
        region: regionToProto(this.#region),
        version: 1,
      }).finish(),
    };
  }

  /** Adds log entries and hard state to the batch. Snapshots take `stageSnapshot`. */
  stageAppend(batch: EngineBatch, append: Append): void {
    assert(append.snapshot === undefined, "a snapshot is staged by stageSnapshot");
    const entries = append.entries;
    for (const entry of entries)
      batch.put("raft", raftLogKey(this.#regionId, entry.index), encodeEntry(entry));
    if (entries.length > 0) {
      const last = (entries[entries.length - 1] as Entry).index;
      for (let index = last + 1; index <= this.#stagedLastIndex; index++) {
        batch.delete("raft", raftLogKey(this.#regionId, index));
      }
      this.#stagedLastIndex = last;
    }
    if (append.hardState !== undefined) this.#stagedHardState = append.hardState;
    if (entries.length > 0 || append.hardState !== undefined) this.#stageRaftState(batch);
  }

  /** The batch with this append has been written. */
  appendWritten(append: Append): void {
    if (append.hardState !== undefined) this.#hardState = append.hardState;
    const last = append.entries[append.entries.length - 1];
    if (last !== undefined) {
      this.#keep(append.entries);
      this.#lastIndex = last.index;
      this.#lastTerm = last.term;
    }
  }

  /** The applier has staged effects (and the apply state with them) into a batch. */
  applyStaged(): void {
    this.#appliesUnderWay++;
  }

  /** The batch with this apply state (and maybe a changed region) has been written. */
  applyWritten(state: ApplyState, region: Region | undefined): void {
    this.#appliesUnderWay--;
    const compacted = state.truncatedIndex > this.#applyState.truncatedIndex;
    this.#applyState = state;
    if (region !== undefined) this.#region = region;
    if (compacted) this.#cache?.trimTo(logIndex(state.truncatedIndex + 1));
  }

  /** Puts region state, apply state and raft state of an accepted snapshot into the batch: all or nothing. */
  stageSnapshot(batch: EngineBatch, append: Append, region: Region): ApplyState {
    const snapshot = append.snapshot;
    assert(snapshot !== undefined, "no snapshot to stage");
    assert(this.#appliesUnderWay === 0, "a snapshot is taken only when nothing is being applied");
    for (let index = this.#applyState.truncatedIndex + 1; index <= this.#stagedLastIndex; index++) {
      batch.delete("raft", raftLogKey(this.#regionId, index));
    }
    const { index, term } = snapshot.metadata;
    const state: ApplyState = {
      appliedIndex: index,
      appliedTerm: term,
      truncatedIndex: index,
      truncatedTerm: term,
    };
    batch.put("raft", regionStateKey(this.#regionId), encodeRegionState({ state: "applying", region }));
    batch.put("raft", applyStateKey(this.#regionId), encodeApplyState(state));
    batch.delete("raft", uninitializedVoteKey(this.#regionId));
    const hardState = append.hardState ?? this.#stagedHardState;
    this.#stagedHardState = { ...hardState, commit: logIndex(Math.max(hardState.commit, index)) };
    this.#stagedLastIndex = index;
    for (const entry of append.entries) {
      batch.put("raft", raftLogKey(this.#regionId, entry.index), encodeEntry(entry));
      this.#stagedLastIndex = entry.index;
    }
    batch.put("raft", raftStateKey(this.#regionId), encodeRaftState(this.#stagedRaftState()));
    return state;
  }

  snapshotWritten(append: Append, state: ApplyState, region: Region): void {
    this.dropCache();
    this.#applyState = state;
    this.#region = region;
    this.#hardState = this.#stagedHardState;
    this.#lastIndex = state.appliedIndex;
    this.#lastTerm = state.appliedTerm;
    const last = append.entries[append.entries.length - 1];
    if (last !== undefined) {
      this.#keep(append.entries);
      this.#lastIndex = last.index;
      this.#lastTerm = last.term;
    }
  }

  /** Entries kept only for followers that no longer need them. */
  trimCache(index: LogIndex): void {
    this.#cache?.trimTo(index);
  }

  /** For a peer that is gone or sleeps. */
  dropCache(): void {
    this.#cache?.clear();
    this.#cache = undefined;
  }

  #keep(entries: readonly Entry[]): void {
    if (entries.length === 0) return;
    this.#cache ??= new EntryCache(this.#cacheBytesMax, this.#cacheBudget);
    this.#cache.append(entries);
  }

  #stageRaftState(batch: EngineBatch): void {
    // A peer without data writes no raft state: a split that replaces it must find none. Its vote is kept apart.
    const key =
      this.#stagedLastIndex === 0 ? uninitializedVoteKey(this.#regionId) : raftStateKey(this.#regionId);
    batch.put("raft", key, encodeRaftState(this.#stagedRaftState()));
  }

  #stagedRaftState(): RaftState {
    return { hardState: this.#stagedHardState, lastIndex: this.#stagedLastIndex };
  }

  #readEntry(index: LogIndex): Entry {
    const bytes = this.#engine.get("raft", raftLogKey(this.#regionId, index));
    assert(bytes !== undefined, () => missingEntry(this.#regionId, index));
    return decodeEntry(bytes);
  }

  #readEntries(low: LogIndex, high: LogIndex, bytesMax: number): Entry[] {
    const entries: Entry[] = [];
    let bytes = 0;
    for (let from = low as number; from < high; from += 64) {
      const keys: Uint8Array[] = [];
      for (let index = from; index < Math.min(high, from + 64); index++)
        keys.push(raftLogKey(this.#regionId, index));
      for (const value of this.#engine.multiGet("raft", keys)) {
        assert(
          value !== undefined,
          () => `region ${this.#regionId}: log entry ${low + entries.length} is missing`,
        );
        const entry = decodeEntry(value);
        bytes += entry.data.length;
        if (bytes > bytesMax && entries.length > 0) return entries;
        entries.push(entry);
      }
    }
    return entries;
  }
}
