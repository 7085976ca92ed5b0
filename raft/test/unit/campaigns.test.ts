/** The paper's elections (5.2, 5.4.1): how they start, what is asked, and the three ways they end. */
import { describe, expect, it } from "vitest";
import { makeEntry } from "../../message.js";
import type { NodeId } from "../../types.js";
import { drain } from "../network.js";
import { memberWith, ofType, say, stateOf, termOf, tick } from "./helpers.js";

describe("a campaign", () => {
  it.each(["StateFollower", "StateCandidate"] as const)(
    "of a %s starts elections with a new term, its own vote and requests to all others",
    (role) => {
      const member = memberWith(1, [1, 2, 3], { term: 1 });
      if (role === "StateCandidate") {
        tick(member, 20);
        expect(stateOf(member)).toBe("StateCandidate");
      }
      const before = termOf(member);
      let requests = ofType(tick(member, 1), "MsgVote");
      for (let i = 0; i < 20 && requests.length === 0; i++) requests = ofType(tick(member, 1), "MsgVote");
      expect([stateOf(member), termOf(member), member.raw.basicStatus().vote]).toEqual([
        "StateCandidate",
        before + 1,
        1,
      ]);
      expect(requests.map(({ to, term }) => [to, term])).toEqual([
        [2, before + 1],
        [3, before + 1],
      ]);
    },
  );

  it.each([
    // voters, granted by, refused by, what becomes of the candidate
    [1, [], [], "StateLeader"],
    [3, [2, 3], [], "StateLeader"],
    [3, [2], [], "StateLeader"],
    [5, [2, 3, 4, 5], [], "StateLeader"],
    [5, [2, 3, 4], [], "StateLeader"],
    [5, [2, 3], [], "StateLeader"],
    [3, [], [2, 3], "StateFollower"],
    [5, [], [2, 3, 4, 5], "StateFollower"],
    [5, [2], [3, 4, 5], "StateFollower"],
    [3, [], [], "StateCandidate"],
    [5, [2], [], "StateCandidate"],
    [5, [], [2, 3], "StateCandidate"],
    [5, [], [], "StateCandidate"],
  ] as [number, NodeId[], NodeId[], string][])(
    "among %d wins, loses or waits in one round of votes: granted by %j, refused by %j",
    (count, granted, refused, expected) => {
      const ids = Array.from({ length: count }, (_, at) => at + 1);
      const member = memberWith(1, ids);
      member.raw.campaign();
      drain(member);
      for (const from of granted) say(member, { type: "MsgVoteResp", from, term: 1 as never });
      for (const from of refused) say(member, { type: "MsgVoteResp", from, term: 1 as never, reject: true });
      expect([stateOf(member), termOf(member)]).toEqual([expected, 1]);
    },
  );

  it.each([
    [[makeEntry(1, 1)], 2],
    [[makeEntry(1, 1), makeEntry(2, 2)], 3],
  ])("asks all others with its last index and term, with the log %#", (entries, term) => {
    const member = memberWith(1, [1, 2, 3]);
    const append = { type: "MsgApp", from: 2, term: term - 1, index: 0, logTerm: 0, entries } as never;
    say(member, append);
    let requests = ofType(tick(member, 1), "MsgVote");
    for (let i = 0; i < 30 && requests.length === 0; i++) requests = ofType(tick(member, 1), "MsgVote");
    const last = entries.at(-1);
    expect(requests.map((each) => [each.to, each.term, each.index, each.logTerm])).toEqual([
      [2, term, last?.index, last?.term],
      [3, term, last?.index, last?.term],
    ]);
  });
});
