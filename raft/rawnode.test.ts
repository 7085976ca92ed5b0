/** RawNode as an embedder drives it: single node, three nodes, asynchronous writes, acknowledgements. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../base/bytes.js";
import { SeededRandom } from "../base/random.js";
import type { Append, Message } from "./index.js";
import { makeConfChange, MemStorage, RawNode } from "./index.js";
import { Network } from "./test/network.js";

describe("three nodes", () => {
  it("elect a leader and replicate in synchronous mode", () => {
    const network = Network.of(3);
    network.campaign(1);
    expect(network.leaders()).toEqual([1]);
    expect(network.propose(1, "a")).toBe("proposed");
    expect(network.propose(2, "b")).toBe("proposed");
    for (const member of network.members.values()) {
      expect(member.applied.map((entry) => fromUtf8(entry.data))).toEqual(["", "a", "b"]);
    }
  });

  it("add and remove members", () => {
    const network = Network.of(3);
    network.campaign(1);
    const remove = makeConfChange([{ type: "ConfChangeRemoveNode", nodeId: 3 }]);
    expect(network.raw(1).proposeConfChange(remove)).toEqual({ kind: "proposed" });
    network.settle(1);
    expect(network.member(1).confState.voters).toEqual([1, 2]);
    expect(network.member(2).confState.voters).toEqual([1, 2]);
  });
});

describe("asynchronous storage writes", () => {
  function node(id: number, voters: number[]): { raw: RawNode; storage: MemStorage } {
    const storage = MemStorage.withConfState({ voters });
    const raw = new RawNode({ id, storage, random: new SeededRandom(id), asyncStorageWrites: true });
    return { raw, storage };
  }

  it("commits a single voter's entry only after its own write is durable", () => {
    const { raw, storage } = node(1, [1]);
    raw.campaign();
    const first = raw.ready();
    storage.write(first.append as Append);
    raw.ackAppend(first.append as Append);
    expect(raw.basicStatus().state).toBe("StateLeader");
    raw.propose(utf8("x"));
    const second = raw.ready();
    expect(second.append?.entries.length).toBe(2);
    expect(raw.basicStatus().commit).toBe(0);
    raw.propose(utf8("y"));
    const third = raw.ready();
    expect(third.append?.entries.length).toBe(1);
    storage.write(second.append as Append);
    raw.ackAppend(second.append as Append);
    expect(raw.basicStatus().commit).toBe(2);
    const fourth = raw.ready();
    expect(fourth.apply?.entries.map((entry) => fromUtf8(entry.data))).toEqual(["", "x"]);
    storage.write(third.append as Append);
    raw.ackAppend(third.append as Append);
    expect(raw.basicStatus().commit).toBe(3);
  });

  it("refuses acknowledgements out of order and twice", () => {
    const { raw, storage } = node(1, [1]);
    raw.campaign();
    const first = raw.ready().append as Append;
    storage.write(first);
    raw.ackAppend(first);
    raw.propose(utf8("x"));
    const second = raw.ready().append as Append;
    raw.propose(utf8("y"));
    const third = raw.ready().append as Append;
    expect(() => raw.ackAppend(third)).toThrow(/acks must keep the order/);
    storage.write(second);
    raw.ackAppend(second);
    expect(() => raw.ackAppend(second)).toThrow(/acks must keep the order/);
  });

  it("returns votes and acknowledgements only once the write is acknowledged", () => {
    const one = node(1, [1, 2]);
    const two = node(2, [1, 2]);
    one.raw.campaign();
    const campaign = one.raw.ready();
    expect(campaign.messages.map((message) => message.type)).toEqual(["MsgVote"]);
    two.raw.step(campaign.messages[0] as Message);
    const vote = two.raw.ready();
    expect(vote.messages).toEqual([]);
    expect(vote.append?.mustSync).toBe(true);
    const released = two.raw.ackAppend(vote.append as Append);
    expect(released.map((message) => message.type)).toEqual(["MsgVoteResp"]);
  });
});
