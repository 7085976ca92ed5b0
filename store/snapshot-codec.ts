/**
 * Chunks of region data: crc32:4 big-endian over the rest, then rows: space:1 varint keyLength key varint valueLength
 * value. Keys carry the data prefix. The checksum is ours: the wire's own does not cover what lies on disk meanwhile.
 */
import { assert, DATA_KEY_SPACES, type EngineBatch, type Row } from "../base/index.js";
import { ByteReader, varintLength, writeVarint } from "../region/entry-codec.js";

/**
 * What is written of a snapshot is synced this often. Nothing rests on it before the end, but one sync of a whole
 * region would hold up the disk, and with it every write of every store on it, for as long as the region is large.
 */
export const SYNC_BYTES = 4 << 20;

const CRC_TABLE = new Uint32Array(256).map((_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = (CRC_TABLE[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

type Checksum = (bytes: Uint8Array) => number;

/** `checksum`: the platform's CRC-32 where it has one (`Env.crc32`), many times as fast. */
export function encodeChunk(
  spaceIndex: number,
  rows: readonly Row[],
  checksum: Checksum = crc32,
): Uint8Array {
  let length = 4;
  for (const { key, value } of rows) {
    length += 1 + varintLength(key.length) + key.length + varintLength(value.length) + value.length;
  }
  const chunk = new Uint8Array(length);
  let at = 4;
  for (const { key, value } of rows) {
    chunk[at++] = spaceIndex;
    at = writeVarint(chunk, at, key.length);
    chunk.set(key, at);
    at = writeVarint(chunk, at + key.length, value.length);
    chunk.set(value, at);
    at += value.length;
  }
  new DataView(chunk.buffer).setUint32(0, checksum(chunk.subarray(4)));
  return chunk;
}

export function isChunkIntact(chunk: Uint8Array, checksum: Checksum = crc32): boolean {
  if (chunk.length < 4) return false;
  return new DataView(chunk.buffer, chunk.byteOffset).getUint32(0) === checksum(chunk.subarray(4));
}

/** Puts a chunk's rows into a batch; the chunk must be intact. Returns the bytes of keys and values. */
export function loadChunk(chunk: Uint8Array, batch: EngineBatch): number {
  const reader = new ByteReader(chunk, 4);
  let bytes = 0;
  while (!reader.done) {
    const space = DATA_KEY_SPACES[reader.u8()];
    assert(space !== undefined, "unknown key space in a snapshot chunk");
    const key = reader.take(reader.varint());
    const value = reader.take(reader.varint());
    batch.put(space, key, value);
    bytes += key.length + value.length;
  }
  return bytes;
}
