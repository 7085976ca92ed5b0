/** Byte strings that share memory: each is what was given, whatever is packed beside it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { packBytes } from "./index.js";

test("packed strings stay what they were, of any lengths and however many", () => {
  const strings = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 200 });
  fc.assert(
    fc.property(strings, (given) => {
      const sources = given.map((bytes) => new Uint8Array(bytes));
      const packed = sources.map(packBytes);
      for (const source of sources) source.fill(0xee);
      for (const [i, bytes] of packed.entries()) expect(bytes).toEqual(given[i]);
    }),
    { numRuns: 30 },
  );
});

test("short ones share a buffer, long ones have their own, and empty ones have none", () => {
  const [first, second] = [packBytes(new Uint8Array(4_096 - 255)), packBytes(Uint8Array.of(1, 2))];
  expect(first.buffer.byteLength).toBe(first.length);
  const third = packBytes(Uint8Array.of(3));
  expect([third.buffer === second.buffer, third.byteOffset - second.byteOffset]).toEqual([true, 2]);
  expect(packBytes(new Uint8Array(0))).toBe(packBytes(new Uint8Array(0)));
  // Plain bytes whatever came: a view on decoded bytes would be another class.
  expect(packBytes(Buffer.from("ab")).constructor).toBe(Uint8Array);
});
