/**
 * Texts of everything that passes through a node, in etcd's form: for logs, and for scripts that compare them byte by
 * byte. Ids are hexadecimal in messages, as there.
 */
import { fromUtf8 } from "../base/bytes.js";
import { decodeConfChange } from "./confchange-codec.js";
import type {
  ConfChangeSingle,
  ConfState,
  Entry,
  HardState,
  Message,
  NodeId,
  ReadState,
  Snapshot,
  SoftState,
} from "./types.js";
import { APPEND_THREAD, APPLY_THREAD, NONE } from "./types.js";

const ESCAPES: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  '"': '\\"',
  "\\": "\\\\",
};

const hex = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** Bytes as a quoted Go string: what is not printable or not UTF-8 is escaped. */
export function quote(bytes: Uint8Array): string {
  let text = '"';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      text += `\\x${hex(bytes[at] as number, 2)}`;
      at++;
      continue;
    }
    text += escapeCharacter(fromUtf8(bytes.subarray(at, at + length)));
    at += length;
  }
  return `${text}"`;
}

/** Bytes of the valid UTF-8 sequence at `at`; 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number;
  if (lead < 0x80) return 1;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > bytes.length) return 0;
  const decoded = fromUtf8(bytes.subarray(at, at + length));
  const replaced = decoded.includes("\ufffd");
  const isReplacement = lead === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd;
  return replaced && !isReplacement ? 0 : length;
}

function escapeCharacter(character: string): string {
  const escape = ESCAPES[character];
  if (escape !== undefined) return escape;
  const code = character.codePointAt(0) as number;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  if (/[\p{L}\p{M}\p{N}\p{P}\p{S}]/u.test(character) || character === " ") return character;
  return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
}

const LETTERS = {
  ConfChangeAddNode: "v",
  ConfChangeRemoveNode: "r",
  ConfChangeUpdateNode: "u",
  ConfChangeAddLearnerNode: "l",
} as const;

/** `v1 l2 r3 u4`: add voter, add learner, remove, update. */
export const describeChanges = (changes: readonly ConfChangeSingle[]): string =>
  changes.map((change) => `${LETTERS[change.type]}${change.nodeId}`).join(" ");

/** How the data of a normal entry is printed; quoted by default. */
export type DataFormatter = (data: Uint8Array) => string;

export function describeEntry(entry: Entry, format: DataFormatter = quote): string {
  let data: string;
  if (entry.type === "EntryNormal") {
    data = format(entry.data);
  } else {
    const change = decodeConfChange(entry.data);
    data = change === undefined ? `malformed ${quote(entry.data)}` : describeChanges(change.changes);
  }
  return `${entry.term}/${entry.index} ${entry.type}${data === "" ? "" : ` ${data}`}`;
}

export const describeEntries = (entries: readonly Entry[]): string =>
  entries.map((entry) => `${describeEntry(entry)}\n`).join("");

export const describeSoftState = (state: SoftState): string => `Lead:${state.lead} State:${state.state}`;

export function describeHardState(state: HardState): string {
  const vote = state.vote === NONE ? "" : ` Vote:${state.vote}`;
  return `Term:${state.term}${vote} Commit:${state.commit}`;
}

const list = (values: readonly number[] | Uint8Array): string => `[${Array.from(values).join(" ")}]`;

export const describeConfState = (state: ConfState): string =>
  `Voters:${list(state.voters)} VotersOutgoing:${list(state.votersOutgoing)} ` +
  `Learners:${list(state.learners)} LearnersNext:${list(state.learnersNext)} AutoLeave:${state.autoLeave}`;

export function describeSnapshot(snapshot: Snapshot): string {
  const { index, term, confState } = snapshot.metadata;
  return `Index:${index} Term:${term} ConfState:${describeConfState(confState)}`;
}

export const describeReadStates = (states: readonly ReadState[]): string =>
  `[${states.map((state) => `{${state.index} ${list(state.requestContext)}}`).join(" ")}]`;

export function describeTarget(id: NodeId): string {
  switch (id) {
    case NONE:
      return "None";
    case APPEND_THREAD:
      return "AppendThread";
    case APPLY_THREAD:
      return "ApplyThread";
    default:
      return id.toString(16);
  }
}

/** What raft-rs has beyond etcd: absent unless such an option is on. */
function describeExtras(message: Message): string {
  let text = "";
  if (message.commitTerm !== 0) text += ` CommitTerm:${message.commitTerm}`;
  if (message.requestSnapshot !== 0) text += ` RequestSnapshot:${message.requestSnapshot}`;
  if (message.priority !== 0) text += ` Priority:${message.priority}`;
  return text;
}

export function describeMessage(message: Message, indent = ""): string {
  const route = `${describeTarget(message.from)}->${describeTarget(message.to)}`;
  let text = `${indent}${route} ${message.type} Term:${message.term} Log:${message.logTerm}/${message.index}`;
  if (message.reject) text += ` Rejected (Hint: ${message.rejectHint})`;
  if (message.commit !== 0) text += ` Commit:${message.commit}`;
  if (message.vote !== NONE) text += ` Vote:${message.vote}`;
  text += describeExtras(message);
  const entries = message.entries;
  if (entries.length === 1) {
    text += ` Entries:[${describeEntry(entries[0] as Entry)}]`;
  } else if (entries.length > 1) {
    const lines = entries.map((entry) => `\n${indent}  ${describeEntry(entry)}`);
    text += ` Entries:[${lines.join("")}\n${indent}]`;
  }
  const snapshot = message.snapshot;
  if (snapshot !== undefined && snapshot.metadata.index !== 0) {
    text += `\n${indent}  Snapshot: ${describeSnapshot(snapshot)}`;
  }
  if (message.responses.length > 0) {
    const lines = message.responses.map((response) => `\n${describeMessage(response, `${indent}  `)}`);
    text += ` Responses:[${lines.join("")}\n${indent}]`;
  }
  return text;
}

/** What a Ready says, with the storage messages of asynchronous mode among its messages. */
export interface DescribedReady {
  readonly mustSync: boolean;
  readonly softState: SoftState | undefined;
  readonly hardState: HardState | undefined;
  readonly readStates: readonly ReadState[];
  readonly entries: readonly Entry[];
  readonly snapshot: Snapshot | undefined;
  readonly committedEntries: readonly Entry[];
  readonly messages: readonly Message[];
}

export function describeReady(ready: DescribedReady): string {
  let text = "";
  if (ready.softState !== undefined) text += `${describeSoftState(ready.softState)}\n`;
  if (ready.hardState !== undefined) text += `HardState ${describeHardState(ready.hardState)}\n`;
  if (ready.readStates.length > 0) text += `ReadStates ${describeReadStates(ready.readStates)}\n`;
  if (ready.entries.length > 0) text += `Entries:\n${describeEntries(ready.entries)}`;
  if (ready.snapshot !== undefined) text += `Snapshot ${describeSnapshot(ready.snapshot)}\n`;
  if (ready.committedEntries.length > 0) {
    text += `CommittedEntries:\n${describeEntries(ready.committedEntries)}`;
  }
  if (ready.messages.length > 0) {
    text += `Messages:\n${ready.messages.map((message) => `${describeMessage(message)}\n`).join("")}`;
  }
  return text === "" ? "<empty Ready>" : `Ready MustSync=${ready.mustSync}:\n${text}`;
}
