/** Faults while regions split. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { Scenario } from "../support/scenario.js";

const EVERYTHING = ["pd", "store-1", "store-2", "store-3"];
const STORES = EVERYTHING.slice(1);
const KEYS = ["c1", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "x"];

/** Splits the cluster at one key after the other until told to stop. */
function splitting(s: Scenario): () => Promise<void> {
  let stopped = false;
  const work = (async () => {
    for (const key of KEYS) {
      if (stopped) return;
      await s.split(key);
      await delay(150);
    }
  })();
  return async () => {
    stopped = true;
    await work;
  };
}

const regionCount = async (s: Scenario): Promise<number> => (await s.cluster.regions()).length;

test("the leader's store is killed while its region splits [test_node_split_region]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.leader("w");
    const stop = splitting(s);
    await delay(300);
    await s.kill(name);
    await s.progress();
    await stop();
    s.restart(name);
    await s.ready(name);
    await s.split(...KEYS);
    await s.until(async () => (await regionCount(s)) === KEYS.length + 1, "the splits are not done");
  }));

test("a follower that was dead while the region split twice catches up with all parts [test_server_split_region_twice, test_apply_new_version_snapshot]", () =>
  Scenario.run({}, async (s) => {
    const name = await s.follower("w");
    await s.kill(name);
    await s.split("w3");
    await s.until(async () => (await regionCount(s)) === 2, "no split");
    await s.split("w1", "w5");
    await s.until(async () => (await regionCount(s)) === 4, "no second split");
    await s.progress();
    s.restart(name);
    await s.ready(name);
  }));

test("PD is killed while regions split: their ids are never given twice", () =>
  Scenario.run({}, async (s) => {
    const stop = splitting(s);
    for (let round = 0; round < 3; round++) {
      await delay(250);
      await s.kill("pd");
      s.restart("pd");
    }
    await s.ready("pd");
    await stop();
    await s.split(...KEYS);
    await s.until(async () => (await regionCount(s)) === KEYS.length + 1, "the splits are not done");
    const ids = (await s.cluster.regions()).flatMap(({ id, peers }) => [id, ...peers.map((peer) => peer.id)]);
    expect(new Set(ids).size).toBe(ids.length);
  }));

test("everything is killed while regions split [test_all_node_crash, test_node_split_region]", () =>
  Scenario.run({}, async (s) => {
    const stop = splitting(s);
    await delay(400);
    await s.kill(...EVERYTHING);
    await stop();
    s.restart(...EVERYTHING);
    await s.ready(...EVERYTHING);
    await s.progress();
    await s.split(...KEYS);
    await s.until(async () => (await regionCount(s)) === KEYS.length + 1, "the splits are not done");
  }));

test("stores are killed in turn while regions split by their size [test_auto_split_region]", () =>
  Scenario.run(
    {
      storeConfig:
        '[coprocessor]\nregion-split-size = "256KiB"\nregion-max-size = "384KiB"\n' +
        '[raftstore]\nsplit-region-check-tick-interval = "200ms"\npd-heartbeat-tick-interval = "1s"\n' +
        'pd-store-heartbeat-tick-interval = "500ms"\n',
    },
    async (s) => {
      const filling = s.fill("f", 3);
      for (const name of STORES) {
        await delay(600);
        await s.kill(name);
        await delay(300);
        s.restart(name);
        await s.ready(name);
      }
      await filling;
      await s.until(async () => (await regionCount(s)) >= 6, "too few splits");
    },
  ));

test("a split is asked for while two stores are down, and done when one is back", () =>
  Scenario.run({}, async (s) => {
    const leader = await s.leader("w");
    const gone = STORES.filter((name) => name !== leader);
    await s.kill(...gone);
    await s.split("w4");
    await delay(500);
    expect(await regionCount(s)).toBe(1);
    s.restart(...gone);
    await s.progress();
    await s.split("w4");
    await s.until(async () => (await regionCount(s)) === 2, "no split");
  }));
