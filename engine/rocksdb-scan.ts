/** Bounded iteration over one column family, within one native call for most scans. */
import { compareBytes, type Row, type ScanOptions, type ScanResult } from "../base/index.js";
import type { RocksBinding, RocksColumn, RocksHandle, RocksIterator, RocksRows } from "./rocksdb-binding.js";

const NO_VALUE = new Uint8Array(0);
const UNBOUNDED_BYTES = 0x7fff_ffff;
/** Scans of more rows than this do not evict what point reads keep in the cache. */
const CACHED_ROWS_MAX = 1_000;

export function rocksScan(
  binding: RocksBinding,
  db: RocksHandle,
  column: RocksColumn,
  options: ScanOptions,
): ScanResult {
  const { start, end, limit } = options;
  if (end !== undefined && compareBytes(start, end) >= 0) return { rows: [], finished: true };
  const bytesMax = Math.min(options.bytesMax ?? UNBOUNDED_BYTES, UNBOUNDED_BYTES);
  const iterator = binding.iterator_init(db, {
    column,
    reverse: options.reverse === true,
    keys: true,
    values: options.keysOnly !== true,
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    ...(start.length === 0 ? {} : { gte: start }),
    ...(end === undefined ? {} : { lt: end }),
    // The native side stops beyond its mark, ours at it.
    highWaterMarkBytes: Math.max(0, bytesMax - 1),
    fillCache: limit <= CACHED_ROWS_MAX,
  });
  try {
    // One row more than asked for tells whether the range ends here.
    const { rows: flat, finished } = binding.iterator_nextv_sync(
      iterator,
      Math.min(limit + 1, UNBOUNDED_BYTES),
    );
    const rows = pairRows(flat, limit);
    if (finished || flat.length > 2 * limit) return { rows, finished: finished && flat.length <= 2 * limit };
    return { rows, finished: rows.length < limit ? !hasMore(binding, iterator) : false };
  } finally {
    binding.iterator_close(iterator);
  }
}

function pairRows(flat: RocksRows["rows"], limit: number): Row[] {
  const rows: Row[] = [];
  for (let i = 0; i < flat.length && rows.length < limit; i += 2) {
    rows.push({ key: flat[i] as Uint8Array, value: flat[i + 1] ?? NO_VALUE });
  }
  return rows;
}

const hasMore = (binding: RocksBinding, iterator: RocksIterator): boolean =>
  binding.iterator_nextv_sync(iterator, 1).rows.length > 0;
