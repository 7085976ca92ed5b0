/** What a leader sends and when: heartbeats, windows, probes, and how it finds where logs agree. */
import { describe, expect, it } from "vitest";
import { makeEntry } from "../../message.js";
import { drain, Network } from "../network.js";
import { elect, memberWith, ofType, progressOf, propose, say, stateOf, terms, tick } from "./helpers.js";

const answer = (from: number, term: number, index: number): never =>
  ({ type: "MsgAppResp", from, term, index }) as never;
/** Leads term 1 of two; peer 2 replicates and has everything. */
function replicating(settings = {}) {
  const member = memberWith(1, [1, 2], {}, settings);
  elect(member, 2);
  say(member, answer(2, 1, 1));
  return member;
}
const appends = (member: ReturnType<typeof replicating>) => ofType(drain(member), "MsgApp");

describe("heartbeats", () => {
  it("go to all others, name no entry, and carry a commit that the peer holds", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 1], term: 1, commit: 3 });
    elect(member, 2);
    say(member, answer(2, 2, 4));
    const beats = tick(member, 1);
    expect(
      beats.map(({ type, to, index, logTerm, entries }) => [type, to, index, logTerm, entries.length]),
    ).toEqual([
      ["MsgHeartbeat", 2, 0, 0, 0],
      ["MsgHeartbeat", 3, 0, 0, 0],
    ]);
    expect(beats.map(({ commit }) => commit)).toEqual([4, 0]);
  });

  it("are sent by leaders alone", () => {
    for (const [role, count] of [
      ["StateLeader", 2],
      ["StateCandidate", 0],
      ["StateFollower", 0],
    ] as const) {
      const member = memberWith(1, [1, 2, 3]);
      if (role !== "StateFollower") member.raw.campaign();
      drain(member);
      if (role === "StateLeader") say(member, { type: "MsgVoteResp", from: 2, term: 1 as never });
      expect(stateOf(member)).toBe(role);
      member.raw.ping();
      expect(ofType(drain(member), "MsgHeartbeat").length).toBe(count);
    }
  });
});

describe("a proposal", () => {
  it("moves next ahead of a replicating peer, and not of one that is probed", () => {
    const member = replicating();
    propose(member);
    expect(progressOf(member, 2)).toMatchObject({ state: "StateReplicate", match: 1, next: 3 });
    member.raw.reportUnreachable(2);
    expect(progressOf(member, 2)).toMatchObject({ state: "StateProbe", next: 2 });
    propose(member);
    expect(progressOf(member, 2)).toMatchObject({ state: "StateProbe", next: 2, paused: true });
  });

  it("is sent to a replicating peer each time, without waiting for answers", () => {
    const member = replicating();
    for (let i = 0; i < 10; i++) {
      propose(member);
      expect(appends(member).map(({ entries }) => entries.length)).toEqual([1]);
    }
  });

  it("is sent to a probed peer once a heartbeat interval", () => {
    const member = replicating();
    member.raw.reportUnreachable(2);
    for (let round = 0; round < 3; round++) {
      if (round === 0) {
        propose(member);
        expect(appends(member).length).toBe(1);
        expect(progressOf(member, 2).paused).toBe(true);
      }
      for (let i = 0; i < 10; i++) propose(member);
      expect(appends(member)).toEqual([]);
      expect(ofType(tick(member, 1), "MsgHeartbeat").length).toBe(1);
      expect(progressOf(member, 2).paused).toBe(true);
      const resumed = say(member, { type: "MsgHeartbeatResp", from: 2, term: 1 as never });
      expect(ofType(resumed, "MsgApp").length).toBe(1);
    }
  });

  it("to a peer that was reported unreachable goes from behind its match", () => {
    const member = replicating();
    for (let i = 0; i < 4; i++) propose(member);
    drain(member);
    expect(progressOf(member, 2).next).toBe(6);
    member.raw.reportUnreachable(2);
    expect(progressOf(member, 2)).toMatchObject({
      state: "StateProbe",
      match: 1,
      next: 2,
      inflightMessages: 0,
    });
  });

  it("is sent to all others in parallel, each append naming the entry before", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    for (const from of [2, 3]) say(member, answer(from, 1, 1));
    propose(member, "some data");
    const sent = appends(member);
    expect(
      sent.map(({ to, index, logTerm, commit, entries }) => [to, index, logTerm, commit, entries.length]),
    ).toEqual([
      [2, 1, 1, 1, 1],
      [3, 1, 1, 1, 1],
    ]);
    expect(terms(member)).toEqual([1, 1]);
  });
});

describe("the window", () => {
  it("fills exactly, and then nothing but one empty append a heartbeat answer is sent", () => {
    const member = replicating({ maxInflightMessages: 8 });
    for (let i = 0; i < 8; i++) {
      propose(member);
      expect(appends(member).length).toBe(1);
    }
    expect(progressOf(member, 2)).toMatchObject({ inflightMessages: 8, paused: true });
    for (let i = 0; i < 10; i++) {
      propose(member);
      expect(appends(member)).toEqual([]);
    }
    for (let i = 0; i < 3; i++) {
      const sent = ofType(say(member, { type: "MsgHeartbeatResp", from: 2, term: 1 as never }), "MsgApp");
      expect(sent.map(({ entries }) => entries.length)).toEqual([0]);
    }
  });

  it("moves with answers: each frees all that it covers, and old ones free nothing", () => {
    const member = replicating({ maxInflightMessages: 4, maxSizePerMessageBytes: 0 });
    for (let i = 0; i < 20; i++) propose(member);
    drain(member);
    expect(progressOf(member, 2)).toMatchObject({ next: 6, inflightMessages: 4 });
    for (let index = 2; index < 8; index++) {
      const sent = ofType(say(member, answer(2, 1, index)), "MsgApp").filter(
        ({ entries }) => entries.length > 0,
      );
      expect(sent.length).toBe(1);
      expect(progressOf(member, 2).inflightMessages).toBe(4);
      for (let old = 1; old < index; old++) {
        expect(
          ofType(say(member, answer(2, 1, old)), "MsgApp").filter((each) => each.entries.length > 0),
        ).toEqual([]);
        expect(progressOf(member, 2).inflightMessages).toBe(4);
      }
    }
    say(member, answer(2, 1, 10));
    expect(progressOf(member, 2)).toMatchObject({ match: 10, inflightMessages: 4 });
  });

  it("of zero stops replication to a peer until it is set again", () => {
    const member = replicating();
    member.raw.setMaxInflight(2, 0);
    propose(member);
    expect(appends(member).filter(({ entries }) => entries.length > 0)).toEqual([]);
    member.raw.setMaxInflight(2, 16);
    const sent = say(member, { type: "MsgHeartbeatResp", from: 2, term: 1 as never });
    expect(ofType(sent, "MsgApp").flatMap(({ entries }) => entries.map(({ index }) => index))).toEqual([2]);
  });

  it("gives its buffers back when a group goes idle, and works again afterwards", () => {
    const member = replicating();
    propose(member);
    drain(member);
    member.raw.releaseBuffers();
    expect(progressOf(member, 2).inflightMessages).toBe(1);
    say(member, answer(2, 1, 2));
    member.raw.releaseBuffers();
    propose(member);
    expect(appends(member).length).toBe(1);
    expect(progressOf(member, 2).inflightMessages).toBe(1);
  });
});

describe("a leader at rest", () => {
  it("tells what it knows of members without keeping it, and replicates as before", () => {
    const member = replicating();
    propose(member);
    drain(member);
    say(member, answer(2, 1, 2));
    member.raw.ping();
    drain(member);
    const held = (): unknown[] => {
      const found: unknown[] = [];
      member.raw.withProgress((_id, progress) => found.push(progress));
      return found;
    };
    const before = progressOf(member, 2);
    const [kept] = held();
    member.raw.releaseBuffers();
    expect(held()[0]).not.toBe(kept);
    expect(held()[0]).not.toBe(held()[0]);
    expect(progressOf(member, 2)).toEqual(before);
    member.raw.releaseBuffers();
    propose(member);
    expect(appends(member).map(({ to, index, entries }) => [to, index, entries.length])).toEqual([[2, 2, 1]]);
  });
});

describe("finding where logs agree", () => {
  // Leader's log, follower's log (terms), follower compacted to, hint index and term, next probe (index, term).
  const table: [number[], number[], number, number, number, number, number][] = [
    [[1, 2, 2, 4, 4, 4, 4], [1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3], 0, 7, 3, 3, 2],
    [[1, 2, 2, 3, 4, 4, 4, 5], [1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3], 0, 8, 3, 4, 3],
    [[1, 1, 1, 1], [1, 1, 2, 2], 0, 1 + 1, 1, 2, 1],
    [[1, 1, 1, 1, 1, 1], [1, 2, 2, 4], 0, 1, 1, 1, 1],
    [[1, 1, 1, 1], [1, 1, 2, 2, 3, 3], 0, 2, 1, 2, 1],
    [[1, 1, 1, 4, 5], [1, 1, 1, 2, 2, 2], 0, 5, 2, 3, 1],
    [[2, 5, 5, 5, 5, 5, 5, 5, 5], [2, 4, 4, 4, 4, 4], 0, 6, 4, 1, 2],
    [[2, 2, 2, 2, 2], [2, 4, 4, 4, 4, 4, 4, 4], 0, 1, 2, 1, 2],
    // What is compacted may match: the hint is the last index without a term, which is probed as it is.
    [[1, 1, 1, 1, 1], [1, 1, 2, 2, 2, 2], 4, 3, 0, 3, 1],
  ];
  it.each(table)(
    "of %j and %j takes one probe a term",
    (log, own, compacted, hint, hintTerm, next, nextTerm) => {
      const leaderTerm = Math.max(...log, ...own);
      const leader = memberWith(1, [1, 2, 3], { log, term: leaderTerm, commit: 0 });
      elect(leader, 3);
      drain(leader);
      const term = leader.raw.term as never;
      const follower = memberWith(2, [1, 2, 3], { log: own, term: leaderTerm });
      if (compacted > 0) expect(follower.storage.compact(compacted as never)).toBeUndefined();
      const heartbeat = say(follower, { type: "MsgHeartbeat", from: 1, term });
      expect(heartbeat[0]?.type).toBe("MsgHeartbeatResp");
      const [probe] = ofType(say(leader, { type: "MsgHeartbeatResp", from: 2, term }), "MsgApp");
      if (probe === undefined) throw new Error("no probe was sent");
      const [refusal] = ofType(say(follower, { ...probe }), "MsgAppResp");
      expect(refusal).toMatchObject({ reject: true, rejectHint: hint, logTerm: hintTerm });
      const [second] = ofType(say(leader, { ...refusal, from: 2 } as never), "MsgApp");
      expect([second?.index, second?.logTerm]).toEqual([next, nextTerm]);
      if (compacted > 0) return;
      const [taken] = ofType(say(follower, { ...(second as object) } as never), "MsgAppResp");
      expect(taken?.reject).toBe(false);
      expect(terms(follower)).toEqual(terms(leader));
    },
  );

  it("does not move next below match for a rejection that comes late", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(2);
    network.propose(1);
    network.recover();
    network.tick(1, 1);
    const leader = network.member(1);
    const { match, next } = progressOf(leader, 2);
    expect(match).toBe(2);
    const late = { type: "MsgAppResp", from: 2, term: 1, index: 1, reject: true, rejectHint: 0 } as never;
    say(leader, late);
    expect(progressOf(leader, 2)).toMatchObject({ match, next });
    expect(next).toBeGreaterThan(match);
  });

  it("brings every follower of the paper's figure 7 to the leader's log", () => {
    const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    const others = [
      [1, 1, 1, 4, 4, 5, 5, 6, 6],
      [1, 1, 1, 4],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
      [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
      [1, 1, 1, 4, 4, 4, 4],
      [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ];
    for (const own of others) {
      const ids = [1, 2, 3];
      const network = new Network([
        memberWith(1, ids, { log: leaderLog, term: 8, commit: 3 }),
        memberWith(2, ids, { log: own, term: 7 }),
        memberWith(3, ids, { log: [], term: 8 }),
      ]);
      network.campaign(1);
      expect(network.leaders()).toEqual([1]);
      network.propose(1);
      expect(terms(network.member(2))).toEqual([...leaderLog, 9, 9]);
    }
  });
});

describe("what followers do with appends", () => {
  it("they apply what is committed, in order", () => {
    for (const [count, commit] of [
      [1, 1],
      [2, 2],
      [2, 1],
    ] as const) {
      const member = memberWith(1, [1, 2, 3]);
      const entries = [1, 2].slice(0, count).map((index) => makeEntry(1, index, new Uint8Array([index])));
      say(member, { type: "MsgApp", from: 2, term: 1, commit, entries } as never);
      expect(member.applied.map(({ index }) => index)).toEqual([1, 2].slice(0, commit));
    }
  });

  it("they check the entry before, and answer with what they know when it differs", () => {
    for (const [term, index, reject, at, hint] of [
      [0, 0, false, 1, 0],
      [1, 1, false, 1, 0],
      [2, 2, false, 2, 0],
      [1, 2, true, 2, 1],
      [3, 3, true, 3, 2],
    ] as const) {
      const member = memberWith(1, [1, 2, 3], { log: [1, 2], term: 3, commit: 1 });
      const [said] = say(member, { type: "MsgApp", from: 2, term: 3, logTerm: term, index } as never);
      expect(said).toMatchObject({ type: "MsgAppResp", reject, rejectHint: hint });
      if (reject) expect(said?.index).toBe(at);
    }
  });

  it("they cut off what conflicts and keep what agrees", () => {
    for (const [index, logTerm, entries, after] of [
      [2, 2, [makeEntry(3, 3)], [1, 2, 3]],
      [1, 1, [makeEntry(3, 2), makeEntry(4, 3)], [1, 3, 4]],
      [0, 0, [makeEntry(1, 1)], [1, 2]],
      [0, 0, [makeEntry(3, 1)], [3]],
    ] as const) {
      const member = memberWith(1, [1, 2, 3], { log: [1, 2], term: 4 });
      say(member, { type: "MsgApp", from: 2, term: 4, logTerm, index, entries } as never);
      expect(terms(member)).toEqual(after);
    }
  });
});

describe("a leader's commit", () => {
  it("is told with the next append, and applied by itself at once", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    for (const from of [2, 3]) say(member, answer(from, 1, 1));
    propose(member, "x");
    drain(member);
    const told = ofType(say(member, answer(2, 1, 2)), "MsgApp");
    expect(told.map(({ to, commit, entries }) => [to, commit, entries.length])).toEqual([
      [2, 2, 0],
      [3, 2, 0],
    ]);
    expect(member.applied.map(({ index }) => index)).toEqual([1, 2]);
  });

  it.each([
    [1, [], true],
    [3, [], false],
    [3, [2], true],
    [3, [2, 3], true],
    [5, [], false],
    [5, [2], false],
    [5, [2, 3], true],
    [5, [2, 3, 4, 5], true],
  ] as [number, number[], boolean][])("among %d with answers of %j is %s", (count, from, committed) => {
    const ids = Array.from({ length: count }, (_, at) => at + 1);
    const member = memberWith(1, ids);
    elect(member, ...ids.slice(1));
    for (const id of ids.slice(1)) say(member, answer(id, 1, 1));
    propose(member);
    drain(member);
    for (const id of from) say(member, answer(id, 1, 2));
    expect(member.raw.commitIndex).toBe(committed ? 2 : 1);
  });

  it("covers all entries before, those of earlier leaders included", () => {
    for (const log of [[], [2], [1, 2], [1]]) {
      const member = memberWith(1, [1, 2, 3], { log, term: 2 });
      elect(member, 2);
      propose(member, "x");
      drain(member);
      say(member, answer(2, 3, log.length + 2));
      expect(member.applied.map(({ term }) => term)).toEqual([...log, 3, 3]);
    }
  });
});
