/** node's HTTP on one side, a plain request and reply on the other: what PD's pure handlers take. */
import type { IncomingMessage, ServerResponse } from "node:http";

export interface PlainRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, readonly string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}
export type PlainReply = (status: number, contentType: string, body: string) => void;

const BODY_BYTES_MAX = 1 << 20;

/** Reads the body and hands the request over; the reply is written once. */
export function bridge(
  handle: (request: PlainRequest, reply: PlainReply) => void,
  onFatal: (error: Error) => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
    });
    request.on("error", () => response.destroy());
    request.on("end", () => {
      const reply = replyTo(response);
      if (bytes > BODY_BYTES_MAX) {
        return reply(413, "text/plain", `the body is larger than ${BODY_BYTES_MAX} bytes\n`);
      }
      try {
        const plain = plainRequest(request, Buffer.concat(chunks));
        if (plain === undefined) return reply(400, "text/plain", "the address is malformed\n");
        handle(plain, reply);
      } catch (error) {
        onFatal(error instanceof Error ? error : new Error(String(error)));
        reply(500, "text/plain", "internal error\n");
      }
    });
  };
}

function replyTo(response: ServerResponse): PlainReply {
  let replied = false;
  return (status, contentType, body) => {
    if (replied) return;
    replied = true;
    const bytes = Buffer.from(body);
    response.writeHead(status, { "content-type": contentType, "content-length": bytes.length });
    response.end(bytes);
  };
}

function plainRequest(request: IncomingMessage, body: Uint8Array): PlainRequest | undefined {
  let url: URL;
  let path: string;
  try {
    url = new URL(request.url ?? "/", "http://localhost");
    path = url.pathname;
  } catch {
    return undefined;
  }
  // Without a prototype: `?constructor=` is a name like any other.
  const query = Object.create(null) as Record<string, string[]>;
  for (const [key, value] of url.searchParams) {
    query[key] ??= [];
    query[key].push(value);
  }
  const headers = Object.create(null) as Record<string, string>;
  for (const [key, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[key] = Array.isArray(value) ? value.join(", ") : value;
  }
  return { method: request.method ?? "GET", path, query, headers, body };
}
