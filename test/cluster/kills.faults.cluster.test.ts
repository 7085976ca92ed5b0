/** `kill -9` of one process, of several and of all, while clients write. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Scenario } from "../support/scenario.js";

const EVERYTHING = ["pd", "store-1", "store-2", "store-3"];
const STORES = EVERYTHING.slice(1);

test("a follower's store is killed and comes back while writes go on [test_prevote_reboot_minority_followers]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.follower();
    await s.kill(name);
    await s.progress();
    s.restart(name);
    await s.ready(name);
  }));

test("the leader's store is killed, and what it missed reaches it as log [test_multi_node_leader_crash, test_node_catch_up_logs]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader();
    await s.kill(name);
    await s.progress(300);
    s.restart(name);
    await s.ready(name);
    expect(s.cluster.logOf(name)).not.toContain("snapshot loaded");
  }));

test("a store that missed more than the log keeps comes back by a snapshot [test_node_compact_count_limit]", () =>
  Scenario.run(
    {
      storeConfig:
        '[raftstore]\npd-heartbeat-tick-interval = "1s"\npd-store-heartbeat-tick-interval = "500ms"\n' +
        'raft-log-gc-count-limit = 60\nraft-log-gc-threshold = 10\nraft-log-gc-tick-interval = "200ms"\n',
    },
    async (s) => {
      const name = await s.follower();
      const { id } = await s.region();
      const before = s.cluster.logOf(name).split("snapshot loaded").length;
      await s.kill(name);
      const missed = (await s.status(await s.leader(), id)).lastIndex;
      await s.until(async () => {
        const { firstIndex } = (await s.status(await s.leader(), id)) as unknown as { firstIndex: number };
        return firstIndex > missed + 1;
      }, "the log is not cut");
      s.restart(name);
      await s.ready(name);
      await s.until(
        async () => s.cluster.logOf(name).split("snapshot loaded").length > before,
        "no snapshot came",
      );
    },
  ));

test("two of three stores are killed: nothing is acknowledged until one is back [test_multi_node_lost_majority]", () =>
  Scenario.run({}, async (s) => {
    const leader = await s.leader();
    const gone = STORES.filter((name) => name !== leader);
    await s.kill(...gone);
    // What was under way may still come in.
    await delay(500);
    const before = s.writers.writes;
    await delay(3_000);
    expect(s.writers.writes).toBe(before);
    s.restart(gone[0] as string);
    await s.progress();
    s.restart(gone[1] as string);
    await s.ready(...gone);
  }));

test("all stores are killed at once [test_multi_node_cluster_restart, test_prevote_reboot_majority_followers]", () =>
  Scenario.run({}, async (s) => {
    await s.kill(...STORES);
    s.restart(...STORES);
    await s.progress();
  }));

test("PD and all stores are killed at once, twice, the second time while they start [test_all_node_crash]", () =>
  Scenario.run({}, async (s) => {
    await s.kill(...EVERYTHING);
    s.restart(...EVERYTHING);
    await delay(700);
    await s.kill(...EVERYTHING);
    s.restart(...EVERYTHING);
    await s.progress();
  }));

test("each store in turn is killed and started again [test_multi_node_random_restart]", () =>
  Scenario.run({}, async (s) => {
    for (const name of STORES) {
      await s.kill(name);
      await s.progress();
      s.restart(name);
      await s.ready(name);
      await s.progress();
    }
  }));

test("each store in turn is stopped and started again, and no client sees an error", () =>
  Scenario.run({}, async (s) => {
    for (const name of STORES) {
      await s.cluster.kill(name, "SIGTERM");
      await s.progress();
      s.restart(name);
      await s.ready(name);
      await s.settled();
    }
    expect(s.writers.errors).toEqual([]);
  }));

test("one store is killed again and again during its start", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader();
    for (const afterMs of [100, 250, 400, 550, 700, 900, 1_200]) {
      await s.kill(name);
      s.restart(name);
      await delay(afterMs);
    }
    await s.ready(name);
  }));

test("PD is killed three times while clients write", () =>
  Scenario.run({}, async (s) => {
    for (let round = 0; round < 3; round++) {
      await s.kill("pd");
      await s.progress();
      s.restart("pd");
      await s.ready("pd");
      await s.progress();
    }
  }));

test("PD is killed together with the leader's store: the others elect without PD", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader();
    await s.kill("pd", name);
    await s.progress();
    s.restart("pd", name);
    await s.ready("pd", name);
  }));

test("processes are killed at random for a while [test_multi_node_random_restart]", () =>
  Scenario.run({}, async (s) => {
    let seed = 7;
    const chance = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 14; round++) {
      const name = EVERYTHING[chance(4)] as string;
      await s.kill(name);
      await delay(chance(900));
      s.restart(name);
      await delay(chance(1_500));
    }
  }));
