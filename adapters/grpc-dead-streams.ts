/**
 * grpc-js answers a stream of a wrong content type or unknown path at once, and node throws when the caller has reset
 * that stream in the same packet: an exception that no one catches, so that any caller could end the process. Its
 * handler of streams is wrapped here. It is private, hence the check; the version is pinned, and a test sends resets.
 */
import type { ServerHttp2Stream } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { assert } from "../base/index.js";

type StreamHandler = (interceptors: unknown, stream: ServerHttp2Stream, headers: unknown) => void;

/** Call it before the server is given connections. `refused` is told of each stream that died before its answer. */
export function surviveDeadStreams(server: Server, refused: () => void): void {
  const internals = server as unknown as { _streamHandler?: StreamHandler };
  const inner = internals._streamHandler;
  assert(typeof inner === "function", "this version of grpc-js handles streams elsewhere");
  internals._streamHandler = function handle(interceptors, stream, headers): void {
    if (stream.destroyed) return refused();
    try {
      inner.call(server, interceptors, stream, headers);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ERR_HTTP2_INVALID_STREAM") throw error;
      refused();
    }
  };
}
