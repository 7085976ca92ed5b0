/** Elections with pre-vote: partitions and restarts that must not cost a healthy leader its office. */
import { describe, expect, it } from "vitest";
import { messages, type Script, script } from "../test/script.js";

const five = (): Promise<Script> => script({ stores: 5, replicas: 5 });
const term = (s: Script, store: number): number => s.mustPeer(store).term;

describe("a partition of five with the leader in the majority", () => {
  it("moves no member of the majority to campaign [test_prevote_partition_leader_in_majority_detect_in_majority]", async () => {
    const s = await five();
    const before = term(s, 1);
    s.partition([1, 2, 3], [4, 5]);
    const asked = s.filter(messages().type("preVote", "vote").from(1, 2, 3));
    await s.pass(4_000);
    await s.put("k", "v");
    expect([asked.hits, s.leader(), term(s, 1)]).toEqual([0, 1, before]);
    s.heal();
    await s.mustHave(4, "k", "v");
    expect([s.leader(), term(s, 1)]).toEqual([1, before]);
  });

  it("lets the minority ask and ask without raising its term [test_prevote_partition_leader_in_majority_detect_in_minority]", async () => {
    const s = await five();
    const before = term(s, 1);
    const asked = s.filter(messages().type("preVote").from(4, 5));
    const voted = s.filter(messages().type("vote").from(4, 5));
    s.partition([1, 2, 3], [4, 5]);
    await s.pass(6_000);
    expect(asked.hits).toBeGreaterThan(3);
    expect([voted.hits, term(s, 4), term(s, 5)]).toEqual([0, before, before]);
    s.filters.clear();
    await s.pass(2_000);
    expect([s.leader(), term(s, 1), term(s, 4)]).toEqual([1, before, before]);
  });
});

describe("a partition of five with the leader in the minority", () => {
  it("lets the majority elect, and the old leader follow after healing [test_prevote_partition_leader_in_minority_detect_in_majority]", async () => {
    const s = await five();
    await s.put("k", "old");
    const before = term(s, 1);
    const asked = s.filter(messages().type("preVote").from(3, 4, 5));
    s.partition([1, 2], [3, 4, 5]);
    await s.until("the majority leads itself", () => s.leader() > 2);
    const led = s.leader();
    const now = term(s, led);
    expect(asked.hits).toBeGreaterThan(0);
    expect(now).toBeGreaterThan(before);
    await s.until("the old leader has stepped down", () => !s.mustPeer(1).isLeader);
    s.heal();
    await s.until("the old leader follows", () => s.mustPeer(1).leaderId === s.mustPeer(led).peerId);
    expect([s.leader(), term(s, led), term(s, 1)]).toEqual([led, now, now]);
  });

  it("leaves the minority in its term, asking in vain [test_prevote_partition_leader_in_minority_detect_in_minority]", async () => {
    const s = await five();
    const before = term(s, 1);
    const voted = s.filter(messages().type("vote").from(1, 2));
    const asked = s.filter(messages().type("preVote").from(1, 2));
    s.partition([1, 2], [3, 4, 5]);
    await s.pass(7_000);
    expect(asked.hits).toBeGreaterThan(0);
    expect([voted.hits, term(s, 1), term(s, 2)]).toEqual([0, before, before]);
    const led = s.leader();
    s.heal();
    await s.pass(2_000);
    expect(s.leader()).toBe(led);
  });
});

describe("restarts", () => {
  it("of a minority of followers cause no election [test_prevote_reboot_minority_followers]", async () => {
    const s = await five();
    const before = term(s, 1);
    const voted = s.filter(messages().type("vote"));
    for (const store of [2, 3]) s.crash(store);
    await s.put("k", "1");
    for (const store of [2, 3]) await s.restart(store);
    await s.pass(3_000);
    expect([voted.hits, s.leader(), term(s, 1)]).toEqual([0, 1, before]);
    await s.mustHave(3, "k", "1");
  });

  it("of a majority of followers end with a leader and all data [test_prevote_reboot_majority_followers]", async () => {
    const s = await five();
    await s.put("k", "1");
    for (const store of [2, 3, 4]) s.crash(store);
    await s.until("the leader has stepped down", () => s.leader() === 0, 5_000);
    for (const store of [2, 3, 4]) await s.restart(store);
    await s.put("k", "2");
    expect(await s.get("k")).toBe("2");
    await s.mustSettle(5);
  });
});

describe("some who are cut off", () => {
  it("two of five, leave the leader in office and writes going on [test_server_pair_isolated]", async () => {
    const s = await five();
    const before = term(s, 1);
    s.partition([2, 3], [1, 4, 5]);
    await s.put("k", "1");
    await s.pass(3_000);
    await s.put("k", "2");
    expect([s.leader(), s.valueOn(2, "k"), s.valueOn(3, "k")]).toEqual([1, undefined, undefined]);
    s.heal();
    await s.mustHave(2, "k", "2");
    await s.mustHave(3, "k", "2");
    expect([s.leader(), term(s, 1)]).toEqual([1, before]);
  });

  it("one follower for longer than an election, comes back to the same leader [test_server_isolated_follower_leader_does_not_change]", async () => {
    const s = await five();
    const before = term(s, 1);
    s.isolate(5);
    await s.pass(5_000);
    await s.put("k", "1");
    s.heal();
    await s.mustHave(5, "k", "1");
    await s.pass(2_000);
    expect([s.leader(), term(s, 1)]).toEqual([1, before]);
  });
});

it("a pre-vote alone makes the peer that a store lacks, which then votes [test_node_create_peer_from_pre_vote]", async () => {
  const s = await script({ stores: 4, replicas: 3 });
  await s.put("k", "1");
  s.filter(messages().from(1).to(4).drop());
  await s.mustChange([["addVoter", 4]]);
  await s.pass(500);
  expect(s.peer(4)).toBeUndefined();
  const votes = s.filter(messages().to(4).type("preVote"));
  s.crash(1);
  // Three of four are needed: without the peer that is still to be made there is no leader.
  await s.until("there is a leader without store 1", () => s.leader() > 1);
  expect(votes.hits).toBeGreaterThan(0);
  await s.put("k", "2");
  await s.mustHave(4, "k", "2");
});
