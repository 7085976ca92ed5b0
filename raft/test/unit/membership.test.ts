/** Configuration changes: proposed, refused, applied, and what follows from them. */
import { describe, expect, it } from "vitest";
import { confChangeMode, encodeConfChange, makeConfChange } from "../../confchange-codec.js";
import { restoreConfig, stepByStep } from "../../confchange/restore.js";
import { EMPTY_CONF_STATE, equalConfState, makeEntry, makeHardState } from "../../message.js";
import { MemStorage } from "../../storage.js";
import { ProgressTracker } from "../../tracker/tracker.js";
import type { ConfChangeV2, ConfState, EntryType } from "../../types.js";
import { drain, makeMember, Network } from "../network.js";
import { elect, memberWith, ofType, say, stateOf, tick } from "./helpers.js";

const add = (nodeId: number): ConfChangeV2 => makeConfChange([{ type: "ConfChangeAddNode", nodeId }]);
const learn = (nodeId: number): ConfChangeV2 =>
  makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId }]);
const remove = (nodeId: number): ConfChangeV2 => makeConfChange([{ type: "ConfChangeRemoveNode", nodeId }]);
const types = (member: { storage: MemStorage }): EntryType[] =>
  member.storage.tail(1 as never).map(({ type }) => type);

describe("a proposed change", () => {
  it("enters the log; a second one before it is applied becomes an empty entry", () => {
    const member = memberWith(1, [1, 2]);
    elect(member, 2);
    expect(member.raw.proposeConfChange(remove(3)).kind).toBe("proposed");
    expect(member.raw.proposeConfChange(add(4)).kind).toBe("proposed");
    drain(member);
    expect(types(member)).toEqual(["EntryNormal", "EntryConfChangeV2", "EntryNormal"]);
    expect(member.storage.tail(3 as never)[0]?.data.length).toBe(0);
  });

  it("waits at a new leader for everything that it found in its log to be applied", () => {
    for (const withPending of [false, true]) {
      const storage = MemStorage.withConfState({ voters: [1, 2] });
      if (withPending) storage.append([makeEntry(1, 1, encodeConfChange(add(3)), "EntryConfChangeV2")]);
      storage.setHardState(makeHardState(1, 0, 0));
      const member = makeMember(1, [1, 2], { storage });
      elect(member, 2);
      const { term } = member.raw;
      member.raw.proposeConfChange(add(4));
      drain(member);
      expect(types(member).at(-1)).toBe(withPending ? "EntryNormal" : "EntryConfChangeV2");
      say(member, { type: "MsgAppResp", from: 2, term, index: member.raw.lastIndex } as never);
      member.raw.proposeConfChange(remove(2));
      drain(member);
      expect(types(member).at(-1)).toBe("EntryConfChangeV2");
    }
  });

  it("of a node that is a member already changes nothing and does not hold up the next", () => {
    const network = Network.of(1);
    network.campaign(1);
    for (const change of [add(2), add(2), add(3)]) {
      network.raw(1).proposeConfChange(change);
      network.settle(1);
      if (!network.members.has(2)) network.members.set(2, makeMember(2, [1]));
      network.settle();
      network.tick(1, 2);
    }
    expect(network.member(1).confState.voters).toEqual([1, 2, 3]);
  });

  it("adds learners, and removes voters and learners", () => {
    const member = memberWith(1, [1, 2], { learners: [3] });
    const after = (change: ConfChangeV2): unknown => {
      const result = member.raw.applyConfChange(change);
      return result.kind === "applied" ? [result.confState.voters, result.confState.learners] : result;
    };
    expect(after(add(4))).toEqual([[1, 2, 4], [3]]);
    expect(after(learn(5))).toEqual([
      [1, 2, 4],
      [3, 5],
    ]);
    expect(after(remove(2))).toEqual([
      [1, 4],
      [3, 5],
    ]);
    expect(after(remove(3))).toEqual([[1, 4], [5]]);
    expect(after(learn(4))).toEqual([[1], [4, 5]]);
  });

  it("that would leave no voter is refused when it is applied, and nothing changes", () => {
    const member = memberWith(1, [1]);
    const result = member.raw.applyConfChange(remove(1));
    expect(result).toMatchObject({ kind: "invalid", reason: expect.stringMatching(/removed all voters/) });
    expect(member.raw.status().config.voters).toEqual([1]);
  });

  it("with a zero node id stands for one that the application voided", () => {
    const member = memberWith(1, [1, 2]);
    const change = makeConfChange([{ type: "ConfChangeAddNode", nodeId: 0 }]);
    expect(member.raw.applyConfChange(change)).toMatchObject({
      kind: "applied",
      confState: { voters: [1, 2] },
    });
  });

  it("lists voters in order, whatever the order they came in", () => {
    const member = memberWith(1, [3, 1, 2]);
    expect(member.raw.status().config.voters).toEqual([1, 2, 3]);
  });

  it("that makes the quorum smaller commits what waited", () => {
    const member = memberWith(1, [1, 2]);
    elect(member, 2);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 1 } as never);
    member.raw.proposeConfChange(remove(2));
    drain(member);
    member.raw.propose(new Uint8Array([1]));
    drain(member);
    expect(member.raw.commitIndex).toBe(1);
    say(member, { type: "MsgAppResp", from: 2, term: 1, index: 2 } as never);
    expect(member.raw.commitIndex).toBe(3);
    expect(member.confState.voters).toEqual([1]);
  });

  it("makes a joint configuration that is left on its own, even over a change of leaders", () => {
    const network = Network.of(1);
    network.campaign(1);
    const change = makeConfChange(
      [{ type: "ConfChangeAddLearnerNode", nodeId: 2 }],
      "ConfChangeTransitionJointImplicit",
    );
    network.raw(1).proposeConfChange(change);
    const raw = network.raw(1);
    // It steps down between the change being handed out and its being applied.
    const ready = raw.ready();
    if (ready.append !== undefined) network.member(1).storage.write(ready.append);
    raw.advance(ready);
    const second = raw.ready();
    expect(second.apply?.entries.map(({ type }) => type)).toEqual(["EntryConfChangeV2"]);
    raw.step({ ...heartbeat(raw.term + 1) } as never);
    expect(stateOf(network.member(1))).toBe("StateFollower");
    const applied = raw.applyConfChange(change);
    expect(applied).toMatchObject({ kind: "applied", confState: { votersOutgoing: [1], autoLeave: true } });
    if (second.append !== undefined) network.member(1).storage.write(second.append);
    raw.advance(second);
    network.settle(1);
    expect(raw.status().config.votersOutgoing).toEqual([1]);
    network.campaign(1);
    expect(raw.status().config).toMatchObject({ voters: [1], votersOutgoing: [], learners: [2] });
  });

  it.each([
    ["simple", add(2), { voters: [1, 2] }, false],
    ["simple, a learner", learn(2), { voters: [1], learners: [2] }, false],
    [
      "explicit joint",
      makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId: 2 }], "ConfChangeTransitionJointExplicit"),
      { voters: [1], votersOutgoing: [1], learners: [2] },
      true,
    ],
    [
      "implicit joint",
      makeConfChange([{ type: "ConfChangeAddLearnerNode", nodeId: 2 }], "ConfChangeTransitionJointImplicit"),
      { voters: [1], learners: [2] },
      false,
    ],
    [
      "several, automatically joint",
      makeConfChange([
        { type: "ConfChangeAddLearnerNode", nodeId: 2 },
        { type: "ConfChangeAddLearnerNode", nodeId: 3 },
      ]),
      { voters: [1], learners: [2, 3] },
      false,
    ],
  ] as [string, ConfChangeV2, Partial<ConfState>, boolean][])(
    "%s ends as it should",
    (_, change, expected, mustLeave) => {
      const network = Network.of(1);
      network.campaign(1);
      network.raw(1).proposeConfChange(change);
      network.settle(1);
      if (expected.voters?.includes(2) === true) {
        network.members.set(2, makeMember(2, [], { storage: new MemStorage() }));
        network.tick(1, 2);
      }
      expect(network.member(1).confState).toMatchObject(expected);
      if (!mustLeave) return;
      network.raw(1).proposeConfChange(makeConfChange([]));
      network.settle(1);
      expect(network.member(1).confState).toMatchObject({ voters: [1], votersOutgoing: [], learners: [2] });
    },
  );
});

const heartbeat = (term: number): object => ({
  ...(tick(led(), 1).find(({ type }) => type === "MsgHeartbeat") as object),
  from: 7,
  to: 1,
  term,
});
function led() {
  const member = memberWith(1, [1, 2]);
  elect(member, 2);
  return member;
}

describe("campaigns", () => {
  it("are for voters of the own configuration alone", () => {
    for (const [voters, learners, may] of [
      [[1], [], true],
      [[1, 2, 3], [], true],
      [[], [], false],
      [[2, 3], [], false],
      [[2, 3], [1], false],
    ] as [number[], number[], boolean][]) {
      const storage = MemStorage.withConfState({ voters, learners });
      const member = makeMember(1, voters, { storage });
      member.raw.campaign();
      drain(member);
      expect(stateOf(member) !== "StateFollower").toBe(may);
      expect(member.raw.isVoter()).toBe(may);
    }
  });

  it.each(["EntryConfChange", "EntryConfChangeV2"] as const)(
    "wait while a committed change of type %s is not applied, by timeout and by order",
    (type) => {
      const storage = MemStorage.withConfState({ voters: [1, 2, 3] });
      storage.append([makeEntry(1, 1), makeEntry(1, 2, encodeConfChange(add(4), type), type)]);
      storage.setHardState(makeHardState(1, 0, 2));
      const member = makeMember(2, [1, 2, 3], { storage, asyncStorageWrites: true });
      const ready = member.raw.ready();
      expect(ready.apply?.entries.length).toBe(2);
      member.raw.campaign();
      for (let i = 0; i < 50; i++) member.raw.tick();
      member.raw.step({ ...heartbeat(1), type: "MsgTimeoutNow", from: 1, to: 2, commit: 0 } as never);
      expect(stateOf(member)).toBe("StateFollower");
      if (ready.apply === undefined) throw new Error("nothing to apply");
      member.raw.applyConfChange(add(4));
      member.raw.ackApply(ready.apply);
      member.raw.campaign();
      expect(stateOf(member)).toBe("StateCandidate");
    },
  );
});

describe("configurations", () => {
  /** All ways to deal six ids out to the sets, thinned. */
  function* states(): Generator<ConfState> {
    for (let seed = 0; seed < 3 ** 6; seed++) {
      const voters: number[] = [];
      const votersOutgoing: number[] = [];
      const learners: number[] = [];
      const learnersNext: number[] = [];
      let rest = seed;
      for (let id = 1; id <= 6; id++) {
        const kind = rest % 3;
        rest = Math.floor(rest / 3);
        if (kind === 0) voters.push(id);
        else if (kind === 1) learners.push(id);
        if (seed % 2 === 1 && id % 2 === 0 && kind !== 1) votersOutgoing.push(id);
        if (seed % 2 === 1 && id % 2 === 0 && kind === 2) learnersNext.push(id);
      }
      if (voters.length === 0) continue;
      yield {
        voters,
        votersOutgoing,
        learners,
        learnersNext,
        autoLeave: votersOutgoing.length > 0 && seed % 4 === 1,
      };
    }
  }

  it("are restored from what is stored of them, joint ones too", () => {
    let count = 0;
    for (const state of states()) {
      const tracker = new ProgressTracker({ countMax: 10, bytesMax: Number.POSITIVE_INFINITY });
      const result = restoreConfig(tracker, 10, state);
      if (result.kind !== "changed") throw new Error(JSON.stringify(result));
      tracker.install(result.config, result.members);
      expect(equalConfState(tracker.confState(), state), JSON.stringify(state)).toBe(true);
      count++;
    }
    expect(count).toBeGreaterThan(500);
  });

  it("are restored at once as step by step, in any order, and refused alike", () => {
    const odd: Partial<ConfState>[] = [
      {},
      { voters: [3, 1, 2] },
      { voters: [2, 1], learners: [9, 5] },
      { voters: [1, 1, 2] },
      { voters: [1, 2], learners: [2] },
      { voters: [0, 1] },
      { learners: [4] },
      { voters: [1], autoLeave: true },
    ];
    for (const state of [...states(), ...odd.map((part) => ({ ...EMPTY_CONF_STATE, ...part }))]) {
      for (const last of [0, 10]) {
        const tracker = new ProgressTracker({ countMax: 10, bytesMax: Number.POSITIVE_INFINITY });
        const atOnce = restoreConfig(tracker, last, state);
        expect(atOnce, JSON.stringify(state)).toEqual(stepByStep(tracker, last, state));
      }
    }
  });

  it("are the same by simple steps and by one joint change", () => {
    for (let seed = 1; seed < 400; seed++) {
      const changes: ConfChangeV2["changes"][number][] = [];
      let rest = seed * 2654435761;
      for (let i = 0; i < 5; i++) {
        rest = Math.imul(rest ^ (rest >>> 13), 0x5bd1e995) >>> 0;
        const type = (["ConfChangeAddNode", "ConfChangeAddLearnerNode", "ConfChangeRemoveNode"] as const)[
          rest % 3
        ];
        changes.push({ type: type ?? "ConfChangeAddNode", nodeId: 2 + ((rest >>> 4) % 5) });
      }
      const simple = memberWith(1, [1]);
      for (const change of changes) simple.raw.applyConfChange(makeConfChange([change]));
      const joint = memberWith(1, [1]);
      joint.raw.applyConfChange(makeConfChange(changes, "ConfChangeTransitionJointExplicit"));
      const left = joint.raw.applyConfChange(makeConfChange([]));
      if (left.kind !== "applied") throw new Error(left.reason);
      const { voters, learners } = simple.raw.status().config;
      expect(equalConfState(left.confState, { ...EMPTY_CONF_STATE, voters, learners })).toBe(true);
    }
  });

  it("are equal whatever the order of ids", () => {
    const state: ConfState = {
      voters: [1, 2, 3],
      votersOutgoing: [1, 2, 4],
      learners: [5, 6],
      learnersNext: [4],
      autoLeave: true,
    };
    const shuffled = { ...state, voters: [3, 1, 2], learners: [6, 5], votersOutgoing: [4, 2, 1] };
    expect(equalConfState(state, shuffled)).toBe(true);
    for (const other of [{ voters: [1, 2] }, { learners: [5] }, { learnersNext: [] }, { autoLeave: false }]) {
      expect(equalConfState(state, { ...state, ...other })).toBe(false);
    }
  });

  it("are left by an empty change of the automatic kind alone, whose context does not matter", () => {
    expect(confChangeMode(makeConfChange([])).kind).toBe("leaveJoint");
    expect(confChangeMode(makeConfChange([], "ConfChangeTransitionAuto", new Uint8Array([1]))).kind).toBe(
      "leaveJoint",
    );
    expect(confChangeMode(makeConfChange([], "ConfChangeTransitionJointExplicit")).kind).toBe("enterJoint");
    expect(confChangeMode(add(1)).kind).toBe("simple");
  });

  it("of a learner that is a voter's successor count votes of both halves", () => {
    const member = memberWith(1, [1, 2, 3]);
    elect(member, 2);
    member.raw.applyConfChange(
      makeConfChange(
        [
          { type: "ConfChangeAddNode", nodeId: 4 },
          { type: "ConfChangeRemoveNode", nodeId: 3 },
        ],
        "ConfChangeTransitionJointExplicit",
      ),
    );
    member.raw.propose(new Uint8Array([1]));
    drain(member);
    const index = member.raw.lastIndex;
    const ack = (from: number): void =>
      void say(member, { type: "MsgAppResp", from, term: 1, index } as never);
    ack(3);
    expect(member.raw.commitIndex).toBe(0);
    ack(4);
    expect(member.raw.commitIndex).toBe(index);
    expect(ofType(tick(member, 1), "MsgHeartbeat").map(({ to }) => to)).toEqual([2, 3, 4]);
  });
});
