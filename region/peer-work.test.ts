/** What only a peer that is awake keeps: when it may go, and that a peer that slept serves as before. */
import { describe, expect, test } from "vitest";
import type { ReadRequest } from "./reads.js";
import { PeerWork } from "./peer-work.js";
import { Group } from "./test/group.js";
import { Waiting } from "./waiting.js";

describe("the work of a peer", () => {
  const fresh = (): PeerWork => {
    const node = new Group(3).node(1);
    return new PeerWork(node, node.peer.storage);
  };

  test("is over when nothing of it is open", () => {
    const work = fresh();
    expect(work.isOver).toBe(true);
    work.lease.renew(0);
    expect(work.isOver).toBe(true);
  });

  test.each<[string, (work: PeerWork) => void]>([
    ["an append is not written yet", (work) => void work.appendsUnderWay++],
    ["applied entries are not written yet", (work) => void work.appliesUnderWay++],
    ["committed entries wait", (work) => void (work.restApply = { apply: {} as never, entries: [] })],
    ["a snapshot is loading", (work) => void (work.loadingAppend = {} as never)],
    ["a split is proposed", (work) => void (work.splitInFlight = 9)],
    ["a split is committed", (work) => void (work.committedSplit = 9)],
    ["a change of peers is proposed", (work) => void (work.confChangeInFlight = 9)],
    ["leadership is handed over", (work) => void (work.leadTransferee = 22)],
    ["the lease may be another's", (work) => work.lease.suspect(5)],
    [
      "a reader waits",
      (work) => {
        work.queues = new Waiting(21, 1, new Group(1).node(1));
        work.queues.reads.add({ run() {}, fail() {} });
      },
    ],
  ])("is not over while %s", (_what, open) => {
    const work = fresh();
    open(work);
    expect(work.isOver).toBe(false);
  });

  test("that was proposed is over when it is applied, and all of it when leadership is", () => {
    const work = fresh();
    Object.assign(work, { splitInFlight: 7, committedSplit: 7, confChangeInFlight: 9, leadTransferee: 22 });
    work.changesApplied(7);
    expect([work.splitInFlight, work.committedSplit, work.confChangeInFlight]).toEqual([0, 0, 9]);
    work.leadershipOver();
    expect([work.confChangeInFlight, work.leadTransferee, work.isOver]).toEqual([0, 0, true]);
  });
});

describe("a peer that slept", () => {
  const slept = (): Group => {
    const group = new Group(3);
    group.elect(1);
    group.put(1, "k", "1");
    group.settle();
    group.tick();
    group.settle();
    for (const { peer } of group.nodes) {
      peer.fallQuiet();
      peer.isQuiet = false;
    }
    return group;
  };

  test("has an expired lease, and its next read asks a quorum", () => {
    const group = slept();
    const leader = group.peer(1);
    expect(leader.lease.inspect(group.env.nowMs)).toBe("expired");
    expect(leader.mayReadLocally(group.env.nowMs)).toBe(false);
    let reads = 0;
    leader.queueRead({ run: () => reads++, fail: () => {} }, false);
    expect(reads).toBe(0);
    group.settle();
    expect(reads).toBe(1);
  });

  test("applies what comes next behind what it had applied", () => {
    const group = slept();
    const before = group.peer(1).appliedIndex;
    group.put(1, "k", "2");
    group.settle();
    group.tick(3);
    expect(group.peer(1).appliedIndex).toBe(before + 1);
    expect(group.peer(3).storage.applyState).toEqual(group.peer(1).storage.applyState);
  });

  test("asks with ids that no read of it had before", () => {
    const group = slept();
    const follower = group.peer(2);
    const contexts: string[] = [];
    group.passes = (message) => {
      if (message.type === "MsgReadIndex") contexts.push(message.context.join());
      return true;
    };
    const request: ReadRequest = { run() {}, fail() {} };
    for (let sleep = 0; sleep < 3; sleep++) {
      for (let turn = 0; turn < 3; turn++) {
        follower.queueRead(request, true);
        group.settle();
      }
      follower.fallQuiet();
      follower.isQuiet = false;
    }
    expect(new Set(contexts).size).toBe(9);
  });
});
