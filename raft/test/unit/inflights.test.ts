/** The window of a peer: fullness by either limit over many rounds, and its ring against a plain queue. */
import { describe, expect, it } from "vitest";
import { SeededRandom } from "../../../base/random.js";
import { Inflights } from "../../tracker/inflights.js";

const NO_LIMIT = Number.POSITIVE_INFINITY;
type Sent = readonly [index: number, bytes: number];
const PAIRS: readonly Sent[] = [
  [1, 2],
  [3, 4],
];

describe("fullness", () => {
  it.each([
    // most messages, most bytes, sent, acknowledged up to, sent then until it is full again
    [3, NO_LIMIT, [1, 1, 1], 1, [1]],
    [3, NO_LIMIT, [1, 1, 1], 3, [1, 1, 1]],
    [10, 10, [2, 3, 4, 5], 1, []],
    [10, 10, [2, 3, 4, 5], 2, [1]],
    [10, 10, [10], 1, [10]],
    [10, 10, [9, 100], 1, []],
    [10, 10, [9, 100], 2, [9, 1]],
    [4, 10, [1, 1, 1, 1], 2, [1, 1]],
    [4, 10, [1, 1, 1, 7], 3, [1, 1, 1]],
    [4, 10, [8, 1, 5], 1, [3, 1]],
    [2, 1, [1_000_000], 1, [1]],
  ] as [number, number, number[], number, number[]][])(
    "of %d messages, %d bytes: after %j, %i freed, then %j",
    (countMax, bytesMax, first, freed, second) => {
      const made = new Inflights({ countMax, bytesMax });
      let index = 0;
      const fill = (sizes: readonly number[]): void => {
        for (const bytes of sizes) {
          expect(made.full()).toBe(false);
          made.add(++index, bytes);
        }
        expect(made.full()).toBe(true);
        expect(() => made.add(index + 1, 1)).toThrow(/full window/);
      };
      fill(first);
      made.freeTo(freed);
      fill(second);
    },
  );

  it("of a refused message counts nothing", () => {
    const made = new Inflights({ countMax: 1, bytesMax: NO_LIMIT });
    made.add(1, 5);
    expect(() => made.add(2, 7)).toThrow(/full window/);
    expect([made.count, made.bytes, made.countMax, made.bytesMax]).toEqual([1, 5, 1, NO_LIMIT]);
  });
});

describe("an acknowledgement", () => {
  it.each([
    [0, 2, 6],
    [1, 1, 4],
    [2, 1, 4],
    [3, 0, 0],
    [99, 0, 0],
  ])("up to %i of 1 and 3 leaves %i messages of %i bytes", (index, count, bytes) => {
    const made = new Inflights({ countMax: 2, bytesMax: 6 });
    for (const [sent, size] of PAIRS) made.add(sent, size);
    made.freeTo(index);
    made.freeTo(index);
    expect([made.count, made.bytes, made.full()]).toEqual([count, bytes, count === 2]);
  });
});

it("the ring keeps what a plain queue keeps, whatever is sent, freed, reset and resized", () => {
  const random = new SeededRandom(5);
  for (let round = 0; round < 60; round++) {
    let countMax = 1 + (random.u32() % 20);
    const bytesMax = random.u32() % 3 === 0 ? NO_LIMIT : 1 + (random.u32() % 200);
    const made = new Inflights({ countMax, bytesMax });
    let queue: Sent[] = [];
    let index = 0;
    for (let step = 0; step < 200; step++) {
      const bytes = (): number => queue.reduce((sum, [, size]) => sum + size, 0);
      const choice = random.u32() % 100;
      if (choice < 65) {
        if (!made.full()) {
          index += 1 + (random.u32() % 3);
          const size = random.u32() % 30;
          made.add(index, size);
          queue.push([index, size]);
        }
      } else if (choice < 95) {
        const oldest = queue[0]?.[0] ?? index;
        const acknowledged = oldest - 1 + (random.u32() % 8);
        made.freeTo(acknowledged);
        queue = queue.filter(([sent]) => sent > acknowledged);
      } else if (choice < 97) {
        made.reset();
        queue = [];
      } else {
        countMax = random.u32() % 30;
        made.setCountMax(countMax);
      }
      const expected = [queue.length, bytes(), queue.length >= countMax || bytes() >= bytesMax];
      expect([made.count, made.bytes, made.full()]).toEqual(expected);
    }
  }
});
