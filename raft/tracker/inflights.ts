/**
 * The window of appends sent to a peer and not yet acknowledged: a ring of (last index, bytes) pairs, allocated on
 * first use and grown by doubling, since most groups are idle. Bounded by count and, softly, by bytes: the message
 * that crosses the byte limit is admitted, else an entry above the limit could never be sent.
 *
 * Invariant: indexes ascend from the oldest to the newest.
 */
import { assert } from "../../base/assert.js";

const FIRST_CAPACITY = 4;

export class Inflights {
  #start = 0;
  #count = 0;
  #bytes = 0;
  #countMax: number;
  readonly #bytesMax: number;
  #indexes: number[] | undefined;
  #sizes: number[] | undefined;

  /** `countMax` 0 stops replication to the peer altogether; `bytesMax` may be Infinity. */
  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get countMax(): number {
    return this.#countMax;
  }

  get bytesMax(): number {
    return this.#bytesMax;
  }

  full(): boolean {
    return this.#count >= this.#countMax || this.#bytes >= this.#bytesMax;
  }

  /** A smaller window than what is in flight drains as acknowledgements come in. */
  setCountMax(countMax: number): void {
    this.#countMax = countMax;
  }

  /** The window must not be full. */
  add(index: number, bytes: number): void {
    assert(!this.full(), "cannot add to a full window of in-flight appends");
    if (this.#indexes === undefined || this.#count === this.#indexes.length) this.#grow();
    const at = (this.#start + this.#count) % (this.#indexes as number[]).length;
    (this.#indexes as number[])[at] = index;
    (this.#sizes as number[])[at] = bytes;
    this.#count++;
    this.#bytes += bytes;
  }

  /** Frees everything up to and including `index`. */
  freeTo(index: number): void {
    const indexes = this.#indexes;
    const sizes = this.#sizes;
    if (indexes === undefined || sizes === undefined) return;
    while (this.#count > 0 && (indexes[this.#start] as number) <= index) {
      this.#bytes -= sizes[this.#start] as number;
      this.#start = this.#start + 1 === indexes.length ? 0 : this.#start + 1;
      this.#count--;
    }
    if (this.#count === 0) this.#start = 0;
  }

  reset(): void {
    this.#start = 0;
    this.#count = 0;
    this.#bytes = 0;
  }

  /** Gives the buffers back; for groups that go idle. Only when nothing is in flight. */
  releaseBuffers(): void {
    if (this.#count !== 0) return;
    this.#indexes = undefined;
    this.#sizes = undefined;
  }

  #grow(): void {
    const old = this.#indexes;
    const oldSizes = this.#sizes;
    const capacity = old === undefined ? FIRST_CAPACITY : old.length * 2;
    const indexes = new Array<number>(Math.min(capacity, Math.max(this.#countMax, FIRST_CAPACITY))).fill(0);
    const sizes = new Array<number>(indexes.length).fill(0);
    for (let i = 0; i < this.#count; i++) {
      const at = (this.#start + i) % (old as number[]).length;
      indexes[i] = (old as number[])[at] as number;
      sizes[i] = (oldSizes as number[])[at] as number;
    }
    this.#start = 0;
    this.#indexes = indexes;
    this.#sizes = sizes;
  }
}
