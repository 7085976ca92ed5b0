/** A load has four dimensions, always in this order; each is per second (CPU: percent of a core). */
export const DIMENSIONS = ["byte", "key", "query", "cpu"] as const;
export type Dimension = (typeof DIMENSIONS)[number];
export type Rates = readonly [byte: number, key: number, query: number, cpu: number];

export const NO_RATES: Rates = [0, 0, 0, 0];
export const dimensionIndex = (dimension: Dimension): 0 | 1 | 2 | 3 =>
  DIMENSIONS.indexOf(dimension) as 0 | 1 | 2 | 3;

export const addRates = (left: Rates, right: Rates, factor = 1): Rates => [
  left[0] + factor * right[0],
  left[1] + factor * right[1],
  left[2] + factor * right[2],
  left[3] + factor * right[3],
];

export const scaleRates = (rates: Rates, factor: number): Rates => addRates(NO_RATES, rates, factor);
