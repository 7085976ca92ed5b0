/** Limits of node's HTTP servers against callers that are broken, slow on purpose, or too many. */
import type { Server } from "node:http";

const CONNECTIONS_MAX = 1_000;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 30_000;
const HEADERS_MAX = 100;

/** Slow requests are looked for this often. */
export const CHECK_EVERY_MS = 2_000;

/** `onMalformed` is told of each request that could not be read; the caller gets a status and is cut off. */
export function hardened(
  server: Server,
  onMalformed: () => void,
  headersTimeoutMs: number = HEADERS_TIMEOUT_MS,
): void {
  server.maxConnections = CONNECTIONS_MAX;
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxHeadersCount = HEADERS_MAX;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    onMalformed();
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    socket.end(`HTTP/1.1 ${statusOf(error.code)}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () =>
      socket.destroy(),
    );
  });
}

function statusOf(code: string | undefined): string {
  if (code === "HPE_HEADER_OVERFLOW") return "431 Request Header Fields Too Large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return "408 Request Timeout";
  return "400 Bad Request";
}
