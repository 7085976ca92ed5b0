/**
 * Regions by id, at some 20 bytes each where a Map takes up to 56: entries side by side, and a table of their
 * positions.
 */
import { homeOf, vacate } from "./open-addressing.js";
import type { RegionEntry } from "./region-tree.js";

const SLOTS_MIN = 8;
const ID_32_MAX = 0xffff_ffff;

export class RegionTable {
  readonly #entries: RegionEntry[] = [];
  /** Of the entries, so that a search touches nothing but numbers. */
  #ids: Uint32Array | Float64Array = new Uint32Array(SLOTS_MIN);
  /** Open addressing: position in `#entries` plus one, 0 for free. entries * 4 <= slots * 3. */
  #slots = new Int32Array(SLOTS_MIN);

  get size(): number {
    return this.#entries.length;
  }

  get(id: number): RegionEntry | undefined {
    return this.#entries[(this.#slots[this.#find(id)] as number) - 1];
  }

  /** Adds the entry, in place of another of the same id. */
  put(entry: RegionEntry): void {
    const { id } = entry.region.meta;
    let slot = this.#find(id);
    const known = this.#slots[slot] as number;
    if (known !== 0) {
      this.#entries[known - 1] = entry;
      return;
    }
    if ((this.#entries.length + 1) * 4 > this.#slots.length * 3) {
      this.#resize(this.#slots.length * 2);
      slot = this.#find(id);
    }
    this.#makeRoom(id);
    this.#ids[this.#entries.length] = id;
    this.#entries.push(entry);
    this.#slots[slot] = this.#entries.length;
  }

  delete(id: number): void {
    const slot = this.#find(id);
    const position = this.#slots[slot] as number;
    if (position === 0) return;
    const last = this.#entries.at(-1) as RegionEntry;
    const lastId = last.region.meta.id;
    this.#slots[this.#find(lastId)] = position;
    this.#entries[position - 1] = last;
    this.#ids[position - 1] = lastId;
    this.#entries.pop();
    vacate(this.#slots, slot, (each) => this.#ids[each - 1] as number);
    if (this.#slots.length > SLOTS_MIN && this.#entries.length * 8 < this.#slots.length)
      this.#resize(this.#slots.length / 2);
  }

  /** In no order; not to be changed meanwhile. */
  values(): IterableIterator<RegionEntry> {
    return this.#entries.values();
  }

  /** The slot of `id`, or the free one where it belongs. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = homeOf(id) & mask; ; slot = (slot + 1) & mask) {
      const position = slots[slot] as number;
      if (position === 0 || this.#ids[position - 1] === id) return slot;
    }
  }

  #makeRoom(id: number): void {
    const size = this.#entries.length;
    const isWide = id > ID_32_MAX && this.#ids instanceof Uint32Array;
    if (!isWide && size < this.#ids.length) return;
    const length = size + (size >> 3) + SLOTS_MIN;
    const ids =
      isWide || this.#ids instanceof Float64Array ? new Float64Array(length) : new Uint32Array(length);
    ids.set(this.#ids.subarray(0, size));
    this.#ids = ids;
  }

  #resize(length: number): void {
    this.#slots = new Int32Array(length);
    for (let i = 0; i < this.#entries.length; i++) this.#slots[this.#find(this.#ids[i] as number)] = i + 1;
  }
}
