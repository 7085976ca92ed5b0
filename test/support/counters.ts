/**
 * Counters that several workers increment by compare-and-swap. At the end a counter lies between the increments that
 * were acknowledged and those plus the ones of unknown fate: less is a lost write, more is one applied twice.
 */
import { RaftwerkError } from "../../base/index.js";
import type { RawClient } from "../../client/index.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const numberOf = (value: Uint8Array | undefined): number =>
  value === undefined ? 0 : Number(decoder.decode(value));

export class Counters {
  readonly acknowledged = new Map<string, number>();
  readonly unknown = new Map<string, number>();
  #stopping = false;
  readonly #running: Promise<void>[] = [];

  constructor(client: RawClient, keys: readonly string[], workersEach: number, pauseMs: number) {
    for (const key of keys) {
      for (let i = 0; i < workersEach; i++) this.#running.push(this.#work(client, key, pauseMs));
    }
  }

  get increments(): number {
    let total = 0;
    for (const count of this.acknowledged.values()) total += count;
    return total;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#running);
  }

  /** What does not add up. */
  async wrong(client: RawClient): Promise<string[]> {
    const problems: string[] = [];
    for (const [key, acknowledged] of this.acknowledged) {
      const seen = numberOf(await client.get(encoder.encode(key)));
      const most = acknowledged + (this.unknown.get(key) ?? 0);
      if (seen < acknowledged || seen > most)
        problems.push(`${key}: ${seen} instead of ${acknowledged} to ${most}`);
    }
    return problems;
  }

  async #work(client: RawClient, key: string, pauseMs: number): Promise<void> {
    const bytes = encoder.encode(key);
    while (!this.#stopping) {
      try {
        const before = await client.get(bytes);
        const next = encoder.encode(String(numberOf(before) + 1));
        const { swapped } = await client.compareAndSwap(bytes, before, next);
        if (swapped) this.acknowledged.set(key, (this.acknowledged.get(key) ?? 0) + 1);
      } catch (error) {
        const isSafe = error instanceof RaftwerkError && error.retry === "safe";
        if (!isSafe) this.unknown.set(key, (this.unknown.get(key) ?? 0) + 1);
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}
