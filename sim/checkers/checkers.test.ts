/** The checkers that look at peers themselves: each sees what it is for when that is done by hand. */
import { describe, expect, it } from "vitest";
import { regionId, peerId, storeId, utf8 } from "../../base/index.js";
import { dataKey } from "../../region/keys.js";
import type { Peer } from "../../region/peer.js";
import type { Region } from "../../region/region.js";
import { SimCluster, QUIET_SHAPE } from "../cluster.js";
import type { Frame } from "../network.js";
import type { SimNode } from "../node.js";
import { script } from "../test/script.js";
import { drain } from "../test/worker.js";
import { World } from "../world.js";
import { RetryRate } from "./bounded-retry.js";
import { DestroyedPeers } from "./destroyed-peers.js";
import { ReadFreshness } from "./read-freshness.js";

describe("leases", () => {
  it("that are too long are seen when another leads, though nobody reads", async () => {
    const s = await script();
    await s.put("k", "1");
    s.isolate(1);
    s.mustPeer(1).lease.renew(1_000_000);
    await expect(s.pass(4_000)).rejects.toThrow(/13 lease exclusion|20 23 read freshness/);
  });

  it("that are kept when the leader tells another to campaign are seen at once, by either guard", async () => {
    for (const guard of ["the clock", "Raft"]) {
      const s = await script();
      await s.put("k", "1");
      const peer = s.mustPeer(1);
      if (guard === "Raft") peer.node.inLease = () => true;
      else peer.lease.suspect = () => {};
      expect(s.tryTransferLeader(2)).toBeUndefined();
      await expect(s.pass(1_000)).rejects.toThrow(`campaign and keeps its lease by ${guard}`);
    }
  });
});

describe("a destroyed peer", () => {
  const region = (...peers: readonly [id: number, store: number][]): Region => ({
    id: regionId(7),
    startKey: utf8("a"),
    endKey: utf8("z"),
    epoch: { version: 1, confVer: 1 },
    peers: peers.map(([id, store]) => ({ id: peerId(id), storeId: storeId(store), role: "voter" })),
  });

  it("never comes back, nor one before it; a later one may", () => {
    const destroyed = new DestroyedPeers();
    destroyed.begins(7, 12, "store-2");
    destroyed.ended(region([12, 2], [13, 3]), undefined, storeId(2));
    destroyed.begins(7, 14, "store-2");
    destroyed.begins(8, 12, "store-2");
    for (const id of [12, 11])
      expect(() => destroyed.begins(7, id, "store-2")).toThrow(`peer ${id} of region 7 is there again`);
  });

  it("is known by what the disk said before, when its region has gone on without it", () => {
    const destroyed = new DestroyedPeers();
    destroyed.ended(region([13, 3]), region([12, 2], [13, 3]), storeId(2));
    expect(() => destroyed.begins(7, 12, "store-2")).toThrow("12 was destroyed");
    const stranger = new DestroyedPeers();
    stranger.ended(region([13, 3]), undefined, storeId(2));
    stranger.begins(7, 12, "store-2");
  });
});

describe("a read", () => {
  function served(applied: number, commitWhenAsked: number): string[] {
    const found: string[] = [];
    const freshness = new ReadFreshness((violation) => void found.push(violation.message));
    const waiting: (() => void)[] = [];
    const peer = {
      regionId: 7,
      term: 2,
      isLeader: true,
      appliedIndex: applied,
      node: { commitIndex: applied },
      lease: { inspect: () => "valid" },
      queueRead: (request: { run(): void }) => void waiting.push(() => request.run()),
      confirmAfterRead: () => true,
    } as unknown as Peer;
    freshness.watch(peer, { name: "store-1", monotonicMs: () => 0 } as SimNode);
    freshness.knows(7, commitWhenAsked, "store-2");
    peer.queueRead({ run() {}, fail() {} }, true);
    freshness.knows(7, commitWhenAsked + 5, "store-2");
    for (const run of waiting) run();
    return found;
  }

  it("must show what was committed when it was asked, and need not show what came later", () => {
    expect(served(10, 10)).toEqual([]);
    expect(served(9, 10).join()).toContain("serves a read at index 9; store-2 knew 10 to be committed");
  });

  it("under a lease must not be answered by a leader that others have left behind", () => {
    const found: string[] = [];
    const freshness = new ReadFreshness((violation) => void found.push(violation.message));
    let state = "valid";
    const peer = {
      regionId: 7,
      term: 2,
      isLeader: true,
      node: { commitIndex: 4 },
      lease: { inspect: () => state },
      queueRead: () => {},
      confirmAfterRead: () => true,
    } as unknown as Peer;
    freshness.watch(peer, { name: "store-1", monotonicMs: () => 0 } as SimNode);
    freshness.knows(7, 4, "store-2");
    peer.confirmAfterRead();
    expect(found).toEqual([]);
    freshness.knows(7, 5, "store-2");
    peer.confirmAfterRead();
    expect(found.join()).toContain("answers under its lease at index 4");
    found.length = 0;
    state = "expired";
    peer.confirmAfterRead();
    expect(found[0]).toContain("under a lease that is over");
  });
});

it("replicas that differ at one applied index are seen while the cluster runs", async () => {
  const s = await script();
  await s.put("k", "1");
  s.at(2).disk.memory.exchange([{ space: "default", key: dataKey(utf8("k")), value: utf8("other") }]);
  await expect(s.pass(3_000)).rejects.toThrow("6 16 equal data");
});

it("a client that asks in a circle is seen", async () => {
  const world = new World(1, drain);
  const cluster = new SimCluster(world, QUIET_SHAPE);
  RetryRate.watch(cluster);
  const from = world.addNode("client-1");
  const ask = (requests: number): void =>
    cluster.network.observer?.({
      path: "/tikvpb.Tikv/BatchCommands",
      from,
      to: from,
      message: { requests: Array.from({ length: requests }) },
      bytes: new Uint8Array(0),
      isRaft: false,
    } satisfies Frame);
  ask(600);
  expect(world.failure).toBeUndefined();
  ask(1);
  expect(world.failure?.message).toContain("24 bounded retry");
  await Promise.resolve();
});
