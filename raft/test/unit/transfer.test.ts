/** Transfer of leadership. */
import { describe, expect, it } from "vitest";
import { makeConfChange } from "../../confchange-codec.js";
import { MemStorage } from "../../storage.js";
import type { Message, NodeId } from "../../types.js";
import { drain, makeMember, type Member, Network } from "../network.js";
import { elect, memberWith, ofType, propose, say, stateOf, termOf, tick } from "./helpers.js";

function led(settings = {}): Network {
  const network = Network.of(3, settings);
  network.campaign(1);
  return network;
}

function transfer(network: Network, to: NodeId, at: NodeId = 1): void {
  network.raw(at).transferLeader(to);
  network.settle(at);
}

/** A leader whose transfer to 3 waits, because 3 is cut off. */
function pending(): Network {
  const network = led();
  network.isolate(3);
  network.propose(1);
  transfer(network, 3);
  expect(network.raw(1).leadTransferee).toBe(3);
  return network;
}

/** Who leads, and to whom it is handing over: 0 when to nobody. */
const leading = (network: Network): NodeId[] =>
  network.leaders().flatMap((id) => [id, network.raw(id).leadTransferee]);

describe("a transfer", () => {
  it("to a member that is up to date succeeds at once, and back again after a proposal", () => {
    const network = led();
    transfer(network, 2);
    expect(leading(network)).toEqual([2, 0]);
    network.propose(2);
    transfer(network, 1, 2);
    expect(leading(network)).toEqual([1, 0]);
  });

  it("may be asked for at a follower", () => {
    const network = led();
    transfer(network, 2, 2);
    expect(leading(network)).toEqual([2, 0]);
    network.propose(2);
    transfer(network, 1, 1);
    expect(leading(network)).toEqual([1, 0]);
  });

  it("works within the lease of the leader, since the campaign says who ordered it", () => {
    const network = led({ checkQuorum: true });
    network.tick(1, 1);
    transfer(network, 2);
    expect(leading(network)).toEqual([2, 0]);
  });

  it("to a slow member first brings it up to date", () => {
    const network = led();
    network.isolate(3);
    network.propose(1);
    network.recover();
    expect(network.raw(1).status().progress[2]?.match).toBe(1);
    transfer(network, 3);
    expect(leading(network)).toEqual([3, 0]);
  });

  it("to a member that needs a snapshot succeeds after that is applied", () => {
    const network = led();
    network.isolate(3);
    network.propose(1);
    network.compact(1);
    network.recover();
    const [leader, behind] = [network.member(1), network.member(3)];
    const exchange = (messages: readonly Message[], by: Member): Message[] =>
      messages.flatMap((message) => {
        by.raw.step(message);
        return drain(by).filter(({ to }) => to !== 2);
      });
    leader.raw.transferLeader(3);
    const refusal = exchange(drain(leader), behind);
    expect(refusal).toMatchObject([{ type: "MsgAppResp", reject: true, rejectHint: 1 }]);
    const snapshot = exchange(refusal, leader);
    expect(snapshot.map(({ type, to }) => [type, to])).toEqual([["MsgSnap", 3]]);
    const answer = exchange(snapshot, behind);
    expect(answer).toMatchObject([{ type: "MsgAppResp", reject: false, index: 2 }]);
    // The snapshot is applied, and the leader does not know it yet: the transfer waits.
    expect([leading(network), behind.raw.commitIndex]).toEqual([[1, 3], 2]);
    network.send(answer[0] as Message);
    expect(leading(network)).toEqual([3, 0]);
    expect(network.member(3).storage.firstIndex()).toBeGreaterThan(1);
  });

  it.each([
    ["itself", 1],
    ["a node that is no member", 4],
  ] as [string, NodeId][])("to %s is ignored", (_, to) => {
    const network = led();
    transfer(network, to);
    expect(leading(network)).toEqual([1, 0]);
    expect(network.propose(1)).toBe("proposed");
  });

  it("to a learner is ignored", () => {
    const storage = (): MemStorage => MemStorage.withConfState({ voters: [1], learners: [2] });
    const network = new Network([
      makeMember(1, [1], { storage: storage() }),
      makeMember(2, [1], { storage: storage() }),
    ]);
    network.campaign(1);
    transfer(network, 2);
    expect(leading(network)).toEqual([1, 0]);
  });

  it("is given up after one election timeout, and the leader goes on", () => {
    const network = pending();
    network.tick(1, 9);
    expect(network.raw(1).leadTransferee).toBe(3);
    network.tick(1, 1);
    expect(leading(network)).toEqual([1, 0]);
    expect(network.propose(1)).toBe("proposed");
  });

  it("refuses proposals while it lasts and leaves the log as it was", () => {
    const network = pending();
    const last = network.raw(1).lastIndex;
    expect(network.propose(1)).toBe("transferring");
    expect(network.raw(1).lastIndex).toBe(last);
    expect(network.raw(1).status().progress[0]?.match).toBe(last);
  });

  it("ends with a vote of a higher term", () => {
    const network = pending();
    network.campaign(2);
    expect(leading(network)).toEqual([2, 0]);
    expect(termOf(network.member(1))).toBe(2);
  });

  it("ends when its target is removed", () => {
    const network = pending();
    const change = makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 3 }]);
    network.raw(1).applyConfChange(change);
    expect(leading(network)).toEqual([1, 0]);
  });

  it("ends when its target is demoted, in a joint change as soon as that is applied", () => {
    const network = pending();
    network
      .raw(1)
      .applyConfChange(
        makeConfChange(
          [{ type: "ConfChangeAddLearnerNode", nodeId: 3 }],
          "ConfChangeTransitionJointExplicit",
        ),
      );
    network.raw(1).applyConfChange(makeConfChange([]));
    expect(leading(network)).toEqual([1, 0]);
  });

  it("to the leader itself takes an earlier one back", () => {
    const network = pending();
    transfer(network, 1);
    expect(leading(network)).toEqual([1, 0]);
    expect(network.propose(1)).toBe("proposed");
  });

  it("to another replaces an earlier one", () => {
    const network = pending();
    transfer(network, 2);
    expect(leading(network)).toEqual([2, 0]);
  });

  it("to the same again does not make it last longer", () => {
    const network = pending();
    network.tick(1, 5);
    transfer(network, 3);
    network.tick(1, 5);
    expect(leading(network)).toEqual([1, 0]);
  });

  it("never leads to two leaders: the old one steps down for the vote", () => {
    const network = led({ checkQuorum: true, preVote: true });
    transfer(network, 3);
    expect(leading(network)).toEqual([3, 0]);
    expect(network.state(1)).toBe("StateFollower 2 3");
  });
});

describe("the order to campaign", () => {
  it("is ignored by a node that was removed, whatever votes it gets", () => {
    const storage = MemStorage.withConfState({ voters: [2, 3, 4] });
    const member = makeMember(1, [2, 3, 4], { storage });
    say(member, { type: "MsgTimeoutNow", from: 2, term: 1 } as never);
    say(member, { type: "MsgVoteResp", from: 2, term: 1 } as never);
    say(member, { type: "MsgVoteResp", from: 3, term: 1 } as never);
    expect(stateOf(member)).toBe("StateFollower");
  });

  it("is ignored by a learner, as a campaign of its own is", () => {
    const storage = MemStorage.withConfState({ voters: [1], learners: [2] });
    const member = makeMember(2, [1], { storage });
    member.raw.campaign();
    expect(drain(member)).toEqual([]);
    say(member, { type: "MsgTimeoutNow", from: 1, term: 1 } as never);
    expect([stateOf(member), ofType(drain(member), "MsgVote").length]).toEqual(["StateFollower", 0]);
  });

  it("skips the pre-vote", () => {
    const member = memberWith(2, [1, 2, 3], {}, { preVote: true, checkQuorum: true });
    say(member, { type: "MsgHeartbeat", from: 1, term: 1 } as never);
    const sent = say(member, { type: "MsgTimeoutNow", from: 1, term: 1 } as never);
    expect(sent.map(({ type }) => type)).toEqual(["MsgVote", "MsgVote"]);
    expect(stateOf(member)).toBe("StateCandidate");
  });

  it("a campaign is nothing to who leads already", () => {
    for (const preVote of [false, true]) {
      const member = memberWith(1, [1, 2, 3], {}, { preVote });
      elect(member, 2, 3);
      expect(stateOf(member)).toBe("StateLeader");
      const term = termOf(member);
      member.raw.campaign();
      expect(drain(member)).toEqual([]);
      expect([stateOf(member), termOf(member)]).toEqual(["StateLeader", term]);
    }
  });

  it("after a transfer is given up the old leader serves again", () => {
    const network = pending();
    network.recover();
    network.ignore("MsgTimeoutNow");
    network.tick(1, 10);
    expect(propose(network.member(1))).toBe("proposed");
    expect(tick(network.member(1), 1).length).toBeGreaterThan(0);
  });
});
