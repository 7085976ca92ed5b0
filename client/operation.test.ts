/** What an operation says of an attempt whose fate nobody knows, and what it does next. */
import { describe, expect, it } from "vitest";
import { RaftwerkError } from "../base/index.js";
import { ManualEnv } from "../base/test/manual-env.js";
import type { errorpb, metapb, RpcStatus } from "../proto/index.js";
import { type AnswerBody, type Attempt, Operation } from "./operation.js";
import { cachedRegion } from "./region-cache.js";
import { RegionRouter } from "./region-router.js";

const REGION = cachedRegion(
  {
    id: 2,
    startKey: new Uint8Array(0),
    endKey: new Uint8Array(0),
    regionEpoch: { confVer: 1, version: 1 },
    peers: [{ id: 21, storeId: 1 }],
  } as never,
  { id: 21, storeId: 1 } as never,
);

type Fate = "broken" | errorpb.IError | "success" | "silence";

/** Runs an operation whose attempts end as told, the last one again and again, until its time is over. */
function run(effect: Attempt<AnswerBody>["effect"], onLost: "retry" | "fail", ...fates: Fate[]) {
  const env = new ManualEnv();
  const pd = { clusterId: 1n, getStore() {}, lookupRegion() {} } as never;
  const router = new RegionRouter(env, { channel: () => ({}) as never }, pd, 1);
  Object.assign(router, {
    locate: (_key: unknown, _before: unknown, found: (error: undefined, region: unknown) => void) =>
      found(undefined, REGION),
    address: (_region: unknown, found: (error: undefined, address: string) => void) =>
      found(undefined, "store:1"),
  });
  let attempts = 0;
  const attempt: Attempt<AnswerBody> = {
    kind: "call",
    key: new Uint8Array([1]),
    before: false,
    effect,
    send(_address, _timeoutMs, _context, callback) {
      const fate = fates[Math.min(attempts++, fates.length - 1)] as Fate;
      const lost: RpcStatus = { code: 14, message: "connection lost" };
      env.timers.set(1, () => {
        if (fate === "broken") callback(undefined, lost);
        else if (fate === "success") callback({ regionError: null }, undefined);
        else if (fate !== "silence") callback({ regionError: fate }, undefined);
      });
      return () => {};
    },
  };
  const end: { error?: Error; isResolved?: boolean } = {};
  const operation = new Operation(
    env,
    router,
    attempt,
    2_000,
    { onLost },
    () => {
      end.isResolved = true;
    },
    (error) => {
      end.error = error;
    },
  );
  operation.start();
  for (let i = 0; i < 30 && !operation.isDone; i++) {
    env.advance(100);
    operation.expire(env.clock.monotonicMs());
  }
  const { error } = end;
  const outcome = error instanceof RaftwerkError ? `${error.code} ${error.retry}` : "resolved";
  return { attempts, outcome };
}

const BUSY: errorpb.IError = { serverIsBusy: { reason: "test", backoffMs: 50 } };
const STALE: errorpb.IError = { staleCommand: {} };

describe("an operation", () => {
  it("had no effect when every attempt was refused by a store", () => {
    expect(run("repeatable", "retry", BUSY).outcome).toBe("deadlineExceeded safe");
  });

  it("stays of unknown outcome once an attempt was lost, though later ones were refused", () => {
    expect(run("repeatable", "retry", "broken", BUSY).outcome).toBe("deadlineExceeded unknown");
    expect(run("repeatable", "retry", STALE, BUSY).outcome).toBe("deadlineExceeded unknown");
  });

  it("that only reads had no effect whatever became of its attempts", () => {
    expect(run("none", "fail", "broken", BUSY).outcome).toBe("deadlineExceeded safe");
  });

  it("is sent again after a lost attempt, unless its caller asked otherwise", () => {
    expect(run("repeatable", "retry", "broken", "success")).toEqual({ attempts: 2, outcome: "resolved" });
    expect(run("repeatable", "fail", "broken", "success")).toEqual({
      attempts: 1,
      outcome: "undeterminedResult unknown",
    });
  });

  it("that must happen once is not sent again after a stale command, which may yet be committed", () => {
    expect(run("once", "retry", STALE, "success")).toEqual({
      attempts: 1,
      outcome: "undeterminedResult unknown",
    });
    expect(run("once", "retry", BUSY, "success")).toEqual({ attempts: 2, outcome: "resolved" });
  });
});

describe("the router", () => {
  it("doubts a region whose peer has another id by now", () => {
    const router = new RegionRouter(new ManualEnv(), { channel: () => ({}) as never }, {} as never, 1);
    router.cache.insert(REGION);
    const key = new Uint8Array([1]);
    const [asked] = REGION.peers as [metapb.Peer];
    router.learn(REGION, asked, BUSY, 0);
    expect(router.cache.find(key)?.isStale).toBe(false);
    router.learn(REGION, asked, { mismatchPeerId: { requestPeerId: 21, storePeerId: 99 } }, 0);
    expect(router.cache.find(key)?.isStale).toBe(true);
  });
});
