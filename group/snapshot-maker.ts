/**
 * Makes snapshots of this member's own state, in pieces: one piece is in memory at a time, and the next chunk is
 * asked of the application when the last one was taken by the disk. The application's `snapshot()` begins at once, so
 * that it sees the state between two applies.
 */
import { assert, type Env } from "../base/index.js";
import type { ConfState } from "../raft/index.js";
import { machineFailed } from "./applier.js";
import { crc32 } from "./crc32.js";
import { StreamCutter } from "./snapshot-stream.js";
import type { GroupStorage, SnapshotInfo, SnapshotWriter } from "./storage.js";

export interface SnapshotSource {
  readonly index: number;
  readonly term: number;
  readonly confState: ConfState;
  readonly groupState: Uint8Array;
  /** Undefined: the state that every member begins with. */
  readonly chunks: AsyncIterable<Uint8Array> | undefined;
  readonly storageId: string;
  readonly pieceBytes: number;
}

type Callback = (error: Error | undefined, info?: SnapshotInfo) => void;

/** Makes the snapshot that every founder begins with. */
export function makeInitialSnapshot(
  env: Env,
  storage: GroupStorage,
  source: Omit<SnapshotSource, "chunks">,
  callback: Callback,
): void {
  const maker = new SnapshotMaker(env, storage, { ...source, chunks: undefined }, () => {}, callback);
  assert(maker !== undefined, "made at once");
}

export class SnapshotMaker {
  readonly #storage: GroupStorage;
  readonly #source: SnapshotSource;
  readonly #cutter: StreamCutter;
  readonly #writer: SnapshotWriter;
  readonly #iterator: AsyncIterator<Uint8Array> | undefined;
  readonly #number: number;
  readonly #callback: Callback;
  /** Called when the application has given its last chunk. */
  readonly #onCaptured: () => void;
  #checksum = 0;
  #isOver = false;

  constructor(
    env: Env,
    storage: GroupStorage,
    source: SnapshotSource,
    onCaptured: () => void,
    callback: Callback,
  ) {
    this.#storage = storage;
    this.#source = source;
    this.#onCaptured = onCaptured;
    this.#callback = callback;
    this.#number = env.random.u32() * 2 ** 20 + (env.random.u32() % 2 ** 20);
    this.#cutter = new StreamCutter(source.pieceBytes);
    this.#writer = storage.beginSnapshot();
    this.#cutter.begin(source.groupState, source.chunks === undefined);
    this.#iterator = source.chunks?.[Symbol.asyncIterator]();
    this.#pull();
  }

  /** The member stops: what was written goes at the next start. */
  stop(): void {
    this.#isOver = true;
    this.#endIterator();
  }

  #endIterator(): void {
    const ended = this.#iterator?.return?.();
    ended?.then(
      () => {},
      () => {},
    );
  }

  #pull(): void {
    if (this.#iterator === undefined) return this.#captured();
    this.#iterator.next().then(
      (result) => {
        if (this.#isOver) return;
        if (result.done === true) return this.#captured();
        try {
          this.#cutter.frame(result.value);
        } catch (error) {
          this.#endIterator();
          return this.#fail(error as Error);
        }
        this.#write(false, () => this.#pull());
      },
      (error: unknown) => this.#fail(machineFailed("snapshot", this.#source.index, error)),
    );
  }

  #captured(): void {
    this.#cutter.end();
    this.#onCaptured();
    this.#write(true, () => this.#publish());
  }

  #write(isLast: boolean, then: () => void): void {
    const piece = this.#cutter.take(isLast);
    if (piece === undefined) return then();
    this.#checksum = crc32(piece, this.#checksum);
    this.#writer.write(this.#writer.offset, piece, (error) => {
      if (this.#isOver) return;
      if (error !== undefined) return this.#end(error);
      this.#write(isLast, then);
    });
  }

  #publish(): void {
    const { index, term, confState, storageId } = this.#source;
    const info: SnapshotInfo = {
      index,
      term,
      confState,
      bytes: this.#writer.offset,
      checksum: this.#checksum,
      source: storageId,
      number: this.#number,
    };
    this.#storage.publishSnapshot(this.#writer, info, (error) => {
      if (error !== undefined) this.#end(error);
      else this.#end(undefined, info);
    });
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#writer.abort(() => this.#end(error));
  }

  #end(error: Error | undefined, info?: SnapshotInfo): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#callback(error, info);
  }
}
