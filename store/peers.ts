/**
 * The peers of a store and the ranges they own. Invariant: ranges of initialized peers never overlap; `#regions` is
 * sorted by start key. Uninitialized peers are known by id only. (raftstore rules 0, tables)
 *
 * The table holds regions as they were told last, immutable values: a peer's own may be a step ahead, and the order
 * must hold all the same. Whoever changes a region tells it, so that no old value is kept alive here.
 */
import { assert, compareBytes } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import { isInitialized, type Region, rangesOverlap } from "../region/region.js";

export class PeerRegistry {
  readonly #peers = new Map<number, Peer>();
  /** Sorted by start key; a look-up by key is a binary search. */
  readonly #regions: Region[] = [];

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

  /** Those with a range, in key order. */
  regions(): readonly Region[] {
    return this.#regions;
  }

  /** Adds a peer; its range too if it has one, which must be free. */
  add(peer: Peer): void {
    assert(!this.#peers.has(peer.regionId), () => `region ${peer.regionId} is on this store already`);
    this.#peers.set(peer.regionId, peer);
    if (peer.isInitialized) this.#insertRange(peer.region);
  }

  /** At a start: as one by one, but sorted once. Each insertion into a table of many moves half of it. */
  addLoaded(peers: readonly Peer[]): void {
    assert(this.#peers.size === 0, "peers are loaded into an empty table");
    for (const peer of peers) {
      assert(!this.#peers.has(peer.regionId), () => `region ${peer.regionId} is on this store already`);
      this.#peers.set(peer.regionId, peer);
    }
    const regions = peers.filter((peer) => peer.isInitialized).map((peer) => peer.region);
    regions.sort((left, right) => compareBytes(left.startKey, right.startKey));
    for (const region of regions) this.#insertRange(region, this.#regions.length);
  }

  remove(peer: Peer): void {
    assert(this.#peers.get(peer.regionId) === peer, () => `region ${peer.regionId} belongs to another peer`);
    this.#peers.delete(peer.regionId);
    const at = peer.isInitialized ? this.#placeOf(peer.region) : -1;
    if (at >= 0) this.#regions.splice(at, 1);
  }

  /** The region changed: its range (split, snapshot), or its peers. */
  update(region: Region): void {
    const at = this.#placeOf(region);
    const known = this.#regions[at];
    if (known !== undefined && known.startKey === region.startKey && known.endKey === region.endKey) {
      this.#regions[at] = region;
      return;
    }
    if (known !== undefined) this.#regions.splice(at, 1);
    this.#insertRange(region);
  }

  /** Peers whose ranges share a key with [start, end), but for region `exceptId`. */
  overlapping(start: Uint8Array, end: Uint8Array, exceptId: number): Peer[] {
    const found: Peer[] = [];
    // The one before the first that begins at or behind `start` may reach into the range.
    for (let at = Math.max(0, this.#position(start) - 1); at < this.#regions.length; at++) {
      const range = this.#regions[at] as Region;
      if (end.length > 0 && compareBytes(range.startKey, end) >= 0) break;
      if (range.id === exceptId || !rangesOverlap(range.startKey, range.endKey, start, end)) continue;
      found.push(this.#peers.get(range.id) as Peer);
    }
    return found;
  }

  /** Up to `limit` neighbours to the left of a region, nearest first: the parts a right-derived split left behind. */
  leftNeighbours(region: Region, limit: number): Peer[] {
    const at = this.#position(region.startKey);
    const found: Peer[] = [];
    for (let i = at - 1; i >= 0 && found.length < limit; i--) {
      found.push(this.#peers.get((this.#regions[i] as Region).id) as Peer);
    }
    return found;
  }

  /** Ranges owned by nobody here: [start, end), empty end = infinity. */
  gaps(): { readonly start: Uint8Array; readonly end: Uint8Array }[] {
    const gaps: { start: Uint8Array; end: Uint8Array }[] = [];
    let from: Uint8Array = new Uint8Array(0);
    for (const range of this.#regions) {
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
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes((this.#regions[middle] as Region).startKey, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Where a region stands, under its present range or a former one; -1: nowhere. */
  #placeOf({ id, startKey }: Region): number {
    const at = this.#position(startKey);
    // A split takes from one end: what began before begins here, or is the last that begins before.
    if (this.#regions[at]?.id === id) return at;
    if (this.#regions[at - 1]?.id === id) return at - 1;
    return this.#regions.findIndex((region) => region.id === id);
  }

  #insertRange(region: Region, at = this.#position(region.startKey)): void {
    assert(isInitialized(region), "an uninitialized region has no range");
    const before = this.#regions[at - 1];
    const after = this.#regions[at];
    for (const neighbour of [before, after]) {
      assert(
        neighbour === undefined ||
          !rangesOverlap(neighbour.startKey, neighbour.endKey, region.startKey, region.endKey),
        () => `region ${region.id} overlaps region ${neighbour?.id} on this store`,
      );
    }
    this.#regions.splice(at, 0, region);
  }
}
