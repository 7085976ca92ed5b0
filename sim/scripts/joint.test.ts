/** Several changes at once: joint configurations, who must agree in them, and restarts in the middle. */
import { describe, expect, it } from "vitest";
import { messages, script, type Script } from "../test/script.js";

/** PD would end a joint configuration that it did not begin. */
const HALTED = { schedule: { "halt-scheduling": true } };

/** Stores 1, 2, 3 on their way to 1, 4, 5: four and five come, two and three are demoted. */
async function halfway(): Promise<Script> {
  const s = await script({ stores: 5, replicas: 3, pdConfig: HALTED });
  await s.put("k", "1");
  await s.addLearner(4);
  await s.addLearner(5);
  await s.mustChange([
    ["addVoter", 4],
    ["addVoter", 5],
    ["addLearner", 2],
    ["addLearner", 3],
  ]);
  return s;
}
const JOINT = {
  1: "voter",
  2: "demotingVoter",
  3: "demotingVoter",
  4: "incomingVoter",
  5: "incomingVoter",
} as const;

describe("a joint configuration", () => {
  it("is entered by one command with many changes and left by one without any [test_joint_consensus_conf_change]", async () => {
    const s = await halfway();
    const { confVer } = s.region().epoch;
    expect(s.roles()).toEqual(JOINT);
    await s.leaveJoint();
    expect(s.roles()).toEqual({ 1: "voter", 2: "learner", 3: "learner", 4: "voter", 5: "voter" });
    expect(s.region().epoch.confVer).toBe(confVer + 4);
    await s.removePeer(2);
    await s.removePeer(3);
    await s.mustSettle(3);
  });

  it("is not entered by a simple change, and admits nothing but its end [test_enter_joint_state]", async () => {
    const s = await script({ stores: 5, replicas: 3, pdConfig: HALTED });
    await s.mustChange([["addVoter", 4]]);
    expect(s.roles()[4]).toBe("voter");
    await s.caughtUp(4);
    await s.mustChange([
      ["addVoter", 5],
      ["addLearner", 2],
    ]);
    await s.caughtUp(5);
    for (const change of [
      [["addLearner", 3]],
      [["remove", 3]],
      [
        ["addVoter", 2],
        ["addLearner", 3],
      ],
    ] as const) {
      expect((await s.tryChange(change))?.message).toContain("joint");
    }
    await s.leaveJoint();
    expect((await s.tryAdmin({ kind: "changePeer", changes: [] }))?.message).toContain("not in a joint");
    expect(s.roles()).toEqual({ 1: "voter", 2: "learner", 3: "voter", 4: "voter", 5: "voter" });
  });

  it("serves requests, which need a majority of both sides [test_request_in_joint_state]", async () => {
    const s = await halfway();
    await s.put("k", "2");
    expect(await s.get("k")).toBe("2");
    for (const [cut, key] of [
      [[4, 5], "new side"],
      [[2, 3], "old side"],
    ] as const) {
      const gone = s.partition(
        cut,
        [1, 2, 3, 4, 5].filter((store) => !(cut as readonly number[]).includes(store)),
      );
      const write = s.sendPut(1, key, "v");
      await s.pass(300);
      expect([key, write.isDone]).toEqual([key, false]);
      s.unfilter(gone);
      expect((await s.answerTo(write)).regionError ?? null).toBeNull();
    }
    const one = s.partition([2, 4], [1, 3, 5]);
    await s.put("k", "one of each side may be missing");
    s.unfilter(one);
    await s.leaveJoint();
    expect(await s.get("new side")).toBe("v");
  });

  it("goes on with one of each side crashed, and under another leader [test_joint_replace_peers]", async () => {
    const s = await halfway();
    s.crash(3);
    s.crash(5);
    await s.put("k", "2");
    await s.transferLeader(4);
    await s.put("k", "3");
    expect(await s.get("k")).toBe("3");
    await s.restart(3);
    await s.restart(5);
    await s.leaveJoint();
    await s.removePeer(2);
    await s.removePeer(3);
    await s.mustHave(5, "k", "3");
    await s.mustSettle(3);
  });

  it("is refused when its changes contradict each other or the region [test_invalid_confchange_request]", async () => {
    const s = await script({ stores: 5, replicas: 3, pdConfig: HALTED });
    const { confVer } = s.region().epoch;
    const wrong = [
      {
        changes: [
          ["remove", 2],
          ["addVoter", 4],
        ],
        why: "demoted before it is removed",
      },
      {
        changes: [
          ["addVoter", 2],
          ["addVoter", 4],
        ],
        why: "asked role already",
      },
      {
        changes: [
          ["remove", 5],
          ["addVoter", 4],
        ],
        why: "not in the region",
      },
      {
        changes: [
          ["addLearner", 4],
          ["addLearner", 5],
        ],
        why: "must promote, add or demote a voter",
      },
      {
        changes: [
          ["addLearner", 2],
          ["addVoter", 2],
        ],
        why: "two changes",
      },
    ] as const;
    for (const { changes, why } of wrong) expect((await s.tryChange(changes))?.message).toContain(why);
    expect((await s.tryAdmin({ kind: "changePeer", changes: [] }))?.message).toContain("not in a joint");
    expect(s.region().epoch.confVer).toBe(confVer);
    expect(s.roles()).toEqual({ 1: "voter", 2: "voter", 3: "voter" });
  });

  it("is found by a leader that restarts in it, and can be left [test_restart_in_joint_state]", async () => {
    const s = await halfway();
    s.crash(1, { power: true, keeps: "none" });
    await s.restart(1);
    await s.mustLeader();
    await s.transferLeader(1);
    expect(s.roles()).toEqual(JOINT);
    const gone = s.partition([4, 5], [1, 2, 3]);
    const write = s.sendPut(1, "k", "2");
    await s.pass(300);
    expect(write.isDone).toBe(false);
    s.unfilter(gone);
    await s.answerTo(write);
    await s.leaveJoint();
    expect(s.roles()[4]).toBe("voter");
  });

  it.each([
    { side: "old", winner: 2, others: [3, 4, 5] },
    { side: "new", winner: 4, others: [2, 3, 5] },
  ])(
    "without its leader elects a peer of the $side side as well [test_leader_down_in_joint_state]",
    async ({ winner, others }) => {
      const s = await halfway();
      await s.pass(300);
      s.crash(1);
      s.filter(
        messages()
          .from(...others)
          .type("preVote")
          .drop(),
      );
      await s.until(`store ${winner} leads`, () => s.leader() === winner);
      await s.mustLead(winner);
      await s.put("k", "2");
      s.heal();
      await s.restart(1);
      // The others come back to a store that they could not reach up to a second later; a transfer waits no longer.
      await s.until("store 1 knows its leader", () => s.peer(1)?.leader !== undefined);
      await s.transferLeader(1);
      await s.leaveJoint();
      await s.removePeer(2);
      await s.removePeer(3);
      await s.mustSettle(3);
      expect(s.valueOn(5, "k")).toBe("2");
    },
  );
});
