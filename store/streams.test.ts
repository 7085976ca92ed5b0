/** Streams between stores and from clients: order, back-off, what is dropped, and clients that misbehave. */
import { beforeEach, describe, expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import { eraftpb, RPC_CODE, type RpcStatus, tikvpb } from "../proto/index.js";
import type { ClientCallListener, RpcNetwork, ServerCall } from "../proto/rpc.js";
import { type BatchResponse, BatchCommandsServer } from "./batch-commands.js";
import { RaftTransport } from "./transport.js";

describe("the transport", () => {
  interface Opened {
    address: string;
    batches: number[][];
    listener: ClientCallListener<unknown>;
    pendingBytes: number;
    isCancelled: boolean;
  }
  let env: ManualEnv;
  let opened: Opened[];
  let addresses: Map<number, string>;
  let resolves: number;
  let unreachable: number[];
  let transport: RaftTransport;

  beforeEach(() => {
    env = new ManualEnv();
    opened = [];
    addresses = new Map([
      [2, "two"],
      [3, "three"],
    ]);
    resolves = 0;
    unreachable = [];
    const network: RpcNetwork = {
      channel: (address) => ({
        open: (_method, listener) => {
          const one: Opened = {
            address,
            batches: [],
            listener: listener as never,
            pendingBytes: 0,
            isCancelled: false,
          };
          opened.push(one);
          return {
            get pendingBytes() {
              return one.pendingBytes;
            },
            send: (message) => {
              const { msgs } = message as { msgs: { regionId: number }[] };
              one.batches.push(msgs.map((each) => each.regionId));
            },
            halfClose() {},
            cancel: () => {
              one.isCancelled = true;
            },
          };
        },
        close() {},
      }),
    };
    transport = new RaftTransport(env, network, {
      resolve: (id, callback) => {
        resolves++;
        callback(addresses.get(id));
      },
      unreachable: (id) => unreachable.push(id),
      metadata: () => ({}),
    });
  });
  const send = (to: number, ...regions: number[]): void => {
    const message = { msgType: eraftpb.MessageType.MsgAppend };
    for (const regionId of regions) transport.send(to, { regionId, message });
    transport.flush();
  };
  const lose = (at: number): void =>
    opened[at]?.listener.onEnd({ code: RPC_CODE.unavailable, message: "gone" });

  test("sends what one turn has for a store as one message, in order, over one stream", () => {
    send(2, 7, 8, 9);
    send(3, 7);
    send(2, 10);
    expect(opened.map(({ address, batches }) => [address, batches])).toEqual([
      ["two", [[7, 8, 9], [10]]],
      ["three", [[7]]],
    ]);
    expect(resolves).toBe(2);
  });

  test("tells that a store is unreachable when its stream ends, and asks PD for its address again", () => {
    send(2, 7);
    lose(0);
    expect(unreachable).toEqual([2]);
    addresses.set(2, "elsewhere");
    send(2, 8);
    expect(opened).toHaveLength(1);
    env.advance(60);
    send(2, 9);
    expect(opened[1]).toMatchObject({ address: "elsewhere", batches: [[9]] });
    expect(transport.droppedMessages).toBe(1);
  });

  test("tries again ever more seldom, but at least once a second", () => {
    send(2, 1);
    const attempts: number[] = [];
    for (let ms = 0; ms < 10_000; ms += 10) {
      const before = opened.length;
      send(2, 1);
      if (opened.length > before) attempts.push(ms);
      lose(opened.length - 1);
      env.advance(10);
    }
    const gaps = attempts.slice(1).map((at, i) => at - (attempts[i] as number));
    expect(gaps[0]).toBeLessThanOrEqual(200);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_010);
    expect(gaps.at(-1)).toBeGreaterThanOrEqual(900);
  });

  test("drops messages to a store of no known address, and keeps nothing of them", () => {
    addresses.delete(2);
    send(2, 1, 2, 3);
    expect([transport.droppedMessages, opened.length]).toEqual([3, 0]);
    env.advance(5_000);
    addresses.set(2, "two");
    send(2, 4);
    expect(opened[0]?.batches).toEqual([[4]]);
  });

  test("drops messages to a store that reads too slowly, and says so", () => {
    send(2, 1);
    (opened[0] as Opened).pendingBytes = 1 << 30;
    send(2, 2);
    expect([opened[0]?.batches, unreachable]).toEqual([[[1]], [2]]);
  });

  test("stopped cancels its streams and is silent", () => {
    send(2, 1);
    transport.stop();
    lose(0);
    send(2, 2);
    expect([opened[0]?.isCancelled, unreachable, opened.length]).toEqual([true, [], 1]);
  });
});

describe("a stream of batches", () => {
  class Fixture {
    readonly sent: { ids: number[]; count: number }[] = [];
    readonly replies = new Map<string, (response: BatchResponse) => void>();
    ended: RpcStatus | undefined;
    pendingBytes = 0;
    status: RpcStatus | undefined;
    readonly server = new BatchCommandsServer(
      (request, reply) => {
        if (this.status !== undefined) return this.status;
        this.replies.set(String(request.Empty?.testId), reply);
        return undefined;
      },
      1000,
      () => {},
    );
    readonly listener = this.server.handler(this.#call());

    #call(): ServerCall<tikvpb.IBatchCommandsResponse> {
      const fixture = this;
      return {
        metadata: {},
        peer: "client",
        get pendingBytes() {
          return fixture.pendingBytes;
        },
        send: (message) =>
          void this.sent.push({
            ids: [...(message.requestIds ?? [])],
            count: message.responses?.length ?? 0,
          }),
        end: (status) => {
          this.ended = status ?? { code: RPC_CODE.ok, message: "" };
        },
      };
    }
    ask(ids: number[], requests = ids.length): void {
      const message = {
        requestIds: ids,
        requests: Array.from({ length: requests }, (_, i) => ({ Empty: { testId: BigInt(ids[i] ?? 0) } })),
      };
      this.listener.onMessage(
        tikvpb.BatchCommandsRequest.decode(
          new Uint8Array(tikvpb.BatchCommandsRequest.encode(message).finish()),
        ),
      );
    }
    answer(id: number): void {
      this.replies.get(String(id))?.({ Empty: { testId: BigInt(id) } });
    }
  }

  test("answers in any order, those of one turn in one message", () => {
    const fixture = new Fixture();
    fixture.ask([1, 2, 3]);
    fixture.answer(3);
    fixture.answer(1);
    fixture.server.flush();
    fixture.answer(2);
    fixture.server.flush();
    fixture.server.flush();
    expect(fixture.sent).toEqual([
      { ids: [3, 1], count: 2 },
      { ids: [2], count: 1 },
    ]);
  });

  test("closed by the client ends when all is answered, not before", () => {
    const fixture = new Fixture();
    fixture.ask([1]);
    fixture.listener.onHalfClose();
    expect(fixture.ended).toBeUndefined();
    fixture.answer(1);
    fixture.server.flush();
    expect([fixture.sent.length, fixture.ended?.code]).toEqual([1, RPC_CODE.ok]);
  });

  test("given up by the client gets nothing more", () => {
    const fixture = new Fixture();
    fixture.ask([1]);
    fixture.listener.onCancel();
    fixture.answer(1);
    fixture.server.flush();
    expect([fixture.sent, fixture.ended]).toEqual([[], undefined]);
  });

  test("with other numbers of requests and ids is refused", () => {
    const fixture = new Fixture();
    fixture.ask([1, 2], 1);
    expect(fixture.ended?.code).toBe(RPC_CODE.invalidArgument);
  });

  test("whose answers are not read is cut off", () => {
    const fixture = new Fixture();
    fixture.pendingBytes = 1001;
    fixture.ask([1]);
    expect(fixture.ended?.code).toBe(RPC_CODE.resourceExhausted);
    expect(fixture.replies.size).toBe(0);
  });

  test("of another cluster is ended with the reason", () => {
    const fixture = new Fixture();
    fixture.status = { code: RPC_CODE.invalidArgument, message: "cluster id" };
    fixture.ask([1]);
    expect(fixture.ended?.message).toBe("cluster id");
  });
});
