/** What a client does when PD is gone as well: it goes on with what it knows. */
import { expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
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
      router.address(region, (_failed, address) => {
        found = address ?? "nowhere";
        router.learnBroken(region, ++attempts);
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
    for (let attempt = 1; attempt <= 3; attempt++) router.learnBroken(region, attempt);
    router.address(region, (_failed, address) => expect(address).toBe("elsewhere-1:20160"));
  });
  expect.assertions(1);
});
