import { describe, expect, test } from "vitest";
import { compareBytes, utf8 } from "../base/index.js";
import type { kvrpcpb, metapb, RpcNetwork } from "../proto/index.js";
import { goSplitKeys } from "./go-client.js";
import { splitKeys } from "./local.js";
import { splitRegions } from "./splitting.js";

const text = (bytes: Uint8Array | null | undefined): string => Buffer.from(bytes ?? []).toString();

/** Stores 1 and 2 as far as SplitRegion goes: every region is led by store 2; asked elsewhere it says so. */
class FakeStores {
  regions: metapb.IRegion[] = [this.#region(2, "", "", 1)];
  asked = 0;
  #nextId = 10;

  #region(id: number, start: string, end: string, version: number): metapb.IRegion {
    const peers = [1, 2].map((storeId) => ({ id: id * 10 + storeId, storeId }));
    return {
      id,
      startKey: utf8(start),
      endKey: utf8(end),
      regionEpoch: { confVer: 1, version },
      peers,
    };
  }

  split(address: string, request: kvrpcpb.ISplitRegionRequest): kvrpcpb.ISplitRegionResponse {
    this.asked++;
    const region = this.regions.find(({ id }) => id === request.context?.regionId) as metapb.IRegion;
    if (address !== "store-2") return { regionError: { notLeader: { leader: { id: 22, storeId: 2 } } } };
    const { version } = request.context?.regionEpoch ?? {};
    if (version !== region.regionEpoch?.version) {
      return { regionError: { epochNotMatch: { currentRegions: [region] } } };
    }
    const borders = [region.startKey, ...(request.splitKeys ?? []), region.endKey].map(text);
    const next = Number(version) + borders.length - 2;
    const parts = borders.slice(1).map((end, i) => {
      const id = i === borders.length - 2 ? Number(region.id) : this.#nextId++;
      return this.#region(id, borders[i] as string, end, next);
    });
    this.regions = [...this.regions.filter((each) => each !== region), ...parts];
    return { regions: parts };
  }

  network(): RpcNetwork {
    const channel = (address: string) => ({
      open: (
        _method: unknown,
        listener: { onMessage(message: unknown): void; onEnd(status: object): void },
      ) => ({
        pendingBytes: 0,
        send: (request: kvrpcpb.ISplitRegionRequest) =>
          setImmediate(() => {
            listener.onMessage({ regions: [], ...this.split(address, request) });
            listener.onEnd({ code: 0, message: "" });
          }),
        halfClose() {},
        cancel() {},
      }),
    });
    return { channel } as unknown as RpcNetwork;
  }
}

const addresses = new Map([1, 2].map((id) => [id, `store-${id}`]));

describe("cutting a cluster into regions", () => {
  test("cuts at every key, in rounds, and finds the leader", async () => {
    const stores = new FakeStores();
    const keys = splitKeys(500);
    const from = [{ region: stores.regions[0] as metapb.IRegion, leaderStoreId: 1 }];
    await splitRegions({ network: stores.network(), addresses, timeoutMs: 10_000 }, from, keys);
    const starts = stores.regions.map(({ startKey }) => startKey as Uint8Array).sort(compareBytes);
    expect(starts.map(text)).toEqual(["", ...keys.map(text)]);
    // One refusal, one cut into 65, one cut of each part.
    expect(stores.asked).toBeLessThan(1 + 1 + 65 + 1);
  });

  test("goes on with what the store knows when a region was cut meanwhile, and leaves borders alone", async () => {
    const stores = new FakeStores();
    const stale = stores.regions[0] as metapb.IRegion;
    stores.split("store-2", {
      context: { regionId: 2, regionEpoch: { version: 1 } },
      splitKeys: [utf8("user3")],
    });
    await splitRegions(
      { network: stores.network(), addresses, timeoutMs: 10_000 },
      [{ region: { ...stale, startKey: utf8("user3") }, leaderStoreId: 2 }],
      [utf8("user3"), utf8("user7")],
    );
    expect(stores.regions.map(({ startKey }) => text(startKey)).sort()).toEqual(["", "user3", "user7"]);
  });

  test("says which region has its leader at an address that nobody knows", async () => {
    const stores = new FakeStores();
    const from = [{ region: stores.regions[0] as metapb.IRegion, leaderStoreId: 1 }];
    const source = { network: stores.network(), addresses: new Map([[1, "store-1"]]), timeoutMs: 120 };
    await expect(splitRegions(source, from, [utf8("user5")])).rejects.toThrow("region 2 has no known store");
  });

  test("cuts the Go program's keys into even parts", () => {
    expect(goSplitKeys(4, 1_000).map(text)).toEqual([
      "kvbench-0000000250",
      "kvbench-0000000500",
      "kvbench-0000000750",
    ]);
  });
});
