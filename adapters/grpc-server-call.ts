/**
 * Serves one method through grpc-js. Every kind of call is a stream of bytes here: unary is one message each way.
 * Messages are decoded in this file, so that malformed bytes become a status and not an exception in the transport.
 */
import { type handleBidiStreamingCall, Metadata, type ServerDuplexStream } from "@grpc/grpc-js";
import { AssertionError, type Logger, RaftwerkError } from "../base/index.js";
import {
  type MethodDefinition,
  RPC_CODE,
  RPC_OK,
  type RpcHandler,
  type RpcMetadata,
  type RpcStatus,
  type ServerCall,
  type ServerCallListener,
} from "../proto/rpc.js";
import { asBuffer } from "./grpc-common.js";
import type { PortObserver } from "./port-observer.js";

/** A caller that lets this many bytes of answers wait is not read from until they are taken. */
const PAUSE_BYTES = 32 << 20;

/** Counts bytes that callers have not taken yet, over all calls of a port; negative when they have. */
export interface PendingBytes {
  add(bytes: number): void;
}

type Stream = ServerDuplexStream<Buffer, Buffer>;

export function grpcHandler(
  definition: MethodDefinition<unknown, unknown>,
  handler: RpcHandler<unknown, unknown>,
  log: Logger,
  onFatal: (error: Error) => void,
  answers: PendingBytes,
  observer: PortObserver,
): handleBidiStreamingCall<Buffer, Buffer> {
  return (stream) => {
    const call = new GrpcServerCall(stream, definition, answers, observer);
    const guarded = (run: () => void): void => {
      try {
        run();
      } catch (error) {
        failed(error, call, definition.path, log, onFatal);
      }
    };
    let listener: ServerCallListener<unknown> | undefined;
    guarded(() => {
      listener = handler(call);
    });
    if (listener === undefined) return;
    const serve = listener;
    const takesOne = definition.kind === "unary" || definition.kind === "serverStream";
    let received = 0;
    stream.on("data", (bytes: Buffer) => {
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
        } else serve.onMessage(request.message);
      });
    });
    stream.on("end", () => {
      // A stream that is reset ends too, and is told to be cancelled only afterwards: what a caller who vanished sent
      // must not pass for complete. The reset is known by the next turn.
      setImmediate(() => {
        if (call.hasEnded) return;
        if (takesOne && received === 0) {
          return call.end({ code: RPC_CODE.internal, message: "no request message" });
        }
        guarded(() => serve.onHalfClose());
      });
    });
    stream.on("cancelled", () => {
      call.dropPending();
      if (call.hasEnded) return;
      call.markEnded();
      guarded(() => serve.onCancel());
    });
    // A broken connection comes as `cancelled` too; without a listener the stream's error would end the process.
    stream.on("error", () => {});
  };
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
  readonly #stream: Stream;
  readonly #definition: MethodDefinition<unknown, unknown>;
  readonly #answers: PendingBytes;
  #pendingBytes = 0;
  #isPaused = false;
  #hasEnded = false;
  #isGone = false;
  #metadata: RpcMetadata | undefined;
  readonly #observer: PortObserver;
  readonly #startedMs = performance.now();

  constructor(
    stream: Stream,
    definition: MethodDefinition<unknown, unknown>,
    answers: PendingBytes,
    observer: PortObserver,
  ) {
    this.#observer = observer;
    observer.started(definition);
    this.#stream = stream;
    this.#definition = definition;
    this.#answers = answers;
  }

  get metadata(): RpcMetadata {
    if (this.#metadata === undefined) {
      const values: Record<string, string> = {};
      for (const [key, value] of Object.entries(this.#stream.metadata.getMap()))
        values[key] = value.toString();
      this.#metadata = values;
    }
    return this.#metadata;
  }

  get peer(): string {
    return this.#stream.getPeer();
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Its caller cancelled it or is gone. */
  markEnded(): void {
    this.#hasEnded = true;
    this.#observer.ended(this.#definition, RPC_CODE.cancelled, performance.now() - this.#startedMs);
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

  send(message: unknown): void {
    if (this.#hasEnded) return;
    const bytes = asBuffer(this.#definition.response.encode(message));
    this.#count(bytes.length);
    if (this.#pendingBytes > PAUSE_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      this.#stream.pause();
    }
    this.#stream.write(bytes, () => {
      if (this.#isGone) return;
      this.#count(-bytes.length);
      if (this.#isPaused && this.#pendingBytes <= PAUSE_BYTES / 2) {
        this.#isPaused = false;
        this.#stream.resume();
      }
    });
  }

  end(status: RpcStatus = RPC_OK): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#observer.ended(this.#definition, status.code, performance.now() - this.#startedMs);
    if (status.code === RPC_CODE.ok) this.#stream.end();
    else this.#stream.emit("error", { code: status.code, details: status.message, metadata: new Metadata() });
  }
}
