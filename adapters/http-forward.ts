/** Sends an HTTP request that came to a PD which does not lead on to the one that does. */
import { request as httpRequest } from "node:http";
import type { HttpReply, HttpRequest } from "../pd/index.js";

const TIMEOUT_MS = 10_000;
const ANSWER_BYTES_MAX = 256 << 20;
/** Of one connection only. */
const HOP_HEADERS = new Set([
  "connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
]);

/** To the first of the URLs that can be reached. */
export function forwardHttp(
  urls: readonly string[],
  request: HttpRequest,
  extra: Readonly<Record<string, string>>,
  reply: HttpReply,
): void {
  const attempt = (at: number, last: string): void => {
    const url = urls[at];
    if (url === undefined) {
      return reply(503, "text/plain; charset=utf-8", `the PD leader cannot be reached: ${last}\n`);
    }
    send(url, request, extra, reply, (reason) => attempt(at + 1, reason));
  };
  attempt(0, "it has no address");
}

function send(
  url: string,
  request: HttpRequest,
  extra: Readonly<Record<string, string>>,
  reply: HttpReply,
  onUnreachable: (reason: string) => void,
): void {
  const search = new URLSearchParams();
  for (const [name, values] of Object.entries(request.query))
    for (const value of values) search.append(name, value);
  const query = search.toString();
  const target = new URL(url);
  const headers: Record<string, string> = { ...extra, "content-length": String(request.body.length) };
  for (const [name, value] of Object.entries(request.headers)) {
    if (!HOP_HEADERS.has(name.toLowerCase())) headers[name] = value;
  }
  let answered = false;
  const outgoing = httpRequest(
    {
      host: target.hostname,
      port: target.port,
      method: request.method,
      path: `${request.path}${query === "" ? "" : `?${query}`}`,
      headers,
      timeout: TIMEOUT_MS,
    },
    (response) => {
      answered = true;
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= ANSWER_BYTES_MAX) chunks.push(chunk);
        else response.destroy(new Error("the answer is too large"));
      });
      response.on("error", (error) => reply(502, "text/plain; charset=utf-8", `${error.message}\n`));
      response.on("end", () => {
        const type = response.headers["content-type"] ?? "text/plain; charset=utf-8";
        reply(response.statusCode ?? 502, type, Buffer.concat(chunks).toString());
      });
    },
  );
  outgoing.on("timeout", () =>
    outgoing.destroy(new Error(`${url} did not answer in ${TIMEOUT_MS / 1000} s`)),
  );
  outgoing.on("error", (error) => {
    // A change may have been made by a leader that died over it: it is not sent to another.
    if (answered) return;
    const refused = (error as NodeJS.ErrnoException).code === "ECONNREFUSED";
    if (refused || request.method === "GET") return onUnreachable(error.message);
    reply(502, "text/plain; charset=utf-8", `the PD leader did not answer: ${error.message}\n`);
  });
  outgoing.end(request.body);
}
