/** 64-bit numbers as 8 bytes big endian, the form of PD's stored counters; and small checks of text numbers. */
import { assert } from "../base/index.js";

export function encodeUint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

export function decodeUint64(bytes: Uint8Array): bigint {
  assert(bytes.length === 8, () => `a stored 64-bit number has ${bytes.length} bytes`);
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}

/** A decimal id as it stands in a path; undefined unless it is a safe integer without sign. */
export function parseId(text: string): number | undefined {
  if (!/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
