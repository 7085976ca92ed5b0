/**
 * Clients that write all the time and remember what was acknowledged. Key `w<i>` only ever grows and has one writer,
 * which reads before each write: what it reads must be its last acknowledged value, or one whose fate is unknown. So a
 * lost write shows, and one that takes effect a second time, later.
 */
import type { RawClient } from "../../client/index.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface WritersOptions {
  readonly prefix?: string;
  /** Pause of each worker between its writes. Default 0. */
  readonly pauseMs?: number;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Writers {
  readonly acknowledged = new Map<string, number>();
  readonly errors: string[] = [];
  /** Reads that returned something else than the key's only writer had put there. */
  readonly wrongReads: string[] = [];
  /** Longest time between two acknowledged writes of all workers together. */
  longestPauseMs = 0;
  #lastAckMs = performance.now();
  #stopping = false;
  readonly #pauseMs: number;
  readonly #running: Promise<void>[] = [];

  constructor(client: RawClient, workers: number, options: WritersOptions = {}) {
    this.#pauseMs = options.pauseMs ?? 0;
    const prefix = options.prefix ?? "w";
    for (let i = 0; i < workers; i++) this.#running.push(this.#work(client, `${prefix}${i}`));
  }

  get writes(): number {
    let total = 0;
    for (const count of this.acknowledged.values()) total += count;
    return total;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  /** Reads every key back; returns what is missing. */
  async lost(client: RawClient): Promise<string[]> {
    const missing: string[] = [];
    for (const [key, count] of this.acknowledged) {
      const value = await client.get(encoder.encode(key));
      const seen = value === undefined ? 0 : Number(decoder.decode(value));
      if (seen < count) missing.push(`${key}: acknowledged ${count}, read ${seen}`);
    }
    return missing;
  }

  async #work(client: RawClient, key: string): Promise<void> {
    const bytes = encoder.encode(key);
    for (let count = 1; !this.#stopping; count++) {
      try {
        await this.#check(client, key, bytes, count - 1);
        await client.put(bytes, encoder.encode(String(count)));
        this.acknowledged.set(key, count);
        const nowMs = performance.now();
        this.longestPauseMs = Math.max(this.longestPauseMs, nowMs - this.#lastAckMs);
        this.#lastAckMs = nowMs;
        if (this.#pauseMs > 0) await sleep(this.#pauseMs);
      } catch (error) {
        this.errors.push(`${key} ${count}: ${error instanceof Error ? error.message : String(error)}`);
        await sleep(50);
      }
    }
  }

  /** Values between the last acknowledged one and the last tried one may be there. */
  async #check(client: RawClient, key: string, bytes: Uint8Array, tried: number): Promise<void> {
    const value = await client.get(bytes);
    const seen = value === undefined ? 0 : Number(decoder.decode(value));
    const acknowledged = this.acknowledged.get(key) ?? 0;
    if (seen < acknowledged || seen > tried) {
      this.wrongReads.push(`${key}: acknowledged ${acknowledged}, tried ${tried}, read ${seen}`);
    }
  }
}
