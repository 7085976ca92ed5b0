/** Peers that come and go, one at a time: by hand, by PD, across partitions and crashes. */
import { describe, expect, it } from "vitest";
import { logIndex } from "../../base/index.js";
import { messages, region, type Script, script } from "../test/script.js";

const confVer = (s: Script, store: number): number => s.mustPeer(store).region.epoch.confVer;

describe("one change at a time", () => {
  it("brings the data along, and under an old epoch is refused [test_server_simple_conf_change]", async () => {
    const s = await script({ stores: 4, replicas: 1 });
    await s.put("k", "1");
    const old = s.region().epoch;
    const again = { kind: "changePeer", changes: [s.change("addVoter", 2)] } as const;
    await s.addVoter(2);
    await s.mustHave(2, "k", "1");
    let error: unknown;
    s.leaderPeer().admin(old, again, (refusal) => {
      error = refusal;
    });
    await s.until("the repeated change is answered", () => error !== undefined);
    expect(error).toMatchObject({ epochNotMatch: { currentRegions: [{ regionEpoch: { confVer: 2 } }] } });
    expect((await s.tryChange([["addVoter", 2]]))?.message).toContain("voter already");
    await s.addVoter(3);
    await s.put("k", "2");
    await s.removePeer(2);
    expect([s.valueOn(2, "k"), confVer(s, 1), s.roles()]).toEqual([undefined, 4, { 1: "voter", 3: "voter" }]);
    await s.mustHave(3, "k", "2");
    await s.mustSettle(2);
  });

  it("is made of PD's orders, which come with the answers to heartbeats [test_pd_conf_change]", async () => {
    const s = await script({ stores: 4, replicas: 1 });
    await s.put("k", "1");
    await s.mustOperator("add-peer", { store_id: s.storeId(2) });
    await s.until("a voter on store 2", () => s.roles()[2] === "voter");
    await s.mustHave(2, "k", "1");
    await s.until("PD is done", () => s.pd.scheduling.controller.operators().length === 0);
    await s.mustOperator("add-learner", { store_id: s.storeId(3) });
    await s.until("a learner on store 3", () => s.roles()[3] === "learner");
    await s.until("PD is done", () => s.pd.scheduling.controller.operators().length === 0);
    await s.mustOperator("remove-peer", { store_id: s.storeId(2) });
    await s.gone(2);
    expect(s.roles()).toEqual({ 1: "voter", 3: "learner" });
    expect(s.pd.cluster.regions.byId(s.first)?.meta.peers).toHaveLength(2);
  });

  it("follows PD's count of replicas: one too many goes, one too few comes [test_auto_adjust_replica]", async () => {
    const s = await script({ stores: 5, replicas: 3, schedules: true });
    await s.put("k", "1");
    await s.mustSettle(3);
    const free = [1, 2, 3, 4, 5].filter((store) => s.peer(store) === undefined);
    await s.mustChange([["addVoter", free[0] as number]]);
    await s.until("PD has removed one", () => Object.keys(s.roles()).length === 3, 20_000);
    await s.mustSettle(3);
    // Above the ids that the script gave away: a store takes no peer of a lower id than one that it buried.
    let isAbove = false;
    s.pd.cluster.context.ids.allocate(6_000, () => {
      isAbove = true;
    });
    await s.until("PD's ids are above", () => isAbove);
    const victim = [1, 2, 3, 4, 5].find((store) => s.peer(store) !== undefined && store !== s.leader()) ?? 0;
    await s.mustChange([["remove", victim]]);
    await s.until("PD has added one", () => Object.keys(s.roles()).length === 3, 20_000);
    await s.mustSettle(3);
    expect(await s.get("k")).toBe("1");
  });

  it("does not wait for a heartbeat to begin on its new store [test_conf_change_fast]", async () => {
    const slow = { raftHeartbeatTicks: 20, raftElectionTicks: 50 };
    const s = await script({ stores: 2, replicas: 1, config: slow });
    const before = s.world.nowUs;
    await s.addVoter(2);
    // A heartbeat comes every two seconds.
    expect((s.world.nowUs - before) / 1_000).toBeLessThan(200);
  });

  it("does not take out or demote the leader itself [test_conf_change_remove_leader]", async () => {
    const s = await script();
    for (const change of ["remove", "addLearner"] as const) {
      expect((await s.tryChange([[change, 1]]))?.message).toContain("transfer leadership first");
    }
    await s.transferLeader(2);
    await s.caughtUp(3);
    await s.removePeer(1);
    expect(s.roles()).toEqual({ 2: "voter", 3: "voter" });
  });
});

describe("learners", () => {
  it("are filled, do not count in a quorum, and count once promoted [test_node_learner_conf_change]", async () => {
    const s = await script({ stores: 4, replicas: 2 });
    await s.put("k", "1");
    await s.addLearner(3);
    await s.mustHave(3, "k", "1");
    const away = s.isolate(2);
    const write = s.sendPut(1, "k", "2");
    await s.pass(300);
    // One voter and one learner are no majority of two voters.
    expect([write.isDone, s.match(3) > s.mustPeer(1).appliedIndex]).toEqual([false, true]);
    s.unfilter(away);
    await s.answerTo(write);
    await s.mustChange([["addVoter", 3]]);
    s.isolate(2);
    await s.put("k", "3");
    expect(s.roles()).toEqual({ 1: "voter", 2: "voter", 3: "voter" });
    s.heal();
    await s.mustChange([["addLearner", 3]]);
    await s.removePeer(3);
    await s.mustSettle(2);
  });

  it("are pending until their snapshot is there, and may be promoted by one [test_learner_with_slow_snapshot]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    const reports = s.watchHeartbeats();
    const slow = s.filter(region(s.first).type("snapshot").to(4).hold());
    await s.mustChange([["addLearner", 4]]);
    const pending = (): readonly number[] => (reports.at(-1)?.pendingPeers ?? []).map((peer) => peer.storeId);
    await s.until("PD hears of a pending peer", () => pending().includes(s.storeId(4)));
    expect(s.valueOn(4, "k")).toBeUndefined();
    s.release(slow);
    await s.caughtUp(4);
    await s.until("PD hears that it is not pending any more", () => pending().length === 0);
    // Now it hears of its promotion by a snapshot alone.
    const away = s.isolate(4);
    await s.mustChange([["addVoter", 4]]);
    await s.put("k", "2");
    await s.compactLog();
    s.unfilter(away);
    const snapshots = s.filter(messages().type("snapshot").to(4));
    await s.caughtUp(4);
    expect([snapshots.hits, s.mustPeer(4).meta?.role, s.valueOn(4, "k")]).toEqual([1, "voter", "2"]);
  });
});

describe("who was away while it was replaced", () => {
  it("learns from those it asks for votes that it is removed, and goes [test_node_stale_peer]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    await s.mustHave(3, "k", "1");
    s.isolate(3);
    await s.mustChange([["remove", 3]]);
    await s.addVoter(4);
    await s.put("k", "2");
    expect(s.valueOn(3, "k")).toBe("1");
    s.heal();
    await s.gone(3);
    await s.mustLack(3, "k");
    expect(s.stateOn(3)).toBe("tombstone");
    await s.mustSettle(3);
  });

  it("makes no second quorum with others who were replaced [test_split_brain]", async () => {
    const s = await script({ stores: 6, replicas: 3 });
    await s.put("k", "old");
    await s.transferLeader(2);
    s.isolate(1);
    await s.addLearner(4);
    await s.mustChange([["remove", 1]]);
    await s.addVoter(4);
    await s.addVoter(5);
    await s.addVoter(6);
    await s.transferLeader(4);
    await s.removePeer(2);
    await s.removePeer(3);
    await s.put("k", "new");
    s.heal();
    // The old three see only each other.
    s.partition([1, 2, 3], [4, 5, 6]);
    for (const store of [2, 3]) {
      s.crash(store);
      await s.restart(store);
    }
    await s.always("nobody of the old three leads", () => s.peer(1)?.isLeader !== true, 4_000);
    await s.gone(1);
    for (const store of [1, 2, 3])
      expect([s.peer(store), s.valueOn(store, "k")]).toEqual([undefined, undefined]);
    expect(await s.get("k")).toBe("new");
    await s.mustSettle(3);
  });

  it("and leads by votes of those who did not know is removed by its own log [test_after_remove_itself]", async () => {
    const s = await script();
    await s.put("k", "1");
    // The removal of store 2 and a cut of the log reach everybody; that they are committed reaches nobody.
    const acks = s.filter(messages().to(1).type("appendResponse").drop());
    s.sendChange([["remove", 2]]);
    await s.pass(5);
    const peer = s.mustPeer(1);
    const { appliedIndex, appliedTerm } = peer.storage.applyState;
    peer.admin(
      peer.region.epoch,
      { kind: "compactLog", index: logIndex(appliedIndex), term: appliedTerm },
      () => {},
    );
    const last = peer.storage.lastIndex() + 1;
    await s.until("stores 2 and 3 have both", () =>
      [2, 3].every((store) => s.mustPeer(store).storage.lastIndex() >= last),
    );
    s.crash(1);
    s.unfilter(acks);
    s.filter(messages().from(3).type("preVote").drop());
    await s.until("store 2 leads by its own log", () => s.mustPeer(2).isLeader);
    await s.gone(2);
    expect([s.stateOn(2), s.valueOn(2, "k")]).toEqual(["tombstone", undefined]);
    s.heal();
    await s.restart(1);
    expect(await s.get("k")).toBe("1");
    await s.mustSettle(2);
  });
});

describe("a change that would put the group at risk", () => {
  it("is refused while a quorum after it would wait for a snapshot, and allowed after healing [test_conf_change_safe]", async () => {
    const s = await script({ stores: 5, replicas: 3 });
    const away = s.isolate(3);
    await s.putMany("k", 5);
    await s.compactLog();
    expect((await s.tryChange([["addVoter", 4]]))?.message).toContain("wait for a snapshot");
    expect(s.roles()[4]).toBeUndefined();
    await s.addLearner(4);
    expect(await s.tryChange([["addVoter", 4]])).toBeUndefined();
    s.unfilter(away);
    await s.caughtUp(3);
    await s.addVoter(5);
    await s.mustSettle(5);
  });

  it("as taking out a healthy peer while another is cut off is refused; taking out that one is not [test_remove_node_on_partition]", async () => {
    const s = await script();
    s.isolate(3);
    await s.putMany("k", 5);
    await s.compactLog();
    expect((await s.tryChange([["remove", 2]]))?.message).toContain("wait for a snapshot");
    expect(await s.tryChange([["remove", 3]])).toBeUndefined();
    await s.put("k", "after");
    s.heal();
    await s.gone(3);
    await s.mustSettle(2);
  });

  it("is no transfer to one that lags, is a stranger, or was removed [test_transfer_leader_safe]", async () => {
    const s = await script({ stores: 4, replicas: 3, config: { leaderTransferLogLagMax: 5 } });
    const away = s.isolate(3);
    await s.putMany("k", 10);
    const term = s.mustPeer(1).term;
    expect(s.tryTransferLeader(3)).toContain("lags by");
    expect(s.tryTransferLeader(4)).toContain("not a voter");
    s.unfilter(away);
    await s.caughtUp(3);
    await s.mustChange([["remove", 3]]);
    expect(s.tryTransferLeader(3)).toContain("not a voter");
    await s.pass(2_000);
    expect([s.leader(), s.mustPeer(1).term]).toEqual([1, term]);
    await s.transferLeader(2);
    await s.put("k", "by store 2");
  });
});

describe("a peer that is destroyed", () => {
  it("serves no read on the lease it had [test_destroy_local_reader]", async () => {
    const s = await script();
    await s.put("k", "1");
    expect(await s.readOn(1, "k")).toBe("1");
    const context = s.context(1);
    await s.transferLeader(2);
    await s.caughtUp(3);
    await s.removePeer(1);
    await s.put("k", "2");
    const { node, store } = s.at(1);
    let answer: { regionError?: { regionNotFound?: unknown } | null } | undefined;
    node.after(0, "read", () => {
      store?.raw.get({ key: Uint8Array.of(107), context }, (response) => {
        answer = response as typeof answer;
      });
    });
    await s.until("the read is answered", () => answer !== undefined);
    expect(answer?.regionError?.regionNotFound).toBeTruthy();
  });

  it("answers the writers that it kept waiting, and never with success [test_write_after_destroy]", async () => {
    const s = await script();
    await s.put("k", "1");
    await s.transferLeader(3);
    s.filter(messages().from(3).type("append").drop());
    const write = s.sendPut(3, "k", "lost");
    await s.pass(50);
    s.isolate(3);
    await s.until("another leads", () => s.leader() === 1 || s.leader() === 2);
    await s.mustLead(s.leader());
    await s.mustChange([["remove", 3]]);
    s.heal();
    await s.gone(3);
    expect((await s.answerTo(write)).regionError).toBeTruthy();
    expect([s.valueOn(1, "k"), s.valueOn(3, "k")]).toEqual(["1", undefined]);
  });

  it("does nothing on ticks that come before its tombstone is written [test_tick_after_destroy]", async () => {
    const s = await script();
    await s.put("k", "1");
    s.isolate(3);
    await s.mustChange([["remove", 3]]);
    s.heal();
    const peer = s.mustPeer(3);
    s.holdWrites(3);
    await s.until("the destruction has begun", () => peer.isRemoved);
    const term = peer.term;
    const sent = s.filter(region(s.first).from(3));
    await s.pass(3_000);
    expect([sent.hits, peer.term, s.peer(3)]).toEqual([0, term, peer]);
    s.releaseWrites(3);
    await s.gone(3);
    await s.mustSettle(2);
  });
});

describe("a change in the log", () => {
  it("that a snapshot has brought already has no second effect [test_redundant_conf_change_by_snapshot]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    await s.put("k", "1");
    const entries = s.filter(messages().from(1).to(3).type("append").hold());
    const beats = s.filter(messages().from(1).to(3).type("heartbeat").drop());
    await s.addVoter(4);
    await s.put("k", "2");
    await s.compactLog();
    s.unfilter(beats);
    const late = [...entries.held];
    s.unfilter(entries);
    await s.until("a snapshot has told store 3 of store 4", () => s.mustPeer(3).region.peers.length === 4);
    expect(late.length).toBeGreaterThan(0);
    for (const { raw } of late) s.inject(3, raw);
    await s.put("k", "3");
    await s.mustHave(3, "k", "3");
    expect([confVer(s, 3), s.mustPeer(3).region.peers]).toEqual([confVer(s, 1), s.region().peers]);
    await s.mustSettle(4);
  });

  it("that is applied in a later turn than its neighbours takes effect once [test_handle_conf_change_when_apply_fsm_resume_pending_state]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    const held = s.filter(messages().from(1).type("append").hold());
    s.misbehave("a write is an entry of its own", 6);
    const writes = [0, 1, 2].map((i) => s.sendPut(1, `a${i}`, "v"));
    await s.pass(1);
    const before = confVer(s, 1);
    const change = s.sendChange([["addLearner", 4]]);
    const more = [0, 1, 2].map((i) => s.sendPut(1, `b${i}`, "v"));
    await s.pass(1);
    s.misbehave("entries are applied one by one", 1_000);
    s.release(held);
    expect((await s.answerTo(change)).error).toBeUndefined();
    for (const write of [...writes, ...more])
      expect((await s.answerTo(write)).regionError ?? null).toBeNull();
    s.behave();
    await s.caughtUp(4);
    for (const store of [1, 2, 3, 4]) expect(confVer(s, store)).toBe(before + 1);
    for (const store of [1, 2, 3, 4]) await s.mustHave(store, "b2", "v");
  });
});
