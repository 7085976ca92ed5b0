/**
 * Where everything lies in the engine. User data: key spaces `default`, `lock`, `write`, each key prefixed by `z`.
 * Everything local: key space `raft`, big-endian ids so that they sort (TiKV's layout, tikv-map 3.1).
 *
 *   01 01                          store ident
 *   01 02                          prepared first region (only between prepare and confirmed bootstrap)
 *   01 02 region:8 01 index:8      log entry
 *   01 02 region:8 02              hard state and last index
 *   01 02 region:8 03              applied index and truncated state
 *   01 02 region:8 05              vote of a peer that has no data yet (ours: TiKV forgets it, rule 4.2.12)
 *   01 03 region:8 01              region state
 *
 * Incoming snapshots: key space `snap`, region:8 term:8 index:8 sequence:8.
 */
import { assert, concatBytes } from "../base/index.js";

export const DATA_PREFIX = 0x7a; // 'z'
export const STORE_IDENT_KEY: Uint8Array = Uint8Array.of(0x01, 0x01);
export const PREPARE_BOOTSTRAP_KEY: Uint8Array = Uint8Array.of(0x01, 0x02);

const RAFT_PREFIX = 0x02;
const META_PREFIX = 0x03;
const LOG_SUFFIX = 0x01;

/** Writes an unsigned integer below 2^53 as 8 big-endian bytes. */
export function writeU64(target: Uint8Array, offset: number, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  const low = value >>> 0;
  target[offset] = high >>> 24;
  target[offset + 1] = high >>> 16;
  target[offset + 2] = high >>> 8;
  target[offset + 3] = high;
  target[offset + 4] = low >>> 24;
  target[offset + 5] = low >>> 16;
  target[offset + 6] = low >>> 8;
  target[offset + 7] = low;
}

export function readU64(source: Uint8Array, offset: number): number {
  let high = 0;
  let low = 0;
  for (let i = 0; i < 4; i++) high = (high << 8) | (source[offset + i] as number);
  for (let i = 4; i < 8; i++) low = (low << 8) | (source[offset + i] as number);
  // What fits 32 bits never goes through a product: that makes a number in 16 bytes of its own, and these are kept.
  if (high === 0) return low >>> 0;
  const value = (high >>> 0) * 2 ** 32 + (low >>> 0);
  assert(Number.isSafeInteger(value), "64-bit value beyond 2^53 in a local key");
  return value;
}

function regionKey(prefix: number, region: number, suffix: number): Uint8Array {
  const key = new Uint8Array(11);
  key[0] = 0x01;
  key[1] = prefix;
  writeU64(key, 2, region);
  key[10] = suffix;
  return key;
}

export function raftLogKey(region: number, index: number): Uint8Array {
  const key = new Uint8Array(19);
  key[0] = 0x01;
  key[1] = RAFT_PREFIX;
  writeU64(key, 2, region);
  key[10] = LOG_SUFFIX;
  writeU64(key, 11, index);
  return key;
}

export const raftStateKey = (region: number): Uint8Array => regionKey(RAFT_PREFIX, region, 0x02);
export const applyStateKey = (region: number): Uint8Array => regionKey(RAFT_PREFIX, region, 0x03);
export const uninitializedVoteKey = (region: number): Uint8Array => regionKey(RAFT_PREFIX, region, 0x05);
export const regionStateKey = (region: number): Uint8Array => regionKey(META_PREFIX, region, 0x01);

/** All region states of a store. */
export const REGION_STATE_START: Uint8Array = Uint8Array.of(0x01, META_PREFIX);
export const REGION_STATE_END: Uint8Array = Uint8Array.of(0x01, META_PREFIX + 1);

export const regionIdOfStateKey = (key: Uint8Array): number => readU64(key, 2);

/** The engine's key of a user key. */
export function dataKey(key: Uint8Array): Uint8Array {
  const prefixed = new Uint8Array(key.length + 1);
  prefixed[0] = DATA_PREFIX;
  prefixed.set(key, 1);
  return prefixed;
}

/** The engine's exclusive upper bound of a range end; the empty end is above all data. */
export const dataEndKey = (endKey: Uint8Array): Uint8Array =>
  endKey.length === 0 ? Uint8Array.of(DATA_PREFIX + 1) : dataKey(endKey);

export const userKey = (key: Uint8Array): Uint8Array => key.subarray(1);

export function snapshotChunkKey(region: number, term: number, index: number, sequence: number): Uint8Array {
  const key = new Uint8Array(32);
  writeU64(key, 0, region);
  writeU64(key, 8, term);
  writeU64(key, 16, index);
  writeU64(key, 24, sequence);
  return key;
}

/** Bounds of all chunks of one snapshot. */
export function snapshotRange(region: number, term: number, index: number): [Uint8Array, Uint8Array] {
  return [snapshotChunkKey(region, term, index, 0), snapshotChunkKey(region, term, index + 1, 0)];
}

/** Bounds of all snapshots of one region. */
export const snapshotRegionRange = (region: number): [Uint8Array, Uint8Array] => [
  snapshotChunkKey(region, 0, 0, 0),
  snapshotChunkKey(region + 1, 0, 0, 0),
];

/** Hex of key ranges as TiKV's messages show them. */
export const displayKey = (key: Uint8Array): string =>
  Array.from(concatBytes(key), (byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join("");
