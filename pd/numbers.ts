/** 64-bit numbers as 8 bytes big endian, the form of PD's stored counters; and small checks of text numbers. */
import { assert, fromUtf8, utf8 } from "../base/index.js";

export function encodeUint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

export function decodeUint64(bytes: Uint8Array): bigint {
  assert(bytes.length === 8, () => `a stored 64-bit number has ${bytes.length} bytes`);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

/** Timestamps that PD keeps for others are stored as hex text. */
export const encodeTimestampText = (timestamp: bigint): Uint8Array => utf8(timestamp.toString(16));

/** Also of eight bytes, as an earlier version stored them: those of no timestamp in use are all digits. */
export function decodeTimestampText(bytes: Uint8Array): bigint {
  const text = fromUtf8(bytes);
  return /^[0-9a-f]+$/.test(text) ? BigInt(`0x${text}`) : decodeUint64(bytes);
}

/** A decimal id as it stands in a path; undefined unless it is a safe integer without sign. */
export function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
