/** Raft messages between stores: what leaves on which stream. */
import { describe, expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import { eraftpb, type raft_serverpb, type tikvpb } from "../proto/index.js";
import type { RpcNetwork } from "../proto/rpc.js";
import { RaftTransport } from "./transport.js";

const { MsgAppend, MsgAppendResponse, MsgHeartbeat } = eraftpb.MessageType;

/** Keeps what is sent, by lane. */
class Lanes {
  readonly sent: { readonly lane: number; readonly types: number[] }[] = [];
  pendingBytes = 0;

  readonly network = {
    channel: (_address: string, lane = 0) => ({
      open: () => {
        const lanes = this;
        return {
          get pendingBytes() {
            return lane === 0 ? lanes.pendingBytes : 0;
          },
          send: ({ msgs }: tikvpb.IBatchRaftMessage) => {
            this.sent.push({ lane, types: (msgs ?? []).map(({ message }) => message?.msgType ?? -1) });
          },
          halfClose() {},
          cancel() {},
        };
      },
    }),
  } as unknown as RpcNetwork;
}

const message = (msgType: number): raft_serverpb.IRaftMessage => ({ regionId: 2, message: { msgType } });

const setUp = () => {
  const lanes = new Lanes();
  const unreachable: number[] = [];
  const transport = new RaftTransport(new ManualEnv(), lanes.network, {
    resolve: (_id, callback) => callback("store-2:20160"),
    unreachable: (id) => unreachable.push(id),
    metadata: () => ({}),
  });
  const send = (...types: number[]): void => {
    for (const type of types) transport.send(2, message(type));
    transport.flush();
  };
  return { lanes, send, unreachable };
};

describe("messages to a store", () => {
  test("leave in one message a turn", () => {
    const { lanes, send } = setUp();
    send(MsgAppend, MsgHeartbeat, MsgAppendResponse);
    expect(lanes.sent).toEqual([{ lane: 0, types: [MsgAppend, MsgHeartbeat, MsgAppendResponse] }]);
  });

  test("that carry no entries pass by a backlog of those that do", () => {
    const { lanes, send } = setUp();
    send(MsgAppend);
    lanes.pendingBytes = 8 << 20;
    send(MsgAppend, MsgHeartbeat, MsgAppendResponse);
    send(MsgHeartbeat);
    expect(lanes.sent.slice(1)).toEqual([
      { lane: 1, types: [MsgHeartbeat, MsgAppendResponse] },
      { lane: 0, types: [MsgAppend] },
      { lane: 1, types: [MsgHeartbeat] },
    ]);
  });

  test("are dropped where the backlog is beyond its bound, but not what keeps a leader", () => {
    const { lanes, send, unreachable } = setUp();
    send(MsgAppend);
    lanes.pendingBytes = 1 << 30;
    send(MsgAppend, MsgHeartbeat);
    expect(lanes.sent.slice(1)).toEqual([{ lane: 1, types: [MsgHeartbeat] }]);
    expect(unreachable).toEqual([2]);
  });

  test("of more regions than may wait for an address all leave, in their order", () => {
    const { lanes, send, unreachable } = setUp();
    send(MsgHeartbeat);
    send(...Array.from({ length: 10_000 }, () => MsgHeartbeat), MsgAppend);
    const types = lanes.sent.slice(1).flatMap((each) => each.types);
    expect([types.length, types.at(-1), unreachable]).toEqual([10_001, MsgAppend, []]);
  });
});
