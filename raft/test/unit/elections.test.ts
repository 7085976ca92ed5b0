/** Elections: who may campaign, who votes for whom, and in which state and term everybody is afterwards. */
import { describe, expect, it } from "vitest";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry } from "../../message.js";
import type { MessageType, NodeId, StateType } from "../../types.js";
import { drain, makeMember, Network } from "../network.js";
import { elect, memberWith, ofType, propose, say, stateOf, termOf, terms, tick } from "./helpers.js";
import { MemStorage } from "../../storage.js";

/** A network of which the members named do not answer. */
function withDead(count: number, dead: readonly NodeId[], preVote: boolean): Network {
  const network = Network.of(count, { preVote });
  for (const id of dead) network.isolate(id);
  return network;
}

describe.each([false, true])("with preVote %s", (preVote) => {
  it("a candidate wins with a majority alive and stays candidate without one", () => {
    const lost: StateType = preVote ? "StatePreCandidate" : "StateCandidate";
    const table: [number, NodeId[], StateType, number][] = [
      [3, [], "StateLeader", 1],
      [3, [2], "StateLeader", 1],
      [3, [2, 3], lost, preVote ? 0 : 1],
      [4, [2, 3], lost, preVote ? 0 : 1],
      [5, [2, 3], "StateLeader", 1],
    ];
    for (const [count, dead, state, term] of table) {
      const network = withDead(count, dead, preVote);
      network.campaign(1);
      expect(network.raw(1).basicStatus()).toMatchObject({ state, term });
    }
  });

  it("a candidate whose log is longest wins, and one that is refused by a majority becomes follower", () => {
    const logs = [[1], [1, 1], [1, 1], [1, 1], [1]];
    const ids = [1, 2, 3, 4, 5];
    const members = ids.map((id, at) => memberWith(id, ids, { log: logs[at] as number[] }, { preVote }));
    const network = new Network(members);
    network.isolate(5);
    network.campaign(1);
    expect(stateOf(network.member(1))).toBe("StateFollower");
    network.campaign(3);
    expect(stateOf(network.member(3))).toBe("StateLeader");
  });

  it("each node in turn becomes leader from a clean state", () => {
    const network = Network.of(3, { preVote });
    for (const id of [1, 2, 3, 1]) {
      network.campaign(id);
      expect(network.leaders()).toEqual([id]);
      for (const member of network.members.values()) expect(member.raw.basicStatus().lead).toBe(id);
    }
  });

  it("a new leader overwrites entries of a higher term that were never committed", () => {
    const ids = [1, 2, 3, 4, 5];
    const before = [
      { log: [1], term: 1 },
      { log: [1], term: 1 },
      { log: [2], term: 2 },
      { log: [], term: 2, vote: 3 },
      { log: [], term: 2, vote: 3 },
    ];
    const members = ids.map((id, at) => memberWith(id, ids, before[at] ?? {}, { preVote }));
    const network = new Network(members);
    network.campaign(1);
    // The first attempt learns of term 2, the second wins with the votes of 2, 4 and 5.
    expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateFollower", term: 2 });
    network.campaign(1);
    expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateLeader", term: 3 });
    for (const member of members) expect(terms(member)).toEqual([1, 3]);
  });

  it("two candidates of one time: who has the longer log wins after they meet, the other follows", () => {
    const network = Network.of(3, { preVote });
    network.cut(1, 3);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    network.campaign(3);
    expect(stateOf(network.member(3))).toBe(preVote ? "StateFollower" : "StateCandidate");
    network.recover();
    network.campaign(3);
    // Its log lacks the leader's entry: without pre-vote it raises the term all the same.
    expect(network.raw(3).basicStatus().state).toBe("StateFollower");
    expect(network.raw(1).basicStatus()).toMatchObject(
      preVote ? { state: "StateLeader", term: 1 } : { state: "StateFollower", term: 2 },
    );
    expect(terms(network.member(2))).toEqual([1]);
    expect(terms(network.member(3))).toEqual([]);
  });

  it("a single voter leads as soon as it campaigns", () => {
    const network = Network.of(1, { preVote });
    network.campaign(1);
    expect(network.state(1)).toBe("StateLeader 1 1");
  });

  it("a node in any state grants a vote of a higher term, and a pre-vote without any change", () => {
    const type: MessageType = preVote ? "MsgPreVote" : "MsgVote";
    for (const from of [
      "StateFollower",
      "StatePreCandidate",
      "StateCandidate",
      "StateLeader",
    ] as StateType[]) {
      const member = memberWith(1, [1, 2, 3], { term: 1 }, { preVote: from === "StatePreCandidate" });
      if (from !== "StateFollower") member.raw.campaign();
      drain(member);
      if (from === "StateLeader") say(member, { type: "MsgVoteResp", from: 2, term: termOf(member) });
      expect(stateOf(member)).toBe(from);
      const before = member.raw.status();
      const term = (before.term + 1) as never;
      const index = before.lastIndex as never;
      const logTerm = (before.lastIndex === 0 ? 0 : before.term) as never;
      const [answer] = ofType(
        say(member, { type, from: 2, term, index, logTerm }),
        "MsgVoteResp",
        "MsgPreVoteResp",
      );
      expect(answer).toMatchObject({ reject: false, term });
      const after = member.raw.status();
      if (preVote) expect(after.hardState).toEqual(before.hardState);
      else expect([after.state, after.term, after.vote]).toEqual(["StateFollower", term, 2]);
      if (preVote) expect(after.state).toBe(from);
    }
  });
});

describe("learners", () => {
  const settings = { storage: undefined };
  const learnerOf = (): ReturnType<typeof makeMember> =>
    makeMember(2, [1], { ...settings, storage: MemStorage.withConfState({ voters: [1], learners: [2] }) });

  it("do not campaign when their election timeout passes", () => {
    const learner = learnerOf();
    expect(tick(learner, 40)).toEqual([]);
    expect(stateOf(learner)).toBe("StateFollower");
  });

  it("do not campaign before they are promoted, and may lead afterwards", () => {
    const storage = (): MemStorage => MemStorage.withConfState({ voters: [1], learners: [2] });
    const network = new Network([
      makeMember(1, [1], { storage: storage() }),
      makeMember(2, [1], { storage: storage() }),
    ]);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    network.tick(1, 1);
    network.raw(1).proposeConfChange(makeConfChange([{ type: "ConfChangeAddNode", nodeId: 2 }]));
    network.settle();
    expect(network.member(2).confState.voters).toEqual([1, 2]);
    network.campaign(2);
    expect(network.leaders()).toEqual([2]);
    expect(network.state(1)).toBe("StateFollower 2 2");
  });

  it("answer vote requests: they may be voters already and not know it", () => {
    const [answer] = say(learnerOf(), {
      type: "MsgVote",
      from: 1,
      term: 2 as never,
      index: 11 as never,
      logTerm: 11 as never,
    });
    expect(answer).toMatchObject({ type: "MsgVoteResp", reject: false, term: 2 });
  });
});

describe("votes", () => {
  const table: [StateType, number, number, NodeId, boolean][] = [
    // role, candidate's last index, its last term, vote already given, refused
    ["StateFollower", 0, 0, 0, true],
    ["StateFollower", 0, 1, 0, true],
    ["StateFollower", 0, 2, 0, true],
    ["StateFollower", 0, 3, 0, false],
    ["StateFollower", 1, 0, 0, true],
    ["StateFollower", 1, 2, 0, true],
    ["StateFollower", 1, 3, 0, false],
    ["StateFollower", 2, 0, 0, true],
    ["StateFollower", 2, 2, 0, false],
    ["StateFollower", 2, 3, 0, false],
    ["StateFollower", 3, 1, 0, true],
    ["StateFollower", 3, 2, 0, false],
    ["StateFollower", 3, 3, 0, false],
    ["StateFollower", 3, 2, 2, false],
    ["StateFollower", 3, 2, 1, true],
    ["StateLeader", 3, 3, 1, true],
    ["StateCandidate", 3, 3, 1, true],
    ["StatePreCandidate", 3, 3, 1, true],
  ];

  it("go to candidates with a log at least as good, one in a term", () => {
    for (const [role, index, logTerm, vote, reject] of table) {
      // A pre-candidate has not voted, but keeps the vote it gave in its term.
      const preVote = role === "StatePreCandidate";
      const before = role === "StateFollower" || preVote ? { term: 3, vote } : { term: 2, vote: 0 };
      const member = memberWith(1, [1, 2, 3], { log: [2, 2], ...before }, { preVote });
      if (role !== "StateFollower") member.raw.campaign();
      drain(member);
      if (role === "StateLeader") say(member, { type: "MsgVoteResp", from: 3, term: 3 as never });
      expect([stateOf(member), termOf(member)]).toEqual([role, 3]);
      const init = { type: "MsgVote", from: 2, term: 3, index, logTerm } as never;
      const [answer] = ofType(say(member, init), "MsgVoteResp");
      expect(answer, `${role} ${index} ${logTerm} ${vote}`).toMatchObject({ reject });
    }
  });

  it("of pre-votes are given by the log alone to a term that is higher", () => {
    for (const [role, index, logTerm, vote] of table) {
      if (role !== "StateFollower") continue;
      const member = memberWith(1, [1, 2, 3], { log: [2, 2], term: 3, vote });
      const higher = { type: "MsgPreVote", from: 2, term: 4, index, logTerm } as never;
      const [answer] = say(member, higher);
      const isGood = logTerm > 2 || (logTerm === 2 && index >= 2);
      expect(answer).toMatchObject({ type: "MsgPreVoteResp", reject: !isGood, term: isGood ? 4 : 3 });
      expect([termOf(member), member.raw.status().vote]).toEqual([3, vote]);
    }
  });

  it("are counted once a voter, and a majority of refusals ends the campaign", () => {
    const member = memberWith(1, [1, 2, 3, 4, 5]);
    member.raw.campaign();
    drain(member);
    for (let i = 0; i < 3; i++) say(member, { type: "MsgVoteResp", from: 2, term: 1 as never });
    expect(stateOf(member)).toBe("StateCandidate");
    for (const from of [3, 4, 5]) say(member, { type: "MsgVoteResp", from, term: 1 as never, reject: true });
    expect(stateOf(member)).toBe("StateFollower");
  });
});

describe("candidates", () => {
  it.each(["MsgApp", "MsgHeartbeat"] as const)("concede to a leader of their term that sends %s", (type) => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1 });
    member.raw.campaign();
    drain(member);
    expect([stateOf(member), termOf(member)]).toEqual(["StateCandidate", 2]);
    const entries = type === "MsgApp" ? [makeEntry(2, 1)] : [];
    say(member, { type, from: 3, term: 2 as never, entries });
    expect(member.raw.basicStatus()).toMatchObject({ state: "StateFollower", term: 2, lead: 3 });
    if (type === "MsgApp") expect(terms(member)).toEqual([2]);
  });

  it("that were cut off concede and take over the leader's log", () => {
    const network = Network.of(3);
    network.isolate(1);
    network.campaign(1);
    network.campaign(3);
    network.recover();
    network.tick(3, 1);
    expect(network.propose(3, "force follower")).toBe("proposed");
    expect(network.state(1)).toBe("StateFollower 1 3");
    for (const member of network.members.values()) expect(terms(member)).toEqual([1, 1]);
  });

  it.each(["MsgHeartbeat", "MsgApp"] as const)(
    "of a higher term that were cut off make the leader step down by their answer to %s",
    (type) => {
      const network = Network.of(3, { checkQuorum: true });
      network.campaign(1);
      network.isolate(3);
      // Its lease ends, then it campaigns in vain.
      network.raw(3).setRandomizedElectionTimeout(10);
      network.tick(3, 20);
      expect(network.raw(3).basicStatus()).toMatchObject({ state: "StateCandidate" });
      const term = network.raw(3).term;
      expect(term).toBeGreaterThan(1);
      network.recover();
      if (type === "MsgHeartbeat") network.tick(1, 1);
      else network.propose(1);
      expect(network.raw(1).basicStatus()).toMatchObject({ state: "StateFollower", term });
    },
  );
});

describe("roles", () => {
  it("change as Raft allows: only candidates become leaders, and every higher term makes a follower", () => {
    const leader = memberWith(1, [1, 2, 3]);
    elect(leader, 2);
    expect([stateOf(leader), termOf(leader)]).toEqual(["StateLeader", 1]);
    leader.raw.campaign();
    expect(drain(leader)).toEqual([]);
    expect([stateOf(leader), termOf(leader)]).toEqual(["StateLeader", 1]);
    const follower = memberWith(1, [1, 2, 3], { term: 3 });
    say(follower, { type: "MsgVoteResp", from: 2, term: 3 as never });
    say(follower, { type: "MsgVoteResp", from: 3, term: 3 as never });
    expect([stateOf(follower), termOf(follower)]).toEqual(["StateFollower", 3]);
    follower.raw.campaign();
    drain(follower);
    expect([stateOf(follower), termOf(follower)]).toEqual(["StateCandidate", 4]);
    follower.raw.campaign();
    drain(follower);
    expect([stateOf(follower), termOf(follower)]).toEqual(["StateCandidate", 5]);
  });

  it.each(["StateFollower", "StatePreCandidate", "StateCandidate", "StateLeader"] as const)(
    "%s steps down for a vote or an append of a higher term",
    (role) => {
      for (const type of ["MsgVote", "MsgApp"] as const) {
        const member = memberWith(1, [1, 2, 3], {}, { preVote: role === "StatePreCandidate" });
        if (role !== "StateFollower") member.raw.campaign();
        drain(member);
        if (role === "StateLeader") say(member, { type: "MsgVoteResp", from: 2, term: 1 as never });
        expect(stateOf(member)).toBe(role);
        const lastIndex = member.raw.lastIndex;
        const init = { type, from: 2, term: 3, logTerm: type === "MsgVote" ? 3 : 0 } as never;
        say(member, init);
        expect(member.raw.basicStatus()).toMatchObject({
          state: "StateFollower",
          term: 3,
          lead: type === "MsgVote" ? 0 : 2,
          lastIndex,
        });
      }
    },
  );

  it("messages of an older term change nothing", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 2 });
    expect(say(member, { type: "MsgApp", from: 2, term: 1 as never, entries: [makeEntry(1, 2)] })).toEqual(
      [],
    );
    expect(terms(member)).toEqual([1]);
    expect(member.raw.basicStatus()).toMatchObject({ lead: 0, term: 2 });
  });

  it("an append of a deposed leader is ignored, and later proposals still commit", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.campaign(2);
    network.campaign(1);
    network.send({ type: "MsgApp", from: 2, to: 1, term: 2 as never, entries: [makeEntry(2, 3)] });
    network.propose(1, "somedata");
    for (const member of network.members.values()) expect(terms(member)).toEqual([1, 2, 3, 3]);
  });
});

describe("the election timeout", () => {
  it("is drawn anew, between the configured one and twice that", () => {
    const counts = new Map<number, number>();
    const follower = memberWith(1, [1, 2, 3]);
    for (let round = 0; round < 2000; round++) {
      say(follower, { type: "MsgHeartbeat", from: 2, term: (round + 1) as never });
      let ticks = 0;
      while (ofType(tick(follower, 1), "MsgVote").length === 0) ticks++;
      counts.set(ticks + 1, (counts.get(ticks + 1) ?? 0) + 1);
    }
    const seen = [...counts.keys()].sort((left, right) => left - right);
    expect([seen[0], seen.at(-1), seen.length]).toEqual([10, 19, 10]);
    for (const count of counts.values()) expect(count).toBeGreaterThan(100);
  });

  it("of a candidate is drawn anew for each campaign", () => {
    const counts = new Map<number, number>();
    const candidate = memberWith(1, [1, 2, 3]);
    const untilVotes = (): number => {
      let ticks = 1;
      while (ofType(tick(candidate, 1), "MsgVote").length === 0) ticks++;
      return ticks;
    };
    untilVotes();
    for (let round = 0; round < 2000; round++) {
      expect(stateOf(candidate)).toBe("StateCandidate");
      const ticks = untilVotes();
      counts.set(ticks, (counts.get(ticks) ?? 0) + 1);
    }
    expect([...counts.keys()].sort((left, right) => left - right)).toEqual(
      Array.from({ length: 10 }, (_, at) => 10 + at),
    );
    for (const count of counts.values()) expect(count).toBeGreaterThan(100);
  });

  it("of nodes with random sources of their own rarely meet", () => {
    const ids = [1, 2, 3, 4, 5];
    let conflicts = 0;
    for (let round = 0; round < 200; round++) {
      const members = ids.map((id) => memberWith(id, ids, {}, { random: seeded(round * 5 + id) }));
      for (let ticks = 0; ; ticks++) {
        const candidates = members.filter((member) => ofType(tick(member, 1), "MsgVote").length > 0);
        if (candidates.length > 1) conflicts++;
        if (candidates.length > 0) break;
      }
    }
    // Five draws of ten values: the smallest is shared in 41 % of the rounds when drawn independently.
    expect(conflicts / 200).toBeLessThan(0.55);
    expect(conflicts).toBeGreaterThan(0);
  });

  it("keeps to a range that is configured", () => {
    const follower = memberWith(1, [1, 2, 3], {}, { minElectionTicks: 15, maxElectionTicks: 18 });
    const seen = new Set<number>();
    for (let round = 0; round < 100; round++) {
      say(follower, { type: "MsgHeartbeat", from: 2, term: (round + 1) as never });
      let ticks = 1;
      while (ofType(tick(follower, 1), "MsgVote").length === 0) ticks++;
      seen.add(ticks);
    }
    expect([...seen].sort((left, right) => left - right)).toEqual([15, 16, 17]);
    for (const [minElectionTicks, maxElectionTicks] of [
      [5, 20],
      [20, 20],
      [20, 15],
      [0, 10],
    ]) {
      const settings = { minElectionTicks, maxElectionTicks } as never;
      expect(() => memberWith(1, [1], {}, settings)).toThrow(/ElectionTicks/);
    }
  });
});

function seeded(seed: number): { u32: () => number } {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  return {
    u32: () => {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0;
      return (Math.imul(state ^ (state >>> 12), 0x297a2d39) ^ (state >>> 9)) >>> 0;
    },
  };
}

describe("proposals at the wrong place", () => {
  it("wait nowhere: without a leader they are dropped", () => {
    const member = memberWith(1, [1, 2, 3]);
    expect(propose(member)).toBe("noLeader");
    member.raw.campaign();
    drain(member);
    expect(propose(member)).toBe("noLeader");
    expect(drain(member)).toEqual([]);
    say(member, { type: "MsgHeartbeat", from: 2, term: 1 as never });
    expect(propose(member)).toBe("proposed");
    expect(drain(member)).toMatchObject([{ type: "MsgProp", to: 2, entries: [{ type: "EntryNormal" }] }]);
  });
});
