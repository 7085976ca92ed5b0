/** What is admitted while something else is under way, and what becomes of it; what is applied before it is durable. */
import { describe, expect, it } from "vitest";
import { messages, type Script, script } from "../test/script.js";

describe("a write", () => {
  it("behind a split that is not applied yet is told the new regions, and has no effect [test_reject_proposal_during_region_split]", async () => {
    const s = await script();
    await s.put("a", "old");
    const held = s.filter(messages().from(1).type("append").hold());
    const split = s.sendSplit(["m"]);
    await s.until("the split is proposed", () => held.hits > 0);
    const write = s.sendPut(1, "a", "lost");
    await s.pass(100);
    expect([split.isDone, write.isDone]).toEqual([false, false]);
    s.release(held);
    expect((await s.answerTo(split)).error).toBeUndefined();
    expect((await s.answerTo(write)).regionError?.epochNotMatch?.currentRegions).toHaveLength(2);
    expect(await s.get("a")).toBe("old");
    await s.put("a", "new");
    expect(await s.get("a")).toBe("new");
  });

  it("before a split in the same turn keeps its place and its effect [test_propose_before_split_and_merge]", async () => {
    const s = await script();
    const peer = s.leaderPeer();
    const held = s.filter(messages().from(1).type("append").hold());
    const write = s.sendPut(1, "a", "before");
    await s.until("the write is proposed", () => held.hits > 0);
    const split = s.sendAdmin(s.splitCommand("m"));
    s.release(held);
    expect((await s.answerTo(write)).regionError ?? null).toBeNull();
    expect((await s.answerTo(split)).error).toBeUndefined();
    expect([await s.get("a"), peer.region.epoch.version]).toEqual(["before", 2]);
    await s.mustSettle();
  });

  it("during a transfer of leadership is refused, and may be repeated elsewhere [test_reject_proposal_during_leader_transfer]", async () => {
    const s = await script();
    const orders = s.filter(messages().type("timeoutNow").hold());
    expect(s.tryTransferLeader(2)).toBeUndefined();
    const refused = await s.answerTo(s.sendPut(1, "k", "lost"), 50);
    expect(refused.regionError?.notLeader).toBeTruthy();
    expect((await s.tryAdmin(s.splitCommand("m")))?.message ?? "").not.toBe("");
    s.release(orders);
    await s.mustLead(2);
    await s.put("k", "new");
    expect([await s.get("k"), s.regionsOn(1)]).toEqual(["new", [s.first]]);
  });

  it("during a change of peers is taken like any other [test_accept_proposal_during_conf_change]", async () => {
    const s = await script({ stores: 4, replicas: 3 });
    const held = s.filter(messages().from(1).type("append").hold());
    const change = s.sendChange([["addLearner", 4]]);
    await s.until("the change is proposed", () => held.hits > 0);
    const write = s.sendPut(1, "k", "during");
    await s.pass(50);
    expect([change.isDone, write.isDone]).toEqual([false, false]);
    s.release(held);
    expect((await s.answerTo(change)).error).toBeUndefined();
    expect((await s.answerTo(write)).regionError ?? null).toBeNull();
    await s.mustHave(4, "k", "during");
  });

  it("that a new leader throws away is never called done [test_not_invoke_committed_cb_when_fail_to_commit]", async () => {
    const s = await script();
    await s.put("k", "old");
    s.isolate(1);
    const write = s.sendPut(1, "k", "lost");
    await s.until("another leads", () => s.leader() > 1);
    expect(write.isDone && write.answer?.regionError == null).toBe(false);
    await s.put("other", "1");
    s.heal();
    expect((await s.answerTo(write)).regionError?.staleCommand).toBeTruthy();
    expect(await s.get("k")).toBe("old");
  });

  it("proposed before a transfer is done or it is not, as its writer is told [test_propose_before_transfer_leader]", async () => {
    for (const arrives of [true, false]) {
      const s = await script();
      await s.put("k", "old");
      const held = s.filter(messages().from(1).to(2, 3).type("append").hold());
      const write = s.sendPut(1, "k", "new");
      await s.until("it is proposed", () => held.hits > 0);
      expect(s.tryTransferLeader(2)).toBeUndefined();
      if (arrives) s.release(held);
      else {
        s.unfilter(held);
        s.isolate(1);
      }
      await s.until("another leads", () => s.leader() > 1);
      await s.mustLead(s.leader());
      s.heal();
      const told = (await s.answerTo(write)).regionError == null;
      expect([told, await s.get("k")]).toEqual(arrives ? [true, "new"] : [false, "old"]);
    }
  });
});

describe("an entry that a quorum has", () => {
  async function crashed(s: Script, stores: readonly number[]): Promise<void> {
    for (const store of stores) s.crash(store, { power: true, keeps: "none" });
    for (const store of stores) await s.restart(store);
  }

  it("survives the leader's loss of its commit index [test_leader_early_apply]", async () => {
    const s = await script();
    await s.putMany("k", 5);
    await crashed(s, [1]);
    await s.until("it has applied all again", () => s.valueOn(1, "k4") === "4");
    expect(await s.get("k4")).toBe("4");
    await s.mustSettle();
  });

  it("survives a follower's loss of its commit index [test_follower_commit_early_apply]", async () => {
    const s = await script();
    await s.putMany("k", 5);
    await crashed(s, [2]);
    await s.caughtUp(2);
    expect([s.valueOn(2, "k4"), s.leader()]).toEqual(["4", 1]);
    await s.mustSettle();
  });

  it("survives everybody's loss of it [test_all_node_crash]", async () => {
    const s = await script();
    await s.putMany("k", 5);
    await crashed(s, [1, 2, 3]);
    for (let i = 0; i < 5; i++) expect(await s.get(`k${i}`)).toBe(String(i));
    await s.mustSettle();
  });

  it("is applied once, also when it was applied before a crash and the applied index was lost [test_update_internal_apply_index]", async () => {
    const s = await script();
    await s.put("n", "1");
    await s.answerTo(s.send(1, "compareAndSwap", swap("n", "1", "2")));
    await s.answerTo(s.send(1, "compareAndSwap", swap("n", "2", "3")));
    await crashed(s, [1, 2, 3]);
    expect(await s.get("n")).toBe("3");
    const applied = [1, 2, 3].map((store) => s.mustPeer(store).node.basicStatus().applied as number);
    await s.mustSettle();
    for (const [i, store] of [1, 2, 3].entries()) {
      const { appliedIndex, node } = s.mustPeer(store);
      expect([node.basicStatus().applied, appliedIndex >= (applied[i] as number)]).toEqual([
        appliedIndex,
        true,
      ]);
    }
  });

  it("of which the leader's own copy is not durable is not lost with the leader [test_multi_early_apply]", async () => {
    const s = await script();
    await s.put("a", "0");
    await s.put("p", "0");
    const left = await s.split("m");
    s.holdWrites(1);
    const writes = [s.sendPut(1, "a", "1", left), s.sendPut(1, "p", "1")];
    await s.until("the others have both", () =>
      [2, 3].every((store) => [left, s.first].every((of) => s.logOn(store, of).length >= 2)),
    );
    await s.pass(20);
    s.crash(1, { power: true, keeps: "none" });
    const told = writes.map(({ answer }) => answer !== undefined && answer.regionError == null);
    const found = [await s.get("a"), await s.get("p")];
    for (const i of [0, 1]) if (told[i]) expect(found[i]).toBe("1");
    expect(found).toEqual(["1", "1"]);
    await s.restart(1);
    await s.mustSettle();
  });

  it("and many more with it are applied in order over many turns [test_early_apply_yield_followed_with_many_entries]", async () => {
    const s = await script();
    const held = s.filter(messages().from(1).to(3).hold());
    s.misbehave("a write is an entry of its own", 40);
    const writes = Array.from({ length: 40 }, (_, i) => s.sendPut(1, "k", String(i)));
    for (const write of writes) await s.answerTo(write);
    s.misbehave("entries are applied one by one", 1_000);
    s.release(held);
    await s.mustHave(3, "k", "39");
    s.behave();
    await s.mustSettle();
    expect(s.mustPeer(3).appliedIndex).toBe(s.mustPeer(1).appliedIndex);
  });
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const swap = (key: string, previousValue: string, value: string) => ({
  key: bytes(key),
  previousValue: bytes(previousValue),
  value: bytes(value),
});

it("a single replica applies nothing that is not on its disk [test_singleton_cannot_early_apply]", async () => {
  const s = await script({ stores: 1 });
  await s.put("k", "old");
  const { commitIndex } = s.mustPeer(1).node;
  s.holdWrites(1);
  const write = s.sendPut(1, "k", "new");
  await s.pass(500);
  expect([write.isDone, s.mustPeer(1).node.commitIndex, s.valueOn(1, "k")]).toEqual([
    false,
    commitIndex,
    "old",
  ]);
  s.crash(1, { power: true, keeps: "none" });
  await s.restart(1);
  expect(await s.get("k")).toBe("old");
});

it("a deposed leader's cache gives the others what the new leader wrote, when it leads again [test_early_apply_leader_demote_by_append]", async () => {
  const s = await script();
  await s.put("k", "old");
  s.isolate(1);
  for (let i = 0; i < 5; i++) {
    s.sendPut(1, `lost${i}`, "v");
    await s.pass(5);
  }
  await s.until("another leads", () => s.leader() > 1);
  const leader = s.leader();
  s.filters.clear();
  const other = leader === 2 ? 3 : 2;
  // The third store misses what the new leader writes; it gets it from store 1's cache later.
  await s.mustLead(leader);
  const missed = s.partition([other], [leader]);
  await s.putMany("n", 6);
  await s.mustHave(1, "n5", "5");
  await s.transferLeader(1);
  s.unfilter(missed);
  await s.mustHave(other, "n5", "5");
  expect([s.valueOn(other, "lost0"), s.valueOn(1, "lost4")]).toEqual([undefined, undefined]);
  await s.mustSettle();
});
