/** What raft-rs has beyond etcd's raft; options that are off by default. */
import { describe, expect, it } from "vitest";
import { fromUtf8 } from "../../../base/bytes.js";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry, makeMessage, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { Append, EntriesContext, Entry, NodeId } from "../../types.js";
import { drain, makeMember, type Member, Network, type Settings } from "../network.js";
import {
  commitOf,
  elect,
  memberWith,
  ofType,
  progressOf,
  propose,
  say,
  stateOf,
  termOf,
  terms,
  tick,
} from "./helpers.js";

const ack = (from: number, term: number, index: number): never =>
  ({ type: "MsgAppResp", from, term, index }) as never;
function write(member: Member, append: Append | undefined): void {
  if (append === undefined) return;
  member.storage.write(append);
  member.raw.ackAppend(append);
}

describe("commit indexes in answers", () => {
  it("let the leader know what each follower has committed, over partitions and snapshots", () => {
    const network = Network.of(3, { commitInResponses: true });
    network.campaign(1);
    const committed = (): number[] => [2, 3].map((id) => progressOf(network.member(1), id).committed);
    network.tick(1, 1);
    expect(committed()).toEqual([1, 1]);
    network.isolate(3);
    network.propose(1);
    network.propose(1);
    network.tick(1, 1);
    expect(committed()).toEqual([3, 1]);
    network.compact(1);
    network.recover();
    network.tick(1, 3);
    expect(committed()).toEqual([3, 3]);
  });

  it("are not sent unless asked for", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.tick(1, 2);
    expect(progressOf(network.member(1), 2).committed).toBe(0);
  });
});

describe("commit by vote", () => {
  /** 1 led and committed entry 2 with 2 alone, of which 2 heard; 3 has the entry, but not that it is committed. */
  function late(): Network {
    const network = Network.of(3, { commitByVote: true });
    network.campaign(1);
    network.propose(1);
    network.ignore("MsgHeartbeat");
    network.cut(1, 3);
    network.propose(1);
    network.recover();
    return network;
  }

  it.each([false, true])("a request that is refused tells who lags all the same, pre-vote %s", (preVote) => {
    const member = memberWith(
      3,
      [1, 2, 3],
      { log: [1, 1, 1], term: 1, commit: 1 },
      { commitByVote: true, preVote },
    );
    const type = preVote ? "MsgPreVote" : "MsgVote";
    const request = { type, from: 2, term: 2, index: 2, logTerm: 1, commit: 2, commitTerm: 1 } as never;
    expect(ofType(say(member, request), "MsgVoteResp", "MsgPreVoteResp")[0]?.reject).toBe(true);
    expect(commitOf(member)).toBe(2);
  });

  it.each([false, true])("a refusal tells the candidate that lags, pre-vote %s", (preVote) => {
    const voter = memberWith(2, [1, 2, 3], { log: [1, 1, 1], term: 1, commit: 2 }, { commitByVote: true });
    const candidate = memberWith(
      3,
      [1, 2, 3],
      { log: [1, 1], term: 1, commit: 1 },
      { commitByVote: true, preVote },
    );
    candidate.raw.campaign();
    const request = ofType(drain(candidate), "MsgVote", "MsgPreVote").find(({ to }) => to === 2);
    const [refusal] = ofType(say(voter, request as never), "MsgVoteResp", "MsgPreVoteResp");
    expect(refusal).toMatchObject({ reject: true, commit: 2, commitTerm: 1 });
    say(candidate, refusal as never);
    expect(commitOf(candidate)).toBe(2);
  });

  it("does not trust a commit index whose term is another than the own entry's", () => {
    const member = memberWith(3, [1, 2, 3], { log: [1, 1, 1], term: 2, commit: 1 }, { commitByVote: true });
    say(member, {
      type: "MsgVote",
      from: 2,
      term: 3,
      index: 3,
      logTerm: 2,
      commit: 3,
      commitTerm: 2,
    } as never);
    expect(commitOf(member)).toBe(1);
  });

  it("is off by default: requests carry no commit index", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1], term: 1, commit: 2 });
    member.raw.campaign();
    expect(ofType(drain(member), "MsgVote")[0]).toMatchObject({ commit: 0, commitTerm: 0 });
    expect(late().leaders()).toEqual([1]);
  });

  it("an answer to a read names the commit index of the leader", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.propose(1);
    expect(network.member(3).applied.length).toBe(2);
    network.raw(3).readIndex(new Uint8Array([1]));
    network.settle(3);
    expect(network.member(3).reads[0]?.index).toBe(commitOf(network.member(3)));
  });
});

describe("priority", () => {
  it("decides between equal logs, and never against a better one", () => {
    const ids = [1, 2, 3];
    const members = (logs: number[][], priorities: number[]): Network =>
      new Network(
        ids.map((id, at) =>
          memberWith(id, ids, { log: logs[at] as number[], term: 1 }, { priority: priorities[at] as number }),
        ),
      );
    for (const [logs, priorities, candidate, wins] of [
      [[[1], [1], [1]], [3, 1, 1], 1, true],
      [[[1], [1], [1]], [2, 2, 2], 1, true],
      [[[1], [1], [1]], [0, 2, 2], 1, false],
      [[[1], [1], [1]], [1, 3, 3], 1, false],
      // A longer log wins against any priority.
      [[[1, 1], [1], [1]], [1, 3, 3], 1, true],
      [[[1], [1, 1], [1, 1]], [3, 1, 1], 1, false],
    ] as [number[][], number[], NodeId, boolean][]) {
      const network = members(logs, priorities);
      network.campaign(candidate);
      expect(network.leaders().includes(candidate)).toBe(wins);
    }
  });

  it("may be changed while the group runs", () => {
    const network = Network.of(3, { priority: 2 });
    network.raw(1).setPriority(1);
    network.campaign(1);
    expect(network.leaders()).toEqual([]);
    network.raw(1).setPriority(5);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    network.raw(1).setPriority(1);
    network.campaign(2);
    expect(network.leaders()).toEqual([2]);
  });
});

describe("group commit", () => {
  function groups(matches: number[], assigned: number[]): Member {
    const ids = matches.map((_, at) => at + 1);
    const member = memberWith(1, ids, {}, { groupCommit: true });
    elect(member, ...ids.slice(1));
    member.raw.assignCommitGroups(ids.map((id, at) => [id, assigned[at] as number] as const));
    for (let i = 1; i < (matches[0] as number); i++) propose(member);
    drain(member);
    for (const [at, match] of matches.entries()) if (at > 0 && match > 0) say(member, ack(at + 1, 1, match));
    return member;
  }

  it.each([
    // matches, groups, commit with groups, commit by plain majority
    [[1], [0], 1, 1],
    [[1], [1], 1, 1],
    [[2, 2, 1], [1, 2, 1], 2, 2],
    [[2, 2, 1], [1, 1, 2], 1, 2],
    [[2, 2, 1], [1, 0, 1], 1, 2],
    [[2, 2, 1], [0, 0, 0], 1, 2],
    [[4, 2, 1, 3], [0, 0, 0, 0], 1, 2],
    [[4, 2, 1, 3], [1, 0, 0, 0], 1, 2],
    [[4, 2, 1, 3], [0, 1, 0, 2], 2, 2],
    [[4, 2, 1, 3], [0, 2, 1, 0], 1, 2],
    [[4, 2, 1, 3], [1, 1, 1, 1], 2, 2],
    [[4, 2, 1, 3], [1, 1, 2, 1], 1, 2],
    [[4, 2, 1, 3], [1, 2, 1, 1], 2, 2],
  ] as [number[], number[], number, number][])(
    "of %j in groups %j commits %d",
    (matches, assigned, grouped, plain) => {
      const member = groups(matches, assigned);
      expect(commitOf(member)).toBe(grouped);
      member.raw.enableGroupCommit(false);
      expect(commitOf(member)).toBe(plain);
    },
  );

  it("is consistent only where a leader has applied an entry of its term and two groups hold the commit index", () => {
    const member = groups([2, 2, 1], [1, 2, 1]);
    expect(member.raw.commitGroupsConsistent()).toBe(true);
    expect(groups([2, 2, 1], [1, 1, 1]).raw.commitGroupsConsistent()).toBe(false);
    const off = groups([2, 2, 1], [1, 2, 1]);
    off.raw.clearCommitGroups();
    expect(off.raw.commitGroupsConsistent()).toBe(false);
    const follower = memberWith(1, [1, 2, 3], {}, { groupCommit: true });
    expect(follower.raw.commitGroupsConsistent()).toBeUndefined();
    const fresh = memberWith(1, [1, 2, 3], {}, { groupCommit: true });
    elect(fresh, 2);
    expect(fresh.raw.commitGroupsConsistent()).toBeUndefined();
  });
});

describe("a requested snapshot", () => {
  /** All three are at the same place; 2 asks for a snapshot although it has everything. */
  function settled(): Network {
    const network = Network.of(3);
    network.campaign(1);
    for (let i = 0; i < 3; i++) network.propose(1);
    network.compact(1);
    return network;
  }

  it("is sent to a follower that is up to date", () => {
    const network = settled();
    network.propose(1);
    network.compact(1);
    expect(network.raw(2).requestSnapshot()).toBe(true);
    network.delivered.length = 0;
    network.settle(2);
    network.tick(1, 1);
    expect(network.delivered.some(({ type, to }) => type === "MsgSnap" && to === 2)).toBe(true);
    network.raw(1).reportSnapshot(2, "finish");
    network.tick(1, 1);
    network.propose(1);
    expect(progressOf(network.member(1), 2).state).toBe("StateReplicate");
    expect(commitOf(network.member(2))).toBe(commitOf(network.member(1)));
  });

  it("is sent to a peer that is probed, too", () => {
    const network = settled();
    network.propose(1);
    network.compact(1);
    network.raw(1).reportUnreachable(2);
    expect(progressOf(network.member(1), 2)).toMatchObject({ state: "StateProbe", match: 5 });
    expect(network.raw(2).requestSnapshot()).toBe(true);
    network.delivered.length = 0;
    network.settle(2);
    const sent = network.delivered.filter(({ type, to }) => type === "MsgSnap" && to === 2);
    expect(sent.map(({ snapshot }) => snapshot?.metadata.index)).toEqual([5]);
    network.raw(1).reportSnapshot(2, "finish");
    network.tick(1, 1);
    network.propose(1);
    expect(progressOf(network.member(1), 2)).toMatchObject({ state: "StateReplicate", match: 6 });
  });

  it("waits while the storage has none of that index, and comes when it has", () => {
    const network = settled();
    network.propose(1);
    expect(network.raw(2).requestSnapshot()).toBe(true);
    network.delivered.length = 0;
    network.settle(2);
    expect(network.delivered.some(({ type }) => type === "MsgSnap")).toBe(false);
    network.compact(1);
    network.tick(1, 2);
    expect(network.delivered.some(({ type, to }) => type === "MsgSnap" && to === 2)).toBe(true);
  });

  it("is refused where it makes no sense: at the leader, without one, and before an entry of the term", () => {
    const network = settled();
    expect(network.raw(1).requestSnapshot()).toBe(false);
    const alone = memberWith(2, [1, 2], { log: [1], term: 1 });
    expect(alone.raw.requestSnapshot()).toBe(false);
    say(alone, { type: "MsgHeartbeat", from: 1, term: 2 } as never);
    expect(alone.raw.requestSnapshot()).toBe(false);
    say(alone, {
      type: "MsgApp",
      from: 1,
      term: 2,
      index: 1,
      logTerm: 1,
      entries: [makeEntry(2, 2)],
    } as never);
    expect(alone.raw.requestSnapshot()).toBe(true);
    const [refusal] = ofType(drain(alone), "MsgAppResp");
    expect(refusal).toMatchObject({ reject: true, requestSnapshot: 2 });
  });

  it("is given up when the follower's role or term changes", () => {
    const asking = (): Member => {
      const member = memberWith(2, [1, 2, 3], { log: [1], term: 1 });
      say(member, { type: "MsgHeartbeat", from: 1, term: 1 } as never);
      expect(member.raw.requestSnapshot()).toBe(true);
      drain(member);
      return member;
    };
    const append = {
      type: "MsgApp",
      from: 1,
      term: 1,
      index: 1,
      logTerm: 1,
      entries: [makeEntry(1, 2)],
    } as never;
    const refuses = asking();
    expect(ofType(say(refuses, append), "MsgAppResp")[0]?.requestSnapshot).toBe(1);
    const later = asking();
    say(later, { type: "MsgHeartbeat", from: 3, term: 2 } as never);
    const [taken] = ofType(say(later, { ...(append as object), from: 3, term: 2 } as never), "MsgAppResp");
    expect(taken).toMatchObject({ reject: false, requestSnapshot: 0 });
    const candidate = asking();
    candidate.raw.campaign();
    drain(candidate);
    say(candidate, { type: "MsgHeartbeat", from: 3, term: 2 } as never);
    expect(
      ofType(say(candidate, { ...(append as object), from: 3, term: 2 } as never), "MsgAppResp")[0]?.reject,
    ).toBe(false);
  });

  it("asked for again after the match has moved is answered once the snapshot is new enough", () => {
    const network = settled();
    expect(network.raw(2).requestSnapshot()).toBe(true);
    network.propose(1);
    network.settle(2);
    network.compact(1);
    network.tick(1, 2);
    expect(network.delivered.some(({ type, to }) => type === "MsgSnap" && to === 2)).toBe(true);
    network.raw(1).reportSnapshot(2, "finish");
    network.tick(1, 1);
    network.propose(1);
    expect(commitOf(network.member(2))).toBe(commitOf(network.member(1)));
  });

  it("does not outlive the leader that it was asked of", () => {
    const network = settled();
    network.propose(1);
    expect(network.raw(2).requestSnapshot()).toBe(true);
    network.campaign(3);
    network.propose(3);
    expect(commitOf(network.member(2))).toBe(commitOf(network.member(3)));
    expect(progressOf(network.member(3), 2).state).toBe("StateReplicate");
  });
});

describe("appends in batches", () => {
  function replicating(settings = {}): Member {
    const member = memberWith(1, [1, 2], {}, settings);
    elect(member, 2);
    say(member, ack(2, 1, 1));
    return member;
  }

  it("join what has not been taken yet into one message", () => {
    const member = replicating({ batchAppend: true });
    for (let i = 0; i < 4; i++) propose(member);
    const sent = ofType(drain(member), "MsgApp");
    expect(sent.map(({ entries }) => entries.length)).toEqual([4]);
    const plain = replicating();
    for (let i = 0; i < 4; i++) propose(plain);
    expect(ofType(drain(plain), "MsgApp").map(({ entries }) => entries.length)).toEqual([1, 1, 1, 1]);
    plain.raw.setBatchAppend(true);
    for (let i = 0; i < 4; i++) propose(plain);
    expect(ofType(drain(plain), "MsgApp").map(({ entries }) => entries.length)).toEqual([4]);
  });

  it("and a rejection in between start anew", () => {
    const member = replicating({ batchAppend: true });
    for (let i = 0; i < 2; i++) propose(member);
    drain(member);
    member.raw.step(
      makeMessage({ ...(ack(2, 1, 3) as object), to: 1, reject: true, rejectHint: 1 as never } as never),
    );
    propose(member);
    const sent = ofType(drain(member), "MsgApp");
    expect(sent.flatMap(({ entries }) => entries.map(({ index }) => index))).toContain(2);
  });

  it("without broadcasts of commits tell followers with the next entry or heartbeat", () => {
    const member = replicating({ skipBroadcastCommit: true });
    propose(member);
    drain(member);
    expect(ofType(say(member, ack(2, 1, 2)), "MsgApp")).toEqual([]);
    expect(ofType(tick(member, 1), "MsgHeartbeat")[0]?.commit).toBe(2);
    member.raw.setSkipBroadcastCommit(false);
    propose(member);
    drain(member);
    expect(ofType(say(member, ack(2, 1, 3)), "MsgApp").map(({ commit }) => commit)).toEqual([3]);
  });

  it("are broadcast all the same while a change of members is on its way", () => {
    const member = replicating({ skipBroadcastCommit: true });
    member.raw.proposeConfChange(makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId: 3 }]));
    drain(member);
    expect(ofType(say(member, ack(2, 1, 2)), "MsgApp").filter(({ to }) => to === 2).length).toBe(1);
  });
});

describe("entries fetched later", () => {
  /** Answers requests for sending only once told to; keeps what was asked. */
  class Slow extends MemStorage {
    readonly asked: EntriesContext[] = [];
    isSlow = true;
    override entries(
      low: never,
      high: never,
      bytesMax: number,
      context?: EntriesContext,
    ): ReturnType<MemStorage["entries"]> {
      if (this.isSlow && context?.reason === "send") {
        this.asked.push(context);
        return "logTemporarilyUnavailable";
      }
      return super.entries(low, high, bytesMax);
    }
  }
  function slow(voters: number[], settings: Settings = {}): [Member, Slow] {
    const storage = new Slow();
    storage.applySnapshot({
      metadata: {
        index: 1 as never,
        term: 1 as never,
        confState: MemStorage.withConfState({ voters }).initialState().confState,
      },
      data: new Uint8Array(),
    });
    storage.append(Array.from({ length: 10 }, (_, at) => makeEntry(1, at + 2)));
    const member = makeMember(1, voters, { ...settings, storage, applied: 1 });
    return [member, storage];
  }
  const refusal = (term: number): never =>
    ({ type: "MsgAppResp", from: 2, term, index: 11, reject: true, rejectHint: 1, logTerm: 1 }) as never;

  it("are sent when the storage has them", () => {
    const [member, storage] = slow([1, 2, 3]);
    elect(member, 3);
    const term = termOf(member);
    expect(ofType(say(member, refusal(term)), "MsgApp").filter(({ entries }) => entries.length > 0)).toEqual(
      [],
    );
    expect(storage.asked).toEqual([{ reason: "send", to: 2, term, aggressively: false }]);
    storage.isSlow = false;
    member.raw.onEntriesFetched(storage.asked[0] as EntriesContext);
    const sent = ofType(drain(member), "MsgApp");
    expect(sent.flatMap(({ to, entries }) => entries.map(({ index }) => [to, index]))[0]).toEqual([2, 2]);
  });

  it("asked for as many as a window takes are sent as many", () => {
    const [member, storage] = slow([1, 2, 3], { maxSizePerMessageBytes: 0, maxInflightMessages: 4 });
    elect(member, 3);
    const term = termOf(member);
    storage.isSlow = false;
    say(member, refusal(term));
    storage.isSlow = true;
    storage.asked.length = 0;
    expect(ofType(say(member, { type: "MsgAppResp", from: 2, term, index: 2 }), "MsgApp")).toEqual([]);
    expect(storage.asked).toContainEqual({ reason: "send", to: 2, term, aggressively: true });
    storage.isSlow = false;
    member.raw.onEntriesFetched(storage.asked.at(-1) as EntriesContext);
    const sent = ofType(drain(member), "MsgApp").flatMap(({ entries }) => entries);
    expect(sent.map(({ index }) => index)).toEqual([3, 4, 5, 6]);
  });

  it("for a member that was removed meanwhile are dropped", () => {
    const [member, storage] = slow([1, 2, 3]);
    elect(member, 3);
    say(member, refusal(termOf(member)));
    storage.isSlow = false;
    member.raw.applyConfChange(makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 2 }]));
    drain(member);
    member.raw.onEntriesFetched(storage.asked[0] as EntriesContext);
    expect(ofType(drain(member), "MsgApp").filter(({ to }) => to === 2)).toEqual([]);
  });

  it("for who leads no more, or leads another term, are dropped", () => {
    const [member, storage] = slow([1, 2, 3]);
    elect(member, 3);
    const term = termOf(member);
    say(member, refusal(term));
    const asked = storage.asked[0] as EntriesContext;
    storage.isSlow = false;
    say(member, { type: "MsgHeartbeat", from: 3, term: term + 1 } as never);
    member.raw.onEntriesFetched(asked);
    expect(ofType(drain(member), "MsgApp")).toEqual([]);
    elect(member, 3);
    expect(termOf(member)).toBeGreaterThan(term);
    drain(member);
    member.raw.onEntriesFetched(asked);
    expect(ofType(drain(member), "MsgApp")).toEqual([]);
  });

  it("are never waited for by a Ready", () => {
    const [member] = slow([1]);
    elect(member);
    expect(member.applied.map(({ index }) => index)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });
});

describe("entries that are applied before they are durable", () => {
  it("are so at a leader alone, as far as the limit, and no more after it has stepped down", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true, maxApplyUnpersistedEntries: 2 });
    member.raw.campaign();
    write(member, member.raw.ready().append);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: 1 as never }));
    write(member, member.raw.ready().append);
    for (let i = 0; i < 4; i++) propose(member);
    const unwritten = member.raw.ready();
    expect(unwritten.append?.entries.length).toBe(4);
    for (const from of [2, 3])
      member.raw.step(makeMessage({ ...(ack(from, 1, 5) as object), to: 1 } as never));
    const applied = member.raw.ready();
    expect(applied.apply?.entries.map(({ index }) => index)).toEqual([1, 2, 3]);
    member.raw.step(
      makeMessage({ type: "MsgHeartbeat", from: 2, to: 1, term: 2 as never, commit: 5 as never }),
    );
    expect(stateOf(member)).toBe("StateFollower");
    if (applied.apply !== undefined) member.raw.ackApply(applied.apply);
    expect(member.raw.ready().apply).toBeUndefined();
  });

  it("with asynchronous applies lagging behind appends come in order and once", () => {
    const member = memberWith(1, [1], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    const seen: Entry[] = [];
    const pending = [];
    for (let round = 0; round < 20; round++) {
      propose(member, String(round));
      while (member.raw.hasReady()) {
        const ready = member.raw.ready();
        write(member, ready.append);
        if (ready.apply !== undefined) pending.push(ready.apply);
      }
      if (round % 3 === 2) {
        for (const apply of pending.splice(0, 2)) {
          seen.push(...apply.entries);
          member.raw.ackApply(apply);
        }
      }
    }
    for (const apply of pending) {
      seen.push(...apply.entries);
      member.raw.ackApply(apply);
    }
    expect(seen.map(({ index }) => index)).toEqual(seen.map((_, at) => at + 1));
    expect(fromUtf8((seen.at(-1) as Entry).data)).toBe("19");
    expect(terms(member).length).toBe(seen.length);
  });
});

describe("check-quorum at the start of a group", () => {
  it("of nodes that begin at term 1 by a snapshot compares with that term", () => {
    const storage = new MemStorage();
    storage.applySnapshot({
      metadata: {
        index: 1 as never,
        term: 1 as never,
        confState: MemStorage.withConfState({ voters: [1, 2] }).initialState().confState,
      },
      data: new Uint8Array(),
    });
    const member = makeMember(1, [1, 2], { storage, applied: 1 });
    const message = { type: "MsgVote", from: 2, term: 2, index: 0, logTerm: 0 } as never;
    expect(ofType(say(member, message), "MsgVoteResp")[0]?.reject).toBe(true);
    expect(member.raw.lastIndex).toBe(1);
  });
});

describe("a late request for a snapshot", () => {
  it("does not keep entries from a peer that answers heartbeats again", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    elect(member, 2);
    expect(member.raw.propose(new Uint8Array(1)).kind).toBe("proposed");
    drain(member);
    const term = member.raw.term as never;
    const index = member.raw.lastIndex as never;
    const request = { index: 1 as never, rejectHint: 1 as never, requestSnapshot: index, reject: true };
    const asked = say(member, { type: "MsgAppResp", from: 2, term, ...request });
    expect(ofType(asked, "MsgSnap")).toEqual([]);
    const answer = say(member, { type: "MsgHeartbeatResp", from: 2, term });
    expect(ofType(answer, "MsgApp").length).toBe(1);
  });
});

describe("an answer to an earlier request for a snapshot", () => {
  it("does not replace a log that has grown since", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1, 1], term: 1 });
    say(member, { type: "MsgHeartbeat", from: 2, term: 1 as never, commit: 1 as never });
    expect(member.raw.requestSnapshot()).toBe(true);
    const snapshot = makeSnapshot(
      1,
      1,
      MemStorage.withConfState({ voters: [1, 2] }).initialState().confState,
    );
    say(member, { type: "MsgSnap", from: 2, term: 1 as never, snapshot });
    expect([member.raw.hasPendingSnapshot, member.raw.lastIndex]).toEqual([false, 3]);
  });
});
