/**
 * The window of appends sent to a peer and not yet acknowledged: a ring of (last index, bytes) pairs. The ring is made
 * on first use and grown by doubling, limits are shared, and members without anything in flight share one window,
 * since most groups are idle. Bounded by count and, softly, by bytes: the message that crosses the byte limit is
 * admitted, else an entry above the limit could never be sent.
 *
 * Invariant: indexes ascend from the oldest to the newest.
 */
import { assert } from "../../base/assert.js";

const FIRST_CAPACITY = 4;

export interface WindowLimits {
  /** 0 stops replication to the peer altogether. */
  readonly countMax: number;
  /** May be Infinity. */
  readonly bytesMax: number;
}

interface Ring {
  start: number;
  count: number;
  bytes: number;
  indexes: number[];
  sizes: number[];
}

const idleWindows = new WeakMap<WindowLimits, Inflights>();

export class Inflights {
  limits: WindowLimits;
  #ring: Ring | undefined = undefined;

  /** Of several members: nothing is ever put into it. */
  readonly isShared: boolean;

  constructor(limits: WindowLimits, isShared = false) {
    this.limits = limits;
    this.isShared = isShared;
  }

  /** The window of all members with these limits that have nothing in flight. Nothing can be added to it. */
  static idle(limits: WindowLimits): Inflights {
    let window = idleWindows.get(limits);
    if (window === undefined) {
      window = new Inflights(limits, true);
      idleWindows.set(limits, window);
    }
    return window;
  }

  get count(): number {
    return this.#ring === undefined ? 0 : this.#ring.count;
  }

  get bytes(): number {
    return this.#ring === undefined ? 0 : this.#ring.bytes;
  }

  get countMax(): number {
    return this.limits.countMax;
  }

  get bytesMax(): number {
    return this.limits.bytesMax;
  }

  full(): boolean {
    const { countMax, bytesMax } = this.limits;
    return this.#ring === undefined
      ? countMax === 0
      : this.#ring.count >= countMax || this.#ring.bytes >= bytesMax;
  }

  /** A smaller window than what is in flight drains as acknowledgements come in. Not for the shared one. */
  setCountMax(countMax: number): void {
    assert(!this.isShared, "the window of those that have nothing in flight is everybody's");
    this.limits = { countMax, bytesMax: this.limits.bytesMax };
  }

  /** The window must not be full. */
  add(index: number, bytes: number): void {
    assert(!this.full(), "cannot add to a full window of in-flight appends");
    assert(!this.isShared, "cannot add to the window of those that have nothing in flight");
    const ring = (this.#ring ??= { start: 0, count: 0, bytes: 0, indexes: [], sizes: [] });
    if (ring.count === ring.indexes.length) this.#grow(ring);
    const at = (ring.start + ring.count) % ring.indexes.length;
    ring.indexes[at] = index;
    ring.sizes[at] = bytes;
    ring.count++;
    ring.bytes += bytes;
  }

  /** Frees everything up to and including `index`. */
  freeTo(index: number): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    while (ring.count > 0 && (ring.indexes[ring.start] as number) <= index) {
      ring.bytes -= ring.sizes[ring.start] as number;
      ring.start = ring.start + 1 === ring.indexes.length ? 0 : ring.start + 1;
      ring.count--;
    }
    if (ring.count === 0) ring.start = 0;
  }

  reset(): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    ring.start = 0;
    ring.count = 0;
    ring.bytes = 0;
  }

  #grow(ring: Ring): void {
    const { indexes, sizes } = ring;
    const doubled = Math.max(FIRST_CAPACITY, indexes.length * 2);
    const capacity = Math.min(doubled, Math.max(this.limits.countMax, FIRST_CAPACITY));
    ring.indexes = new Array<number>(capacity).fill(0);
    ring.sizes = new Array<number>(capacity).fill(0);
    for (let i = 0; i < ring.count; i++) {
      const at = (ring.start + i) % indexes.length;
      ring.indexes[i] = indexes[at] as number;
      ring.sizes[i] = sizes[at] as number;
    }
    ring.start = 0;
  }
}
