/**
 * What members say to each other: packets of items, one packet per peer and turn. The envelope names the group, the
 * sender with its storage, and the receiver, so that what is meant for somebody else is refused before it is looked
 * at. A packet may be lost, repeated or overtaken; every item bears that.
 */
import {
  ENTRY_TYPES,
  type Entry,
  makeEntry,
  makeMessage,
  makeSnapshot,
  type Message,
  type MessageType,
  WIRE_MESSAGE_TYPES,
} from "../raft/index.js";
import { type LogCommand, readCommand, writeCommand } from "./command.js";
import { readConfState, readSnapshotInfo, writeConfState, writeSnapshotInfo } from "./disk-codec.js";
import type { SnapshotInfo } from "./storage.js";
import { ByteReader, ByteWriter, corrupt } from "./wire.js";

const VERSION = 1;
const ITEMS_MAX = 1 << 20;

export interface Envelope {
  readonly groupId: string;
  /** 0: not a member yet. */
  readonly from: number;
  readonly fromAddress: string;
  readonly storageId: string;
  readonly to: number;
}

/** How a proposal ended, as far as anybody knows. */
export type Outcome =
  | { readonly kind: "applied"; readonly index: number; readonly response: Uint8Array }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly retry: "safe" | "unknown" | "never";
    };

export type RefusalCode = "clusterIdMismatch" | "memberRemoved" | "memberLostItsDisk";

export type Item =
  | { readonly kind: "raft"; readonly message: Message }
  | {
      readonly kind: "propose";
      /** Where the sender began to count at its start, and below what it waits for no request any more. */
      readonly life: number;
      readonly settled: number;
      readonly request: number;
      readonly command: LogCommand;
    }
  | { readonly kind: "outcome"; readonly request: number; readonly outcome: Outcome }
  | { readonly kind: "snapshotBegin"; readonly term: number; readonly info: SnapshotInfo }
  | {
      readonly kind: "snapshotChunk";
      readonly source: string;
      readonly number: number;
      readonly offset: number;
      readonly checksum: number;
      readonly data: Uint8Array;
    }
  | {
      readonly kind: "snapshotAck";
      readonly source: string;
      readonly number: number;
      /** Bytes that the receiver has. */
      readonly offset: number;
      readonly status: SnapshotAckStatus;
    }
  | { readonly kind: "hello" }
  | { readonly kind: "helloAck" }
  | { readonly kind: "refused"; readonly code: RefusalCode; readonly message: string };

/**
 * `more`: go on from `offset`; `done`: all of it was taken, or is not needed; `busy`: later; `failed`: begin anew.
 */
export type SnapshotAckStatus = "more" | "done" | "busy" | "failed";

export interface Packet {
  readonly envelope: Envelope;
  readonly items: readonly Item[];
}

const ITEM_KINDS: readonly Item["kind"][] = [
  "raft",
  "propose",
  "outcome",
  "snapshotBegin",
  "snapshotChunk",
  "snapshotAck",
  "hello",
  "helloAck",
  "refused",
];
const ACK_STATUSES: readonly SnapshotAckStatus[] = ["more", "done", "busy", "failed"];
const RETRIES = ["safe", "unknown", "never"] as const;
const REFUSALS: readonly RefusalCode[] = ["clusterIdMismatch", "memberRemoved", "memberLostItsDisk"];

/** Members of an array that may not know a value: malformed otherwise. */
function known<T>(list: readonly T[], at: number, what: string): T {
  const value = list[at];
  if (value === undefined) throw corrupt(`packet with an unknown ${what}`);
  return value;
}

export function encodePacket({ envelope, items }: Packet): Uint8Array {
  const { groupId, from, fromAddress, storageId, to } = envelope;
  const writer = new ByteWriter(1024).byte(VERSION).text(groupId).varint(from).text(fromAddress);
  writer.text(storageId).varint(to).varint(items.length);
  for (const item of items) writeItem(writer, item);
  return writer.finish();
}

/** Throws `corruptData` for what no member can have sent. */
export function decodePacket(bytes: Uint8Array): Packet {
  const reader = new ByteReader(bytes, "packet");
  if (reader.byte() !== VERSION) throw corrupt("a packet of another version");
  const envelope: Envelope = {
    groupId: reader.text(),
    from: reader.varint(),
    fromAddress: reader.text(),
    storageId: reader.text(),
    to: reader.varint(),
  };
  const items = reader.list(ITEMS_MAX, () => readItem(reader));
  reader.end();
  return { envelope, items };
}

function writeItem(writer: ByteWriter, item: Item): void {
  writer.byte(ITEM_KINDS.indexOf(item.kind));
  switch (item.kind) {
    case "hello":
    case "helloAck":
      return;
    case "raft":
      return writeMessage(writer, item.message);
    case "propose":
      writer.varint(item.life).varint(item.settled).varint(item.request);
      return writeCommand(writer, item.command);
    case "outcome":
      return writeOutcome(writer.varint(item.request), item.outcome);
    case "snapshotBegin":
      return writeSnapshotInfo(writer.varint(item.term), item.info);
    case "snapshotChunk":
      writer.text(item.source).varint(item.number).varint(item.offset).u32(item.checksum).bytes(item.data);
      return;
    case "snapshotAck":
      writer.text(item.source).varint(item.number).varint(item.offset);
      writer.byte(ACK_STATUSES.indexOf(item.status));
      return;
    case "refused":
      writer.byte(REFUSALS.indexOf(item.code)).text(item.message);
  }
}

function readItem(reader: ByteReader): Item {
  const kind = known(ITEM_KINDS, reader.byte(), "kind of item");
  switch (kind) {
    case "raft":
      return { kind, message: readMessage(reader) };
    case "propose": {
      const [life, settled, request] = [reader.varint(), reader.varint(), reader.varint()];
      return { kind, life, settled, request, command: readCommand(reader) };
    }
    case "outcome":
      return { kind, request: reader.varint(), outcome: readOutcome(reader) };
    case "snapshotBegin":
      return { kind, term: reader.varint(), info: readSnapshotInfo(reader) };
    case "snapshotChunk": {
      const [source, number, offset, checksum] = [
        reader.text(),
        reader.varint(),
        reader.varint(),
        reader.u32(),
      ];
      return { kind, source, number, offset, checksum, data: reader.bytes() };
    }
    case "snapshotAck": {
      const [source, number, offset] = [reader.text(), reader.varint(), reader.varint()];
      return { kind, source, number, offset, status: known(ACK_STATUSES, reader.byte(), "status") };
    }
    case "hello":
    case "helloAck":
      return { kind };
    case "refused":
      return { kind, code: known(REFUSALS, reader.byte(), "refusal"), message: reader.text() };
  }
}

function writeOutcome(writer: ByteWriter, outcome: Outcome): void {
  if (outcome.kind === "applied") {
    writer.byte(0).varint(outcome.index).bytes(outcome.response);
    return;
  }
  writer
    .byte(1 + RETRIES.indexOf(outcome.retry))
    .text(outcome.code)
    .text(outcome.message);
}

function readOutcome(reader: ByteReader): Outcome {
  const tag = reader.byte();
  if (tag === 0) return { kind: "applied", index: reader.varint(), response: reader.bytes() };
  const retry = known(RETRIES, tag - 1, "retry class");
  return { kind: "failed", retry, code: reader.text(), message: reader.text() };
}

function writeMessage(writer: ByteWriter, message: Message): void {
  writer
    .byte((WIRE_MESSAGE_TYPES as readonly MessageType[]).indexOf(message.type))
    .varint(message.to)
    .varint(message.from);
  writer.varint(message.term).varint(message.logTerm).varint(message.index).varint(message.commit);
  writer
    .varint(message.commitTerm)
    .varint(message.vote)
    .byte(message.reject ? 1 : 0);
  writer.varint(message.rejectHint).varint(message.requestSnapshot).bytes(message.context);
  writer.varint(message.entries.length);
  for (const entry of message.entries) {
    writer.byte(ENTRY_TYPES.indexOf(entry.type)).varint(entry.term).varint(entry.index).bytes(entry.data);
  }
  writer.byte(message.snapshot === undefined ? 0 : 1);
  if (message.snapshot !== undefined) {
    const { index, term, confState } = message.snapshot.metadata;
    writer.varint(index).varint(term);
    writeConfState(writer, confState);
  }
}

function readMessage(reader: ByteReader): Message {
  const type = known(WIRE_MESSAGE_TYPES, reader.byte(), "type of message");
  const [to, from, term, logTerm, index, commit, commitTerm, vote] = [
    reader.varint(),
    reader.varint(),
    reader.varint(),
    reader.varint(),
    reader.varint(),
    reader.varint(),
    reader.varint(),
    reader.varint(),
  ];
  const reject = reader.byte() === 1;
  const [rejectHint, requestSnapshot, context] = [reader.varint(), reader.varint(), reader.bytes()];
  const entries = reader.list(ITEMS_MAX, (): Entry => {
    const entryType = known(ENTRY_TYPES, reader.byte(), "type of entry");
    return makeEntry(reader.varint(), reader.varint(), reader.bytes(), entryType);
  });
  const hasSnapshot = reader.byte() === 1;
  const snapshot = hasSnapshot
    ? makeSnapshot(reader.varint(), reader.varint(), readConfState(reader))
    : undefined;
  return makeMessage({
    type,
    to,
    from,
    term,
    logTerm,
    index,
    commit,
    commitTerm,
    vote,
    reject,
    rejectHint,
    requestSnapshot,
    context,
    entries,
    snapshot,
  });
}
