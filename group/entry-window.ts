/**
 * What is known in memory of the log on disk: the size of each entry, and of the newest the entries themselves, so
 * that followers are served without reading.
 */
import { type Entry, limitEntries } from "../raft/index.js";

export class EntryWindow {
  readonly #cachedBytesMax: number;
  #first = 1;
  /** By index - #first. Undefined when the entry is on disk only. */
  #entries: (Entry | undefined)[] = [];
  #sizes: number[] = [];
  #cachedFrom = 1;
  #cachedBytes = 0;
  bytes = 0;

  constructor(cachedBytesMax: number) {
    this.#cachedBytesMax = cachedBytesMax;
  }

  /** A log [first, last] of `bytes` that is not in memory. */
  reset(first: number, last: number, bytes: number): void {
    const count = last - first + 1;
    this.#first = first;
    this.#entries = Array.from({ length: count }, () => undefined);
    this.#sizes = Array.from({ length: count }, () => (count === 0 ? 0 : bytes / count));
    this.#cachedFrom = last + 1;
    this.#cachedBytes = 0;
    this.bytes = count === 0 ? 0 : bytes;
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    this.#cut(first.index);
    for (const entry of entries) {
      this.#entries.push(entry);
      this.#sizes.push(entry.data.length);
      this.bytes += entry.data.length;
      this.#cachedBytes += entry.data.length;
    }
    this.#trim();
  }

  #cut(index: number): void {
    const at = index - this.#first;
    for (let i = at; i < this.#sizes.length; i++) {
      this.bytes -= this.#sizes[i] as number;
      if (this.#entries[i] !== undefined) this.#cachedBytes -= this.#sizes[i] as number;
    }
    this.#entries.length = at;
    this.#sizes.length = at;
    this.#cachedFrom = Math.min(this.#cachedFrom, index);
  }

  #trim(): void {
    const end = this.#first + this.#entries.length;
    while (this.#cachedBytes > this.#cachedBytesMax && this.#cachedFrom < end - 1) {
      const at = this.#cachedFrom - this.#first;
      this.#entries[at] = undefined;
      this.#cachedBytes -= this.#sizes[at] as number;
      this.#cachedFrom++;
    }
  }

  /** The log begins behind `index` now. */
  deleteThrough(index: number): void {
    const count = Math.min(index - this.#first + 1, this.#sizes.length);
    for (let i = 0; i < count; i++) {
      this.bytes -= this.#sizes[i] as number;
      if (this.#entries[i] !== undefined) this.#cachedBytes -= this.#sizes[i] as number;
    }
    this.#entries.splice(0, count);
    this.#sizes.splice(0, count);
    this.#first = index + 1;
    this.#cachedFrom = Math.max(this.#cachedFrom, this.#first);
  }

  get(index: number): Entry | undefined {
    return this.#entries[index - this.#first];
  }

  /** The first index from which on all entries are in memory. */
  get cachedFrom(): number {
    return this.#cachedFrom;
  }

  slice(start: number, stop: number, bytesMax: number): readonly Entry[] {
    const cached = this.#entries.slice(start - this.#first, stop - this.#first) as readonly Entry[];
    return limitEntries(cached, bytesMax);
  }
}
