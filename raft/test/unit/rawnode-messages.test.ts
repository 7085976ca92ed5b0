/** What a node takes from its peers: proposals, lists of entries; a quota after a partition; shapes. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../../base/bytes.js";
import type { Logger } from "../../../base/env.js";
import { makeEntry, makeMessage } from "../../message.js";
import type { Entry, MessageType } from "../../types.js";
import { drain, Network } from "../network.js";
import { commitOf, elect, memberWith, ofType, propose, say, terms } from "./helpers.js";

/** Collects what is logged as an error. */
function listening(errors: string[]): Logger {
  return { debug() {}, info() {}, warn() {}, error: (message) => void errors.push(message) };
}

describe("a peer's proposal", () => {
  it("enters the leader's log as it is, several entries together and in their order", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    const entries = [makeEntry(0, 0, utf8("a")), makeEntry(0, 0, utf8("b"))];
    expect(member.raw.step(makeMessage({ type: "MsgProp", from: 2, to: 1, entries }))).toEqual({
      kind: "ok",
    });
    drain(member);
    expect(
      member.storage.tail(1 as never).map(({ term, index, data }) => [term, index, fromUtf8(data)]),
    ).toEqual([
      [1, 1, ""],
      [1, 2, "a"],
      [1, 3, "b"],
    ]);
    expect(entries.map(({ term, index }) => [term, index])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  it("is forwarded by a follower with all its entries, and refused where none leads", () => {
    const entries = [makeEntry(0, 0, utf8("a")), makeEntry(0, 0, utf8("b"))];
    const proposal = makeMessage({ type: "MsgProp", from: 2, to: 1, entries });
    const member = memberWith(1, [1, 2, 3]);
    expect(member.raw.step(proposal)).toEqual({ kind: "dropped", reason: "noLeader" });
    say(member, { type: "MsgHeartbeat", from: 3, term: 1 });
    expect(member.raw.step(proposal)).toEqual({ kind: "ok" });
    const [sent, ...rest] = drain(member);
    expect(rest).toEqual([]);
    expect(sent).toMatchObject({ type: "MsgProp", from: 2, to: 3, term: 0, entries });
  });

  it("without entries is malformed", () => {
    const member = memberWith(1, [1]);
    elect(member);
    expect(member.raw.step(makeMessage({ type: "MsgProp", from: 1, to: 1 })).kind).toBe("malformed");
    expect(member.raw.lastIndex).toBe(1);
  });
});

describe("an append", () => {
  it("from below the commit index is answered with that, and committed entries stay as they are", () => {
    const errors: string[] = [];
    const member = memberWith(
      1,
      [1, 2],
      { log: [1, 2, 2], term: 3, commit: 2 },
      { logger: listening(errors) },
    );
    const append = { type: "MsgApp", from: 2, term: 3, index: 1, logTerm: 1, commit: 3 } as const;
    expect(say(member, { ...append, entries: [makeEntry(3, 2)] })).toMatchObject([
      { index: 2, reject: false },
    ]);
    const longer = { ...append, index: 0, logTerm: 0, entries: [makeEntry(3, 1), makeEntry(3, 2)] };
    expect(say(member, longer)).toMatchObject([{ index: 2, reject: false }]);
    expect([terms(member), commitOf(member), errors]).toEqual([[1, 2, 2], 2, []]);
    expect(say(member, { ...append, index: 2, logTerm: 2, entries: [makeEntry(3, 3)] })).toMatchObject([
      { index: 3, reject: false },
    ]);
    expect([terms(member), commitOf(member)]).toEqual([[1, 2, 3], 3]);
  });

  it.each([
    // entries as [term, index] behind entry 2 of term 1, whether they are taken
    [[], true],
    [[[1, 3]], true],
    [[[4, 3]], true],
    [
      [
        [1, 3],
        [2, 4],
        [4, 5],
      ],
      true,
    ],
    [
      [
        [2, 3],
        [2, 4],
      ],
      true,
    ],
    [[[1, 2]], false],
    [[[1, 4]], false],
    [
      [
        [1, 3],
        [1, 3],
      ],
      false,
    ],
    [
      [
        [1, 3],
        [2, 5],
      ],
      false,
    ],
    [[[0, 3]], false],
    [
      [
        [2, 3],
        [1, 4],
      ],
      false,
    ],
    [[[5, 3]], false],
    [
      [
        [4, 3],
        [5, 4],
      ],
      false,
    ],
  ] as [[number, number][], boolean][])("of %j behind 1/2 in term 4 is taken: %s", (list, isTaken) => {
    const errors: string[] = [];
    const member = memberWith(1, [1, 2], { log: [1, 1], term: 4 }, { logger: listening(errors) });
    const entries: Entry[] = list.map(([term, index]) => makeEntry(term, index));
    const answers = say(member, { type: "MsgApp", from: 2, term: 4, index: 2, logTerm: 1, entries });
    const last = 2 + (isTaken ? entries.length : 0);
    expect(answers).toMatchObject(isTaken ? [{ type: "MsgAppResp", reject: false, index: last }] : []);
    expect([member.raw.lastIndex, errors.length]).toEqual([last, isTaken ? 0 : 1]);
  });
});

describe("the quota of a leader that was cut off", () => {
  it("is free again once a quorum has what it was used for", () => {
    const network = Network.of(3, { maxUncommittedEntriesBytes: 1024 });
    network.campaign(1);
    network.isolate(1);
    const fill = (): number => {
      let taken = 0;
      while (network.propose(1, "x".repeat(100)) === "proposed") taken++;
      return taken;
    };
    expect(fill()).toBe(10);
    expect(network.propose(1, "x".repeat(100))).toBe("uncommittedQuota");
    expect([commitOf(network.member(1)), network.raw(1).lastIndex]).toEqual([1, 11]);
    network.recover();
    network.tick(1);
    expect([1, 2, 3].map((id) => network.member(id).applied.length)).toEqual([11, 11, 11]);
    network.isolate(1);
    expect(fill()).toBe(10);
  });
});

describe("messages", () => {
  it("all have the same fields in the same order, whatever is given", () => {
    const shape = [
      ...["type", "to", "from", "term", "logTerm", "index", "entries", "commit", "commitTerm", "vote"],
      ...["snapshot", "reject", "rejectHint", "context", "requestSnapshot", "priority", "responses"],
    ];
    const network = Network.of(3, { preVote: true });
    network.campaign(1);
    network.propose(2);
    network.raw(3).readIndex(utf8("r"));
    network.settle(3);
    network.raw(1).transferLeader(2);
    network.settle(1);
    const seen = new Set<MessageType>();
    for (const message of network.delivered) {
      expect(Object.keys(message), message.type).toEqual(shape);
      seen.add(message.type);
    }
    expect(seen.size).toBeGreaterThanOrEqual(11);
    expect(Object.keys(makeMessage({ priority: 1, type: "MsgVote" }))).toEqual(shape);
    expect(Object.keys(makeEntry(1, 1))).toEqual(["term", "index", "type", "data"]);
  });

  it("of a leader name its term, and forwarded ones none", () => {
    const network = Network.of(3);
    network.campaign(1);
    network.propose(2);
    network.raw(2).readIndex(utf8("r"));
    network.settle(2);
    const forwarded = ofType(network.delivered, "MsgProp", "MsgReadIndex").map(({ type, term }) => [
      type,
      term,
    ]);
    expect(forwarded).toEqual([
      ["MsgProp", 0],
      ["MsgReadIndex", 0],
    ]);
    const others = network.delivered.filter(({ type }) => type !== "MsgProp" && type !== "MsgReadIndex");
    expect(new Set(others.map(({ term }) => term))).toEqual(new Set([1]));
  });
});

it("a proposal that is dropped leaves nothing behind", () => {
  const member = memberWith(2, [1, 2], { log: [1], term: 1 });
  const before = member.raw.status();
  expect(propose(member)).toBe("noLeader");
  expect(member.raw.hasReady()).toBe(false);
  expect(member.raw.status()).toEqual(before);
});
