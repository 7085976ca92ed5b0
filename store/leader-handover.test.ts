/** What `raftwerk store` does on SIGTERM, with its steps in its order: hand over, close the port, stop. */
import { describe, expect, test } from "vitest";
import { utf8 } from "../base/index.js";
import type { Region } from "../region/region.js";
import { addressOf, peerOf, regionOf, Stores } from "./test/harness.js";

const BOUND_MS = 2_500;
const REGIONS: readonly Region[] = [
  regionOf(2, 3, "", "g"),
  regionOf(3, 3, "g", "p"),
  regionOf(4, 3, "p", ""),
];

/** Three stores with three regions, all led by store 1. */
function ledByOne(regions: readonly Region[] = REGIONS): Stores {
  const stores = new Stores();
  for (const id of [1, 2, 3]) {
    stores.add(
      id,
      regions.filter(({ peers }) => peers.some((peer) => peer.storeId === id)),
    );
  }
  for (let tries = 0; tries < 100 && ledBy(stores, 1).length < regions.length; tries++) {
    stores.pass(100);
    for (const { id: region } of regions) {
      const leader = stores.members.find(({ store }) => store.peers.get(region)?.isLeader === true);
      if (leader === undefined) stores.peer(1, region).campaign();
      else stores.peer(leader.id, region).transferLeader(stores.peer(1, region).peerId);
    }
  }
  stores.pass(500);
  expect(ledBy(stores, 1)).toEqual(regions.map(({ id }) => id));
  return stores;
}

function ledBy(stores: Stores, id: number): number[] {
  return [...stores.store(id).peers.all()]
    .filter(({ isLeader }) => isLeader)
    .map(({ regionId }) => Number(regionId))
    .sort((a, b) => a - b);
}

/** How many leaders were left, and after how many milliseconds; then the store has stopped. */
function stopCleanly(stores: Stores, id: number): { readonly left: number; readonly waitedMs: number } {
  const startMs = stores.env.clock.monotonicMs();
  let left: number | undefined;
  stores.store(id).handOver(BOUND_MS, (leadersLeft) => {
    left = leadersLeft;
  });
  while (left === undefined && stores.env.clock.monotonicMs() - startMs < 60_000) stores.pass(10);
  if (left === undefined) throw new Error("the handover never ended");
  const waitedMs = stores.env.clock.monotonicMs() - startMs;
  // Before the stop: whoever leads afterwards was handed the office and has not won it by waiting.
  if (left === 0) expect(ledBy(stores, id)).toEqual([]);
  let hasStopped = false;
  stores.member(id).disconnect();
  stores.store(id).stop(() => {
    hasStopped = true;
  });
  stores.pass(10);
  expect(hasStopped).toBe(true);
  return { left, waitedMs };
}

const leadersElsewhere = (stores: Stores): number => ledBy(stores, 2).length + ledBy(stores, 3).length;

describe("a store that stops cleanly", () => {
  test("hands all its leaders over first, so that nobody waits for an election", () => {
    const stores = ledByOne();
    const { left, waitedMs } = stopCleanly(stores, 1);
    expect(left).toBe(0);
    expect(leadersElsewhere(stores)).toBe(REGIONS.length);
    // Far below the shortest election timeout.
    expect(waitedMs).toBeLessThanOrEqual(200);
    const leader = [2, 3].find((id) => stores.peer(id).isLeader) as number;
    const written = stores.raw("put", { key: utf8("a"), value: utf8("v") }, leader);
    expect([written.regionError ?? null, written.error ?? ""]).toEqual([null, ""]);
    expect(stores.get("a", leader)).toBe("v");
  });

  test("tries the next heir where the first does not answer", () => {
    const stores = ledByOne();
    stores.member(2).pause.pause();
    const { left, waitedMs } = stopCleanly(stores, 1);
    expect(left).toBe(0);
    expect(ledBy(stores, 3)).toEqual(REGIONS.map(({ id }) => id));
    expect(waitedMs).toBeLessThan(BOUND_MS);
  });

  test("stops anyway after its bound when all its peers are dead, and says what it still leads", () => {
    const stores = ledByOne();
    stores.crash(2);
    stores.crash(3);
    const { left, waitedMs } = stopCleanly(stores, 1);
    expect(left).toBe(REGIONS.length);
    expect(waitedMs).toBeGreaterThanOrEqual(BOUND_MS);
    // One round more at the most.
    expect(waitedMs).toBeLessThanOrEqual(BOUND_MS + 60);
  });

  test("waits its bound at the most when its peers are alive but cut off", () => {
    const stores = ledByOne();
    stores.links.isolate(addressOf(1), [2, 3].map(addressOf));
    const { left, waitedMs } = stopCleanly(stores, 1);
    expect(left).toBe(REGIONS.length);
    expect(waitedMs).toBeLessThanOrEqual(BOUND_MS + 60);
  });

  test("does not wait for regions that nobody else could lead", () => {
    const alone: Region = { ...regionOf(3, 1, "g", "") };
    const learner: Region = {
      ...regionOf(2, 1, "", "g"),
      peers: [peerOf(21, 1), peerOf(22, 2, "learner")],
    };
    const stores = ledByOne([learner, alone]);
    const { left, waitedMs } = stopCleanly(stores, 1);
    expect(left).toBe(2);
    expect(waitedMs).toBeLessThanOrEqual(10);
  });

  test("leads nothing: stops at once", () => {
    const stores = ledByOne();
    expect(stopCleanly(stores, 3)).toEqual({ left: 0, waitedMs: 0 });
    expect(ledBy(stores, 1)).toHaveLength(REGIONS.length);
  });
});
