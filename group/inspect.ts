/** What a member's storage holds, as plain objects: for people and for programs that look into a directory. */
import { fromUtf8, toHex } from "../base/index.js";
import { type ConfState, decodeConfChange, type Entry } from "../raft/index.js";
import { decodeBatch, type LogCommand } from "./command.js";
import { decodeContext, type Member } from "./members.js";
import { readGroupState } from "./snapshot-restorer.js";
import type { GroupStorage, InitialState } from "./storage.js";

export interface DescribedCommand {
  readonly kind: LogCommand["kind"];
  readonly clientId?: string;
  readonly serial?: number;
  readonly command?: unknown;
}

export interface DescribedEntry {
  readonly index: number;
  readonly term: number;
  readonly type: "empty" | "commands" | "configuration change" | "damaged";
  readonly bytes: number;
  readonly timeMs?: number;
  readonly commands?: readonly DescribedCommand[];
  readonly changes?: readonly string[];
  readonly members?: readonly Member[];
  readonly error?: string;
}

export interface DescribedStorage {
  readonly identity: InitialState["identity"];
  readonly hardState: InitialState["hardState"];
  readonly snapshot:
    | {
        readonly index: number;
        readonly term: number;
        readonly bytes: number;
        readonly checksum: number;
        readonly confState: ConfState;
        readonly members: readonly Member[];
        readonly nextId: number;
        readonly sessions: number;
        readonly timeMs: number;
      }
    | undefined;
  readonly firstIndex: number;
  readonly lastIndex: number;
}

/** JSON where it is JSON, text where it is text, else hex. */
function guess(bytes: Uint8Array): unknown {
  const text = fromUtf8(bytes);
  try {
    return JSON.parse(text);
  } catch {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: text has none of them
    return /^[\x20-\x7e\s]*$/.test(text) ? text : `0x${toHex(bytes)}`;
  }
}

export function describeEntry(entry: Entry, decode: (bytes: Uint8Array) => unknown = guess): DescribedEntry {
  const { index, term, data } = entry;
  const basic = { index, term, bytes: data.length };
  try {
    if (entry.type !== "EntryNormal") {
      const change = decodeConfChange(data);
      if (change === undefined) return { ...basic, type: "damaged", error: "no configuration change" };
      const changes = change.changes.map(({ type, nodeId }) => `${type.replace("ConfChange", "")} ${nodeId}`);
      if (changes.length === 0) changes.push("LeaveJoint");
      return { ...basic, type: "configuration change", changes, members: decodeContext(change.context) };
    }
    if (data.length === 0) return { ...basic, type: "empty" };
    const { timeMs, commands } = decodeBatch(data);
    const described = commands.map(
      (command): DescribedCommand => ({
        kind: command.kind,
        ...("clientId" in command ? { clientId: command.clientId } : {}),
        ...("serial" in command ? { serial: command.serial } : {}),
        ...("data" in command ? { command: decode(command.data) } : {}),
      }),
    );
    return { ...basic, type: "commands", timeMs, commands: described };
  } catch (error) {
    return { ...basic, type: "damaged", error: (error as Error).message };
  }
}

/** Of an opened storage. */
export function describeStorage(storage: GroupStorage, initial: InitialState): DescribedStorage {
  const info = storage.snapshot();
  const state = info === undefined ? undefined : readGroupState(storage);
  return {
    identity: initial.identity,
    hardState: initial.hardState,
    snapshot:
      info === undefined || state === undefined
        ? undefined
        : {
            index: info.index,
            term: info.term,
            bytes: info.bytes,
            checksum: info.checksum,
            confState: info.confState,
            members: [...state.members.values()],
            nextId: state.nextId,
            sessions: state.sessions.count,
            timeMs: state.sessions.timeMs,
          },
    firstIndex: storage.firstIndex(),
    lastIndex: storage.lastIndex(),
  };
}
