/**
 * Whether a region takes one more write. Bytes are bounded for memory's sake; time for the sake of those who wait: a
 * queue that the disk, or the quorum, takes seconds to work off helps nobody and delays everything behind it. A short
 * queue is always allowed, so that a burst on a fast disk meets no refusal.
 */
import type { RegionConfig } from "./config.js";

export interface WriteRefusal {
  /** For counting. */
  readonly reason: string;
  readonly message: string;
}

export const tooManyWrites = (regionId: number): string => `region ${regionId} has too many writes under way`;

/**
 * `bytes`: proposed and gathered, not answered. `oldestMs`: since when the oldest proposal waits, in monotonic
 * milliseconds; undefined: there is none. `isStoreFull`: all regions of the store together have what they may.
 */
export function refuseWrite(
  regionId: number,
  bytes: number,
  oldestMs: number | undefined,
  isStoreFull: boolean,
  nowMs: number,
  config: RegionConfig,
): WriteRefusal | undefined {
  if (bytes > config.uncommittedBytesMax) {
    return { reason: "region has too many writes", message: tooManyWrites(regionId) };
  }
  if (isStoreFull)
    return { reason: "store has too many writes", message: "the store has too many writes under way" };
  const waitsMs = oldestMs === undefined ? 0 : nowMs - oldestMs;
  if (waitsMs <= config.writeWaitMsMax || bytes <= config.writeQueueBytesFree) return undefined;
  return {
    reason: "writes wait too long",
    message:
      `writes to region ${regionId} wait for ${Math.round(waitsMs)} ms already: ` +
      "a disk, or the other replicas, cannot keep up",
  };
}
