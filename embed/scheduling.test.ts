/** What PD decides, done by real stores: a store that joins is filled, peers move by hand, a store is drained. */
import { expect, test } from "vitest";
import { must, utf8 } from "../base/index.js";
import { addOperator } from "../pd/operator-commands.js";
import type { RegionInfo } from "../pd/region-info.js";
import { Cluster } from "./cluster.js";

const WAIT_MS = 20_000;
const KEYS = "bcdefghijkl".split("").map((key) => utf8(key));

/** Three stores and twelve regions, each with three replicas. */
async function start(): Promise<Cluster> {
  const cluster = await Cluster.start({ stores: 3 });
  await cluster.waitUntil(() => everywhere(cluster, 3), WAIT_MS, "PD did not see three replicas");
  let done = false;
  cluster.pd.scheduling.splitter.split(KEYS, 3, ({ percentage }) => {
    expect(percentage).toBe(100);
    done = true;
  });
  await cluster.waitUntil(() => done, WAIT_MS, "the regions were not split");
  return cluster;
}

const regions = (cluster: Cluster): RegionInfo[] => [...cluster.pd.cluster.regions.all()];

const everywhere = (cluster: Cluster, replicas: number): boolean =>
  regions(cluster).every(
    ({ meta, pendingPeers }) =>
      meta.peers.length === replicas &&
      meta.peers.every((peer) => peer.role === "voter") &&
      pendingPeers.length === 0,
  );

const peersOn = (cluster: Cluster, storeId: number): number =>
  cluster.pd.cluster.regions.onStore(storeId).regionCount;

test("a fourth store that joins a running cluster receives its share of replicas and leaders", async () => {
  await using cluster = await start();
  const fourth = await cluster.addStore();
  const id = fourth.store.id;
  await cluster.waitUntil(() => peersOn(cluster, id) >= 7, WAIT_MS, "the fourth store stayed empty");
  await cluster.waitUntil(
    () => everywhere(cluster, 3) && [...fourth.store.peers.all()].some((peer) => peer.isLeader),
    WAIT_MS,
    "the fourth store never led",
  );
  expect(peersOn(cluster, id)).toBeGreaterThanOrEqual(7);
});

test("peers and leaders move as an administrator orders", async () => {
  await using cluster = await start();
  const { scheduling } = cluster.pd;
  scheduling.schedulers.pause("all", 600);
  const fourth = await cluster.addStore();
  const to = fourth.store.id;
  const region = must(regions(cluster)[3], "no region");
  const id = region.meta.id;
  // A follower: when the leader's peer moves, the new peer may lead already.
  const led = must(region.leader, "no leader").storeId;
  const from = must(
    region.meta.peers.find((peer) => peer.storeId !== led),
    "no follower",
  ).storeId;
  const order = { name: "transfer-peer", region_id: id, from_store_id: from, to_store_id: to };
  // Refused as long as PD has not heard of the store's disk.
  await cluster.waitUntil(
    () => addOperator(scheduling, order).kind === "ok",
    WAIT_MS,
    "the order was refused",
  );
  const stores = (): number[] =>
    must(cluster.pd.cluster.regions.byId(id), "no region").meta.peers.map((peer) => peer.storeId);
  await cluster.waitUntil(
    () => stores().includes(to) && !stores().includes(from) && everywhere(cluster, 3),
    WAIT_MS,
    "the peer did not move",
  );
  expect(addOperator(scheduling, { name: "transfer-leader", region_id: id, to_store_id: to })).toEqual({
    kind: "ok",
  });
  await cluster.waitUntil(
    () => fourth.store.peers.get(id)?.isLeader === true,
    WAIT_MS,
    "the leader did not move",
  );
  const refused = addOperator(scheduling, { name: "add-peer", region_id: id, store_id: to });
  expect(refused).toEqual({
    kind: "refused",
    status: 500,
    reason: `region already has peer in store ${to}`,
  });
});

test("a store that is taken out is drained and buried", async () => {
  await using cluster = await start();
  await cluster.addStore();
  const leaving = must(cluster.stores[0], "no store").store.id;
  cluster.pd.handleHttp(
    {
      method: "DELETE",
      path: `/pd/api/v1/store/${leaving}`,
      query: {},
      headers: {},
      body: new Uint8Array(0),
    },
    (status) => expect(status).toBe(200),
  );
  await cluster.waitUntil(
    () => cluster.pd.cluster.store(leaving)?.isRemoved === true,
    WAIT_MS,
    "the store was not buried",
  );
  expect(peersOn(cluster, leaving)).toBe(0);
  expect(everywhere(cluster, 3)).toBe(true);
});
