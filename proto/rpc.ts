/**
 * Remote calls without a transport. Services and clients are written against these types; grpc-js, the in-process
 * network and the simulator each carry them. One handler form serves all four kinds of call, because that is what
 * a stream is: messages in, messages out, an end on each side. Nothing here allocates a promise per message.
 */

/** `Init` is what may be left out when encoding (all fields optional); `T` is what decoding gives (defaults filled). */
export interface Codec<T, Init = T> {
  encode(message: Init): Uint8Array;
  /** Throws on malformed bytes. The result may alias `bytes`: copy what outlives the turn. */
  decode(bytes: Uint8Array): T;
}

export type MethodKind = "unary" | "clientStream" | "serverStream" | "bidi";

export interface MethodDefinition<Request, Response, RequestInit = Request, ResponseInit = Response> {
  /** As on the wire: `/tikvpb.Tikv/RawGet`. */
  readonly path: string;
  readonly kind: MethodKind;
  readonly request: Codec<Request, RequestInit>;
  readonly response: Codec<Response, ResponseInit>;
}

/** gRPC status codes that raftwerk uses, with gRPC's numbers. */
export const RPC_CODE = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;
export type RpcCode = (typeof RPC_CODE)[keyof typeof RPC_CODE];

export interface RpcStatus {
  readonly code: RpcCode;
  readonly message: string;
}
export const RPC_OK: RpcStatus = { code: RPC_CODE.ok, message: "" };

export type RpcMetadata = Readonly<Record<string, string>>;

/** The serving side of one call: what the handler may do. */
export interface ServerCall<Response> {
  readonly metadata: RpcMetadata;
  /** Address of the caller, for logs and limits. */
  readonly peer: string;
  /** Bytes accepted by `send` and not yet taken by the transport. Bound what you send to slow readers by it. */
  readonly pendingBytes: number;
  send(message: Response): void;
  /** Ends the call; nothing may be sent afterwards. Default status OK. Ending twice is ignored. */
  end(status?: RpcStatus): void;
}

/** What the handler is told. For unary and server-stream calls exactly one message comes, then `onHalfClose`. */
export interface ServerCallListener<Request> {
  onMessage(message: Request): void;
  /** The caller sends no more. */
  onHalfClose(): void;
  /** The call is gone (client cancelled, connection lost). Not called after `end`. */
  onCancel(): void;
}

export type RpcHandler<Request, Response> = (call: ServerCall<Response>) => ServerCallListener<Request>;

export interface BoundMethod {
  /** Types are erased here, the registry being heterogeneous by nature; `bindMethod` is the typed door. */
  readonly definition: MethodDefinition<unknown, unknown>;
  readonly handler: RpcHandler<unknown, unknown>;
  /** Its messages come in masses and may wait: they get a part of each turn, so that other calls are not held up. */
  readonly isBulk?: boolean;
}

/** Ties a handler to its method with types checked; a server takes a list of these. */
export function bindMethod<Request, Response, RequestInit, ResponseInit>(
  definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
  handler: RpcHandler<Request, ResponseInit>,
): BoundMethod {
  return { definition: definition as never, handler: handler as never };
}

/** Makes a handler of a plain function for unary calls. `reply` may be called later, once. */
export function unaryHandler<Request, Response>(
  serve: (
    request: Request,
    reply: (response: Response | RpcStatusError) => void,
    call: ServerCall<Response>,
  ) => void,
): RpcHandler<Request, Response> {
  return (call) => ({
    onMessage(request) {
      serve(
        request,
        (response) => {
          if (response instanceof RpcStatusError) {
            call.end(response.status);
          } else {
            call.send(response);
            call.end();
          }
        },
        call,
      );
    },
    onHalfClose() {},
    onCancel() {},
  });
}

/** An RPC that ended with a status other than OK. */
export class RpcStatusError extends Error {
  override readonly name = "RpcStatusError";
  readonly status: RpcStatus;
  constructor(status: RpcStatus) {
    super(`${status.message} (code ${status.code})`);
    this.status = status;
  }
}

/** The calling side of one call. */
export interface ClientCall<Request> {
  /** Bytes accepted by `send` and not yet taken by the transport. */
  readonly pendingBytes: number;
  send(message: Request): void;
  halfClose(): void;
  cancel(): void;
}

export interface ClientCallListener<Response> {
  onMessage(message: Response): void;
  /** Always called exactly once, last. */
  onEnd(status: RpcStatus): void;
}

export interface CallOptions {
  readonly metadata?: RpcMetadata | undefined;
  /** The call ends with `deadlineExceeded` after this time. Default: none for streams; always set it for unary. */
  readonly timeoutMs?: number | undefined;
}

/**
 * A connection to one address, shared by all who ask for it; connects lazily and reconnects by itself for new
 * calls.
 */
export interface RpcChannel {
  open<Request, Response, RequestInit, ResponseInit>(
    method: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    listener: ClientCallListener<Response>,
    options?: CallOptions,
  ): ClientCall<RequestInit>;
}

/** The network door: channels to addresses (`host:port`). */
export interface RpcNetwork {
  /** The same channel for the same address and lane: lanes are connections of their own. Default lane 0. */
  channel(address: string, lane?: number): RpcChannel;
}

/** One request, one response or an error. */
export function callUnary<Request, Response, RequestInit, ResponseInit>(
  channel: RpcChannel,
  method: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
  request: RequestInit,
  options: CallOptions & { readonly timeoutMs: number },
  callback: (error: RpcStatusError | undefined, response: Response | undefined) => void,
): ClientCall<RequestInit> {
  let response: Response | undefined;
  const call = channel.open(
    method,
    {
      onMessage(message) {
        response = message;
      },
      onEnd(status) {
        if (status.code !== RPC_CODE.ok) callback(new RpcStatusError(status), undefined);
        else if (response === undefined)
          callback(
            new RpcStatusError({ code: RPC_CODE.internal, message: "no response message" }),
            undefined,
          );
        else callback(undefined, response);
      },
    },
    options,
  );
  call.send(request);
  call.halfClose();
  return call;
}
