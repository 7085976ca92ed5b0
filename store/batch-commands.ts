/**
 * BatchCommands: many requests in one message, answers in any order and grouping, by request id. The answers of a turn
 * leave in one message per stream. A client that sends and does not read is cut off once its backlog passes a bound.
 */
import { type kvrpcpb, RPC_CODE, type RpcHandler, type ServerCall, type tikvpb } from "../proto/index.js";
import type { RpcStatus } from "../proto/rpc.js";

export type BatchRequest = tikvpb.BatchCommandsRequest.Request;
export type BatchResponse = tikvpb.BatchCommandsResponse.IResponse;

/** Serves one request; `reply` may be called later, once. A status ends the whole stream. */
export type BatchDispatch = (
  request: BatchRequest,
  reply: (response: BatchResponse) => void,
) => RpcStatus | undefined;

/** One client's stream. */
export class BatchStream {
  readonly #call: ServerCall<tikvpb.IBatchCommandsResponse>;
  readonly #batches: BatchCommandsServer;
  #responses: BatchResponse[] = [];
  #requestIds: number[] = [];
  /** Requests taken in and not answered. */
  #underWay = 0;
  #toldHealth: kvrpcpb.IHealthFeedback | undefined;
  #halfClosed = false;
  /** Among those whose answers leave at the end of the turn. */
  isDirty = false;
  #ended = false;

  constructor(call: ServerCall<tikvpb.IBatchCommandsResponse>, batches: BatchCommandsServer) {
    this.#call = call;
    this.#batches = batches;
  }

  take(message: tikvpb.BatchCommandsRequest): void {
    const { requests, requestIds } = message;
    if (this.#ended) return;
    if (this.#call.pendingBytes > this.#batches.pendingBytesMax) {
      const reason = "the client does not read its answers";
      return this.#end({ code: RPC_CODE.resourceExhausted, message: reason });
    }
    if (requests.length !== requestIds.length) {
      const reason = `${requests.length} requests with ${requestIds.length} request ids`;
      return this.#end({ code: RPC_CODE.invalidArgument, message: reason });
    }
    this.#underWay += requests.length;
    for (let i = 0; i < requests.length; i++) {
      const id = requestIds[i] as number;
      const status = this.#batches.dispatch(requests[i] as BatchRequest, (response) =>
        this.#answer(id, response),
      );
      if (status !== undefined) return this.#end(status);
    }
  }

  halfClose(): void {
    this.#halfClosed = true;
    // Answers of this turn leave first.
    if (this.#underWay === 0 && this.#responses.length === 0 && !this.#ended)
      this.#end({ code: RPC_CODE.ok, message: "" });
  }

  cancelled(): void {
    this.#ended = true;
    this.#responses = [];
    this.#requestIds = [];
  }

  /** Sends the answers of this turn. */
  flush(): void {
    if (this.#ended || this.#responses.length === 0) return;
    const responses = this.#responses;
    const requestIds = this.#requestIds;
    this.#responses = [];
    this.#requestIds = [];
    this.#call.send({ responses, requestIds, ...this.#feedback() });
    if (this.#halfClosed && this.#underWay === 0) this.#end({ code: RPC_CODE.ok, message: "" });
  }

  /** Each client hears once of each state of health. */
  #feedback(): { readonly healthFeedback?: kvrpcpb.IHealthFeedback } {
    const { health } = this.#batches;
    if (health === undefined || health === this.#toldHealth) return {};
    this.#toldHealth = health;
    return { healthFeedback: health };
  }

  #answer(id: number, response: BatchResponse): void {
    this.#underWay--;
    if (this.#ended) return;
    this.#responses.push(response);
    this.#requestIds.push(id);
    this.#batches.markDirty(this);
  }

  #end(status: RpcStatus): void {
    this.#ended = true;
    if (status.code !== RPC_CODE.ok) this.#batches.streamsCutOff++;
    this.#call.end(status);
  }
}

export class BatchCommandsServer {
  readonly dispatch: BatchDispatch;
  readonly pendingBytesMax: number;
  readonly #wake: () => void;
  #dirty: BatchStream[] = [];
  /** How the store is, as of last: rides on the next answer to each client. */
  health: kvrpcpb.IHealthFeedback | undefined;
  requests = 0;
  messages = 0;
  /** Streams ended because of what their clients did. */
  streamsCutOff = 0;

  constructor(dispatch: BatchDispatch, pendingBytesMax: number, wake: () => void) {
    this.dispatch = dispatch;
    this.pendingBytesMax = pendingBytesMax;
    this.#wake = wake;
  }

  readonly handler: RpcHandler<tikvpb.BatchCommandsRequest, tikvpb.IBatchCommandsResponse> = (call) => {
    const stream = new BatchStream(call, this);
    return {
      onMessage: (message) => {
        this.messages++;
        this.requests += message.requests.length;
        stream.take(message);
      },
      onHalfClose: () => stream.halfClose(),
      onCancel: () => stream.cancelled(),
    };
  };

  markDirty(stream: BatchStream): void {
    if (stream.isDirty) return;
    stream.isDirty = true;
    this.#dirty.push(stream);
    this.#wake();
  }

  flush(): boolean {
    if (this.#dirty.length === 0) return false;
    const streams = this.#dirty;
    this.#dirty = [];
    for (const stream of streams) {
      stream.isDirty = false;
      stream.flush();
    }
    return true;
  }
}
