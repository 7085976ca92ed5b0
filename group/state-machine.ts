/**
 * What a user of a group writes: a state machine. Every member applies the same commands in the same order, so
 * `apply` must depend on nothing but the state, the entry and the context: no clock, no chance, no I/O whose outcome
 * differs.
 *
 * apply, snapshot and restore never run at the same time, unless `snapshotsConcurrently` says that they may.
 */
import { fromUtf8, utf8 } from "../base/index.js";

/** A command as it stands in the log. */
export interface AppliedEntry<Command> {
  readonly command: Command;
  /** Index of the log entry, >= 2. Several commands may share an entry. */
  readonly index: number;
  readonly term: number;
  /** Place of the command within its entry, from 0. (index, position) grows and is unique for ever. */
  readonly position: number;
}

export interface ApplyContext {
  /**
   * Milliseconds since 1970 that all members agree on: the leader's wall clock when it took the command, never going
   * back. For leases and expiry; use it instead of `Date.now()`.
   */
  readonly timeMs: number;
  /** Set when the command came through a session. */
  readonly clientId: string | undefined;
  readonly serial: number | undefined;
}

export interface StateMachine<Command, Response> {
  /**
   * Changes the state by one committed command and returns the answer for whoever proposed it. Synchronous. A command
   * that makes no sense is an answer like any other ("no such key"); throwing stops this member, because from then on
   * its state would differ from that of the others.
   */
  apply(entry: AppliedEntry<Command>, context: ApplyContext): Response;
  /**
   * The whole state in chunks of any size, at most 64 MiB each. Called between two applies, which wait until the last
   * chunk was taken. With `snapshotsConcurrently` they do not wait: then the state as of this call must be captured
   * before the first chunk is yielded.
   */
  snapshot(): AsyncIterable<Uint8Array>;
  /** Replaces the whole state by that of a snapshot: the very chunks that `snapshot` yielded, in order. */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Runs on the leader alone, before the command enters the log: the one place where the application may refuse, by
   * throwing. Sees the state as of the last applied command, which may change until this command is applied.
   */
  validate?(command: Command): void;
  /** True: `snapshot` captures the state at its call, and applies go on meanwhile. Default false. */
  readonly snapshotsConcurrently?: boolean;
  /**
   * For a state machine with durable state of its own: the index of the last entry whose effects are durable, 0 at
   * first. Entries up to it are not applied again after a restart. Needs `persist`.
   */
  appliedIndex?(): number;
  /**
   * Makes all effects up to and including entry `index` durable, together with that index: both or neither survive a
   * crash. Called after the last command of each batch of entries. Synchronous.
   */
  persist?(index: number): void;
}

/** How commands and responses become bytes. `decode(encode(x))` must equal x. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** JSON; `undefined` is kept. */
export function jsonCodec<T>(): Codec<T> {
  return {
    encode: (value) => utf8(value === undefined ? "" : JSON.stringify(value)),
    decode: (bytes) => (bytes.length === 0 ? undefined : JSON.parse(fromUtf8(bytes))) as T,
  };
}

/** Bytes as they are. */
export const bytesCodec: Codec<Uint8Array> = { encode: (value) => value, decode: (bytes) => bytes.slice() };
