/**
 * 4 Log matching, on disks: an index and a term name one entry, and with it the entry before. By induction two logs
 * that share an entry share all before it.
 *
 *   forall logs a, b, index i: term(a, i) = term(b, i)  =>  a[i] = b[i] and a[i - 1] = b[i - 1]
 *
 * Entries are compared by fingerprints of their bytes, which hold the term.
 */
import { Violation } from "../world.js";

interface Known {
  readonly entry: number;
  /** Of the entry before, when the store had it on its disk. */
  previous: number | undefined;
  readonly by: string;
}

const TERMS_MAX = 2 ** 20;

export class LogMatching {
  /** region -> index and term -> entry. Kept for ever. */
  readonly #known = new Map<number, Map<number, Known>>();

  /** An entry has become durable on a store. */
  durable(
    store: string,
    region: number,
    index: number,
    term: number,
    entry: number,
    previous: number | undefined,
  ): void {
    let entries = this.#known.get(region);
    if (entries === undefined) {
      entries = new Map();
      this.#known.set(region, entries);
    }
    const key = index * TERMS_MAX + term;
    const known = entries.get(key);
    if (known === undefined) {
      entries.set(key, { entry, previous, by: store });
      return;
    }
    known.previous ??= previous;
    const isSame = known.entry === entry && (previous === undefined || known.previous === previous);
    if (isSame) return;
    const which = known.entry === entry ? "follows different entries" : "are different entries";
    throw new Violation(
      "4 log matching",
      `region ${region}, index ${index}, term ${term} on ${store} and on ${known.by} ${which}`,
    );
  }
}
