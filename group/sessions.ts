/**
 * Exactly-once: who has a session, and the answers of its latest commands. Part of the replicated state: every member
 * holds the same table, it travels in snapshots, and sessions expire by the time in the log.
 *
 * A session is opened through the log before its first command, so that a command of a session that is gone is
 * refused instead of being taken for a first one. Serials of a session may arrive in any order within `SERIALS_MAX`.
 */
import { type ByteReader, type ByteWriter, corrupt } from "./wire.js";

/** More sessions than this: the one idle for longest goes. */
export const SESSIONS_MAX = 100_000;
/** Commands of one session that may be unanswered at a time. */
export const SERIALS_MAX = 256;

/**
 * The answer of a command; undefined when it was applied before a restart that kept its effect and not its answer.
 */
export type KeptResponse = Uint8Array | undefined;

interface Session {
  lastUsedMs: number;
  /** Serials up to this one are answered and forgotten. */
  acknowledged: number;
  /** Greatest serial applied. */
  highest: number;
  readonly responses: Map<number, KeptResponse>;
}

export type SessionVerdict =
  /** Not seen before: apply it, then `keep` its response. */
  | { readonly kind: "new" }
  | { readonly kind: "seen"; readonly response: KeptResponse }
  /** Its answer was acknowledged, or lies too far back. */
  | { readonly kind: "forgotten" }
  | { readonly kind: "noSession" };

export class SessionTable {
  /** In the order of their last use, the oldest first. */
  #sessions = new Map<string, Session>();
  /** Agreed time; never goes back. */
  timeMs = 0;

  get count(): number {
    return this.#sessions.size;
  }

  /** Takes the time of an entry; ends the sessions that were idle for longer than `ttlMs`. */
  advance(timeMs: number, ttlMs: number): void {
    if (timeMs > this.timeMs) this.timeMs = timeMs;
    for (const [clientId, session] of this.#sessions) {
      if (session.lastUsedMs + ttlMs >= this.timeMs) break;
      this.#sessions.delete(clientId);
    }
  }

  /** Opens a session or finds the one there is; answers with its highest serial. */
  open(clientId: string): number {
    const session = this.#sessions.get(clientId) ?? {
      lastUsedMs: this.timeMs,
      acknowledged: 0,
      highest: 0,
      responses: new Map(),
    };
    this.#use(clientId, session);
    while (this.#sessions.size > SESSIONS_MAX) {
      for (const [oldest] of this.#sessions) {
        this.#sessions.delete(oldest);
        break;
      }
    }
    return session.highest;
  }

  close(clientId: string): void {
    this.#sessions.delete(clientId);
  }

  #use(clientId: string, session: Session): void {
    session.lastUsedMs = this.timeMs;
    this.#sessions.delete(clientId);
    this.#sessions.set(clientId, session);
  }

  check(clientId: string, serial: number, acknowledged: number): SessionVerdict {
    const session = this.#sessions.get(clientId);
    if (session === undefined) return { kind: "noSession" };
    this.#use(clientId, session);
    if (acknowledged > session.acknowledged) {
      session.acknowledged = acknowledged;
      for (const known of session.responses.keys()) {
        if (known <= acknowledged) session.responses.delete(known);
      }
    }
    if (session.responses.has(serial)) return { kind: "seen", response: session.responses.get(serial) };
    if (serial <= session.acknowledged || serial <= session.highest - SERIALS_MAX) {
      return { kind: "forgotten" };
    }
    return { kind: "new" };
  }

  keep(clientId: string, serial: number, response: KeptResponse): void {
    const session = this.#sessions.get(clientId);
    if (session === undefined) return;
    session.responses.set(serial, response);
    if (serial <= session.highest) return;
    session.highest = serial;
    for (const known of session.responses.keys()) {
      if (known <= serial - SERIALS_MAX) session.responses.delete(known);
    }
  }

  write(writer: ByteWriter): void {
    writer.varint(this.timeMs).varint(this.#sessions.size);
    for (const [clientId, session] of this.#sessions) {
      writer.text(clientId).varint(session.lastUsedMs).varint(session.acknowledged).varint(session.highest);
      writer.varint(session.responses.size);
      for (const [serial, response] of session.responses) {
        writer.varint(serial).byte(response === undefined ? 0 : 1);
        if (response !== undefined) writer.bytes(response);
      }
    }
  }

  static read(reader: ByteReader): SessionTable {
    const table = new SessionTable();
    table.timeMs = reader.varint();
    const count = reader.varint();
    if (count > SESSIONS_MAX) throw corrupt(`a snapshot with ${count} sessions`);
    for (let i = 0; i < count; i++) {
      const clientId = reader.text();
      const [lastUsedMs, acknowledged, highest] = [reader.varint(), reader.varint(), reader.varint()];
      const responses = new Map<number, KeptResponse>();
      reader.list(SERIALS_MAX * 2, () => {
        const serial = reader.varint();
        responses.set(serial, reader.byte() === 1 ? reader.bytes().slice() : undefined);
      });
      table.#sessions.set(clientId, { lastUsedMs, acknowledged, highest, responses });
    }
    return table;
  }
}
