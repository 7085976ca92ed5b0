/**
 * When a leader may answer alone. Each test takes away one reason for which a read could be stale, in the order of
 * raftstore rules 11: send time, term, transfer, split, a pause between data and clock, a partition.
 */
import { describe, expect, test } from "vitest";
import { peerId, regionId, utf8 } from "../base/index.js";
import type { Message } from "../raft/types.js";
import type { AdminCommand } from "./admin.js";
import { Group } from "./test/group.js";

const split: AdminCommand = {
  kind: "split",
  rightDerive: true,
  splits: [
    { splitKey: utf8("m"), newRegionId: regionId(9), newPeerIds: [peerId(91), peerId(92), peerId(93)] },
  ],
};

/** A leader that has just committed an entry of ours: its lease is fresh. */
function led(stores = 3): Group {
  const group = new Group(stores);
  group.elect(1);
  group.put(1, "k", "v");
  group.settle();
  return group;
}
const local = (group: Group, number = 1): boolean => group.peer(number).mayReadLocally(group.env.nowMs);

describe("a leader", () => {
  test("reads alone while its lease holds, and no longer [test_node_renew_lease]", () => {
    const group = led();
    expect(local(group)).toBe(true);
    group.env.advance(group.config.leaseMs - 1);
    expect(local(group)).toBe(true);
    group.env.advance(1);
    expect(local(group)).toBe(false);
  });

  test("answers a read by index under its lease at once, with nothing else to do", () => {
    const group = led();
    const log = group.read(1);
    group.node(1).turn();
    expect(log).toEqual(["run"]);
  });

  test("counts the lease from the proposal of the write, not from its commit", () => {
    const group = led();
    group.env.advance(1000);
    group.put(1, "k", "2");
    group.node(1).turn();
    const messages = group.node(1).outbox.splice(0);
    group.env.advance(700);
    for (const message of messages) group.nodes.find((n) => n.peer.peerId === message.to)?.peer.step(message);
    group.settle();
    expect(group.value(1, "k")).toBe("2");
    expect(local(group)).toBe(true);
    group.env.advance(100);
    expect(local(group)).toBe(false);
  });

  test("counts the lease from the sending of a read request, not from its confirmation", () => {
    const group = led();
    group.env.advance(1000);
    const log = group.read(1);
    group.node(1).turn();
    const messages = group.node(1).outbox.splice(0);
    group.env.advance(799);
    for (const message of messages) group.nodes.find((n) => n.peer.peerId === message.to)?.peer.step(message);
    group.settle();
    expect(log).toEqual(["run"]);
    expect(local(group)).toBe(true);
    group.env.advance(1);
    expect(local(group)).toBe(false);
  });

  test("does not take a heartbeat's answer for a renewal", () => {
    const group = led();
    group.tick(9);
    expect(local(group)).toBe(false);
  });

  test("reads nothing before an entry of its own term is applied [test_node_lease_unsafe_during_leader_transfers]", () => {
    const group = led();
    group.passes = (message) => message.type !== "MsgApp";
    group.tick(1);
    group.peer(1).transferLeader(group.peer(2).peerId);
    group.settle();
    expect(group.peer(2).isLeader).toBe(true);
    expect(local(group, 2)).toBe(false);
    const log = group.read(2);
    group.settle();
    expect(log).toEqual([]);
    group.heal();
    group.tick(3);
    expect(log).toEqual(["run"]);
    expect(local(group, 2)).toBe(true);
  });

  test("cut off from the others is out of its lease before they can elect [test_node_lease_expired]", () => {
    const group = led();
    group.isolate(1);
    let ticks = 0;
    while (!group.peer(2).isLeader && !group.peer(3).isLeader) {
      expect(ticks++).toBeLessThan(60);
      // Looked at before the tick in which somebody wins: any later and a new leader could have written.
      const wasLocal = local(group);
      group.tick();
      if (group.peer(2).isLeader || group.peer(3).isLeader) expect(wasLocal).toBe(false);
    }
    expect(local(group)).toBe(false);
    const log = group.read(1);
    group.settle();
    expect(log).not.toContain("run");
  });

  test("looks at the clock again behind the data: a pause between hides no lost lease", () => {
    const group = led();
    expect(local(group)).toBe(true);
    expect(group.peer(1).confirmAfterRead()).toBe(true);
    group.env.advance(30_000);
    expect(group.peer(1).confirmAfterRead()).toBe(false);
  });

  test("reads nothing while something committed is not applied", () => {
    const group = led();
    group.put(1, "k", "2");
    group.node(1).turn();
    const messages = group.node(1).outbox.splice(0);
    for (const message of messages) group.nodes.find((n) => n.peer.peerId === message.to)?.peer.step(message);
    for (const number of [2, 3]) group.node(number).turn();
    for (const message of [2, 3].flatMap((number) => group.node(number).outbox.splice(0))) {
      group.peer(1).step(message);
    }
    const staged = group.node(1).stage();
    expect(staged?.work.run?.outcomes).toHaveLength(1);
    expect(local(group)).toBe(false);
    const log = group.read(1);
    expect(log).toEqual([]);
    staged?.write();
    expect(log).toEqual(["run"]);
    expect(local(group)).toBe(true);
  });

  test("alone in its region renews by itself", () => {
    const group = led(1);
    group.env.advance(5000);
    expect(local(group)).toBe(false);
    const log = group.read(1);
    group.settle();
    expect([log, local(group)]).toEqual([["run"], true]);
  });
});

describe("a transfer of leadership", () => {
  test("makes the lease unusable the moment TimeoutNow leaves", () => {
    const group = led();
    group.passes = (message) => message.type !== "MsgTimeoutNow";
    expect(group.peer(1).transferLeader(group.peer(2).peerId)).toBeUndefined();
    group.settle();
    expect(group.peer(1).isLeader).toBe(true);
    expect([local(group), group.peer(1).confirmAfterRead()]).toEqual([false, false]);
  });

  test("that failed leaves no lease in this term: TimeoutNow may still be on its way", () => {
    const group = led();
    const late: Message[] = [];
    group.passes = (message) => message.type !== "MsgTimeoutNow" || late.push(message) < 0;
    group.peer(1).transferLeader(group.peer(2).peerId);
    group.settle();
    group.tick(group.config.raftElectionTicks + 2);
    expect(late).toHaveLength(1);
    expect(group.put(1, "k", "2")).toEqual([]);
    group.settle();
    expect([group.value(1, "k"), local(group)]).toEqual(["2", false]);
    const log = group.read(1);
    group.settle();
    expect(log).toEqual(["run"]);
    // The message arrives after all: its target wins at once, without waiting for any lease to end.
    group.heal();
    group.peer(2).step(late[0] as Message);
    group.settle();
    expect(group.peer(2).isLeader).toBe(true);
  });

  test("refuses writes with a hint of nobody while it is under way", () => {
    const group = led();
    group.passes = (message) => message.type !== "MsgTimeoutNow";
    group.peer(1).transferLeader(group.peer(2).peerId);
    group.settle();
    expect(group.put(1, "k", "2")[0]?.error?.notLeader).toMatchObject({ leader: null });
  });

  test("to a learner, a stranger, or a peer far behind is refused with the reason", () => {
    const group = led();
    expect(group.peer(1).transferLeader(peerId(77))).toContain("not a voter");
    expect(group.peer(2).transferLeader(group.peer(3).peerId)).toContain("not the leader");
    group.isolate(3);
    for (let i = 0; i < 200; i++) {
      group.put(1, "k", `${i}`);
      group.settle();
    }
    expect(group.peer(1).transferLeader(group.peer(3).peerId)).toContain("lags");
    expect(group.peer(1).isLeader).toBe(true);
  });
});

describe("a split", () => {
  /** The leader's split entry is committed and not applied yet. */
  function committedSplit(group: Group): ReturnType<Group["node"]> {
    group.admin(1, split);
    group.node(1).turn();
    for (const message of group.node(1).outbox.splice(0)) {
      group.nodes.find((n) => n.peer.peerId === message.to)?.peer.step(message);
    }
    for (const number of [2, 3]) group.node(number).turn();
    for (const message of [2, 3].flatMap((number) => group.node(number).outbox.splice(0))) {
      group.peer(1).step(message);
    }
    return group.node(1);
  }

  test("committed is not passed by a read, nor does it renew the lease [test_node_stale_read_during_splitting_right_derive]", () => {
    const group = led();
    group.env.advance(700);
    const node = committedSplit(group);
    const staged = node.stage();
    expect(staged?.work.run?.effects).toMatchObject([{ kind: "split" }]);
    expect(local(group)).toBe(false);
    expect(group.read(1)[0]).toContain("being split");
    group.env.advance(100);
    expect(group.peer(1).lease.inspect(group.env.nowMs)).toBe("expired");
  });

  test("applied ends the lease, since the parts elect for themselves from now on", () => {
    const group = led();
    const node = committedSplit(group);
    node.turn();
    expect(group.peer(1).region.epoch.version).toBe(2);
    expect(local(group)).toBe(false);
    group.settle();
    group.put(1, "p", "1");
    group.settle();
    expect(local(group)).toBe(true);
  });

  test("under way answers reads that waited, or refuses them, and never forgets one [test_node_split_during_read_index]", () => {
    const group = led();
    group.env.advance(2000);
    const before = group.read(1);
    const node = committedSplit(group);
    const staged = node.stage();
    expect(before.filter((each) => each === "run").length).toBeLessThanOrEqual(1);
    staged?.write();
    group.settle();
    expect(before).toHaveLength(1);
  });
});

describe("a read on a follower", () => {
  test("waits for the leader's index and for its own apply [test_replica_read_not_applied]", () => {
    const group = led();
    group.passes = (message) => !(message.type === "MsgApp" && message.to === group.peer(3).peerId);
    group.put(1, "k", "new");
    group.settle();
    const log = group.read(3, true);
    group.settle();
    expect([group.value(3, "k"), log]).toEqual(["v", []]);
    group.heal();
    group.tick(4);
    expect([group.value(3, "k"), log]).toEqual(["new", ["run"]]);
  });

  test("without the client's leave is sent to the leader", () => {
    const group = led();
    const answers: unknown[] = [];
    group.peer(2).queueRead({ run: () => answers.push("run"), fail: (error) => answers.push(error) }, false);
    expect(answers).toMatchObject([{ notLeader: { leader: { id: group.peer(1).peerId } } }]);
  });

  test("whose request was lost is asked again", () => {
    const group = led();
    group.passes = (message) => message.type !== "MsgReadIndex";
    const log = group.read(2, true);
    group.settle();
    group.heal();
    expect(log).toEqual([]);
    group.tick(6);
    expect(log).toEqual(["run"]);
  });

  test("with no leader known fails at once [test_invalid_read_index_when_no_leader]", () => {
    const group = new Group(3);
    expect(group.read(2, true)[0]).toContain("not leader");
  });
});
