/**
 * Calls inside one process, by bytes: everything is encoded and decoded as on a wire, so that no object is
 * shared between
 * caller and server and the codecs are exercised. What is sent in one turn arrives together in the next. Portable: the
 * embedded cluster, tests and the simulator use it.
 */
import type { Env } from "../base/index.js";
import {
  type BoundMethod,
  type CallOptions,
  type ClientCall,
  type ClientCallListener,
  type MethodDefinition,
  RPC_CODE,
  RPC_OK,
  type RpcChannel,
  type RpcHandler,
  type RpcNetwork,
  type RpcStatus,
  type ServerCallListener,
} from "../proto/rpc.js";

type Endpoint = ReadonlyMap<string, BoundMethod>;

/** A switchboard of addresses. */
export class InProcessNetwork implements RpcNetwork {
  readonly #env: Env;
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #calls = new Set<InProcessCall>();
  #queue: (() => void)[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  /** Serves `methods` at `address` until the returned function is called. */
  listen(address: string, methods: readonly BoundMethod[]): () => void {
    this.#endpoints.set(address, new Map(methods.map((method) => [method.definition.path, method])));
    return () => this.disconnect(address);
  }

  /** The endpoint is gone: calls to it end as on a broken connection. */
  disconnect(address: string): void {
    this.#endpoints.delete(address);
    for (const call of [...this.#calls]) if (call.address === address) call.break();
  }

  channel(address: string): RpcChannel {
    return {
      open: (method, listener, options) => this.#open(address, method, listener, options),
    };
  }

  #open<Q, R, QI, RI>(
    address: string,
    method: MethodDefinition<Q, R, QI, RI>,
    listener: ClientCallListener<R>,
    options: CallOptions | undefined,
  ): ClientCall<QI> {
    const call = new InProcessCall(address, method as MethodDefinition<unknown, unknown>, listener, {
      later: (run) => this.#later(run),
      done: () => this.#calls.delete(call),
    });
    this.#calls.add(call);
    const bound = this.#endpoints.get(address)?.get(method.path);
    if (!this.#endpoints.has(address)) call.refuse(RPC_CODE.unavailable, `nobody listens at ${address}`);
    else if (bound === undefined) call.refuse(RPC_CODE.unimplemented, `${method.path} is not served`);
    else call.serve(bound.handler, options?.metadata ?? {});
    if (options?.timeoutMs !== undefined) {
      const timer = this.#env.timers.set(options.timeoutMs, () => call.expire());
      call.onDone = () => this.#env.timers.clear(timer);
    }
    return call as ClientCall<QI>;
  }

  #later(run: () => void): void {
    this.#queue.push(run);
    if (this.#queue.length > 1) return;
    this.#env.timers.nextTurn(() => {
      const queue = this.#queue;
      this.#queue = [];
      for (const deliver of queue) deliver();
    });
  }
}

interface CallHost {
  later(run: () => void): void;
  done(): void;
}

class InProcessCall implements ClientCall<unknown> {
  readonly address: string;
  readonly #method: MethodDefinition<unknown, unknown>;
  readonly #listener: ClientCallListener<unknown>;
  readonly #host: CallHost;
  #server: ServerCallListener<unknown> | undefined;
  #clientEnded = false;
  #serverEnded = false;
  #toServer = 0;
  #toClient = 0;
  onDone: () => void = () => {};

  constructor(
    address: string,
    method: MethodDefinition<unknown, unknown>,
    listener: ClientCallListener<never>,
    host: CallHost,
  ) {
    this.address = address;
    this.#method = method;
    this.#listener = listener as ClientCallListener<unknown>;
    this.#host = host;
  }

  get pendingBytes(): number {
    return this.#toServer;
  }

  serve(handler: RpcHandler<unknown, unknown>, metadata: Readonly<Record<string, string>>): void {
    const call = this;
    this.#server = handler({
      metadata,
      peer: "in-process",
      get pendingBytes() {
        return call.#toClient;
      },
      send: (message) => this.#sendToClient(message),
      end: (status) => this.#endFromServer(status ?? RPC_OK),
    });
  }

  refuse(code: RpcStatus["code"], message: string): void {
    this.#endFromServer({ code, message });
  }

  send(message: unknown): void {
    if (this.#clientEnded || this.#serverEnded) return;
    const bytes = this.#method.request.encode(message);
    this.#toServer += bytes.length;
    this.#host.later(() => {
      this.#toServer -= bytes.length;
      if (!this.#serverEnded) this.#server?.onMessage(this.#method.request.decode(bytes));
    });
  }

  halfClose(): void {
    this.#host.later(() => {
      if (!this.#serverEnded) this.#server?.onHalfClose();
    });
  }

  cancel(): void {
    this.#finish({ code: RPC_CODE.cancelled, message: "cancelled by the caller" });
  }

  expire(): void {
    this.#finish({ code: RPC_CODE.deadlineExceeded, message: "deadline exceeded" });
  }

  break(): void {
    this.#finish({ code: RPC_CODE.unavailable, message: "connection lost" });
  }

  #finish(status: RpcStatus): void {
    if (!this.#serverEnded) {
      this.#serverEnded = true;
      this.#host.later(() => this.#server?.onCancel());
    }
    this.#endClient(status);
  }

  #sendToClient(message: unknown): void {
    if (this.#serverEnded || this.#clientEnded) return;
    const bytes = this.#method.response.encode(message);
    this.#toClient += bytes.length;
    this.#host.later(() => {
      this.#toClient -= bytes.length;
      if (!this.#clientEnded) this.#listener.onMessage(this.#method.response.decode(bytes));
    });
  }

  #endFromServer(status: RpcStatus): void {
    if (this.#serverEnded) return;
    this.#serverEnded = true;
    this.#endClient(status);
  }

  #endClient(status: RpcStatus): void {
    this.#host.later(() => {
      if (this.#clientEnded) return;
      this.#clientEnded = true;
      this.#host.done();
      this.onDone();
      this.#listener.onEnd(status);
    });
  }
}
