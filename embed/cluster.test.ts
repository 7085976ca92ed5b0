import { expect, test } from "vitest";
import { Cluster } from "./cluster.js";

test("a cluster of three stores in memory replicates its first region on all of them", async () => {
  await using cluster = await Cluster.start({ stores: 3 });
  const leaders = cluster.stores.filter(({ store }) => [...store.peers.all()].some((peer) => peer.isLeader));
  expect(leaders.length).toBe(1);
});
