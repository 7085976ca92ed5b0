/**
 * What peers must not send, and what embedders must not do: each kind has an answer, nothing a peer says makes a node
 * throw, and nothing moves what is committed.
 */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../../base/bytes.js";
import { SeededRandom } from "../../../base/random.js";
import { makeConfChange } from "../../confchange-codec.js";
import { makeEntry, makeMessage, makeSnapshot } from "../../message.js";
import { TERM_MAX } from "../../raft.js";
import { RawNode } from "../../rawnode.js";
import { MemStorage } from "../../storage.js";
import {
  type Append,
  type Apply,
  type ConfState,
  type Entry,
  type EntryType,
  LOCAL_MESSAGE_TYPES,
  type Message,
  type MessageType,
  type Snapshot,
  WIRE_MESSAGE_TYPES,
} from "../../types.js";
import { drain, type Member, makeMember, type Settings } from "../network.js";
import { elect, memberWith, ofType, progressOf, propose, say, stateOf, termOf, tick } from "./helpers.js";

const TYPES: readonly MessageType[] = [...WIRE_MESSAGE_TYPES, ...LOCAL_MESSAGE_TYPES];

describe("a message that is not for this node", () => {
  it("is refused: an address may have been another node's before", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1 });
    member.raw.campaign();
    drain(member);
    const vote = makeMessage({ type: "MsgVoteResp", from: 2, to: 3, term: 2 });
    expect(member.raw.step(vote).kind).toBe("malformed");
    expect(stateOf(member)).toBe("StateCandidate");
    expect(member.raw.step({ ...vote, to: 1 }).kind).toBe("ok");
    expect(stateOf(member)).toBe("StateLeader");
  });

  it("is refused when it claims to be its own: its votes and acknowledgements wait for its disk", () => {
    const member = memberWith(1, [1], { log: [1], term: 1 }, { asyncStorageWrites: true });
    member.raw.campaign();
    member.raw.ready();
    for (const type of ["MsgVoteResp", "MsgAppResp", "MsgPreVoteResp", "MsgHeartbeat", "MsgApp"] as const) {
      const message = makeMessage({ type, from: 1, to: 1, term: 2, index: 1, logTerm: 1 });
      expect(member.raw.step(message).kind, type).toBe("malformed");
    }
    expect(stateOf(member)).toBe("StateCandidate");
  });

  it("is taken when it is the node's own request that comes back", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 2, index: 2 });
    const proposal = { type: "MsgProp", from: 1, entries: [makeEntry(0, 0, utf8("a"))] } as const;
    expect(ofType(say(member, proposal), "MsgApp").length).toBe(1);
    say(member, { type: "MsgReadIndex", from: 1, context: utf8("r") });
    say(member, { type: "MsgHeartbeatResp", from: 2, term: 2, context: position(1) });
    expect(member.reads.map(({ requestContext }) => requestContext)).toEqual([utf8("r")]);
  });
});

const position = (value: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
};

describe("of a type that nobody knows", () => {
  it("a message is refused and does not move the term", () => {
    const member = memberWith(1, [1, 2], { term: 1 });
    const message = { ...makeMessage({ from: 2, to: 1, term: 9 }), type: "MsgFuture" as never };
    expect(member.raw.step(message).kind).toBe("malformed");
    expect(termOf(member)).toBe(1);
  });

  it("an entry is refused, be it proposed or appended", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    const entries = [makeEntry(1, 2, utf8("x"), "EntryFuture" as EntryType)];
    const append = { type: "MsgApp", from: 2, to: 1, term: 1, index: 1, logTerm: 1, entries } as const;
    expect(member.raw.step(makeMessage(append)).kind).toBe("malformed");
    expect(member.raw.step(makeMessage({ type: "MsgProp", from: 2, to: 1, entries })).kind).toBe("malformed");
    const noBytes = [{ ...makeEntry(1, 2), data: undefined as never }];
    expect(member.raw.step(makeMessage({ ...append, entries: noBytes })).kind).toBe("malformed");
    expect(member.raw.lastIndex).toBe(1);
  });
});

describe("a follower's answer that claims too much", () => {
  function leader(settings: Settings = {}): Member {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1 }, settings);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 2, index: 2 });
    return member;
  }

  it("does not confirm reads that have not been asked for", () => {
    const member = leader();
    for (const context of [
      position(1),
      position(2 ** 40),
      position(2 ** 53 - 1),
      new Uint8Array(8).fill(255),
    ]) {
      say(member, { type: "MsgHeartbeatResp", from: 2, term: 2, context });
    }
    member.raw.readIndex(utf8("r"));
    drain(member);
    expect(member.reads).toEqual([]);
    say(member, { type: "MsgHeartbeatResp", from: 3, term: 2, context: position(2) });
    expect(member.reads).toEqual([]);
    say(member, { type: "MsgHeartbeatResp", from: 3, term: 2, context: position(1) });
    expect(member.reads.length).toBe(1);
  });

  it("of what it has committed is not believed beyond the leader's log", () => {
    const member = leader({ commitInResponses: true });
    say(member, { type: "MsgHeartbeatResp", from: 2, term: 2, commit: 2 ** 50 });
    say(member, { type: "MsgAppResp", from: 2, term: 2, index: 2, commit: 3 });
    expect(progressOf(member, 2).committed).toBe(0);
    say(member, { type: "MsgHeartbeatResp", from: 2, term: 2, commit: 2 });
    expect(progressOf(member, 2).committed).toBe(2);
  });

  it("of holding entries that the leader has not is ignored, twice and out of order too", () => {
    const member = leader();
    propose(member);
    drain(member);
    say(member, { type: "MsgAppResp", from: 3, term: 2, index: 9 });
    expect(progressOf(member, 3).match).toBe(0);
    for (const index of [3, 2, 3, 1, 3]) say(member, { type: "MsgAppResp", from: 3, term: 2, index });
    expect(progressOf(member, 3)).toMatchObject({ match: 3, next: 4, inflightMessages: 0 });
    const late = { type: "MsgAppResp", from: 3, term: 2, index: 1, reject: true, rejectHint: 0 } as const;
    say(member, late);
    expect(progressOf(member, 3)).toMatchObject({ match: 3, next: 4 });
  });

  it("of a granted pre-vote of another term does not start an election", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1], term: 1 }, { preVote: true });
    member.raw.campaign();
    drain(member);
    say(member, { type: "MsgPreVoteResp", from: 2, term: 7 });
    expect([stateOf(member), termOf(member)]).toEqual(["StatePreCandidate", 1]);
    say(member, { type: "MsgPreVoteResp", from: 2, term: 2 });
    expect([stateOf(member), termOf(member)]).toEqual(["StateCandidate", 2]);
  });
});

describe("what comes late", () => {
  it("a snapshot older than the commit index is not taken, nor one without this node: both are answered", () => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 2], term: 2, commit: 2 });
    drain(member);
    member.storage.createSnapshot(2 as never, undefined, utf8("s"));
    member.storage.compact(2 as never);
    for (const [index, confState] of [
      [1, { voters: [1, 2, 3] }],
      [9, { voters: [2, 3] }],
    ] as const) {
      const answers = say(member, {
        type: "MsgSnap",
        from: 2,
        term: 2,
        snapshot: makeSnapshot(index, 1, confState),
      });
      expect(answers).toMatchObject([{ type: "MsgAppResp", index: 2, reject: false }]);
    }
    expect([member.raw.commitIndex, member.raw.lastIndex]).toEqual([2, 3]);
  });

  it("of an earlier term is ignored, and with check-quorum its leader is told of the later one", () => {
    for (const checkQuorum of [false, true]) {
      const member = memberWith(1, [1, 2], { log: [1, 3], term: 3 }, { checkQuorum });
      const late = {
        type: "MsgApp",
        from: 2,
        term: 2,
        index: 1,
        logTerm: 1,
        entries: [makeEntry(2, 2)],
      } as const;
      expect(say(member, late)).toMatchObject(checkQuorum ? [{ type: "MsgAppResp", term: 3, index: 0 }] : []);
      expect(say(member, { type: "MsgVoteResp", from: 2, term: 2 })).toEqual([]);
      expect([member.raw.lastIndex, member.storage.term(2 as never), termOf(member)]).toEqual([2, 3, 3]);
    }
  });

  it("an acknowledgement of the embedder out of order, or twice, is an error of its own", () => {
    const { raw, storage } = memberWith(1, [1], { log: [1], term: 1 }, { asyncStorageWrites: true });
    const written = (): Append => {
      const append = raw.ready().append as Append;
      storage.write(append);
      return append;
    };
    raw.campaign();
    const first = written();
    raw.ackAppend(first);
    expect(() => raw.ackAppend(first)).toThrow(/keep the order/);
    const second = written();
    raw.propose(utf8("a"));
    const third = written();
    expect(() => raw.ackAppend(third)).toThrow(/append 3 acknowledged, but append 2 is next/);
    raw.ackAppend(second);
    raw.ackAppend(third);
    const apply = raw.ready().apply as Apply;
    raw.ackApply(apply);
    expect(() => raw.ackApply(apply)).toThrow(/keep the order/);
  });
});

describe("a configuration that cannot have come about", () => {
  const strange: readonly Partial<ConfState>[] = [
    { voters: [2], learners: [1, 2] },
    { voters: [1, 2], learnersNext: [3] },
    { voters: [1, 2], autoLeave: true },
    { voters: [1, 2], votersOutgoing: [1], learnersNext: [2] },
    { voters: [1, 2], votersOutgoing: [1, 2], learners: [2] },
  ];

  it.each(strange)("in a snapshot is refused: %j", (confState) => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    const snapshot = makeSnapshot(9, 1, confState);
    say(member, { type: "MsgSnap", from: 2, term: 1, snapshot });
    expect(member.raw.lastIndex).toBe(1);
    expect(member.raw.config).toMatchObject({ voters: [1, 2], learners: [], learnersNext: [] });
  });

  it.each(strange)("in the storage stops the node from starting: %j", (confState) => {
    const storage = MemStorage.withConfState(confState);
    const start = (): RawNode => new RawNode({ id: 1, storage, random: new SeededRandom(1) });
    expect(start).toThrow(/configuration/);
  });

  it("does not come by a change: what does not decode or names no node is a value", () => {
    const member = memberWith(1, [1, 2], { log: [1], term: 1 });
    elect(member, 2);
    for (const data of [
      [9],
      [2, 9, 0],
      [2, 0, 5, 0, 3],
      [1, 7, 3],
      [1, 0, 255, 255, 255, 255, 255, 255, 255, 255],
    ]) {
      for (const type of ["EntryConfChange", "EntryConfChangeV2"] as const) {
        const entries = [makeEntry(0, 0, new Uint8Array(data), type), makeEntry(0, 0, utf8("a"))];
        const result = member.raw.step(makeMessage({ type: "MsgProp", from: 2, to: 1, entries }));
        expect(result, JSON.stringify(data)).toEqual({ kind: "dropped", reason: "malformedConfChange" });
      }
    }
    expect(member.raw.lastIndex).toBe(2);
    for (const nodeId of [-1, 1.5, Number.NaN, 2 ** 60]) {
      const change = makeConfChange([{ type: "ConfChangeAddNode", nodeId }]);
      expect(member.raw.proposeConfChange(change).kind).toBe("dropped");
      expect(member.raw.applyConfChange(change).kind).toBe("invalid");
    }
  });

  it("needs a storage and a source of random numbers besides", () => {
    const random = new SeededRandom(1);
    expect(() => new RawNode({ id: 1, random } as never)).toThrow(/storage must be given/);
    expect(() => new RawNode({ id: 1, storage: new MemStorage() } as never)).toThrow(/random must be given/);
  });
});

// Whatever a peer says to a node of whatever role.

const ROLES: Readonly<Record<string, (settings: Settings) => Member>> = {
  "a follower": (settings) => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 2, 3, 3], term: 3, commit: 3 }, settings);
    say(member, { type: "MsgHeartbeat", from: 2, term: 3, commit: 4 });
    return member;
  },
  "a follower without a leader": (settings) =>
    memberWith(1, [1, 2, 3], { log: [1, 1, 2, 3, 3], term: 4, commit: 3, vote: 3 }, settings),
  "a candidate": (settings) => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 2, 3, 3], term: 3, commit: 3 }, settings);
    member.raw.campaign();
    drain(member);
    return member;
  },
  "a leader": (settings) => {
    const member = memberWith(1, [1, 2, 3, 4], { log: [1, 1, 2, 3, 3], term: 3, commit: 3 }, settings);
    elect(member, 2, 3);
    for (const from of [2, 3]) say(member, { type: "MsgAppResp", from, term: termOf(member), index: 6 });
    propose(member);
    member.raw.readIndex(utf8("r"));
    drain(member);
    return member;
  },
  "a leader of a joint configuration": (settings) => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1, 2, 3, 3], term: 3, commit: 3 }, settings);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: termOf(member), index: 6 });
    member.raw.proposeConfChange(
      makeConfChange(
        [
          { type: "ConfChangeAddNode", nodeId: 4 },
          { type: "ConfChangeAddLearnerNode", nodeId: 3 },
        ],
        "ConfChangeTransitionJointExplicit",
      ),
    );
    drain(member);
    say(member, { type: "MsgAppResp", from: 2, term: termOf(member), index: 7 });
    return member;
  },
  "a learner": (settings) =>
    memberWith(1, [2, 3], { log: [1, 1, 2, 3, 3], term: 3, commit: 3, learners: [1] }, settings),
  "a node without a group": (settings) => makeMember(1, [], settings),
  "a node with a snapshot on its way to the disk": (settings) => {
    const member = memberWith(1, [1, 2, 3], { log: [1, 1], term: 3, commit: 1 }, settings);
    const snapshot = makeSnapshot(5, 3, { voters: [1, 2, 3] });
    member.raw.step(makeMessage({ type: "MsgSnap", from: 2, to: 1, term: 3, snapshot }));
    return member;
  },
};

class Nonsense {
  readonly #random: SeededRandom;
  readonly #member: Member;

  constructor(seed: number, member: Member) {
    this.#random = new SeededRandom(seed, 3);
    this.#member = member;
  }

  #below(bound: number): number {
    return this.#random.u32() % bound;
  }

  #one<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  /** Mostly near what the node has, else anything. */
  #number(near: readonly number[]): number {
    if (this.#below(8) > 0) return Math.max(0, this.#one(near) + this.#below(4) - 1);
    return this.#one([
      0,
      -1,
      0.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      2 ** 53 - 1,
      2 ** 53,
      2 ** 60,
      TERM_MAX,
    ]);
  }

  #index(): number {
    const { commit, lastIndex } = this.#member.raw.basicStatus();
    return this.#number([0, commit, lastIndex, lastIndex + 5]);
  }

  #term(): number {
    const { term } = this.#member.raw.basicStatus();
    return this.#number([term, term, term, 1]);
  }

  #entries(index: number): Entry[] {
    const entries: Entry[] = [];
    const hasHoles = this.#below(4) === 0;
    let term = this.#term();
    for (let i = this.#below(4); i > 0; i--) {
      const type = this.#one(["EntryNormal", "EntryNormal", "EntryConfChange", "EntryConfChangeV2"] as const);
      const data = new Uint8Array(Array.from({ length: this.#below(8) }, () => this.#below(4)));
      entries.push(makeEntry(term, hasHoles ? this.#index() : index + entries.length + 1, data, type));
      if (this.#below(4) === 0) term++;
    }
    return entries;
  }

  #ids(): number[] {
    return Array.from({ length: this.#below(4) }, () =>
      this.#below(20) === 0 ? this.#number([1]) : this.#below(5),
    );
  }

  #snapshot(): Snapshot | undefined {
    if (this.#below(5) === 0) return undefined;
    const confState =
      this.#below(2) === 0
        ? { voters: [1, 2, 3] }
        : {
            voters: this.#ids(),
            votersOutgoing: this.#ids(),
            learners: this.#ids(),
            learnersNext: this.#ids(),
            autoLeave: this.#below(2) === 0,
          };
    return makeSnapshot(this.#index(), this.#term(), confState);
  }

  message(): Message {
    const type = this.#one(TYPES);
    const index = this.#index();
    const isRequest = type === "MsgApp" || type === "MsgProp" || this.#below(6) === 0;
    const snapshot = type === "MsgSnap" || this.#below(10) === 0 ? this.#snapshot() : undefined;
    return makeMessage({
      type,
      from: this.#one([2, 2, 3, 3, 4, 1, 9, this.#number([1])]),
      to: this.#one([1, 1, 1, 1, 1, 0, 2]),
      term: this.#term(),
      index,
      logTerm: this.#term(),
      commit: this.#index(),
      commitTerm: this.#term(),
      vote: this.#below(4),
      reject: this.#below(3) === 0,
      rejectHint: this.#index(),
      requestSnapshot: this.#below(5) === 0 ? this.#index() : 0,
      priority: this.#below(10) === 0 ? this.#number([0]) : 0,
      context:
        this.#below(3) === 0 ? position(this.#below(4)) : utf8(this.#one(["", "CampaignTransfer", "x"])),
      entries: isRequest ? this.#entries(index) : [],
      ...(snapshot === undefined ? {} : { snapshot }),
    });
  }
}

/** What must be as it was, whatever was said: the first that is not. */
function watch(member: Member): () => string | undefined {
  const { raw, storage } = member;
  const before = raw.basicStatus();
  const first = storage.firstIndex();
  const kept = (): string => {
    const terms: unknown[] = [];
    for (let index = first as number; index <= before.commit; index++)
      terms.push(storage.term(index as never));
    return terms.join();
  };
  const prefix = kept();
  return () => {
    drain(member);
    const after = raw.basicStatus();
    if (after.term < before.term) return "its term went back";
    if (after.commit < before.commit) return "its commit index went back";
    if (after.commit > after.lastIndex || after.applied > after.commit) return "it commits what it has not";
    const voted = after.term === before.term && before.vote !== 0;
    if (voted && after.vote !== before.vote) return "it voted twice";
    // A snapshot may have taken the place of the log.
    if (storage.firstIndex() === first && kept() !== prefix) return "what was committed changed";
    if (after.state !== "StateLeader") return undefined;
    if (before.state === "StateFollower") return "a follower leads";
    let unsound: string | undefined;
    raw.withProgress((id, { match, next, inflights }) => {
      if (match >= next || match > after.lastIndex || inflights.count > 256)
        unsound = `the progress of ${id}`;
    });
    return unsound;
  };
}

/** What goes wrong when a member hears a message. */
function hears(member: Member, message: Message): string | undefined {
  const check = watch(member);
  try {
    member.raw.step(message);
    return check();
  } catch (error) {
    return String(error);
  }
}

describe("whatever peers say to", () => {
  const settings: readonly Settings[] = [
    {},
    { preVote: true, checkQuorum: true },
    { commitByVote: true, commitInResponses: true, batchAppend: true, maxSizePerMessageBytes: 10 },
    { maxUncommittedEntriesBytes: 8, maxInflightMessages: 2, stepDownOnRemoval: true },
  ];

  it.each(Object.keys(ROLES))("%s, it neither throws nor gives up what is committed", (name) => {
    const make = ROLES[name] as (settings: Settings) => Member;
    const wrong: string[] = [];
    for (let seed = 0; seed < 200 && wrong.length === 0; seed++) {
      const member = make(settings[seed % settings.length] as Settings);
      const nonsense = new Nonsense(seed, member);
      for (let i = 0; i < 12 && wrong.length === 0; i++) {
        const message = nonsense.message();
        const reason = hears(member, message);
        if (reason !== undefined) wrong.push(`seed ${seed}, ${JSON.stringify(message)}: ${reason}`);
        if (i % 4 === 3) tick(member, 3);
      }
    }
    expect(wrong).toEqual([]);
  });
});
