/**
 * Clients that write all the time and remember what was acknowledged. Key `w<i>` only ever grows, so that a read shows
 * whether an acknowledged write was lost: the value must be at least the last acknowledged one.
 */
import type { RawClient } from "../../client/index.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Writers {
  readonly acknowledged = new Map<string, number>();
  readonly errors: string[] = [];
  /** Longest time between two acknowledged writes of all workers together. */
  longestPauseMs = 0;
  #lastAckMs = performance.now();
  #stopping = false;
  readonly #running: Promise<void>[] = [];

  constructor(client: RawClient, workers: number, prefix = "w") {
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
        await client.put(bytes, encoder.encode(String(count)));
        this.acknowledged.set(key, count);
        const nowMs = performance.now();
        this.longestPauseMs = Math.max(this.longestPauseMs, nowMs - this.#lastAckMs);
        this.#lastAckMs = nowMs;
      } catch (error) {
        this.errors.push(`${key} ${count}: ${error instanceof Error ? error.message : String(error)}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}
