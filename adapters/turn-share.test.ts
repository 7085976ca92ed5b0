import { expect, test } from "vitest";
import { BULK_TURN_MS, TurnShare } from "./turn-share.js";

class ManualClock {
  #nowMs = 0;
  #later: (() => void)[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  later(run: () => void): void {
    this.#later.push(run);
  }

  work(ms: number): void {
    this.#nowMs += ms;
  }

  endTurn(): boolean {
    const due = this.#later.splice(0);
    for (const run of due) run();
    return due.length > 0;
  }
}

/** Callers that each have so many pieces of 1 ms; what was done in each turn. */
function turnsOf(callers: Readonly<Record<string, number>>): string[] {
  const clock = new ManualClock();
  const share = new TurnShare(clock);
  const turns: string[] = [];
  let done = "";
  const work = (name: string, left: number): void => {
    if (left === 0) return;
    if (share.isUsed()) return share.wait(() => work(name, left));
    clock.work(1);
    done += name;
    work(name, left - 1);
  };
  for (const [name, pieces] of Object.entries(callers)) work(name, pieces);
  for (;;) {
    turns.push(done);
    done = "";
    if (!clock.endTurn()) return turns.filter((turn) => turn !== "");
  }
}

test("a turn's bulk work ends after its time, and the rest follows in later turns", () => {
  expect(BULK_TURN_MS).toBe(4);
  expect(turnsOf({ a: 10 })).toEqual(["aaaa", "aaaa", "aa"]);
});

test("callers of bulk calls take turns", () => {
  expect(turnsOf({ a: 9, b: 8, c: 1 })).toEqual(["aaaa", "aaaa", "bbbb", "c", "a", "bbbb"]);
});

test("what fits into a turn never waits", () => {
  expect(turnsOf({ a: 1, b: 2 })).toEqual(["abb"]);
});
