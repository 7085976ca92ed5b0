/**
 * Raw values on disk: user bytes, then [expiry:8 big-endian seconds] when bit 0 of the last byte is set, then that
 * flags byte. So that values with and without time to live live in one cluster with no mode to choose (TiKV's V2 form).
 */
import { writeU64 } from "./keys.js";

const HAS_EXPIRY = 1;
const PLAIN_TRAILER: Uint8Array = Uint8Array.of(0);

/**
 * The bytes behind the user's value; `expireSeconds` 0 means for ever. Times beyond 2^53 are as good as for ever, and
 * clients may send them.
 */
export function rawTrailer(expireSeconds: number): Uint8Array {
  if (expireSeconds === 0) return PLAIN_TRAILER;
  const trailer = new Uint8Array(9);
  writeU64(trailer, 0, Math.min(expireSeconds, Number.MAX_SAFE_INTEGER));
  trailer[8] = HAS_EXPIRY;
  return trailer;
}

/** Any 8 bytes are a time: what was once written must never stop the replicas that read it. */
function readSeconds(stored: Uint8Array, offset: number): number {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + (stored[offset + i] as number);
  return Math.min(value, Number.MAX_SAFE_INTEGER);
}

/** Unix seconds at which the value vanishes; 0 when it never does. */
export function expiryOf(stored: Uint8Array): number {
  const flags = stored[stored.length - 1] as number;
  return (flags & HAS_EXPIRY) !== 0 && stored.length >= 9 ? readSeconds(stored, stored.length - 9) : 0;
}

/** The user's bytes (a view), or undefined when there is no value or it has expired by `nowSeconds`. */
export function liveValue(stored: Uint8Array | undefined, nowSeconds: number): Uint8Array | undefined {
  if (stored === undefined || stored.length === 0) return undefined;
  const flags = stored[stored.length - 1] as number;
  if ((flags & HAS_EXPIRY) === 0) return stored.subarray(0, stored.length - 1);
  const expiry = expiryOf(stored);
  return expiry !== 0 && expiry <= nowSeconds ? undefined : stored.subarray(0, stored.length - 9);
}
