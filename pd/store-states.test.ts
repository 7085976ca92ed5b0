/** The states of stores, as heartbeats and calls change them. (PD: cluster/*_test.go) */
import { beforeEach, describe, expect, test } from "vitest";
import { must } from "../base/index.js";
import { storeMessage } from "./test/harness.js";
import { World } from "./test/world.js";

let world: World;

describe("stores", () => {
  beforeEach(() => {
    world = new World({ stores: 4 });
  });

  const http = (method: string, path: string, body: unknown = "") =>
    world.harness.http(method, `/pd/api/v1${path}`, body);
  const store = (id: number) => must(world.view.store(id), `no store ${id}`);

  test("send figures, are refused when unknown or buried, and reach the disk seldom [TestStoreHeartbeat]", () => {
    const { harness } = world;
    const answer = (id: number) => harness.heartbeatStore(id, { usedSize: 7 });
    expect(answer(1).header?.error).toBeNull();
    expect(store(1).stats?.usedSize).toBe(7);
    expect(answer(99).header?.error?.message).toMatch(/store 99 not found/);
    store(4).setNodeState("removed");
    expect(answer(4).header?.error?.message).toBe("store is tombstone");
    const { cluster } = harness.pd;
    let saves = 0;
    const save = cluster.saveStore.bind(cluster);
    cluster.saveStore = (meta, callback) => {
      saves += 1;
      save(meta, callback);
    };
    for (let i = 0; i < 20; i++) {
      harness.env.advance(10_000);
      answer(1);
    }
    expect(saves).toBe(0);
    harness.env.advance(200_000);
    answer(1);
    expect(saves).toBe(1);
  });

  test("of engines that nobody knows may not join, nor columnar ones where nothing keeps peers from them", () => {
    const join = (engine: string) =>
      world.harness.putStore({ ...storeMessage(60), labels: [{ key: "engine", value: engine }] }).header
        ?.error;
    expect(join("innodb")).toMatchObject({ type: 10, message: expect.stringMatching(/tikv, tiflash/) });
    http("POST", "/config", { "enable-placement-rules": "false" });
    expect(join("tiflash")?.message).toBe("placement rules is disabled");
    expect(world.view.store(60)).toBeUndefined();
    http("POST", "/config", { "enable-placement-rules": "true" });
    expect([join("tiflash"), join("tikv")]).toEqual([null, null]);
  });

  test("that are silent for long are left out of what is balanced [TestFilterUnhealthyStore]", () => {
    expect(world.view.leaderTargetProblem(store(1))).toBeUndefined();
    store(1).lastHeartbeatMs -= 25_000;
    expect(world.view.leaderTargetProblem(store(1))).toBe("StoreDisconnected");
    store(1).lastHeartbeatMs -= 31 * 60_000;
    expect([store(1).isUnhealthy(world.view.nowMs()), world.view.leaderTargetProblem(store(1))]).toEqual([
      true,
      "StoreDown",
    ]);
    store(2).setNodeState("removed");
    expect(world.view.stores().map(({ id }) => id)).toEqual([1, 3, 4]);
  });

  test("go from up to leaving and back by rule [TestSetOfflineStore, TestUpStore]", () => {
    const remove = (id: number, force = false) =>
      http("DELETE", `/store/${id}${force ? "?force=true" : ""}`).status;
    const up = (id: number) => http("POST", `/store/${id}/state?state=Up`).status;
    expect([remove(99), up(99)]).toEqual([404, 404]);
    expect([remove(1), store(1).nodeState, remove(1)]).toEqual([200, "removing", 200]);
    expect([up(1), store(1).nodeState, up(1)]).toEqual([200, "serving", 200]);
    expect([remove(1, true), store(1).meta.physicallyDestroyed]).toEqual([200, true]);
    // What is destroyed does not come back, nor what is buried.
    expect([up(1), remove(1)]).toEqual([400, 400]);
    store(2).setNodeState("removed");
    expect([up(2), remove(2)]).toEqual([410, 410]);
  });

  test("may not leave when too few would be left [TestSetOfflineWithReplica]", () => {
    expect(http("DELETE", "/store/1").status).toBe(200);
    expect(http("DELETE", "/store/2")).toMatchObject({
      status: 400,
      json: "can not remove store 2 since the number of up stores would be 2 while need 3",
    });
    expect(http("DELETE", "/store/2?force=true").status).toBe(200);
  });

  test("may not leave when nobody could lead in their place [TestSetOfflineStoreWithEvictLeader]", () => {
    http("POST", "/config", { "max-replicas": 1 });
    for (const id of [1, 2, 3]) http("POST", "/schedulers", { name: "evict-leader-scheduler", store_id: id });
    expect(http("DELETE", "/store/4")).toMatchObject({
      status: 400,
      json: expect.stringMatching(/no extra up store to store the leader/),
    });
    http("DELETE", "/schedulers/evict-leader-scheduler-1");
    expect(http("DELETE", "/store/4").status).toBe(200);
  });

  test("may take an address only when its owner is gone for good [TestReuseAddress]", () => {
    const join = (id: number): string => {
      const answer = world.harness.putStore({ ...storeMessage(1), id });
      return answer.header?.error?.message ?? "ok";
    };
    expect(join(1)).toBe("ok");
    expect(join(50)).toMatch(/^duplicated store address: id:50/);
    store(1).setNodeState("removing");
    expect(join(50)).toMatch(/duplicated store address/);
    store(1).meta.physicallyDestroyed = true;
    expect(join(50)).toBe("ok");
    store(2).setNodeState("removed");
    expect(world.harness.putStore({ ...storeMessage(2), id: 51 }).header?.error).toBeNull();
  });

  test("count who pauses their leaders [TestStores]", () => {
    world.addScheduler("evict-leader", 1);
    world.scheduling.drain.start(1, () => {});
    world.harness.env.settle();
    expect(store(1).leaderInPauses).toBe(1);
    world.addScheduler("grant-leader", 2);
    expect([store(2).leaderOutPauses, world.view.leaderSourceProblem(store(2))]).toEqual([
      1,
      "StoreRejectLeader",
    ]);
    world.removeScheduler("evict-leader-scheduler");
    world.removeScheduler("grant-leader-scheduler");
    expect([store(1).leaderInPauses, store(2).leaderOutPauses]).toEqual([0, 0]);
  });

  test("are told when another is slow, so that sleeping regions wake [TestAwakenStore]", () => {
    const beat = (id: number, slowScore = 1) => world.harness.heartbeatStore(id, { slowScore });
    expect(beat(1).awakenRegions).toBeNull();
    beat(2, 90);
    expect(beat(1).awakenRegions?.abnormalStores).toEqual([2]);
    expect(beat(1).awakenRegions).toBeNull();
    expect(beat(2, 90).awakenRegions).toBeNull();
    world.harness.env.advance(601_000);
    expect(beat(1).awakenRegions?.abnormalStores).toEqual([2]);
  });

  test("have labels that merge, are replaced and deleted [TestUpdateAndDeleteLabel]", () => {
    const labels = () => Object.fromEntries(store(1).meta.labels.map(({ key, value }) => [key, value]));
    http("POST", "/store/1/label", { zone: "z1", host: "h1" });
    http("POST", "/store/1/label", { zone: "z2", disk: "ssd" });
    expect(labels()).toEqual({ zone: "z2", host: "h1", disk: "ssd" });
    expect(http("DELETE", "/store/1/label", JSON.stringify("disk")).status).toBe(200);
    expect(http("DELETE", "/store/1/label", JSON.stringify("disk")).status).toBe(500);
    http("POST", "/store/1/label?force", { rack: "r1" });
    expect(labels()).toEqual({ rack: "r1" });
  });

  test("are low on space by ratio, unless nearly empty with room [TestLowSpaceRatio]", () => {
    const GIB = 2 ** 30;
    const low = (capacity: number, available: number, regions: number): boolean => {
      store(1).stats = Object.assign({}, store(1).stats, {
        capacity: capacity * GIB,
        available: available * GIB,
      });
      return store(1).isLowSpace(0.8, regions);
    };
    expect([low(100, 21, 101), low(100, 19, 101), low(100, 9, 50), low(100, 7, 50), low(0, 0, 500)]).toEqual([
      false,
      true,
      false,
      true,
      false,
    ]);
  });

  test("keep their open limit while they leave, over a restart too [TestOfflineStoreLimit]", () => {
    http("POST", "/store/1/limit", { rate: 5 });
    http("DELETE", "/store/1");
    const limit = () => (http("GET", "/stores/limit").json as Record<string, Record<string, number>>)["1"];
    expect(limit()).toEqual({ "add-peer": 5, "remove-peer": 1e8 });
    world.harness.env.settle();
    expect(world.harness.crashAndRestart()).toBe(true);
    expect(limit()).toEqual({ "add-peer": 5, "remove-peer": 1e8 });
  });

  test("are deleted and kept by their routes [TestStoreDelete, TestStoreSetState]", () => {
    expect(http("DELETE", "/store/1").json).toBe("The store is set as Offline.");
    expect(http("GET", "/store/1").json).toMatchObject({ store: { state_name: "Offline", node_state: 2 } });
    expect(http("POST", "/store/1/state?state=Up").json).toBe("The store's state is updated.");
    expect(http("GET", "/store/1").json).toMatchObject({ store: { state_name: "Up" } });
    expect(http("POST", "/store/1/state?state=Offline").status).toBe(200);
    expect([http("POST", "/store/1/state?state=Foo").status, http("DELETE", "/store/9").status]).toEqual([
      400, 404,
    ]);
    expect(http("DELETE", "/store/x").status).toBe(400);
  });
});
