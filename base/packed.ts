/**
 * Copies of small byte strings that are kept for long, many of them side by side in one buffer. Each `Uint8Array` with
 * memory of its own costs a buffer object and a block besides; a hundred thousand region borders are 13 MB of that.
 *
 * A buffer lives as long as any string in it: so only for what is kept by the thousand and goes by the thousand. At
 * worst `BLOCK_BYTES` stay for one string that stays; strings above `PACKED_BYTES_MAX` have memory of their own.
 * What this returns must not be written to, and its `buffer` is not its own: whoever passes that on passes offset and
 * length as well.
 */
import { EMPTY_BYTES } from "./bytes.js";

const BLOCK_BYTES = 4_096;
const PACKED_BYTES_MAX = 256;

let block = new ArrayBuffer(0);
let used = 0;

export function packBytes(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length === 0) return EMPTY_BYTES;
  if (length > PACKED_BYTES_MAX) return new Uint8Array(bytes);
  if (used + length > block.byteLength) {
    block = new ArrayBuffer(BLOCK_BYTES);
    used = 0;
  }
  const packed = new Uint8Array(block, used, length);
  packed.set(bytes);
  used += length;
  return packed;
}
