/**
 * What all running operators will change of the stores' figures, kept up as they begin, move on and end: thousands may
 * run, and each choice of a store asks for the sum. (pd-rules 6.28)
 *
 * sum = the sum of `shares`, as of the last `sum()`; those in `changed` are looked at anew.
 */
import { addInfluence, type Influence, type Operator } from "./operator.js";
import type { RegionInfo } from "./region-info.js";

export class RunningInfluence {
  readonly #shares = new Map<Operator, Influence>();
  readonly #sum: Influence = new Map();
  readonly #changed = new Set<Operator>();

  /** It began, moved on or ended, or its region changed. */
  changed(operator: Operator): void {
    this.#changed.add(operator);
  }

  /** Not to be changed by the caller. */
  sum(regionOf: (regionId: number) => RegionInfo | undefined): Influence {
    for (const operator of this.#changed) {
      const old = this.#shares.get(operator);
      if (old !== undefined) this.#add(old, -1);
      const region = operator.state === "started" ? regionOf(operator.regionId) : undefined;
      if (region === undefined) {
        this.#shares.delete(operator);
        continue;
      }
      const share: Influence = new Map();
      addInfluence(share, operator, region);
      this.#shares.set(operator, share);
      this.#add(share, 1);
    }
    this.#changed.clear();
    return this.#sum;
  }

  #add(share: Influence, sign: 1 | -1): void {
    for (const [storeId, part] of share) {
      let entry = this.#sum.get(storeId);
      if (entry === undefined) {
        entry = { leaderCount: 0, leaderSizeMib: 0, regionCount: 0, regionSizeMib: 0 };
        this.#sum.set(storeId, entry);
      }
      entry.leaderCount += sign * part.leaderCount;
      entry.leaderSizeMib += sign * part.leaderSizeMib;
      entry.regionCount += sign * part.regionCount;
      entry.regionSizeMib += sign * part.regionSizeMib;
      const isNothing =
        entry.leaderCount === 0 &&
        entry.leaderSizeMib === 0 &&
        entry.regionCount === 0 &&
        entry.regionSizeMib === 0;
      if (isNothing) this.#sum.delete(storeId);
    }
  }
}
