/**
 * Recent log entries in memory, contiguous, bounded in bytes. Invariant: entries[i].index = entries[0].index + i.
 * Only entries known to be durable are offered here, so dropping any prefix loses nothing. Each cache has a bound of
 * its own, and all caches of a store share one: when that is spent a cache keeps only the newest entry.
 */
import { assert, ByteBudget, type LogIndex } from "../base/index.js";
import type { Entry } from "../raft/types.js";

const ENTRY_OVERHEAD_BYTES = 96;

export class EntryCache {
  readonly #bytesMax: number;
  readonly #budget: ByteBudget;
  #entries: Entry[] = [];
  /** Entries before this position are dropped; compacted now and then so that trimming costs nothing per entry. */
  #head = 0;
  #bytes = 0;

  constructor(bytesMax: number, budget: ByteBudget = new ByteBudget(Number.POSITIVE_INFINITY)) {
    this.#bytesMax = bytesMax;
    this.#budget = budget;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#entries.length - this.#head;
  }

  firstIndex(): LogIndex | undefined {
    return this.#entries[this.#head]?.index;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    const last = this.#entries[this.#entries.length - 1];
    if (last !== undefined && this.length > 0 && first.index !== last.index + 1) {
      if (first.index > last.index + 1) this.clear();
      else this.#truncateFrom(first.index);
    }
    for (const entry of entries) {
      this.#entries.push(entry);
      this.#count(entry.data.length + ENTRY_OVERHEAD_BYTES);
    }
    while ((this.#bytes > this.#bytesMax || this.#budget.isSpent) && this.length > 1) this.#dropFirst();
    this.#compact();
  }

  get(index: LogIndex): Entry | undefined {
    const first = this.#entries[this.#head];
    return first === undefined ? undefined : this.#entries[this.#head + index - first.index];
  }

  /** Entries of [low, high) that are here, stopping at `bytesMax` but with at least one; low must be here. */
  slice(low: LogIndex, high: LogIndex, bytesMax: number): Entry[] {
    const first = this.#entries[this.#head];
    assert(first !== undefined && low >= first.index, "slice below the cached entries");
    const from = this.#head + low - first.index;
    const to = Math.min(this.#head + high - first.index, this.#entries.length);
    let bytes = 0;
    let end = from;
    while (end < to) {
      bytes += (this.#entries[end] as Entry).data.length;
      if (bytes > bytesMax && end > from) break;
      end++;
    }
    return this.#entries.slice(from, end);
  }

  /** Drops entries below `index`. */
  trimTo(index: LogIndex): void {
    while (this.length > 0 && (this.#entries[this.#head] as Entry).index < index) this.#dropFirst();
    this.#compact();
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
    this.#count(-this.#bytes);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#budget.add(bytes);
  }

  #truncateFrom(index: LogIndex): void {
    while (this.length > 0) {
      const last = this.#entries[this.#entries.length - 1] as Entry;
      if (last.index < index) return;
      this.#entries.pop();
      this.#count(-(last.data.length + ENTRY_OVERHEAD_BYTES));
    }
    this.clear();
  }

  #dropFirst(): void {
    const entry = this.#entries[this.#head] as Entry;
    this.#count(-(entry.data.length + ENTRY_OVERHEAD_BYTES));
    this.#entries[this.#head] = undefined as unknown as Entry;
    this.#head++;
  }

  #compact(): void {
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
