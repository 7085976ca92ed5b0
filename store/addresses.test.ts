import { expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import { regionOf } from "../region/test/fixtures.js";
import { StoreAddresses } from "./addresses.js";
import { peerOf, Stores, TablePd } from "./test/harness.js";

test("followers that never spoke to each other elect when PD and the leader go right after the last one joined", () => {
  const stores = Stores.led(3, {}, 2);
  const change = { kind: "addVoter", peer: peerOf(23, 3) } as const;
  stores.peer().admin(stores.peer().region.epoch, { kind: "changePeer", changes: [change] }, () => {});
  const isComplete = (id: number): boolean =>
    stores.store(id).peers.get(2)?.region.peers.length === 3 && !stores.peer(id).isApplyingSnapshot;
  for (let ms = 0; ms < 900 && !(isComplete(2) && isComplete(3)); ms += 10) stores.pass(10);
  expect([isComplete(2), isComplete(3)]).toEqual([true, true]);
  stores.pd.isAway = true;
  stores.crash(1);
  stores.pass(30_000);
  expect(stores.peer(2).isLeader || stores.peer(3).isLeader).toBe(true);
});

test("what PD did not answer is asked again, what it answered is not", () => {
  const pd = new TablePd();
  const asked: number[] = [];
  const { getStore } = pd;
  pd.getStore = (id, callback) => {
    asked.push(id);
    getStore(id, callback);
  };
  const addresses = new StoreAddresses(new ManualEnv(), pd);
  pd.isAway = true;
  addresses.learn(regionOf(2, 3), 1);
  addresses.retry();
  pd.isAway = false;
  addresses.retry();
  addresses.retry();
  addresses.learn(regionOf(3, 3), 1);
  expect(asked).toEqual([2, 3, 2, 3, 2, 3]);
});
