/**
 * The disk of a fuzzed node: a MemStorage of which a crash takes what was not synced, with a rolling hash over its log
 * so that two logs are compared at one index. Writes that need no sync may be lost (a commit index that moved alone).
 */
import type { LogIndex } from "../../base/ids.js";
import { EMPTY_CONF_STATE, makeSnapshot } from "../message.js";
import { MemStorage } from "../storage.js";
import type { Append, ConfState, EntriesContext, Entry, NodeId, Snapshot, StorageError } from "../types.js";

export const HASH_START = 0x811c9dc5;
export const mix = (hash: number, value: number): number => Math.imul(hash ^ (value >>> 0), 0x01000193) >>> 0;

export function entryHash(entry: Entry): number {
  let hash = mix(HASH_START, entry.type.length);
  const { data } = entry;
  for (let i = 0; i < data.length; i++) hash = mix(hash, data[i] as number);
  return hash;
}

/** The state of an application that is nothing but what was applied to it; snapshots carry it. */
export function stateBytes(state: number): Uint8Array {
  return new Uint8Array([state >>> 24, state >>> 16, state >>> 8, state]);
}
export function stateOf(snapshot: Snapshot): number {
  let state = 0;
  for (const byte of snapshot.data) state = ((state << 8) | byte) >>> 0;
  return snapshot.data.length === 0 ? HASH_START : state;
}

export class FuzzDisk extends MemStorage {
  /** Of the log up to and including an index. */
  readonly #prefix = new Map<number, number>();
  #syncedCommit = 0;
  /** Makes a snapshot of the application as it is now, when the leader asks for one. */
  refresh: () => void = () => {};
  /** 0: all is at hand. Else entries to send must be fetched, and snapshots come at the second request. */
  slow = false;
  readonly wanted = new Map<NodeId, EntriesContext>();
  readonly #fetched = new Set<NodeId>();
  #snapshotAsked = false;

  constructor(voters: readonly NodeId[]) {
    super();
    // The founders share a snapshot at index 1; others join empty.
    if (voters.length === 0) return;
    super.applySnapshot(makeSnapshot(1, 1, { ...EMPTY_CONF_STATE, voters }, stateBytes(HASH_START)));
    this.setHardState({ term: 1 as never, vote: 0, commit: 1 as never });
    this.#syncedCommit = 1;
    this.#prefix.set(1, HASH_START);
  }

  /** Hash of the log up to `index`; undefined where the disk has no entry or does not know what was before it. */
  prefix(index: number): number | undefined {
    return this.#prefix.get(index);
  }

  /** The snapshot on disk, made anew for nobody. */
  stored(): Snapshot {
    return super.snapshot(0 as LogIndex, 0) as Snapshot;
  }

  override snapshot(requestIndex: LogIndex, to: NodeId): Snapshot | StorageError {
    if (this.slow) {
      this.#snapshotAsked = !this.#snapshotAsked;
      if (this.#snapshotAsked) return "snapshotTemporarilyUnavailable";
    }
    this.refresh();
    return super.snapshot(requestIndex, to);
  }

  override entries(
    low: LogIndex,
    high: LogIndex,
    bytesMax: number,
    context?: EntriesContext,
  ): readonly Entry[] | StorageError {
    if (!this.slow || context?.reason !== "send" || this.#fetched.delete(context.to))
      return super.entries(low, high, bytesMax, context);
    this.wanted.set(context.to, context);
    return "logTemporarilyUnavailable";
  }

  /** Entries that were asked for are at hand now. */
  fetch(): EntriesContext | undefined {
    for (const [to, context] of this.wanted) {
      this.wanted.delete(to);
      this.#fetched.add(to);
      return context;
    }
    return undefined;
  }

  /** Writes all of an append. `prefixAt` knows the hash that others have at a snapshot's index. */
  persist(
    append: Append,
    prefixAt: (term: number, index: number) => number | undefined,
  ): StorageError | undefined {
    const error = this.write(append);
    const { snapshot, entries, mustSync } = append;
    if (snapshot !== undefined && error === undefined) {
      const { index, term } = snapshot.metadata;
      this.#prefix.clear();
      const known = prefixAt(term, index);
      if (known !== undefined) this.#prefix.set(index, known);
    }
    const first = entries[0];
    if (first !== undefined) {
      for (let at = first.index as number; this.#prefix.delete(at); at++);
      for (const entry of entries) {
        const before = entry.index === 1 ? HASH_START : this.#prefix.get(entry.index - 1);
        if (before === undefined) continue;
        this.#prefix.set(entry.index, mix(mix(before, entry.term), entryHash(entry)));
      }
    }
    // A write that was handed out before a snapshot was made still names the older commit index.
    this.raiseCommit(this.stored().metadata.index);
    if (mustSync) this.#syncedCommit = this.initialState().hardState.commit;
    return error;
  }

  /** Power is lost: what was written without a sync may be gone. */
  crash(losesUnsynced: boolean): void {
    this.wanted.clear();
    this.#fetched.clear();
    if (!losesUnsynced) return;
    const { hardState } = this.initialState();
    const floor = Math.max(this.#syncedCommit, this.stored().metadata.index);
    if (hardState.commit > floor) this.setHardState({ ...hardState, commit: floor as LogIndex });
  }

  raiseCommit(index: number): void {
    const { hardState } = this.initialState();
    if (hardState.commit < index) this.setHardState({ ...hardState, commit: index as LogIndex });
    if (this.#syncedCommit < index) this.#syncedCommit = index;
  }

  /** Entries are applied before the commit index that released them is durable; a snapshot of them is not ahead. */
  capture(index: number, confState: ConfState, state: number): boolean {
    if (index > this.lastIndex() || index <= this.stored().metadata.index) return false;
    this.raiseCommit(index);
    return typeof this.createSnapshot(index as LogIndex, confState, stateBytes(state)) !== "string";
  }
}
