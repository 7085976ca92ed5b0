/**
 * Ids in no order, with add, remove, test and random pick in constant time, at some 12 bytes an id: PD keeps each
 * region's id in one such set for each of its peers. Ids take 4 bytes each until one beyond 32 bits comes.
 */
import { type Random, randomBelow } from "../base/index.js";

const SLOTS_MIN = 8;
const IDS_MIN = 8;
const ID_32_MAX = 0xffff_ffff;
const SCATTER = 0x9e3779b1;

/** The upper bits of a product are the well mixed ones. */
const homeOf = (id: number): number => {
  const low = Math.imul(id | 0, SCATTER);
  return (id > 0xffff_ffff ? low ^ Math.imul(Math.floor(id / 2 ** 32), SCATTER) : low) >>> 7;
};

export class IdSet {
  /** The first `#size` are the ids. */
  #ids: Uint32Array | Float64Array = new Uint32Array(IDS_MIN);
  #size = 0;
  /** Open addressing: position in `#ids` plus one, 0 for free. ids * 4 <= slots * 3. */
  #slots = new Int32Array(SLOTS_MIN);

  get size(): number {
    return this.#size;
  }

  has(id: number): boolean {
    return this.#slots[this.#find(id)] !== 0;
  }

  /**
   * Where `id` stands, from 0; -1 when it is not there. Added ids stand behind all others; when one goes, the last
   * takes its place. So whoever keeps something beside each id needs no table of its own.
   */
  placeOf(id: number): number {
    return (this.#slots[this.#find(id)] as number) - 1;
  }

  add(id: number): void {
    let slot = this.#find(id);
    if (this.#slots[slot] !== 0) return;
    if ((this.#size + 1) * 4 > this.#slots.length * 3) {
      this.#resize(this.#slots.length * 2);
      slot = this.#find(id);
    }
    this.#makeRoom(id);
    this.#ids[this.#size] = id;
    this.#size += 1;
    this.#slots[slot] = this.#size;
  }

  delete(id: number): void {
    const slot = this.#find(id);
    const position = this.#slots[slot] as number;
    if (position === 0) return;
    const last = this.#ids[this.#size - 1] as number;
    this.#slots[this.#find(last)] = position;
    this.#ids[position - 1] = last;
    this.#size -= 1;
    vacate(this.#slots, slot, (each) => this.#ids[each - 1] as number);
    if (this.#slots.length > SLOTS_MIN && this.#size * 8 < this.#slots.length) {
      this.#resize(this.#slots.length / 2);
      this.#ids = this.#ids.slice(0, Math.max(IDS_MIN, this.#size));
    }
  }

  pick(random: Random): number | undefined {
    return this.#size === 0 ? undefined : this.#ids[randomBelow(random, this.#size)];
  }

  /** A copy. */
  values(): number[] {
    return Array.from(this.#ids.subarray(0, this.#size));
  }

  [Symbol.iterator](): Iterator<number> {
    return this.#ids.subarray(0, this.#size)[Symbol.iterator]();
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
    const isWide = id > ID_32_MAX && this.#ids instanceof Uint32Array;
    if (!isWide && this.#size < this.#ids.length) return;
    const length = Math.max(IDS_MIN, this.#size + (this.#size >> 3) + 1);
    const ids =
      isWide || this.#ids instanceof Float64Array ? new Float64Array(length) : new Uint32Array(length);
    ids.set(this.#ids.subarray(0, this.#size));
    this.#ids = ids;
  }

  #resize(length: number): void {
    this.#slots = new Int32Array(length);
    for (let i = 0; i < this.#size; i++) this.#slots[this.#find(this.#ids[i] as number)] = i + 1;
  }
}

/**
 * Frees a slot: what was pushed on past it moves back, so that no search ends too early. Slots hold positions plus
 * one, 0 for free; their number is a power of two.
 */
function vacate(slots: Int32Array, slot: number, idAt: (position: number) => number): void {
  const mask = slots.length - 1;
  let hole = slot;
  for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
    const position = slots[next] as number;
    const from = homeOf(idAt(position)) & mask;
    if (((next - from) & mask) < ((next - hole) & mask)) continue;
    slots[hole] = position;
    hole = next;
  }
  slots[hole] = 0;
}
