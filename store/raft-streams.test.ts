/** Who may speak to a store as another store. */
import { beforeEach, describe, expect, test } from "vitest";
import { type raft_serverpb, RPC_CODE, type RpcStatus, TikvService } from "../proto/index.js";
import { makeMessage } from "../raft/index.js";
import { messageToProto } from "./raft-message.js";
import { clusterMetadata } from "./raft-streams.js";
import { addressOf, CLUSTER, Stores } from "./test/harness.js";

let stores: Stores;
beforeEach(() => {
  stores = Stores.led(3);
});

const METHODS = ["Raft", "BatchRaft", "Snapshot"] as const;

/** Opens a stream to store 1, sends the messages, and gives its end if it ends. */
function speak(
  method: (typeof METHODS)[number],
  metadata: Readonly<Record<string, string>>,
  messages: readonly raft_serverpb.IRaftMessage[] = [],
): RpcStatus | undefined {
  let status: RpcStatus | undefined;
  const listener = {
    onMessage() {},
    onEnd: (end: RpcStatus) => {
      status = end;
    },
  };
  const call = stores.network
    .channel(addressOf(1))
    .open(TikvService[method] as never, listener, { metadata });
  for (const message of messages)
    call.send((method === "BatchRaft" ? { msgs: [message] } : message) as never);
  stores.pass(50);
  return status;
}

const own = clusterMetadata(CLUSTER);
const heartbeat = (change: Partial<raft_serverpb.IRaftMessage> = {}): raft_serverpb.IRaftMessage => ({
  regionId: 2,
  fromPeer: { id: 22, storeId: 2 },
  toPeer: { id: 21, storeId: 1 },
  regionEpoch: { confVer: 1, version: 1 },
  message: messageToProto(makeMessage({ type: "MsgHeartbeat", from: 22, to: 21, term: 99 as never })),
  ...change,
});

describe("a stream of Raft messages or of a snapshot", () => {
  test.each(METHODS)("%s of another cluster, or of one that names none, is refused and counted", (method) => {
    for (const metadata of [{}, clusterMetadata(CLUSTER + 1n)]) {
      expect(speak(method, metadata, [heartbeat()])?.code).toBe(RPC_CODE.failedPrecondition);
    }
    expect(stores.store().streams.strangers).toBe(2);
    expect(stores.peer().term).toBeLessThan(99);
  });

  test("of this cluster is listened to", () => {
    expect(speak("BatchRaft", own, [heartbeat()])).toBeUndefined();
    expect(stores.store().streams.strangers).toBe(0);
    expect(stores.peer().term).toBe(99);
  });

  test("of a message for another store ends, saying whose store this is", () => {
    const status = speak("Raft", own, [heartbeat({ toPeer: { id: 21, storeId: 7 } })]);
    expect(status).toMatchObject({
      code: RPC_CODE.invalidArgument,
      message: expect.stringContaining("store 1"),
    });
  });

  test("never forwards a proposal, nor takes a snapshot's message without its data", () => {
    const { lastIndex } = stores.peer().node;
    for (const type of ["MsgProp", "MsgSnap", "MsgHup"] as const) {
      const message = messageToProto(
        makeMessage({
          type,
          from: 22,
          to: 21,
          term: 99 as never,
          entries: [{ type: "EntryNormal", term: 0 as never, index: 0 as never, data: Uint8Array.of(9) }],
          snapshot: {
            data: new Uint8Array(0),
            metadata: {
              index: 9_000 as never,
              term: 99 as never,
              confState: {
                voters: [21],
                learners: [],
                votersOutgoing: [],
                learnersNext: [],
                autoLeave: false,
              },
            },
          },
        }),
      );
      expect(speak("BatchRaft", own, [heartbeat({ message })])).toBeUndefined();
    }
    stores.pass(500);
    expect([stores.peer().node.lastIndex, stores.peer().isApplyingSnapshot]).toEqual([lastIndex, false]);
    expect(stores.put("k", "v")).toEqual({});
  });
});
