/**
 * Rare states that a night of seeds must have seen, each at least once: a simulator that does not come there proves
 * nothing about what happens there. Named as the code that sees them names them.
 */
export const SOMETIMES: readonly string[] = [];

export const emptyProbes = (probes: ReadonlyMap<string, number>): string[] =>
  SOMETIMES.filter((name) => (probes.get(name) ?? 0) === 0);
