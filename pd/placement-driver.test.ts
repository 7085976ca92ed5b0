/** The calls that a store and a client make first, through the method table. */
import { describe, expect, test } from "vitest";
import { type MethodDefinition, PdService, RPC_CODE } from "../proto/index.js";
import { Harness, storeMessage } from "./test/harness.js";

describe("a fresh PD", () => {
  test("answers GetMembers without a header and before bootstrap", () => {
    const harness = Harness.started();
    const call = harness.open(PdService.GetMembers);
    call.send({});
    const answer = call.answers[0];
    expect(answer?.header?.clusterId).toBe(harness.pd.clusterId);
    expect(harness.pd.clusterId).toBeGreaterThan(1n << 53n);
    expect(answer?.leader?.memberId).not.toBe(0n);
    expect(answer?.leader?.clientUrls).toEqual(["http://127.0.0.1:2379"]);
    expect(answer?.members).toHaveLength(1);
  });

  test("refuses a wrong cluster id on the transport and an unbootstrapped cluster in the header", () => {
    const harness = Harness.started();
    const wrong = harness.start1(PdService.IsBootstrapped, { header: { clusterId: 1n } });
    expect(wrong.status?.code).toBe(9);
    expect(wrong.status?.message).toBe(`mismatch cluster id, need ${harness.pd.clusterId} but got 1`);
    expect(harness.call(PdService.IsBootstrapped).bootstrapped).toBe(false);
    const region = harness.call(PdService.GetRegion, { regionKey: new Uint8Array(0) });
    expect(region.header?.error?.type).toBe(2);
    expect(region.header?.error?.message).toBe("cluster is not bootstrapped");
  });

  test("refuses a wrong cluster id on every call that carries one, before it does anything", () => {
    const harness = Harness.started();
    harness.bootstrap();
    const header = { clusterId: harness.pd.clusterId + 1n };
    const accepted: string[] = [];
    for (const { definition } of harness.pd.methods()) {
      if (!("header" in (definition.request.decode(new Uint8Array(0)) as object))) continue;
      const { status, answers } = harness.start1(definition as MethodDefinition<object, unknown>, { header });
      if (status?.code === RPC_CODE.unimplemented) continue;
      if (status?.code !== RPC_CODE.failedPrecondition || answers.length > 0) accepted.push(definition.path);
    }
    // Whoever asks for the members does not know the cluster yet, nor does a store that may be part of a restore.
    const open = ["GetMembers", "GetClusterInfo", "IsSnapshotRecovering"];
    expect(accepted).toEqual(open.map((name) => `/pdpb.PD/${name}`));
  });

  test("bootstraps once and remembers it over a crash", () => {
    const harness = Harness.started();
    harness.bootstrap();
    const again = harness.call(PdService.Bootstrap, { store: storeMessage(9) });
    expect(again.header?.error?.type).toBe(4);
    expect(harness.crashAndRestart()).toBe(true);
    expect(harness.call(PdService.IsBootstrapped).bootstrapped).toBe(true);
    const region = harness.call(PdService.GetRegion, { regionKey: new Uint8Array(0) });
    expect(region.region?.id).toBe(2);
    expect(region.leader).toBeNull();
    expect(harness.call(PdService.GetAllStores).stores.map((store) => store.id)).toEqual([1]);
  });

  test("hands out timestamps with the last logical part and ends the stream on half-close", () => {
    const harness = Harness.started();
    const call = harness.open(PdService.Tso);
    call.send({ header: harness.header, count: 1 });
    call.send({ header: harness.header, count: 10 });
    call.halfClose();
    expect(call.answers.map((answer) => [answer.count, answer.timestamp?.logical])).toEqual([
      [1, 1],
      [10, 11],
    ]);
    expect(call.status?.code).toBe(0);
    const zero = harness.open(PdService.Tso);
    zero.send({ header: harness.header, count: 0 });
    expect(zero.status).toEqual({
      code: 2,
      message: "[PD:tso:ErrGenerateTimestamp]generate timestamp failed, tso count should be positive",
    });
  });
});
