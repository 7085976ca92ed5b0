/** Reads on the leader: when the lease allows them, when a quorum is asked, and what a former leader answers. */
import { describe, expect, it } from "vitest";
import type { Filter } from "./filter.js";
import { textOf } from "./script.js";
import { messages, type Script, script } from "../test/script.js";

/** Heartbeats that ask for a read's confirmation. */
const rounds = (s: Script): Filter =>
  s.filter(
    messages()
      .type("heartbeat")
      .where(({ raw }) => (raw.message?.context?.length ?? 0) > 0),
  );

describe("a lease", () => {
  it("of a single replica serves reads without an entry, as long as it likes [test_one_node_renew_lease]", async () => {
    const s = await script({ stores: 1 });
    await s.put("k", "v");
    const last = s.mustPeer(1).storage.lastIndex();
    for (let i = 0; i < 8; i++) {
      expect(await s.readOn(1, "k")).toBe("v");
      await s.pass(400);
    }
    expect(s.mustPeer(1).storage.lastIndex()).toBe(last);
  });

  it("serves reads alone; when it is over one round renews it [test_node_renew_lease]", async () => {
    const s = await script();
    await s.put("k", "v");
    const asked = rounds(s);
    expect([await s.readOn(1, "k"), asked.hits]).toEqual(["v", 0]);
    await s.pass(1_200);
    expect(await s.readOn(1, "k")).toBe("v");
    const once = asked.hits;
    expect(once).toBeGreaterThan(0);
    for (let i = 0; i < 3; i++) expect(await s.readOn(1, "k")).toBe("v");
    expect(asked.hits).toBe(once);
  });

  it("is renewed before its end while reads go on, none of which waits [test_node_local_read_renew_lease]", async () => {
    const s = await script();
    await s.put("k", "v");
    const asked = rounds(s);
    for (let i = 0; i < 25; i++) {
      const before = s.world.nowUs;
      expect(await s.readOn(1, "k")).toBe("v");
      // No round to the others and back.
      expect(s.world.nowUs - before).toBeLessThan(150);
      await s.pass(100);
    }
    expect(asked.hits).toBeGreaterThan(4);
    expect(asked.hits).toBeLessThan(25);
  });

  it("that is over lets a leader without followers answer nothing [test_node_lease_expired]", async () => {
    const s = await script();
    await s.put("k", "old");
    s.isolate(1);
    await s.until("another leads", () => s.leader() > 1);
    await s.put("k", "new");
    const read = s.sendGet(1, "k");
    await s.pass(100);
    expect(["no answer", "error"]).toContain(textOf(read.answer));
    s.heal();
    expect(textOf(await s.answerTo(read))).toBe("error");
  });

  it("is of no use from the moment another may be elected at the leader's own word [test_node_lease_unsafe_during_leader_transfers]", async () => {
    const s = await script();
    await s.put("k", "old");
    const orders = s.filter(messages().type("timeoutNow").hold());
    const asked = rounds(s);
    expect(await s.readOn(1, "k")).toBe("old");
    expect(asked.hits).toBe(0);
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.until("the order is on its way", () => orders.hits > 0);
    expect(await s.readOn(1, "k")).toBe("old");
    expect(asked.hits).toBeGreaterThan(0);
    s.release(orders);
    await s.mustLead(2);
    await s.put("k", "new");
    expect(await s.readOn(2, "k")).toBe("new");
  });

  it("is of no use either after that order seemed to be lost: it may still arrive", async () => {
    const s = await script();
    const orders = s.filter(messages().type("timeoutNow").hold());
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.pass(1_300);
    await s.put("k", "old");
    expect([orders.hits > 0, s.leader()]).toEqual([true, 1]);
    s.partition([1], [2, 3]);
    s.release(orders);
    await s.until("store 2 leads", () => s.mustPeer(2).isLeader, 300);
    await s.until("it may write", () => s.mustPeer(2).storage.applyState.appliedTerm === s.mustPeer(2).term);
    await s.answerTo(s.sendPut(2, "k", "new"), 300);
    const read = s.sendGet(1, "k");
    await s.pass(20);
    expect(["no answer", "error"]).toContain(textOf(read.answer));
  });

  it("is not broken by followers that forget in a restart whom they followed [test_node_lease_restart_during_isolation]", async () => {
    const s = await script();
    await s.put("k", "old");
    const confirmedUs = s.world.nowUs;
    s.isolate(1);
    for (const store of [2, 3]) s.crash(store, { power: true });
    for (const store of [2, 3]) await s.restart(store);
    expect(await s.readOn(1, "k")).toBe("old");
    await s.until("another leads", () => s.leader() > 1);
    expect((s.world.nowUs - confirmedUs) / 1_000).toBeGreaterThan(800);
    const read = s.sendGet(1, "k");
    await s.pass(100);
    expect(["no answer", "error"]).toContain(textOf(read.answer));
  });

  it("that runs out between the look at it and the data is not used [test_consistency_after_lease_pass]", async () => {
    const s = await script();
    await s.put("k", "old");
    s.at(1).node.turnUs = 5_000;
    const read = s.sendGet(1, "k");
    await s.pass(1);
    // The read has passed the look at the lease; its turn comes when the process goes on.
    s.pause(1);
    await s.until("another leads", () => [2, 3].some((store) => s.mustPeer(store).isLeader));
    const leader = [2, 3].find((store) => s.mustPeer(store).isLeader) ?? 0;
    await s.until(
      "it may write",
      () => s.mustPeer(leader).storage.applyState.appliedTerm === s.mustPeer(leader).term,
    );
    await s.answerTo(s.sendPut(leader, "k", "new"));
    expect(read.isDone).toBe(false);
    s.resume(1);
    expect(["new", "error"]).toContain(textOf(await s.answerTo(read)));
  });
});

describe("a read that waits for its confirmation", () => {
  /** On store 1, whose lease is over; what the others answer is held. */
  async function waiting(): Promise<{ s: Script; read: ReturnType<Script["sendGet"]>; answers: Filter }> {
    const s = await script();
    await s.put("k", "old");
    await s.pass(1_200);
    const answers = s.filter(messages().to(1).type("heartbeatResponse").hold());
    const read = s.sendGet(1, "k");
    await s.until("the others have answered", () =>
      answers.held.some(({ raw }) => (raw.message?.context?.length ?? 0) > 0),
    );
    return { s, read, answers };
  }

  it("is not confirmed by what was said before the leader moved [test_read_index_stale_in_suspect_lease, test_read_index_when_transfer_leader_2]", async () => {
    const { s, read, answers } = await waiting();
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.mustLead(2);
    await s.put("k", "new");
    s.release(answers);
    expect(["new", "error"]).toContain(textOf(await s.answerTo(read)));
    await s.transferLeader(1);
    expect(await s.readOn(1, "k")).toBe("new");
  });

  it("is answered when its leader ceases to be one, in the moment of the confirmation [test_not_leader_read_lease]", async () => {
    const { s, read, answers } = await waiting();
    const away = s.isolate(1);
    await s.until("another leads", () => s.leader() > 1);
    await s.put("k", "new");
    s.unfilter(away);
    s.release(answers);
    expect(textOf(await s.answerTo(read))).toBe("error");
  });

  it("is answered when nobody confirms it and the leader steps down [test_lease_read_callback_destroy]", async () => {
    const { s, read } = await waiting();
    s.isolate(1);
    await s.until("the leader has stepped down", () => !s.mustPeer(1).isLeader);
    expect(textOf(await s.answerTo(read, 100))).toBe("error");
  });

  it("is answered when its region is destroyed [test_node_callback_when_destroyed]", async () => {
    const s = await script();
    await s.put("k", "old");
    s.filter(messages().from(3).type("readIndex").drop());
    const read = s.sendGet(3, "k", { replicaRead: true });
    await s.pass(50);
    expect(read.isDone).toBe(false);
    await s.removePeer(3);
    expect((await s.answerTo(read)).regionError?.regionNotFound).toBeTruthy();
  });
});

describe("a read", () => {
  it("behind a write that is committed and not applied waits for it [test_read_index_after_write]", async () => {
    const s = await script();
    await s.put("k", "old");
    s.holdWrites(1, (operations) => operations.some(({ space }) => space === "default"));
    const write = s.sendPut(1, "k", "new");
    await s.until("the write is being applied", () => s.at(1).disk.heldWrites > 0);
    const read = s.sendGet(1, "k");
    await s.pass(200);
    // The writer is answered when the entry is committed; who reads waits until it is applied.
    expect([write.isDone, read.isDone]).toEqual([true, false]);
    s.releaseWrites(1);
    expect(textOf(await s.answerTo(read))).toBe("new");
  });

  it("on a leader that went, came again and leads again finds what was written meanwhile [test_local_read_cache]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    expect(await s.readOn(1, "k")).toBe("1");
    await s.transferLeader(2);
    await s.caughtUp(3);
    await s.addVoter(4);
    await s.removePeer(1);
    await s.put("k", "2");
    await s.addVoter(1);
    await s.transferLeader(1);
    expect(await s.readOn(1, "k")).toBe("2");
  });

  it("on a peer that was destroyed is an error, whatever it held [test_read_after_peer_destroyed]", async () => {
    const s = await script();
    await s.put("k", "1");
    await s.transferLeader(2);
    await s.caughtUp(3);
    const reads = [s.context(3)];
    await s.removePeer(3);
    const { node, store } = s.at(3);
    for (const replicaRead of [false, true]) {
      let found: unknown;
      node.after(0, "read", () => {
        const context = { ...reads[0], replicaRead };
        store?.raw.get({ key: Uint8Array.of(107), context }, (response) => {
          found = response.regionError?.regionNotFound;
        });
      });
      await s.pass(20);
      expect(found).toMatchObject({ regionId: s.first });
    }
  });
});

describe("a new leader that does not know yet what is committed", () => {
  /** Store 2 leads; a committed write is in its log, and it cannot commit an entry of its own. */
  async function unsure(): Promise<{ s: Script; acks: Filter }> {
    const s = await script();
    await s.put("k", "old");
    const next = s.mustPeer(1).storage.lastIndex() + 1;
    const unsaid = s.filter(
      messages()
        .from(1)
        .to(2, 3)
        .where(({ raw }) => (raw.message?.commit ?? 0) >= next)
        .drop(),
    );
    await s.put("k", "new");
    const acks = s.filter(messages().to(2).type("appendResponse").hold());
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.until("store 2 leads", () => s.mustPeer(2).isLeader);
    await s.until("store 3 follows", () => s.mustPeer(3).leaderId === s.mustPeer(2).peerId);
    s.unfilter(unsaid);
    return { s, acks };
  }

  it("gives a follower no index before it knows [test_replica_read_after_transfer_leader]", async () => {
    const { s, acks } = await unsure();
    const read = s.sendGet(3, "k", { replicaRead: true });
    await s.pass(500);
    expect([read.isDone, s.valueOn(3, "k")]).toEqual([false, "old"]);
    s.release(acks);
    expect(textOf(await s.answerTo(read))).toBe("new");
  });

  it("serves all reads of itself and of others from the same moment on [test_read_index_after_transfer_leader, test_batch_read_index_after_transfer_leader]", async () => {
    const { s, acks } = await unsure();
    const reads = [0, 1, 2, 3, 4].flatMap(() => [
      s.sendGet(2, "k"),
      s.sendGet(2, "k", { replicaRead: true }),
      s.sendGet(3, "k", { replicaRead: true }),
    ]);
    await s.pass(300);
    expect(reads.some(({ isDone }) => isDone)).toBe(false);
    s.release(acks);
    for (const read of reads) expect(textOf(await s.answerTo(read))).toBe("new");
  });
});
