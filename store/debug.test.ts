/** The debug service of a store: what lies on its disk, as tools ask for it. */
import { beforeEach, describe, expect, test } from "vitest";
import { fromUtf8, utf8 } from "../base/index.js";
import {
  callUnary,
  debugpb,
  DebugService,
  kvrpcpb,
  type MethodDefinition,
  RPC_CODE,
  type RpcStatus,
} from "../proto/index.js";
import { dataKey, regionStateKey } from "../region/keys.js";
import { addressOf, CLUSTER, Stores } from "./test/harness.js";

let stores: Stores;
beforeEach(() => {
  stores = Stores.led(1);
  stores.put("k", "value");
});

function call<Q, R, QI, RI>(method: MethodDefinition<Q, R, QI, RI>, request: QI): R | RpcStatus {
  const channel = stores.network.channel(addressOf(1));
  const answer = stores.wait<R | RpcStatus>((reply) => {
    callUnary(channel, method, request, { timeoutMs: 5_000 }, (error, response) =>
      reply(error?.status ?? (response as R)),
    );
  });
  return answer;
}

describe("a key of the engine", () => {
  test("is read from a column family, and from the log's engine", () => {
    const found = call(DebugService.Get, { db: debugpb.DB.KV, cf: "default", key: dataKey(utf8("k")) });
    expect(fromUtf8((found as debugpb.GetResponse).value)).toContain("value");
    const state = call(DebugService.Get, { db: debugpb.DB.RAFT, key: regionStateKey(2) });
    expect((state as debugpb.GetResponse).value.length).toBeGreaterThan(5);
  });

  test("that is not there, is empty, or names no engine or family is refused", () => {
    const key = utf8("zabsent");
    const { KV, INVALID } = debugpb.DB;
    expect(call(DebugService.Get, { db: KV, cf: "default", key })).toMatchObject({ code: RPC_CODE.notFound });
    const invalid = { code: RPC_CODE.invalidArgument };
    expect(call(DebugService.Get, { db: KV, cf: "default" })).toMatchObject(invalid);
    expect(call(DebugService.Get, { db: KV, cf: "snap", key })).toMatchObject(invalid);
    expect(call(DebugService.Get, { db: INVALID, cf: "default", key })).toMatchObject(invalid);
  });
});

describe("the log of a region", () => {
  test("is read entry by entry", () => {
    const index = stores.peer().storage.lastIndex() as number;
    expect(call(DebugService.RaftLog, { regionId: 2, logIndex: index })).toMatchObject({ entry: { index } });
  });

  test("has no entries before the first, behind the last, or of a region that is not here", () => {
    const behind = (stores.peer().storage.lastIndex() as number) + 1;
    for (const [regionId, logIndex] of [
      [2, behind],
      [9, 6],
    ] as const) {
      expect(call(DebugService.RaftLog, { regionId, logIndex })).toMatchObject({ code: RPC_CODE.notFound });
    }
    for (const request of [{ regionId: 2 }, { logIndex: 6 }]) {
      expect(call(DebugService.RaftLog, request)).toMatchObject({ code: RPC_CODE.invalidArgument });
    }
  });
});

describe("a region", () => {
  test("is told with its three records", () => {
    const applied = stores.peer().appliedIndex;
    expect(call(DebugService.RegionInfo, { regionId: 2 })).toMatchObject({
      raftLocalState: { lastIndex: stores.peer().storage.lastIndex() },
      raftApplyState: { appliedIndex: applied },
      regionLocalState: { region: { id: 2 } },
    });
    expect(call(DebugService.RegionInfo, { regionId: 9 })).toMatchObject({ code: RPC_CODE.notFound });
  });

  test("is measured family by family, over many pages, and one region at a time", () => {
    for (let i = 0; i < 600; i++) stores.put(`key${String(i).padStart(3, "0")}`, "v".repeat(10));
    // Keys with their prefix, values with their flags, and the first pair of all.
    const bytes = 600 * (7 + 11) + 2 + 6;
    const sizes = call(DebugService.RegionSize, { regionId: 2, cfs: ["default", "write", "default"] });
    expect(sizes).toMatchObject({
      entries: [
        { cf: "default", size: bytes },
        { cf: "write", size: 0 },
      ],
    });
    expect(call(DebugService.RegionSize, { regionId: 2 })).toMatchObject({ entries: [] });
    const invalid = { code: RPC_CODE.invalidArgument };
    expect(call(DebugService.RegionSize, { regionId: 2, cfs: ["other"] })).toMatchObject(invalid);
    expect(call(DebugService.RegionSize, { regionId: 2, cfs: ["raft"] })).toMatchObject(invalid);
    expect(call(DebugService.RegionSize, { regionId: 9, cfs: [] })).toMatchObject({
      code: RPC_CODE.notFound,
    });
    const codes: (number | undefined)[] = [];
    const request = { regionId: 2, cfs: ["default"] };
    for (let i = 0; i < 2; i++) {
      const channel = stores.network.channel(addressOf(1));
      callUnary(channel, DebugService.RegionSize, request, { timeoutMs: 5_000 }, (error) =>
        codes.push(error?.status.code),
      );
    }
    stores.pass(500);
    expect(codes).toEqual([RPC_CODE.resourceExhausted, undefined]);
  });

  test("that was destroyed is still listed, and its record says so", () => {
    expect(call(DebugService.GetAllRegionsInStore, {})).toMatchObject({ regions: [2] });
    const { engine } = stores.store();
    const tombstone = engine.batch();
    tombstone.put("raft", regionStateKey(7), new Uint8Array([0x08, 2]));
    engine.write(tombstone, { sync: true }, () => {});
    stores.pass(50);
    expect(call(DebugService.GetAllRegionsInStore, {})).toMatchObject({ regions: [2, 7] });
    expect(call(DebugService.RegionInfo, { regionId: 7 })).toMatchObject({ regionLocalState: { state: 2 } });
  });
});

test("store, cluster and metrics are told", () => {
  expect(call(DebugService.GetStoreInfo, {})).toMatchObject({
    storeId: 1,
    apiVersion: kvrpcpb.APIVersion.V1TTL,
  });
  expect(call(DebugService.GetClusterInfo, {})).toMatchObject({ clusterId: CLUSTER });
  // A store without a process around it has no figures.
  expect(call(DebugService.GetMetrics, { all: true })).toMatchObject({ storeId: 1, prometheus: "" });
});

test("calls that would write are refused with a sentence", () => {
  const refused = call(DebugService.Compact, { cf: "default" }) as RpcStatus;
  expect(refused.code).toBe(RPC_CODE.unimplemented);
  expect(refused.message).toContain("Compact");
});
