/**
 * Regions by id, at some 20 bytes each where a Map takes up to 56: entries side by side, each at the place of its id.
 */
import { IdSet } from "./id-set.js";
import type { RegionEntry } from "./region-tree.js";

export class RegionTable {
  /** A search touches nothing but its numbers. */
  readonly #ids = new IdSet();
  /** entries[i] is the region of the id at place i. */
  readonly #entries: RegionEntry[] = [];

  get size(): number {
    return this.#entries.length;
  }

  get(id: number): RegionEntry | undefined {
    const place = this.#ids.placeOf(id);
    return place < 0 ? undefined : this.#entries[place];
  }

  /** Adds the entry, in place of another of the same id. */
  put(entry: RegionEntry): void {
    const { id } = entry.region.meta;
    const place = this.#ids.placeOf(id);
    if (place >= 0) {
      this.#entries[place] = entry;
      return;
    }
    this.#ids.add(id);
    this.#entries.push(entry);
  }

  delete(id: number): void {
    const place = this.#ids.placeOf(id);
    if (place < 0) return;
    this.#ids.delete(id);
    const last = this.#entries.pop() as RegionEntry;
    if (place < this.#entries.length) this.#entries[place] = last;
  }

  /** In no order; not to be changed meanwhile. */
  values(): IterableIterator<RegionEntry> {
    return this.#entries.values();
  }
}
