/** A member's storage as the Raft library wants to see it. */
import type { LogIndex, Term } from "../base/index.js";
import {
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  type HardState,
  makeSnapshot,
  type NodeId,
  type Snapshot,
  type Storage,
  type StorageError,
} from "../raft/index.js";
import type { GroupStorage } from "./storage.js";

export class RaftStorage implements Storage {
  readonly #storage: GroupStorage;
  readonly #hardState: HardState;
  readonly #onSnapshotTooOld: () => void;

  /** `onSnapshotTooOld`: a member needs a snapshot, and the live one does not know that member yet. */
  constructor(storage: GroupStorage, hardState: HardState, onSnapshotTooOld: () => void) {
    this.#storage = storage;
    this.#onSnapshotTooOld = onSnapshotTooOld;
    const snapshotIndex = storage.snapshot()?.index ?? 0;
    // The commit index may ride on a later write than the snapshot that it allowed.
    const commit = Math.max(hardState.commit, snapshotIndex) as LogIndex;
    this.#hardState = { ...hardState, commit };
  }

  initialState(): { readonly hardState: HardState; readonly confState: ConfState } {
    const confState = this.#storage.snapshot()?.confState ?? EMPTY_CONF_STATE;
    return { hardState: this.#hardState, confState };
  }

  entries(low: LogIndex, high: LogIndex, bytesMax: number): readonly Entry[] | StorageError {
    if (low < this.#storage.firstIndex()) return "compacted";
    if (high > this.#storage.lastIndex() + 1) return "unavailable";
    if (low === high) return [];
    return this.#storage.entries(low, high, bytesMax);
  }

  term(index: LogIndex): Term | StorageError {
    if (index < this.#storage.firstIndex() - 1) return "compacted";
    if (index > this.#storage.lastIndex()) return "unavailable";
    return this.#storage.term(index) as Term;
  }

  lastIndex(): LogIndex {
    return this.#storage.lastIndex() as LogIndex;
  }

  firstIndex(): LogIndex {
    return this.#storage.firstIndex() as LogIndex;
  }

  snapshot(requestIndex: LogIndex, to: NodeId): Snapshot | StorageError {
    const info = this.#storage.snapshot();
    if (info === undefined || info.index < requestIndex || !names(info.confState, to)) {
      this.#onSnapshotTooOld();
      return "snapshotTemporarilyUnavailable";
    }
    return makeSnapshot(info.index, info.term, info.confState);
  }
}

/** A member refuses a snapshot of a configuration without it: it would not know that it belongs to the group. */
const names = (state: ConfState, id: NodeId): boolean =>
  [state.voters, state.votersOutgoing, state.learners, state.learnersNext].some((ids) => ids.includes(id));
