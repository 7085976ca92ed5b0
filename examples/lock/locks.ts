/**
 * A lock table: leases that end by the time of the group, and fencing tokens that only grow, so that a resource can
 * refuse an owner whose lease ended without its knowing.
 */
import type { AppliedEntry, ApplyContext, GroupSession, StateMachine } from "raftwerk/group";

export type LockCommand =
  | { readonly kind: "acquire"; readonly name: string; readonly owner: string; readonly ttlMs: number }
  | { readonly kind: "renew"; readonly name: string; readonly token: number; readonly ttlMs: number }
  | { readonly kind: "release"; readonly name: string; readonly token: number };

export type LockResponse =
  | { readonly kind: "held"; readonly token: number; readonly untilMs: number }
  | { readonly kind: "taken"; readonly owner: string; readonly untilMs: number }
  | { readonly kind: "lost" }
  | { readonly kind: "released" };

interface Lock {
  readonly owner: string;
  readonly token: number;
  readonly untilMs: number;
}

export class LockTable implements StateMachine<LockCommand, LockResponse> {
  #locks = new Map<string, Lock>();
  #lastToken = 0;

  validate(command: LockCommand): void {
    if ("ttlMs" in command && !(command.ttlMs >= 1 && command.ttlMs <= 3_600_000)) {
      throw new Error("ttlMs must be from 1 ms to an hour");
    }
  }

  apply({ command }: AppliedEntry<LockCommand>, { timeMs }: ApplyContext): LockResponse {
    const known = this.#locks.get(command.name);
    // The group's time, the same on every member: never Date.now() here.
    const held = known !== undefined && known.untilMs > timeMs ? known : undefined;
    switch (command.kind) {
      case "acquire": {
        if (held !== undefined) return { kind: "taken", owner: held.owner, untilMs: held.untilMs };
        const lock = { owner: command.owner, token: ++this.#lastToken, untilMs: timeMs + command.ttlMs };
        this.#locks.set(command.name, lock);
        return { kind: "held", token: lock.token, untilMs: lock.untilMs };
      }
      case "renew": {
        if (held?.token !== command.token) return { kind: "lost" };
        const untilMs = Math.max(held.untilMs, timeMs + command.ttlMs);
        this.#locks.set(command.name, { ...held, untilMs });
        return { kind: "held", token: held.token, untilMs };
      }
      case "release":
        if (held?.token !== command.token) return { kind: "lost" };
        this.#locks.delete(command.name);
        return { kind: "released" };
    }
  }

  async *snapshot(): AsyncGenerator<Uint8Array> {
    yield Buffer.from(JSON.stringify({ lastToken: this.#lastToken, locks: [...this.#locks] }));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    for await (const chunk of chunks) parts.push(chunk);
    const saved = JSON.parse(Buffer.concat(parts).toString()) as {
      lastToken: number;
      locks: [string, Lock][];
    };
    this.#lastToken = saved.lastToken;
    this.#locks = new Map(saved.locks);
  }
}

/** What a client of the table uses. Through a session, so that a lost answer does not cost it a lock. */
export class Locks {
  readonly #session: GroupSession<LockCommand, LockResponse>;

  constructor(session: GroupSession<LockCommand, LockResponse>) {
    this.#session = session;
  }

  /** The token to show to the resource; undefined when somebody else has the lock. */
  async acquire(name: string, owner: string, ttlMs: number): Promise<number | undefined> {
    const answer = await this.#session.propose({ kind: "acquire", name, owner, ttlMs });
    return answer.kind === "held" ? answer.token : undefined;
  }

  /** False: the lease ended before; somebody else may have the lock. */
  async renew(name: string, token: number, ttlMs: number): Promise<boolean> {
    return (await this.#session.propose({ kind: "renew", name, token, ttlMs })).kind === "held";
  }

  async release(name: string, token: number): Promise<boolean> {
    return (await this.#session.propose({ kind: "release", name, token })).kind === "released";
  }
}

/** A resource that is guarded by a lock: it takes no order of an owner older than the newest it has seen. */
export class FencedFile {
  #highest = 0;
  readonly lines: string[] = [];

  write(token: number, line: string): boolean {
    if (token < this.#highest) return false;
    this.#highest = token;
    this.lines.push(line);
    return true;
  }
}
