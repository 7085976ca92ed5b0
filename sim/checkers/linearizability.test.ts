/** The checker of registers, on histories whose verdict is known. */
import { describe, expect, it } from "vitest";
import { randomBelow, SeededRandom } from "../../base/index.js";
import { checkRegister, type RegisterCall, type RegisterOperation } from "./linearizability.js";

const op = (call: RegisterCall, beganAt: number, endedAt?: number): RegisterOperation => ({
  client: 0,
  call,
  beganAt,
  endedAt,
});
const put = (value: string): RegisterCall => ({ kind: "put", value });
const get = (result: string | undefined): RegisterCall => ({ kind: "get", result });
const verdict = (...history: RegisterOperation[]): string => checkRegister(history).kind;

describe("the checker of registers", () => {
  it("accepts a sequential history and refuses a read of an older value", () => {
    expect(verdict(op(put("a"), 0, 1), op(get("a"), 2, 3))).toBe("linearizable");
    expect(verdict(op(put("a"), 0, 1), op(put("b"), 2, 3), op(get("a"), 4, 5))).toBe("violation");
    expect(verdict(op(put("a"), 0, 1), op(get(undefined), 2, 3))).toBe("violation");
  });

  it("lets overlapping operations take effect in either order, but not in both", () => {
    expect(verdict(op(put("a"), 0, 10), op(put("b"), 0, 10), op(get("a"), 11, 12))).toBe("linearizable");
    const both = [op(get("a"), 11, 12), op(get("b"), 13, 14)];
    expect(verdict(op(put("a"), 0, 10), op(put("b"), 0, 10), ...both)).toBe("violation");
  });

  it("lets an unknown operation take effect late or never, but not twice", () => {
    expect(verdict(op(put("a"), 0), op(get(undefined), 5, 6), op(get("a"), 7, 8))).toBe("linearizable");
    expect(verdict(op(put("a"), 0), op(get(undefined), 5, 6))).toBe("linearizable");
    const flicker = [op(get("a"), 5, 6), op({ kind: "delete" }, 7, 8), op(get("a"), 9, 10)];
    expect(verdict(op(put("a"), 0), ...flicker)).toBe("violation");
  });

  it("knows compare-and-swap", () => {
    const swap = (
      expected: string | undefined,
      swapped: boolean | undefined,
      previous?: string,
    ): RegisterCall => ({
      kind: "cas",
      expected,
      value: "new",
      swapped,
      previous,
    });
    expect(verdict(op(swap(undefined, true), 0, 1), op(get("new"), 2, 3))).toBe("linearizable");
    expect(verdict(op(put("a"), 0, 1), op(swap("b", true), 2, 3))).toBe("violation");
    expect(verdict(op(put("a"), 0, 1), op(swap("b", false, "c"), 2, 3))).toBe("violation");
    expect(verdict(op(put("a"), 0, 1), op(swap("a", undefined), 2), op(get("new"), 5, 6))).toBe(
      "linearizable",
    );
  });

  it("gives up beyond its bound instead of guessing", () => {
    const history = Array.from({ length: 12 }, (_, i) => op(put(`v${i}`), 0, 100));
    expect(checkRegister([...history, op(get("none"), 101, 102)], 500).kind).toBe("inconclusive");
  });

  it("accepts what a real register answers and refuses it once one answer is changed", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new SeededRandom(seed);
      const history: RegisterOperation[] = [];
      const free = [0, 0, 0, 0];
      let state: string | undefined;
      let now = 0;
      for (let i = 0; i < 120; i++) {
        now += 1 + randomBelow(random, 3);
        const client = free.findIndex((at) => at <= now);
        if (client < 0) continue;
        const takes = 1 + randomBelow(random, 8);
        free[client] = now + takes + 1;
        const kind = randomBelow(random, 3);
        // It takes effect at its beginning: the widest interval that holds its point.
        const call: RegisterCall = kind === 0 ? put(`v${i}`) : kind === 1 ? { kind: "delete" } : get(state);
        if (call.kind === "put") state = call.value;
        if (call.kind === "delete") state = undefined;
        history.push(op(call, now, now + takes));
      }
      expect(checkRegister(history).kind).toBe("linearizable");
      const reads = history.filter(({ call }) => call.kind === "get");
      const victim = reads[randomBelow(random, reads.length)] as RegisterOperation;
      const changed = history.map((each) =>
        each === victim ? { ...each, call: get("never written") } : each,
      );
      expect(checkRegister(changed).kind).toBe("violation");
    }
  });
});
