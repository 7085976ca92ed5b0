/** What a leader knows of its peers: the window of appends in flight, and the progress built on it. */
import { describe, expect, it } from "vitest";
import { Inflights } from "../../tracker/inflights.js";
import { describeProgress, Progress, type ProgressState } from "../../tracker/progress.js";
import { ProgressTracker } from "../../tracker/tracker.js";

const NO_LIMIT = Number.POSITIVE_INFINITY;
const window = (countMax: number, bytesMax = NO_LIMIT): Inflights => new Inflights({ countMax, bytesMax });
function progress(match: number, next: number, countMax = 256): Progress {
  return new Progress(1, match, next, window(countMax), false, false);
}
function inState(state: ProgressState, match: number, next: number): Progress {
  const made = progress(match, next);
  made.state = state;
  return made;
}

describe("the window", () => {
  it("adds and counts bytes, also where its ring wraps around", () => {
    const made = window(10);
    for (let i = 0; i < 5; i++) made.add(i, 100 + i);
    expect([made.count, made.bytes]).toEqual([5, 510]);
    for (let i = 5; i < 10; i++) made.add(i, 100 + i);
    expect([made.count, made.bytes, made.full()]).toEqual([10, 1045, true]);
    made.freeTo(4);
    for (let i = 10; i < 15; i++) made.add(i, 100 + i);
    expect([made.count, made.bytes, made.full()]).toEqual([10, 1095, true]);
    expect(() => made.add(15, 1)).toThrow(/full window/);
  });

  it("frees up to an index, also where its ring wraps around", () => {
    const made = window(10);
    for (let i = 0; i < 10; i++) made.add(i, 100 + i);
    const table: [number, number, number][] = [
      [0, 9, 945],
      [4, 5, 535],
      [8, 1, 109],
    ];
    for (const [index, count, bytes] of table) {
      made.freeTo(index);
      expect([made.count, made.bytes]).toEqual([count, bytes]);
    }
    for (let i = 10; i < 15; i++) made.add(i, 100 + i);
    made.freeTo(12);
    expect([made.count, made.bytes]).toEqual([2, 227]);
    made.freeTo(14);
    expect([made.count, made.bytes]).toEqual([0, 0]);
    made.freeTo(20);
    expect(made.count).toBe(0);
  });

  it("is full by count or by bytes, and the message that crosses the bytes is admitted", () => {
    const table: [number, number, [number, number][], boolean][] = [
      [
        3,
        NO_LIMIT,
        [
          [1, 1],
          [2, 1],
        ],
        false,
      ],
      [
        3,
        NO_LIMIT,
        [
          [1, 1],
          [2, 1],
          [3, 1],
        ],
        true,
      ],
      [10, 10, [[1, 9]], false],
      [
        10,
        10,
        [
          [1, 9],
          [2, 100],
        ],
        true,
      ],
      [10, 10, [[1, 10]], true],
      [
        2,
        10,
        [
          [1, 5],
          [2, 5],
        ],
        true,
      ],
    ];
    for (const [countMax, bytesMax, added, full] of table) {
      const made = window(countMax, bytesMax);
      for (const [index, bytes] of added) made.add(index, bytes);
      expect(made.full()).toBe(full);
      made.freeTo(1);
      // Only the message of 100 bytes fills the window alone.
      expect(made.full()).toBe(added.some(([index, bytes]) => index > 1 && bytes === 100));
    }
  });

  it("forgets count and bytes when it is reset", () => {
    const made = window(10, 1000);
    for (let i = 1; i <= 10; i++) made.add(i, 100);
    expect(made.full()).toBe(true);
    made.reset();
    expect([made.count, made.bytes, made.full()]).toEqual([0, 0, false]);
    made.add(11, 1);
    made.freeTo(11);
    expect([made.count, made.bytes]).toEqual([0, 0]);
  });

  it("changes its size at run time: a smaller one drains, zero admits nothing, a larger one keeps what is in it", () => {
    const made = window(8);
    for (let i = 1; i <= 6; i++) made.add(i, 10);
    made.setCountMax(4);
    expect([made.full(), made.count]).toEqual([true, 6]);
    made.freeTo(2);
    expect(made.full()).toBe(true);
    made.freeTo(3);
    expect(made.full()).toBe(false);
    made.add(7, 10);
    made.setCountMax(100);
    for (let i = 8; i <= 60; i++) made.add(i, 10);
    expect([made.count, made.bytes]).toEqual([57, 570]);
    made.freeTo(60);
    expect(made.count).toBe(0);
    made.setCountMax(0);
    expect(made.full()).toBe(true);
  });

  it("of a member is the one of all idle members until something is sent, and again when nothing is in flight", () => {
    const limits = { countMax: 8, bytesMax: NO_LIMIT };
    const idle = Inflights.idle(limits);
    const [one, two] = [1, 2].map((id) => new Progress(id, 0, 1, Inflights.idle(limits), false, true));
    for (const member of [one, two]) expect(member?.inflights).toBe(idle);
    one?.becomeReplicate();
    one?.sentEntries(1, 10);
    expect([one?.inflights.count, one?.inflights.bytes, idle.count, two?.inflights]).toEqual([
      1,
      10,
      0,
      idle,
    ]);
    one?.releaseWindow();
    expect(one?.inflights.count).toBe(1);
    one?.inflights.freeTo(1);
    one?.releaseWindow();
    expect(one?.inflights).toBe(idle);
    expect(() => idle.add(3, 10)).toThrow("cannot add to the window");
    expect(() => idle.setCountMax(1)).toThrow("everybody");
    one?.ownWindow().setCountMax(2);
    one?.releaseWindow();
    expect([one?.inflights.countMax, idle.countMax]).toEqual([2, 8]);
  });

  it("and everything else known of members goes when a follower rests, and is made again as of a new term", () => {
    const tracker = new ProgressTracker({ countMax: 8, bytesMax: NO_LIMIT });
    const config = {
      voters: [1, 2],
      votersOutgoing: [2, 3],
      learners: [4],
      learnersNext: [3],
      autoLeave: true,
    };
    const made = [1, 2, 3, 4].map((id) => new Progress(id, 7, 9, tracker.newInflights(), id === 4, true));
    tracker.install(config, made);
    tracker.rest();
    const again = tracker.members;
    expect(again.map(({ id, isLearner }) => [id, isLearner])).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, true],
    ]);
    expect(again.map(({ match, next, recentActive, vote }) => [match, next, recentActive, vote])).toEqual(
      again.map(() => [0, 1, false, "none"]),
    );
    tracker.rest();
    expect(tracker.voters().map(({ id }) => id)).toEqual([1, 2, 3]);
    tracker.rest();
    for (const id of [1, 2, 3]) tracker.recordVote(id, true);
    expect(tracker.voteResult()).toBe("VoteWon");
    const [first] = tracker.members;
    (first as Progress).commitGroup = 2;
    tracker.rest();
    expect(tracker.members[0]).toBe(first);
  });
});

describe("progress of a leader at rest", () => {
  const replicated = (): ProgressTracker => {
    const tracker = new ProgressTracker({ countMax: 8, bytesMax: NO_LIMIT });
    const made = [1, 2, 3].map((id) => new Progress(id, 9, 10, tracker.newInflights(), id === 3, true));
    for (const member of made) {
      member.becomeReplicate();
      if (member.id !== 1) member.sentCommit = 9;
    }
    tracker.install(
      { voters: [1, 2], votersOutgoing: [], learners: [3], learnersNext: [], autoLeave: false },
      made,
    );
    return tracker;
  };
  const known = (tracker: ProgressTracker): unknown[] =>
    tracker.members.map(({ id, match, next, state, isLearner, recentActive, paused }) => {
      return [id, match, next, state, isLearner, recentActive, paused];
    });

  it("is one index while all members hold the log and know that it is committed, and is the same again", () => {
    const tracker = replicated();
    const before = known(tracker);
    tracker.restReplicated(1, 9);
    expect(tracker.isAtRest).toBe(true);
    expect(known(tracker)).toEqual(before);
    expect([tracker.isAtRest, tracker.committed(), tracker.quorumActive(1)]).toEqual([false, 9, true]);
    expect(tracker.members.map(({ sentCommit }) => sentCommit)).toEqual([9, 9, 9]);
    tracker.restReplicated(1, 9);
    expect(tracker.committed()).toBe(9);
  });

  it.each([
    ["lacks entries", (member: Progress) => void (member.match = 8)],
    ["was not told of the commit", (member: Progress) => void (member.sentCommit = 8)],
    ["is probed", (member: Progress) => member.becomeProbe()],
    ["is paused", (member: Progress) => void (member.paused = true)],
    ["is being sent a snapshot", (member: Progress) => member.becomeSnapshot(9)],
    ["asked for a snapshot", (member: Progress) => void (member.requestedSnapshot = 9)],
    ["has a commit group", (member: Progress) => void (member.commitGroup = 1)],
    ["has an append in flight", (member: Progress) => member.ownWindow().add(9, 1)],
  ])("stays when a member %s", (_what, spoil) => {
    const tracker = replicated();
    const spoilt = tracker.progress(2) as Progress;
    spoil(spoilt);
    tracker.restReplicated(1, 9);
    expect([tracker.isAtRest, tracker.progress(2)]).toEqual([false, spoilt]);
  });
});

describe("progress", () => {
  it("prints as etcd does", () => {
    const made = new Progress(1, 1, 2, window(1), true, true);
    made.becomeSnapshot(5);
    made.recentActive = false;
    made.inflights.add(7, 100);
    expect(describeProgress(made)).toBe(
      "StateSnapshot match=1 next=6 learner paused pendingSnap=5 inactive inflight=1[full]",
    );
    expect(describeProgress(new Progress(2, 0, 1, window(4), false, true))).toBe("StateProbe match=0 next=1");
  });

  it("is paused by its flag, and always while a snapshot is under way", () => {
    for (const [state, flag, expected] of [
      ["StateProbe", false, false],
      ["StateProbe", true, true],
      ["StateReplicate", false, false],
      ["StateReplicate", true, true],
      ["StateSnapshot", false, true],
      ["StateSnapshot", true, true],
    ] as const) {
      const made = inState(state, 0, 1);
      made.paused = flag;
      expect(made.isPaused()).toBe(expected);
    }
  });

  it("goes on after a rejection and after an acknowledgement that says something new", () => {
    const made = progress(0, 2);
    made.paused = true;
    expect(made.maybeDecrease(1, 1)).toBe(true);
    expect(made.paused).toBe(false);
    made.paused = true;
    expect(made.maybeUpdate(2)).toBe(true);
    expect(made.paused).toBe(false);
  });

  it("probes from behind its match, or from behind the snapshot that was pending", () => {
    const replicating = inState("StateReplicate", 1, 5);
    replicating.becomeProbe();
    expect([replicating.state, replicating.next]).toEqual(["StateProbe", 2]);
    const finished = progress(1, 5);
    finished.becomeSnapshot(10);
    finished.becomeProbe();
    expect([finished.state, finished.match, finished.next]).toEqual(["StateProbe", 1, 11]);
    const failed = progress(1, 5);
    failed.becomeSnapshot(10);
    failed.pendingSnapshot = 0;
    failed.becomeProbe();
    expect([failed.match, failed.next]).toEqual([1, 2]);
  });

  it("replicates from behind its match", () => {
    const made = progress(1, 5);
    made.becomeReplicate();
    expect([made.state, made.match, made.next]).toEqual(["StateReplicate", 1, 2]);
  });

  it("continues behind the snapshot that it gets", () => {
    const made = progress(1, 5);
    made.becomeSnapshot(10);
    expect([made.state, made.match, made.pendingSnapshot, made.next]).toEqual(["StateSnapshot", 1, 10, 11]);
    expect(() => progress(20, 21).becomeSnapshot(10)).toThrow(/older than match/);
  });

  it("takes acknowledgements forward only, and keeps match below next", () => {
    for (const [index, match, next, isNew] of [
      [2, 3, 5, false],
      [3, 3, 5, false],
      [4, 4, 5, true],
      [5, 5, 6, true],
    ] as const) {
      const made = progress(3, 5);
      expect(made.maybeUpdate(index)).toBe(isNew);
      expect([made.match, made.next]).toEqual([match, next]);
    }
  });

  it("takes rejections unless they are stale, and keeps match below next", () => {
    const table: [ProgressState, number, number, number, number, boolean, number][] = [
      // Replicating: stale unless above what is known to match; then from there.
      ["StateReplicate", 5, 10, 5, 5, false, 10],
      ["StateReplicate", 5, 10, 4, 4, false, 10],
      ["StateReplicate", 5, 10, 9, 9, true, 6],
      // Probing: stale unless it answers the one append that is out.
      ["StateProbe", 0, 0, 0, 0, false, 0],
      ["StateProbe", 0, 10, 5, 5, false, 10],
      ["StateProbe", 0, 10, 9, 9, true, 9],
      ["StateProbe", 0, 2, 1, 1, true, 1],
      ["StateProbe", 0, 1, 0, 0, true, 1],
      ["StateProbe", 0, 10, 9, 2, true, 3],
      ["StateProbe", 0, 10, 9, 0, true, 1],
      ["StateProbe", 1, 8, 7, 0, true, 2],
    ];
    for (const [state, match, next, rejected, hint, isTaken, after] of table) {
      const made = inState(state, match, next);
      expect(made.maybeDecrease(rejected, hint)).toBe(isTaken);
      expect([made.match, made.next]).toEqual([match, after]);
    }
  });

  it("sends optimistically while it replicates, one at a time while it probes, and nothing during a snapshot", () => {
    const replicating = inState("StateReplicate", 3, 4);
    replicating.sentEntries(2, 10);
    expect([replicating.next, replicating.inflights.count, replicating.paused]).toEqual([6, 1, false]);
    const probing = inState("StateProbe", 3, 4);
    probing.sentEntries(0, 0);
    expect(probing.paused).toBe(false);
    probing.sentEntries(2, 10);
    expect([probing.next, probing.paused]).toEqual([4, true]);
    expect(() => inState("StateSnapshot", 3, 4).sentEntries(1, 1)).toThrow(/StateSnapshot/);
  });
});
