/**
 * All regions ordered by start key, in chunks of sorted arrays: a lookup is two binary searches, an insertion moves
 * at most one chunk. Regions in the tree never overlap; there may be holes. (pd-rules 4.12, 4.13)
 *
 * Keys are texts (`compact-meta.ts`). An entry stays in its place while its record changes, as long as the range
 * does not.
 */
import type { CompactMeta } from "./compact-meta.js";
import type { RegionInfo } from "./region-info.js";

const CHUNK_MAX = 256;

export interface KeptRegion extends RegionInfo {
  readonly meta: CompactMeta;
}

export interface RegionEntry {
  region: KeptRegion;
}

interface Position {
  readonly chunk: number;
  readonly index: number;
}

const containsText = (meta: CompactMeta, key: string): boolean =>
  meta.start <= key && (meta.end === "" || key < meta.end);

export class RegionTree {
  readonly #chunks: RegionEntry[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The region that contains `key`; a hole gives nothing. */
  find(key: string): KeptRegion | undefined {
    const position = this.#floor(key);
    if (position === undefined) return undefined;
    const { region } = this.#at(position);
    return containsText(region.meta, key) ? region : undefined;
  }

  /** Calls `visit` with each region that ends after `start`, in order, until it answers false. */
  scan(start: string, visit: (region: KeptRegion) => boolean): void {
    const floor = this.#floor(start);
    let chunk = floor?.chunk ?? 0;
    let index = floor?.index ?? 0;
    for (; chunk < this.#chunks.length; chunk++, index = 0) {
      const entries = this.#chunks[chunk] as RegionEntry[];
      for (; index < entries.length; index++) {
        const { region } = entries[index] as RegionEntry;
        const { end } = region.meta;
        if (end !== "" && end <= start) continue;
        if (!visit(region)) return;
      }
    }
  }

  /** Every region that shares a key with [start, end); an empty end is unbounded. */
  overlaps(start: string, end: string): KeptRegion[] {
    const found: KeptRegion[] = [];
    this.scan(start, (region) => {
      if (end !== "" && region.meta.start >= end) return false;
      found.push(region);
      return true;
    });
    return found;
  }

  /** The region with the greatest start key below `start`, adjacent or not. */
  before(start: string): KeptRegion | undefined {
    const position = this.#floor(start);
    if (position === undefined) return undefined;
    const { region } = this.#at(position);
    if (region.meta.start < start) return region;
    if (position.index > 0) return this.#chunks[position.chunk]?.[position.index - 1]?.region;
    return position.chunk > 0 ? this.#chunks[position.chunk - 1]?.at(-1)?.region : undefined;
  }

  /** Adds a region, or replaces the one with the same start key. The caller has removed all other overlaps. */
  put(entry: RegionEntry): void {
    const { start } = entry.region.meta;
    const floor = this.#floor(start);
    if (floor === undefined) {
      const first = this.#chunks[0];
      if (first === undefined) this.#chunks.push([entry]);
      else first.unshift(entry);
      this.#size += 1;
      this.#splitIfLarge(0);
      return;
    }
    const entries = this.#chunks[floor.chunk] as RegionEntry[];
    if (this.#at(floor).region.meta.start === start) {
      entries[floor.index] = entry;
      return;
    }
    entries.splice(floor.index + 1, 0, entry);
    this.#size += 1;
    this.#splitIfLarge(floor.chunk);
  }

  /** Removes the region that starts at `start` if it has this id. */
  remove(start: string, regionId: number): void {
    const position = this.#floor(start);
    if (position === undefined) return;
    const { meta } = this.#at(position).region;
    if (meta.id !== regionId || meta.start !== start) return;
    const entries = this.#chunks[position.chunk] as RegionEntry[];
    entries.splice(position.index, 1);
    if (entries.length === 0) this.#chunks.splice(position.chunk, 1);
    this.#size -= 1;
  }

  #at(position: Position): RegionEntry {
    return (this.#chunks[position.chunk] as RegionEntry[])[position.index] as RegionEntry;
  }

  #splitIfLarge(chunk: number): void {
    const entries = this.#chunks[chunk] as RegionEntry[];
    if (entries.length <= CHUNK_MAX) return;
    const half = entries.length >> 1;
    this.#chunks.splice(chunk, 1, entries.slice(0, half), entries.slice(half));
  }

  /** The last region with start key <= `key`. */
  #floor(key: string): Position | undefined {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const first = (chunks[middle] as RegionEntry[])[0] as RegionEntry;
      if (first.region.meta.start <= key) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const chunk = low - 1;
    const entries = chunks[chunk] as RegionEntry[];
    low = 1;
    high = entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle] as RegionEntry).region.meta.start <= key) low = middle + 1;
      else high = middle;
    }
    return { chunk, index: low - 1 };
  }
}
