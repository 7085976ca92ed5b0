/** Key spaces as prefixes, and bounded iteration: each read of a scan runs on one of libuv's threads. */
import { compareBytes, KEY_SPACES, type KeySpace, type Row, type ScanOptions } from "../base/index.js";
import type { ScanResult } from "../base/index.js";
import {
  ITERATOR_ENDED,
  type LevelBinding,
  type LevelHandle,
  type LevelIterator,
  type LevelSnapshotHandle,
} from "./leveldb-binding.js";

/** `d`, `l`, `w`, `r`, `s`: in no order that matters, but none follows another directly. */
const PREFIX = Object.fromEntries(KEY_SPACES.map((space) => [space, space.charCodeAt(0)])) as Readonly<
  Record<KeySpace, number>
>;

const CHUNK_ROWS = 1_000;
const CHUNK_BYTES = 1 << 20;
const NO_VALUE = new Uint8Array(0);

export function prefixed(space: KeySpace, key: Uint8Array): Uint8Array {
  const result = Buffer.allocUnsafe(1 + key.length);
  result[0] = PREFIX[space];
  result.set(key, 1);
  return result;
}

const endOf = (space: KeySpace): Uint8Array => Uint8Array.of(PREFIX[space] + 1);

/** The iterator is created, and so the moment fixed, before this returns. */
export function levelScan(
  binding: LevelBinding,
  db: LevelHandle,
  space: KeySpace,
  options: ScanOptions,
  snapshot: LevelSnapshotHandle | undefined,
): Promise<ScanResult> {
  const { start, end, bytesMax = CHUNK_BYTES } = options;
  if (end !== undefined && compareBytes(start, end) >= 0)
    return Promise.resolve({ rows: [], finished: true });
  const state = new Uint8Array(1);
  const iterator = binding.iterator_init(
    db,
    state,
    {
      gte: prefixed(space, start),
      lt: end === undefined ? endOf(space) : prefixed(space, end),
      reverse: options.reverse === true,
      keys: true,
      values: options.keysOnly !== true,
      fillCache: options.limit <= CHUNK_ROWS,
      keyEncoding: "buffer",
      valueEncoding: "buffer",
      highWaterMarkBytes: Math.min(bytesMax, CHUNK_BYTES),
    },
    snapshot,
  );
  return readRows(binding, iterator, state, options);
}

async function readRows(
  binding: LevelBinding,
  iterator: LevelIterator,
  state: Uint8Array,
  options: ScanOptions,
): Promise<ScanResult> {
  const { limit, keysOnly = false, bytesMax = Number.POSITIVE_INFINITY } = options;
  const rows: Row[] = [];
  let bytes = 0;
  try {
    for (;;) {
      // One row more than asked for tells whether the range ends here.
      const count = Math.min(CHUNK_ROWS, limit - rows.length + 1);
      const entries = await binding.iterator_nextv(iterator, count);
      for (const [key, value] of entries) {
        if (rows.length === limit || bytes >= bytesMax) return { rows, finished: false };
        const row = { key: key.subarray(1), value: keysOnly || value === undefined ? NO_VALUE : value };
        rows.push(row);
        bytes += row.key.length + row.value.length;
      }
      if (entries.length === 0 || ((state[0] as number) & ITERATOR_ENDED) !== 0) {
        return { rows, finished: true };
      }
    }
  } finally {
    binding.iterator_close(iterator);
  }
}
