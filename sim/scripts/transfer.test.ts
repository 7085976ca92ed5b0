/** Transfers of leadership: to whom, when not, and by whose order. Names in brackets are TiKV's. */
import { expect, it } from "vitest";
import { peerId } from "../../base/index.js";
import { messages, regionStates, script } from "../test/script.js";

it("a transfer moves the leader; one to a stranger or to itself does nothing [test_server_basic_transfer_leader]", async () => {
  const s = await script();
  await s.put("k", "1");
  await s.transferLeader(2);
  await s.put("k", "2");
  await s.transferLeader(3);
  expect([await s.get("k"), s.leader()]).toEqual(["2", 3]);
  const { term } = s.mustPeer(3);
  expect(s.leaderPeer().transferLeader(peerId(999))).toContain("not a voter");
  expect(s.tryTransferLeader(3)).toBeUndefined();
  await s.pass(2_000);
  expect([s.leader(), s.mustPeer(3).term]).toEqual([3, term]);
  await s.put("k", "3");
});

it("PD orders one, and sees it done [test_server_pd_transfer_leader]", async () => {
  const s = await script();
  await s.put("k", "1");
  for (const to of [2, 3, 1]) {
    await s.mustOperator("transfer-leader", { to_store_id: s.storeId(to) });
    await s.mustLead(to);
    await s.until("PD is done", () => s.pd.scheduling.controller.operators().length === 0);
    expect(s.pd.cluster.regions.byId(s.first)?.leader?.storeId).toBe(s.storeId(to));
    // A new leader does not know at once how far the others are.
    await s.pass(100);
  }
});

it("a peer that waits for a snapshot does not get the lead; once loaded it may [test_server_transfer_leader_during_snapshot]", async () => {
  const s = await script();
  s.isolate(3);
  await s.putMany("k", 10);
  await s.compactLog();
  s.heal();
  const slow = s.filter(messages().type("snapshot").to(3).hold());
  await s.until("the snapshot is on its way", () => slow.hits > 0);
  const { term } = s.mustPeer(1);
  expect(s.tryTransferLeader(3)).toContain("snapshot");
  await s.put("k", "writes go on");
  expect([s.leader(), s.mustPeer(1).term]).toEqual([1, term]);
  s.release(slow);
  await s.caughtUp(3);
  await s.transferLeader(3);
  expect(await s.get("k")).toBe("writes go on");
});

it("a peer that is slow to take entries does not get the lead [test_transfer_leader_slow_apply]", async () => {
  const s = await script({ config: { leaderTransferLogLagMax: 5 } });
  await s.put("k", "1");
  s.holdWrites(2);
  await s.putMany("k", 10);
  expect(s.tryTransferLeader(2)).toContain("lags by");
  await s.put("k", "2");
  expect(s.leader()).toBe(1);
  s.releaseWrites(2);
  await s.caughtUp(2);
  await s.transferLeader(2);
  expect(await s.get("k")).toBe("2");
});

it("a peer that has been demoted does not get the lead, though the leader has not applied that yet [test_when_applied_conf_change_on_learner_transferee]", async () => {
  const s = await script();
  await s.put("k", "1");
  await s.pass(300);
  s.holdWrites(1, regionStates(s.first));
  const change = s.sendChange([["addLearner", 2]]);
  await s.until("store 2 has applied its demotion", () => s.mustPeer(2).meta?.role === "learner");
  expect([change.isDone, s.mustPeer(1).region.peers.every(({ role }) => role === "voter")]).toEqual([
    false,
    true,
  ]);
  expect(s.tryTransferLeader(2)).toContain("change of peers");
  s.releaseWrites(1);
  expect((await s.answerTo(change)).error).toBeUndefined();
  expect(s.tryTransferLeader(2)).toContain("not a voter");
  await s.pass(1_500);
  expect(s.leader()).toBe(1);
  await s.transferLeader(3);
});
