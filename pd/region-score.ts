/**
 * How full a store is for the balance of regions: by size while there is space, ever steeper with less of it, and
 * without bound below the reserve, so that a store whose disk fills up for any reason gives regions away.
 * (pd-rules 9.15, 9.16)
 */
export interface StoreSpace {
  readonly capacityBytes: number;
  /** Averaged over the last heartbeats. */
  readonly availableBytes: number;
  readonly usedBytes: number;
}

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const K = 1;
const M = 256;
const RESERVE_MIN_GIB = 50;
const B = 1e10;
const SCORE_MAX_V1 = 2 ** 30;

export function regionScoreV2(
  space: StoreSpace,
  regionSizeMib: number,
  deltaMib: number,
  lowSpaceRatio: number,
): number {
  const capacity = space.capacityBytes / GIB;
  const used = space.usedBytes / GIB;
  let available = space.availableBytes / GIB;
  const total = regionSizeMib + deltaMib;
  const size = total < 0 ? regionSizeMib : total;
  if (regionSizeMib !== 0) {
    // What the moves under way will take of the space.
    const others = capacity - available - used;
    const usedThen = used + (used * deltaMib) / regionSizeMib;
    const availableThen = capacity - usedThen - others;
    const plausible = usedThen > used / 2 && usedThen < used * 2;
    if (plausible && availableThen > 0 && availableThen < capacity) available = availableThen;
  }
  if (available >= capacity || capacity < 1) return size;
  const reserve = Math.max(RESERVE_MIN_GIB, capacity * (1 - lowSpaceRatio));
  if (available > reserve) {
    const growth = Math.log(capacity) - Math.log(available - reserve + 1);
    return (K + (M * growth) / (capacity - available + reserve - 1)) * size;
  }
  return (K + (M * Math.log(capacity)) / capacity) * size + (B * (reserve - available)) / reserve;
}

export function regionScoreV1(
  space: StoreSpace,
  regionSizeMib: number,
  deltaMib: number,
  lowSpaceRatio: number,
  highSpaceRatio: number,
): number {
  const capacity = space.capacityBytes / MIB;
  const used = space.usedBytes / MIB;
  const free = space.availableBytes / MIB;
  const amplification = regionSizeMib === 0 || used === 0 ? 1 : regionSizeMib / used;
  const available = free - deltaMib / amplification;
  const highBound = (1 - highSpaceRatio) * capacity;
  const lowBound = (1 - lowSpaceRatio) * capacity;
  if (available >= highBound) return regionSizeMib + deltaMib;
  if (available <= lowBound) return SCORE_MAX_V1 - available;
  // Between: the straight line that joins both.
  const x1 = (used + free - highBound) * amplification;
  const x2 = (used + free - lowBound) * amplification;
  const y2 = SCORE_MAX_V1 - lowBound;
  const slope = (y2 - x1) / (x2 - x1);
  return slope * (regionSizeMib + deltaMib) + (x1 - slope * x1);
}
