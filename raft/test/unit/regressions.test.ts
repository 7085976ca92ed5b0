/** More known bugs of other Raft libraries, each with the exact messages and indexes of what is right. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../../base/bytes.js";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry, makeMessage, makeSnapshot } from "../../message.js";
import type { Append, Apply, Entry } from "../../types.js";
import { drain, type Member, Network } from "../network.js";
import { commitOf, elect, memberWith, ofType, progressOf, propose, say, stateOf, tick } from "./helpers.js";

const ack = (from: number, term: number, index: number): never =>
  ({ type: "MsgAppResp", from, term, index }) as never;
const beat = (from: number, term = 1): never => ({ type: "MsgHeartbeatResp", from, term }) as never;
const indexes = (entries: readonly Entry[] | undefined): number[] =>
  (entries ?? []).map(({ index }) => index);
function write(member: Member, append: Append | undefined): void {
  if (append === undefined) return;
  member.storage.write(append);
  member.raw.ackAppend(append);
}
const IMPLICIT = makeConfChange(
  [{ type: "ConfChangeAddLearnerNode", nodeId: 3 }],
  "ConfChangeTransitionJointImplicit",
);

describe("leaving a joint configuration", () => {
  const changes = (member: Member): number =>
    member.storage.tail(1 as never).filter(({ type }) => type !== "EntryNormal").length;

  it("is proposed once, also when other entries follow the change that is applied", () => {
    const member = memberWith(1, [1, 2]);
    elect(member, 2);
    say(member, ack(2, 1, 1));
    member.raw.proposeConfChange(IMPLICIT);
    for (let i = 0; i < 3; i++) propose(member);
    drain(member);
    // Applied entry by entry: each acknowledgement is an occasion to propose the leave.
    for (const index of [2, 3, 4, 5]) say(member, ack(2, 1, index));
    expect([changes(member), member.raw.lastIndex]).toEqual([2, 6]);
    expect(member.confState.votersOutgoing).toEqual([1, 2]);
    say(member, ack(2, 1, 6));
    propose(member);
    say(member, ack(2, 1, 7));
    expect(changes(member)).toBe(2);
    expect(member.confState).toMatchObject({ voters: [1, 2], votersOutgoing: [], learners: [3] });
  });

  it("is sent to the others at once, without another proposal or heartbeat", () => {
    const member = memberWith(1, [1, 2]);
    elect(member, 2);
    say(member, ack(2, 1, 1));
    member.raw.proposeConfChange(IMPLICIT);
    drain(member);
    const sent = ofType(say(member, ack(2, 1, 2)), "MsgApp").filter(({ to }) => to === 2);
    expect(sent.flatMap(({ entries }) => entries.map(({ index, type }) => [index, type]))).toEqual([
      [3, "EntryConfChangeV2"],
    ]);
  });

  it("is not refused by a full quota, and waits for a transfer to end", () => {
    const member = memberWith(1, [1, 2], {}, { maxUncommittedEntriesBytes: 100 });
    elect(member, 2);
    say(member, ack(2, 1, 1));
    member.raw.proposeConfChange(IMPLICIT);
    while (propose(member, "x") === "proposed") {
      // Until the quota is full.
    }
    drain(member);
    const last = member.raw.lastIndex;
    say(member, ack(2, 1, 2));
    expect(member.confState.autoLeave).toBe(true);
    expect(member.raw.lastIndex).toBe(last + 1);
    expect(propose(member, "x".repeat(100))).toBe("uncommittedQuota");
    say(member, ack(2, 1, last + 1));
    expect(member.confState).toMatchObject({ votersOutgoing: [], learners: [3] });
    duringTransfer();
  });

  /** Refused while the transfer lasts, and proposed with the next apply. */
  function duringTransfer(): void {
    const member = memberWith(1, [1, 2]);
    elect(member, 2);
    say(member, ack(2, 1, 1));
    member.raw.proposeConfChange(IMPLICIT);
    drain(member);
    member.raw.transferLeader(2);
    expect(member.raw.leadTransferee).toBe(2);
    say(member, ack(2, 1, 2));
    expect([member.confState.autoLeave, member.raw.lastIndex]).toEqual([true, 2]);
    tick(member, 10);
    expect(member.raw.leadTransferee).toBe(0);
    propose(member);
    drain(member);
    say(member, ack(2, 1, 3));
    expect(member.raw.lastIndex).toBe(4);
    say(member, ack(2, 1, 4));
    expect(member.confState).toMatchObject({ votersOutgoing: [], autoLeave: false });
  }
});

describe("members", () => {
  it("that were removed and campaign on are ignored by those who hear the leader", () => {
    for (const preVote of [false, true]) {
      const network = Network.of(3, { checkQuorum: true, preVote });
      network.campaign(1);
      network.isolate(3);
      network.raw(1).proposeConfChange(makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 3 }]));
      network.settle(1);
      network.tick(1, 1);
      expect(network.member(2).confState.voters).toEqual([1, 2]);
      network.recover();
      // 3 has not heard of its removal: it is a voter in its own eyes.
      network.raw(3).setRandomizedElectionTimeout(10);
      network.delivered.length = 0;
      network.tick(3, 30);
      const asked = ofType(network.delivered, "MsgVote", "MsgPreVote");
      expect(asked.some(({ to }) => to === 1) && asked.some(({ to }) => to === 2)).toBe(true);
      expect([network.state(1), network.state(2)]).toEqual(["StateLeader 1 1", "StateFollower 1 1"]);
      expect(network.propose(1)).toBe("proposed");
      expect(commitOf(network.member(2))).toBe(3);
    }
  });

  it("that are added are probed from the last entry, not from behind it", () => {
    const member = memberWith(1, [1], { log: [1, 1, 1], term: 1 });
    elect(member);
    expect(member.raw.lastIndex).toBe(4);
    member.raw.applyConfChange(makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId: 2 }]));
    expect(progressOf(member, 2)).toMatchObject({ state: "StateProbe", match: 0, next: 4 });
    const [probe] = ofType(say(member, beat(2, 2)), "MsgApp");
    expect([probe?.index, indexes(probe?.entries)]).toEqual([3, [4]]);
  });

  it("fewer than before may complete a quorum: what waited is committed, and the rest is told", () => {
    const member = memberWith(1, [1, 2, 3, 4]);
    elect(member, 2, 3);
    for (const from of [2, 3]) say(member, ack(from, 1, 1));
    propose(member);
    drain(member);
    say(member, ack(2, 1, 2));
    expect(commitOf(member)).toBe(1);
    member.raw.applyConfChange(makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 4 }]));
    expect(commitOf(member)).toBe(2);
    expect(ofType(drain(member), "MsgApp").map(({ to, commit }) => [to, commit])).toEqual([
      [2, 2],
      [3, 2],
    ]);
  });

  it("that are learners or no members do not confirm reads", () => {
    const member = memberWith(1, [1, 2, 3], { learners: [4, 5] });
    elect(member, 2);
    for (const from of [2, 3]) say(member, ack(from, 1, 1));
    member.raw.readIndex(utf8("r"));
    const [{ context } = { context: undefined }] = ofType(drain(member), "MsgHeartbeat");
    for (const from of [4, 5]) say(member, { ...(beat(from) as object), context } as never);
    expect(member.reads).toEqual([]);
    member.raw.applyConfChange(makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 3 }]));
    say(member, { ...(beat(3) as object), context } as never);
    expect(member.reads).toEqual([]);
    say(member, { ...(beat(2) as object), context } as never);
    expect(member.reads).toEqual([{ index: 1, requestContext: utf8("r") }]);
  });
});

describe("asynchronous writes", () => {
  it("of an entry that came, was overwritten and came again: only the last one's end releases it", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    const take = (from: number, term: number, entry: Entry): Append => {
      member.raw.step(makeMessage({ type: "MsgApp", from, to: 1, term: term as never, entries: [entry] }));
      return member.raw.ready().append as Append;
    };
    const appends = [
      take(2, 1, makeEntry(1, 1, utf8("a"))),
      take(3, 2, makeEntry(2, 1, utf8("b"))),
      take(2, 3, makeEntry(1, 1, utf8("a"))),
    ];
    const persisted: number[] = [];
    for (const each of appends) {
      write(member, each);
      persisted.push(member.raw.basicStatus().persisted);
    }
    expect(persisted).toEqual([0, 0, 1]);
  });

  it("that overwrite what was durable make it wait again before it is applied", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    const from2 = { type: "MsgApp", from: 2, to: 1, term: 1 as never } as const;
    member.raw.step(makeMessage({ ...from2, entries: [1, 2, 3].map((index) => makeEntry(1, index)) }));
    write(member, member.raw.ready().append);
    expect(member.raw.basicStatus().persisted).toBe(3);
    const entries = [makeEntry(2, 2), makeEntry(2, 3)];
    const other = { type: "MsgApp", from: 3, to: 1, term: 2 as never, commit: 3 as never } as const;
    member.raw.step(makeMessage({ ...other, index: 1 as never, logTerm: 1 as never, entries }));
    const ready = member.raw.ready();
    expect([member.raw.basicStatus().persisted, commitOf(member)]).toEqual([1, 3]);
    expect(indexes(ready.apply?.entries)).toEqual([1]);
    write(member, ready.append);
    member.raw.ackApply(ready.apply as Apply);
    const { apply } = member.raw.ready();
    expect(apply?.entries.map(({ index, term }) => [index, term])).toEqual([
      [2, 2],
      [3, 2],
    ]);
  });

  it("of a new leader's first entry do not hold up its appends", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    write(member, member.raw.ready().append);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: 1 as never }));
    propose(member);
    const ready = member.raw.ready();
    expect(stateOf(member)).toBe("StateLeader");
    expect(ofType(ready.messages, "MsgApp").map(({ to, entries }) => [to, indexes(entries)])).toEqual([
      [2, [1]],
      [3, [1]],
    ]);
    expect([indexes(ready.append?.entries), progressOf(member, 1).match]).toEqual([[1, 2], 0]);
  });
});

describe("a Ready with a snapshot", () => {
  it("has no committed entries: those behind it come when it is restored", () => {
    const member = memberWith(2, [1, 2]);
    const base = { from: 1, to: 2, term: 1 as never } as const;
    const snapshot = makeSnapshot(5, 1, { voters: [1, 2] });
    member.raw.step(makeMessage({ ...base, type: "MsgSnap", snapshot }));
    const next = { index: 5 as never, logTerm: 1 as never, entries: [makeEntry(1, 6)], commit: 6 as never };
    member.raw.step(makeMessage({ ...base, ...next, type: "MsgApp" }));
    const ready = member.raw.ready();
    expect(ready.append?.snapshot?.metadata.index).toBe(5);
    expect([indexes(ready.append?.entries), ready.apply]).toEqual([[6], undefined]);
    member.storage.write(ready.append as Append);
    member.raw.advance(ready);
    expect(indexes(member.raw.ready().apply?.entries)).toEqual([6]);
  });
});

describe("a peer", () => {
  /** Leads term 1; 2 and 3 replicate and have entry 1. */
  function leading(settings = {}): Member {
    const member = memberWith(1, [1, 2, 3], {}, settings);
    elect(member, 2);
    for (const from of [2, 3]) say(member, ack(from, 1, 1));
    return member;
  }
  function compacted(member: Member): void {
    const index = member.raw.commitIndex as never;
    member.storage.createSnapshot(index, member.confState, new Uint8Array());
    member.storage.compact(index);
  }

  it("with a full window gets a snapshot, not an empty append, once its place in the log is compacted", () => {
    const member = leading({ maxInflightMessages: 2 });
    for (let i = 0; i < 6; i++) propose(member);
    drain(member);
    expect(progressOf(member, 3)).toMatchObject({ state: "StateReplicate", next: 4, paused: true });
    for (const index of [3, 5, 7]) say(member, ack(2, 1, index));
    expect(commitOf(member)).toBe(7);
    compacted(member);
    const sent = say(member, beat(3));
    expect(sent.filter(({ to }) => to === 3).map(({ type }) => type)).toEqual(["MsgSnap"]);
    expect(progressOf(member, 3)).toMatchObject({ state: "StateSnapshot", pendingSnapshot: 7 });
  });

  it("that has everything leaves the probing state by one empty append after a heartbeat", () => {
    const member = leading();
    member.raw.reportUnreachable(3);
    expect(progressOf(member, 3)).toMatchObject({ state: "StateProbe", match: 1, next: 2 });
    const sent = ofType(say(member, beat(3)), "MsgApp");
    expect(sent.map(({ to, index, entries }) => [to, index, entries.length])).toEqual([[3, 1, 0]]);
    say(member, ack(3, 1, 1));
    expect(progressOf(member, 3)).toMatchObject({ state: "StateReplicate", match: 1, next: 2 });
  });

  it("that acknowledges entries which were committed meanwhile is told so in answer, not by a heartbeat", () => {
    const member = leading();
    member.raw.reportUnreachable(3);
    propose(member);
    expect(ofType(drain(member), "MsgApp").map(({ to, commit }) => [to, commit])).toEqual([
      [2, 1],
      [3, 1],
    ]);
    // 3 is probed: the commit that 2 makes cannot be told to it now.
    expect(ofType(say(member, ack(2, 1, 2)), "MsgApp").map(({ to, commit }) => [to, commit])).toEqual([
      [2, 2],
    ]);
    const sent = ofType(say(member, ack(3, 1, 2)), "MsgApp");
    expect(sent.map(({ to, index, commit, entries }) => [to, index, commit, entries.length])).toEqual([
      [3, 2, 2, 0],
    ]);
  });

  it.each([true, false])("gets a snapshot only if it was heard of lately, %s", (isHeard) => {
    const member = leading({ checkQuorum: true });
    propose(member);
    drain(member);
    say(member, ack(2, 1, 2));
    compacted(member);
    // Two checks of the quorum, which 2 alone answers.
    for (let i = 0; i < 20; i++) {
      say(member, beat(2));
      tick(member, 1);
    }
    expect([stateOf(member), progressOf(member, 3).recentActive]).toEqual(["StateLeader", false]);
    member.raw.reportUnreachable(3);
    expect(progressOf(member, 3)).toMatchObject({ state: "StateProbe", match: 1, paused: false });
    const answer = isHeard ? say(member, beat(3)) : [];
    propose(member);
    const sent = [...answer, ...drain(member)].filter(({ to }) => to === 3).map(({ type }) => type);
    expect(sent).toEqual(isHeard ? ["MsgSnap"] : []);
  });
});

describe("the uncommitted quota", () => {
  it("gets nothing back for entries of a former term, be they applied by a Ready from before the election", () => {
    const member = memberWith(1, [1, 2, 3], {}, { maxUncommittedEntriesBytes: 4, asyncStorageWrites: true });
    const entries = [1, 2].map((index) => makeEntry(1, index, utf8("old!")));
    const commit = 1 as never;
    member.raw.step(makeMessage({ type: "MsgApp", from: 2, to: 1, term: 1 as never, entries, commit }));
    const writing = member.raw.ready();
    write(member, writing.append);
    const { apply } = member.raw.ready();
    expect(indexes(apply?.entries)).toEqual([1]);
    member.raw.campaign();
    write(member, member.raw.ready().append);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: 2 as never }));
    expect(stateOf(member)).toBe("StateLeader");
    expect(propose(member, "1234")).toBe("proposed");
    member.raw.ackApply(apply as Apply);
    expect(propose(member, "1")).toBe("uncommittedQuota");
    write(member, member.raw.ready().append);
    // The last entry of the former term and the empty one of this are applied; the proposal is not yet.
    member.raw.step(makeMessage({ type: "MsgAppResp", from: 2, to: 1, term: 2 as never, index: 3 as never }));
    const later = member.raw.ready().apply;
    expect(indexes(later?.entries)).toEqual([2, 3]);
    member.raw.ackApply(later as Apply);
    expect(propose(member, "1")).toBe("uncommittedQuota");
  });
});
