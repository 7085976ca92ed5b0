/**
 * Serves one call over an HTTP/2 stream. Every kind of call is a stream of bytes here: unary is one message each way.
 * grpc-js's own server costs 20 to 30 microseconds a message, this 2 to 4 (docs/performance.md); clients that send one
 * request a message pay that for every command. What arrives malformed becomes a status, never an exception.
 */
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { AssertionError, type Logger, RaftwerkError } from "../base/index.js";
import {
  type BoundMethod,
  type MethodDefinition,
  RPC_CODE,
  RPC_OK,
  type RpcCode,
  type RpcMetadata,
  type RpcStatus,
  type ServerCall,
  type ServerCallListener,
} from "../proto/rpc.js";
import { MESSAGE_BYTES_MAX } from "./grpc-common.js";
import { ENCODINGS, frameMessage, MessageReader, percentEncoded, timeoutMsOf } from "./grpc-frames.js";
import type { PortObserver } from "./port-observer.js";
import type { TurnShare } from "./turn-share.js";

/** A caller that lets this many bytes of answers wait is not read from until they are taken. */
const PAUSE_BYTES = 32 << 20;
/** A caller that goes on sending behind its answer is cut off after this time. */
const LINGER_MS = 1_000;

/** Counts bytes that callers have not taken yet, over all calls of a port; negative when they have. */
export interface PendingBytes {
  add(bytes: number): void;
}

export interface CallContext {
  readonly log: Logger;
  readonly onFatal: (error: Error) => void;
  readonly answers: PendingBytes;
  readonly observer: PortObserver;
  /** For all bulk calls of a port together. */
  readonly bulk: TurnShare;
}

const HEADERS = {
  ":status": 200,
  "content-type": "application/grpc",
  "grpc-accept-encoding": ENCODINGS,
} as const;

/** Ends a stream that never became a call. */
export function refuse(stream: ServerHttp2Stream, status: RpcStatus): void {
  refuseWith(stream, { ...HEADERS, ...trailersOf(status) });
}

export function refuseWith(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  stream.on("error", () => {});
  if (stream.destroyed || stream.closed) return;
  stream.respond(headers, { endStream: true });
  closeBehind(stream);
  stream.resume();
}

const trailersOf = (status: RpcStatus): Record<string, string> => ({
  "grpc-status": String(status.code),
  ...(status.message === "" ? {} : { "grpc-message": percentEncoded(status.message) }),
});

/** The answer is complete; a caller that has not half-closed would keep the stream open for ever. */
function closeBehind(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return;
  const timer = setTimeout(() => {
    if (!stream.destroyed && !stream.closed) stream.close();
  }, LINGER_MS);
  timer.unref();
  stream.once("close", () => clearTimeout(timer));
}

export function serveCall(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  method: BoundMethod,
  context: CallContext,
): void {
  const { definition } = method;
  const encoding = String(headers["grpc-encoding"] ?? "identity");
  if (!ENCODINGS.split(",").includes(encoding)) {
    const message = `messages compressed by ${encoding} cannot be read; ${ENCODINGS} can`;
    return refuse(stream, { code: RPC_CODE.unimplemented, message });
  }
  const call = new GrpcServerCall(stream, headers, definition, context);
  const guarded = (run: () => void): void => {
    try {
      run();
    } catch (error) {
      failed(error, call, definition.path, context.log, context.onFatal);
    }
  };
  // A broken connection closes the stream too; without a listener its error would end the process.
  stream.on("error", () => {});
  let listener: ServerCallListener<unknown> | undefined;
  guarded(() => {
    listener = method.handler(call);
  });
  if (listener === undefined) {
    stream.resume();
    return;
  }
  if (definition.kind === "clientStream" || definition.kind === "bidi") call.begin();
  listen(stream, encoding, method, call, listener, guarded, context);
  const timeoutMs = timeoutMsOf(headers["grpc-timeout"] as string | undefined);
  if (timeoutMs !== undefined) call.endBy(timeoutMs, listener, guarded);
}

function listen(
  stream: ServerHttp2Stream,
  encoding: string,
  { definition, isBulk }: BoundMethod,
  call: GrpcServerCall,
  listener: ServerCallListener<unknown>,
  guarded: (run: () => void) => void,
  { observer, bulk }: CallContext,
): void {
  const reader = new MessageReader(MESSAGE_BYTES_MAX, encoding);
  const takesOne = definition.kind === "unary" || definition.kind === "serverStream";
  let received = 0;
  const onMessage = (bytes: Buffer): void => {
    received++;
    if (call.hasEnded) return;
    if (takesOne && received > 1) {
      return call.end({ code: RPC_CODE.unimplemented, message: "too many request messages" });
    }
    guarded(() => {
      const request = decode(definition, bytes);
      if ("status" in request) {
        observer.refused("malformed request");
        call.end(request.status);
      } else listener.onMessage(request.message);
    });
  };
  stream.on("data", (chunk: Buffer) => {
    if (call.hasEnded) return;
    if (isBulk === true && bulk.isUsed()) {
      call.hold();
      stream.unshift(chunk);
      return bulk.wait(() => call.release());
    }
    const fault = reader.read(chunk, onMessage);
    if (fault === undefined) return;
    observer.refused("malformed request");
    call.end(fault);
  });
  stream.on("end", () => {
    // A stream that is reset ends too, and is told to be closed only afterwards: what a caller who vanished sent must
    // not pass for complete. The reset is known by the next turn.
    setImmediate(() => {
      if (call.hasEnded || stream.aborted || stream.destroyed) return;
      if (reader.isInside || (takesOne && received === 0)) {
        const message = reader.isInside ? "the last request message has no end" : "no request message";
        return call.end({ code: RPC_CODE.internal, message });
      }
      guarded(() => listener.onHalfClose());
    });
  });
  stream.on("close", () => {
    call.dropPending();
    if (call.hasEnded) return;
    call.markEnded(RPC_CODE.cancelled);
    guarded(() => listener.onCancel());
  });
}

function decode(
  definition: MethodDefinition<unknown, unknown>,
  bytes: Uint8Array,
): { readonly message: unknown } | { readonly status: RpcStatus } {
  try {
    return { message: definition.request.decode(bytes) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { status: { code: RPC_CODE.internal, message: `the request is malformed: ${reason}` } };
  }
}

/** A broken invariant ends the process; anything else is an answer to the one who asked. */
function failed(
  error: unknown,
  call: GrpcServerCall,
  path: string,
  log: Logger,
  onFatal: (error: Error) => void,
): void {
  const reason = error instanceof Error ? error : new Error(String(error));
  if (reason instanceof AssertionError) return onFatal(reason);
  if (reason instanceof RaftwerkError && reason.retry === "never") {
    call.end({ code: RPC_CODE.invalidArgument, message: reason.message });
    return;
  }
  log.error("a request failed", { path, peer: call.peer, error: reason.stack ?? reason.message });
  call.end({ code: RPC_CODE.internal, message: reason.message });
}

class GrpcServerCall implements ServerCall<unknown> {
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #definition: MethodDefinition<unknown, unknown>;
  readonly #answers: PendingBytes;
  readonly #observer: PortObserver;
  readonly #startedMs = performance.now();
  #pendingBytes = 0;
  /** Why nothing is read: answers that wait, a turn that is used up. */
  #isPaused = false;
  #isHeld = false;
  #hasEnded = false;
  #isGone = false;
  #metadata: RpcMetadata | undefined;
  #deadline: NodeJS.Timeout | undefined;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    definition: MethodDefinition<unknown, unknown>,
    { answers, observer }: CallContext,
  ) {
    this.#observer = observer;
    observer.started(definition);
    this.#stream = stream;
    this.#headers = headers;
    this.#definition = definition;
    this.#answers = answers;
  }

  get metadata(): RpcMetadata {
    if (this.#metadata === undefined) {
      const values: Record<string, string> = {};
      for (const [key, value] of Object.entries(this.#headers)) {
        if (key.startsWith(":") || value === undefined) continue;
        values[key] = Array.isArray(value) ? (value[0] as string) : value;
      }
      this.#metadata = values;
    }
    return this.#metadata;
  }

  get peer(): string {
    const socket = this.#stream.session?.socket;
    return `${socket?.remoteAddress ?? "unknown"}:${socket?.remotePort ?? 0}`;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** It is over without an answer of its handler. */
  markEnded(code: RpcCode): void {
    this.#hasEnded = true;
    clearTimeout(this.#deadline);
    this.#observer.ended(this.#definition, code, performance.now() - this.#startedMs);
  }

  endBy(timeoutMs: number, listener: ServerCallListener<unknown>, guarded: (run: () => void) => void): void {
    // Longer ones than a timer can hold are none.
    if (this.#hasEnded || timeoutMs > 0x7fff_ffff) return;
    this.#deadline = setTimeout(() => {
      if (this.#hasEnded) return;
      this.end({ code: RPC_CODE.deadlineExceeded, message: "the deadline has passed" });
      guarded(() => listener.onCancel());
    }, timeoutMs);
  }

  /** The caller is gone: nothing waits for it any more. */
  dropPending(): void {
    this.#isGone = true;
    this.#count(-this.#pendingBytes);
  }

  #count(bytes: number): void {
    this.#pendingBytes += bytes;
    this.#answers.add(bytes);
  }

  /**
   * Headers before there is an answer. A caller that streams keeps what it has sent, up to 1 MiB of it, until it hears
   * something, since it might have to send it again; PD and stores answer some streams never.
   */
  begin(): void {
    const stream = this.#stream;
    if (this.#hasEnded || stream.headersSent || stream.destroyed || stream.closed) return;
    stream.respond(HEADERS, { waitForTrailers: true });
  }

  send(message: unknown): void {
    const stream = this.#stream;
    if (this.#hasEnded || this.#isGone || stream.destroyed || stream.closed) return;
    const bytes = frameMessage(this.#definition.response.encode(message));
    this.#count(bytes.length);
    if (this.#pendingBytes > PAUSE_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      stream.pause();
    }
    if (!stream.headersSent) stream.respond(HEADERS, { waitForTrailers: true });
    stream.write(bytes, () => {
      if (this.#isGone) return;
      this.#count(-bytes.length);
      if (this.#isPaused && this.#pendingBytes <= PAUSE_BYTES / 2) {
        this.#isPaused = false;
        if (!this.#isHeld) stream.resume();
      }
    });
  }

  /** Nothing is read until the release. */
  hold(): void {
    this.#isHeld = true;
    this.#stream.pause();
  }

  release(): void {
    this.#isHeld = false;
    if (!this.#isPaused) this.#stream.resume();
  }

  end(status: RpcStatus = RPC_OK): void {
    if (this.#hasEnded) return;
    this.markEnded(status.code);
    const stream = this.#stream;
    if (stream.destroyed || stream.closed) return;
    const trailers = trailersOf(status);
    if (!stream.headersSent) {
      stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
      closeBehind(stream);
      return;
    }
    stream.once("wantTrailers", () => {
      stream.sendTrailers(trailers);
      closeBehind(stream);
    });
    stream.end();
  }
}
