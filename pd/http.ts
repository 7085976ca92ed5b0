export interface HttpRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, readonly string[]>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}
export type HttpReply = (status: number, contentType: string, body: string) => void;
export function handleHttp(_parts: unknown, _request: HttpRequest, reply: HttpReply): void {
  reply(404, "text/plain; charset=utf-8", "404 page not found\n");
}
