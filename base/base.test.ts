/** Bytes, ids, assertions and the generator: small things that everything rests on. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AssertionError,
  assert,
  clusterId,
  compareBytes,
  concatBytes,
  copyBytes,
  equalBytes,
  fromHex,
  must,
  nextKey,
  prefixEnd,
  randomBelow,
  regionId,
  SeededRandom,
  toHex,
  unreachable,
} from "./index.js";

const bytes = fc.uint8Array({ maxLength: 10 });

describe("byte strings", () => {
  test("order as hex of equal length orders, shorter first on a tie", () => {
    fc.assert(
      fc.property(bytes, bytes, (left, right) => {
        const order = toHex(left) < toHex(right) ? -1 : toHex(left) > toHex(right) ? 1 : 0;
        expect(Math.sign(compareBytes(left, right))).toBe(order);
        expect(equalBytes(left, right)).toBe(order === 0);
      }),
    );
    expect(compareBytes(Uint8Array.of(0x80), Uint8Array.of(0x7f))).toBeGreaterThan(0);
  });

  test("come back from hex of either case; malformed hex is nothing", () => {
    fc.assert(
      fc.property(bytes, (value) => {
        expect(fromHex(toHex(value))).toEqual(value);
        expect(fromHex(toHex(value).toUpperCase())).toEqual(value);
      }),
    );
    for (const wrong of ["a", "0g", "0x", " 00"]) expect(fromHex(wrong)).toBeUndefined();
  });

  test("have a next key with nothing between", () => {
    fc.assert(
      fc.property(bytes, bytes, (key, other) => {
        const next = nextKey(key);
        expect(compareBytes(key, next)).toBeLessThan(0);
        expect(compareBytes(other, key) > 0 && compareBytes(other, next) < 0).toBe(false);
      }),
    );
  });

  test("with a prefix lie below its end, all others not between", () => {
    fc.assert(
      fc.property(bytes, bytes, (prefix, rest) => {
        const end = prefixEnd(prefix);
        const inside = concatBytes(prefix, rest);
        if (end === undefined) expect(prefix.every((byte) => byte === 0xff)).toBe(true);
        else {
          expect(compareBytes(inside, end)).toBeLessThan(0);
          const hasPrefix = equalBytes(rest.subarray(0, prefix.length), prefix);
          const between = compareBytes(rest, prefix) >= 0 && compareBytes(rest, end) < 0;
          expect(between).toBe(hasPrefix);
        }
      }),
    );
  });

  test("copied share nothing with what they were copied from", () => {
    const original = Uint8Array.of(1, 2);
    const copy = copyBytes(original);
    original[0] = 9;
    expect(copy).toEqual(Uint8Array.of(1, 2));
  });
});

describe("ids", () => {
  test("are safe integers from 0, cluster ids 64 bits from 1", () => {
    expect(regionId(0)).toBe(0);
    for (const wrong of [-1, 1.5, 2 ** 53, Number.NaN]) expect(() => regionId(wrong)).toThrow(AssertionError);
    expect(clusterId((1n << 64n) - 1n)).toBe((1n << 64n) - 1n);
    for (const wrong of [0n, -1n, 1n << 64n]) expect(() => clusterId(wrong)).toThrow(AssertionError);
  });
});

describe("assertions", () => {
  test("build their message only when they fail", () => {
    let built = 0;
    const message = (): string => `built ${++built}`;
    assert(true, message);
    expect(built).toBe(0);
    expect(() => assert(0, message)).toThrow("built 1");
  });

  test("unwrap what is there, zero and the empty text included", () => {
    expect([must(0, "x"), must("", "x"), must(false, "x")]).toEqual([0, "", false]);
    expect(() => must(null, "no peer")).toThrow("no peer");
    expect(() => unreachable("odd" as never)).toThrow("odd");
  });
});

describe("the seeded generator", () => {
  const take = (random: SeededRandom, count: number): number[] =>
    Array.from({ length: count }, () => random.u32());

  test("gives the same numbers for the same seed, others for another seed or stream", () => {
    expect(take(new SeededRandom(7), 20)).toEqual(take(new SeededRandom(7), 20));
    expect(take(new SeededRandom(7), 20)).not.toEqual(take(new SeededRandom(8), 20));
    expect(take(new SeededRandom(7), 20)).not.toEqual(take(new SeededRandom(7, 1), 20));
    expect(take(new SeededRandom(2 ** 40), 20)).not.toEqual(take(new SeededRandom(0), 20));
  });

  test("forks streams that do not repeat their parent", () => {
    const parent = new SeededRandom(7);
    const child = parent.fork();
    expect(take(child, 20)).not.toEqual(take(parent, 20));
  });

  test("fills its range evenly", () => {
    const random = new SeededRandom(1);
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 20_000; i++) {
      const value = randomBelow(random, 10);
      counts[value] = (counts[value] as number) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 2000)).toBeLessThan(250);
  });
});
