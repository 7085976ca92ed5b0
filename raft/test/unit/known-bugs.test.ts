/** Known bugs of other Raft libraries that no scenario beside this file covers: one regression each. */
import { describe, expect, it } from "vitest";
import { SeededRandom } from "../../../base/random.js";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry, makeMessage, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { Append, Entry } from "../../types.js";
import { drain, makeMember, Network } from "../network.js";
import { elect, memberWith, ofType, say, stateOf, tick } from "./helpers.js";

describe("elections", () => {
  it("a vote that was asked for but not persisted may be given again after a crash, and no majority counts it twice", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    const { messages } = member.raw.ready();
    expect(ofType(messages, "MsgVote").length).toBe(2);
    // It crashes before the write: at the next start it may vote for another in the same term.
    const again = makeMember(1, [1, 2, 3], { storage: member.storage, asyncStorageWrites: true });
    again.raw.step(makeMessage({ type: "MsgVote", from: 2, to: 1, term: 1 as never }));
    const vote = again.raw.ready().append as Append;
    expect(vote.hardState).toMatchObject({ term: 1, vote: 2 });
    // And before the crash its own vote did not count: one grant of three was no majority.
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 3, to: 1, term: 1 as never }));
    expect(stateOf(member)).toBe("StateCandidate");
  });

  it("nodes with random sources of their own draw different timeouts", () => {
    const first = Array.from({ length: 50 }, (_, id) => {
      const member = memberWith(1, [1, 2, 3], {}, { random: new SeededRandom(id + 1) });
      let ticks = 1;
      while (ofType(tick(member, 1), "MsgVote").length === 0) ticks++;
      return ticks;
    });
    expect(new Set(first).size).toBeGreaterThanOrEqual(8);
  });

  it("ticks that come in a burst do not make a silent leader lead longer", () => {
    const member = memberWith(1, [1, 2, 3], {}, { checkQuorum: true });
    elect(member, 2);
    for (let i = 0; i < 100; i++) member.raw.tick();
    expect(stateOf(member)).not.toBe("StateLeader");
    expect(member.raw.inLease()).toBe(false);
  });
});

describe("configuration changes", () => {
  it("a snapshot that promotes another node changes nothing in what this node is", () => {
    const leader = memberWith(1, [1, 2], { learners: [3] });
    elect(leader, 2);
    leader.raw.applyConfChange(makeConfChange([{ type: "ConfChangeAddNode", nodeId: 3 }]));
    expect(stateOf(leader)).toBe("StateLeader");
    const learner = memberWith(3, [1, 2], { learners: [3, 4] });
    const snapshot = makeSnapshot(5, 1, { voters: [1, 2, 4], learners: [3] });
    say(learner, { type: "MsgSnap", from: 1, term: 1 as never, snapshot });
    expect(learner.raw.basicStatus()).toMatchObject({ isLearner: true, state: "StateFollower" });
  });

  it("a leader of two that is removed goes on sending until it has applied that, and the other one then leads alone", () => {
    const network = Network.of(2);
    network.campaign(1);
    network.raw(1).proposeConfChange(makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 1 }]));
    network.settle(1);
    network.tick(1, 2);
    expect(network.member(2).confState.voters).toEqual([2]);
    network.campaign(2);
    expect(network.raw(2).basicStatus().state).toBe("StateLeader");
  });
});

describe("entries", () => {
  it("of a proposal are not shared with the caller's array, and lists handed out do not change", () => {
    const leader = memberWith(1, [1]);
    elect(leader);
    const proposals = [new Uint8Array([7]), new Uint8Array([8])];
    leader.raw.proposeMany(proposals);
    proposals[0] = new Uint8Array([9]);
    proposals.length = 1;
    drain(leader);
    expect(leader.applied.map(({ index, data }) => [index, ...data])).toEqual([[1], [2, 7], [3, 8]]);
    const term = 1 as never;
    const list: Entry[] = [makeEntry(1, 1, new Uint8Array([1]))];
    const follower = memberWith(2, [1, 2], {}, { asyncStorageWrites: true });
    follower.raw.step(makeMessage({ type: "MsgApp", from: 1, to: 2, term, entries: list }));
    const ready = follower.raw.ready();
    list.push(makeEntry(1, 2));
    list[0] = makeEntry(9, 1);
    expect(ready.append?.entries.map((entry) => [entry.term, entry.index, ...entry.data])).toEqual([
      [1, 1, 1],
    ]);
    const taken = ready.append?.entries;
    follower.raw.step(
      makeMessage({ type: "MsgApp", from: 1, to: 2, term: 2 as never, entries: [makeEntry(2, 1)] }),
    );
    expect(taken?.map((entry) => entry.term)).toEqual([1]);
  });

  it("applied asynchronously are not mixed with a snapshot that overtakes them", () => {
    const member = memberWith(2, [1, 2], {}, { asyncStorageWrites: true });
    const entries = [makeEntry(1, 1), makeEntry(1, 2)];
    member.raw.step(
      makeMessage({ type: "MsgApp", from: 1, to: 2, term: 1 as never, entries, commit: 2 as never }),
    );
    const first = member.raw.ready();
    member.storage.write(first.append as Append);
    member.raw.ackAppend(first.append as Append);
    const applying = member.raw.ready();
    expect(applying.apply?.entries.length).toBe(2);
    const snapshot = makeSnapshot(10, 1, { voters: [1, 2] });
    member.raw.step(makeMessage({ type: "MsgSnap", from: 1, to: 2, term: 1 as never, snapshot }));
    const second = member.raw.ready();
    expect([second.append?.snapshot?.metadata.index, second.apply]).toEqual([10, undefined]);
    if (applying.apply !== undefined) member.raw.ackApply(applying.apply);
    member.storage.write(second.append as Append);
    member.raw.ackAppend(second.append as Append);
    expect(member.raw.basicStatus()).toMatchObject({ applied: 10, commit: 10 });
  });
});

describe("groups that rest", () => {
  it("a leader that is woken by ping tells its peers what they have missed", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    network.propose(1);
    network.recover();
    network.raw(1).ping();
    network.settle(1);
    expect(network.raw(3).commitIndex).toBe(network.raw(1).commitIndex);
  });

  it("a node under an id that was used before must not come back empty: what it acknowledged is gone", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    network.propose(1);
    expect(network.raw(2).commitIndex).toBe(2);
    // 2 comes back empty under its id: its vote now elects a leader without the entry. The README forbids it.
    network.members.set(
      2,
      makeMember(2, [1, 2, 3], { storage: MemStorage.withConfState({ voters: [1, 2, 3] }) }),
    );
    network.recover();
    network.isolate(1);
    network.campaign(3);
    expect(network.raw(3).basicStatus().state).toBe("StateLeader");
    expect(network.raw(3).lastIndex).toBe(2);
  });
});
