/**
 * What one member knows of its group, read from its storage: the snapshot, and the log as far as it can be read. Who
 * belongs to the group is what the snapshot says, and every change of the members in the log behind it.
 */
import { assert, type Random, RaftwerkError, SILENT_LOGGER } from "../base/index.js";
import {
  type ConfState,
  decodeConfChange,
  type Entry,
  isConfChangeEntry,
  type NodeId,
  RawNode,
} from "../raft/index.js";
import { decodeContext, GroupState, type Member } from "./members.js";
import { RaftStorage } from "./raft-storage.js";
import { StreamReader } from "./snapshot-stream.js";
import type { GroupIdentity, GroupStorage, InitialState, SnapshotInfo } from "./storage.js";

const READ_BYTES = 4 << 20;

export interface Others {
  /**
   * Members beside the survivor: as of the last entry that it knows as committed, and those whom a later change in
   * its log adds, which may have been committed. Who was removed by a committed change is none of them; whom a later
   * change removes may belong to the group still.
   */
  readonly members: readonly Member[];
  /** One of them votes, or may: it can have acknowledged what the survivor lacks. */
  readonly mayVote: boolean;
  /** Above every id that was ever given, as far as the survivor knows. */
  readonly nextId: number;
}

export class Survivor {
  readonly storage: GroupStorage;
  readonly identity: GroupIdentity;
  readonly info: SnapshotInfo;
  /** The group's own state in the snapshot. */
  readonly state: GroupState;
  /** Behind the group's own state: gives the application's chunks. */
  readonly reader: StreamReader;
  readonly knownCommitted: number;
  readonly lastIndex: number;
  readonly #initial: InitialState;

  constructor(storage: GroupStorage, initial: InitialState, identity: GroupIdentity, info: SnapshotInfo) {
    this.storage = storage;
    this.identity = identity;
    this.info = info;
    this.#initial = initial;
    this.lastIndex = Math.max(storage.lastIndex(), info.index);
    this.knownCommitted = Math.min(Math.max(initial.hardState.commit, info.index), this.lastIndex);
    let offset = 0;
    this.reader = new StreamReader(() => {
      const piece = storage.readSnapshot(offset);
      offset += piece?.length ?? 0;
      return piece;
    });
    this.state = GroupState.decode(this.reader.begin());
  }

  get lastTerm(): number {
    return this.storage.term(this.lastIndex);
  }

  /** Entries behind the snapshot, in order. Throws where the log is damaged. */
  *entries(): Generator<Entry> {
    const { storage } = this;
    assert(storage.firstIndex() <= this.info.index + 1, "the log begins behind its snapshot");
    for (let next = Math.max(this.info.index + 1, storage.firstIndex()); next <= storage.lastIndex(); ) {
      const entries = storage.entries(next, storage.lastIndex() + 1, READ_BYTES);
      yield* entries;
      next += entries.length;
    }
  }

  /** `isLogNeeded` false: what lies behind a damaged entry is passed over. */
  others(random: Random, isLogNeeded: boolean): Others {
    const found = new Map<number, Member>(this.state.members);
    const voting = votersOf(this.info.confState);
    let { nextId } = this.state;
    try {
      for (const { index, state, confState } of this.#memberships(random)) {
        // Each later one may be the last that was committed.
        if (index <= this.knownCommitted) {
          found.clear();
          voting.clear();
        }
        for (const [id, member] of state.members) found.set(id, member);
        for (const id of votersOf(confState)) voting.add(id);
        nextId = Math.max(nextId, state.nextId);
      }
    } catch (error) {
      const text = `the log cannot be read: ${(error as Error).message}. Recover with --from-snapshot`;
      if (isLogNeeded) throw new RaftwerkError("corruptData", text, { retry: "never", cause: error });
    }
    const own = this.identity.nodeId;
    found.delete(own);
    voting.delete(own);
    return { members: [...found.values()], mayVote: voting.size > 0, nextId };
  }

  /** After each change in the log, as members apply it. */
  *#memberships(
    random: Random,
  ): Generator<{ readonly index: number; readonly state: GroupState; readonly confState: ConfState }> {
    const raw = new RawNode({
      id: this.identity.nodeId as NodeId,
      storage: new RaftStorage(this.storage, this.#initial.hardState, () => {}),
      applied: this.info.index,
      random,
      logger: SILENT_LOGGER,
    });
    const state = new GroupState([...this.state.members.values()], this.state.nextId);
    for (const entry of this.entries()) {
      const change = isConfChangeEntry(entry) ? decodeConfChange(entry.data) : undefined;
      const result = change === undefined ? undefined : raw.applyConfChange(change);
      if (change === undefined || result?.kind !== "applied") continue;
      state.apply(decodeContext(change.context), result.confState);
      yield { index: entry.index, state, confState: result.confState };
    }
  }
}

const votersOf = ({ voters, votersOutgoing }: ConfState): Set<number> =>
  new Set([...voters, ...votersOutgoing]);
