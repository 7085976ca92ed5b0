/**
 * What the client believes about regions, by key. The belief may be wrong at any time: stores answer wrong guesses with
 * region errors, and each error says how to correct it.
 *
 * Invariants: regions in the cache never overlap; what is known is never replaced by what is older (PD hears of a split
 * later than the client does, and a slow store later still), unless a store has denied it.
 */
import { compareBytes } from "../base/index.js";
import type { kvrpcpb, metapb } from "../proto/index.js";

interface Epoch {
  readonly confVer: number;
  readonly version: number;
}

export interface CachedRegion {
  readonly id: number;
  readonly startKey: Uint8Array;
  /** Empty: to the end of all keys. */
  readonly endKey: Uint8Array;
  readonly epoch: Epoch;
  readonly peers: readonly metapb.Peer[];
  /** Index into `peers` of the one to ask. */
  leader: number;
  /** Of requests to the peer that was asked last, kept because thousands are alike. */
  context: kvrpcpb.IContext | undefined;
  /** A store has denied it: to be asked of PD before it is used again. Serves on when PD is gone. */
  isStale: boolean;
}

/** `leader` undefined: begin with the first voter. */
export function cachedRegion(
  region: metapb.Region,
  leader: metapb.IPeer | null | undefined,
  fromBorder: (border: Uint8Array) => Uint8Array = (border) => border,
): CachedRegion {
  const peers = region.peers.filter((peer) => !peer.isWitness);
  const known = peers.findIndex((peer) => peer.id === leader?.id);
  return {
    id: region.id,
    startKey: fromBorder(region.startKey),
    endKey: fromBorder(region.endKey),
    epoch: {
      confVer: region.regionEpoch?.confVer ?? 0,
      version: region.regionEpoch?.version ?? 0,
    },
    peers,
    leader: Math.max(0, known),
    context: undefined,
    isStale: false,
  };
}

export const contains = (region: CachedRegion, key: Uint8Array): boolean =>
  compareBytes(region.startKey, key) <= 0 && isBefore(key, region.endKey);

/** `key < end`, where an empty end is behind every key. */
const isBefore = (key: Uint8Array, end: Uint8Array): boolean =>
  end.length === 0 || compareBytes(key, end) < 0;

/** Of two regions that share keys, which is older: versions grow with every split and merge on both sides of it. */
const isOlder = (left: Epoch, right: Epoch): boolean =>
  left.version < right.version || (left.version === right.version && left.confVer < right.confVer);

export class RegionCache {
  /** By start key. */
  readonly #regions: CachedRegion[] = [];

  get size(): number {
    return this.#regions.length;
  }

  /** The region that holds the key. */
  find(key: Uint8Array): CachedRegion | undefined {
    const region = this.#regions[this.#lastAtOrBefore(key)];
    return region !== undefined && isBefore(key, region.endKey) ? region : undefined;
  }

  /** The region that holds the largest key below `key`; an empty `key` means the end of all keys. */
  findBefore(key: Uint8Array): CachedRegion | undefined {
    if (key.length === 0) {
      const last = this.#regions.at(-1);
      return last?.endKey.length === 0 ? last : undefined;
    }
    let at = this.#lastAtOrBefore(key);
    const exact = this.#regions[at];
    if (exact !== undefined && compareBytes(exact.startKey, key) === 0) at--;
    const region = this.#regions[at];
    if (region === undefined) return undefined;
    return region.endKey.length === 0 || compareBytes(key, region.endKey) <= 0 ? region : undefined;
  }

  /** Takes in a region and forgets what it overlaps. False: part of it is known by newer news, which stays. */
  insert(region: CachedRegion): boolean {
    let first = this.#lastAtOrBefore(region.startKey);
    const before = this.#regions[first];
    if (before === undefined || !isBefore(region.startKey, before.endKey)) first++;
    let last = first;
    for (; last < this.#regions.length; last++) {
      const next = this.#regions[last] as CachedRegion;
      if (!isBefore(next.startKey, region.endKey)) break;
      if (!next.isStale && isOlder(region.epoch, next.epoch)) return false;
    }
    this.#regions.splice(first, last - first, region);
    return true;
  }

  /** Doubts exactly this region object: a newer one of the same id stays as it is. */
  doubt(region: CachedRegion): void {
    region.isStale = true;
  }

  /** Index of the last region that begins at or before the key; -1 if none. */
  #lastAtOrBefore(key: Uint8Array): number {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes((this.#regions[middle] as CachedRegion).startKey, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
