/**
 * Ids in no order, with add, remove, test and random pick in constant time, at some 20 bytes an id: PD keeps each
 * region's id in one such set for each of its peers.
 */
import { type Random, randomBelow } from "../base/index.js";

const SLOTS_MIN = 8;
const SCATTER = 0x9e3779b1;

export class IdSet {
  readonly #ids: number[] = [];
  /** Open addressing: position in `#ids` plus one, 0 for free. ids * 4 <= slots * 3. */
  #slots = new Int32Array(SLOTS_MIN);

  get size(): number {
    return this.#ids.length;
  }

  has(id: number): boolean {
    return this.#slots[this.#find(id)] !== 0;
  }

  add(id: number): void {
    let slot = this.#find(id);
    if (this.#slots[slot] !== 0) return;
    if ((this.#ids.length + 1) * 4 > this.#slots.length * 3) {
      this.#resize(this.#slots.length * 2);
      slot = this.#find(id);
    }
    this.#ids.push(id);
    this.#slots[slot] = this.#ids.length;
  }

  delete(id: number): void {
    const slot = this.#find(id);
    const position = this.#slots[slot] as number;
    if (position === 0) return;
    const last = this.#ids.at(-1) as number;
    this.#slots[this.#find(last)] = position;
    this.#ids[position - 1] = last;
    this.#ids.pop();
    this.#free(slot);
    if (this.#slots.length > SLOTS_MIN && this.#ids.length * 8 < this.#slots.length) {
      this.#resize(this.#slots.length / 2);
    }
  }

  pick(random: Random): number | undefined {
    return this.#ids.length === 0 ? undefined : this.#ids[randomBelow(random, this.#ids.length)];
  }

  values(): readonly number[] {
    return this.#ids;
  }

  [Symbol.iterator](): Iterator<number> {
    return this.#ids[Symbol.iterator]();
  }

  /** The slot of `id`, or the free one where it belongs. */
  #find(id: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = home(id) & mask; ; slot = (slot + 1) & mask) {
      const position = slots[slot] as number;
      if (position === 0 || this.#ids[position - 1] === id) return slot;
    }
  }

  /** What was pushed on past the slot moves back, so that no search ends too early. */
  #free(slot: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let hole = slot;
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const position = slots[next] as number;
      const from = home(this.#ids[position - 1] as number) & mask;
      if (((next - from) & mask) < ((next - hole) & mask)) continue;
      slots[hole] = position;
      hole = next;
    }
    slots[hole] = 0;
  }

  #resize(length: number): void {
    this.#slots = new Int32Array(length);
    for (let i = 0; i < this.#ids.length; i++) this.#slots[this.#find(this.#ids[i] as number)] = i + 1;
  }
}

/** The upper bits of a product are the well mixed ones. */
const home = (id: number): number => {
  const low = Math.imul(id | 0, SCATTER);
  return (id > 0xffff_ffff ? low ^ Math.imul(Math.floor(id / 2 ** 32), SCATTER) : low) >>> 7;
};
