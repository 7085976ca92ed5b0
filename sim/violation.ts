/** The unit of virtual time, and what ends a seed. */

/** Microseconds in a millisecond. */
export const MS = 1_000;

/** An invariant that does not hold. It ends the seed. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly invariant: string;
  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`);
    this.invariant = invariant;
  }
}
