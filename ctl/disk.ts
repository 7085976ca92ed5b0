/** Sizes of a data directory for PD's figures: cached, because counting files costs system calls. */
import { readdirSync, statfsSync, statSync } from "node:fs";
import { join } from "node:path";

export interface DiskFigures {
  readonly capacity: number;
  readonly available: number;
  readonly used: number;
}

const CACHE_MS = 5_000;

/** `capacityBytes` 0 means the whole disk. */
export function diskFigures(directory: string, capacityBytes: number): () => DiskFigures | undefined {
  let known: DiskFigures | undefined;
  let knownAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = performance.now();
    if (nowMs - knownAtMs < CACHE_MS) return known;
    knownAtMs = nowMs;
    known = measure(directory, capacityBytes);
    return known;
  };
}

function measure(directory: string, capacityBytes: number): DiskFigures | undefined {
  try {
    const disk = statfsSync(directory);
    const total = disk.blocks * disk.bsize;
    const used = directoryBytes(directory);
    const capacity = capacityBytes === 0 ? total : Math.min(total, capacityBytes);
    const available = Math.max(0, Math.min(disk.bavail * disk.bsize, capacity - used));
    return { capacity, available, used };
  } catch {
    return undefined;
  }
}

function directoryBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    try {
      bytes += entry.isDirectory() ? directoryBytes(path) : statSync(path).size;
    } catch {
      // The engine removed it meanwhile.
    }
  }
  return bytes;
}
