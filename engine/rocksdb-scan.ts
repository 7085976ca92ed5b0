/**
 * Bounded iteration over one column family, within one native call for most scans.
 *
 * Most of a row's cost is that of the two buffers that the binding makes for it. Keys are therefore asked for as text
 * and put into one buffer for the whole page, which takes a quarter off a scan. Only ASCII survives as text for
 * certain: a page with any other key is read again with buffers, and so is what is asked of that column for a while.
 */
import { compareBytes, type Row, type ScanOptions, type ScanResult } from "../base/index.js";
import type { RocksBinding, RocksColumn, RocksHandle, RocksIterator, RocksRows } from "./rocksdb-binding.js";

const NO_VALUE = new Uint8Array(0);
const UNBOUNDED_BYTES = 0x7fff_ffff;
/** Scans of more rows than this do not evict what point reads keep in the cache. */
const CACHED_ROWS_MAX = 1_000;
/** Scans with buffers after one that met a key which is no ASCII. */
const BINARY_SCANS = 256;

/** What the binding gives where keys are text: at even places. */
type TextRows = readonly (string | Uint8Array | undefined)[];

/** Per column: how many scans take buffers before text is tried again. */
const binaryScansLeft = new WeakMap<RocksColumn, number>();

export function rocksScan(
  binding: RocksBinding,
  db: RocksHandle,
  column: RocksColumn,
  options: ScanOptions,
): ScanResult {
  const { start, end } = options;
  if (end !== undefined && compareBytes(start, end) >= 0) return { rows: [], finished: true };
  const binaryLeft = binaryScansLeft.get(column) ?? 0;
  if (binaryLeft > 0) binaryScansLeft.set(column, binaryLeft - 1);
  else {
    const result = scanOnce(binding, db, column, options, "utf8");
    if (result !== undefined) return result;
    binaryScansLeft.set(column, BINARY_SCANS);
  }
  return scanOnce(binding, db, column, options, "buffer") as ScanResult;
}

/** Undefined: with keys as text it met one that is no ASCII. */
function scanOnce(
  binding: RocksBinding,
  db: RocksHandle,
  column: RocksColumn,
  options: ScanOptions,
  keyEncoding: "buffer" | "utf8",
): ScanResult | undefined {
  const { start, end, limit } = options;
  const bytesMax = Math.min(options.bytesMax ?? UNBOUNDED_BYTES, UNBOUNDED_BYTES);
  const iterator = binding.iterator_init(db, {
    column,
    reverse: options.reverse === true,
    keys: true,
    values: options.keysOnly !== true,
    keyEncoding,
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
    const rows =
      keyEncoding === "utf8" ? pairAscii(flat as unknown as TextRows, limit) : pairRows(flat, limit);
    if (rows === undefined) return undefined;
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

/** Rows whose keys are text; undefined when a character is none of the 128 that are one byte, and that byte. */
function pairAscii(flat: TextRows, limit: number): Row[] | undefined {
  const end = Math.min(flat.length, 2 * limit);
  let length = 0;
  for (let i = 0; i < end; i += 2) length += (flat[i] as string).length;
  const keys = new ArrayBuffer(length);
  const bytes = new Uint8Array(keys);
  const rows: Row[] = [];
  let at = 0;
  for (let i = 0; i < end; i += 2) {
    const text = flat[i] as string;
    const from = at;
    for (let j = 0; j < text.length; j++) {
      const code = text.charCodeAt(j);
      if (code > 0x7f) return undefined;
      bytes[at++] = code;
    }
    const value = (flat[i + 1] as Uint8Array | undefined) ?? NO_VALUE;
    rows.push({ key: new Uint8Array(keys, from, text.length), value });
  }
  return rows;
}

const hasMore = (binding: RocksBinding, iterator: RocksIterator): boolean =>
  binding.iterator_nextv_sync(iterator, 1).rows.length > 0;
