/** Majorities against the simplest possible counting, over random sets. */
import { expect, it } from "vitest";
import { SeededRandom } from "../../../base/random.js";
import { jointCommitted, jointVote } from "../../quorum/joint.js";
import { majorityCommitted, majorityVote } from "../../quorum/majority.js";

/** The largest index that more than half have reached, by trying each. */
function counted(values: readonly number[]): number {
  if (values.length === 0) return Number.POSITIVE_INFINITY;
  const reached = (index: number): boolean =>
    values.filter((value) => value >= index).length * 2 > values.length;
  return Math.max(0, ...values.filter(reached));
}

it("a commit index agrees with counting, for one majority and for two", () => {
  const random = new SeededRandom(11);
  const draw = (): number[] => Array.from({ length: random.u32() % 8 }, () => random.u32() % 6);
  for (let round = 0; round < 20_000; round++) {
    const left = draw();
    const right = draw();
    expect(majorityCommitted([...left], left.length)).toBe(counted(left));
    const joint = jointCommitted(
      majorityCommitted([...left], left.length),
      majorityCommitted([...right], right.length),
    );
    expect(joint).toBe(Math.min(counted(left), counted(right)));
  }
});

it("a vote is won by more than half, lost when that cannot be any more, and joint only by both", () => {
  for (let total = 1; total <= 9; total++) {
    for (let yes = 0; yes <= total; yes++) {
      for (let no = 0; yes + no <= total; no++) {
        const expected = yes * 2 > total ? "VoteWon" : (total - no) * 2 > total ? "VotePending" : "VoteLost";
        expect(majorityVote(total, yes, no)).toBe(expected);
        for (const other of ["VoteWon", "VotePending", "VoteLost"] as const) {
          const both = jointVote(expected, other);
          if (expected === "VoteLost" || other === "VoteLost") expect(both).toBe("VoteLost");
          else expect(both === "VoteWon").toBe(expected === "VoteWon" && other === "VoteWon");
        }
      }
    }
  }
  expect(majorityVote(0, 0, 0)).toBe("VoteWon");
});
