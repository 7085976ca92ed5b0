/** Check-quorum, leases and pre-vote: leaders that step down, followers that refuse, nodes that must not be stuck. */
import { describe, expect, it } from "vitest";
import { makeConfChange } from "../../confchange-codec.js";
import { MemStorage } from "../../storage.js";
import type { NodeId } from "../../types.js";
import { drain, type Member, makeMember, Network, type Settings } from "../network.js";
import { elect, memberWith, ofType, propose, say, stateOf, termOf, tick } from "./helpers.js";

const CHECKS: Settings = { checkQuorum: true };

/** Three members over such logs, all with the same settings. */
function over(logs: number[][], terms: number[], settings: Settings[]): Network {
  const ids = logs.map((_, at) => at + 1);
  return new Network(
    ids.map((id, at) =>
      memberWith(id, ids, { log: logs[at] as number[], term: terms[at] as number }, settings[at] as Settings),
    ),
  );
}

/** Lets the lease of a follower end without a campaign of its own. */
function endLease(member: Member): void {
  member.raw.setRandomizedElectionTimeout(1000);
  for (let i = 0; i < 10; i++) member.raw.tick();
}

describe("a leader that checks its quorum", () => {
  it("stays while a majority answers", () => {
    const member = memberWith(1, [1, 2, 3], {}, CHECKS);
    elect(member, 2);
    for (let i = 0; i < 40; i++) {
      say(member, { type: "MsgHeartbeatResp", from: 2, term: termOf(member) as never });
      tick(member, 1);
    }
    expect(stateOf(member)).toBe("StateLeader");
  });

  it("steps down within two election timeouts when nobody does", () => {
    const member = memberWith(1, [1, 2, 3], {}, CHECKS);
    elect(member, 2);
    tick(member, 20);
    expect([stateOf(member), termOf(member)]).toEqual(["StateFollower", 1]);
  });

  it("does not step down because a member was just added", () => {
    const member = memberWith(1, [1], {}, CHECKS);
    elect(member);
    for (let i = 0; i < 9; i++) tick(member, 1);
    member.raw.proposeConfChange(makeConfChange([{ type: "ConfChangeAddNode", nodeId: 2 }]));
    drain(member);
    tick(member, 1);
    expect(stateOf(member)).toBe("StateLeader");
    tick(member, 10);
    expect(stateOf(member)).toBe("StateFollower");
  });

  it("can be told to do so at start only where lease reads need it", () => {
    expect(() => memberWith(1, [1], {}, { readOnlyOption: "leaseBased" })).toThrow(/needs checkQuorum/);
  });
});

describe("followers in the lease of a leader", () => {
  it("do not vote before their election timeout has passed, and then do", () => {
    const network = Network.of(3, CHECKS);
    network.campaign(1);
    network.raw(2).setRandomizedElectionTimeout(1000);
    network.campaign(3);
    expect(network.raw(3).basicStatus()).toMatchObject({ state: "StateCandidate", term: 2 });
    expect(network.leaders()).toEqual([1]);
    endLease(network.member(2));
    network.campaign(3);
    expect(network.state(3)).toBe("StateLeader 3 3");
    expect(stateOf(network.member(1))).toBe("StateFollower");
  });

  it("vote right after the start, when no leader is known, and for a later leader once the lease is over", () => {
    const network = Network.of(3, CHECKS);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    for (const id of [1, 2]) endLease(network.member(id));
    network.campaign(3);
    expect(network.leaders()).toEqual([3]);
    expect(network.state(1)).toBe("StateFollower 2 3");
  });

  it("do not vote, but free a candidate of a higher term by following it when the leader's next message is answered", () => {
    const network = Network.of(3, CHECKS);
    network.campaign(1);
    network.isolate(1);
    network.campaign(3);
    expect(network.raw(3).basicStatus()).toMatchObject({ state: "StateCandidate", term: 2 });
    expect(network.state(2)).toBe("StateFollower 1 1");
    network.campaign(3);
    expect(termOf(network.member(3))).toBe(3);
    network.recover();
    const term = 1 as never;
    network.send({ type: "MsgHeartbeat", from: 1, to: 3, term });
    expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateFollower", term: 3 });
    // Everybody is in one term now: the next campaign is decided by logs.
    network.campaign(3);
    expect(network.leaders()).toEqual([3]);
  });

  it("learn of a leader also when they are not in the configuration, and do not campaign", () => {
    const storage = MemStorage.withConfState({ voters: [1] });
    const members = [memberWith(1, [1, 2], {}, CHECKS), makeMember(2, [1], { ...CHECKS, storage })];
    const network = new Network(members);
    network.raw(2).setRandomizedElectionTimeout(11);
    network.tick(2, 30);
    expect(network.state(2)).toBe("StateFollower 0 0");
    network.campaign(1);
    say(network.member(1), { type: "MsgVoteResp", from: 2, term: 1 as never });
    network.send({ type: "MsgHeartbeat", from: 1, to: 2, term: 1 as never });
    expect(network.state(2)).toBe("StateFollower 1 1");
  });

  it("accept a campaign that the leader itself ordered", () => {
    const network = Network.of(3, CHECKS);
    network.campaign(1);
    network.tick(1, 1);
    network.raw(1).transferLeader(3);
    network.settle(1);
    expect(network.state(3)).toBe("StateLeader 2 3");
  });
});

describe("a follower that hears the leader late", () => {
  it("disrupts by its higher term without pre-vote", () => {
    const network = Network.of(3, CHECKS);
    network.campaign(1);
    network.raw(3).setRandomizedElectionTimeout(11);
    for (let i = 0; i < 11; i++) network.raw(3).tick();
    drain(network.member(3));
    expect(network.raw(3).basicStatus()).toMatchObject({ state: "StateCandidate", term: 2 });
    network.send({ type: "MsgHeartbeat", from: 1, to: 3, term: 1 as never });
    expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateFollower", term: 2 });
  });

  it("does not with pre-vote", () => {
    const network = Network.of(3, { checkQuorum: true, preVote: true });
    network.campaign(1);
    network.isolate(3);
    for (let i = 0; i < 3; i++) network.propose(1);
    network.raw(3).setRandomizedElectionTimeout(11);
    for (let i = 0; i < 11; i++) network.raw(3).tick();
    network.recover();
    network.settle(3);
    expect(network.raw(3).basicStatus()).toMatchObject({ state: "StatePreCandidate", term: 1 });
    network.send({ type: "MsgHeartbeat", from: 1, to: 3, term: 1 as never });
    expect(network.state(1)).toBe("StateLeader 1 1");
    expect(network.state(3)).toBe("StateFollower 1 1");
  });

  it("as pre-candidate forgets its leader, so that it votes for others", () => {
    const network = Network.of(3, { checkQuorum: true, preVote: true });
    network.campaign(1);
    network.isolate(1);
    for (const id of [2, 3]) endLease(network.member(id));
    network.ignore("MsgPreVote");
    network.campaign(2);
    expect(network.raw(2).basicStatus()).toMatchObject({ state: "StatePreCandidate", lead: 0 });
    network.recover();
    network.isolate(1);
    network.campaign(3);
    expect(network.leaders().filter((id) => id !== 1)).toEqual([3]);
  });
});

describe("pre-vote", () => {
  it("lets a node of a smaller term and a good log be elected when the leader goes", () => {
    const network = Network.of(3, { preVote: true });
    network.cut(1, 3);
    network.cut(2, 3);
    network.campaign(1);
    network.campaign(2);
    network.campaign(1);
    network.recover();
    network.tick(1, 1);
    // 3 is at an older term while the leader disappears.
    network.isolate(1);
    expect([2, 3].map((id) => termOf(network.member(id)))).toEqual([3, 3]);
    network.campaign(3);
    network.campaign(2);
    expect([network.state(2), network.state(3)]).toEqual(["StateLeader 5 2", "StateFollower 5 2"]);
  });

  it("refused for its lower term is told the higher one, and then asks at that", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 5 }, { preVote: true });
    const [answer] = say(member, {
      type: "MsgPreVote",
      from: 2,
      term: 3 as never,
      index: 9 as never,
      logTerm: 2 as never,
    });
    expect(answer).toMatchObject({ type: "MsgPreVoteResp", reject: true, term: 5 });
    const asks = memberWith(2, [1, 2, 3], { log: [1], term: 2 }, { preVote: true });
    asks.raw.campaign();
    drain(asks);
    say(asks, { type: "MsgPreVoteResp", from: 1, term: 5 as never, reject: true });
    expect(asks.raw.basicStatus()).toMatchObject({ state: "StateFollower", term: 5 });
  });

  it("that is granted never changes the term of who grants or of who asked", () => {
    const member = memberWith(1, [1, 2, 3, 4, 5], { log: [1], term: 1 }, { preVote: true });
    member.raw.campaign();
    drain(member);
    say(member, { type: "MsgPreVoteResp", from: 2, term: 2 as never });
    expect([stateOf(member), termOf(member)]).toEqual(["StatePreCandidate", 1]);
  });

  it("does not reset the election timeout of who grants", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1 });
    member.raw.setRandomizedElectionTimeout(10);
    tick(member, 9);
    const request = { type: "MsgPreVote", from: 2, term: 2, index: 1, logTerm: 1 } as never;
    expect(say(member, request)).toMatchObject([{ type: "MsgPreVoteResp", to: 2, reject: false, term: 2 }]);
    expect(ofType(tick(member, 1), "MsgVote").length).toBe(2);
  });

  it("after a split vote decides in the next round", () => {
    const network = Network.of(3, { preVote: true });
    network.campaign(1);
    network.isolate(1);
    // Both pre-candidates win their pre-vote and vote for themselves.
    for (const id of [2, 3] as NodeId[]) network.raw(id).campaign();
    network.settle(2, 3);
    expect([termOf(network.member(2)), termOf(network.member(3))]).toEqual([2, 2]);
    network.campaign(2);
    expect([network.state(2), network.state(3)]).toEqual(["StateLeader 3 2", "StateFollower 3 2"]);
  });

  describe("switched on member by member", () => {
    /** 1 leads term 3 and 2 follows; 3 has term 2 and a shorter log, and campaigned without pre-vote. */
    function migrating(): Network {
      const settings = [
        { checkQuorum: true, preVote: true },
        { checkQuorum: true, preVote: true },
        { checkQuorum: true },
      ];
      const network = over([[1], [1], [1]], [1, 1, 1], settings);
      network.campaign(1);
      network.isolate(3);
      network.propose(1);
      endLease(network.member(3));
      network.campaign(3);
      network.campaign(3);
      expect(network.raw(3).basicStatus()).toMatchObject({ state: "StateCandidate", term: 4 });
      // It is started again, with pre-vote now.
      const before = network.member(3);
      const storage = before.storage;
      network.members.set(3, makeMember(3, [1, 2, 3], { checkQuorum: true, preVote: true, storage }));
      return network;
    }

    it("leaves no group without a leader when the old one fails", () => {
      const network = migrating();
      network.recover();
      network.isolate(1);
      endLease(network.member(2));
      for (let round = 0; round < 3; round++) for (const id of [3, 2]) network.campaign(id);
      expect(network.leaders().filter((id) => id !== 1)).toEqual([2]);
    });

    it("frees a pre-candidate of a higher term by its answer to the leader, who steps down", () => {
      const network = migrating();
      network.recover();
      network.raw(3).setRandomizedElectionTimeout(11);
      network.tick(3, 22);
      network.send({ type: "MsgHeartbeat", from: 1, to: 3, term: termOf(network.member(1)) as never });
      const term = termOf(network.member(3));
      expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateFollower", term });
      endLease(network.member(2));
      // The first attempt, at its old term, tells it of the new one.
      network.campaign(2);
      network.campaign(2);
      expect(network.leaders()).toEqual([2]);
      expect(new Set([1, 2, 3].map((id) => termOf(network.member(id)))).size).toBe(1);
    });
  });
});

describe("forgetting the leader", () => {
  it("makes a follower grant pre-votes at once and is refused with lease reads", () => {
    const network = Network.of(3, { checkQuorum: true, preVote: true });
    network.campaign(1);
    network.isolate(1);
    network.campaign(2);
    expect(stateOf(network.member(2))).toBe("StatePreCandidate");
    network.raw(3).forgetLeader();
    network.campaign(2);
    expect(network.leaders()).toContain(2);
    const leased = Network.of(3, { checkQuorum: true, readOnlyOption: "leaseBased" });
    leased.campaign(1);
    leased.raw(2).forgetLeader();
    expect(leased.state(2)).toBe("StateFollower 1 1");
  });
});

describe("settings at run time", () => {
  it("of the priority decide between logs that are equal", () => {
    const network = Network.of(3, { priority: 5 });
    network.raw(1).setPriority(1);
    network.campaign(1);
    expect(network.leaders()).toEqual([]);
    network.raw(1).setPriority(10);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    expect(propose(network.member(1))).toBe("proposed");
  });
});
