/** Scripts of kind confchange and quorum: every command and every error they can print. */
import { describe, expect, test } from "vitest";
import { confChangeHandler } from "./confchange-script.js";
import type { Handler } from "./conformance.js";
import { parseScript } from "./datadriven.js";
import { quorumHandler } from "./quorum-script.js";

function run(handler: Handler, ...commands: string[]): string {
  let output = "";
  for (const command of commands) {
    for (const directive of parseScript(`${command}\n----\n`).directives) output = handler(directive);
  }
  return output;
}
const change = (...commands: string[]): string => run(confChangeHandler(), ...commands);
const quorum = (command: string): string => run(quorumHandler(), command);

describe("confchange", () => {
  test("new members begin at the last index, which every command raises, refused ones too", () => {
    expect(change("simple\nv1", "simple\nv2 v3", "simple\nl2")).toBe(
      "voters=(1) learners=(2)\n1: StateProbe match=0 next=1\n2: StateProbe match=0 next=2 learner\n",
    );
  });

  test("an update changes nothing, and neither does a change without members", () => {
    expect(change("simple\nv1", "simple\nu1")).toBe("voters=(1)\n1: StateProbe match=0 next=1\n");
    expect(change("simple\nv1", "simple")).toBe("voters=(1)\n1: StateProbe match=0 next=1\n");
  });

  test("joint configurations are entered with and without leaving on their own, and left", () => {
    const entered = ["simple\nv1", "simple\nv2", "enter-joint autoleave=true\nr2 v3"];
    expect(change(...entered)).toContain("voters=(1 3)&&(1 2) autoleave\n");
    expect(change(...entered.slice(0, 2), "enter-joint\nr2 v3")).toContain("voters=(1 3)&&(1 2)\n");
    expect(change(...entered.slice(0, 2), "enter-joint autoleave=false\nl2")).toContain(
      "voters=(1)&&(1 2) learners_next=(2)\n",
    );
    expect(change(...entered, "leave-joint")).toBe(
      "voters=(1 3)\n1: StateProbe match=0 next=1\n3: StateProbe match=0 next=2\n",
    );
  });

  test.each([
    ["can't leave a non-joint config", ["simple\nv1", "leave-joint"]],
    ["config is already joint", ["simple\nv1", "enter-joint\nv2", "enter-joint\nv3"]],
    ["can't make a zero-voter config joint", ["enter-joint\nv1"]],
    ["can't apply simple config change in joint config", ["simple\nv1", "enter-joint\nv2", "simple\nv3"]],
    ["more than one voter changed without entering joint config", ["simple\nv1", "simple\nv2 v3"]],
    ["removed all voters", ["simple\nv1", "simple\nr1"]],
    ["removed all voters", ["simple\nv1", "enter-joint\nr1"]],
    ["this command takes no input", ["simple\nv1", "enter-joint\nv2", "leave-joint\nv2"]],
  ] as const)("the error: %s", (error, commands) => {
    expect(change(...commands)).toBe(`${error}\n`);
  });

  test("what is not understood is said", () => {
    expect(change("simple\nv")).toBe("unknown token v");
    expect(change("simple\nz1")).toBe("unknown input: z1");
    expect(change("fly\nv1")).toBe("unknown command");
  });
});

describe("quorum", () => {
  test("an empty configuration commits everything and wins every vote", () => {
    expect(quorum("committed")).toBe("<empty majority quorum>∞\n");
    expect(quorum("vote")).toBe("VoteWon\n");
  });

  test("voters are drawn with bars by their rank, equal ones alike, unknown ones with a question mark", () => {
    expect(quorum("committed cfg=(1,2,3,10) idx=(100,_,100,101)")).toBe(
      "        idx\nx>      100    (id=1)\n?         0    (id=2)\nx>      100    (id=3)\nxxx>    101    (id=a)\n100\n",
    );
  });

  test("joint configurations take the smaller of both halves; ids in both are given once", () => {
    expect(quorum("committed cfg=(1,2,3) cfgj=(3,4) idx=(5,6,7,8)")).toMatch(/\n6\n$/);
    expect(quorum("committed cfg=(1) cfgj=zero idx=(5)")).toMatch(/\n5\n$/);
    expect(quorum("committed cfg=(1) cfgj=(2) idx=(5,_)")).toMatch(/\n0\n$/);
  });

  test("a vote is won, lost or open; both halves have to agree", () => {
    expect(quorum("vote cfg=(1,2,3) votes=(y,y,_)")).toBe("VoteWon\n");
    expect(quorum("vote cfg=(1,2,3) votes=(n,n,_)")).toBe("VoteLost\n");
    expect(quorum("vote cfg=(1,2,3) votes=(y,n,_)")).toBe("VotePending\n");
    expect(quorum("vote cfg=(1,2) cfgj=(3) votes=(y,y,_)")).toBe("VotePending\n");
    expect(quorum("vote cfg=(1,2) cfgj=(3) votes=(y,y,n)")).toBe("VoteLost\n");
    expect(quorum("vote cfg=(1) cfgj=zero votes=(y)")).toBe("VoteWon\n");
  });

  test("groups decide what a majority in one group must not", () => {
    expect(quorum("group_committed cfg=(1,2,3) gid=(1,1,2) idx=(9,9,4)")).toBe("4\n");
    expect(quorum("group_committed cfg=(1,2,3) gid=(1,1,1) idx=(9,9,4)")).toBe("9\n");
    expect(quorum("group_committed cfg=(1,2,3) gid=(1,_,1) idx=(9,9,4)")).toBe("4\n");
  });

  test("a wrong number of values names the voters and the values", () => {
    expect(quorum("committed cfg=(1,2) idx=(5)")).toBe(
      "error: mismatched input (explicit or _) for voters map[1:{} 2:{}]: [5]",
    );
    expect(quorum("vote cfg=(1) cfgj=(2) votes=(y,_,n)")).toBe(
      "error: mismatched input (explicit or _) for voters map[1:{} 2:{}]: [2 0 1]",
    );
  });

  test("what is not understood makes the script wrong", () => {
    expect(() => quorum("committed cfg=(1) idx=(0)")).toThrow("cannot use 0 as idx");
    expect(() => quorum("committed cfg=(x) idx=(1)")).toThrow("cfg must be a number: x");
    expect(() => quorum("vote cfg=(1) votes=(maybe)")).toThrow("unknown vote: maybe");
    expect(() => quorum("vote cfg=(1) voices=(y)")).toThrow("unknown arg voices");
    expect(() => quorum("weigh cfg=(1) idx=(1)")).toThrow("unknown command: weigh");
  });
});
