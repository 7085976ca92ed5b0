/** Reads on followers and learners: never older than what was acknowledged before they were asked. */
import { describe, expect, it } from "vitest";
import { term } from "../../base/index.js";
import { makeMessage } from "../../raft/index.js";
import { epochToProto, peerToProto } from "../../region/region.js";
import { messageToProto } from "../../store/raft-message.js";
import { textOf } from "./script.js";
import { messages, region, type Script, script } from "../test/script.js";

const REPLICA = { replicaRead: true };

describe("a follower", () => {
  it("that has an entry and does not know that it is committed waits [test_replica_read_not_applied]", async () => {
    const s = await script();
    await s.put("k", "old");
    await s.pass(500);
    const next = s.mustPeer(1).storage.lastIndex() + 1;
    const unsaid = s.filter(
      messages()
        .to(3)
        .where(({ raw }) => (raw.message?.commit ?? 0) >= next)
        .drop(),
    );
    await s.put("k", "new");
    const read = s.sendGet(3, "k", REPLICA);
    await s.pass(300);
    expect([read.isDone, s.valueOn(3, "k")]).toEqual([false, "old"]);
    s.unfilter(unsaid);
    expect(textOf(await s.answerTo(read))).toBe("new");
  });

  it("learns of the commit by the next heartbeat, without another write [test_replica_read_on_stale_peer]", async () => {
    const s = await script();
    await s.put("k", "old");
    await s.pass(500);
    const next = s.mustPeer(1).storage.lastIndex() + 1;
    s.filter(
      messages()
        .to(3)
        .type("append")
        .where(({ raw }) => (raw.message?.commit ?? 0) >= next)
        .drop(),
    );
    await s.put("k", "new");
    expect(s.valueOn(3, "k")).toBe("old");
    const before = s.world.nowUs;
    expect(await s.readOn(3, "k", REPLICA)).toBe("new");
    expect((s.world.nowUs - before) / 1_000).toBeLessThan(300);
  });

  it("waits until its own disk has the write [test_wait_for_apply_index]", async () => {
    const s = await script();
    await s.put("k", "old");
    await s.mustHave(3, "k", "old");
    s.holdWrites(3, (operations) => operations.some(({ space }) => space === "default"));
    await s.put("k", "new");
    await s.until("store 3 is applying", () => s.at(3).disk.heldWrites > 0);
    const read = s.sendGet(3, "k", REPLICA);
    await s.pass(300);
    expect(read.isDone).toBe(false);
    s.releaseWrites(3);
    expect(textOf(await s.answerTo(read))).toBe("new");
  });

  it("whose request arrives twice answers once and right [test_duplicate_read_index_ctx]", async () => {
    const s = await script();
    await s.put("k", "1");
    const twice = s.filter(messages().from(3).type("readIndex").duplicate(2));
    const answers = s.filter(messages().to(3).type("readIndexResponse"));
    const reads = [s.sendGet(3, "k", REPLICA), s.sendGet(3, "k", REPLICA)];
    for (const read of reads) expect(textOf(await s.answerTo(read))).toBe("1");
    await s.put("k", "2");
    expect(await s.readOn(3, "k", REPLICA)).toBe("2");
    await s.pass(50);
    expect(twice.hits).toBeGreaterThan(0);
    expect(answers.hits).toBeGreaterThan(twice.hits);
  });

  it("gets all its reads answered when the answers overtake each other, and the peers change [test_read_index_out_of_order]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    const first = s.filter(messages().to(3).type("readIndexResponse").hold().times(1));
    const early = s.sendGet(3, "k", REPLICA);
    await s.until("the first is held", () => first.hits > 0);
    await s.addVoter(4);
    await s.put("k", "2");
    expect(await s.readOn(3, "k", REPLICA)).toBe("2");
    s.release(first);
    expect(["1", "2"]).toContain(textOf(await s.answerTo(early)));
  });

  it("that sends a malformed request spoils nobody's reads [test_malformed_read_index]", async () => {
    const s = await script();
    await s.put("k", "1");
    await s.pass(1_200);
    const [leader, follower] = [s.mustPeer(1), s.mustPeer(3)];
    const from = follower.meta;
    const to = leader.meta;
    if (from === undefined || to === undefined) throw new Error("both are in the region");
    for (const context of [new Uint8Array(0), Uint8Array.of(1), new Uint8Array(40)]) {
      const message = makeMessage({
        type: "MsgReadIndex",
        to: leader.peerId,
        from: follower.peerId,
        term: term(leader.term),
        entries:
          context.length === 0
            ? []
            : [{ type: "EntryNormal", term: term(0), index: 0 as never, data: context }],
      });
      s.inject(1, {
        regionId: s.first,
        fromPeer: peerToProto(from),
        toPeer: peerToProto(to),
        regionEpoch: epochToProto(leader.region.epoch),
        message: messageToProto(message),
        startKey: [],
        endKey: [],
      } as never);
    }
    const reads = [s.sendGet(1, "k"), s.sendGet(3, "k", REPLICA), s.sendGet(2, "k", REPLICA)];
    for (const read of reads) expect(textOf(await s.answerTo(read))).toBe("1");
    await s.put("k", "2");
    expect([await s.readOn(3, "k", REPLICA), s.leader()]).toEqual(["2", 1]);
  });
});

describe("a peer without all its data", () => {
  it("refuses reads before its first snapshot [test_read_before_init]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    const held = s.filter(messages().type("snapshot").to(4).hold());
    await s.mustChange([["addLearner", 4]]);
    await s.until("the peer is there", () => s.peer(4) !== undefined && held.hits > 0);
    const context = { ...REPLICA, regionEpoch: epochToProto(s.region().epoch) };
    const early = await s.answerTo(s.sendGet(4, "k", context));
    expect(early.regionError?.regionNotInitialized).toBeTruthy();
    s.release(held);
    await s.caughtUp(4);
    expect(await s.readOn(4, "k", REPLICA)).toBe("1");
  });

  /** Store 3 is loading a snapshot, slowly. */
  async function loading(): Promise<Script> {
    const s = await script({ config: { snapshotChunkBytesMax: 200 } });
    await s.put("k", "old");
    await s.caughtUp(3);
    s.isolate(3);
    for (let i = 0; i < 20; i++) await s.put(`k${i}`, "x".repeat(50));
    await s.put("k", "new");
    await s.compactLog();
    s.misbehave("a snapshot loads slowly", 1_000);
    s.heal();
    return s;
  }

  it("refuses reads while it loads one [test_read_applying_snapshot]", async () => {
    const s = await loading();
    await s.until("it is loading", () => s.mustPeer(3).isApplyingSnapshot);
    expect((await s.answerTo(s.sendGet(3, "k", REPLICA))).regionError?.serverIsBusy).toBeTruthy();
    s.behave();
    await s.caughtUp(3);
    expect(await s.readOn(3, "k", REPLICA)).toBe("new");
  });

  it("shows nobody the hole between the old data and the new [test_read_after_cleanup_range_for_snap]", async () => {
    const s = await loading();
    const texts = new Set<string>();
    const reads = Array.from({ length: 3 }, () => s.sendGet(3, "k", REPLICA));
    while (s.valueOn(3, "k19") === undefined || s.mustPeer(3).isApplyingSnapshot) {
      reads.push(s.sendGet(3, "k", REPLICA));
      await s.pass(7);
    }
    for (const read of reads) texts.add(textOf(await s.answerTo(read)));
    expect(texts.has("error")).toBe(true);
    texts.delete("error");
    texts.delete("new");
    expect([...texts]).toEqual([]);
  });

  it("because the snapshot does not come refuses or waits, and gives out nothing old [test_replica_read_with_pending_peer]", async () => {
    const s = await loading();
    s.filter(messages().type("snapshot").to(3).drop());
    await s.pass(300);
    const read = s.sendGet(3, "k", REPLICA);
    await s.pass(500);
    expect([s.valueOn(3, "k"), ["no answer", "error"].includes(textOf(read.answer))]).toEqual(["old", true]);
    s.heal();
    s.behave();
    expect(["new", "error"]).toContain(textOf(await s.answerTo(read)));
  });

  it("reads what its successor holds once that has come by a snapshot [test_read_local_after_snapshot_replace_peer]", async () => {
    const s = await script();
    await s.put("k", "1");
    expect(await s.readOn(3, "k", REPLICA)).toBe("1");
    const old = s.mustPeer(3).peerId;
    s.isolate(3);
    await s.mustChange([["remove", 3]]);
    await s.put("k", "2");
    await s.mustChange([["addLearner", 3]]);
    s.heal();
    await s.until("the successor is there", () => (s.peer(3)?.peerId ?? old) > old);
    await s.caughtUp(3);
    expect(await s.readOn(3, "k", REPLICA)).toBe("2");
    await s.put("k", "3");
    expect(await s.readOn(3, "k", REPLICA)).toBe("3");
  });
});

describe("a learner of a region that is split", () => {
  it("knows the new region's leader at once [test_new_split_learner_can_not_find_leader]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.addLearner(4);
    await s.put("a", "1");
    const left = await s.split("m");
    await s.until("it knows its leader", () => (s.peer(4, left)?.leaderId ?? 0) > 0, 60);
    expect(await s.readOn(4, "a", REPLICA, left)).toBe("1");
  });

  it("gets the new region's peer when it is back, though nobody writes [test_split_isolation]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("a", "1");
    await s.addLearner(4);
    s.isolate(4);
    const left = await s.split("m");
    await s.compactLog();
    await s.pass(2_000);
    expect(s.peer(4, left)).toBeUndefined();
    s.heal();
    await s.caughtUp(4, left);
    await s.caughtUp(4);
    expect([s.regionsOn(4), await s.readOn(4, "a", REPLICA, left)]).toEqual([[left, s.first], "1"]);
    expect(s.filter(region(left).type("snapshot")).hits).toBe(0);
  });
});
