/** Snapshots: when a leader sends one, what a follower makes of it, and how both go on. */
import { describe, expect, it } from "vitest";
import { makeEntry, makeSnapshot } from "../../message.js";
import { MemStorage } from "../../storage.js";
import type { ConfState, NodeId, Snapshot } from "../../types.js";
import { drain, type Member, makeMember, Network, storageAt } from "../network.js";
import {
  commitOf,
  elect,
  memberWith,
  ofType,
  progressOf,
  propose,
  say,
  stateOf,
  terms,
  tick,
} from "./helpers.js";

const VOTERS = [1, 2];
const index = (value: number): never => value as never;

/** Leads a group of two whose log begins behind a snapshot at 11. */
function leaderAt11(): Member {
  const storage = storageAt(11, 11, { voters: VOTERS });
  const member = makeMember(1, VOTERS, { storage, applied: 11 });
  elect(member, 2);
  drain(member);
  return member;
}

/** Peer 2 is brought into StateSnapshot by refusing what comes before the log. */
function sending(): Member {
  const member = leaderAt11();
  const term = member.raw.term;
  say(member, {
    type: "MsgAppResp",
    from: 2,
    term: index(term),
    index: index(11),
    reject: true,
    rejectHint: index(1),
  });
  expect(progressOf(member, 2)).toMatchObject({ state: "StateSnapshot", pendingSnapshot: 11 });
  return member;
}

const restored = (member: Member, snapshot: Snapshot, from: NodeId = 2, term = 2): void => {
  say(member, { type: "MsgSnap", from, term: index(term), snapshot });
};

describe("a leader", () => {
  it("sends a snapshot when the entry before the next one is compacted", () => {
    const member = leaderAt11();
    const term = index(member.raw.term);
    const sent = say(member, {
      type: "MsgAppResp",
      from: 2,
      term,
      index: index(11),
      reject: true,
      rejectHint: index(1),
    });
    const [snapshot] = ofType(sent, "MsgSnap");
    expect(snapshot?.snapshot?.metadata).toMatchObject({ index: 11, term: 11 });
    expect(progressOf(member, 2)).toMatchObject({ state: "StateSnapshot", pendingSnapshot: 11, next: 12 });
  });

  it("sends nothing else while one is under way", () => {
    const member = sending();
    propose(member);
    tick(member, 1);
    const sent = say(member, { type: "MsgHeartbeatResp", from: 2, term: index(member.raw.term) });
    expect(ofType(sent, "MsgApp", "MsgSnap")).toEqual([]);
  });

  it("probes from its match when one has failed, and waits for a heartbeat", () => {
    const member = sending();
    member.raw.reportSnapshot(2, "failure");
    expect(progressOf(member, 2)).toMatchObject({
      state: "StateProbe",
      pendingSnapshot: 0,
      next: 1,
      paused: true,
    });
  });

  it("probes from behind it when it has arrived, and waits for an answer", () => {
    const member = sending();
    member.raw.reportSnapshot(2, "finish");
    expect(progressOf(member, 2)).toMatchObject({
      state: "StateProbe",
      pendingSnapshot: 0,
      next: 12,
      paused: true,
    });
  });

  it("replicates as soon as an answer shows that the peer has it, reported or not", () => {
    const member = sending();
    propose(member);
    drain(member);
    const sent = say(member, { type: "MsgAppResp", from: 2, term: index(member.raw.term), index: index(11) });
    expect(progressOf(member, 2)).toMatchObject({
      state: "StateReplicate",
      pendingSnapshot: 0,
      match: 11,
      next: 14,
    });
    expect(ofType(sent, "MsgApp").flatMap(({ entries }) => entries.map((entry) => entry.index))).toEqual([
      12, 13,
    ]);
    expect(progressOf(member, 2).inflightMessages).toBe(1);
  });

  it("asks again when the storage has none yet", () => {
    class Slow extends MemStorage {
      isReady = false;
      override snapshot(requestIndex: never, to: NodeId): ReturnType<MemStorage["snapshot"]> {
        return this.isReady ? super.snapshot(requestIndex, to) : "snapshotTemporarilyUnavailable";
      }
    }
    const storage = new Slow();
    storage.applySnapshot(makeSnapshot(11, 11, { voters: VOTERS }));
    const member = makeMember(1, VOTERS, { storage, applied: 11 });
    elect(member, 2);
    const refuse = { type: "MsgAppResp", from: 2, term: 1, index: 11, reject: true, rejectHint: 1 } as never;
    expect(ofType(say(member, refuse), "MsgSnap")).toEqual([]);
    expect(progressOf(member, 2).state).toBe("StateProbe");
    storage.isReady = true;
    tick(member, 1);
    const sent = say(member, { type: "MsgHeartbeatResp", from: 2, term: index(1) });
    expect(ofType(sent, "MsgSnap").length).toBe(1);
  });
});

describe("a follower", () => {
  const snapshot = (confState: Partial<ConfState>): Snapshot => makeSnapshot(11, 11, confState);

  it("takes log, commit and members of a snapshot, and follows who sent it", () => {
    const member = memberWith(1, [1, 2]);
    restored(member, snapshot({ voters: [1, 2, 3] }), 2, 12);
    expect(member.raw.basicStatus()).toMatchObject({ lastIndex: 11, commit: 11, lead: 2, term: 12 });
    expect(member.raw.status().config.voters).toEqual([1, 2, 3]);
    expect(member.storage.term(index(11))).toBe(11);
  });

  it("takes it once: an older or the same one again changes nothing and is answered with the commit index", () => {
    const member = memberWith(1, [1, 2]);
    restored(member, snapshot({ voters: [1, 2, 3] }), 2, 12);
    const [answer] = say(member, {
      type: "MsgSnap",
      from: 2,
      term: index(12),
      snapshot: snapshot({ voters: [1] }),
    });
    expect(answer).toMatchObject({ type: "MsgAppResp", index: 11, reject: false });
    expect(member.raw.status().config.voters).toEqual([1, 2, 3]);
  });

  it("does not campaign before it is durable", () => {
    const member = memberWith(1, [1, 2], {}, { asyncStorageWrites: true });
    member.raw.step({ ...snapMessage(snapshot({ voters: [1, 2, 3] })), to: 1, term: index(12) } as never);
    const ready = member.raw.ready();
    expect(ready.append?.snapshot?.metadata.index).toBe(11);
    member.raw.campaign();
    for (let i = 0; i < 50; i++) member.raw.tick();
    expect(stateOf(member)).toBe("StateFollower");
    if (ready.append === undefined) throw new Error("nothing to write");
    member.storage.write(ready.append);
    member.raw.ackAppend(ready.append);
    member.raw.campaign();
    expect(stateOf(member)).toBe("StateCandidate");
  });

  it("takes learners, becomes one, and is promoted, all by snapshots", () => {
    const learner = memberWith(3, [1, 2], { learners: [3] });
    restored(learner, snapshot({ voters: [1, 2], learners: [3] }), 2, 12);
    expect(learner.raw.status().config).toMatchObject({ voters: [1, 2], learners: [3] });
    expect(learner.raw.basicStatus().isLearner).toBe(true);
    learner.raw.campaign();
    expect(stateOf(learner)).toBe("StateFollower");
    const promoted = makeSnapshot(20, 12, { voters: [1, 2, 3] });
    restored(learner, promoted, 2, 12);
    expect(learner.raw.basicStatus().isLearner).toBe(false);
    const demoted = makeSnapshot(30, 12, { voters: [1, 2], learners: [3] });
    restored(learner, demoted, 2, 12);
    expect(learner.raw.basicStatus().isLearner).toBe(true);
  });

  it("that is an outgoing voter takes it, one that is no member at all does not", () => {
    const outgoing = memberWith(3, [1, 2, 3]);
    restored(outgoing, snapshot({ voters: [2, 4], votersOutgoing: [1, 2, 3] }), 2, 12);
    expect(outgoing.raw.basicStatus().commit).toBe(11);
    expect(outgoing.raw.status().config).toMatchObject({ voters: [2, 4], votersOutgoing: [1, 2, 3] });
    const stranger = memberWith(9, [9]);
    restored(stranger, snapshot({ voters: [1, 2, 3] }), 2, 12);
    expect(stranger.raw.basicStatus().commit).toBe(0);
  });

  it("that has the entry already only commits up to it", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1, 1], term: 1, commit: 1 });
    restored(member, makeSnapshot(2, 1, { voters: [1, 2, 3] }), 2, 1);
    expect([commitOf(member), terms(member).length]).toEqual([2, 3]);
    expect(member.raw.status().config.voters).toEqual([1, 2]);
    restored(member, makeSnapshot(1, 1, { voters: [1, 2, 3] }), 2, 1);
    expect(commitOf(member)).toBe(2);
  });

  it("drops a conflicting log for it, whatever that held above the commit index", () => {
    const member = memberWith(1, [1, 2], { log: [1, 1, 1, 1], term: 1, commit: 1 });
    restored(member, makeSnapshot(3, 2, { voters: [1, 2] }), 2, 2);
    expect(member.raw.basicStatus()).toMatchObject({ lastIndex: 3, commit: 3 });
    const append = {
      type: "MsgApp",
      from: 2,
      term: 2,
      index: 3,
      logTerm: 2,
      commit: 4,
      entries: [makeEntry(2, 4)],
    };
    say(member, append as never);
    expect(commitOf(member)).toBe(4);
  });
});

describe("a member that was away", () => {
  it("is brought up to date by a snapshot and what follows it", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(3);
    for (let i = 0; i < 100; i++) network.propose(1);
    network.compact(1);
    network.recover();
    for (let i = 0; i < 3 && network.raw(3).lastIndex < network.raw(1).lastIndex; i++) network.tick(1, 1);
    network.propose(1);
    expect(commitOf(network.member(3))).toBe(commitOf(network.member(1)));
    expect(network.delivered.some(({ type, to }) => type === "MsgSnap" && to === 3)).toBe(true);
  });

  it("as learner gets a snapshot too", () => {
    const confState = { voters: [1], learners: [2] };
    const leader = makeMember(1, [1], { storage: storageAt(11, 1, confState), applied: 11 });
    const learner = makeMember(2, [1], { storage: MemStorage.withConfState(confState) });
    const network = new Network([leader, learner]);
    network.campaign(1);
    network.tick(1, 2);
    expect(commitOf(learner)).toBe(commitOf(leader));
    expect(learner.storage.firstIndex()).toBe(12);
  });
});

function snapMessage(snapshot: Snapshot): object {
  const member = leaderAt11();
  const term = index(member.raw.term);
  const refuse = {
    type: "MsgAppResp",
    from: 2,
    term,
    index: index(11),
    reject: true,
    rejectHint: index(1),
  } as const;
  return { ...(ofType(say(member, refuse), "MsgSnap")[0] as object), from: 2, snapshot };
}
