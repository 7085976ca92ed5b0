/**
 * RawChecksum: CRC-64 (ECMA-182, reflected) of each pair's key followed by its value, all combined by exclusive or, so
 * that the order and the cut into regions do not matter.
 */
import { EMPTY_BYTES } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import type { RawCommands } from "./raw-commands.js";

const POLYNOMIAL = 0xc96c5795d7870f42n;
const MASK = (1n << 64n) - 1n;
const TABLE: readonly bigint[] = Array.from({ length: 256 }, (_, n) => {
  let crc = BigInt(n);
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ POLYNOMIAL : crc >> 1n;
  return crc;
});

export function crc64(...parts: readonly Uint8Array[]): bigint {
  let crc = MASK;
  for (const part of parts) {
    for (const byte of part) crc = (TABLE[Number((crc ^ BigInt(byte)) & 0xffn)] as bigint) ^ (crc >> 8n);
  }
  return crc ^ MASK;
}

export function rawChecksum(
  raw: RawCommands,
  request: kvrpcpb.IRawChecksumRequest,
  reply: (response: kvrpcpb.IRawChecksumResponse) => void,
): void {
  const ranges = request.ranges ?? [];
  const refused = raw.mode.refuseRanges(request.context, "raw_checksum", ranges);
  if (refused !== undefined) return reply({ error: refused });
  const wrong = ranges.length === 0 ? raw.wrongContext(request.context) : undefined;
  if (wrong !== undefined) return reply({ regionError: wrong });
  let checksum = 0n;
  let totalKvs = 0;
  let totalBytes = 0;
  const next = (at: number): void => {
    const range = ranges[at];
    if (range === undefined) return reply({ checksum, totalKvs, totalBytes });
    const start = range.startKey ?? EMPTY_BYTES;
    const end = range.endKey ?? EMPTY_BYTES;
    const onPairs = (pairs: readonly kvrpcpb.IKvPair[]): void => {
      for (const { key, value } of pairs) {
        checksum ^= crc64(key ?? EMPTY_BYTES, value ?? EMPTY_BYTES);
        totalKvs++;
        totalBytes += (key?.length ?? 0) + (value?.length ?? 0);
      }
    };
    raw.scanAll(request.context, start, end, onPairs, (error) => {
      if (error !== undefined) return reply({ regionError: error });
      next(at + 1);
    });
  };
  next(0);
}
