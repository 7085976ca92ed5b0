/**
 * Rows of a member on disk. In key space `raft`, each key behind the group's prefix:
 *
 *   i                      identity
 *   h                      hard state
 *   t                      generation of the log, index and term of the last entry that is gone
 *   s                      number and description of the live snapshot
 *   l generation index     an entry
 *
 * and in key space `snap`: number offset -> the chunk of a snapshot that begins there. Numbers in keys are big-
 * endian. Each value begins with a version byte.
 */
import { concatBytes, utf8 } from "../base/index.js";
import {
  type ConfState,
  ENTRY_TYPES,
  type Entry,
  type HardState,
  makeEntry,
  makeHardState,
} from "../raft/index.js";
import type { GroupIdentity, SnapshotInfo } from "./storage.js";
import { ByteReader, ByteWriter, corrupt } from "./wire.js";

const VERSION = 1;
const MEMBERS_MAX = 10_000;

function bigEndian(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  values.forEach((value, i) => {
    let rest = value;
    for (let at = i * 8 + 7; at >= i * 8; at--) {
      bytes[at] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  });
  return bytes;
}

export class GroupKeys {
  readonly identity: Uint8Array;
  readonly hardState: Uint8Array;
  readonly logStart: Uint8Array;
  readonly snapshot: Uint8Array;
  readonly #log: Uint8Array;
  readonly #prefix: Uint8Array;

  constructor(prefix: Uint8Array) {
    this.#prefix = prefix;
    this.identity = concatBytes(prefix, utf8("i"));
    this.hardState = concatBytes(prefix, utf8("h"));
    this.logStart = concatBytes(prefix, utf8("t"));
    this.snapshot = concatBytes(prefix, utf8("s"));
    this.#log = concatBytes(prefix, utf8("l"));
  }

  entry(generation: number, index: number): Uint8Array {
    return concatBytes(this.#log, bigEndian(generation, index));
  }

  chunk(number: number, offset: number): Uint8Array {
    return concatBytes(this.#prefix, bigEndian(number, offset));
  }
}

export function writeConfState(writer: ByteWriter, state: ConfState): void {
  for (const ids of [state.voters, state.votersOutgoing, state.learners, state.learnersNext]) {
    writer.varint(ids.length);
    for (const id of ids) writer.varint(id);
  }
  writer.byte(state.autoLeave ? 1 : 0);
}

export function readConfState(reader: ByteReader): ConfState {
  const ids = (): number[] => reader.list(MEMBERS_MAX, () => reader.varint());
  const [voters, votersOutgoing, learners, learnersNext] = [ids(), ids(), ids(), ids()];
  return { voters, votersOutgoing, learners, learnersNext, autoLeave: reader.byte() === 1 };
}

export function writeSnapshotInfo(writer: ByteWriter, info: SnapshotInfo): void {
  writer.varint(info.index).varint(info.term);
  writeConfState(writer, info.confState);
  writer.varint(info.bytes).u32(info.checksum).text(info.source).varint(info.number);
}

export function readSnapshotInfo(reader: ByteReader): SnapshotInfo {
  return {
    index: reader.varint(),
    term: reader.varint(),
    confState: readConfState(reader),
    bytes: reader.varint(),
    checksum: reader.u32(),
    source: reader.text(),
    number: reader.varint(),
  };
}

export const encodeEntry = (entry: Entry): Uint8Array =>
  new ByteWriter(entry.data.length + 16)
    .byte(ENTRY_TYPES.indexOf(entry.type))
    .varint(entry.term)
    .raw(entry.data)
    .finish();

export function decodeEntry(index: number, bytes: Uint8Array): Entry {
  const reader = new ByteReader(bytes, `log entry ${index}`);
  const type = ENTRY_TYPES[reader.byte()];
  if (type === undefined) throw corrupt(`log entry ${index} is of an unknown type`);
  const term = reader.varint();
  return makeEntry(term, index, reader.raw(reader.left), type);
}

function versioned(bytes: Uint8Array, what: string): ByteReader {
  const reader = new ByteReader(bytes, what);
  const version = reader.byte();
  if (version !== VERSION) {
    throw corrupt(`${what} on disk has version ${version}, this program reads ${VERSION}: use the newer one`);
  }
  return reader;
}

export const encodeHardState = (state: HardState): Uint8Array =>
  new ByteWriter(32).byte(VERSION).varint(state.term).varint(state.vote).varint(state.commit).finish();

export function decodeHardState(bytes: Uint8Array): HardState {
  const reader = versioned(bytes, "hard state");
  return makeHardState(reader.varint(), reader.varint(), reader.varint());
}

/** Where the log begins. */
export interface LogStart {
  readonly generation: number;
  readonly index: number;
  readonly term: number;
}

export const encodeLogStart = (start: LogStart): Uint8Array =>
  new ByteWriter(32).byte(VERSION).varint(start.generation).varint(start.index).varint(start.term).finish();

export function decodeLogStart(bytes: Uint8Array): LogStart {
  const reader = versioned(bytes, "log start");
  return { generation: reader.varint(), index: reader.varint(), term: reader.varint() };
}

export interface LiveSnapshot {
  /** Under which its chunks are kept. */
  readonly row: number;
  readonly info: SnapshotInfo;
}

export function encodeLiveSnapshot({ row, info }: LiveSnapshot): Uint8Array {
  const writer = new ByteWriter().byte(VERSION).varint(row);
  writeSnapshotInfo(writer, info);
  return writer.finish();
}

export function decodeLiveSnapshot(bytes: Uint8Array): LiveSnapshot {
  const reader = versioned(bytes, "snapshot");
  return { row: reader.varint(), info: readSnapshotInfo(reader) };
}

export function encodeIdentity(identity: GroupIdentity): Uint8Array {
  const { storageId, groupId, nodeId, address, isFounded, pins } = identity;
  const writer = new ByteWriter().byte(VERSION).text(storageId).text(groupId).varint(nodeId).text(address);
  writer.byte(isFounded ? 1 : 0).varint(pins.length);
  for (const [id, pin] of pins) writer.varint(id).text(pin);
  return writer.finish();
}

export function decodeIdentity(bytes: Uint8Array): GroupIdentity {
  const reader = versioned(bytes, "identity");
  return {
    storageId: reader.text(),
    groupId: reader.text(),
    nodeId: reader.varint(),
    address: reader.text(),
    isFounded: reader.byte() === 1,
    pins: reader.list(MEMBERS_MAX, () => [reader.varint(), reader.text()] as const),
  };
}
