/** A store's status port: `/metrics`, `/status`, `/config`, `/ready`, `/region/N`, `/log-level`, `/engine_type`. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { RaftwerkError } from "../base/index.js";
import { CHECK_EVERY_MS, hardened } from "./http-limits.js";
import { bridge, type PlainReply, type PlainRequest } from "./http-bridge.js";
import { type LeveledLogger, parseLogLevel } from "./logger.js";

export interface StatusSource {
  status(): Record<string, unknown>;
  region(id: number): Record<string, unknown> | undefined;
  /** The configuration in TiKV's shape; clients read `storage.api-version` from it. */
  config(): Record<string, unknown>;
  isReady(): boolean;
}

export interface StatusServerOptions {
  readonly host: string;
  readonly port: number;
  readonly source: StatusSource;
  readonly registry: Registry;
  readonly log: LeveledLogger;
  /** Told of requests that could not be read. */
  readonly onMalformed?: () => void;
  /** How long the headers of a request may take to arrive. Default 10,000. */
  readonly headersTimeoutMs?: number;
}

const JSON_TYPE = "application/json";
const TEXT_TYPE = "text/plain; charset=utf-8";

/** Bytes as upper-case hex, as PD prints keys; 64-bit numbers as text. */
const forJson = (_key: string, value: unknown): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex").toUpperCase();
  return typeof value === "bigint" ? value.toString() : value;
};

export class StatusServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static listen(options: StatusServerOptions): Promise<StatusServer> {
    const server = createServer(
      { connectionsCheckingInterval: CHECK_EVERY_MS },
      bridge(
        (request, reply) => handle(options, request, reply),
        (error) => options.log.error("status request failed", { error: error.stack }),
      ),
    );
    hardened(server, options.onMalformed ?? (() => {}), options.headersTimeoutMs);
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const text = `cannot listen on status address ${options.host}:${options.port}: ${error.message}`;
        const code = error.code === "EADDRINUSE" ? "portInUse" : "invalidConfig";
        reject(new RaftwerkError(code, text, { retry: "never", cause: error }));
      });
      server.listen(options.port, options.host, () => resolve(new StatusServer(server)));
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

function handle(options: StatusServerOptions, request: PlainRequest, reply: PlainReply): void {
  const { source, registry, log } = options;
  const json = (value: unknown): void => reply(200, JSON_TYPE, JSON.stringify(value, forJson, 2));
  const { path } = request;
  if (path === "/log-level" && request.method === "PUT") return setLevel(log, request, reply);
  if (request.method !== "GET") return reply(405, TEXT_TYPE, "method not allowed\n");
  if (path === "/metrics") {
    registry.metrics().then(
      (text) => reply(200, registry.contentType, text),
      (error: Error) => reply(500, TEXT_TYPE, `${error.message}\n`),
    );
  } else if (path === "/status") json(source.status());
  else if (path === "/config") json(source.config());
  else if (path === "/engine_type") reply(200, TEXT_TYPE, String(source.status()["engine"]));
  else if (path === "/log-level") json({ level: log.level });
  else if (path === "/ready") {
    if (source.isReady()) reply(200, TEXT_TYPE, "ready\n");
    else reply(503, TEXT_TYPE, "not ready\n");
  } else if (path.startsWith("/region/")) {
    const region = source.region(Number(path.slice("/region/".length)));
    if (region === undefined) reply(404, TEXT_TYPE, "no such region on this store\n");
    else json(region);
  } else reply(404, TEXT_TYPE, "not found: try /status, /config, /metrics, /ready or /region/N\n");
}

function setLevel(log: LeveledLogger, request: PlainRequest, reply: PlainReply): void {
  try {
    const body: unknown = JSON.parse(new TextDecoder().decode(request.body));
    const level = (body as { level?: unknown }).level;
    log.level = parseLogLevel(String(level));
    reply(200, JSON_TYPE, JSON.stringify({ level: log.level }));
  } catch (error) {
    reply(400, TEXT_TYPE, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}
