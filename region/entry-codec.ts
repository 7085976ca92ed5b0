/**
 * Log values: `eraftpb.Entry` in protobuf form, written by hand because one is encoded for every proposal on every
 * replica. Field numbers: entry_type 1, term 2, index 3, data 4. A test compares it with the generated codec.
 */
import { assert, logIndex, term } from "../base/index.js";
import type { Entry, EntryType } from "../raft/types.js";

const TYPES: readonly EntryType[] = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"];

export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Writes a varint at `offset`, returns the offset behind it. `value` is a safe integer >= 0. */
export function writeVarint(target: Uint8Array, offset: number, value: number): number {
  let rest = value;
  let at = offset;
  while (rest >= 128) {
    target[at++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  target[at++] = rest;
  return at;
}

/** Reads varints in sequence. */
export class ByteReader {
  readonly bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.offset = offset;
  }

  get done(): boolean {
    return this.offset >= this.bytes.length;
  }

  u8(): number {
    assert(this.offset < this.bytes.length, "read past the end of a log value");
    return this.bytes[this.offset++] as number;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 128) return value;
      scale *= 128;
      assert(scale <= 2 ** 49, "varint too long in a log value");
    }
  }

  /** A view on the underlying bytes. */
  take(length: number): Uint8Array {
    assert(this.offset + length <= this.bytes.length, "slice past the end of a log value");
    const slice = this.bytes.subarray(this.offset, this.offset + length);
    this.offset += length;
    return slice;
  }
}

export function encodeEntry(entry: Entry): Uint8Array {
  const type = TYPES.indexOf(entry.type);
  const length =
    (type > 0 ? 2 : 0) +
    1 +
    varintLength(entry.term) +
    1 +
    varintLength(entry.index) +
    (entry.data.length > 0 ? 1 + varintLength(entry.data.length) + entry.data.length : 0);
  const bytes = new Uint8Array(length);
  let at = 0;
  if (type > 0) {
    bytes[at++] = 0x08;
    bytes[at++] = type;
  }
  bytes[at++] = 0x10;
  at = writeVarint(bytes, at, entry.term);
  bytes[at++] = 0x18;
  at = writeVarint(bytes, at, entry.index);
  if (entry.data.length > 0) {
    bytes[at++] = 0x22;
    at = writeVarint(bytes, at, entry.data.length);
    bytes.set(entry.data, at);
  }
  return bytes;
}

export function decodeEntry(bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes);
  let type = 0;
  let entryTerm = 0;
  let entryIndex = 0;
  let data: Uint8Array = new Uint8Array(0);
  while (!reader.done) {
    const tag = reader.u8();
    if (tag === 0x08) type = reader.varint();
    else if (tag === 0x10) entryTerm = reader.varint();
    else if (tag === 0x18) entryIndex = reader.varint();
    else if (tag === 0x22) data = reader.take(reader.varint());
    else assert(false, () => `unknown tag ${tag} in a log entry`);
  }
  const known = TYPES[type];
  assert(known !== undefined, () => `unknown entry type ${type}`);
  return { type: known, term: term(entryTerm), index: logIndex(entryIndex), data };
}
