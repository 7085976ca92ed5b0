/** Peers that end: their tombstones, their data, who tells them to go, and who may come after them. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../base/index.js";
import { dataKey } from "../../region/keys.js";
import { epochToProto, peerToProto } from "../../region/region.js";
import { messages, region, regionStates, type Script, script } from "../test/script.js";

async function mustBeGone(s: Script, store: number, key: string): Promise<void> {
  await s.gone(store);
  await s.mustLack(store, key);
  expect([s.stateOn(store), s.logOn(store)]).toEqual(["tombstone", []]);
}

describe("a removed peer", () => {
  it("leaves a tombstone and nothing else, and a late message does not bring it back [test_node_tombstone]", async () => {
    const s = await script();
    await s.put("k", "1");
    const late = s.filter(messages().from(1).to(3).hold());
    await s.put("k", "2");
    await s.pass(300);
    const held = [...late.held];
    s.release(late);
    await s.mustHave(3, "k", "2");
    await s.removePeer(3);
    await mustBeGone(s, 3, "k");
    expect(held.length).toBeGreaterThan(1);
    for (const { raw } of held) s.inject(3, raw);
    await s.pass(500);
    await mustBeGone(s, 3, "k");
    await s.mustSettle(2);
  });

  it("makes room at once for another of the region [test_server_fast_destroy]", async () => {
    const s = await script();
    await s.put("k", "1");
    for (let round = 0; round < 3; round++) {
      const before = s.world.nowUs;
      await s.removePeer(3);
      await s.addVoter(3);
      expect((s.world.nowUs - before) / 1_000).toBeLessThan(600);
      await s.mustHave(3, "k", "1");
    }
    await s.mustSettle();
  });

  it("whose data a crash kept has none of it after the next start [test_server_stale_meta]", async () => {
    const s = await script();
    await s.putMany("k", 5);
    await s.caughtUp(3);
    // The tombstone is durable, the deletion of the data is not.
    s.holdWrites(3, (operations) => operations.length === 0);
    await s.mustChange([["remove", 3]]);
    await s.until(
      "the data is being deleted",
      () => s.stateOn(3) === "tombstone" && s.at(3).disk.heldWrites > 0,
    );
    s.crash(3, { power: true, keeps: "none" });
    expect([s.stateOn(3), s.valueOn(3, "k4")]).toEqual(["tombstone", "4"]);
    await s.restart(3);
    await s.mustLack(3, "k4");
    expect(s.peer(3)).toBeUndefined();
    await s.mustSettle(2);
  });

  it("has no log afterwards, also when that was cut shortly before [test_destroy_clean_up_logs_with_log_gc, test_destroy_clean_up_logs_with_unfinished_log_gc]", async () => {
    for (const isSlow of [false, true]) {
      const s = await script();
      await s.putMany("k", 10);
      await s.caughtUp(3);
      if (isSlow) s.holdWrites(3, (operations) => operations.length === 0);
      await s.compactLog();
      await s.putMany("m", 5);
      await s.mustChange([["remove", 3]]);
      await s.pass(100);
      s.releaseWrites(3);
      await mustBeGone(s, 3, "k9");
      s.crash(3);
      await s.restart(3);
      expect([s.peer(3), s.logOn(3)]).toEqual([undefined, []]);
      await s.addVoter(3);
      await s.mustHave(3, "m4", "4");
      await s.mustSettle();
    }
  });

  it("that is slow to go does not spoil the data of the next one [test_async_destroy_peer_delayed]", async () => {
    const s = await script();
    await s.putMany("k", 5);
    await s.caughtUp(3);
    const old = s.mustPeer(3).peerId;
    s.holdWrites(3, regionStates(s.first));
    await s.mustChange([["remove", 3]]);
    await s.mustChange([["addLearner", 3]]);
    await s.put("k0", "new");
    await s.pass(500);
    expect(s.peer(3)?.peerId).toBe(old);
    s.releaseWrites(3);
    await s.until("the next one is there", () => (s.peer(3)?.peerId ?? 0) > old);
    await s.caughtUp(3);
    expect([s.valueOn(3, "k0"), s.valueOn(3, "k4")]).toEqual(["new", "4"]);
    await s.mustChange([["addVoter", 3]]);
    await s.mustSettle();
  });

  it("tells no member of the region to go, however old its message is [test_safe_tombstone_gc]", async () => {
    const s = await script();
    await s.put("k", "1");
    const votes = s.filter(messages().from(2).to(3).hold());
    s.isolate(2);
    await s.until("store 2 asks for votes", () => votes.hits > 1, 15_000);
    const old = [...votes.held];
    s.filters.clear();
    await s.caughtUp(2);
    await s.removePeer(3);
    const orders = s.filter(messages().type("tombstone").to(1, 2));
    for (const { raw } of old) s.inject(3, raw);
    await s.pass(500);
    expect([orders.hits, s.mustPeer(2).isRemoved, s.peer(3)]).toEqual([0, false, undefined]);
    await s.put("k", "2");
    await s.mustHave(2, "k", "2");
  });

  it("serves no read, and its successor serves the new data [test_node_update_localreader_after_removed]", async () => {
    const s = await script();
    await s.put("k", "1");
    const context = { ...s.context(3), replicaRead: true };
    expect(await s.readOn(3, "k", { replicaRead: true })).toBe("1");
    await s.removePeer(3);
    await s.put("k", "2");
    const { node, store } = s.at(3);
    let found: unknown;
    node.after(0, "read", () => {
      store?.raw.get({ key: utf8("k"), context }, (response) => {
        found = response.regionError?.regionNotFound;
      });
    });
    await s.pass(10);
    expect(found).toBeTruthy();
    await s.addVoter(3);
    expect(await s.readOn(3, "k", { replicaRead: true })).toBe("2");
  });
});

describe("who was removed while it was away", () => {
  it("is told to go by the first member it asks for a vote [test_node_stale_peer_out_of_region]", async () => {
    const s = await script({ stores: 5, replicas: 3 });
    await s.put("k", "1");
    s.isolate(3);
    await s.mustChange([["remove", 3]]);
    await s.addVoter(4);
    await s.addVoter(5);
    const orders = s.filter(messages().type("tombstone").to(3));
    s.filters.clear();
    s.filter(orders);
    await mustBeGone(s, 3, "k");
    expect(orders.hits).toBeGreaterThan(0);
    expect(await s.get("k")).toBe("1");
    await s.mustSettle(4);
  });

  it("and whose store comes back late, goes [test_clean_stale_peer]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    s.crash(3);
    await s.mustChange([["remove", 3]]);
    await s.addVoter(4);
    await s.restart(3);
    expect(s.mustPeer(3).isRemoved).toBe(false);
    await mustBeGone(s, 3, "k");
    await s.mustSettle();
  });

  it("comes again under a higher id, and the old peer makes way for it [test_node_readd_peer]", async () => {
    const s = await script();
    await s.put("k", "1");
    await s.mustHave(3, "k", "1");
    const old = s.mustPeer(3).peerId;
    s.isolate(3);
    await s.mustChange([["remove", 3]]);
    await s.put("k", "2");
    await s.mustChange([["addLearner", 3]]);
    await s.pass(300);
    expect([s.mustPeer(3).peerId, s.valueOn(3, "k")]).toEqual([old, "1"]);
    s.heal();
    await s.until("the new one is there", () => (s.peer(3)?.peerId ?? 0) > old);
    await s.caughtUp(3);
    expect(s.valueOn(3, "k")).toBe("2");
  });

  it("as a learner asks PD, since it asks nobody for votes [test_stale_learner]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    await s.addLearner(4);
    s.isolate(4);
    await s.mustChange([["remove", 4]]);
    s.heal();
    const orders = s.filter(messages().type("tombstone").to(4));
    await s.pass(1_000);
    expect(s.mustPeer(4).isRemoved).toBe(false);
    await mustBeGone(s, 4, "k");
    expect(orders.hits).toBe(0);
  });

  it("as a learner hears it at once from the leader that it asks for a read [test_stale_learner_with_read_index]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: { leaderMissingMs: 600_000 } });
    await s.put("k", "1");
    await s.addLearner(4);
    await s.put("k", "2");
    await s.caughtUp(4);
    s.isolate(4);
    await s.mustChange([["remove", 4]]);
    s.heal();
    const read = s.sendGet(4, "k", { replicaRead: true });
    await mustBeGone(s, 4, "k");
    expect((await s.answerTo(read)).regionError?.regionNotFound).toBeTruthy();
  });

  it("as a learner that was restarted knows no leader, and asks PD all the same [test_stale_learner_restart]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    await s.addLearner(4);
    s.crash(4);
    await s.mustChange([["remove", 4]]);
    await s.restart(4);
    await mustBeGone(s, 4, "k");
    expect(s.roles()).toEqual({ 1: "voter", 2: "voter", 3: "voter" });
  });

  it("and is loading a snapshot then, goes when it is told so [test_stale_peer_destroy_when_apply_snapshot]", async () => {
    const s = await script({ config: { snapshotChunkBytesMax: 100 } });
    s.isolate(3);
    await s.putMany("k", 10, "x".repeat(60));
    await s.compactLog();
    s.misbehave("a snapshot loads slowly", 1_000);
    s.heal();
    await s.until("it is loading", () => s.mustPeer(3).isApplyingSnapshot);
    const peer = s.mustPeer(3);
    const cut = s.isolate(3);
    await s.mustChange([["remove", 3]]);
    s.unfilter(cut);
    const leader = s.leaderPeer();
    s.inject(3, {
      regionId: s.first,
      fromPeer: peerToProto(leader.meta as never),
      toPeer: peerToProto({ id: peer.peerId, storeId: s.storeId(3) as never, role: "voter" }),
      regionEpoch: epochToProto(leader.region.epoch),
      isTombstone: true,
      startKey: [],
      endKey: [],
    } as never);
    await mustBeGone(s, 3, "k9");
    s.behave();
    await s.pass(500);
    expect([s.valueOn(3, "k9"), s.chunksOn(3), s.stateOn(3)]).toEqual([undefined, 0, "tombstone"]);
  });

  it("and never had data, goes after the region was split either way [test_node_stale_peer_without_data_left_derive_when_split, test_node_stale_peer_without_data_right_derive_when_split]", async () => {
    for (const rightDerive of [false, true]) {
      const s = await script({ stores: 4, replicas: 3 });
      await s.put("a", "1");
      await s.put("p", "1");
      s.filter(messages().type("snapshot").to(4).drop());
      await s.mustChange([["addLearner", 4]]);
      await s.until("it is there without data", () => s.peer(4)?.isInitialized === false);
      s.isolate(4);
      const command = s.splitCommand("m", s.first, rightDerive);
      const born = command.splits[0]?.newRegionId ?? 0;
      expect(await s.tryAdmin(command)).toBeUndefined();
      await s.mustLead(1, born);
      await s.mustChange([["remove", 4]], born);
      await s.mustChange([["remove", 4]]);
      s.heal();
      await s.until("it is gone", () => s.peer(4) === undefined, 15_000);
      expect([s.stateOn(4), s.valueOn(4, "a"), s.valueOn(4, "p")]).toEqual([
        "tombstone",
        undefined,
        undefined,
      ]);
    }
  });
});

it("a peer without data that was told to go is not made again by what is still under way [test_destroy_uninitialized_peer_when_there_exists_old_peer]", async () => {
  const s = await script();
  await s.put("k", "1");
  const old = s.mustPeer(3).peerId;
  await s.removePeer(3);
  s.filter(messages().type("snapshot").to(3).drop());
  const beats = s.filter(messages().to(3).type("heartbeat"));
  await s.mustChange([["addLearner", 3]]);
  await s.until("the next one is there without data", () => s.peer(3)?.isInitialized === false);
  const { peerId } = s.mustPeer(3);
  const late = beats.seen.filter(({ raw }) => raw.toPeer?.id === peerId);
  expect([peerId > old, late.length > 0]).toEqual([true, true]);
  await s.mustChange([["remove", 3]]);
  await s.until("it is gone", () => s.peer(3) === undefined, 15_000);
  for (const { raw } of late) s.inject(3, raw);
  await s.pass(300);
  expect([s.peer(3), s.stateOn(3)]).toEqual([undefined, "tombstone"]);
  s.heal();
  await s.addVoter(3);
  await s.mustHave(3, "k", "1");
});

it("a start deletes data that no region of the store covers, and no other [test_server_clear_stale_data]", async () => {
  const s = await script();
  await s.put("a", "1");
  await s.put("p", "1");
  const left = await s.split("m");
  await s.caughtUp(3, left);
  await s.removePeer(3, left);
  s.crash(3);
  const { memory } = s.at(3).disk;
  const batch = memory.batch();
  for (const key of ["b", "c"]) batch.put("default", dataKey(utf8(key)), Uint8Array.of(120, 0));
  memory.write(batch, { sync: true }, () => {});
  await s.restart(3);
  await s.until(
    "the stale data is gone",
    () => s.valueOn(3, "b") === undefined && s.valueOn(3, "c") === undefined,
  );
  expect(s.valueOn(3, "p")).toBe("1");
  expect(await s.get("a")).toBe("1");
});

it("a region of one replica never takes its leader for missing [test_one_node_leader_missing]", async () => {
  const s = await script({ stores: 1 });
  let asked = 0;
  s.frames = ({ path }) => {
    if (path.endsWith("/GetRegionByID")) asked++;
    return "pass";
  };
  await s.pass(10_000);
  expect([asked, s.leader(), s.filter(region(s.first)).hits]).toEqual([0, 1, 0]);
});
