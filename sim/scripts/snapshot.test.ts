/** Snapshots: large, slow, broken, late, and interrupted by crashes at every step. Names in brackets are TiKV's. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../base/index.js";
import { raft_serverpb } from "../../proto/index.js";
import { dataKey } from "../../region/keys.js";
import type { ScriptOptions } from "./stage.js";
import { messages, region, regionStates, type Script, script } from "../test/script.js";

const SMALL_CHUNKS = { snapshotChunkBytesMax: 300 };

/** Store 3 is away while others write and cut the log: it needs a snapshot when it is back. */
async function behind(options: ScriptOptions = {}): Promise<Script> {
  const s = await script({
    stores: 3,
    replicas: 3,
    ...options,
    config: { ...SMALL_CHUNKS, ...options.config },
  });
  await s.put("k0", "old");
  await s.caughtUp(3);
  s.isolate(3);
  await s.putMany("k", 20, "x".repeat(50));
  await s.compactLog();
  return s;
}

async function mustEqual(s: Script): Promise<void> {
  await s.caughtUp(3);
  await s.put("after", "1");
  await s.mustHave(3, "after", "1");
  await s.mustSettle();
  expect([s.valueOn(3, "k19"), s.chunksOn(3)]).toEqual(["x".repeat(50), 0]);
}

describe("a snapshot", () => {
  it("of many chunks arrives while heartbeats go on [test_server_huge_snapshot]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: { snapshotChunkBytesMax: 500 } });
    await s.putMany("k", 60, "x".repeat(100));
    const frames = s.recordSnapshots();
    const beats = s.filter(messages().type("heartbeat").from(1).to(2));
    const slow = s.filter(messages().type("snapshot").to(4).delay(1_500));
    const { term } = s.mustPeer(1);
    await s.mustChange([["addLearner", 4]]);
    await s.until("the snapshot waits", () => slow.hits > 0);
    await s.caughtUp(4);
    expect(frames.length).toBeGreaterThan(12);
    expect(beats.hits).toBeGreaterThan(5);
    expect([s.leader(), s.mustPeer(1).term, s.valueOn(4, "k59")]).toEqual([1, term, "x".repeat(100)]);
  });

  it("carries all key spaces; a peer that comes again has exactly the data of now [test_cf_snapshot]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.putMany("k", 5);
    for (const store of [1, 2, 3]) {
      const batch = s.at(store).disk.memory.batch();
      for (const space of ["lock", "write"] as const) batch.put(space, dataKey(utf8("row")), utf8(space));
      s.at(store).disk.memory.write(batch, { sync: true }, () => {});
    }
    await s.addLearner(4);
    const has = (space: "lock" | "write"): unknown => s.at(4).disk.memory.get(space, dataKey(utf8("row")));
    expect([has("lock"), has("write"), s.valueOn(4, "k4")]).toEqual([utf8("lock"), utf8("write"), "4"]);
    await s.removePeer(4);
    await s.mustLack(4, "k4");
    expect(has("lock")).toBeUndefined();
    await s.delete("k4");
    await s.put("k5", "new");
    await s.addLearner(4);
    expect([has("lock"), s.valueOn(4, "k4"), s.valueOn(4, "k5")]).toEqual([utf8("lock"), undefined, "new"]);
  });

  it("bears the term of the entry it was taken at [test_correct_snapshot_term]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    await s.transferLeader(2);
    await s.transferLeader(1);
    const sent = s.filter(messages().type("snapshot").to(4));
    await s.addLearner(4);
    const metadata = sent.seen[0]?.raw.message?.snapshot?.metadata;
    const index = metadata?.index ?? 0;
    expect(metadata?.term).toBe(s.mustPeer(1).storage.term(index as never));
    expect(metadata?.term).toBe(s.mustPeer(4).storage.term(index as never));
  });

  it("is followed by entries that came before it was loaded, in order [test_node_snapshot_with_append]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: SMALL_CHUNKS });
    await s.putMany("k", 20, "x".repeat(50));
    const slow = s.filter(messages().type("snapshot").to(4).hold());
    await s.mustChange([["addLearner", 4]]);
    await s.until("the snapshot is on its way", () => slow.hits > 0);
    s.release(slow);
    for (let i = 0; i < 10; i++) await s.put("k0", `later ${i}`);
    await s.mustHave(4, "k0", "later 9");
    await s.caughtUp(4);
    await s.mustChange([["remove", 4]]);
    await s.mustSettle();
    expect(s.valueOn(1, "k0")).toBe("later 9");
  });

  it("is made of a region in which nothing is written [test_gen_snapshot_with_no_committed_entries_ready]", async () => {
    const s = await behind();
    const last = s.mustPeer(1).storage.lastIndex();
    s.heal();
    await s.caughtUp(3);
    expect([s.mustPeer(1).storage.lastIndex(), s.valueOn(3, "k19")]).toEqual([last, "x".repeat(50)]);
    await mustEqual(s);
  });

  it("ends the log that was there before it [test_snapshot_clean_up_logs_with_log_gc]", async () => {
    const s = await behind();
    expect(s.logOn(3).length).toBeGreaterThan(0);
    s.heal();
    await s.caughtUp(3);
    const first = s.truncatedOn(3);
    expect(s.logOn(3).filter((index) => index <= first)).toEqual([]);
    await mustEqual(s);
  });

  it("ends it also when a cut of that log is not done yet [test_snapshot_clean_up_logs_with_unfinished_log_gc, test_pending_snapshot]", async () => {
    const s = await script({ config: SMALL_CHUNKS });
    await s.putMany("k", 20, "x".repeat(50));
    await s.caughtUp(3);
    s.holdWrites(3, (operations) => operations.length === 0 || operations.some(({ key }) => key[10] === 3));
    await s.compactLog();
    await s.until("the cut waits for the disk", () => s.at(3).disk.heldWrites > 0);
    s.isolate(3);
    await s.putMany("m", 5);
    await s.compactLog();
    s.heal();
    await s.pass(300);
    s.releaseWrites(3);
    await s.caughtUp(3);
    const first = s.truncatedOn(3);
    expect(s.logOn(3).filter((index) => index <= first)).toEqual([]);
    await mustEqual(s);
  });
});

describe("a snapshot that does not get through", () => {
  it("is reported to Raft, which tries again [test_snapshot_send_failed]", async () => {
    const s = await behind();
    s.heal();
    const lost = s.filter(messages().type("snapshot").to(3).drop().times(2));
    await s.caughtUp(3);
    expect(lost.hits).toBe(2);
    await mustEqual(s);
  });

  it("because none can be sent now is tried again [test_generate_snapshot]", async () => {
    const s = await behind();
    const sent = s.filter(messages().type("snapshot").to(3));
    s.misbehave("a snapshot is not sent", 3);
    s.filters.clear();
    s.filter(sent);
    await s.until("it came nevertheless", () => sent.hits > 0);
    await mustEqual(s);
    expect(sent.hits).toBe(1);
  });

  it("because the connection broke is tried again [test_sending_fail_with_net_error]", async () => {
    const s = await behind();
    s.heal();
    const held = s.filter(messages().type("snapshot").to(3).hold().times(1));
    await s.until("it is on its way", () => held.hits > 0);
    s.cluster.network.reset(s.at(1).node, s.at(3).node);
    await s.caughtUp(3);
    expect(s.running(1).snapshots.sending).toBe(0);
    await mustEqual(s);
  });

  it("because the receiver's address is not known yet is tried again [test_server_snapshot_on_resolve_failure]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    let lost = 0;
    s.frames = ({ path, from }) => {
      if (!path.endsWith("/GetStore") || s.numberOf(from) !== 1) return "pass";
      lost++;
      return "drop";
    };
    await s.mustChange([["addLearner", 4]]);
    await s.pass(500);
    expect([lost > 0, s.peer(4)]).toEqual([true, undefined]);
    s.frames = undefined;
    await s.caughtUp(4);
    expect(s.valueOn(4, "k")).toBe("1");
  });

  it("within its time is given up and tried again [test_send_snapshot_timeout]", async () => {
    const s = await behind({ config: { snapshotTimeoutMs: 1_000 } });
    s.heal();
    const stuck = s.filter(messages().type("snapshot").to(3).hold().times(1));
    await s.until("it is on its way", () => stuck.hits > 0);
    await s.pass(700);
    expect([s.running(1).snapshots.sending, s.valueOn(3, "k19")]).toEqual([1, undefined]);
    await s.caughtUp(3);
    await mustEqual(s);
  });

  it("undamaged is refused, and another is sent [test_retry_corrupted_snapshot]", async () => {
    const s = await behind();
    s.heal();
    let damaged = 0;
    s.frames = ({ path, bytes }) => {
      if (!path.endsWith("/Snapshot") || damaged > 0) return "pass";
      const chunk = raft_serverpb.SnapshotChunk.decode(bytes);
      if (chunk.message != null || chunk.data.length === 0) return "pass";
      damaged++;
      const data = chunk.data.slice();
      data[data.length - 1] = (data[data.length - 1] as number) ^ 1;
      return raft_serverpb.SnapshotChunk.encode({ data }).finish().slice();
    };
    const sent = s.filter(messages().type("snapshot").to(3));
    await s.caughtUp(3);
    expect([damaged, sent.hits]).toEqual([1, 2]);
    await mustEqual(s);
  });

  it("leaves no chunks at the receiver [test_snapshot_gc_after_failed]", async () => {
    const s = await behind();
    s.heal();
    let chunks = 0;
    s.frames = ({ path, bytes }) => {
      if (!path.endsWith("/Snapshot")) return "pass";
      chunks = raft_serverpb.SnapshotChunk.decode(bytes).message == null ? chunks + 1 : 0;
      // Field 2, one byte: no chunk is so short.
      return chunks === 4 ? Uint8Array.of(18, 1, 0) : "pass";
    };
    let seen = 0;
    await s.until("chunks have arrived", () => {
      seen = Math.max(seen, s.chunksOn(3));
      return seen > 1 && s.chunksOn(3) === 0;
    });
    expect(s.valueOn(3, "k19")).toBeUndefined();
    s.frames = undefined;
    await mustEqual(s);
  });

  it("leaves nothing at the sender [test_snapshot_cleanup_on_send_error]", async () => {
    const s = await behind();
    s.heal();
    s.misbehave("a snapshot's stream breaks off", 2);
    const sent = s.filter(messages().type("snapshot").to(3));
    await s.caughtUp(3);
    expect([sent.hits, s.running(1).snapshots.sending, s.chunksOn(1)]).toEqual([3, 0, 0]);
    await mustEqual(s);
  });
});

describe("snapshots at the same time", () => {
  it("of one region to two stores, with writes between, are each consistent [test_concurrent_snap]", async () => {
    const s = await script({ stores: 5, replicas: 3, config: SMALL_CHUNKS });
    await s.putMany("k", 20, "x".repeat(50));
    const first = s.filter(messages().type("snapshot").to(4).hold());
    await s.mustChange([["addLearner", 4]]);
    await s.until("the first is on its way", () => first.hits > 0);
    await s.put("k0", "between");
    await s.addLearner(5);
    s.release(first);
    await s.caughtUp(4);
    for (const store of [4, 5])
      expect([s.valueOn(store, "k0"), s.valueOn(store, "k19")]).toEqual(["between", "x".repeat(50)]);
    for (const store of [4, 5]) await s.removePeer(store);
    await s.mustSettle();
  });

  it("beyond what a store takes at once are refused before their data, and come later [test_snapshot_receiver_busy]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: { ...SMALL_CHUNKS, snapshotReceivesMax: 1 } });
    await s.putMany("a", 10, "x".repeat(50));
    await s.putMany("p", 10, "x".repeat(50));
    const left = await s.split("m");
    let chunks = 0;
    s.frames = ({ path, bytes }) => {
      const isData = path.endsWith("/Snapshot") && raft_serverpb.SnapshotChunk.decode(bytes).data.length > 0;
      return isData && chunks++ === 0 ? "hold" : "pass";
    };
    await s.mustChange([["addLearner", 4]], left);
    await s.until("one is being received", () => chunks > 1);
    const sent = s.filter(region(s.first).type("snapshot").to(4));
    await s.mustChange([["addLearner", 4]]);
    await s.until("the other was refused", () => sent.hits > 1);
    expect(s.peer(4)?.isInitialized ?? false).toBe(false);
    s.heal();
    await s.caughtUp(4, left);
    await s.caughtUp(4);
    expect([s.valueOn(4, "a9"), s.valueOn(4, "p9")]).toEqual(["x".repeat(50), "x".repeat(50)]);
  });

  it("make room for the next one however they end [test_snapshot_receiver_not_busy_after_precheck_is_complete]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: { ...SMALL_CHUNKS, snapshotReceivesMax: 1 } });
    await s.putMany("a", 10, "x".repeat(50));
    await s.putMany("p", 10, "x".repeat(50));
    const left = await s.split("m");
    const stuck = s.filter(region(left).type("snapshot").to(4).hold().times(1));
    await s.mustChange([["addLearner", 4]], left);
    await s.until("one has begun", () => stuck.hits > 0);
    await s.mustChange([["remove", 4]], left);
    s.cluster.network.reset(s.at(1).node, s.at(4).node);
    await s.addLearner(4);
    expect(s.valueOn(4, "p9")).toBe("x".repeat(50));
    await s.addLearner(4, left);
    expect(s.valueOn(4, "a9")).toBe("x".repeat(50));
  });
});

describe("while a snapshot is on its way", () => {
  /** To store 4; store 5 will want one, too. */
  async function waiting(): Promise<{ s: Script; held: ReturnType<typeof messages> }> {
    const s = await script({ stores: 5, replicas: 3, config: SMALL_CHUNKS });
    await s.putMany("k", 10, "x".repeat(50));
    const held = messages().type("snapshot").to(4).hold();
    s.filter(held);
    await s.mustChange([["addLearner", 4]]);
    await s.until("it is on its way", () => held.hits > 0);
    return { s, held };
  }

  it("its receiver may be removed, and others get theirs [test_remove_peer_after_requesting_snapshot]", async () => {
    const { s, held } = await waiting();
    await s.mustChange([["remove", 4]]);
    await s.addLearner(5);
    expect(s.valueOn(5, "k9")).toBe("x".repeat(50));
    s.release(held);
    await s.gone(4);
    await s.pass(500);
    expect([s.valueOn(4, "k9"), s.chunksOn(4)]).toEqual([undefined, 0]);
  });

  it("its receiver may stop, and others get theirs [test_network_partition_after_requesting_snapshot]", async () => {
    const { s, held } = await waiting();
    s.crash(4);
    s.unfilter(held);
    await s.addLearner(5);
    await s.restart(4);
    await s.caughtUp(4);
    expect([s.valueOn(4, "k9"), s.valueOn(5, "k9")]).toEqual(["x".repeat(50), "x".repeat(50)]);
  });

  it("its sender may cease to lead; the next leader sends its own [test_leader_step_down_after_requesting_snapshot]", async () => {
    const { s, held } = await waiting();
    s.unfilter(held);
    await s.transferLeader(2);
    await s.put("k0", "of the new leader");
    await s.caughtUp(4);
    s.cluster.network.letGo();
    await s.pass(500);
    expect([s.valueOn(4, "k0"), s.leader(), s.chunksOn(4)]).toEqual(["of the new leader", 2, 0]);
    await s.put("k1", "1");
    await s.mustHave(4, "k1", "1");
  });

  it("the log may be cut beyond it: another follows [test_cancel_snapshot_generating]", async () => {
    const { s, held } = await waiting();
    await s.putMany("m", 10);
    await s.compactLog();
    const again = s.filter(messages().type("snapshot").to(4));
    s.release(held);
    await s.caughtUp(4);
    expect([s.valueOn(4, "m9"), again.hits]).toEqual(["9", 1]);
  });
});

describe("a snapshot that comes late", () => {
  it("to the peer it was for changes nothing [test_receive_old_snapshot]", async () => {
    const s = await behind();
    const frames = s.recordSnapshots();
    s.heal();
    await s.caughtUp(3);
    await s.put("k0", "newer");
    await s.mustHave(3, "k0", "newer");
    const peer = s.mustPeer(3);
    const applied = peer.appliedIndex;
    await s.replaySnapshot(3, frames, peer.peerId);
    await s.pass(200);
    expect([s.valueOn(3, "k0"), peer.appliedIndex >= applied, s.chunksOn(3)]).toEqual(["newer", true, 0]);
    await mustEqual(s);
  });

  it("to a peer of a later life of the region changes nothing [test_node_stale_snap]", async () => {
    const s = await behind();
    const frames = s.recordSnapshots();
    s.heal();
    await s.caughtUp(3);
    const old = s.mustPeer(3).peerId;
    await s.removePeer(3);
    await s.put("k0", "newer");
    await s.addVoter(3);
    await s.replaySnapshot(3, frames, old);
    await s.pass(200);
    expect([s.valueOn(3, "k0"), s.mustPeer(3).peerId > old, s.chunksOn(3)]).toEqual(["newer", true, 0]);
    await mustEqual(s);
  });

  it("of a region that has been split since does not overwrite its part, and leaves no chunks [test_overlap_cleanup]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: SMALL_CHUNKS });
    await s.put("a", "old");
    await s.put("p", "old");
    const frames = s.recordSnapshots();
    const lost = s.filter(messages().type("snapshot").to(4).drop());
    await s.mustChange([["addLearner", 4]]);
    await s.until("one was taken", () => lost.hits > 0);
    const whole = frames.slice();
    const peer = s.mustPeer(4).peerId;
    const left = await s.split("m");
    await s.put("a", "new");
    s.unfilter(lost);
    s.filter(region(s.first).type("snapshot").to(4).drop());
    await s.caughtUp(4, left);
    await s.replaySnapshot(4, whole, peer);
    await s.pass(200);
    expect([s.valueOn(4, "a"), s.valueOn(4, "p"), s.mustPeer(4).isInitialized]).toEqual([
      "new",
      undefined,
      false,
    ]);
    expect(s.chunksOn(4)).toBe(0);
    s.heal();
    await s.caughtUp(4);
    expect([s.valueOn(4, "a"), s.valueOn(4, "p")]).toEqual(["new", "old"]);
  });
});

describe("a crash", () => {
  it("in the middle of receiving leaves chunks that the start removes; finished ones are gone already [test_server_snap_gc]", async () => {
    const s = await behind();
    s.heal();
    const late = s.filter(messages().type("append", "heartbeat").to(3));
    await s.until("chunks have arrived", () => s.chunksOn(3) > 2);
    s.crash(3, { keeps: "all" });
    const kept = s.chunksOn(3);
    expect([kept > 0, s.stateOn(3)]).toEqual([true, "normal"]);
    s.isolate(3);
    await s.restart(3);
    await s.until("the start has removed them", () => s.chunksOn(3) === 0, 100);
    s.heal();
    expect(late.hits).toBeGreaterThan(0);
    await mustEqual(s);
  });

  it("while a snapshot is staged or loaded is made good by the next start [test_snapshot_recover_from_raft_write_failure]", async () => {
    for (const keeps of ["none", "all"] as const) {
      const s = await behind();
      s.holdWrites(3, regionStates(s.first));
      s.heal();
      await s.until("the snapshot is being staged", () => s.at(3).disk.heldWrites > 0);
      s.crash(3, { power: true, keeps });
      expect(s.stateOn(3)).toBe(keeps === "all" ? "applying" : "normal");
      s.isolate(3);
      await s.restart(3);
      await s.until("it is normal", () => s.stateOn(3) === "normal");
      if (keeps === "all") expect(s.valueOn(3, "k19")).toBe("x".repeat(50));
      s.heal();
      await mustEqual(s);
    }
  });

  it("while it replaces a longer log of entries that nobody else has is made good, too [test_snapshot_recover_from_raft_write_failure_with_uncommitted_log]", async () => {
    const s = await script({ config: SMALL_CHUNKS });
    await s.transferLeader(3);
    await s.put("k0", "old");
    s.isolate(3);
    for (let i = 0; i < 40; i++) {
      s.sendPut(3, `lost${i}`, "v");
      await s.pass(2);
    }
    const long = s.mustPeer(3).storage.lastIndex();
    await s.until("another leads", () => s.leader() === 1 || s.leader() === 2);
    await s.mustLead(s.leader());
    await s.putMany("k", 20, "x".repeat(50));
    await s.compactLog();
    expect(long).toBeGreaterThan(s.leaderPeer().storage.lastIndex());
    s.holdWrites(3, regionStates(s.first));
    s.heal();
    await s.until("the snapshot is being staged", () => s.at(3).disk.heldWrites > 0);
    s.crash(3, { power: true, keeps: "all" });
    expect(s.stateOn(3)).toBe("applying");
    await s.restart(3);
    await s.caughtUp(3);
    expect(s.logOn(3).every((index) => index > s.truncatedOn(3))).toBe(true);
    expect(s.valueOn(3, "lost0")).toBeUndefined();
    await mustEqual(s);
  });

  it.each([false, true])(
    "or none, a peer removed while it loads a snapshot goes, and its successor comes (crash: %s) [test_destroy_peer_on_pending_snapshot, test_destroy_peer_on_pending_snapshot_and_restart]",
    async (crashes) => {
      const s = await behind();
      const old = s.mustPeer(3).peerId;
      s.heal();
      s.misbehave("a snapshot loads slowly", 1_000);
      await s.until("the snapshot is being loaded", () => s.mustPeer(3).isApplyingSnapshot);
      expect(s.stateOn(3)).toBe("applying");
      await s.mustChange([["remove", 3]]);
      await s.mustChange([["addLearner", 3]]);
      if (crashes) {
        s.crash(3, { power: true });
        await s.restart(3);
      }
      await s.until("the successor is there", () => (s.peer(3)?.peerId ?? 0) > old);
      s.behave();
      await s.caughtUp(3);
      await s.mustChange([["addVoter", 3]]);
      await mustEqual(s);
    },
  );
});
