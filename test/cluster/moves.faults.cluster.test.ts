/** Faults while replicas move: conf changes, snapshots, leader transfers, stores that leave. */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { voters } from "../support/process-cluster.js";
import { Scenario, type ScenarioOptions } from "../support/scenario.js";

const QUICK =
  '[raftstore]\npd-heartbeat-tick-interval = "500ms"\npd-store-heartbeat-tick-interval = "500ms"\n' +
  'max-peer-down-duration = "3s"\nmax-leader-missing-duration = "5s"\n';
/** Balance would move regions under the test's own operators. */
const BY_HAND: ScenarioOptions = {
  storeConfig: QUICK,
  pdConfig: "[schedule]\nleader-schedule-limit = 0\nregion-schedule-limit = 0\n",
};
const MEGABYTES = 24;

/** A fourth store; the region that holds `key`, a store that has it and is not its leader's, and the ids of both. */
async function withFourth(s: Scenario, key = "") {
  const fourth = await s.cluster.addStore();
  await s.ready(fourth);
  const source = await s.follower(key);
  const region = await s.region(key);
  return {
    fourth,
    source,
    region: region.id,
    fourthId: await s.cluster.storeIdOf(fourth),
    sourceId: await s.cluster.storeIdOf(source),
  };
}

async function isOn(s: Scenario, region: number, store: number): Promise<boolean> {
  const found = (await s.cluster.regions()).find(({ id }) => id === region);
  return found !== undefined && voters(found).includes(store);
}

const saw = (s: Scenario, name: string, words: string): Promise<void> =>
  s.until(async () => s.cluster.logOf(name).includes(words), `${name} does not say "${words}"`);

test("the store that gets a replica is killed while the snapshot comes in [test_server_huge_snapshot, test_sending_fail_with_net_error]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", MEGABYTES);
    const { fourth, region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await saw(s, fourth, "peer created by a message");
    await s.kill(fourth);
    s.restart(fourth);
    await s.until(async () => isOn(s, region, fourthId), "the replica does not arrive");
  }));

test("the store that gets a replica is killed while it loads the snapshot [test_snapshot_recover_from_raft_write_failure]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", MEGABYTES);
    const { fourth, region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await saw(s, fourth, "loading a snapshot");
    await s.kill(fourth);
    s.restart(fourth);
    await s.until(async () => isOn(s, region, fourthId), "the replica does not arrive");
  }));

test("the store that sends the snapshot is killed [test_leader_step_down_after_requesting_snapshot]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", MEGABYTES);
    const { fourth, region, fourthId, sourceId } = await withFourth(s);
    const leader = await s.leader();
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await saw(s, fourth, "peer created by a message");
    await s.kill(leader);
    await s.progress();
    s.restart(leader);
    await s.until(async () => isOn(s, region, fourthId), "the replica does not arrive");
  }));

test("the receiver of a snapshot stands still for some seconds in the middle of it [test_learner_with_slow_snapshot]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", MEGABYTES);
    const { fourth, region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await saw(s, fourth, "peer created by a message");
    await s.cluster.kill(fourth, "SIGSTOP");
    await delay(6_000);
    await s.progress();
    await s.cluster.kill(fourth, "SIGCONT");
    await s.until(async () => isOn(s, region, fourthId), "the replica does not arrive");
  }));

test("the store that a replica leaves is killed while it leaves [test_server_stale_meta, test_node_tombstone]", () =>
  Scenario.run(BY_HAND, async (s) => {
    const { source, region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await delay(50);
    await s.kill(source);
    await s.progress();
    s.restart(source);
    await s.until(
      async () => (await isOn(s, region, fourthId)) && !(await isOn(s, region, sourceId)),
      "the replica does not move",
    );
    await s.until(async () => (await s.status(source, region).catch(() => "gone")) === "gone", "it stays");
  }));

test("everything is killed while a replica moves [test_restart_in_joint_state, test_all_node_crash]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", 6);
    const { region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await delay(60);
    const all = ["pd", ...s.cluster.storeNames];
    await s.kill(...all);
    s.restart(...all);
    await s.ready(...all);
    await s.progress();
    // Operators live in PD's memory: what was under way ends in a whole replica set, moved or not.
    await s.settled();
    if (!(await isOn(s, region, fourthId))) {
      await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    }
    await s.until(async () => isOn(s, region, fourthId), "the replica does not move");
  }));

test("PD is killed while a replica moves, and the move is ended or undone [test_pd_conf_change]", () =>
  Scenario.run(BY_HAND, async (s) => {
    await s.fill("f", 6);
    const { region, fourthId, sourceId } = await withFourth(s);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await delay(40);
    await s.kill("pd");
    await s.progress();
    s.restart("pd");
    await s.ready("pd");
  }));

test("leaders are transferred round and round while their stores are killed [test_server_pd_transfer_leader]", () =>
  Scenario.run(BY_HAND, async (s) => {
    const { id } = await s.region();
    for (let round = 0; round < 4; round++) {
      const leader = await s.leader();
      const to = await s.cluster.storeIdOf(await s.follower());
      await s.operator("transfer-leader", `${id}`, `${to}`);
      if (round % 2 === 0) {
        await s.kill(leader);
        await s.progress();
        s.restart(leader);
        await s.ready(leader);
      } else await s.progress();
    }
  }));

test("regions spread to a new store by themselves while it is killed twice [test_auto_adjust_replica]", () =>
  Scenario.run({ storeConfig: QUICK }, async (s) => {
    await s.split("c1", "w1", "w2", "w3", "w4", "w5", "w6", "w7");
    await s.until(async () => (await s.cluster.regions()).length === 9, "no splits");
    const fourth = await s.cluster.addStore();
    await s.ready(fourth);
    const fourthId = await s.cluster.storeIdOf(fourth);
    const regionsThere = async (): Promise<number> =>
      (await s.cluster.regions()).filter((region) => voters(region).includes(fourthId)).length;
    for (let round = 0; round < 2; round++) {
      await s.until(async () => (await regionsThere()) > round, "nothing moves there");
      await s.kill(fourth);
      await s.progress();
      s.restart(fourth);
      await s.ready(fourth);
    }
    await s.until(async () => (await regionsThere()) >= 3, "too little moves there");
  }));

test("a store is taken out of service and killed on the way: it ends as a tombstone with nothing on it [test_server_fast_destroy]", () =>
  Scenario.run({ storeConfig: QUICK }, async (s) => {
    await s.split("w2", "w4", "w6");
    await s.until(async () => (await s.cluster.regions()).length === 4, "no splits");
    const fourth = await s.cluster.addStore();
    await s.ready(fourth);
    const leaving = "store-1";
    const id = await s.cluster.storeIdOf(leaving);
    expect(await s.cluster.ctl("store", "delete", `${id}`)).toMatchObject({ code: 0 });
    await delay(300);
    await s.kill(leaving);
    await s.progress();
    s.restart(leaving);
    await s.until(
      async () =>
        (await s.cluster.pdGet<{ store: { state_name: string } }>(`store/${id}`)).store.state_name ===
        "Tombstone",
      "it does not become a tombstone",
    );
  }));

test("a store that is down for max-store-down-time is rebuilt elsewhere, and its own replicas vanish when it is back [test_node_stale_peer, test_node_stale_peer_out_of_region]", () =>
  Scenario.run(
    { storeConfig: QUICK, pdConfig: '[schedule]\nmax-store-down-time = "5s"\nregion-schedule-limit = 0\n' },
    async (s) => {
      await s.split("w3", "w6");
      await s.until(async () => (await s.cluster.regions()).length === 3, "no splits");
      const fourth = await s.cluster.addStore();
      await s.ready(fourth);
      const gone = await s.follower();
      const goneId = await s.cluster.storeIdOf(gone);
      await s.kill(gone);
      await s.until(
        async () => (await s.cluster.regions()).every((region) => !voters(region).includes(goneId)),
        "the replicas are not rebuilt",
      );
      s.restart(gone);
      await s.ready(gone);
      const regionsOf = async (): Promise<number> =>
        (
          (await (await fetch(`http://${s.cluster.statusAddressOf(gone)}/status`)).json()) as {
            regions: number;
          }
        ).regions;
      await s.until(async () => (await regionsOf()) === 0, "stale replicas stay");
    },
  ));

test("a replica that was removed while its store was dead comes back, vanishes, and is added again [test_node_readd_peer, test_split_brain]", () =>
  Scenario.run(BY_HAND, async (s) => {
    const { source, region, fourthId, sourceId } = await withFourth(s);
    await s.kill(source);
    await s.operator("transfer-peer", `${region}`, `${sourceId}`, `${fourthId}`);
    await s.until(async () => !(await isOn(s, region, sourceId)), "the replica is not removed");
    s.restart(source);
    await s.ready(source);
    await s.operator("transfer-peer", `${region}`, `${fourthId}`, `${sourceId}`);
    await s.until(async () => isOn(s, region, sourceId), "the replica does not come back");
  }));
