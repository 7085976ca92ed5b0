/** Raw values with and without a time to live in one form. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes, utf8 } from "../base/index.js";
import { expiryOf, liveValue, rawTrailer } from "./raw-value.js";

const stored = (value: Uint8Array, expireSeconds: number): Uint8Array =>
  concatBytes(value, rawTrailer(expireSeconds));

describe("a raw value", () => {
  test("without time to live is always there, whatever its last bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(), (value, now) => {
        expect(liveValue(stored(value, 0), now)).toEqual(value);
        expect(expiryOf(stored(value, 0))).toBe(0);
      }),
    );
  });

  test("with one vanishes in the second of its expiry and not before", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 1, max: 2 ** 40 }), (value, expiry) => {
        expect(liveValue(stored(value, expiry), expiry - 1)).toEqual(value);
        expect(liveValue(stored(value, expiry), expiry)).toBeUndefined();
        expect(expiryOf(stored(value, expiry))).toBe(expiry);
      }),
    );
  });

  test("with any eight bytes for a time can be read, and times beyond 2^53 are for ever", () => {
    const value = utf8("value");
    for (const expiry of [2 ** 53, 2 ** 63, 2 ** 64 - 1]) {
      expect(liveValue(stored(value, expiry), 2 ** 40)).toEqual(value);
      expect(expiryOf(stored(value, expiry))).toBe(Number.MAX_SAFE_INTEGER);
    }
    const largest = concatBytes(value, new Uint8Array(8).fill(0xff), Uint8Array.of(1));
    expect(liveValue(largest, 2 ** 40)).toEqual(value);
  });

  test("of no bytes is a value; an absent one is not", () => {
    expect(liveValue(stored(utf8(""), 0), 5)).toEqual(utf8(""));
    expect(liveValue(stored(utf8(""), 9), 5)).toEqual(utf8(""));
    expect(liveValue(undefined, 5)).toBeUndefined();
    expect(liveValue(new Uint8Array(0), 5)).toBeUndefined();
  });
});
