/**
 * Reads that wait: for a quorum to confirm the leader (read index), then for the applied index to reach the confirmed
 * one. All reads of a turn share one request. A read's data is taken after that, by the store, for many at once.
 * (raftstore rules 11.9, 11.11; the leader waits for its own apply as well, which TiKV does not: reliability.md J9)
 */
import type { RegionError } from "./errors.js";
import { writeU64 } from "./keys.js";

export interface ReadRequest {
  /** The region is confirmed and applied: read now, in this turn. */
  run(): void;
  fail(error: RegionError): void;
}

interface PendingRead {
  readonly id: number;
  readonly createdMs: number;
  readonly requests: ReadRequest[];
  /** Undefined until confirmed. */
  index: number | undefined;
}

const RETRY_AFTER_MS = 500;

export class ReadQueue {
  readonly #peerTag: number;
  #nextId: number;
  /** Reads of this turn that no request has been sent for. */
  #unsent: ReadRequest[] = [];
  /** Requests in `#unsent` and `#pending`. */
  #waiting = 0;
  /** In the order asked; ids increase. */
  #pending: PendingRead[] = [];

  /**
   * `peerTag` makes contexts of different peers differ at the leader; `firstId` (random) those of different lives of
   * one peer: a late answer to a former life must not confirm a read of this one.
   */
  constructor(peerTag: number, firstId: number) {
    this.#peerTag = peerTag;
    this.#nextId = firstId;
  }

  /** Greater than the id of any request so far. */
  get nextId(): number {
    return this.#nextId;
  }

  get length(): number {
    return this.#unsent.length + this.#pending.length;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  add(request: ReadRequest): void {
    this.#unsent.push(request);
    this.#waiting++;
  }

  /** A read whose index is known already (lease read that must wait for apply). */
  addConfirmed(request: ReadRequest, index: number, nowMs: number): void {
    this.#pending.push({ id: 0, createdMs: nowMs, requests: [request], index });
    this.#waiting++;
  }

  /** Takes all unsent reads into one request and returns its context. */
  seal(nowMs: number): Uint8Array {
    const id = this.#nextId++;
    this.#pending.push({ id, createdMs: nowMs, requests: this.#unsent, index: undefined });
    this.#unsent = [];
    return this.#context(id);
  }

  /**
   * A quorum confirmed the request with this context at `index`; older unconfirmed ones are covered by it too, their
   * confirmations being lost. Returns when the confirmed request was created, for the lease.
   */
  confirm(context: Uint8Array, index: number): number | undefined {
    const at = this.#pending.findIndex((read) => read.id !== 0 && this.#matches(context, read.id));
    if (at < 0) return undefined;
    for (let i = 0; i <= at; i++) {
      const read = this.#pending[i] as PendingRead;
      read.index ??= index;
    }
    return (this.#pending[at] as PendingRead).createdMs;
  }

  /** Removes and returns every read that the applied index has reached. */
  takeReady(appliedIndex: number): ReadRequest[] {
    if (this.#pending.length === 0) return [];
    const ready: ReadRequest[] = [];
    const waiting: PendingRead[] = [];
    for (const read of this.#pending) {
      if (read.index !== undefined && read.index <= appliedIndex) ready.push(...read.requests);
      else waiting.push(read);
    }
    this.#pending = waiting;
    this.#waiting -= ready.length;
    return ready;
  }

  /** Fails what is not confirmed, or everything. */
  fail(error: RegionError, what: "unconfirmed" | "all"): void {
    const failed = this.#pending.filter((read) => what === "all" || read.index === undefined);
    this.#pending = this.#pending.filter((read) => what !== "all" && read.index !== undefined);
    const unsent = this.#unsent;
    this.#unsent = [];
    this.#waiting -= failed.reduce((sum, read) => sum + read.requests.length, unsent.length);
    for (const read of failed) for (const request of read.requests) request.fail(error);
    for (const request of unsent) request.fail(error);
  }

  /** Context of the newest request whose answer is overdue: a follower asks again, messages being lost at times. */
  contextToRetry(nowMs: number): Uint8Array | undefined {
    for (let i = this.#pending.length - 1; i >= 0; i--) {
      const read = this.#pending[i] as PendingRead;
      if (read.index === undefined) {
        return nowMs - read.createdMs >= RETRY_AFTER_MS ? this.#context(read.id) : undefined;
      }
    }
    return undefined;
  }

  #context(id: number): Uint8Array {
    const context = new Uint8Array(16);
    writeU64(context, 0, this.#peerTag);
    writeU64(context, 8, id);
    return context;
  }

  #matches(context: Uint8Array, id: number): boolean {
    const own = this.#context(id);
    return context.length === 16 && own.every((byte, i) => byte === context[i]);
  }
}
