/** Replication: what a leader sends, what followers take, and what that commits. */
import { describe, expect, it } from "vitest";
import { fromUtf8 } from "../../../base/bytes.js";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry, makeMessage } from "../../message.js";
import { RaftLog } from "../../log.js";
import { majorityCommitted } from "../../quorum/majority.js";
import { SILENT_LOGGER } from "../../../base/env.js";
import { MemStorage } from "../../storage.js";
import type { Append, Entry, NodeId } from "../../types.js";
import { drain, makeMember, Network } from "../network.js";
import { commitOf, elect, memberWith, ofType, progressOf, propose, say, terms, tick } from "./helpers.js";

const asIndex = (value: number): never => value as never;
const texts = (entries: readonly Entry[]): string[] => entries.map((entry) => fromUtf8(entry.data));

describe("the leader's progress", () => {
  it("of itself replicates, and moves only when its own append is durable", () => {
    const member = memberWith(1, [1, 2], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    const vote = member.raw.ready().append as Append;
    member.storage.write(vote);
    member.raw.ackAppend(vote);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: asIndex(1) }));
    const first = member.raw.ready().append as Append;
    expect(progressOf(member, 1)).toMatchObject({ match: 0, next: 1 });
    propose(member);
    propose(member);
    expect(progressOf(member, 1)).toMatchObject({ match: 0 });
    member.storage.write(first);
    member.raw.ackAppend(first);
    expect(progressOf(member, 1)).toMatchObject({ match: 1, next: 2 });
    const second = member.raw.ready().append as Append;
    member.storage.write(second);
    member.raw.ackAppend(second);
    expect(progressOf(member, 1)).toMatchObject({ match: 3, next: 4 });
  });

  it("of a peer that is probed sends one append however many are proposed, until a heartbeat is answered", () => {
    const member = memberWith(1, [1, 2]);
    const sent = elect(member, 2);
    for (let i = 0; i < 3; i++) propose(member);
    expect(ofType([...sent, ...drain(member)], "MsgApp").length).toBe(1);
    expect(progressOf(member, 2)).toMatchObject({ state: "StateProbe", paused: true });
    tick(member, 1);
    expect(progressOf(member, 2).paused).toBe(true);
    const resent = say(member, { type: "MsgHeartbeatResp", from: 2, term: asIndex(1) });
    expect(ofType(resent, "MsgApp").length).toBe(1);
    expect(progressOf(member, 2).paused).toBe(true);
  });

  it("sends one small probe first, then as many full appends as fit into the window, then as they are answered", () => {
    const settings = { maxInflightMessages: 3, maxSizePerMessageBytes: 2048 };
    const member = memberWith(1, [1, 2], {}, settings);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: asIndex(1), index: asIndex(1) });
    const raw = member.raw;
    raw.reportUnreachable(2);
    const blob = new Uint8Array(1000);
    for (let i = 0; i < 10; i++) raw.propose(blob);
    const probe = ofType(drain(member), "MsgApp");
    expect(probe.map(({ entries }) => entries.length)).toEqual([1]);
    const burst = ofType(
      say(member, { type: "MsgAppResp", from: 2, term: asIndex(1), index: asIndex(2) }),
      "MsgApp",
    ).filter(({ entries }) => entries.length > 0);
    expect(burst.map(({ entries }) => entries.length)).toEqual([2, 2, 2]);
    const rest = say(member, { type: "MsgAppResp", from: 2, term: asIndex(1), index: asIndex(8) });
    const last = ofType(rest, "MsgApp").filter(({ entries }) => entries.length > 0);
    expect(last.map(({ entries }) => entries.length)).toEqual([2, 1]);
  });

  it("is behind a rejection no longer paused: the leader sends again at once", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1] });
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: asIndex(2), index: asIndex(2) });
    propose(member);
    drain(member);
    const sent = say(member, { type: "MsgAppResp", from: 3, term: asIndex(2), index: asIndex(1) });
    const [append] = ofType(sent, "MsgApp");
    expect(append).toMatchObject({ to: 3, index: 1 });
    expect(append?.entries.map(({ index }) => index)).toEqual([2, 3]);
    propose(member);
    const next = ofType(drain(member), "MsgApp").filter(({ to }) => to === 3);
    expect(next.map(({ entries }) => entries.length)).toEqual([1]);
  });
});

describe("the leader's answer to an append response", () => {
  /** Leads term 2 over entries 1 to 3 of term 1 and its own empty one; probes peer 2 with previous index 3. */
  function probing() {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 1], term: 1 });
    elect(member, 3);
    return member;
  }
  const answer = (index: number, reject: boolean, hint = 0): never =>
    ({ type: "MsgAppResp", from: 2, term: 2, index, reject, rejectHint: hint }) as never;

  it("a stale rejection changes nothing", () => {
    const member = probing();
    expect(ofType(say(member, answer(1, true, 1)), "MsgApp")).toEqual([]);
    expect(progressOf(member, 2)).toMatchObject({ match: 0, next: 4, paused: true });
  });

  it("a rejection moves next to the hint and sends from there", () => {
    const member = probing();
    const [append] = ofType(say(member, answer(3, true, 2)), "MsgApp");
    expect(append).toMatchObject({ to: 2, index: 2, logTerm: 1 });
    expect(append?.entries.map(({ index }) => index)).toEqual([3, 4]);
    expect(progressOf(member, 2)).toMatchObject({ match: 0, next: 3 });
  });

  it("an acceptance moves match, and of the own term commits and tells the others", () => {
    const member = probing();
    const sent = ofType(say(member, answer(4, false)), "MsgApp");
    expect(progressOf(member, 2)).toMatchObject({ state: "StateReplicate", match: 4, next: 5 });
    expect(commitOf(member)).toBe(4);
    // Peer 3 is still probed and paused: it hears of it with the next heartbeat it answers.
    expect(sent.map(({ to, commit, entries }) => [to, commit, entries.length])).toEqual([[2, 4, 0]]);
  });

  it("an acceptance of an entry of an older term commits nothing", () => {
    const member = probing();
    say(member, answer(3, false));
    expect([progressOf(member, 2).match, commitOf(member)]).toEqual([3, 0]);
  });
});

describe("committing", () => {
  it("counts entries of the own term alone", () => {
    // match indexes of the voters, terms of the leader's log, leader's term, commit
    const table: [number[], number[], number, number][] = [
      [[1], [1], 1, 1],
      [[1], [1], 2, 0],
      [[2], [1, 2], 2, 2],
      [[1], [2], 2, 1],
      [[2, 1, 1], [1, 2], 1, 1],
      [[2, 1, 1], [1, 1], 2, 0],
      [[2, 1, 2], [1, 2], 2, 2],
      [[2, 1, 2], [1, 1], 2, 0],
      [[2, 1, 1, 1], [1, 2], 1, 1],
      [[2, 1, 1, 1], [1, 1], 2, 0],
      [[2, 1, 1, 2], [1, 2], 1, 1],
      [[2, 1, 1, 2], [1, 1], 2, 0],
      [[2, 1, 2, 2], [1, 2], 2, 2],
      [[2, 1, 2, 2], [1, 1], 2, 0],
    ];
    for (const [matches, terms, term, commit] of table) {
      const storage = new MemStorage();
      storage.append(terms.map((each, at) => makeEntry(each, at + 1)));
      const log = new RaftLog(storage, SILENT_LOGGER, Number.POSITIVE_INFINITY, 0);
      log.maybeCommit(majorityCommitted([...matches], matches.length), term);
      expect(log.committed).toBe(commit);
    }
  });

  it("of a single voter happens once its own append is durable", () => {
    const network = Network.of(1);
    network.campaign(1);
    network.propose(1, "a");
    network.propose(1, "b");
    expect(commitOf(network.member(1))).toBe(3);
  });

  it("does not happen for entries of an older term before one of the new term", () => {
    const network = Network.of(5);
    network.campaign(1);
    for (const id of [3, 4, 5]) network.cut(1, id);
    network.propose(1, "a");
    network.propose(1, "b");
    expect(commitOf(network.member(1))).toBe(1);
    network.recover();
    network.ignore("MsgApp");
    network.campaign(2);
    expect(commitOf(network.member(2))).toBe(1);
    network.recover();
    network.tick(2, 1);
    network.propose(2, "c");
    expect(commitOf(network.member(2))).toBe(5);
    expect(terms(network.member(5))).toEqual([1, 1, 1, 2, 2]);
    // That all hold the entries of term 1 commits none of them; the one of term 2 commits all.
    const leader = memberWith(2, [1, 2, 3, 4, 5], { log: [1, 1, 1], term: 1, commit: 1 });
    elect(leader, 3, 4);
    const answer = { type: "MsgAppResp", term: 2 } as const;
    for (const from of [1, 3, 4, 5]) say(leader, { ...answer, from, index: 3 } as never);
    expect(commitOf(leader)).toBe(1);
    for (const from of [1, 3]) say(leader, { ...answer, from, index: 4 } as never);
    expect(commitOf(leader)).toBe(4);
  });

  it("of older entries happens with the empty entry of a new leader, without a proposal", () => {
    const network = Network.of(5);
    network.campaign(1);
    for (const id of [3, 4, 5]) network.cut(1, id);
    network.propose(1, "a");
    network.propose(1, "b");
    expect(commitOf(network.member(1))).toBe(1);
    network.recover();
    network.campaign(2);
    expect(commitOf(network.member(1))).toBe(4);
  });

  it.each([
    [3, [], true],
    [3, [2], true],
    [3, [2, 3], false],
    [4, [2, 3], false],
    [5, [2, 3], true],
  ] as [number, NodeId[], boolean][])("of a proposal among %d without %s is %s", (count, dead, commits) => {
    const network = Network.of(count);
    network.campaign(1);
    for (const id of dead) network.isolate(id);
    const before = commitOf(network.member(1));
    network.propose(1);
    expect(commitOf(network.member(1))).toBe(before + (commits ? 1 : 0));
  });

  it("of a proposal at a follower goes by the leader", () => {
    for (const dead of [[], [3]] as NodeId[][]) {
      const network = Network.of(3);
      network.campaign(1);
      for (const id of dead) network.isolate(id);
      expect(network.propose(2, "by proxy")).toBe("proposed");
      for (const id of [1, 2]) {
        expect(texts(network.member(id).applied)).toEqual(["", "by proxy"]);
      }
    }
  });

  it("ends with the same log everywhere, whoever leads in between", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.propose(1, "one");
    network.campaign(2);
    network.propose(2, "two");
    for (const member of network.members.values()) {
      expect(texts(member.applied)).toEqual(["", "one", "", "two"]);
    }
  });

  it("reaches learners, which do not count", () => {
    const storage = (): MemStorage => MemStorage.withConfState({ voters: [1], learners: [2] });
    const network = new Network([
      makeMember(1, [1], { storage: storage() }),
      makeMember(2, [1], { storage: storage() }),
    ]);
    network.cut(1, 2);
    network.campaign(1);
    network.propose(1, "x");
    expect(commitOf(network.member(1))).toBe(2);
    network.recover();
    network.tick(1, 1);
    expect(commitOf(network.member(2))).toBe(2);
    expect(texts(network.member(2).applied)).toEqual(["", "x"]);
  });
});

describe("a follower's answer to an append", () => {
  const table: [number, number, number, Entry[], number, number, boolean][] = [
    // previous index and term, leader's commit, entries, last index, commit, reject. Own log: 1/1, 2/2.
    [2, 3, 3, [], 2, 0, true],
    [3, 3, 3, [], 2, 0, true],
    [1, 1, 1, [], 2, 1, false],
    [0, 0, 1, [makeEntry(2, 1)], 1, 1, false],
    [2, 2, 3, [makeEntry(2, 3), makeEntry(2, 4)], 4, 3, false],
    [2, 2, 4, [makeEntry(2, 3)], 3, 3, false],
    [1, 1, 4, [makeEntry(2, 2)], 2, 2, false],
    [1, 1, 3, [], 2, 1, false],
    [1, 1, 3, [makeEntry(2, 2)], 2, 2, false],
    [2, 2, 3, [], 2, 2, false],
    [2, 2, 4, [], 2, 2, false],
  ];
  it("refuses what does not fit, replaces what conflicts, and commits what both hold", () => {
    for (const [index, logTerm, commit, entries, last, committed, reject] of table) {
      const member = memberWith(1, [1, 2], { log: [1, 2], term: 3 });
      const init = { type: "MsgApp", from: 2, term: 3, index, logTerm, commit, entries } as never;
      const [answer] = say(member, init);
      expect(answer).toMatchObject({ type: "MsgAppResp", reject });
      expect([member.raw.lastIndex, commitOf(member)]).toEqual([last, committed]);
    }
  });

  it("keeps what an older, shorter append does not speak of", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1, 1], term: 1 });
    const init = {
      type: "MsgApp",
      from: 2,
      term: 1,
      index: 0,
      logTerm: 0,
      entries: [makeEntry(1, 1)],
    } as never;
    const [answer] = say(member, init);
    expect(answer).toMatchObject({ reject: false, index: 1 });
    expect(terms(member)).toEqual([1, 1, 1]);
  });

  it("gives its last index as a hint when it refuses, and the largest one that may match when terms differ", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1, 4, 4, 4], term: 5 });
    const refused = (index: number, logTerm: number): unknown => {
      const [answer] = say(member, { type: "MsgApp", from: 2, term: 5, index, logTerm } as never);
      return [answer?.reject, answer?.rejectHint, answer?.logTerm];
    };
    expect(refused(9, 5)).toEqual([true, 5, 4]);
    expect(refused(5, 3)).toEqual([true, 2, 1]);
    expect(refused(4, 5)).toEqual([true, 4, 4]);
  });
});

describe("heartbeats", () => {
  it("carry the commit index forward, never back", () => {
    for (const [commit, expected] of [
      [3, 3],
      [1, 2],
    ]) {
      const member = memberWith(1, [1, 2], { log: [1, 2, 3], term: 2, commit: 2 });
      const answer = say(member, { type: "MsgHeartbeat", from: 2, term: 2, commit } as never);
      expect(ofType(answer, "MsgHeartbeatResp").length).toBe(1);
      expect(commitOf(member)).toBe(expected);
    }
  });

  it("answered by one who lacks entries make the leader send them again, and stop when they are there", () => {
    const member = memberWith(1, [1, 2], { log: [1, 2, 3], term: 3 });
    elect(member, 2);
    const answered = (): number =>
      ofType(say(member, { type: "MsgHeartbeatResp", from: 2, term: 4 } as never), "MsgApp").length;
    expect([answered(), answered()]).toEqual([1, 1]);
    say(member, { type: "MsgAppResp", from: 2, term: 4, index: 4 } as never);
    expect(answered()).toBe(0);
  });

  it("never tell a peer of a commit beyond what it is known to hold", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1, commit: 1 });
    elect(member, 3);
    say(member, { type: "MsgAppResp", from: 3, term: 2, index: 2 } as never);
    expect(commitOf(member)).toBe(2);
    const beats = ofType(tick(member, 1), "MsgHeartbeat");
    expect(beats.map(({ to, commit }) => [to, commit])).toEqual([
      [2, 0],
      [3, 2],
    ]);
  });
});

describe("the uncommitted quota", () => {
  it("drops proposals above it, takes one oversized one on an empty tail, and is given back by applying", () => {
    const member = memberWith(
      1,
      [1, 2, 3],
      {},
      { maxUncommittedEntriesBytes: 16, maxInflightMessages: 1000 },
    );
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    const eight = "12345678";
    expect([propose(member, eight), propose(member, eight)]).toEqual(["proposed", "proposed"]);
    expect(propose(member, "1")).toBe("uncommittedQuota");
    expect(propose(member, "")).toBe("proposed");
    drain(member);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 4 } as never);
    expect(commitOf(member)).toBe(4);
    // An oversized one is admitted when nothing is under way, and then nothing else is.
    expect(propose(member, eight.repeat(10))).toBe("proposed");
    expect(propose(member, "1")).toBe("uncommittedQuota");
    drain(member);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 5 } as never);
    expect(propose(member, "1")).toBe("proposed");
  });

  it("counts what a leader proposed itself, not what it found when it was elected", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1], term: 1 }, { maxUncommittedEntriesBytes: 4 });
    elect(member, 2);
    expect(propose(member, "1234")).toBe("proposed");
    expect(propose(member, "1")).toBe("uncommittedQuota");
    drain(member);
    // Entries of the former term are applied along with these: they give nothing back.
    say(member, { type: "MsgAppResp", from: 2, term: 2, index: 4 } as never);
    expect(propose(member, "1234")).toBe("proposed");
    expect(propose(member, "1")).toBe("uncommittedQuota");
  });

  it("bounds the log of a leader that was cut off from its quorum", () => {
    const member = memberWith(1, [1, 2, 3], {}, { maxUncommittedEntriesBytes: 1024 });
    elect(member, 2);
    drain(member);
    let taken = 0;
    for (let i = 0; i < 1000; i++) if (propose(member, "x".repeat(100)) === "proposed") taken++;
    drain(member);
    expect(taken).toBe(10);
    expect(member.raw.lastIndex).toBe(11);
  });
});

describe("appends in pages", () => {
  it("never exceed the size of a message and use most of it once a partition is over", () => {
    const network = Network.of(3, { maxSizePerMessageBytes: 2048 });
    network.campaign(1);
    network.isolate(1);
    const blob = "a".repeat(1000);
    for (let i = 0; i < 5; i++) network.propose(1, blob);
    network.recover();
    network.delivered.length = 0;
    network.tick(1, 2);
    const sizes = network.delivered
      .filter(({ type, entries }) => type === "MsgApp" && entries.length > 0)
      .map(({ entries }) => entries.reduce((sum, entry) => sum + entry.data.length, 0));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(2048);
    expect(Math.max(...sizes)).toBeGreaterThan(1024);
    for (const member of network.members.values()) expect(member.applied.length).toBe(6);
  });

  it("reach a member that reordered and lost messages kept back", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.cut(1, 3);
    network.propose(1, "a");
    network.propose(1, "b");
    network.recover();
    const change = makeConfChange([]);
    expect(network.raw(1).proposeConfChange(change).kind).toBe("proposed");
    network.settle(1);
    network.tick(1, 1);
    expect(texts(network.member(3).applied)).toEqual(["", "a", "b", ""]);
  });
});
