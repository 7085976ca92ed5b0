/** Linearizable reads: by a round of heartbeats, by lease, forwarded, and when they must wait. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../../base/bytes.js";
import { makeConfChange } from "../../confchange-codec.js";
import { MemStorage } from "../../storage.js";
import type { NodeId } from "../../types.js";
import { drain, makeMember, Network, type Settings } from "../network.js";
import { commitOf, elect, memberWith, ofType, say } from "./helpers.js";

const LEASE: Settings = { checkQuorum: true, readOnlyOption: "leaseBased" };
const context = (text: string): Uint8Array => utf8(text);

/** Reads at each node in turn; the index each was answered with, against the commit index when it was asked. */
function rounds(network: Network): [number, number][] {
  const answers: [number, number][] = [];
  network.campaign(1);
  const table: [NodeId, number, string][] = [
    [1, 10, "1"],
    [2, 10, "2"],
    [3, 10, "3"],
    [1, 10, "4"],
    [2, 10, "5"],
    [3, 10, "6"],
  ];
  let commit = commitOf(network.member(1));
  for (const [id, proposals, text] of table) {
    for (let i = 0; i < proposals; i++) network.propose(1);
    commit += proposals;
    network.raw(id).readIndex(context(text));
    network.settle(id);
    const { reads } = network.member(id);
    const answer = reads.find(({ requestContext }) => fromUtf8(requestContext) === text);
    answers.push([answer?.index ?? 0, commit]);
    reads.length = 0;
  }
  return answers;
}

describe("reads", () => {
  it("by heartbeats answer the commit index of when they were asked, at the leader and at followers", () => {
    const answers = rounds(Network.of(3));
    expect(answers.length).toBe(6);
    for (const [answered, asked] of answers) expect(answered).toBe(asked);
  });

  it("by lease answer at once, at the leader and for followers", () => {
    for (const [answered, asked] of rounds(Network.of(3, LEASE))) expect(answered).toBe(asked);
    const member = memberWith(1, [1, 2, 3], {}, LEASE);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    member.reads.length = 0;
    member.raw.readIndex(context("x"));
    expect(ofType(drain(member), "MsgHeartbeat")).toEqual([]);
    expect(member.reads).toEqual([{ index: 1, requestContext: context("x") }]);
  });

  it("work with one voter and a learner, at both", () => {
    const storage = (): MemStorage => MemStorage.withConfState({ voters: [1], learners: [2] });
    const network = new Network([
      makeMember(1, [1], { storage: storage() }),
      makeMember(2, [1], { storage: storage() }),
    ]);
    network.campaign(1);
    for (const id of [1, 2, 1, 2]) {
      network.propose(1);
      network.raw(id).readIndex(context("r"));
      network.settle(id);
      expect(network.member(id).reads.at(-1)?.index).toBe(commitOf(network.member(1)));
    }
  });

  it("are not answered without a majority", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.isolate(1);
    network.raw(1).readIndex(context("lonely"));
    network.settle(1);
    network.tick(1, 5);
    expect(network.member(1).reads).toEqual([]);
    network.recover();
    network.tick(1, 1);
    expect(network.member(1).reads.length).toBe(1);
  });

  it("at a new leader wait for its first commit, and are answered then", () => {
    for (const settings of [{}, LEASE] as Settings[]) {
      const network = Network.of(3, settings);
      network.ignore("MsgAppResp");
      network.campaign(2);
      expect(commitOf(network.member(2))).toBe(0);
      network.raw(2).readIndex(context("early"));
      network.settle(2);
      expect(network.member(2).reads).toEqual([]);
      network.recover();
      network.tick(2, 1);
      network.propose(2);
      expect(commitOf(network.member(2))).toBe(2);
      network.tick(2, 1);
      expect(network.member(2).reads.map(({ index }) => index)).toEqual([1]);
    }
  });

  it("with one context twice are not confirmed by answers to the first", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    member.raw.readIndex(context("same"));
    const [first] = ofType(drain(member), "MsgHeartbeat");
    say(member, { type: "MsgHeartbeatResp", from: 2, term: 1, context: first?.context } as never);
    expect(member.reads.length).toBe(1);
    // The same words again, at a time when another may lead: the late answer of 3 belongs to the first request.
    member.raw.readIndex(context("same"));
    const [second] = ofType(drain(member), "MsgHeartbeat");
    say(member, { type: "MsgHeartbeatResp", from: 3, term: 1, context: first?.context } as never);
    expect(member.reads.length).toBe(1);
    say(member, { type: "MsgHeartbeatResp", from: 3, term: 1, context: second?.context } as never);
    expect(member.reads.length).toBe(2);
  });

  it("leave nothing behind once they are confirmed", () => {
    const member = memberWith(1, [1, 2], {}, { maxPendingReads: 2 });
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    for (let round = 0; round < 20; round++) {
      for (const each of ["a", "b"]) expect(member.raw.readIndex(context(each))).toEqual({ kind: "ok" });
      const beats = ofType(drain(member), "MsgHeartbeat");
      say(member, { type: "MsgHeartbeatResp", from: 2, term: 1, context: beats.at(-1)?.context } as never);
    }
    expect(member.reads.length).toBe(40);
  });

  it("beyond the limit of those that wait are dropped with a reason", () => {
    const member = memberWith(1, [1, 2], {}, { maxPendingReads: 2 });
    elect(member, 2);
    for (const each of ["a", "b"]) expect(member.raw.readIndex(context(each))).toEqual({ kind: "ok" });
    expect(member.raw.readIndex(context("c"))).toEqual({ kind: "dropped", reason: "tooManyReads" });
  });

  it("are confirmed earlier when the quorum becomes smaller", () => {
    const network = Network.of(2);
    network.campaign(1);
    network.isolate(2);
    network.raw(1).readIndex(context("waits"));
    network.settle(1);
    expect(network.member(1).reads).toEqual([]);
    // The removal of 2 was committed before it went silent and is applied only now.
    const change = makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 2 }]);
    expect(network.raw(1).applyConfChange(change).kind).toBe("applied");
    network.settle(1);
    expect(network.member(1).reads.length).toBe(1);
  });

  it("are forwarded by a follower without a term, to whoever leads now, and by a former leader too", () => {
    const network = Network.of(3);
    network.campaign(1);
    const forward = (id: NodeId): unknown[] => {
      network.raw(id).readIndex(context("f"));
      const sent = ofType(drain(network.member(id)), "MsgReadIndex");
      return sent.map(({ to, term, from }) => [to, term, from]);
    };
    expect(forward(2)).toEqual([[1, 0, 2]]);
    network.campaign(3);
    expect(forward(1)).toEqual([[3, 0, 1]]);
    // A request of another that comes by here goes on with its name.
    network.raw(1).step({ ...readIndexOf(2), to: 1 } as never);
    expect(ofType(drain(network.member(1)), "MsgReadIndex").map(({ to, from }) => [to, from])).toEqual([
      [3, 2],
    ]);
  });

  it("are dropped at a node that knows no leader", () => {
    const member = memberWith(1, [1, 2]);
    member.raw.readIndex(context("x"));
    expect(drain(member)).toEqual([]);
    expect(member.reads).toEqual([]);
  });

  it("by lease end once a transfer has told its target to campaign", () => {
    const member = memberWith(1, [1, 2, 3], {}, LEASE);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    expect(member.raw.inLease()).toBe(true);
    member.raw.transferLeader(2);
    expect(ofType(drain(member), "MsgTimeoutNow").length).toBe(1);
    expect(member.raw.inLease()).toBe(false);
    member.reads.length = 0;
    member.raw.readIndex(context("late"));
    drain(member);
    expect(member.reads).toEqual([]);
  });
});

function readIndexOf(from: NodeId): object {
  const member = makeMember(from, [1, 2, 3]);
  say(member, { type: "MsgHeartbeat", from: 1, term: 1 } as never);
  member.raw.readIndex(context("of another"));
  return ofType(drain(member), "MsgReadIndex")[0] as object;
}
