/**
 * A storage that keeps nothing over the end of its process: for tests, and for members that may be rebuilt at will.
 */
import { assert } from "../base/index.js";
import { EMPTY_HARD_STATE, type Entry, type HardState, limitEntries } from "../raft/index.js";
import type {
  Done,
  GroupIdentity,
  GroupStorage,
  GroupWrite,
  InitialState,
  SnapshotInfo,
  SnapshotWriter,
} from "./storage.js";

class MemoryWriter implements SnapshotWriter {
  readonly chunks = new Map<number, Uint8Array>();
  offset = 0;
  isOver = false;

  write(offset: number, chunk: Uint8Array, done: Done): void {
    assert(!this.isOver, "a snapshot that is over takes no chunk");
    assert(offset === this.offset, () => `chunk at ${offset}, but ${this.offset} is next`);
    this.chunks.set(offset, chunk.slice());
    this.offset += chunk.length;
    done(undefined);
  }

  abort(done: Done): void {
    this.isOver = true;
    this.chunks.clear();
    done(undefined);
  }
}

export class MemoryGroupStorage implements GroupStorage {
  #identity: GroupIdentity | undefined;
  #hardState: HardState = EMPTY_HARD_STATE;
  #entries: Entry[] = [];
  #deletedIndex = 0;
  #deletedTerm = 0;
  #logBytes = 0;
  #snapshot: SnapshotInfo | undefined;
  #chunks: ReadonlyMap<number, Uint8Array> = new Map();
  #writer: MemoryWriter | undefined;

  open(callback: (error: Error | undefined, state?: InitialState) => void): void {
    this.#writer = undefined;
    const state = { identity: this.#identity, hardState: this.#hardState, snapshot: this.#snapshot };
    callback(undefined, state);
  }

  saveIdentity(identity: GroupIdentity, done: Done): void {
    this.#identity = identity;
    done(undefined);
  }

  write({ hardState, entries }: GroupWrite, done: Done): void {
    const first = entries[0];
    if (first !== undefined) {
      const at = first.index - this.firstIndex();
      assert(at >= 0 && at <= this.#entries.length, () => `entry ${first.index} leaves a hole in the log`);
      for (const gone of this.#entries.splice(at)) this.#logBytes -= gone.data.length;
      for (const entry of entries) {
        this.#entries.push(entry);
        this.#logBytes += entry.data.length;
      }
    }
    if (hardState !== undefined) this.#hardState = hardState;
    done(undefined);
  }

  firstIndex(): number {
    return this.#deletedIndex + 1;
  }

  lastIndex(): number {
    return this.#deletedIndex + this.#entries.length;
  }

  entries(start: number, stop: number, bytesMax: number): readonly Entry[] {
    const first = this.firstIndex();
    assert(start >= first && start < stop && stop <= this.lastIndex() + 1, "entries outside of the log");
    return limitEntries(this.#entries.slice(start - first, stop - first), bytesMax);
  }

  term(index: number): number {
    if (index === this.#deletedIndex) return this.#deletedTerm;
    const entry = this.#entries[index - this.firstIndex()];
    assert(entry !== undefined, () => `no entry ${index} in the log`);
    return entry.term;
  }

  logBytes(): number {
    return this.#logBytes;
  }

  deleteThrough(index: number, done: Done): void {
    if (index > this.#deletedIndex) {
      assert(index <= (this.#snapshot?.index ?? 0), "entries are deleted that no snapshot holds");
      const term = this.term(index);
      for (const gone of this.#entries.splice(0, index - this.#deletedIndex)) {
        this.#logBytes -= gone.data.length;
      }
      this.#deletedIndex = index;
      this.#deletedTerm = term;
    }
    done(undefined);
  }

  snapshot(): SnapshotInfo | undefined {
    return this.#snapshot;
  }

  readSnapshot(offset: number): Uint8Array | undefined {
    return this.#chunks.get(offset);
  }

  beginSnapshot(): SnapshotWriter {
    assert(this.#writer?.isOver ?? true, "two snapshots are written at a time");
    this.#writer = new MemoryWriter();
    return this.#writer;
  }

  publishSnapshot(writer: SnapshotWriter, info: SnapshotInfo, done: Done): void {
    this.#take(writer, info);
    if (this.lastIndex() === 0) {
      this.#deletedIndex = info.index;
      this.#deletedTerm = info.term;
    }
    done(undefined);
  }

  installSnapshot(writer: SnapshotWriter, info: SnapshotInfo, hardState: HardState, done: Done): void {
    this.#take(writer, info);
    this.#entries = [];
    this.#logBytes = 0;
    this.#deletedIndex = info.index;
    this.#deletedTerm = info.term;
    this.#hardState = hardState;
    done(undefined);
  }

  #take(writer: SnapshotWriter, info: SnapshotInfo): void {
    assert(writer instanceof MemoryWriter && !writer.isOver, "the snapshot is of another storage, or over");
    assert(writer.offset === info.bytes, () => `${writer.offset} bytes were written of ${info.bytes}`);
    writer.isOver = true;
    this.#snapshot = info;
    this.#chunks = writer.chunks;
  }

  close(done: Done): void {
    done(undefined);
  }
}
