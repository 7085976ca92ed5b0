/**
 * Whether moving one hot peer makes two stores more alike, in two dimensions of load: formula version 2 of PD. A
 * move that improves the more important dimension and harms neither is good; the amount must fit the gap, with room
 * for what is under way. (pd-rules 9.35, 9.36)
 */
import type { StoreLoad } from "./hot-load.js";

/** 3 fits best, 2 is small, 1 is large; 0 does neither good nor harm; below it harms. */
export type DimensionScore = 3 | 2 | 1 | 0 | -1 | -2;

export interface DimensionFormula {
  readonly balanced: number;
  readonly preBalanced: number;
  /** Share of the gap that is noticed. */
  readonly perceived: number;
  readonly hot: number;
}

const BALANCED_MIN = 0.7;
const BALANCED_MAX = 0.95;
const STEP = 0.1;
const BALANCED_SLACK = 0.02;
const PRE_BALANCED_SLACK = 0.03;

const preOf = (balanced: number): number => Math.max(2 * balanced - 1, balanced - STEP);

export function formulas(greatDecRatio: number): readonly [DimensionFormula, DimensionFormula] {
  const balanced = Math.min(BALANCED_MAX, Math.max(BALANCED_MIN, greatDecRatio));
  const second = preOf(balanced);
  return [
    { balanced, preBalanced: second, perceived: 0.2, hot: 0.02 },
    { balanced: second, preBalanced: preOf(second), perceived: 0.3, hot: 0.03 },
  ];
}

export interface DimensionInput {
  readonly source: StoreLoad;
  readonly target: StoreLoad;
  /** Index of the dimension in rates. */
  readonly dimension: 0 | 1 | 2 | 3;
  readonly rate: number;
  readonly minRate: number;
  /** Rate of the tenth hottest peer of the store with the higher load. */
  readonly topRate: number;
}

export function dimensionScore(input: DimensionInput, formula: DimensionFormula): DimensionScore {
  const { source, target, dimension, minRate } = input;
  const from = source.min[dimension];
  const to = target.max[dimension];
  const isForward = from >= to;
  const [high, low] = isForward ? [from, to] : [to, from];
  const rate = isForward ? input.rate : -input.rate;
  const least = (ratio: number): number => (high * ratio - low) / (1 + ratio);
  const most = (ratio: number): number => (high - low * ratio) / (1 + ratio);
  const { balanced: b, preBalanced: a, perceived: q, hot } = formula;
  const within = (from_: number, to_: number): boolean => rate >= from_ && rate <= to_;
  if (low >= (b - BALANCED_SLACK) * high) {
    return within(Math.min(least(b), -minRate), most(b)) ? 0 : -2;
  }
  let better: readonly [number, number];
  let notWorse: readonly [number, number];
  if (low >= (a - PRE_BALANCED_SLACK) * high) {
    notWorse = [Math.min(least(a), -minRate), most(a)];
    const quiet = source.pending[dimension] + target.pending[dimension] < 1;
    better = quiet ? [least(b), most(b)] : [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  } else {
    const gap = high - low - most(b);
    const betterMin = Math.min(q * least(b), hot * low, input.topRate);
    notWorse = [-minRate, most(b) + q * gap];
    better = [betterMin, most(b) + q * (gap - betterMin)];
  }
  if (within(...better)) {
    if (rate < minRate || !isTolerant(input, isForward)) return 0;
    if (rate < least(b)) return 2;
    return rate > most(b) ? 1 : 3;
  }
  if (!within(...notWorse)) return -2;
  return rate < better[0] ? 0 : -1;
}

/** The closer two stores are, the fewer operators may be under way between them. */
function isTolerant({ source, target, dimension }: DimensionInput, isForward: boolean): boolean {
  const [high, low] = isForward ? [source, target] : [target, source];
  const above = high.current[dimension];
  const below = low.current[dimension];
  if (above <= below) return false;
  const amplified = 1 + (2 * above) / (above - below);
  return above - amplified * high.pending[dimension] > below + amplified * low.pending[dimension];
}

/** 4 best, 1 least; what is not above 0 is not made. Leaders of writes are judged by the first dimension alone. */
export function progressiveRank(
  first: DimensionScore,
  second: DimensionScore,
  isWriteLeader: boolean,
): number {
  if (isWriteLeader) return first > 0 ? 3 : -1;
  if (first > 0) return second > 0 ? 4 : second === 0 ? 3 : 2;
  if (first === 0) return second > 0 ? 1 : -1;
  return second > 0 ? 0 : -1;
}
