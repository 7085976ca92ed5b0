/** Progress of a peer: all that a transition sets or forgets, and which commit index is worth sending. */
import { describe, expect, it } from "vitest";
import { Inflights } from "../../tracker/inflights.js";
import { describeProgress, Progress, type ProgressState } from "../../tracker/progress.js";

const STATES: ProgressState[] = ["StateProbe", "StateReplicate", "StateSnapshot"];

/** Match 5, next 10, in a state with everything set that a transition may have to forget. */
function busy(state: ProgressState, isLearner = false): Progress {
  const made = new Progress(7, 5, 10, new Inflights({ countMax: 3, bytesMax: 100 }), isLearner, true);
  made.state = state;
  made.inflights.add(8, 10);
  made.inflights.add(9, 20);
  made.paused = true;
  made.sentCommit = 9;
  if (state === "StateSnapshot") made.pendingSnapshot = 20;
  return made;
}
const facts = ({ state, match, next, paused, pendingSnapshot, sentCommit, inflights }: Progress): unknown => [
  state,
  [match, next],
  paused,
  pendingSnapshot,
  sentCommit,
  [inflights.count, inflights.bytes],
];

describe("a new peer", () => {
  it("is probed, and nothing is known of it", () => {
    const inflights = new Inflights({ countMax: 3, bytesMax: 100 });
    const made = new Progress(7, 2, 9, inflights, true, true);
    const fields = new Map<string, unknown>(Object.entries(made));
    expect(fields.get("inflights")).toBe(inflights);
    fields.delete("inflights");
    expect(Object.fromEntries(fields)).toEqual({
      ...{ id: 7, match: 2, next: 9, state: "StateProbe", sentCommit: 0, pendingSnapshot: 0 },
      ...{ recentActive: true, paused: false, isLearner: true, vote: "none" },
      ...{ readAck: 0, committed: 0, commitGroup: 0, requestedSnapshot: 0 },
    });
  });

  it.each(STATES)("is what a reset makes of one in %s, except who it is and its group", (state) => {
    const made = busy(state, true);
    Object.assign(made, { vote: "granted", readAck: 4, committed: 3, commitGroup: 2, requestedSnapshot: 6 });
    made.reset(1, 4);
    const fresh = new Progress(7, 1, 4, made.inflights, true, false);
    fresh.commitGroup = 2;
    expect(made).toEqual(fresh);
    expect([made.inflights.count, made.inflights.bytes]).toEqual([0, 0]);
  });

  it("as a copy stands alone, but shares its window", () => {
    const made = busy("StateSnapshot", true);
    Object.assign(made, { vote: "rejected", readAck: 4, committed: 3, commitGroup: 2, requestedSnapshot: 6 });
    const copy = made.clone();
    expect(copy).toEqual(made);
    expect(copy).toBeInstanceOf(Progress);
    expect(copy.inflights).toBe(made.inflights);
    copy.match = 8;
    copy.isLearner = false;
    expect([made.match, made.isLearner]).toEqual([5, true]);
  });
});

describe("a change of state", () => {
  it.each(STATES)("from %s forgets the pause, the pending snapshot and what is in flight", (state) => {
    const probing = busy(state);
    probing.becomeProbe();
    const next = state === "StateSnapshot" ? 21 : 6;
    expect(facts(probing)).toEqual(["StateProbe", [5, next], false, 0, Math.min(9, next - 1), [0, 0]]);
    const replicating = busy(state);
    replicating.becomeReplicate();
    expect(facts(replicating)).toEqual(["StateReplicate", [5, 6], false, 0, 9, [0, 0]]);
    const waiting = busy(state);
    waiting.requestedSnapshot = 4;
    waiting.becomeSnapshot(30);
    expect(facts(waiting)).toEqual(["StateSnapshot", [5, 31], false, 30, 30, [0, 0]]);
    expect([waiting.requestedSnapshot, waiting.isPaused()]).toEqual([0, true]);
  });

  it("probes behind the match when that has passed the pending snapshot meanwhile", () => {
    const made = busy("StateSnapshot");
    expect(made.maybeUpdate(25)).toBe(true);
    made.becomeProbe();
    expect([made.match, made.next, made.sentCommit]).toEqual([25, 26, 9]);
  });

  it("takes a snapshot at the match itself, and none below it", () => {
    const made = busy("StateProbe");
    made.becomeSnapshot(5);
    expect([made.match, made.next]).toEqual([5, 6]);
    expect(() => busy("StateProbe").becomeSnapshot(4)).toThrow(/peer 7: snapshot 4 is older than match 5/);
  });
});

describe("an append", () => {
  const replicating = (): Progress => {
    const made = busy("StateReplicate");
    made.becomeReplicate();
    return made;
  };

  it("moves next by its entries, and pauses when the window is full", () => {
    const made = replicating();
    const seen: unknown[] = [];
    for (const [count, bytes] of [
      [2, 10],
      [0, 0],
      [1, 10],
      [3, 10],
    ] as const) {
      made.sentEntries(count, bytes);
      seen.push([made.next, made.inflights.count, made.inflights.bytes, made.paused]);
    }
    expect(seen).toEqual([
      [8, 1, 10, false],
      [8, 1, 10, false],
      [9, 2, 20, false],
      [12, 3, 30, true],
    ]);
    // Full: an empty one goes out all the same, and keeps the pause.
    made.paused = false;
    made.sentEntries(0, 0);
    expect([made.next, made.paused]).toEqual([12, true]);
    made.inflights.freeTo(7);
    made.sentEntries(0, 0);
    expect(made.paused).toBe(false);
  });

  it("acknowledged beyond next moves that along, and lifts the pause only when it says something new", () => {
    const made = busy("StateProbe");
    expect([made.maybeUpdate(5), made.match, made.next, made.paused]).toEqual([false, 5, 10, true]);
    expect([made.maybeUpdate(9), made.match, made.next, made.paused]).toEqual([true, 9, 10, false]);
    expect([made.maybeUpdate(10), made.match, made.next]).toEqual([true, 10, 11]);
    expect([made.maybeUpdate(15), made.match, made.next]).toEqual([true, 15, 16]);
  });

  it.each([
    // state, rejected, hint, taken, next, paused, sent commit
    ["StateReplicate", 5, 5, false, 10, true, 9],
    ["StateReplicate", 6, 2, true, 6, true, 5],
    ["StateProbe", 8, 8, false, 10, true, 9],
    ["StateProbe", 10, 8, false, 10, true, 9],
    ["StateProbe", 9, 9, true, 9, false, 8],
    ["StateProbe", 9, 7, true, 8, false, 7],
    ["StateProbe", 9, 3, true, 6, false, 5],
    ["StateSnapshot", 8, 8, false, 10, true, 9],
    ["StateSnapshot", 9, 7, true, 8, true, 7],
  ] as const)(
    "in %s rejected at %i with hint %i is taken: %s",
    (state, rejected, hint, isTaken, ...after) => {
      const made = busy(state);
      expect(made.maybeDecrease(rejected, hint)).toBe(isTaken);
      expect([made.next, made.isPaused(), made.sentCommit]).toEqual(after);
    },
  );

  it("lowers what counts as sent, but never raises it", () => {
    const made = busy("StateReplicate");
    made.sentCommit = 2;
    made.maybeDecrease(9, 9);
    expect(made.sentCommit).toBe(2);
    made.becomeProbe();
    expect(made.sentCommit).toBe(2);
  });
});

describe("a commit index", () => {
  it.each([
    // next, sent, commit, worth sending
    [10, 5, 5, false],
    [10, 5, 6, true],
    [10, 8, 9, true],
    [10, 8, 50, true],
    [10, 9, 50, false],
    [10, 10, 50, false],
    [1, 0, 1, false],
    [2, 0, 1, true],
  ])("with next %i, %i sent: %i may move it: %s", (next, sent, commit, expected) => {
    const made = busy("StateReplicate");
    made.next = next;
    made.sentCommit = sent;
    expect(made.canBumpCommit(commit)).toBe(expected);
  });
});

describe("the text of a progress", () => {
  it.each([
    [{}, "StateProbe match=5 next=10 paused inflight=2"],
    [{ paused: false }, "StateProbe match=5 next=10 inflight=2"],
    [
      { isLearner: true, recentActive: false },
      "StateProbe match=5 next=10 learner paused inactive inflight=2",
    ],
    [
      { state: "StateSnapshot", paused: false, pendingSnapshot: 1 },
      "StateSnapshot match=5 next=10 paused pendingSnap=1 inflight=2",
    ],
  ] as const)("of %j", (fields, expected) => {
    expect(describeProgress(Object.assign(busy("StateProbe"), fields))).toBe(expected);
  });
});
