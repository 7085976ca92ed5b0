/**
 * What a peer proposes, refuses and answers, over real Raft nodes and a network that loses what the test says. Names
 * in brackets are TiKV's of the same scenario.
 */
import { describe, expect, test } from "vitest";
import { logIndex, peerId, regionId, term, utf8 } from "../base/index.js";
import { type AdminCommand, type PeerChange, type PeerChangeKind, toConfChange } from "./admin.js";
import { readRegionState } from "./local-state.js";
import type { Message } from "../raft/index.js";
import { peerOf } from "./test/fixtures.js";
import { type Answer, Group } from "./test/group.js";

const ok: Answer = { error: undefined, swap: undefined };
const split: AdminCommand = {
  kind: "split",
  rightDerive: true,
  splits: [
    { splitKey: utf8("m"), newRegionId: regionId(9), newPeerIds: [peerId(91), peerId(92), peerId(93)] },
  ],
};
const change = (...changes: PeerChange[]): AdminCommand => ({ kind: "changePeer", changes });
const peerChange = (kind: PeerChangeKind, id: number, store: number): PeerChange => ({
  kind,
  peer: peerOf(id, store, kind === "addLearner" ? "learner" : "voter"),
});

function led(stores = 3, more = 0): Group {
  const group = new Group(stores, {}, more);
  group.elect(1);
  return group;
}
/** Proposes and lets everybody apply. */
function done(group: Group, command: AdminCommand): Answer | undefined {
  const answers = group.admin(1, command);
  group.settle();
  expect(answers).toHaveLength(1);
  return answers[0];
}

/** Lets peer 2 acknowledge what peer 1 has proposed; peer 1 has staged the effects and not written them. */
function committedAndStaged(group: Group): { readonly write: () => void } {
  group.node(1).turn();
  for (const message of group.node(1).outbox.splice(0))
    if (message.to === group.peer(2).peerId) group.peer(2).step(message);
  group.node(2).turn();
  for (const message of group.node(2).outbox.splice(0)) group.peer(1).step(message);
  const staged = group.node(1).stage();
  if (staged === undefined) throw new Error("nothing was committed");
  return staged;
}

describe("a write", () => {
  test("is acknowledged once a quorum has it and the leader has applied it, on all replicas the same", () => {
    const group = led();
    const answers = group.put(1, "k", "v");
    group.node(1).turn();
    expect(answers).toEqual([]);
    group.settle();
    expect(answers).toEqual([ok]);
    group.tick(3);
    expect([1, 2, 3].map((number) => group.value(number, "k"))).toEqual(["v", "v", "v"]);
  });

  test("is acknowledged when it is committed, and no read goes by until it is in the engine", () => {
    const group = led();
    const answers = group.put(1, "k", "v");
    expect(group.peer(1).mayReadLocally(group.env.nowMs)).toBe(true);
    const staged = committedAndStaged(group);
    expect([answers, group.value(1, "k")]).toEqual([[ok], undefined]);
    expect(group.peer(1).mayReadLocally(group.env.nowMs)).toBe(false);
    const read = group.read(1);
    expect([read, group.node(1).stage()]).toEqual([[], undefined]);
    staged.write();
    expect([read, group.value(1, "k")]).toEqual([["run"], "v"]);
  });

  test("behind a split that is staged and not written is acknowledged behind it", () => {
    const group = led();
    const order: string[] = [];
    group.peer(1).admin(group.region.epoch, split, () => order.push("split"));
    const staged = committedAndStaged(group);
    expect(order).toEqual([]);
    staged.write();
    expect(order).toEqual(["split"]);
  });

  test("without a quorum is not acknowledged, and told nothing wrong either", () => {
    const group = led();
    group.isolate(1);
    const answers = group.put(1, "k", "v");
    group.settle();
    expect([answers, group.value(1, "k")]).toEqual([[], undefined]);
  });

  test("goes with all others of its turn into one entry", () => {
    const group = led();
    const before = group.peer(1).storage.lastIndex();
    const answers = ["a", "b", "c"].map((key) => group.put(1, key, "v"));
    group.settle();
    expect(group.peer(1).storage.lastIndex()).toBe(before + 1);
    expect(answers).toEqual([[ok], [ok], [ok]]);
  });

  test("starts a new entry where one would grow too large", () => {
    const group = new Group(3, { proposalBytesMax: 4096 });
    group.elect(1);
    const before = group.peer(1).storage.lastIndex();
    for (let i = 0; i < 4; i++) group.put(1, `k${i}`, "v".repeat(1500));
    group.settle();
    expect(group.peer(1).storage.lastIndex()).toBe(before + 2);
  });

  test("is refused by a follower with the leader to go to", () => {
    const group = led();
    expect(group.put(2, "k", "v")[0]?.error?.notLeader?.leader).toMatchObject({ id: group.peer(1).peerId });
  });

  test("is refused when the entry would be too large", () => {
    const group = new Group(3, { raftEntryBytesMax: 1000, proposalBytesMax: 1000 });
    group.elect(1);
    expect(group.put(1, "k", "v".repeat(2000))[0]?.error?.raftEntryTooLarge).toBeDefined();
  });

  test("is refused with a hint to wait when too much is under way", () => {
    const group = new Group(3, { uncommittedBytesMax: 5000 });
    group.elect(1);
    group.isolate(1);
    const answers = Array.from({ length: 20 }, (_, i) => {
      const answer = group.put(1, `k${i}`, "v".repeat(1000));
      group.settle();
      return answer;
    });
    expect(answers.at(-1)?.[0]?.error?.serverIsBusy?.backoffMs).toBeGreaterThan(0);
    expect(answers[0]).toEqual([]);
  });

  test("under another version is refused with the current region [test_split_with_epoch_not_match]", () => {
    const group = led();
    for (const version of [0, 2]) {
      const [answer] = group.put(1, "k", "v", version);
      expect(answer?.error?.epochNotMatch?.currentRegions).toMatchObject([{ id: 2 }]);
    }
  });

  test("of a leader that was deposed is told that its fate is unknown, once the new leader's entries show it", () => {
    const group = led();
    group.isolate(1);
    const lost = group.put(1, "k", "lost");
    group.settle();
    group.peer(2).campaign();
    group.settle();
    group.tick(25);
    const leader = group.peer(2).isLeader ? 2 : 3;
    group.put(leader, "k", "kept");
    group.settle();
    expect(lost).toEqual([]);
    group.heal();
    group.tick(4);
    expect(lost).toMatchObject([{ error: { staleCommand: {} } }]);
    expect([1, 2, 3].map((number) => group.value(number, "k"))).toEqual(["kept", "kept", "kept"]);
  });

  test("to a peer that is destroyed is answered, waiting or new [test_write_after_destroy]", () => {
    const group = led();
    group.isolate(1);
    const waiting = group.put(1, "a", "v");
    group.node(1).turn();
    const gathered = group.put(1, "b", "v");
    const read = group.read(1);
    group.peer(1).destroy();
    const late = group.put(1, "c", "v");
    // What was proposed may yet be committed by others: the writer must not be told that it had no effect.
    expect(waiting).toMatchObject([{ error: { staleCommand: {} } }]);
    for (const answers of [gathered, late]) {
      expect(answers).toMatchObject([{ error: { regionNotFound: { regionId: 2 } } }]);
    }
    expect(read[0]).toContain("missing");
    expect(group.node(1).stage()).toBeUndefined();
    group.peer(1).tick(group.env.nowMs);
  });
});

describe("a split", () => {
  test("makes the region smaller on every replica and tells the store [test_server_base_split_region]", () => {
    const group = led();
    expect(done(group, split)).toEqual(ok);
    group.tick(3);
    for (const node of group.nodes) {
      expect(node.peer.region.startKey).toEqual(utf8("m"));
      expect(node.effects).toMatchObject([{ kind: "split", regions: [{ id: 9 }, { id: 2 }] }]);
    }
  });

  test("under way parks writes; they get the new regions when it is applied [test_reject_proposal_during_region_split]", () => {
    const group = led();
    const answers = group.admin(1, split);
    const parked = group.put(1, "a", "v");
    expect(parked).toEqual([]);
    group.settle();
    expect(answers).toEqual([ok]);
    expect(parked[0]?.error?.epochNotMatch).toBeDefined();
  });

  test("under way admits no second split and no change of peers", () => {
    const group = led();
    group.admin(1, split);
    expect(group.admin(1, split)[0]?.error?.serverIsBusy).toBeDefined();
    expect(group.admin(1, change(peerChange("remove", 23, 3)))[0]?.error?.message).toContain(
      "changed already",
    );
  });

  test("of a leader that loses its office tells those who waited", () => {
    const group = led();
    group.isolate(1);
    group.admin(1, split);
    const parked = group.put(1, "a", "v");
    group.peer(2).campaign();
    group.settle();
    group.tick(25);
    group.heal();
    group.tick(4);
    expect(parked).toMatchObject([{ error: { notLeader: {} } }]);
  });

  test("asked of a leader that has applied nothing in its term is put off", () => {
    const group = new Group(3);
    group.passes = (message) => message.type !== "MsgApp";
    group.elect(1);
    expect(group.admin(1, split)[0]?.error?.message).toContain("not applied an entry of its term");
  });
});

describe("a change of peers", () => {
  test("adds a learner that is filled by a snapshot [test_node_learner_conf_change]", () => {
    const group = led(3, 1);
    expect(done(group, change(peerChange("addLearner", 24, 4)))).toEqual(ok);
    expect(group.peer(1).region.peers.map((peer) => peer.role)).toEqual([
      "voter",
      "voter",
      "voter",
      "learner",
    ]);
  });

  test("removes a peer, whose removal the rest decide alone [test_server_simple_conf_change]", () => {
    const group = led();
    expect(done(group, change(peerChange("remove", 23, 3)))).toEqual(ok);
    group.isolate(3);
    const answers = group.put(1, "k", "v");
    group.settle();
    expect(answers).toEqual([ok]);
  });

  test("does not remove or demote the leader [test_conf_change_remove_leader]", () => {
    const group = led();
    for (const kind of ["remove", "addLearner"] as const) {
      expect(group.admin(1, change(peerChange(kind, 21, 1)))[0]?.error?.message).toContain(
        "transfer leadership",
      );
    }
  });

  test("under an old conf_ver is refused, whatever the version [test_server_simple_conf_change]", () => {
    const group = led();
    const command = change(peerChange("remove", 23, 3));
    expect(group.admin(1, command, { confVer: 0, version: 1 })[0]?.error?.epochNotMatch).toBeDefined();
    const answers = group.admin(1, command, { confVer: 1, version: 0 });
    group.settle();
    expect(answers).toEqual([ok]);
  });

  test("is refused while another is under way", () => {
    const group = led();
    group.isolate(1);
    group.admin(1, change(peerChange("remove", 23, 3)));
    group.settle();
    const [second] = group.admin(1, change(peerChange("remove", 22, 2)));
    expect(second?.error?.message).toContain("changed already");
  });

  test("does not stop writes [test_accept_proposal_during_conf_change]", () => {
    const group = led();
    const changed = group.admin(1, change(peerChange("remove", 23, 3)));
    const written = group.put(1, "k", "v");
    group.settle();
    expect([changed, written]).toEqual([[ok], [ok]]);
  });

  test("after which a quorum would wait for a snapshot is refused [test_conf_change_safe]", () => {
    const group = led(3, 1);
    group.isolate(3);
    for (let i = 0; i < 10; i++) {
      group.put(1, "k", `${i}`);
      group.settle();
    }
    const last = group.peer(1).appliedIndex;
    done(group, { kind: "compactLog", index: logIndex(last), term: term(group.peer(1).term) });
    expect(group.peer(1).storage.firstIndex()).toBe(last + 1);
    const [refused] = group.admin(1, change(peerChange("addVoter", 24, 4)));
    expect(refused?.error?.message).toContain("snapshot");
    expect(done(group, change(peerChange("addLearner", 24, 4)))).toEqual(ok);
  });

  test("of several goes through a joint configuration and out of it [test_joint_consensus_conf_change]", () => {
    const group = led(3, 1);
    expect(done(group, change(peerChange("addVoter", 24, 4), peerChange("addLearner", 23, 3)))).toEqual(ok);
    expect(group.peer(1).region.peers.map((peer) => peer.role)).toEqual([
      "voter",
      "voter",
      "demotingVoter",
      "incomingVoter",
    ]);
    expect(group.admin(1, change(peerChange("remove", 22, 2)))[0]?.error).toBeDefined();
    expect(done(group, change())).toEqual(ok);
    expect(group.peer(1).region.peers.map((peer) => peer.role)).toEqual([
      "voter",
      "voter",
      "learner",
      "voter",
    ]);
  });

  test("does not leave a joint configuration under a leader that it would demote", () => {
    const group = led(3, 1);
    done(group, change(peerChange("addVoter", 24, 4), peerChange("addLearner", 21, 1)));
    expect(group.peer(1).meta?.role).toBe("demotingVoter");
    const [refused] = group.admin(1, change());
    expect(refused?.error?.message).toContain("transfer leadership");
  });

  test("that demotes a leader elected meanwhile makes it step down: a learner must not lead", () => {
    const group = led();
    done(group, change(peerChange("addLearner", 22, 2), peerChange("addLearner", 23, 3)));
    group.tick(3);
    group.peer(1).node.transferLeader(22);
    group.settle();
    expect([group.peer(2).isLeader, group.peer(2).meta?.role]).toEqual([true, "demotingVoter"]);
    // The old leader's order to leave is in the new leader's log already.
    group.peer(2).node.proposeConfChange({
      transition: "ConfChangeTransitionAuto",
      changes: [],
      context: leaveContext(group),
    });
    group.settle();
    expect(group.peer(2).meta?.role).toBe("learner");
    expect(group.peer(2).isLeader).toBe(false);
    group.tick(25);
    expect(group.peer(1).isLeader).toBe(true);
  });
});

function leaveContext(group: Group): Uint8Array {
  return toConfChange(group.peer(2).region.epoch, []).context;
}

describe("a snapshot", () => {
  /** Store 4 has a new learner whose log was cut away before it came. */
  function sent(): Group {
    const group = led(3, 1);
    group.put(1, "k", "v");
    group.settle();
    const last = group.peer(1).appliedIndex;
    done(group, { kind: "compactLog", index: logIndex(last), term: term(group.peer(1).term) });
    group.node(4).peer.rememberPeer(peerOf(21, 1));
    done(group, change(peerChange("addLearner", 24, 4)));
    group.tick(3);
    return group;
  }

  test("accepted is on disk as one batch before its data is loaded; the peer does nothing else meanwhile", () => {
    const group = sent();
    const node = group.node(4);
    expect(node.snapshot).toBeDefined();
    expect(readRegionState(node.engine, 2)?.state).toBe("applying");
    expect(node.peer.isApplyingSnapshot).toBe(true);
    group.put(1, "k", "2");
    group.settle();
    expect(node.stage()).toBeUndefined();
    expect(node.peer.mayReadLocally(group.env.nowMs)).toBe(false);
  });

  test("loaded lets the peer go on from its index", () => {
    const group = sent();
    group.node(4).peer.snapshotApplied();
    group.peer(1).reportSnapshot(24, "finish");
    group.put(1, "k", "2");
    group.tick(4);
    expect(group.value(4, "k")).toBe("2");
    expect(group.peer(4).appliedIndex).toBe(group.peer(1).appliedIndex);
    expect(group.peer(4).region.peers).toHaveLength(4);
  });
});

test("a replica that stood still and answers all heartbeats that waited for it is sent what it lacks once", () => {
  const group = led();
  const { peerId: behind } = group.peer(3);
  const waiting: Message[] = [];
  group.passes = (message) => {
    if (message.to === behind && message.type === "MsgHeartbeat") waiting.push(message);
    return message.to !== behind && message.from !== behind;
  };
  group.put(1, "k", "v".repeat(1_000));
  group.settle();
  group.tick(60);
  expect(waiting.length).toBeGreaterThan(20);
  for (const message of waiting) group.peer(3).step(message);
  group.node(3).turn();
  const answers = group
    .node(3)
    .outbox.splice(0)
    .filter(({ type }) => type === "MsgHeartbeatResp");
  expect(answers.length).toBe(waiting.length);
  for (const answer of answers) group.peer(1).step(answer);
  group.node(1).turn();
  const sent = group
    .node(1)
    .outbox.splice(0)
    .filter(({ to, type }) => to === behind && type === "MsgApp");
  expect(sent.length).toBe(1);
  // Nothing is missing in the end.
  group.heal();
  group.tick(6);
  expect(group.value(3, "k")).toBe("v".repeat(1_000));
});
