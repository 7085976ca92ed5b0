/**
 * Linearizable reads that wait for the leader to prove its leadership. Requests are numbered by position; heartbeats
 * carry the highest position, and a position that a quorum has answered confirms all requests up to it.
 *
 * The positions are the leader's own: contexts chosen by callers may repeat, and a late answer to the first use must
 * not confirm the second. Positions start anew in every leadership; answers of other terms are dropped before.
 */
import { EMPTY_BYTES } from "../base/bytes.js";
import type { Message } from "./types.js";

export interface ReadRequest {
  readonly request: Message;
  /** Commit index when the request came in: the read sees at least this. */
  readonly index: number;
}

const NO_REQUESTS: readonly ReadRequest[] = Object.freeze([]);
const POSITION_BYTES = 8;

export class ReadOnly {
  #unconfirmed: ReadRequest[] = [];
  #confirmed = 0;

  get pending(): number {
    return this.#unconfirmed.length;
  }

  /** Position of the newest request. */
  position(): number {
    return this.#confirmed + this.#unconfirmed.length;
  }

  add(request: Message, index: number): void {
    this.#unconfirmed.push({ request, index });
  }

  /** Takes out the requests up to the position that a quorum confirmed. */
  advance(confirmed: number): readonly ReadRequest[] {
    const count = Math.min(confirmed - this.#confirmed, this.#unconfirmed.length);
    if (!(count > 0)) return NO_REQUESTS;
    this.#confirmed += count;
    return this.#unconfirmed.splice(0, count);
  }

  /** Context of heartbeats; empty when nothing waits. */
  heartbeatContext(): Uint8Array {
    if (this.#unconfirmed.length === 0) return EMPTY_BYTES;
    const bytes = new Uint8Array(POSITION_BYTES);
    let rest = this.position();
    for (let i = POSITION_BYTES - 1; i >= 0; i--) {
      bytes[i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    return bytes;
  }
}

/** The position in an answer's context; 0 when there is none. */
export function readPosition(context: Uint8Array): number {
  if (context.length !== POSITION_BYTES) return 0;
  let position = 0;
  for (let i = 0; i < POSITION_BYTES; i++) position = position * 256 + (context[i] as number);
  return Number.isSafeInteger(position) ? position : 0;
}
