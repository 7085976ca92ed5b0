/**
 * Calls over gRPC. One channel is one connection; who wants several to one address asks for lanes. The calls go
 * through grpc-js's channel directly, below its stream classes: one read outstanding at a time, messages in order, the
 * status last.
 */
import { credentials, Client, Metadata } from "@grpc/grpc-js";
import {
  type CallOptions,
  type ClientCall,
  type ClientCallListener,
  type MethodDefinition,
  RPC_CODE,
  type RpcChannel,
  type RpcCode,
  type RpcNetwork,
} from "../proto/rpc.js";
import { asBuffer, CHANNEL_OPTIONS } from "./grpc-common.js";

export class GrpcNetwork implements RpcNetwork {
  readonly #channels = new Map<string, GrpcChannel>();

  /** `address` is `host:port`; a scheme in front is dropped. */
  channel(address: string, lane = 0): RpcChannel {
    const key = `${lane} ${address}`;
    let channel = this.#channels.get(key);
    if (channel === undefined) {
      channel = new GrpcChannel(address.replace(/^https?:\/\//, ""));
      this.#channels.set(key, channel);
    }
    return channel;
  }

  /** Ends all connections; calls under way end with `cancelled` or `unavailable`. */
  close(): void {
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
  }
}

class GrpcChannel implements RpcChannel {
  readonly #client: Client;
  #isClosed = false;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), CHANNEL_OPTIONS);
  }

  open<Request, Response, RequestInit, ResponseInit>(
    method: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    listener: ClientCallListener<Response>,
    options: CallOptions = {},
  ): ClientCall<RequestInit> {
    if (this.#isClosed) {
      queueMicrotask(() => listener.onEnd({ code: RPC_CODE.unavailable, message: "the channel is closed" }));
      return CLOSED_CALL;
    }
    return new GrpcClientCall(this.#client, method, listener, options);
  }

  close(): void {
    this.#isClosed = true;
    this.#client.close();
  }
}

const CLOSED_CALL: ClientCall<unknown> = {
  pendingBytes: 0,
  send() {},
  halfClose() {},
  cancel() {},
};

type CoreCall = ReturnType<ReturnType<Client["getChannel"]>["createCall"]>;

class GrpcClientCall<Request, Response, RequestInit, ResponseInit> implements ClientCall<RequestInit> {
  readonly #call: CoreCall;
  readonly #method: MethodDefinition<Request, Response, RequestInit, ResponseInit>;
  /** Messages that wait for the one under way: grpc-js takes one at a time. */
  #queue: Buffer[] = [];
  #isSending = false;
  #halfClosed = false;
  #pendingBytes = 0;
  #ended = false;

  constructor(
    client: Client,
    method: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    listener: ClientCallListener<Response>,
    options: CallOptions,
  ) {
    this.#method = method;
    const deadline =
      options.timeoutMs === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.timeoutMs;
    const call = client.getChannel().createCall(method.path, deadline, null, null, null);
    this.#call = call;
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
    call.start(metadata, {
      onReceiveMetadata() {},
      onReceiveMessage: (bytes: Uint8Array) => {
        if (this.#ended) return;
        let message: Response;
        try {
          message = method.response.decode(bytes);
        } catch (error) {
          call.cancelWithStatus(RPC_CODE.internal, `the answer is malformed: ${String(error)}`);
          return;
        }
        listener.onMessage(message);
        call.startRead();
      },
      onReceiveStatus: (status) => {
        if (this.#ended) return;
        this.#ended = true;
        this.#pendingBytes = 0;
        this.#queue = [];
        listener.onEnd({ code: status.code as RpcCode, message: status.details });
      },
    });
    call.startRead();
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  send(message: RequestInit): void {
    if (this.#ended || this.#halfClosed) return;
    const bytes = asBuffer(this.#method.request.encode(message));
    this.#pendingBytes += bytes.length;
    if (this.#isSending) this.#queue.push(bytes);
    else this.#sendNow(bytes);
  }

  #sendNow(bytes: Buffer): void {
    this.#isSending = true;
    const callback = (): void => {
      this.#isSending = false;
      this.#pendingBytes = Math.max(0, this.#pendingBytes - bytes.length);
      if (this.#ended) return;
      const next = this.#queue.shift();
      if (next !== undefined) this.#sendNow(next);
      else if (this.#halfClosed) this.#call.halfClose();
    };
    this.#call.sendMessageWithContext({ callback }, bytes);
  }

  halfClose(): void {
    if (this.#ended || this.#halfClosed) return;
    this.#halfClosed = true;
    if (!this.#isSending) this.#call.halfClose();
  }

  cancel(): void {
    if (!this.#ended) this.#call.cancelWithStatus(RPC_CODE.cancelled, "cancelled by the caller");
  }
}
