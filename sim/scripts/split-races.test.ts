/**
 * Splits on stores that are late: new regions that are there before the split is applied, as peers without data, as
 * tombstones, under other ids; and messages to peers that have been replaced. Names in brackets are TiKV's.
 */
import { describe, expect, it } from "vitest";
import { makeMessage, type Message } from "../../raft/index.js";
import { logIndex, term } from "../../base/index.js";
import type { Peer } from "../../region/peer.js";
import { epochToProto, peerToProto } from "../../region/region.js";
import { messageToProto } from "../../store/raft-message.js";
import type { Filter } from "../scripts/filter.js";
import { messages, region, regionStates, type Script, script } from "../test/script.js";

/** Two stores hold the region; the third is still waiting for its snapshot of it when it is split. */
async function lateStore(): Promise<{ s: Script; child: number; parent: Filter; childSnapshots: Filter }> {
  const s = await script({ stores: 3, replicas: 2 });
  await s.put("a", "1");
  await s.put("p", "2");
  const parent = s.filter(region(s.first).type("snapshot").to(3).hold());
  const childSnapshots = s.filter(
    messages()
      .type("snapshot")
      .to(3)
      .where(({ region: of }) => of !== s.first)
      .drop(),
  );
  await s.mustChange([["addLearner", 3]]);
  await s.until("the snapshot is on its way", () => parent.hits > 0);
  const child = await s.split("m");
  await s.until("the new region is on store 3 without data", () => s.peer(3, child)?.isInitialized === false);
  return { s, child, parent, childSnapshots };
}

async function mustServe(s: Script, child: number): Promise<void> {
  await s.caughtUp(3);
  await s.caughtUp(3, child);
  await s.put("a", "after");
  await s.put("p", "after");
  await s.mustHave(3, "a", "after");
  await s.mustHave(3, "p", "after");
  expect(s.regionsOn(3)).toEqual([child, s.first]);
}

describe("a store that has the new region without data when it applies the split", () => {
  it("lets the split give it its data, under the same id [test_split_should_split_existing_same_uninitialied_peer]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    const { peerId } = s.mustPeer(3, child);
    const before = childSnapshots.hits;
    s.release(parent);
    await s.until("the split is applied", () => s.peer(3, child)?.isInitialized);
    expect(s.mustPeer(3, child).peerId).toBe(peerId);
    await mustServe(s, child);
    // It needed no snapshot of its own after that.
    expect(childSnapshots.hits - before).toBeLessThan(3);
  });

  it("leaves it alone under another id, which gets its data by a snapshot [test_split_not_to_split_existing_different_uninitialied_peer]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    const old = s.mustPeer(3, child).peerId;
    await s.mustChange([["remove", 3]], child);
    await s.mustChange([["addLearner", 3]], child);
    await s.until("the newer peer is there", () => (s.peer(3, child)?.peerId ?? old) > old);
    s.release(parent);
    await s.caughtUp(3);
    expect(s.mustPeer(3).region.epoch.version).toBe(2);
    expect([s.mustPeer(3, child).isInitialized, s.valueOn(3, "a")]).toEqual([false, undefined]);
    s.unfilter(childSnapshots);
    await mustServe(s, child);
  });

  it("does not revive it from its tombstone [test_split_not_to_split_existing_tombstone_region]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    await s.mustChange([["remove", 3]], child);
    await s.until("it is gone", () => s.peer(3, child) === undefined && s.stateOn(3, child) === "tombstone");
    s.release(parent);
    await s.always("nobody revives it", () => s.peer(3, child) === undefined, 800);
    await s.caughtUp(3);
    expect([s.peer(3, child), s.stateOn(3, child), s.valueOn(3, "a"), s.valueOn(3, "p")]).toEqual([
      undefined,
      "tombstone",
      undefined,
      "2",
    ]);
    s.unfilter(childSnapshots);
    await s.addLearner(3, child);
    await mustServe(s, child);
  });

  it("does not overwrite it, once it has data, by a snapshot from before the split [test_split_not_to_split_existing_region]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    s.unfilter(childSnapshots);
    await s.caughtUp(3, child);
    await s.put("a", "newer");
    await s.mustHave(3, "a", "newer");
    s.release(parent);
    await s.until("the region itself came later", () => s.peer(3)?.isInitialized);
    expect(s.mustPeer(3).region.epoch.version).toBe(2);
    expect(s.valueOn(3, "a")).toBe("newer");
    await mustServe(s, child);
  });

  it("keeps its books while the new region's peer is being destroyed [test_meta_inconsistency]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    s.holdWrites(3, regionStates(child));
    await s.mustChange([["remove", 3]], child);
    await s.until("its tombstone is being written", () => s.at(3).disk.heldWrites > 0);
    s.release(parent);
    await s.pass(300);
    s.releaseWrites(3);
    await s.caughtUp(3);
    expect([s.peer(3, child), s.stateOn(3, child)]).toEqual([undefined, "tombstone"]);
    s.unfilter(childSnapshots);
    await s.addLearner(3, child);
    await mustServe(s, child);
  });

  it("goes on with the split when the peer is told to go in the same moment [test_split_continue_when_destroy_peer_after_mem_check]", async () => {
    const { s, child, parent } = await lateStore();
    const peer = s.mustPeer(3, child);
    // The batch with the split waits for the disk; the order to go comes before it is done.
    s.holdWrites(3, regionStates(child));
    s.release(parent);
    await s.until("the split is being written", () => s.at(3).disk.heldWrites > 0);
    const { id } = s.leaderPeer(child).region.peers.find(({ id: of }) => of !== peer.peerId) ?? { id: 0 };
    s.inject(3, {
      ...emptyRaft(child),
      fromPeer: { id, storeId: s.storeId(1), role: 0, isWitness: false },
      toPeer: { id: peer.peerId, storeId: s.storeId(3), role: 0, isWitness: false },
      regionEpoch: { confVer: 100, version: 2 },
      isTombstone: true,
    } as never);
    await s.pass(10);
    s.releaseWrites(3);
    await s.until("the split is applied", () => s.peer(3, child)?.isInitialized);
    await s.pass(100);
    // Memory and disk say the same.
    expect(s.stateOn(3, child)).toBe("normal");
    s.crash(3, { power: true, keeps: "none" });
    await s.restart(3);
    await mustServe(s, child);
  });

  it("leaves its parts where they are when the region's own peer is told to go while the split is being written", async () => {
    const s = await script({ stores: 3, replicas: 3 });
    await s.put("a", "1");
    await s.put("x", "2");
    await s.caughtUp(3);
    const parent = s.mustPeer(3);
    s.holdWrites(3, regionStates(s.first));
    s.sendSplit(["m"]);
    await s.until("the split is being written", () => s.at(3).disk.heldWrites > 0);
    s.inject(3, {
      ...emptyRaft(s.first),
      fromPeer: { id: s.leaderPeer().peerId, storeId: s.storeId(1), role: 0, isWitness: false },
      toPeer: { id: parent.peerId, storeId: s.storeId(3), role: 0, isWitness: false },
      regionEpoch: { confVer: 100, version: 100 },
      isTombstone: true,
    } as never);
    await s.until("it has heard it", () => parent.isRemoved);
    s.releaseWrites(3);
    // The split leaves the new region on the left or on the right; the rest has its old id.
    const child = (): Peer | undefined =>
      [...(s.at(3).store?.peers.all() ?? [])].find(
        ({ regionId, isRemoved }) => regionId !== s.first && !isRemoved,
      );
    await s.until("the part lives", () => child()?.isInitialized);
    const { startKey } = (child() as Peer).region;
    const mine = startKey.length === 0 ? (["a", "1"] as const) : (["x", "2"] as const);
    await s.pass(100);
    s.crash(3, { power: true, keeps: "all" });
    await s.restart(3);
    await s.pass(1_500);
    expect(child()?.region.startKey).toEqual(startKey);
    await s.mustHave(3, mine[0], mine[1]);
  });

  it("may hear of both in one turn [test_split_duplicated_batch]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    s.release(parent);
    const entries = s.filter(region(s.first).type("append").to(3).hold());
    await s.until(
      "the snapshot is loaded",
      () => s.peer(3)?.isInitialized && !s.mustPeer(3).isApplyingSnapshot,
    );
    await s.until("the split is on its way", () => entries.held.length > 0);
    const beats = s.filter(region(child).to(3).hold());
    await s.until("something for the new region, too", () => beats.held.length > 0);
    s.release(beats);
    s.release(entries);
    s.unfilter(childSnapshots);
    await mustServe(s, child);
    expect(s.leader(child)).toBe(1);
  });

  it("keeps the log of the peer that follows one destroyed without data [test_split_replace_skip_log_gc]", async () => {
    const { s, child, parent, childSnapshots } = await lateStore();
    s.release(parent);
    await s.caughtUp(3);
    await s.mustChange([["remove", 3]], child);
    s.unfilter(childSnapshots);
    await s.mustChange([["addLearner", 3]], child);
    await s.caughtUp(3, child);
    for (let i = 0; i < 5; i++) await s.put(`b${i}`, "v");
    await s.caughtUp(3, child);
    const last = s.mustPeer(3, child).storage.lastIndex();
    s.crash(3, { power: true, keeps: "none" });
    await s.restart(3);
    expect(s.mustPeer(3, child).storage.lastIndex()).toBeGreaterThanOrEqual(last - 1);
    await mustServe(s, child);
  });
});

const emptyRaft = (id: number) => ({ regionId: id, message: undefined, startKey: [], endKey: [] });

describe("a store that applies the split late", () => {
  /** Store 3 has not heard of the split; the new region is led by store 1. */
  async function slow(options = {}): Promise<{ s: Script; child: number; held: Filter }> {
    const s = await script({ stores: 4, replicas: 3, ...options });
    await s.put("a", "1");
    await s.put("p", "2");
    await s.pass(300);
    const held = s.filter(region(s.first).from(1).to(3).hold());
    const child = await s.split("m");
    return { s, child, held };
  }

  it("answers the vote that came too early when it has split [test_follower_slow_split, test_split_lost_request_vote]", async () => {
    const s = await script();
    await s.put("a", "1");
    await s.pass(300);
    const held = s.filter(region(s.first).from(1).to(3).hold());
    // Store 2 does not vote: without store 3 there is no leader.
    const others = s.filter(
      messages()
        .to(2)
        .type("preVote", "vote")
        .where(({ region: of }) => of !== s.first)
        .drop(),
    );
    // Of a part that a split has just made nobody asks whether there is a leader: the first word is a vote.
    const asked = s.filter(messages().to(3).type("vote"));
    const command = s.splitCommand("m");
    const child = command.splits[0]?.newRegionId ?? 0;
    s.sendAdmin(command);
    await s.until("store 3 is asked", () => asked.hits > 0);
    await s.pass(50);
    expect([s.peer(3, child), s.leader(child)]).toEqual([undefined, 0]);
    const answers = s.filter(messages().from(3).type("voteResponse"));
    s.release(held);
    await s.until("the kept vote is answered", () => answers.hits > 0, 100);
    await s.until("there is a leader", () => s.leader(child) === 1, 100);
    s.unfilter(others);
    expect(await s.get("a")).toBe("1");
  });

  it("is not sent a snapshot of what the split gives it [test_node_slow_split_does_not_cause_snapshot]", async () => {
    const { s, child, held } = await slow();
    const snapshots = s.filter(messages().type("snapshot").to(3));
    await s.put("a", "2");
    await s.pass(800);
    s.release(held);
    await s.caughtUp(3, child);
    await s.mustHave(3, "a", "2");
    expect(snapshots.hits).toBe(0);
  });

  it("is sent one, if the log it would need is gone by then [test_node_slow_split_does_not_prevent_snapshot]", async () => {
    const { s, child, held } = await slow();
    for (let i = 0; i < 5; i++) await s.put(`a${i}`, "v");
    await s.compactLog(child);
    const snapshots = s.filter(region(child).type("snapshot").to(3));
    s.release(held);
    await s.caughtUp(3, child);
    expect([snapshots.hits, s.valueOn(3, "a4")]).toEqual([1, "v"]);
    await s.mustSettle(3);
  });

  it("does not keep the others from electing [test_node_slow_split_does_not_prevent_leader_election]", async () => {
    const { s, child, held } = await slow();
    expect([s.leader(child), s.peer(3, child)]).toEqual([1, undefined]);
    await s.transferLeader(2, child);
    await s.put("a", "2");
    s.release(held);
    await s.caughtUp(3, child);
    expect(s.leader(child)).toBe(2);
  });

  it("makes a peer that was removed meanwhile, which goes, and makes room for the next [test_server_split_with_stale_peer]", async () => {
    const { s, child, held } = await slow();
    await s.mustChange([["remove", 3]], child);
    await s.mustChange([["addLearner", 3]], child);
    await s.pass(500);
    expect(s.peer(3, child)).toBeUndefined();
    const newer = s.region(child).peers.find(({ role }) => role === "learner")?.id;
    s.release(held);
    await s.caughtUp(3, child);
    expect(s.mustPeer(3, child).peerId).toBe(newer);
    await s.put("a", "2");
    await s.mustHave(3, "a", "2");
  });

  it("makes a peer that was moved elsewhere, which hears of it and goes [test_split_race_with_conf_change]", async () => {
    const { s, child, held } = await slow();
    await s.mustChange([["remove", 3]], child);
    await s.addVoter(4, child);
    s.release(held);
    await s.until("the split is applied", () => s.mustPeer(3).region.epoch.version === 2);
    await s.gone(3, child);
    await s.mustLack(3, "a");
    await s.mustSettle(3);
    expect(s.regionsOn(4)).toEqual([child]);
  });

  it("lets no snapshot of the new region overwrite the old one [test_node_split_overlap_snapshot]", async () => {
    const { s, child, held } = await slow();
    const frames = s.recordSnapshots();
    await s.addLearner(4, child);
    const own = s.region(child).peers.find(({ storeId }) => storeId === s.storeId(3));
    expect(own).toBeDefined();
    await s.replaySnapshot(3, frames, own?.id ?? 0);
    await s.pass(300);
    expect([s.peer(3, child), s.valueOn(3, "a"), s.mustPeer(3).region.epoch.version]).toEqual([
      undefined,
      "1",
      1,
    ]);
    s.release(held);
    await s.caughtUp(3, child);
    await s.put("a", "2");
    await s.mustHave(3, "a", "2");
  });
});

it("a follower that missed the split gets both parts by snapshots of the new version [test_apply_new_version_snapshot]", async () => {
  const s = await script();
  await s.put("a", "1");
  await s.put("p", "2");
  s.isolate(3);
  const child = await s.split("m");
  await s.put("a", "3");
  await s.put("p", "4");
  await s.compactLog();
  await s.compactLog(child);
  s.heal();
  const snapshots = s.filter(messages().type("snapshot").to(3));
  await s.caughtUp(3);
  await s.caughtUp(3, child);
  expect(new Set(snapshots.seen.map(({ region: of }) => of))).toEqual(new Set([s.first, child]));
  expect([s.valueOn(3, "a"), s.valueOn(3, "p"), s.mustPeer(3).region.epoch.version]).toEqual(["3", "4", 2]);
  await s.mustSettle();
});

it("a peer ignores what is meant for its forerunner on the store [test_stale_peer_handle_snap, test_stale_peer_handle_vote, test_stale_peer_handle_append, test_stale_peer_handle_heartbeat]", async () => {
  const s = await script({ stores: 3, replicas: 3 });
  await s.put("k", "1");
  const old = s.mustPeer(3);
  const oldMeta = old.meta;
  const frames = s.recordSnapshots();
  await s.removePeer(3);
  await s.addLearner(3);
  const peer = s.mustPeer(3);
  const before = { term: peer.term, last: peer.storage.lastIndex(), commit: peer.node.commitIndex };
  if (oldMeta === undefined) throw new Error("the old peer was in the region");
  const leader = s.leaderPeer();
  const late = (fields: Partial<Message>): void => {
    const message = makeMessage({
      type: "MsgHeartbeat",
      to: oldMeta.id,
      from: leader.peerId,
      term: term(before.term + 10),
      ...fields,
    });
    s.inject(3, {
      regionId: s.first,
      fromPeer: peerToProto(leader.meta ?? oldMeta),
      toPeer: peerToProto(oldMeta),
      regionEpoch: epochToProto(leader.region.epoch),
      message: messageToProto(message),
      startKey: [],
      endKey: [],
    } as never);
  };
  const answers = s.filter(messages().from(3).type("voteResponse", "preVoteResponse"));
  late({ type: "MsgHeartbeat", commit: logIndex(before.last + 5) });
  late({ type: "MsgVote", index: logIndex(before.last + 50), logTerm: term(before.term + 5) });
  late({
    type: "MsgApp",
    index: logIndex(before.last),
    logTerm: term(before.term),
    entries: [
      {
        type: "EntryNormal",
        term: term(before.term + 10),
        index: logIndex(before.last + 1),
        data: new Uint8Array(0),
      },
    ],
  });
  await s.replaySnapshot(3, frames, oldMeta.id);
  await s.pass(100);
  expect({ term: peer.term, last: peer.storage.lastIndex(), commit: peer.node.commitIndex }).toEqual(before);
  expect([answers.hits, s.peer(3), peer.isRemoved, s.valueOn(3, "k")]).toEqual([0, peer, false, "1"]);
  await s.put("k", "2");
  await s.mustHave(3, "k", "2");
});
