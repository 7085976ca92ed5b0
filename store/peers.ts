/**
 * The peers of a store and the ranges they own. Invariant: ranges of initialized peers never overlap; `#ranges` is
 * sorted by start key. Uninitialized peers are known by id only. (raftstore rules 0, tables)
 */
import { assert, compareBytes } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import { isInitialized, type Region, rangesOverlap } from "../region/region.js";

interface OwnedRange {
  readonly regionId: number;
  readonly startKey: Uint8Array;
  readonly endKey: Uint8Array;
}

export class PeerRegistry {
  readonly #peers = new Map<number, Peer>();
  /** Sorted by start key; a look-up by key is a binary search. */
  readonly #ranges: OwnedRange[] = [];
  readonly #rangeOf = new Map<number, OwnedRange>();

  get size(): number {
    return this.#peers.size;
  }

  get(regionId: number): Peer | undefined {
    return this.#peers.get(regionId);
  }

  /** In order of creation. */
  all(): IterableIterator<Peer> {
    return this.#peers.values();
  }

  /** Adds a peer; its range too if it has one, which must be free. */
  add(peer: Peer): void {
    assert(!this.#peers.has(peer.regionId), () => `region ${peer.regionId} is on this store already`);
    this.#peers.set(peer.regionId, peer);
    if (peer.isInitialized) this.#insertRange(peer.region);
  }

  remove(peer: Peer): void {
    assert(this.#peers.get(peer.regionId) === peer, () => `region ${peer.regionId} belongs to another peer`);
    this.#peers.delete(peer.regionId);
    this.#removeRange(peer.regionId);
  }

  /** The region's range changed (split, snapshot). */
  updateRange(region: Region): void {
    this.#removeRange(region.id);
    this.#insertRange(region);
  }

  /** Peers whose ranges share a key with [start, end), but for region `exceptId`. */
  overlapping(start: Uint8Array, end: Uint8Array, exceptId: number): Peer[] {
    const found: Peer[] = [];
    // The one before the first that begins at or behind `start` may reach into the range.
    for (let at = Math.max(0, this.#position(start) - 1); at < this.#ranges.length; at++) {
      const range = this.#ranges[at] as OwnedRange;
      if (end.length > 0 && compareBytes(range.startKey, end) >= 0) break;
      if (range.regionId === exceptId || !rangesOverlap(range.startKey, range.endKey, start, end)) continue;
      found.push(this.#peers.get(range.regionId) as Peer);
    }
    return found;
  }

  /** Up to `limit` neighbours to the left of a region, nearest first: the parts a right-derived split left behind. */
  leftNeighbours(region: Region, limit: number): Peer[] {
    const at = this.#position(region.startKey);
    const found: Peer[] = [];
    for (let i = at - 1; i >= 0 && found.length < limit; i--) {
      found.push(this.#peers.get((this.#ranges[i] as OwnedRange).regionId) as Peer);
    }
    return found;
  }

  /** Ranges owned by nobody here: [start, end), empty end = infinity. */
  gaps(): { readonly start: Uint8Array; readonly end: Uint8Array }[] {
    const gaps: { start: Uint8Array; end: Uint8Array }[] = [];
    let from: Uint8Array = new Uint8Array(0);
    for (const range of this.#ranges) {
      if (compareBytes(from, range.startKey) < 0) gaps.push({ start: from, end: range.startKey });
      if (range.endKey.length === 0) return gaps;
      from = range.endKey;
    }
    gaps.push({ start: from, end: new Uint8Array(0) });
    return gaps;
  }

  /** First position whose start key is >= `key`. */
  #position(key: Uint8Array): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes((this.#ranges[middle] as OwnedRange).startKey, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #removeRange(regionId: number): void {
    const range = this.#rangeOf.get(regionId);
    if (range === undefined) return;
    this.#rangeOf.delete(regionId);
    const at = this.#position(range.startKey);
    assert(this.#ranges[at] === range, () => `the range of region ${regionId} is not where it should be`);
    this.#ranges.splice(at, 1);
  }

  #insertRange(region: Region): void {
    assert(isInitialized(region), "an uninitialized region has no range");
    const at = this.#position(region.startKey);
    const before = this.#ranges[at - 1];
    const after = this.#ranges[at];
    for (const neighbour of [before, after]) {
      assert(
        neighbour === undefined ||
          !rangesOverlap(neighbour.startKey, neighbour.endKey, region.startKey, region.endKey),
        () => `region ${region.id} overlaps region ${neighbour?.regionId} on this store`,
      );
    }
    const range = { regionId: region.id, startKey: region.startKey, endKey: region.endKey };
    this.#ranges.splice(at, 0, range);
    this.#rangeOf.set(region.id, range);
  }
}
