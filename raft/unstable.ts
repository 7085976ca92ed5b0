/**
 * What the storage does not hold durably yet: entries from `offset` on, and possibly a snapshot before them. A part of
 * it may be in progress: handed out in a Ready and not acknowledged. `offset <= offsetInProgress <= end`.
 *
 * An acknowledgement names the last (index, term) it made durable. The term decides whether what became durable is
 * what is here now: entries may have been overwritten while the write was under way.
 *
 * Slices handed out are shared between Ready and messages and never change: an overwrite replaces the array.
 */
import { assert } from "../base/assert.js";
import type { Logger } from "../base/env.js";
import { NO_ENTRIES } from "./message.js";
import type { Entry, Snapshot } from "./types.js";

export class Unstable {
  snapshot: Snapshot | undefined = undefined;
  snapshotInProgress = false;
  /** Of its own unless empty. */
  entries: readonly Entry[] = NO_ENTRIES;
  offset: number;
  offsetInProgress: number;
  readonly #log: Logger;
  // The slice handed out last: all followers and the Ready usually ask for the same one.
  #sliceLow = 0;
  #sliceHigh = 0;
  #slice: readonly Entry[] = NO_ENTRIES;

  constructor(offset: number, log: Logger) {
    this.offset = offset;
    this.offsetInProgress = offset;
    this.#log = log;
  }

  /** Index of the first entry if a snapshot says so. */
  maybeFirstIndex(): number | undefined {
    return this.snapshot === undefined ? undefined : this.snapshot.metadata.index + 1;
  }

  maybeLastIndex(): number | undefined {
    if (this.entries.length > 0) return this.offset + this.entries.length - 1;
    return this.snapshot?.metadata.index;
  }

  maybeTerm(index: number): number | undefined {
    if (index < this.offset) {
      const metadata = this.snapshot?.metadata;
      return metadata !== undefined && metadata.index === index ? metadata.term : undefined;
    }
    return this.entries[index - this.offset]?.term;
  }

  nextEntries(): readonly Entry[] {
    const end = this.offset + this.entries.length;
    return this.offsetInProgress >= end ? NO_ENTRIES : this.slice(this.offsetInProgress, end);
  }

  hasNextEntries(): boolean {
    return this.offsetInProgress < this.offset + this.entries.length;
  }

  nextSnapshot(): Snapshot | undefined {
    return this.snapshotInProgress ? undefined : this.snapshot;
  }

  acceptInProgress(): void {
    if (this.entries.length > 0) this.offsetInProgress = this.offset + this.entries.length;
    if (this.snapshot !== undefined) this.snapshotInProgress = true;
  }

  stableTo(index: number, term: number): void {
    const own = this.maybeTerm(index);
    if (own === undefined) {
      this.#log.debug("acknowledged entry is not in the unstable log", { index });
      return;
    }
    if (index < this.offset) {
      this.#log.debug("acknowledged entry matches the unstable snapshot", { index });
      return;
    }
    if (own !== term) {
      this.#log.debug("acknowledged entry has been overwritten", { index, term, own });
      return;
    }
    const count = index + 1 - this.offset;
    this.entries = count === this.entries.length ? NO_ENTRIES : this.entries.slice(count);
    this.offset = index + 1;
    if (this.offsetInProgress < this.offset) this.offsetInProgress = this.offset;
    this.#forgetSlice();
  }

  stableSnapshotTo(index: number): void {
    if (this.snapshot !== undefined && this.snapshot.metadata.index === index) {
      this.snapshot = undefined;
      this.snapshotInProgress = false;
    }
  }

  restore(snapshot: Snapshot): void {
    this.offset = snapshot.metadata.index + 1;
    this.offsetInProgress = this.offset;
    this.entries = NO_ENTRIES;
    this.snapshot = snapshot;
    this.snapshotInProgress = false;
    this.#forgetSlice();
  }

  /** Appends; entries at and above the first of `entries` are replaced. */
  truncateAndAppend(entries: readonly Entry[]): void {
    const from = (entries[0] as Entry).index;
    const end = this.offset + this.entries.length;
    if (from === end) {
      if (this.entries.length === 0) this.entries = entries.slice();
      else for (let i = 0; i < entries.length; i++) (this.entries as Entry[]).push(entries[i] as Entry);
      return;
    }
    if (from <= this.offset) {
      this.entries = entries.slice();
      this.offset = from;
      this.offsetInProgress = from;
    } else {
      assert(from < end, () => `hole in the unstable log: ends before ${end}, append at ${from}`);
      this.entries = this.entries.slice(0, from - this.offset).concat(entries);
      // What is overwritten must be written again.
      if (this.offsetInProgress > from) this.offsetInProgress = from;
    }
    this.#forgetSlice();
  }

  slice(low: number, high: number): readonly Entry[] {
    assert(low >= this.offset && low <= high && high <= this.offset + this.entries.length, () => {
      const end = this.offset + this.entries.length;
      return `unstable slice [${low}, ${high}) out of [${this.offset}, ${end})`;
    });
    if (low === high) return NO_ENTRIES;
    if (low === this.#sliceLow && high === this.#sliceHigh) return this.#slice;
    this.#slice = this.entries.slice(low - this.offset, high - this.offset);
    this.#sliceLow = low;
    this.#sliceHigh = high;
    return this.#slice;
  }

  #forgetSlice(): void {
    this.#sliceLow = 0;
    this.#sliceHigh = 0;
    this.#slice = NO_ENTRIES;
  }
}
