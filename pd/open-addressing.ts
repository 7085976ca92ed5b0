/** What tables of ids in typed arrays share: where an id belongs, and how a slot is freed. */

const SCATTER = 0x9e3779b1;

/** The upper bits of a product are the well mixed ones. */
export const homeOf = (id: number): number => {
  const low = Math.imul(id | 0, SCATTER);
  return (id > 0xffff_ffff ? low ^ Math.imul(Math.floor(id / 2 ** 32), SCATTER) : low) >>> 7;
};

/**
 * Frees a slot: what was pushed on past it moves back, so that no search ends too early. Slots hold positions plus
 * one, 0 for free; their number is a power of two.
 */
export function vacate(slots: Int32Array, slot: number, idAt: (position: number) => number): void {
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
