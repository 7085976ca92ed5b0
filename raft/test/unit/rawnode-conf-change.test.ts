/** A configuration change from proposal to last step: what the log holds, each configuration on the way. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../../base/bytes.js";
import { decodeConfChange, makeConfChange } from "../../confchange-codec.js";
import { EMPTY_CONF_STATE, makeMessage } from "../../message.js";
import type { ConfChangeSingle, ConfChangeTransition, ConfState, EntryType } from "../../types.js";
import type { Member } from "../network.js";
import { commitOf, elect, memberWith, propose } from "./helpers.js";

const voter = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddNode", nodeId });
const learner = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddLearnerNode", nodeId });
const gone = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeRemoveNode", nodeId });
const context = utf8("manual");

/** Works off all Readys; every configuration on the way. */
function work(member: Member): ConfState[] {
  const states: ConfState[] = [];
  while (member.raw.hasReady()) {
    const ready = member.raw.ready();
    if (ready.append !== undefined) member.storage.write(ready.append);
    for (const { type, data } of ready.apply?.entries ?? []) {
      const change = type === "EntryNormal" ? undefined : decodeConfChange(data);
      if (change === undefined) continue;
      const result = member.raw.applyConfChange(change);
      expect(result.kind).toBe("applied");
      if (result.kind === "applied") states.push(result.confState);
    }
    member.raw.advance(ready);
  }
  return states;
}
/** Node 2 says that it has the whole log. */
function acknowledge(member: Member): void {
  const index = member.raw.lastIndex;
  const term = member.raw.term;
  member.raw.step(makeMessage({ type: "MsgAppResp", from: 2, to: 1, term, index }));
}
/** Types and changes of the durable entries from `from` on. */
const logged = (member: Member, from: number): unknown[] =>
  member.storage
    .tail(from as never)
    .map(({ type, data }) => [type, type === "EntryNormal" ? data.length : decodeConfChange(data)]);

interface Case {
  readonly type?: EntryType;
  readonly transition?: ConfChangeTransition;
  readonly changes: ConfChangeSingle[];
  readonly joint?: Partial<ConfState>;
  readonly end: Partial<ConfState>;
}
const THREE = [voter(2), learner(1), learner(3)];
const THREE_JOINT = { voters: [2], votersOutgoing: [1], learners: [3], learnersNext: [1] };
const THREE_END = { voters: [2], learners: [1, 3] };
const CASES: Record<string, Case> = {
  "a voter, in the older form": { type: "EntryConfChange", changes: [voter(2)], end: { voters: [1, 2] } },
  "a voter": { changes: [voter(2)], end: { voters: [1, 2] } },
  "a learner": { changes: [learner(2)], end: { voters: [1], learners: [2] } },
  "a learner, jointly, left by hand": {
    transition: "ConfChangeTransitionJointExplicit",
    changes: [learner(2)],
    joint: { voters: [1], votersOutgoing: [1], learners: [2] },
    end: { voters: [1], learners: [2] },
  },
  "a learner, jointly, left by itself": {
    transition: "ConfChangeTransitionJointImplicit",
    changes: [learner(2)],
    joint: { voters: [1], votersOutgoing: [1], learners: [2], autoLeave: true },
    end: { voters: [1], learners: [2] },
  },
  "a replaced voter and a learner": {
    changes: THREE,
    joint: { ...THREE_JOINT, autoLeave: true },
    end: THREE_END,
  },
  "a replaced voter and a learner, left by hand": {
    transition: "ConfChangeTransitionJointExplicit",
    changes: THREE,
    joint: THREE_JOINT,
    end: THREE_END,
  },
  "a replaced voter and a learner, left by itself": {
    transition: "ConfChangeTransitionJointImplicit",
    changes: THREE,
    joint: { ...THREE_JOINT, autoLeave: true },
    end: THREE_END,
  },
  "a voter that is removed in the same change": {
    changes: [voter(2), voter(3), gone(3)],
    joint: { voters: [1, 2], votersOutgoing: [1], autoLeave: true },
    end: { voters: [1, 2] },
  },
};

describe("a change that adds", () => {
  it.each(Object.entries(CASES))(
    "%s",
    (_, { type = "EntryConfChangeV2", transition, changes, joint, end }) => {
      const member = memberWith(1, [1]);
      elect(member);
      const change = makeConfChange(changes, transition, context);
      expect(propose(member, "before")).toBe("proposed");
      expect(member.raw.proposeConfChange(change, type)).toEqual({ kind: "proposed" });
      const states = work(member);
      // What was proposed is in the log as it was, context included.
      expect(logged(member, 3)[0]).toEqual([type, change]);
      const isLeftByHand = joint !== undefined && joint.autoLeave !== true;
      if (isLeftByHand) {
        expect(commitOf(member)).toBe(3);
        expect(member.raw.proposeConfChange(makeConfChange([], undefined, context)).kind).toBe("proposed");
      }
      states.push(...work(member));
      acknowledge(member);
      states.push(...work(member));
      const expected = joint === undefined ? [end] : [joint, end];
      expect(states).toEqual(expected.map((each) => ({ ...EMPTY_CONF_STATE, ...each })));
      const left = makeConfChange([], undefined, isLeftByHand ? context : utf8(""));
      expect(logged(member, 4)).toEqual(joint === undefined ? [] : [["EntryConfChangeV2", left]]);
      expect(member.raw.basicStatus()).toMatchObject({
        applied: member.raw.lastIndex,
        isLearner: end.learners?.includes(1) === true,
      });
    },
  );
});
