/**
 * What a normal log entry says. First byte 1 or 3: a batch of writes in a compact form of our own (stores of
 * raftwerk never
 * share a group with TiKV's stores, and this form is encoded once and applied without building objects). First byte 2:
 * an administrative command as `raft_cmdpb.RaftCmdRequest`.
 *
 * Writes: 01, varint epoch version, then operations: kind:1 space:1 varint keyLength key [varint valueLength value].
 * Keys carry the data prefix already, so that apply hands slices of the entry straight to the engine's batch. First
 * byte 3 instead of 1 marks writes whose effect depends on what earlier entries wrote (compare-and-swap, range delete).
 */
import { assert, EMPTY_BYTES, type KeySpace } from "../base/index.js";
import { raft_cmdpb } from "../proto/index.js";
import { ByteReader, varintLength, writeVarint } from "./entry-codec.js";
import { DATA_PREFIX } from "./keys.js";

const WRITES = 0x01;
const ADMIN = 0x02;
const DEPENDENT_WRITES = 0x03;

const PUT = 1;
const DELETE = 2;
const DELETE_RANGE = 3;
const COMPARE_AND_SWAP = 4;
/** Flags of a compare-and-swap. */
const HAS_EXPECTED = 1;
const DELETES = 2;

const SPACES: readonly KeySpace[] = ["default", "lock", "write"];

export interface WriteVisitor {
  put(space: KeySpace, key: Uint8Array, value: Uint8Array): void;
  delete(space: KeySpace, key: Uint8Array): void;
  deleteRange(space: KeySpace, start: Uint8Array, end: Uint8Array): void;
  /**
   * `expected` undefined: the key must be absent. `value` (with its trailer) is stored when the comparison holds;
   * undefined deletes. `nowSeconds` is the proposer's wall clock, so that all replicas agree on what has expired.
   */
  compareAndSwap(
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array | undefined,
    nowSeconds: number,
  ): void;
}

/** Collects the writes of one proposal into one growing buffer. */
export class WriteBatchEncoder {
  #buffer = EMPTY_BYTES;
  #length = 0;
  #operations = 0;

  get bytes(): number {
    return this.#length;
  }

  get operations(): number {
    return this.#operations;
  }

  start(epochVersion: number): void {
    this.#length = 0;
    this.#operations = 0;
    this.#reserve(10);
    this.#buffer[0] = WRITES;
    this.#length = writeVarint(this.#buffer, 1, epochVersion);
  }

  /** `trailer` is appended to the value (raw values carry flags and expiry behind the user's bytes). */
  put(space: KeySpace, key: Uint8Array, value: Uint8Array, trailer: Uint8Array): void {
    this.#reserve(key.length + value.length + trailer.length + 24);
    this.#key(PUT, space, key);
    this.#length = writeVarint(this.#buffer, this.#length, value.length + trailer.length);
    this.#append(value);
    this.#append(trailer);
  }

  delete(space: KeySpace, key: Uint8Array): void {
    this.#reserve(key.length + 16);
    this.#key(DELETE, space, key);
  }

  /** Bounds are user keys; an empty end is the end of all data. */
  deleteRange(space: KeySpace, start: Uint8Array, end: Uint8Array): void {
    this.#reserve(start.length + end.length + 32);
    this.#buffer[0] = DEPENDENT_WRITES;
    this.#key(DELETE_RANGE, space, start);
    this.#length = writeVarint(this.#buffer, this.#length, end.length + 1);
    this.#buffer[this.#length++] = end.length === 0 ? DATA_PREFIX + 1 : DATA_PREFIX;
    this.#append(end);
  }

  compareAndSwap(
    key: Uint8Array,
    expected: Uint8Array | undefined,
    value: Uint8Array | undefined,
    trailer: Uint8Array,
    nowSeconds: number,
  ): void {
    this.#reserve(key.length + (expected?.length ?? 0) + (value?.length ?? 0) + trailer.length + 48);
    this.#buffer[0] = DEPENDENT_WRITES;
    this.#key(COMPARE_AND_SWAP, "default", key);
    this.#length = writeVarint(this.#buffer, this.#length, nowSeconds);
    this.#buffer[this.#length++] =
      (expected === undefined ? 0 : HAS_EXPECTED) | (value === undefined ? DELETES : 0);
    if (expected !== undefined) {
      this.#length = writeVarint(this.#buffer, this.#length, expected.length);
      this.#append(expected);
    }
    if (value === undefined) return;
    this.#length = writeVarint(this.#buffer, this.#length, value.length + trailer.length);
    this.#append(value);
    this.#append(trailer);
  }

  /** The entry's data; a copy, so that the encoder can be used again. */
  finish(): Uint8Array {
    assert(this.#operations > 0, "a proposal without writes");
    return this.#buffer.slice(0, this.#length);
  }

  #key(kind: number, space: KeySpace, key: Uint8Array): void {
    this.#operations++;
    this.#buffer[this.#length++] = kind;
    this.#buffer[this.#length++] = SPACES.indexOf(space);
    this.#length = writeVarint(this.#buffer, this.#length, key.length + 1);
    this.#buffer[this.#length++] = DATA_PREFIX;
    this.#append(key);
  }

  #append(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2, 1024));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}

/** An upper bound of what one put adds to a proposal. */
export const putBytes = (key: Uint8Array, value: Uint8Array): number =>
  key.length + value.length + 2 + varintLength(key.length + 1) + varintLength(value.length + 9) + 10;

export type Command =
  | { readonly kind: "writes"; readonly epochVersion: number; readonly body: ByteReader }
  | { readonly kind: "admin"; readonly request: raft_cmdpb.RaftCmdRequest };

export function decodeCommand(data: Uint8Array): Command {
  const reader = new ByteReader(data);
  const kind = reader.u8();
  if (kind === WRITES || kind === DEPENDENT_WRITES) {
    return { kind: "writes", epochVersion: reader.varint(), body: reader };
  }
  assert(kind === ADMIN, () => `unknown command kind ${kind}`);
  return { kind: "admin", request: raft_cmdpb.RaftCmdRequest.decode(data.subarray(1)) };
}

/** Whether this entry's effect depends on what earlier entries wrote. */
export const isDependent = (data: Uint8Array): boolean => data[0] === DEPENDENT_WRITES;

export function encodeAdmin(request: raft_cmdpb.IRaftCmdRequest): Uint8Array {
  const body = raft_cmdpb.RaftCmdRequest.encode(request).finish();
  const data = new Uint8Array(body.length + 1);
  data[0] = ADMIN;
  data.set(body, 1);
  return data;
}

export function visitWrites(reader: ByteReader, visitor: WriteVisitor): void {
  while (!reader.done) {
    const kind = reader.u8();
    const space = SPACES[reader.u8()];
    assert(space !== undefined, "unknown key space in a log entry");
    const key = reader.take(reader.varint());
    if (kind === PUT) {
      visitor.put(space, key, reader.take(reader.varint()));
    } else if (kind === DELETE) {
      visitor.delete(space, key);
    } else if (kind === DELETE_RANGE) {
      visitor.deleteRange(space, key, reader.take(reader.varint()));
    } else {
      assert(kind === COMPARE_AND_SWAP, () => `unknown write kind ${kind}`);
      const nowSeconds = reader.varint();
      const flags = reader.u8();
      const expected = (flags & HAS_EXPECTED) !== 0 ? reader.take(reader.varint()) : undefined;
      const value = (flags & DELETES) !== 0 ? undefined : reader.take(reader.varint());
      visitor.compareAndSwap(key, expected, value, nowSeconds);
    }
  }
}
