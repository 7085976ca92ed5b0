/**
 * 1 Election safety, and over the regions' whole life.
 *
 *   forall region r, term t: |{p : p led r in t}| <= 1
 */
import { Violation } from "../world.js";

export class ElectionSafety {
  /** region -> term -> peer. Kept for ever. */
  readonly #leaders = new Map<number, Map<number, number>>();
  readonly #newest = new Map<number, number>();

  /** The highest term in which anybody led the region. */
  newest(region: number): number {
    return this.#newest.get(region) ?? 0;
  }

  /** Returns true when this leadership was not known yet. */
  leads(region: number, term: number, peer: number, where: string): boolean {
    let leaders = this.#leaders.get(region);
    if (leaders === undefined) {
      leaders = new Map();
      this.#leaders.set(region, leaders);
    }
    const known = leaders.get(term);
    if (known === peer) return false;
    if (known !== undefined) {
      throw new Violation(
        "1 election safety",
        `region ${region}: ${known} and ${peer} lead term ${term} (${where})`,
      );
    }
    leaders.set(term, peer);
    this.#newest.set(region, Math.max(term, this.newest(region)));
    return true;
  }
}
