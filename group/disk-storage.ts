/**
 * A member's storage over an `Engine`. An append is one atomic batch of entries and hard state with one fsync. The
 * log has generations: a snapshot that replaces it raises the generation in the same batch that makes the snapshot
 * live, and the rows of the old one are deleted afterwards. A crash before that leaves rows that nothing refers to;
 * the next open removes them. (`disk-codec.ts` has the rows.)
 */
import { assert, type Engine, type EngineBatch, must, utf8 } from "../base/index.js";
import { EMPTY_HARD_STATE, type Entry, type HardState } from "../raft/index.js";
import {
  decodeEntry,
  decodeHardState,
  decodeIdentity,
  decodeLiveSnapshot,
  decodeLogStart,
  encodeEntry,
  encodeHardState,
  encodeIdentity,
  encodeLiveSnapshot,
  encodeLogStart,
  GroupKeys,
  type LiveSnapshot,
  type LogStart,
} from "./disk-codec.js";
import { EntryWindow } from "./entry-window.js";
import type {
  Done,
  GroupIdentity,
  GroupStorage,
  GroupWrite,
  InitialState,
  SnapshotInfo,
  SnapshotWriter,
} from "./storage.js";
import { corrupt } from "./wire.js";

const CACHED_BYTES_MAX = 16 << 20;
/** Rows that one batch deletes. */
const DELETES_MAX = 2_000;
const READ_ROWS = 64;
const END = 2 ** 53 - 1;

class EngineSnapshotWriter implements SnapshotWriter {
  readonly row: number;
  offset = 0;
  isOver = false;
  readonly #storage: EngineGroupStorage;

  constructor(storage: EngineGroupStorage, row: number) {
    this.#storage = storage;
    this.row = row;
  }

  write(offset: number, chunk: Uint8Array, done: Done): void {
    assert(!this.isOver, "a snapshot that is over takes no chunk");
    assert(offset === this.offset, () => `chunk at ${offset}, but ${this.offset} is next`);
    this.offset += chunk.length;
    this.#storage.writeChunk(this.row, offset, chunk, done);
  }

  abort(done: Done): void {
    this.isOver = true;
    this.#storage.deleteChunks(this.row, this.row + 1, done);
  }
}

export class EngineGroupStorage implements GroupStorage {
  readonly #engine: Engine;
  readonly #keys: GroupKeys;
  readonly #window = new EntryWindow(CACHED_BYTES_MAX);
  #hardState: HardState = EMPTY_HARD_STATE;
  #start: LogStart = { generation: 0, index: 0, term: 0 };
  #last = 0;
  /** Last index with the writes that have not called back: rows above the next append have to go. */
  #stagedLast = 0;
  #live: LiveSnapshot | undefined;
  #nextRow = 1;
  #writer: EngineSnapshotWriter | undefined;

  /** Does not own the engine. Several groups share one under different prefixes. */
  constructor(engine: Engine, prefix = "group/") {
    this.#engine = engine;
    this.#keys = new GroupKeys(utf8(prefix));
  }

  open(callback: (error: Error | undefined, state?: InitialState) => void): void {
    let identity: GroupIdentity | undefined;
    try {
      const read = <T>(key: Uint8Array, decode: (bytes: Uint8Array) => T): T | undefined => {
        const bytes = this.#engine.get("raft", key);
        return bytes === undefined ? undefined : decode(bytes);
      };
      identity = read(this.#keys.identity, decodeIdentity);
      this.#hardState = read(this.#keys.hardState, decodeHardState) ?? EMPTY_HARD_STATE;
      this.#start = read(this.#keys.logStart, decodeLogStart) ?? this.#start;
      this.#live = read(this.#keys.snapshot, decodeLiveSnapshot);
    } catch (error) {
      return callback(error as Error);
    }
    this.#nextRow = (this.#live?.row ?? 0) + 1;
    this.#writer = undefined;
    this.#removeRemains((error) => {
      if (error !== undefined) return callback(error);
      this.#findLast((error) => {
        if (error !== undefined) return callback(error);
        callback(undefined, { identity, hardState: this.#hardState, snapshot: this.#live?.info });
      });
    });
  }

  /** Rows of logs, snapshots and entries that were replaced, deleted or cut off. */
  #removeRemains(done: Done): void {
    const { generation, index } = this.#start;
    const live = this.#live?.row ?? 0;
    const removals: ((next: Done) => void)[] = [
      (next) => this.#clear("raft", this.#keys.entry(0, 0), this.#keys.entry(generation, index + 1), next),
      (next) => this.#clear("raft", this.#keys.entry(generation + 1, 0), this.#keys.entry(END, END), next),
      (next) => this.#clear("snap", this.#keys.chunk(0, 0), this.#keys.chunk(live, 0), next),
      (next) => this.#clear("snap", this.#keys.chunk(live + 1, 0), this.#keys.chunk(END, END), next),
    ];
    const step = (at: number): void => {
      const removal = removals[at];
      if (removal === undefined) return done(undefined);
      removal((error) => (error === undefined ? step(at + 1) : done(error)));
    };
    step(0);
  }

  #clear(space: "raft" | "snap", start: Uint8Array, end: Uint8Array, done: Done): void {
    this.#engine.scan(space, { start, end, limit: 1, keysOnly: true }, (error, result) => {
      if (error !== undefined) return done(error);
      if (result.rows.length === 0) return done(undefined);
      this.#engine.deleteRange(space, start, end, done);
    });
  }

  #findLast(done: Done): void {
    const { generation, index } = this.#start;
    const start = this.#keys.entry(generation, index + 1);
    const end = this.#keys.entry(generation, END);
    this.#engine.scan("raft", { start, end, limit: 1, reverse: true, keysOnly: true }, (error, result) => {
      if (error !== undefined) return done(error);
      const key = result.rows[0]?.key;
      let last = index;
      if (key !== undefined) {
        last = 0;
        for (const byte of key.subarray(key.length - 8)) last = last * 256 + byte;
      }
      const bytes = last === index ? 0 : (this.#engine.approximateBytes("raft", start, end) ?? 0);
      this.#begin(last, bytes);
      done(undefined);
    });
  }

  #begin(last: number, bytes: number): void {
    this.#last = last;
    this.#stagedLast = last;
    this.#window.reset(this.#start.index + 1, last, bytes);
  }

  saveIdentity(identity: GroupIdentity, done: Done): void {
    const batch = this.#engine.batch();
    batch.put("raft", this.#keys.identity, encodeIdentity(identity));
    this.#engine.write(batch, { sync: true }, done);
  }

  write({ hardState, entries, mustSync }: GroupWrite, done: Done): void {
    const batch = this.#engine.batch();
    if (entries.length > 0) this.#stageEntries(batch, entries);
    if (hardState !== undefined) batch.put("raft", this.#keys.hardState, encodeHardState(hardState));
    this.#engine.write(batch, { sync: mustSync }, (error) => {
      if (error !== undefined) return done(error);
      if (hardState !== undefined) this.#hardState = hardState;
      const last = entries[entries.length - 1];
      if (last !== undefined) {
        this.#window.append(entries);
        this.#last = last.index;
      }
      done(undefined);
    });
  }

  #stageEntries(batch: EngineBatch, entries: readonly Entry[]): void {
    const { generation, index } = this.#start;
    const first = must(entries[0], "no entries").index;
    assert(first > index && first <= this.#stagedLast + 1, () => `entry ${first} leaves a hole in the log`);
    let next: number = first;
    for (const entry of entries) {
      assert(entry.index === next++, "entries are not contiguous");
      batch.put("raft", this.#keys.entry(generation, entry.index), encodeEntry(entry));
    }
    for (let stale = next; stale <= this.#stagedLast; stale++) {
      batch.delete("raft", this.#keys.entry(generation, stale));
    }
    this.#stagedLast = next - 1;
  }

  firstIndex(): number {
    return this.#start.index + 1;
  }

  lastIndex(): number {
    return this.#last;
  }

  entries(start: number, stop: number, bytesMax: number): readonly Entry[] {
    assert(
      start >= this.firstIndex() && start < stop && stop <= this.#last + 1,
      () => `entries [${start}, ${stop}) are outside of the log [${this.firstIndex()}, ${this.#last}]`,
    );
    if (start >= this.#window.cachedFrom) return this.#window.slice(start, stop, bytesMax);
    return this.#readEntries(start, Math.min(stop, this.#window.cachedFrom), bytesMax);
  }

  #readEntries(start: number, stop: number, bytesMax: number): readonly Entry[] {
    const { generation } = this.#start;
    const entries: Entry[] = [];
    let bytes = 0;
    for (let from = start; from < stop; from += READ_ROWS) {
      const keys: Uint8Array[] = [];
      for (let index = from; index < Math.min(stop, from + READ_ROWS); index++) {
        keys.push(this.#keys.entry(generation, index));
      }
      for (const value of this.#engine.multiGet("raft", keys)) {
        const index = start + entries.length;
        if (value === undefined) throw corrupt(`log entry ${index} is missing on disk`);
        const entry = decodeEntry(index, value);
        bytes += entry.data.length;
        if (bytes > bytesMax && entries.length > 0) return entries;
        entries.push(entry);
      }
    }
    return entries;
  }

  term(index: number): number {
    if (index === this.#start.index) return this.#start.term;
    const known = this.#window.get(index);
    if (known !== undefined) return known.term;
    assert(index >= this.firstIndex() && index <= this.#last, () => `no entry ${index} in the log`);
    return must(this.#readEntries(index, index + 1, 0)[0], "no entry").term;
  }

  logBytes(): number {
    return this.#window.bytes;
  }

  deleteThrough(index: number, done: Done): void {
    const before = this.#start;
    if (index <= before.index) return done(undefined);
    assert(index <= (this.#live?.info.index ?? 0), "entries are deleted that no snapshot holds");
    this.#start = { generation: before.generation, index, term: this.term(index) };
    this.#window.deleteThrough(index);
    const step = (from: number, isFirst: boolean): void => {
      if (from > index) return done(undefined);
      const batch = this.#engine.batch();
      // First what readers go by, so that a crash in between leaves rows that nobody reads.
      if (isFirst) batch.put("raft", this.#keys.logStart, encodeLogStart(this.#start));
      const to = Math.min(index, from + DELETES_MAX - 1);
      for (let gone = from; gone <= to; gone++) {
        batch.delete("raft", this.#keys.entry(before.generation, gone));
      }
      this.#engine.write(batch, { sync: false }, (error) => {
        if (error !== undefined) return done(error);
        step(to + 1, false);
      });
    };
    step(before.index + 1, true);
  }

  snapshot(): SnapshotInfo | undefined {
    return this.#live?.info;
  }

  readSnapshot(offset: number): Uint8Array | undefined {
    const live = must(this.#live, "there is no snapshot");
    if (offset >= live.info.bytes) return undefined;
    const chunk = this.#engine.get("snap", this.#keys.chunk(live.row, offset));
    if (chunk === undefined) throw corrupt(`the snapshot's chunk at ${offset} is missing on disk`);
    return chunk;
  }

  beginSnapshot(): SnapshotWriter {
    assert(this.#writer?.isOver ?? true, "two snapshots are written at a time");
    this.#writer = new EngineSnapshotWriter(this, this.#nextRow++);
    return this.#writer;
  }

  /** For the writer. */
  writeChunk(row: number, offset: number, chunk: Uint8Array, done: Done): void {
    const batch = this.#engine.batch();
    batch.put("snap", this.#keys.chunk(row, offset), chunk);
    this.#engine.write(batch, { sync: false }, done);
  }

  /** For the writer: all chunks of rows [from, to). */
  deleteChunks(from: number, to: number, done: Done): void {
    if (from >= to) return done(undefined);
    this.#engine.deleteRange("snap", this.#keys.chunk(from, 0), this.#keys.chunk(to, 0), done);
  }

  publishSnapshot(writer: SnapshotWriter, info: SnapshotInfo, done: Done): void {
    const batch = this.#engine.batch();
    const live = this.#stageLive(batch, writer, info);
    // The first snapshot of a group: the log begins behind it.
    const start = this.#stagedLast === 0 ? { ...this.#start, index: info.index, term: info.term } : undefined;
    if (start !== undefined) batch.put("raft", this.#keys.logStart, encodeLogStart(start));
    this.#engine.write(batch, { sync: true }, (error) => {
      if (error !== undefined) return done(error);
      if (start !== undefined) {
        this.#start = start;
        this.#begin(start.index, 0);
      }
      this.#replaceLive(live, done);
    });
  }

  installSnapshot(writer: SnapshotWriter, info: SnapshotInfo, hardState: HardState, done: Done): void {
    const batch = this.#engine.batch();
    const live = this.#stageLive(batch, writer, info);
    const old = this.#start;
    const start = { generation: old.generation + 1, index: info.index, term: info.term };
    batch.put("raft", this.#keys.logStart, encodeLogStart(start));
    batch.put("raft", this.#keys.hardState, encodeHardState(hardState));
    this.#engine.write(batch, { sync: true }, (error) => {
      if (error !== undefined) return done(error);
      this.#start = start;
      this.#hardState = hardState;
      this.#begin(start.index, 0);
      const from = this.#keys.entry(old.generation, 0);
      this.#engine.deleteRange("raft", from, this.#keys.entry(old.generation, END), (error) => {
        if (error !== undefined) return done(error);
        this.#replaceLive(live, done);
      });
    });
  }

  #stageLive(batch: EngineBatch, writer: SnapshotWriter, info: SnapshotInfo): LiveSnapshot {
    assert(
      writer instanceof EngineSnapshotWriter && !writer.isOver,
      "the snapshot is of another storage, or over",
    );
    assert(writer.offset === info.bytes, () => `${writer.offset} bytes were written of ${info.bytes}`);
    writer.isOver = true;
    const live = { row: writer.row, info };
    batch.put("raft", this.#keys.snapshot, encodeLiveSnapshot(live));
    return live;
  }

  #replaceLive(live: LiveSnapshot, done: Done): void {
    const old = this.#live?.row;
    this.#live = live;
    if (old === undefined) return done(undefined);
    this.deleteChunks(old, old + 1, done);
  }

  close(done: Done): void {
    // An empty synced batch comes after everything under way.
    this.#engine.write(this.#engine.batch(), { sync: true }, done);
  }
}
