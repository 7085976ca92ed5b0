/** Which record an operation touches: uniform, the latest ones, or Zipf's law scrambled over all, as YCSB has them. */
import type { Random } from "../base/index.js";

export type Distribution = "uniform" | "zipfian" | "latest";

const THETA = 0.99;

const unit = (random: Random): number => (random.u32() + 0.5) / 2 ** 32;

/** Zipf-distributed ranks in [0, count), by Gray et al., "Quickly generating billion-record synthetic databases". */
export class ZipfRanks {
  readonly #random: Random;
  readonly #count: number;
  readonly #zeta: number;
  readonly #alpha = 1 / (1 - THETA);
  readonly #eta: number;

  constructor(random: Random, count: number) {
    this.#random = random;
    this.#count = count;
    let zeta = 0;
    for (let i = 1; i <= count; i++) zeta += 1 / i ** THETA;
    this.#zeta = zeta;
    const zeta2 = 1 + 0.5 ** THETA;
    this.#eta = (1 - (2 / count) ** (1 - THETA)) / (1 - zeta2 / zeta);
  }

  next(): number {
    const at = unit(this.#random);
    const scaled = at * this.#zeta;
    if (scaled < 1) return 0;
    if (scaled < 1 + 0.5 ** THETA) return Math.min(1, this.#count - 1);
    const rank = Math.floor(this.#count * (this.#eta * at - this.#eta + 1) ** this.#alpha);
    return Math.min(rank, this.#count - 1);
  }
}

/** FNV-1a over the number's bytes: spreads neighbouring ranks over all records. */
export function scramble(rank: number): number {
  let hash = 0x811c9dc5;
  let rest = rank;
  for (let i = 0; i < 6; i++) {
    hash = Math.imul(hash ^ (rest & 0xff), 0x01000193) >>> 0;
    rest = Math.floor(rest / 256);
  }
  return hash;
}

/** Chooses records; `count()` is how many there are now. */
export function chooser(random: Random, distribution: Distribution, count: () => number): () => number {
  if (distribution === "uniform") return () => Math.floor(unit(random) * count());
  const ranks = new ZipfRanks(random, Math.max(2, Math.min(count(), 1_000_000)));
  if (distribution === "latest") return () => Math.max(0, count() - 1 - ranks.next());
  return () => scramble(ranks.next()) % count();
}
