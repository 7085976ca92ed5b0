/** What an engine may take of memory: bounds, not reservations. */
import { KEY_SPACES, type KeySpace } from "../base/index.js";

export interface EngineMemory {
  /** Blocks of tables kept uncompressed, all key spaces together. */
  readonly blockCacheBytes: number;
  /** Writes not in tables yet, all key spaces together; up to half as much again while tables are being written. */
  readonly memtableBytes: number;
}

interface Shares {
  /** Of the block cache; adding up to 1. */
  readonly cache: number;
  /** The most that its memtables are of use for. */
  readonly memtableBytesMax: number;
}

/**
 * Data gets the most cache; `snap` is read once. Memtables: four buffers of a quarter each, two more while they are
 * being flushed, two flushed together. With RocksDB's own default of two buffers a burst fills both while the first is
 * on its way to the disk, and the write that comes then holds up its thread until it is there: 0.8 to 1 s in a run of
 * 400 MiB, 0.17 s with these. Smaller buffers are also faster to insert into. (docs/performance.md)
 */
const SHARES: Readonly<Record<KeySpace, Shares>> = {
  default: { cache: 0.7, memtableBytesMax: 128 << 20 },
  lock: { cache: 0.03, memtableBytesMax: 16 << 20 },
  write: { cache: 0.16, memtableBytesMax: 32 << 20 },
  raft: { cache: 0.1, memtableBytesMax: 64 << 20 },
  snap: { cache: 0.01, memtableBytesMax: 32 << 20 },
};
const MEMTABLES_BYTES_MAX = Object.values(SHARES).reduce((sum, each) => sum + each.memtableBytesMax, 0);

/** What PD and groups live with, and whoever says nothing. */
export const DEFAULT_ENGINE_MEMORY: EngineMemory = {
  blockCacheBytes: 96 << 20,
  memtableBytes: MEMTABLES_BYTES_MAX,
};

/** RocksDB's binding reads sizes of caches as 32 bits. */
const CACHE_BYTES_MAX = 2 ** 32 - 1;
const MEMTABLE_BYTES_MIN = 4 << 20;

export interface SpaceMemory {
  readonly cacheBytes: number;
  /** Of all memtables of the key space; one holds a quarter. */
  readonly memtableBytes: number;
}

export function memoryOfSpaces(memory: EngineMemory): Readonly<Record<KeySpace, SpaceMemory>> {
  const of = (space: KeySpace): SpaceMemory => {
    const { cache, memtableBytesMax } = SHARES[space];
    const memtables = Math.floor((memory.memtableBytes * memtableBytesMax) / MEMTABLES_BYTES_MAX);
    return {
      cacheBytes: Math.min(CACHE_BYTES_MAX, Math.floor(memory.blockCacheBytes * cache)),
      memtableBytes: Math.max(MEMTABLE_BYTES_MIN, Math.min(memtableBytesMax, memtables)),
    };
  };
  return Object.fromEntries(KEY_SPACES.map((space) => [space, of(space)])) as Record<KeySpace, SpaceMemory>;
}
