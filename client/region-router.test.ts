/** What a client does when PD is gone as well: it goes on with what it knows. */
import { expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import type { metapb } from "../proto/index.js";
import { type CachedRegion, cachedRegion } from "./region-cache.js";
import { RegionRouter } from "./region-router.js";

const KEY = Uint8Array.of(1);
const REGION = {
  id: 2,
  startKey: new Uint8Array(0),
  endKey: new Uint8Array(0),
  regionEpoch: { confVer: 1, version: 1 },
  peers: [
    { id: 21, storeId: 1 },
    { id: 22, storeId: 2 },
    { id: 23, storeId: 3 },
  ],
};

/** A PD that answers until it is gone, and then not at all. */
class OnceThereWasPd {
  clusterId = 1n;
  isGone = false;
  asked: string[] = [];
  lookupRegion(_key: Uint8Array, callback: (error: undefined, found: unknown) => void): void {
    this.asked.push("region");
    if (!this.isGone) callback(undefined, { region: REGION, leader: REGION.peers[0] });
  }
  getStore(id: number, callback: (error: undefined, store: unknown) => void): void {
    this.asked.push(`store ${id}`);
    if (!this.isGone) callback(undefined, { address: `store-${id}:20160` });
  }
}

test("a client that lost its region's leader and PD asks the other stores", () => {
  const pd = new OnceThereWasPd();
  const router = new RegionRouter(new ManualEnv(), { channel: () => ({}) as never }, pd as never, 1);
  const where = (): string => {
    let found = "nowhere";
    router.locate(KEY, false, (_error, region) => {
      if (region === undefined) return;
      const asked = region.peers[region.leader];
      router.address(asked, (_failed, address) => {
        found = address ?? "nowhere";
        router.learnBroken(region, asked, ++attempts);
      });
    });
    return found;
  };
  let attempts = 0;
  expect(where()).toBe("store-1:20160");
  pd.isGone = true;
  const tried = Array.from({ length: 7 }, where);
  expect(tried).toEqual([2, 3, 1, 2, 3, 1, 2].map((id) => `store-${id}:20160`));
  // And it does not ask PD again and again while the first question waits.
  expect(pd.asked.filter((question) => question === "region").length).toBe(2);
});

test("a store that is new under its old id is found once PD knows its address", () => {
  const pd = new OnceThereWasPd();
  const router = new RegionRouter(new ManualEnv(), { channel: () => ({}) as never }, pd as never, 1);
  router.locate(KEY, false, (_error, region) => {
    if (region === undefined) throw new Error("no region");
    pd.getStore = (id, callback) => callback(undefined, { address: `elsewhere-${id}:20160` });
    for (let attempt = 1; attempt <= 3; attempt++)
      router.learnBroken(region, region.peers[region.leader], attempt);
    router.address(region.peers[0], (_failed, address) => expect(address).toBe("elsewhere-1:20160"));
  });
  expect.assertions(1);
});

test("a store that could not be reached is not asked for another region, nor named anew by one that does not know", () => {
  const env = new ManualEnv();
  const router = new RegionRouter(env, { channel: () => ({}) as never }, new OnceThereWasPd() as never, 1);
  const [first, second] = [0, 1].map((id) =>
    cachedRegion({ ...REGION, id } as unknown as metapb.Region, REGION.peers[0]),
  ) as [CachedRegion, CachedRegion];
  expect(router.peerToAsk(first)?.storeId).toBe(1);
  router.learnBroken(first, first.peers[0], 1);
  const asked = router.peerToAsk(second) as metapb.Peer;
  expect(asked.storeId).toBe(2);
  // It still takes the dead store's peer for the leader.
  const advice = router.learn(second, asked, { notLeader: { leader: { id: 21, storeId: 1 } } }, 1);
  expect(advice).toMatchObject({ kind: "retry" });
  expect(advice).not.toMatchObject({ delayMs: 0 });
  expect(router.peerToAsk(second)?.storeId).toBe(3);
  // And then knows better: however long that took, the next leader is asked soon.
  expect(router.learn(second, asked, { notLeader: { leader: { id: 23, storeId: 3 } } }, 9)).toMatchObject({
    kind: "retry",
    delayMs: expect.toSatisfy((ms: number) => ms <= 8),
  });
  expect(router.peerToAsk(second)?.storeId).toBe(3);
  second.leader = 0;
  env.advance(1_001);
  expect(router.peerToAsk(second)?.storeId).toBe(1);
});

test("a store that answers again is asked again", () => {
  const router = new RegionRouter(
    new ManualEnv(),
    { channel: () => ({}) as never },
    new OnceThereWasPd() as never,
    1,
  );
  router.locate(KEY, false, (_error, region) => {
    if (region === undefined) throw new Error("no region");
    router.learnBroken(region, region.peers[0], 1);
    region.leader = 0;
    router.reached(region.peers[0] as metapb.Peer);
    expect(router.peerToAsk(region)?.storeId).toBe(1);
  });
  expect.assertions(1);
});

/** What `locate` finds, and when: undefined while it still waits. */
function locating(router: RegionRouter): () => CachedRegion | undefined {
  let found: CachedRegion | undefined;
  router.locate(KEY, false, (_error, region) => {
    found = region;
  });
  return () => found;
}

function cluster(): { pd: OnceThereWasPd; router: RegionRouter; env: ManualEnv; region: CachedRegion } {
  const pd = new OnceThereWasPd();
  const env = new ManualEnv();
  const router = new RegionRouter(env, { channel: () => ({}) as never }, pd as never, 1);
  return { pd, router, env, region: locating(router)() as CachedRegion };
}

test("two operations that hear from one peer that another leads keep the region, and ask that one", () => {
  const { router, region } = cluster();
  const [first, second] = region.peers as [metapb.Peer, metapb.Peer];
  region.leader = 1;
  for (let i = 0; i < 2; i++) router.learn(region, second, { notLeader: { leader: first } }, 0);
  expect(region.leader).toBe(0);
  expect(locating(router)()).toBe(region);
  expect(region.isStale).toBe(false);
});

test("operations that break together turn to the next peer together", () => {
  const { router, region } = cluster();
  const [first] = region.peers;
  for (let i = 0; i < 3; i++) router.learnBroken(region, first, 1);
  expect(region.leader).toBe(1);
});

test("a region that a store denied serves on when PD does not answer for half a second", () => {
  const { pd, router, env, region } = cluster();
  pd.isGone = true;
  router.learn(region, region.peers[0] as metapb.Peer, { regionNotFound: { regionId: 2 } }, 0);
  const found = [locating(router), locating(router), locating(router)];
  expect(found.map((each) => each())).toEqual([undefined, undefined, undefined]);
  env.advance(499);
  expect(found[1]?.()).toBe(undefined);
  env.advance(1);
  expect(found.map((each) => each())).toEqual([region, region, region]);
});

test("a region that a store denied is looked up before it is used again", () => {
  const { pd, router, region } = cluster();
  router.learn(region, region.peers[0] as metapb.Peer, { regionNotFound: { regionId: 2 } }, 0);
  const again = locating(router)();
  expect(again).not.toBe(region);
  expect(again?.isStale).toBe(false);
  expect(pd.asked.filter((question) => question === "region").length).toBe(2);
});

/** A PD over a thousand regions, each of one key of two bytes; it answers when told. */
class PdOfMany {
  clusterId = 1n;
  questions = 0;
  scansFail = false;
  #answers: (() => void)[] = [];
  #region(at: number) {
    const border = (n: number): Uint8Array => (n === 0 || n === 1_000 ? new Uint8Array(0) : keyOf(n));
    const peers = [{ id: at * 10, storeId: 1 }];
    const regionEpoch = { confVer: 1, version: 1 };
    return { region: { id: at, startKey: border(at), endKey: border(at + 1), regionEpoch, peers } };
  }
  lookupRegion(key: Uint8Array, callback: (error: undefined, found: unknown) => void): void {
    this.questions++;
    this.#answers.push(() => callback(undefined, this.#region(numberOf(key))));
  }
  scanRegions(
    start: Uint8Array,
    end: Uint8Array,
    limit: number,
    callback: (error: Error | undefined, found: unknown) => void,
  ): void {
    this.questions++;
    if (end.length > 0) throw new Error("the end of all keys was expected");
    const first = numberOf(start);
    const regions = Array.from({ length: Math.min(limit, 1_000 - first) }, (_, i) => this.#region(first + i));
    this.#answers.push(() =>
      this.scansFail ? callback(new Error("not known here"), undefined) : callback(undefined, { regions }),
    );
  }
  getStore(): void {}
  answerAll(): void {
    for (let next = this.#answers.shift(); next !== undefined; next = this.#answers.shift()) next();
  }
}

const keyOf = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 0xff);
const numberOf = (key: Uint8Array): number => ((key[0] ?? 0) << 8) | (key[1] ?? 0);

function locatingAll(pd: PdOfMany): Map<number, number> {
  const router = new RegionRouter(new ManualEnv(), { channel: () => ({}) as never }, pd as never, 1);
  const found = new Map<number, number>();
  for (let i = 0; i < 1_000; i++) {
    const n = (i * 7) % 1_000;
    router.locate(keyOf(n), false, (_error, region) => void found.set(n, region?.id ?? -1));
  }
  pd.answerAll();
  return found;
}

test("a client that looks for a thousand regions at once asks PD for many at a time", () => {
  const pd = new PdOfMany();
  const found = locatingAll(pd);
  expect([...found].filter(([n, id]) => n !== id)).toEqual([]);
  expect(found.size).toBe(1_000);
  expect(pd.questions).toBeLessThan(40);
});

test("where PD cannot say many regions at once each is asked for", () => {
  const pd = new PdOfMany();
  pd.scansFail = true;
  const found = locatingAll(pd);
  expect([...found].filter(([n, id]) => n !== id)).toEqual([]);
  expect(found.size).toBe(1_000);
});
