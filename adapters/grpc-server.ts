/**
 * gRPC on connections that somebody else accepted: one HTTP/2 session each, on node's own HTTP/2. A call is a stream of
 * a session (grpc-server-call.ts).
 */
import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { type BoundMethod, RPC_CODE } from "../proto/rpc.js";
import { type CallContext, refuse, refuseWith, serveCall } from "./grpc-server-call.js";

const STREAMS_PER_CONNECTION_MAX = 1_024;
/** Of one connection, in MiB: headers, streams, what waits to be sent. Beyond it new streams are refused. */
const SESSION_MEMORY_MIB_MAX = 256;
/** A peer that leaves so many pings unanswered is gone, or never spoke HTTP/2. */
const PING_EVERY_MS = 10_000;
const PINGS_UNANSWERED_MAX = 2;
/** Bytes that a caller may send ahead, on one stream and on all of a connection. */
const STREAM_WINDOW_BYTES = 4 << 20;
const SESSION_WINDOW_BYTES = 16 << 20;
const HEADER_BYTES_MAX = 16 << 10;

export class GrpcServer {
  readonly #methods = new Map<string, BoundMethod>();
  readonly #context: CallContext;
  readonly #http2: Http2Server;

  constructor(methods: readonly BoundMethod[], context: CallContext) {
    for (const method of methods) this.#methods.set(method.definition.path, method);
    this.#context = context;
    this.#http2 = createServer({
      maxSessionMemory: SESSION_MEMORY_MIB_MAX,
      settings: {
        maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX,
        maxHeaderListSize: HEADER_BYTES_MAX,
        initialWindowSize: STREAM_WINDOW_BYTES,
      },
    });
    this.#http2.on("session", (session) => this.#onSession(session));
    this.#http2.on("sessionError", () => context.observer.refused("malformed frames"));
    this.#http2.on("stream", (stream, headers) => this.#onStream(stream, headers));
  }

  /** The connection is HTTP/2's from now on; its first bytes may already be in its buffer. */
  take(socket: Socket): void {
    this.#http2.emit("connection", socket);
  }

  #onSession(session: ServerHttp2Session): void {
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    // Counted, not timed: a process that stood still must not blame its callers.
    let unanswered = 0;
    const timer = setInterval(() => {
      if (session.destroyed || session.closed) return;
      if (unanswered >= PINGS_UNANSWERED_MAX) return session.destroy();
      unanswered++;
      session.ping((error) => {
        if (error === null) unanswered = 0;
      });
    }, PING_EVERY_MS);
    timer.unref();
    session.on("close", () => clearInterval(timer));
  }

  #onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (stream.destroyed || stream.aborted) return this.#context.observer.refused("stream reset at once");
    const type = headers["content-type"] ?? "";
    if (headers[":method"] !== "POST" || !/^application\/grpc(?![a-z-])/.test(type)) {
      this.#context.observer.refused("malformed request");
      return refuseWith(stream, { ":status": headers[":method"] === "POST" ? 415 : 405 });
    }
    const path = headers[":path"] ?? "";
    const method = this.#methods.get(path);
    if (method !== undefined) return serveCall(stream, headers, method, this.#context);
    refuse(stream, { code: RPC_CODE.unimplemented, message: `there is no method ${path}` });
  }
}
