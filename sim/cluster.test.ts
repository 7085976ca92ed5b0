/** Scenarios written out: a quiet cluster, one thing that happens to it, what must follow. Models for further ones. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../base/index.js";
import { tikvpb } from "../proto/index.js";
import { leaders } from "./administration.js";
import { Logs } from "./checkers/logs.js";
import { Peers } from "./checkers/peers.js";
import { disksDiffer, unrest } from "./checkers/quiescence.js";
import { type ClusterShape, QUIET_SHAPE, SimCluster } from "./cluster.js";
import { drain } from "./test/worker.js";
import { MS, World } from "./world.js";

const SECOND = 1_000 * MS;

async function started(shape: Partial<ClusterShape> = {}): Promise<{ world: World; cluster: SimCluster }> {
  const world = new World(1, drain);
  const cluster = new SimCluster(world, { ...QUIET_SHAPE, ...shape });
  Peers.watch(cluster, Logs.watch(cluster));
  await cluster.start();
  return { world, cluster };
}

/** Runs the world until the promise is settled. */
async function within<T>(world: World, seconds: number, promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const watched = promise.finally(() => {
    isSettled = true;
  });
  watched.catch(() => {});
  await world.run(world.nowUs + seconds * SECOND, () => isSettled);
  if (!isSettled) throw new Error(`nothing came of it within ${seconds} virtual seconds`);
  return watched;
}

const clientOf = (cluster: SimCluster, index = 0) => {
  const found = cluster.clients[index];
  if (found === undefined) throw new Error("no such client");
  return found.client;
};

describe("a simulated cluster", () => {
  it("keeps an acknowledged write when all machines lose power at once", async () => {
    const { world, cluster } = await started();
    const client = clientOf(cluster);
    await within(world, 5, client.put(utf8("k"), utf8("v")));
    for (const process of cluster.processes) cluster.crash(process, true);
    for (const process of cluster.processes) cluster.restart(process);
    expect(await within(world, 20, client.get(utf8("k")))).toEqual(utf8("v"));
    await world.run(world.nowUs + 3 * SECOND);
    expect(unrest(cluster, 3)).toBeUndefined();
    expect(disksDiffer(cluster)).toBeUndefined();
  });

  it("forgets what was written without a sync when power fails, and keeps what was synced", async () => {
    const { world, cluster } = await started();
    const store = cluster.stores[0];
    if (store === undefined) throw new Error("no store");
    const engine = store.disk.open();
    const write = (key: string, sync: boolean): void => {
      const batch = engine.batch();
      batch.put("write", utf8(key), utf8("v"));
      engine.write(batch, { sync }, () => {});
    };
    write("synced", true);
    await world.run(world.nowUs + 50 * MS);
    for (let i = 0; i < 40; i++) write(`loose ${i}`, false);
    cluster.crash(store, true);
    const kept = Array.from({ length: 40 }, (_, i) => store.disk.memory.get("write", utf8(`loose ${i}`)));
    const firstLost = kept.indexOf(undefined);
    expect(store.disk.memory.get("write", utf8("synced"))).toEqual(utf8("v"));
    expect(firstLost).toBeGreaterThanOrEqual(0);
    expect(kept.slice(firstLost).every((value) => value === undefined)).toBe(true);
  });

  it("elects another leader when the leader is cut off, and no two leases overlap", async () => {
    const { world, cluster } = await started();
    const client = clientOf(cluster);
    await within(world, 5, client.put(utf8("k"), utf8("1")));
    const [led] = leaders(cluster);
    if (led === undefined) throw new Error("nobody leads");
    for (const { node } of cluster.stores) {
      cluster.network.block(led.store.node, node);
      cluster.network.block(node, led.store.node);
    }
    await within(world, 10, client.put(utf8("k"), utf8("2")));
    const now = leaders(cluster).filter(({ store }) => store !== led.store);
    expect(now).toHaveLength(1);
    cluster.network.healAll();
    expect(await within(world, 5, clientOf(cluster, 1).get(utf8("k")))).toEqual(utf8("2"));
  });

  it("serves a batch though PD's map has a hole, as between the reports of the parts of a split", async () => {
    const { world, cluster } = await started();
    const [led] = leaders(cluster);
    if (led === undefined) throw new Error("nobody leads");
    cluster.pd.pd?.cluster.regions.remove(led.peer.regionId);
    const client = clientOf(cluster, 1);
    await within(world, 15, client.batchPut([{ key: utf8("a"), value: utf8("1") }]));
    expect(await within(world, 5, client.get(utf8("a")))).toEqual(utf8("1"));
  });

  it("commits without one follower whose appends are all lost, and brings it up to date afterwards", async () => {
    const { world, cluster } = await started();
    const client = clientOf(cluster);
    const [led] = leaders(cluster);
    const follower = cluster.stores.find((store) => store !== led?.store);
    let lost = 0;
    cluster.network.filter = ({ to, bytes, isRaft }) => {
      if (!isRaft || to !== follower?.node) return "pass";
      const messages = tikvpb.BatchRaftMessage.decode(bytes).msgs ?? [];
      if (messages.every(({ message }) => (message?.entries ?? []).length === 0)) return "pass";
      lost++;
      return "drop";
    };
    for (let i = 0; i < 30; i++) await within(world, 5, client.put(utf8(`k${i}`), utf8(String(i))));
    expect(lost).toBeGreaterThan(0);
    cluster.network.filter = undefined;
    await world.run(world.nowUs + 5 * SECOND);
    expect(unrest(cluster, 3)).toBeUndefined();
    expect(disksDiffer(cluster)).toBeUndefined();
  });

  it("scans in order over the borders of regions that split under it", async () => {
    const storeConfig = { regionSplitBytes: 400, regionMaxBytes: 600, splitCheckTickMs: 200 };
    const { world, cluster } = await started({ storeConfig });
    const client = clientOf(cluster);
    const keys = Array.from({ length: 60 }, (_, i) => `key ${String(i).padStart(3, "0")}`);
    for (const key of keys) await within(world, 5, client.put(utf8(key), utf8("x".repeat(40))));
    await world.run(world.nowUs + 5 * SECOND);
    expect(leaders(cluster).length).toBeGreaterThan(2);
    const found: string[] = [];
    const scan = (async () => {
      for await (const { key } of clientOf(cluster, 1).scan()) found.push(fromUtf8(key));
    })();
    await within(world, 10, scan);
    expect(found).toEqual(keys);
  });
});
