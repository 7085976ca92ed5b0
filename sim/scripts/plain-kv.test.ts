/** Plain reads and writes while messages, processes and leaders come and go. Names in brackets are TiKV's. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../base/index.js";
import { messages, type Script, script } from "../test/script.js";

const KEYS = Array.from({ length: 12 }, (_, i) => `k${i}`);

async function writeAll(s: Script, value: string): Promise<void> {
  for (const key of KEYS) await s.put(key, `${key} ${value}`);
}
async function readAll(s: Script, value: string): Promise<void> {
  for (const key of KEYS) expect(await s.get(key)).toBe(`${key} ${value}`);
}

describe("one store", () => {
  it("serves puts, overwrites and scans in key order [test_put]", async () => {
    const s = await script({ stores: 1 });
    await writeAll(s, "old");
    await writeAll(s, "new");
    await readAll(s, "new");
    const found: string[] = [];
    const scan = async (): Promise<void> => {
      for await (const { key } of s.client().scan({ start: utf8("k1"), end: utf8("k3") }))
        found.push(fromUtf8(key));
    };
    await s.settled(scan());
    expect(found).toEqual(["k1", "k10", "k11", "k2"]);
  });

  it("finds nothing after a delete, which may be repeated [test_delete]", async () => {
    const s = await script({ stores: 1 });
    await s.put("k", "v");
    await s.delete("k");
    await s.delete("k");
    expect(await s.get("k")).toBeUndefined();
    expect(s.valueOn(1, "k")).toBeUndefined();
  });

  it("refuses a request that names another store [test_wrong_store_id]", async () => {
    const s = await script({ stores: 1 });
    const peer = { id: s.mustPeer(1).peerId, storeId: 77 };
    const { regionError } = await s.answerTo(s.sendGet(1, "k", { peer }));
    expect(regionError?.storeNotMatch).toMatchObject({ requestStoreId: 77, actualStoreId: s.storeId(1) });
  });

  it("refuses an entry above raft-entry-max-size and stays usable [test_put_large_entry]", async () => {
    const s = await script({ stores: 1, config: { raftEntryBytesMax: 4_096, proposalBytesMax: 2_048 } });
    const large = await s.answerTo(s.sendPut(1, "k", "x".repeat(5_000)));
    expect(large.regionError?.raftEntryTooLarge?.regionId).toBe(s.first);
    expect(s.valueOn(1, "k")).toBeUndefined();
    await s.put("k", "small");
    expect(await s.get("k")).toBe("small");
  });
});

describe("three stores", () => {
  it("serve puts, gets and deletes of every client [test_multi_node_base, test_multi_server_base]", async () => {
    const s = await script({ clients: 2 });
    await writeAll(s, "v");
    for (const key of KEYS) expect(await s.settled(s.client(2).get(utf8(key)))).toEqual(utf8(`${key} v`));
    await s.settled(s.client(2).delete(utf8("k3")));
    expect(await s.get("k3")).toBeUndefined();
    await s.mustSettle();
    for (const store of [1, 2, 3])
      expect([s.valueOn(store, "k3"), s.valueOn(store, "k4")]).toEqual([undefined, "k4 v"]);
  });

  it("serve over links on which every message takes long [test_multi_node_latency]", async () => {
    const s = await script();
    const slow = s.filter(messages().delay(30));
    await writeAll(s, "v");
    await readAll(s, "v");
    expect(slow.hits).toBeGreaterThan(2 * KEYS.length);
    await s.mustSettle();
  });

  it("serve over links on which messages overtake each other [test_multi_node_random_latency]", async () => {
    const s = await script({ network: { latencyUs: 500, jitterUs: 20_000, raftReorderPerMillion: 400_000 } });
    await writeAll(s, "v");
    await readAll(s, "v");
    await s.mustSettle();
    for (const store of [1, 2, 3]) expect(s.valueOn(store, "k11")).toBe("k11 v");
  });

  it("serve over links that lose every fifth message [test_multi_node_drop_packet]", async () => {
    const s = await script({ network: { raftDropPerMillion: 200_000 } });
    await writeAll(s, "v");
    await readAll(s, "v");
    s.cluster.network.knobs.raftDropPerMillion = 0;
    await s.mustSettle();
    for (const store of [1, 2, 3]) expect(s.valueOn(store, "k11")).toBe("k11 v");
  });

  it("go on without a leader that crashed, which catches up when it is back [test_multi_node_leader_crash]", async () => {
    const s = await script();
    await s.put("a", "1");
    s.crash(1);
    await s.put("a", "2");
    await s.put("b", "2");
    expect(s.leader()).not.toBe(1);
    await s.restart(1);
    await s.mustHave(1, "a", "2");
    await s.mustHave(1, "b", "2");
    await s.mustSettle();
  });

  it("keep everything acknowledged when all restart [test_multi_node_cluster_restart]", async () => {
    const s = await script();
    await writeAll(s, "v");
    for (const store of [1, 2, 3]) s.crash(store, { power: true, keeps: "none" });
    for (const store of [1, 2, 3]) await s.restart(store);
    await readAll(s, "v");
    await s.put("k0", "after");
    expect(await s.get("k0")).toBe("after");
  });

  it("stop without a majority, and go on with the same data when it is back [test_multi_node_lost_majority]", async () => {
    const s = await script({ stores: 5 });
    await s.addVoter(4);
    await s.addVoter(5);
    await s.put("k", "1");
    for (const store of [3, 4, 5]) s.crash(store);
    const write = s.sendPut(1, "k", "2");
    await s.pass(3_000);
    const isAcknowledged = write.answer !== undefined && write.answer.regionError == null;
    expect(isAcknowledged).toBe(false);
    expect(s.leader()).toBe(0);
    for (const store of [3, 4, 5]) await s.restart(store);
    await s.put("k", "3");
    expect(await s.get("k")).toBe("3");
    await s.mustSettle(5);
  });

  it("lose nothing when one after the other restarts under writes [test_multi_node_random_restart]", async () => {
    const s = await script();
    for (const [i, store] of [2, 1, 3, 1, 2].entries()) {
      s.crash(store, { power: i % 2 === 0 });
      await s.put(`k${i}`, "while one is down");
      await s.restart(store);
      await s.put(`m${i}`, "after");
    }
    for (let i = 0; i < 5; i++) {
      expect(await s.get(`k${i}`)).toBe("while one is down");
      expect(await s.get(`m${i}`)).toBe("after");
    }
    await s.mustSettle();
  });

  it("take up a follower that lags by many messages within a second [test_node_catch_up_logs]", async () => {
    const s = await script({ config: { raftInflightMessagesMax: 3, raftMessageBytesMax: 200 } });
    const away = s.isolate(3);
    await s.putMany("k", 60);
    s.unfilter(away);
    const snapshots = s.filter(messages().type("snapshot"));
    await s.until("store 3 has all", () => s.valueOn(3, "k59") === "59", 1_000);
    expect(snapshots.hits).toBe(0);
  });

  it("make few entries of many writes of one moment, each of which is answered [test_server_batch_write]", async () => {
    const s = await script();
    const before = s.mustPeer(1).storage.lastIndex();
    const writes = Array.from({ length: 60 }, (_, i) => s.sendPut(1, `k${i}`, "v"));
    for (const write of writes) expect((await s.answerTo(write)).regionError ?? undefined).toBeUndefined();
    expect(s.mustPeer(1).storage.lastIndex() - before).toBeLessThan(10);
    for (let i = 0; i < 60; i++) expect(s.valueOn(1, `k${i}`)).toBe("v");
  });

  it("accept writes on the side of the majority only, and agree after healing [test_node_partition_write]", async () => {
    const s = await script({ stores: 5, replicas: 5 });
    await s.put("k", "1");
    for (const store of [4, 5]) await s.mustHave(store, "k", "1");
    const minority = s.partition([1, 2, 3], [4, 5]);
    await s.put("k", "2");
    expect([s.valueOn(4, "k"), s.valueOn(5, "k")]).toEqual(["1", "1"]);
    s.unfilter(minority);
    await s.mustHave(5, "k", "2");
    s.partition([1, 2], [3, 4, 5]);
    const refused = s.sendPut(1, "k", "lost");
    await s.until("the majority has a leader", () => s.leader() >= 3);
    const accepted = await s.answerTo(s.sendPut(await s.mustLeader(), "k", "3"));
    expect(accepted.regionError ?? undefined).toBeUndefined();
    s.heal();
    expect((await s.answerTo(refused)).regionError).toBeTruthy();
    await s.mustSettle(5);
    for (const store of [1, 2, 3, 4, 5]) expect(s.valueOn(store, "k")).toBe("3");
  });
});

describe("entries that were not committed when the leader changed", () => {
  /** Store 1 has proposed what nobody else has heard of; store 2 or 3 leads. */
  async function deposed(writes: number): Promise<{ s: Script; lost: ReturnType<Script["sendPut"]>[] }> {
    const s = await script();
    await s.put("k", "old");
    const before = s.mustPeer(1).storage.lastIndex();
    s.isolate(1);
    const lost: ReturnType<Script["sendPut"]>[] = [];
    for (let i = 0; i < writes; i++) {
      lost.push(s.sendPut(1, "k", `lost ${i}`));
      await s.pass(5);
    }
    expect(s.mustPeer(1).storage.lastIndex()).toBe(before + writes);
    await s.until("another leads", () => s.leader() > 1);
    return { s, lost };
  }

  it("are thrown away by the new leader, never half applied [test_node_leader_change_with_uncommitted_log]", async () => {
    const { s, lost } = await deposed(1);
    await s.put("other", "new");
    s.heal();
    expect((await s.answerTo(lost[0] as (typeof lost)[0])).regionError?.staleCommand).toBeTruthy();
    await s.mustHave(1, "other", "new");
    for (const store of [1, 2, 3]) expect(s.valueOn(store, "k")).toBe("old");
    await s.mustSettle();
  });

  it("are overwritten by entries of the same index, and their writers are told [test_node_leader_change_with_log_overlap]", async () => {
    const { s, lost } = await deposed(4);
    await s.putMany("n", 6);
    s.heal();
    for (const write of lost) expect((await s.answerTo(write)).regionError?.staleCommand).toBeTruthy();
    await s.mustSettle();
    const logs = [1, 2, 3].map((store) => s.mustPeer(store).storage.lastIndex());
    expect(new Set(logs).size).toBe(1);
    expect(s.valueOn(1, "k")).toBe("old");
  });

  it("are not exposed by a leader that is removed before it hears of anybody [test_node_remove_leader_with_uncommitted_log]", async () => {
    const { s, lost } = await deposed(1);
    await s.mustLead(s.leader());
    await s.mustChange([["remove", 1]]);
    s.heal();
    await s.gone(1);
    expect((await s.answerTo(lost[0] as (typeof lost)[0])).regionError).toBeTruthy();
    expect(s.valueOn(2, "k")).toBe("old");
    await s.put("k", "new");
    expect(await s.get("k")).toBe("new");
    await s.mustSettle(2);
  });

  it("but committed are applied by a new leader before it reads [test_node_read_leader_with_unapplied_log]", async () => {
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
    expect(s.valueOn(2, "k")).toBe("old");
    const acks = s.filter(messages().to(2).type("appendResponse").hold());
    expect(s.tryTransferLeader(2)).toBeUndefined();
    await s.until("store 2 leads", () => s.mustPeer(2).isLeader);
    s.unfilter(unsaid);
    const read = s.sendGet(2, "k");
    await s.pass(500);
    expect([read.isDone, s.valueOn(2, "k")]).toEqual([false, "old"]);
    s.release(acks);
    expect(fromUtf8((await s.answerTo(read)).value ?? new Uint8Array(0))).toBe("new");
  });

  it("because Raft refused the proposal are answered at once [test_node_dropped_proposal]", async () => {
    const s = await script();
    s.filter(messages().type("timeoutNow").drop());
    expect(s.tryTransferLeader(2)).toBeUndefined();
    const write = await s.answerTo(s.sendPut(1, "k", "v"), 20);
    expect(write.regionError?.notLeader).toBeTruthy();
    await s.put("k", "later");
    expect(await s.get("k")).toBe("later");
  });

  it("being empty move the applied index like others [test_node_apply_no_op]", async () => {
    const s = await script();
    await s.pass(500);
    const applied = [1, 2, 3].map((store) => s.mustPeer(store).appliedIndex);
    await s.transferLeader(2);
    await s.until("all have applied the empty entry", () =>
      [1, 2, 3].every((store, i) => s.mustPeer(store).appliedIndex > (applied[i] as number)),
    );
    const terms = [1, 2, 3].map((store) => s.mustPeer(store).storage.applyState.appliedTerm);
    expect(new Set(terms)).toEqual(new Set([s.mustPeer(2).term]));
  });
});
