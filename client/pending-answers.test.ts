/** The ring of those who wait for answers, against a map. */
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../base/random.js";
import { type AnswerTaker, PendingAnswers } from "./pending-answers.js";

const taker = (): AnswerTaker => ({ answered() {} });

describe("pending answers", () => {
  test("go to whom they belong to, once, whatever comes in between", () => {
    const random = new SeededRandom(7);
    const pending = new PendingAnswers();
    const model = new Map<number, AnswerTaker>();
    let last = 0;
    for (let step = 0; step < 20_000; step++) {
      const choice = random.u32() % 100;
      // More are added than taken for a while, then the other way round.
      if (choice < (step % 4_000 < 2_000 ? 60 : 40)) {
        const one = taker();
        const id = pending.add(one);
        expect(id).toBe(last + 1);
        last = id;
        model.set(id, one);
      } else if (choice < 99 || step % 50 > 0) {
        const ids = [...model.keys()];
        const id = ids[random.u32() % Math.max(1, ids.length)] ?? last;
        expect(pending.take(id)).toBe(model.get(id));
        model.delete(id);
        expect(pending.has(id)).toBe(false);
        expect(pending.take(id)).toBeUndefined();
      } else {
        expect(pending.takeAll()).toEqual([...model.values()]);
        model.clear();
      }
    }
  });

  test("are nobody's for ids that were never given, or are no ids", () => {
    const pending = new PendingAnswers();
    const id = pending.add(taker());
    for (const other of [0, -1, id + 1, id + 64, 2 ** 40, Number.NaN, 0.5])
      expect(pending.take(other)).toBeUndefined();
    expect(pending.has(id)).toBe(true);
  });
});
