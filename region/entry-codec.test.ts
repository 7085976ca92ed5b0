/** Log values: equal to the generated protobuf codec, and closed against damage. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { logIndex, term } from "../base/index.js";
import { eraftpb } from "../proto/index.js";
import type { Entry, EntryType } from "../raft/types.js";
import { ByteReader, decodeEntry, encodeEntry, varintLength, writeVarint } from "./entry-codec.js";

const TYPES: readonly EntryType[] = ["EntryNormal", "EntryConfChange", "EntryConfChangeV2"];
const number = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32, 2 ** 49 - 1, Number.MAX_SAFE_INTEGER),
);
const entry: fc.Arbitrary<Entry> = fc.record({
  type: fc.constantFrom(...TYPES),
  term: number.map(term),
  index: number.map(logIndex),
  data: fc.uint8Array({ maxLength: 300 }),
});

describe("a log entry", () => {
  test("comes back as it was", () => {
    fc.assert(
      fc.property(entry, (value) => {
        expect(decodeEntry(encodeEntry(value))).toEqual(value);
      }),
    );
  });

  test("is protobuf: the generated codec reads what we write", () => {
    fc.assert(
      fc.property(entry, (value) => {
        const decoded = eraftpb.Entry.decode(encodeEntry(value));
        expect(decoded.entryType).toBe(TYPES.indexOf(value.type));
        expect([decoded.term, decoded.index]).toEqual([value.term, value.index]);
        expect(decoded.data).toEqual(value.data);
      }),
    );
  });

  test("is protobuf: we read what the generated codec writes", () => {
    fc.assert(
      fc.property(entry, (value) => {
        const entryType = TYPES.indexOf(value.type);
        const bytes = new Uint8Array(eraftpb.Entry.encode({ ...value, entryType }).finish());
        expect(decodeEntry(bytes)).toEqual(value);
      }),
    );
  });

  test("of any damaged bytes either decodes or throws; it never reads outside", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const padded = new Uint8Array([...bytes, 0x22, 0x7f]);
        try {
          const decoded = decodeEntry(padded.subarray(0, bytes.length));
          expect(TYPES).toContain(decoded.type);
          expect(decoded.data.length).toBeLessThanOrEqual(bytes.length);
          expect(Number.isSafeInteger(decoded.index) && Number.isSafeInteger(decoded.term)).toBe(true);
        } catch (error) {
          expect((error as Error).name).toBe("AssertionError");
        }
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ["cut in the middle of a number", [0x10, 0x80]],
    ["with data longer than the value", [0x22, 0x05, 1, 2]],
    ["with a field it does not know", [0x2a, 0x00]],
    ["of an unknown type", [0x08, 0x07]],
    [
      "with a number that never ends",
      [0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ],
    ["with an index beyond 2^53", [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
  ])("%s is refused", (_what, bytes) => {
    expect(() => decodeEntry(Uint8Array.from(bytes))).toThrow();
  });
});

describe("varints", () => {
  test("take the length that was promised and come back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (value) => {
        const target = new Uint8Array(10);
        const end = writeVarint(target, 0, value);
        expect(end).toBe(varintLength(value));
        const reader = new ByteReader(target);
        expect(reader.varint()).toBe(value);
        expect(reader.offset).toBe(end);
      }),
    );
  });
});
