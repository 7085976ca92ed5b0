/**
 * What an entry of the log holds: the commands of one turn of the leader, with the time that it gave them and how
 * long sessions may be idle. Members agree on time and expiry because both stand in the log.
 */
import { ByteReader, ByteWriter, corrupt } from "./wire.js";

const VERSION = 1;
const COMMANDS_MAX = 1 << 20;

export type LogCommand =
  | { readonly kind: "plain"; readonly data: Uint8Array }
  | {
      readonly kind: "session";
      readonly clientId: string;
      /** From 1, each once. */
      readonly serial: number;
      /** The client has the answers of all serials up to this one: they may be forgotten. */
      readonly acknowledged: number;
      readonly data: Uint8Array;
    }
  | { readonly kind: "open"; readonly clientId: string }
  | { readonly kind: "close"; readonly clientId: string };

export interface CommandBatch {
  readonly timeMs: number;
  readonly sessionTtlMs: number;
  readonly commands: readonly LogCommand[];
}

const KINDS: readonly LogCommand["kind"][] = ["plain", "session", "open", "close"];

/** An upper bound of what the command adds to an entry. */
export const commandBytes = (command: LogCommand): number =>
  command.kind === "plain"
    ? command.data.length + 8
    : command.clientId.length * 3 + 32 + ("data" in command ? command.data.length : 0);

export function writeCommand(writer: ByteWriter, command: LogCommand): void {
  writer.byte(KINDS.indexOf(command.kind));
  if (command.kind !== "plain") writer.text(command.clientId);
  if (command.kind === "session") writer.varint(command.serial).varint(command.acknowledged);
  if ("data" in command) writer.bytes(command.data);
}

export function readCommand(reader: ByteReader): LogCommand {
  const kind = KINDS[reader.byte()];
  switch (kind) {
    case "plain":
      return { kind, data: reader.bytes() };
    case "session": {
      const clientId = reader.text();
      const serial = reader.varint();
      const acknowledged = reader.varint();
      return { kind, clientId, serial, acknowledged, data: reader.bytes() };
    }
    case "open":
    case "close":
      return { kind, clientId: reader.text() };
    case undefined:
      throw corrupt("a command of unknown kind: a newer version wrote it");
  }
}

export function encodeBatch(batch: CommandBatch): Uint8Array {
  let bytes = 32;
  for (const command of batch.commands) bytes += commandBytes(command);
  const writer = new ByteWriter(bytes).byte(VERSION).varint(batch.timeMs).varint(batch.sessionTtlMs);
  writer.varint(batch.commands.length);
  for (const command of batch.commands) writeCommand(writer, command);
  return writer.finish();
}

export function decodeBatch(bytes: Uint8Array): CommandBatch {
  const reader = new ByteReader(bytes, "log entry");
  if (reader.byte() !== VERSION) throw corrupt("a log entry of unknown version: a newer version wrote it");
  const timeMs = reader.varint();
  const sessionTtlMs = reader.varint();
  const commands = reader.list(COMMANDS_MAX, () => readCommand(reader));
  reader.end();
  return { timeMs, sessionTtlMs, commands };
}
