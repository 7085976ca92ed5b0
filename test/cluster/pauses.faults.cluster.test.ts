/** Processes that stand still for a while, as on a machine that swaps or a virtual one that moves. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { utf8 } from "../../base/index.js";
import { Scenario } from "../support/scenario.js";

const EVERYTHING = ["pd", "store-1", "store-2", "store-3"];
const STORES = EVERYTHING.slice(1);
const PAUSE_MS = 30_000;

async function stop(s: Scenario, ...names: readonly string[]): Promise<void> {
  for (const name of names) await s.cluster.kill(name, "SIGSTOP");
}
async function go(s: Scenario, ...names: readonly string[]): Promise<void> {
  for (const name of names) await s.cluster.kill(name, "SIGCONT");
}

test("the leader's store stands still for 30 s: the others elect, and it answers nothing old afterwards [test_prevote_partition_leader_in_minority_detect_in_majority, test_node_lease_expired]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader("r");
    await s.client.put(utf8("r"), utf8("old"));
    await stop(s, name);
    await s.progress();
    await s.client.put(utf8("r"), utf8("new"), { timeoutMs: 60_000 });
    await delay(PAUSE_MS);
    const other = await s.cluster.client();
    await go(s, name);
    for (let i = 0; i < 50; i++) {
      expect(new TextDecoder().decode(await other.get(utf8("r")))).toBe("new");
      await delay(10);
    }
    await s.ready(name);
  }));

test("a follower's store stands still for 30 s and does not disturb the leader when it wakes [test_server_isolated_follower_leader_does_not_change]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.follower();
    const leader = await s.leader();
    const { id } = await s.region();
    await stop(s, name);
    await s.progress();
    const { term } = await s.status(leader, id);
    await delay(PAUSE_MS);
    expect(await s.status(leader, id)).toMatchObject({ term, isLeader: true });
    await go(s, name);
    await s.until(async () => (await s.status(name, id)).appliedIndex > 0, "no answer");
    await s.progress(100);
    expect(await s.status(leader, id)).toMatchObject({ term, isLeader: true });
  }));

test("PD stands still for 30 s: reads and writes go on", () =>
  Scenario.run({}, async (s) => {
    await stop(s, "pd");
    const untilMs = performance.now() + PAUSE_MS;
    while (performance.now() < untilMs) await s.progress();
    await go(s, "pd");
    await s.ready("pd");
  }));

test("two of three stores stand still for 30 s: nothing is acknowledged, nothing is lost [test_prevote_partition_leader_in_minority_detect_in_minority]", () =>
  Scenario.run({}, async (s) => {
    const leader = await s.leader();
    const names = STORES.filter((name) => name !== leader);
    await stop(s, ...names);
    await delay(500);
    const before = s.writers.writes;
    await delay(PAUSE_MS);
    expect(s.writers.writes).toBe(before);
    await go(s, ...names);
    await s.progress();
  }));

test("the whole cluster stands still for 30 s and goes on", () =>
  Scenario.run({}, async (s) => {
    await stop(s, ...EVERYTHING);
    await delay(PAUSE_MS);
    await go(s, ...EVERYTHING);
    await s.progress();
    await s.ready(...EVERYTHING);
  }));

test("the leader's store stands still for moments, again and again", () =>
  Scenario.run({}, async (s) => {
    for (let round = 0; round < 6; round++) {
      const name = await s.leader();
      await stop(s, name);
      await delay(300 + 400 * round);
      await go(s, name);
      await delay(400);
    }
  }));

test("a store is killed while it stands still", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader();
    await stop(s, name);
    await s.progress();
    await s.kill(name);
    s.restart(name);
    await s.ready(name);
  }));
