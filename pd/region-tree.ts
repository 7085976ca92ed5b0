/**
 * All regions ordered by start key, in chunks of sorted arrays: a lookup is two binary searches, an insertion moves
 * at most one chunk. Regions in the tree never overlap; there may be holes. (pd-rules 4.12, 4.13)
 */
import { compareBytes } from "../base/index.js";
import { containsKey, type RegionInfo } from "./region-info.js";

const CHUNK_MAX = 256;

interface Position {
  readonly chunk: number;
  readonly index: number;
}

export class RegionTree {
  readonly #chunks: RegionInfo[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The region that contains `key`; a hole gives nothing. */
  find(key: Uint8Array): RegionInfo | undefined {
    const position = this.#floor(key);
    if (position === undefined) return undefined;
    const region = this.#at(position);
    return containsKey(region.meta, key) ? region : undefined;
  }

  /** Calls `visit` with each region that ends after `start`, in order, until it answers false. */
  scan(start: Uint8Array, visit: (region: RegionInfo) => boolean): void {
    const floor = this.#floor(start);
    let chunk = floor?.chunk ?? 0;
    let index = floor?.index ?? 0;
    for (; chunk < this.#chunks.length; chunk++, index = 0) {
      const regions = this.#chunks[chunk] as RegionInfo[];
      for (; index < regions.length; index++) {
        const region = regions[index] as RegionInfo;
        const { endKey } = region.meta;
        if (endKey.length > 0 && compareBytes(endKey, start) <= 0) continue;
        if (!visit(region)) return;
      }
    }
  }

  /** Every region that shares a key with [start, end); an empty end is unbounded. */
  overlaps(start: Uint8Array, end: Uint8Array): RegionInfo[] {
    const found: RegionInfo[] = [];
    this.scan(start, (region) => {
      if (end.length > 0 && compareBytes(region.meta.startKey, end) >= 0) return false;
      found.push(region);
      return true;
    });
    return found;
  }

  /** The region with the greatest start key below `startKey`, adjacent or not. */
  before(startKey: Uint8Array): RegionInfo | undefined {
    const position = this.#floor(startKey);
    if (position === undefined) return undefined;
    const region = this.#at(position);
    if (compareBytes(region.meta.startKey, startKey) < 0) return region;
    if (position.index > 0) return this.#chunks[position.chunk]?.[position.index - 1];
    return position.chunk > 0 ? this.#chunks[position.chunk - 1]?.at(-1) : undefined;
  }

  /** Adds a region, or replaces the one with the same start key. The caller has removed all other overlaps. */
  put(region: RegionInfo): void {
    const { startKey } = region.meta;
    const floor = this.#floor(startKey);
    if (floor === undefined) {
      const first = this.#chunks[0];
      if (first === undefined) this.#chunks.push([region]);
      else first.unshift(region);
      this.#size += 1;
      this.#splitIfLarge(0);
      return;
    }
    const regions = this.#chunks[floor.chunk] as RegionInfo[];
    if (compareBytes(this.#at(floor).meta.startKey, startKey) === 0) {
      regions[floor.index] = region;
      return;
    }
    regions.splice(floor.index + 1, 0, region);
    this.#size += 1;
    this.#splitIfLarge(floor.chunk);
  }

  /** Removes the region that starts at `startKey` if it has this id. */
  remove(startKey: Uint8Array, regionId: number): void {
    const position = this.#floor(startKey);
    if (position === undefined) return;
    const { meta } = this.#at(position);
    if (meta.id !== regionId || compareBytes(meta.startKey, startKey) !== 0) return;
    const regions = this.#chunks[position.chunk] as RegionInfo[];
    regions.splice(position.index, 1);
    if (regions.length === 0) this.#chunks.splice(position.chunk, 1);
    this.#size -= 1;
  }

  #at(position: Position): RegionInfo {
    return (this.#chunks[position.chunk] as RegionInfo[])[position.index] as RegionInfo;
  }

  #splitIfLarge(chunk: number): void {
    const regions = this.#chunks[chunk] as RegionInfo[];
    if (regions.length <= CHUNK_MAX) return;
    this.#chunks.splice(chunk + 1, 0, regions.splice(regions.length >> 1));
  }

  /** The last region with start key <= `key`. */
  #floor(key: Uint8Array): Position | undefined {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const first = (chunks[middle] as RegionInfo[])[0] as RegionInfo;
      if (compareBytes(first.meta.startKey, key) <= 0) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const chunk = low - 1;
    const regions = chunks[chunk] as RegionInfo[];
    low = 1;
    high = regions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareBytes((regions[middle] as RegionInfo).meta.startKey, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return { chunk, index: low - 1 };
  }
}
