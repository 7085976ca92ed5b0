/** `RawNode` as embedders drive it: steps, Readys, restarts, acknowledgements, also of asynchronous writes. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../../base/bytes.js";
import { makeConfChange } from "../../confchange-codec.js";
import { describeEntry } from "../../describe.js";
import {
  entryBytes,
  equalHardState,
  isLocalMessage,
  isResponseMessage,
  limitEntries,
  makeEntry,
  makeHardState,
  makeMessage,
  makeSnapshot,
  payloadBytes,
} from "../../message.js";
import { RawNode } from "../../rawnode.js";
import { MemStorage } from "../../storage.js";
import {
  type Append,
  type Apply,
  type Entry,
  LOCAL_MESSAGE_TYPES,
  type MessageType,
  type Ready,
  WIRE_MESSAGE_TYPES,
} from "../../types.js";
import { drain, makeMember, type Member, Network } from "../network.js";
import { elect, memberWith, ofType, propose, say, stateOf, tick } from "./helpers.js";

const indexes = (entries: readonly Entry[] | undefined): number[] =>
  (entries ?? []).map(({ index }) => index);
function write(member: Member, append: Append | undefined): void {
  if (append === undefined) return;
  member.storage.write(append);
  member.raw.ackAppend(append);
}
function restarted(storage: MemStorage, applied: number, settings = {}): Member {
  return makeMember(1, [1], { storage, applied, ...settings });
}

describe("step", () => {
  const TYPES: readonly MessageType[] = [...WIRE_MESSAGE_TYPES, ...LOCAL_MESSAGE_TYPES];
  const LOCAL = new Set<MessageType>([
    "MsgHup",
    "MsgBeat",
    "MsgUnreachable",
    "MsgSnapStatus",
    "MsgCheckQuorum",
    "MsgStorageAppend",
    "MsgStorageAppendResp",
    "MsgStorageApply",
    "MsgStorageApplyResp",
    "MsgForgetLeader",
  ]);
  const RESPONSES = new Set<MessageType>([
    "MsgAppResp",
    "MsgVoteResp",
    "MsgHeartbeatResp",
    "MsgUnreachable",
    "MsgReadIndexResp",
    "MsgPreVoteResp",
    "MsgStorageAppendResp",
    "MsgStorageApplyResp",
  ]);

  it("refuses messages that only the node itself may step", () => {
    for (const type of TYPES) {
      const member = memberWith(1, [1, 2], { log: [1], term: 1 });
      const { kind } = member.raw.step(makeMessage({ type, from: 2, to: 1 }));
      expect(kind === "localMessage", type).toBe(LOCAL.has(type));
    }
  });

  it("knows local messages and answers by their type", () => {
    for (const type of TYPES) {
      expect(isLocalMessage(type), type).toBe(LOCAL.has(type));
      expect(isResponseMessage(type), type).toBe(RESPONSES.has(type));
    }
  });

  it("refuses answers of nodes that are no members, and takes their requests", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    expect(member.raw.step(makeMessage({ type: "MsgAppResp", from: 9, to: 1, term: 1 as never })).kind).toBe(
      "peerNotFound",
    );
    expect(
      member.raw.step(makeMessage({ type: "MsgHeartbeat", from: 9, to: 1, term: 1 as never })).kind,
    ).toBe("ok");
  });

  it("refuses what no peer can mean, and nothing changes", () => {
    const before = memberWith(1, [1, 2], { log: [1, 1], term: 2 });
    const status = before.raw.status();
    const base = { type: "MsgApp", from: 2, to: 1, term: 2 } as const;
    for (const broken of [
      { term: -1 },
      { term: 1.5 },
      { term: Number.MAX_SAFE_INTEGER },
      { term: Number.NaN },
      { index: -1 },
      { index: 2 ** 60 },
      { commit: Number.POSITIVE_INFINITY },
      { from: 0.5 },
    ]) {
      const result = before.raw.step(makeMessage({ ...base, ...broken } as never));
      expect(result.kind, JSON.stringify(broken)).toBe("malformed");
      expect(before.raw.status()).toEqual(status);
    }
  });

  it("refuses snapshots that no leader can have made, and nothing changes", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1], term: 2 });
    const status = member.raw.status();
    for (const snapshot of [
      undefined,
      makeSnapshot(Number.NaN, 1, { voters: [1, 2] }),
      makeSnapshot(2 ** 60, 1, { voters: [1, 2] }),
      makeSnapshot(9, 3, { voters: [1, 2] }),
      makeSnapshot(9, -1, { voters: [1, 2] }),
      makeSnapshot(9, 2, { voters: [1, 0] }),
      makeSnapshot(9, 2, { voters: [1], votersOutgoing: [1, 1.5] }),
      makeSnapshot(9, 2, { voters: [1], learners: [Number.NaN] }),
    ]) {
      const message = makeMessage({ type: "MsgSnap", from: 2, to: 1, term: 2, snapshot });
      expect(member.raw.step(message).kind, JSON.stringify(snapshot)).toBe("malformed");
      expect(member.raw.status()).toEqual(status);
    }
  });

  it("drops appends whose entries have holes or terms that cannot be, and answers nothing", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1], term: 2 });
    const base = {
      type: "MsgApp",
      from: 2,
      to: 1,
      term: 2 as never,
      index: 1 as never,
      logTerm: 1 as never,
    } as const;
    for (const entries of [
      [makeEntry(2, 3)],
      [makeEntry(2, 2), makeEntry(2, 4)],
      [makeEntry(9, 2)],
      [makeEntry(2, 2), makeEntry(1, 3)],
      [makeEntry(Number.NaN, 2), makeEntry(2, 3)],
    ]) {
      expect(say(member, { ...base, entries })).toEqual([]);
      expect(member.storage.tail(1 as never).map(({ term }) => term)).toEqual([1, 1]);
    }
    expect(ofType(say(member, { ...base, entries: [makeEntry(2, 2)] }), "MsgAppResp").length).toBe(1);
  });
});

describe("a Ready", () => {
  it("takes what there is to do once, and what comes between it and advance is not lost", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    drain(member);
    propose(member, "first");
    expect(member.raw.hasReady()).toBe(true);
    expect(member.raw.hasReady()).toBe(true);
    const ready = member.raw.ready();
    expect(indexes(ready.append?.entries)).toEqual([2]);
    propose(member, "second");
    member.raw.ping();
    if (ready.append !== undefined) member.storage.write(ready.append);
    member.raw.advance(ready);
    const next = member.raw.ready();
    expect(indexes(next.append?.entries)).toEqual([3]);
    expect(next.messages.filter(({ type }) => type === "MsgHeartbeat").length).toBe(2);
  });

  it("cannot be taken twice without advance in synchronous mode", () => {
    const member = memberWith(1, [1]);
    member.raw.campaign();
    member.raw.ready();
    expect(() => member.raw.ready()).toThrow(/only one Ready may be under way/);
  });

  it("needs a sync for entries, votes, terms and snapshots, not for a commit index alone", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    const synced = (init: object): boolean | undefined => {
      member.raw.step(makeMessage({ from: 2, to: 1, term: 2 as never, ...init }));
      const ready = member.raw.ready();
      if (ready.append !== undefined) member.storage.write(ready.append);
      member.raw.advance(ready);
      return ready.append?.mustSync;
    };
    expect(synced({ type: "MsgHeartbeat" })).toBe(true);
    expect(synced({ type: "MsgApp", index: 1, logTerm: 1, entries: [makeEntry(2, 2)] })).toBe(true);
    expect(synced({ type: "MsgHeartbeat", commit: 2 })).toBe(false);
    expect(synced({ type: "MsgVote", term: 3, index: 2, logTerm: 2 })).toBe(true);
  });

  it("names hard state and soft state only when they change, and once though two are under way", () => {
    const member = memberWith(1, [1, 2], {}, { asyncStorageWrites: true });
    member.raw.step(makeMessage({ type: "MsgHeartbeat", from: 2, to: 1, term: 4 as never }));
    const first = member.raw.ready();
    expect(first.append?.hardState).toEqual(makeHardState(4, 0, 0));
    expect(first.softState).toEqual({ lead: 2, state: "StateFollower" });
    member.raw.step(
      makeMessage({ type: "MsgApp", from: 2, to: 1, term: 4 as never, entries: [makeEntry(4, 1)] }),
    );
    const second = member.raw.ready();
    expect([second.append?.hardState, second.softState]).toEqual([undefined, undefined]);
    expect(equalHardState(makeHardState(1, 2, 3), makeHardState(1, 2, 3))).toBe(true);
    for (const other of [makeHardState(2, 2, 3), makeHardState(1, 1, 3), makeHardState(1, 2, 4)]) {
      expect(equalHardState(makeHardState(1, 2, 3), other)).toBe(false);
    }
  });

  it("of a fresh group is empty until something happens, and then goes on to the first proposal", () => {
    const member = memberWith(1, [1]);
    expect(member.raw.hasReady()).toBe(false);
    member.raw.campaign();
    drain(member);
    expect(stateOf(member)).toBe("StateLeader");
    propose(member, "foo");
    drain(member);
    expect(member.applied.map(({ data }) => fromUtf8(data))).toEqual(["", "foo"]);
    expect(member.raw.hasReady()).toBe(false);
    expect(member.storage.initialState().hardState).toEqual(makeHardState(1, 1, 2));
  });

  it("hands out what is proposed, together or not at all", () => {
    const member = memberWith(1, [1], {}, { maxUncommittedEntriesBytes: 10 });
    elect(member);
    expect(member.raw.proposeMany([utf8("aa"), utf8("bb")])).toEqual({ kind: "proposed" });
    drain(member);
    expect(member.applied.map(({ data }) => fromUtf8(data))).toEqual(["", "aa", "bb"]);
    propose(member, "123456789");
    expect(member.raw.proposeMany([utf8("1"), utf8("2")])).toEqual({
      kind: "dropped",
      reason: "uncommittedQuota",
    });
  });

  it("of a follower forwards proposals to its leader, unless that is off", () => {
    for (const disableProposalForwarding of [false, true]) {
      const member = memberWith(2, [1, 2], {}, { disableProposalForwarding });
      say(member, { type: "MsgHeartbeat", from: 1, term: 1 as never });
      expect(propose(member)).toBe(disableProposalForwarding ? "forwardingDisabled" : "proposed");
      const sent = ofType(drain(member), "MsgProp");
      expect(sent.map(({ to, term }) => [to, term])).toEqual(disableProposalForwarding ? [] : [[1, 0]]);
    }
  });
});

describe("a restart", () => {
  const storage = (): MemStorage => {
    const made = MemStorage.withConfState({ voters: [1] });
    made.append([makeEntry(1, 1), makeEntry(1, 2, utf8("foo"))]);
    made.setHardState(makeHardState(1, 0, 1));
    return made;
  };

  it("hands out committed entries again and writes nothing", () => {
    const { raw } = restarted(storage(), 0);
    const ready = raw.ready();
    expect([ready.append, indexes(ready.apply?.entries), ready.softState]).toEqual([
      undefined,
      [1],
      undefined,
    ]);
    raw.advance(ready);
    expect(raw.hasReady()).toBe(false);
  });

  it("from a snapshot hands out only what comes after it", () => {
    const made = new MemStorage();
    made.applySnapshot(makeSnapshot(2, 1, { voters: [1, 2] }));
    made.append([makeEntry(1, 3, utf8("foo"))]);
    made.setHardState(makeHardState(1, 0, 3));
    const { raw } = restarted(made, 2);
    const ready = raw.ready();
    expect(indexes(ready.apply?.entries)).toEqual([3]);
    raw.advance(ready);
    expect(raw.hasReady()).toBe(false);
    expect(raw.status().config.voters).toEqual([1, 2]);
  });

  it("refuses an applied index above the commit index, which was not persisted in time, and a commit beyond the log", () => {
    expect(() => restarted(storage(), 2)).toThrow(/was the commit index not persisted/);
    const broken = storage();
    broken.setHardState(makeHardState(1, 0, 7));
    expect(() => restarted(broken, 0)).toThrow(/stored commit 7 is out of/);
  });

  it("skips no committed entry when the storage answers fewer than before", () => {
    class Lax extends MemStorage {
      isLax = true;
      override entries(low: never, high: never, bytesMax: number): ReturnType<MemStorage["entries"]> {
        return super.entries(low, high, this.isLax ? Number.POSITIVE_INFINITY : bytesMax);
      }
    }
    const made = new Lax();
    made.applySnapshot(makeSnapshot(1, 1, { voters: [1, 2] }));
    const entries = Array.from({ length: 10 }, (_, at) => makeEntry(1, at + 2, utf8("a")));
    made.append(entries);
    made.setHardState(makeHardState(1, 0, 10));
    const limit = entryBytes(entries[0] as Entry) * 8;
    const member = restarted(made, 1, { maxSizePerMessageBytes: limit });
    drain(member);
    expect(indexes(member.applied)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10]);
    made.isLax = false;
    const again = restarted(made, 1, { maxSizePerMessageBytes: limit });
    const seen: number[] = [];
    const commit = makeMessage({
      type: "MsgHeartbeat",
      from: 2,
      to: 1,
      term: 1 as never,
      commit: 11 as never,
    });
    let ready = again.raw.ready();
    seen.push(...indexes(ready.apply?.entries));
    again.raw.advance(ready);
    again.raw.step(commit);
    while (again.raw.hasReady()) {
      ready = again.raw.ready();
      expect(ready.append?.hardState?.commit ?? 11).toBeGreaterThanOrEqual(10);
      seen.push(...indexes(ready.apply?.entries));
      again.raw.advance(ready);
    }
    expect(seen).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });
});

describe("the status", () => {
  it("has progress at a leader alone", () => {
    const member = memberWith(1, [1]);
    expect(member.raw.status().progress).toEqual([]);
    elect(member);
    const status = member.raw.status();
    expect(status.progress.map(({ id, match, next, state }) => [id, match, next, state])).toEqual([
      [1, 1, 2, "StateReplicate"],
    ]);
    expect(status).toMatchObject({
      state: "StateLeader",
      lead: 1,
      term: 1,
      commit: 1,
      applied: 1,
      config: { voters: [1] },
    });
    const seen: number[] = [];
    member.raw.withProgress((id, { match }) => seen.push(id, match));
    expect(seen).toEqual([1, 1]);
  });
});

describe("committed entries", () => {
  const committed = (settings = {}): Member => {
    const member = memberWith(1, [1], {}, { maxCommittedSizePerReadyBytes: 2048, ...settings });
    elect(member);
    return member;
  };

  it("come in pages", () => {
    const member = committed();
    const blob = new Uint8Array(1000);
    for (let i = 0; i < 3; i++) member.raw.propose(blob);
    const first = member.raw.ready();
    if (first.append !== undefined) member.storage.write(first.append);
    member.raw.advance(first);
    const pages: number[] = [];
    while (member.raw.hasReady()) {
      const ready = member.raw.ready();
      if (ready.append !== undefined) member.storage.write(ready.append);
      if (ready.apply !== undefined) pages.push(ready.apply.entries.length);
      member.raw.advance(ready);
    }
    expect([indexes(first.apply?.entries).length, ...pages].filter((count) => count > 0)).toEqual([2, 1]);
  });

  it("come one at a time at least, however small the limit is", () => {
    const member = committed({ maxCommittedSizePerReadyBytes: 1, maxSizePerMessageBytes: 1 });
    for (const text of ["a", "b", "c"]) propose(member, text);
    const counts: number[] = [];
    while (member.raw.hasReady()) {
      const ready = member.raw.ready();
      if (ready.append !== undefined) member.storage.write(ready.append);
      if (ready.apply !== undefined) counts.push(ready.apply.entries.length);
      member.raw.advance(ready);
    }
    expect(counts).toEqual([1, 1, 1]);
  });

  it("under way are limited over all Readys with asynchronous writes, and go on with each acknowledgement", () => {
    const member = committed({ asyncStorageWrites: true });
    const blob = new Uint8Array(1000);
    for (let i = 0; i < 3; i++) member.raw.propose(blob);
    write(member, member.raw.ready().append);
    const ready = member.raw.ready();
    write(member, ready.append);
    const first = ready.apply as Apply;
    expect(first.entries.length).toBe(2);
    member.raw.propose(blob);
    const more: (Apply | undefined)[] = [];
    while (member.raw.hasReady()) {
      const next: Ready = member.raw.ready();
      more.push(next.apply);
      write(member, next.append);
    }
    expect(more.every((apply) => apply === undefined)).toBe(true);
    member.raw.ackApply(first);
    const second = member.raw.ready().apply as Apply;
    expect(indexes(second.entries)).toEqual([4, 5]);
  });

  it("and configuration changes that a leader of one voter proposes come after its own write", () => {
    const member = memberWith(1, [1], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    write(member, member.raw.ready().append);
    const elected = member.raw.ready();
    expect(elected.apply).toBeUndefined();
    expect(member.raw.commitIndex).toBe(0);
    member.raw.proposeConfChange(makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId: 2 }]));
    write(member, elected.append);
    expect(member.raw.commitIndex).toBe(1);
  });
});

describe("own votes and acknowledgements that come too late", () => {
  it.each([false, true])("do not count after the election is lost, pre-vote %s", (preVote) => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true, preVote });
    member.raw.campaign();
    const own = member.raw.ready().append as Append;
    const term = preVote ? 1 : member.raw.term;
    member.raw.step(makeMessage({ type: "MsgHeartbeat", from: 2, to: 1, term: term as never }));
    expect(stateOf(member)).toBe("StateFollower");
    member.storage.write(own);
    member.raw.ackAppend(own);
    member.raw.step(
      makeMessage({ type: preVote ? "MsgPreVoteResp" : "MsgVoteResp", from: 3, to: 1, term: term as never }),
    );
    expect(member.raw.basicStatus()).toMatchObject({ state: "StateFollower", lead: 2 });
  });

  it("of a pre-vote do not count for the vote that followed", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true, preVote: true });
    member.raw.campaign();
    const preVote = member.raw.ready().append as Append;
    for (const from of [2, 3]) {
      member.raw.step(makeMessage({ type: "MsgPreVoteResp", from, to: 1, term: 1 as never }));
    }
    expect(member.raw.basicStatus()).toMatchObject({ state: "StateCandidate", term: 1 });
    const vote = member.raw.ready().append as Append;
    member.storage.write(preVote);
    member.raw.ackAppend(preVote);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: 1 as never }));
    expect(stateOf(member)).toBe("StateCandidate");
    member.storage.write(vote);
    member.raw.ackAppend(vote);
    expect(stateOf(member)).toBe("StateLeader");
  });

  it("of an append are ignored by who leads no more", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    member.raw.campaign();
    write(member, member.raw.ready().append);
    member.raw.step(makeMessage({ type: "MsgVoteResp", from: 2, to: 1, term: 1 as never }));
    propose(member);
    const append = member.raw.ready().append as Append;
    member.raw.step(makeMessage({ type: "MsgHeartbeat", from: 3, to: 1, term: 2 as never }));
    member.storage.write(append);
    expect(member.raw.ackAppend(append)).toEqual([]);
    expect(member.raw.basicStatus()).toMatchObject({ state: "StateFollower", commit: 0, persisted: 0 });
    // What is durable is known with the next write, which names the last entry again.
    write(member, member.raw.ready().append);
    expect(member.raw.basicStatus()).toMatchObject({ commit: 0, persisted: 2 });
  });

  it("do not take a later snapshot or entry for one that is written", () => {
    const member = memberWith(1, [1, 2], {}, { asyncStorageWrites: true });
    const snap = (index: number): void =>
      void member.raw.step(
        makeMessage({
          type: "MsgSnap",
          from: 2,
          to: 1,
          term: 1 as never,
          snapshot: makeSnapshot(index, 1, { voters: [1, 2] }),
        }),
      );
    snap(10);
    const first = member.raw.ready().append as Append;
    snap(20);
    const second = member.raw.ready().append as Append;
    member.storage.write(first);
    member.raw.ackAppend(first);
    expect(member.raw.hasPendingSnapshot).toBe(true);
    expect(member.raw.basicStatus().persisted).toBe(20);
    member.storage.write(second);
    member.raw.ackAppend(second);
    expect(member.raw.hasPendingSnapshot).toBe(false);
    member.raw.step(
      makeMessage({
        type: "MsgApp",
        from: 2,
        to: 1,
        term: 1 as never,
        index: 20 as never,
        logTerm: 1 as never,
        entries: [makeEntry(1, 21)],
        commit: 21 as never,
      }),
    );
    const third = member.raw.ready();
    expect([indexes(third.append?.entries), third.apply]).toEqual([[21], undefined]);
    write(member, third.append);
    expect(indexes(member.raw.ready().apply?.entries)).toEqual([21]);
  });

  it("never release entries that were overwritten meanwhile", () => {
    const member = memberWith(1, [1, 2, 3], {}, { asyncStorageWrites: true });
    const append = (from: number, term: number, entry: Entry): Append => {
      member.raw.step(makeMessage({ type: "MsgApp", from, to: 1, term: term as never, entries: [entry] }));
      return member.raw.ready().append as Append;
    };
    const first = append(2, 1, makeEntry(1, 1, utf8("a")));
    const second = append(3, 2, makeEntry(2, 1, utf8("b")));
    member.storage.write(first);
    member.raw.ackAppend(first);
    expect(member.raw.basicStatus().persisted).toBe(0);
    member.storage.write(second);
    member.raw.ackAppend(second);
    expect(member.raw.basicStatus().persisted).toBe(1);
  });
});

describe("sizes and texts", () => {
  it("limit a list to a prefix, one entry at least", () => {
    const entries = [4, 5, 6].map((index) => makeEntry(index, index));
    const size = (count: number): number =>
      entries.slice(0, count).reduce((sum, each) => sum + entryBytes(each), 0);
    for (const [bytesMax, count] of [
      [Number.POSITIVE_INFINITY, 3],
      [0, 1],
      [size(2), 2],
      [size(3) - 1, 2],
      [size(3), 3],
    ] as const) {
      expect(limitEntries(entries, bytesMax).length).toBe(count);
    }
    expect(limitEntries([], 0)).toEqual([]);
  });

  it("count an empty entry as no payload, so that a new leader's never exceeds a quota", () => {
    expect(payloadBytes([makeEntry(1, 1)])).toBe(0);
    expect(payloadBytes([makeEntry(1, 1, new Uint8Array(3)), makeEntry(1, 2)])).toBe(3);
  });

  it("of entries name term, index, type and data, in a format of one's own if wanted", () => {
    const entry = makeEntry(1, 2, utf8("hello\u0000"));
    expect(describeEntry(entry)).toBe('1/2 EntryNormal "hello\\x00"');
    expect(describeEntry(entry, (data) => fromUtf8(data).toUpperCase())).toBe("1/2 EntryNormal HELLO\u0000");
    expect(describeEntry(makeEntry(1, 2, utf8("\u00ff\u00ff"), "EntryConfChangeV2"))).toMatch(/malformed/);
  });
});

describe("groups", () => {
  it("that lose nodes and get them back make progress all the time a majority is there", () => {
    const network = Network.of(5);
    network.campaign(1);
    for (let round = 0; round < 20; round++) {
      const down = 2 + (round % 4);
      network.isolate(down);
      const before = network.raw(1).commitIndex;
      for (let i = 0; i < 10; i++) network.propose(1, `${round}/${i}`);
      expect(network.raw(1).commitIndex).toBe(before + 10);
      network.recover();
      network.tick(1, 2);
    }
    for (const member of network.members.values()) expect(member.applied.length).toBe(201);
  });

  it("whose nodes are started again from what they wrote go on", () => {
    const network = Network.of(3);
    network.campaign(1);
    for (let round = 0; round < 5; round++) {
      network.propose(1, String(round));
      const id = 2 + (round % 2);
      const { storage, applied } = network.member(id);
      const at = network.raw(id).basicStatus().applied;
      const next = makeMember(id, [1, 2, 3], { storage, applied: at });
      next.applied.push(...applied);
      network.members.set(id, next);
      network.tick(1, 2);
    }
    for (const member of network.members.values()) {
      expect(member.applied.map(({ data }) => fromUtf8(data))).toEqual(["", "0", "1", "2", "3", "4"]);
    }
  });

  it("do not campaign or answer while they are not driven, and go on when they are", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    for (let i = 0; i < 10; i++) network.propose(1, String(i));
    expect(network.member(3).applied.length).toBe(1);
    network.recover();
    network.tick(1, 1);
    expect(network.member(3).applied.length).toBe(11);
  });

  it("count ticks and campaign when as many have passed as were drawn", () => {
    const member = memberWith(1, [1, 2]);
    member.raw.setRandomizedElectionTimeout(12);
    expect(tick(member, 11)).toEqual([]);
    expect(tick(member, 1).map(({ type }) => type)).toEqual(["MsgVote"]);
  });

  it("refuse a configuration that cannot work, and say which part", () => {
    const storage = new MemStorage();
    const make = (settings: object): (() => RawNode) => {
      return () => new RawNode({ id: 1, storage, random: { u32: () => 0 }, ...settings });
    };
    for (const [settings, text] of [
      [{ id: 0 }, /id must be/],
      [{ heartbeatTicks: 0 }, /heartbeatTicks/],
      [{ electionTicks: 1, heartbeatTicks: 1 }, /electionTicks must be greater/],
      [{ maxInflightMessages: 0 }, /maxInflightMessages/],
      [{ maxInflightBytes: 10, maxSizePerMessageBytes: 20 }, /maxInflightBytes must be at least/],
      [{ readOnlyOption: "leaseBased" }, /needs checkQuorum/],
      [{ applied: -1 }, /applied/],
    ] as const) {
      expect(make(settings)).toThrow(text);
    }
  });
});
