/**
 * One port for gRPC and HTTP/1, as PD's is: the first bytes of a connection tell which (HTTP/2 opens with `PRI`), are
 * put back, and the connection goes to gRPC or to node's HTTP server. A store's port is the same without HTTP.
 */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer, type Server as NetServer, type Socket } from "node:net";
import { type Logger, RaftwerkError } from "../base/index.js";
import type { BoundMethod } from "../proto/rpc.js";
import { GrpcServer } from "./grpc-server.js";
import type { PendingBytes } from "./grpc-server-call.js";
import { CHECK_EVERY_MS, hardened } from "./http-limits.js";
import { NO_OBSERVER, type PortObserver } from "./port-observer.js";
import { TurnShare } from "./turn-share.js";

export interface PortServerOptions {
  /** Address to bind; `0.0.0.0` for all. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly log: Logger;
  readonly methods: readonly BoundMethod[];
  /** Serves connections that do not speak HTTP/2. Without it they are closed. */
  readonly http?: (request: IncomingMessage, response: ServerResponse) => void;
  /** More connections than this are closed at once. Default 10,000. */
  readonly connectionsMax?: number;
  /** A connection that has said nothing for this long is closed. Default 20,000. */
  readonly silenceMs?: number;
  /** Told of answers that wait for their callers. */
  readonly answers?: PendingBytes;
  /** Told of calls and refusals, for metrics. */
  readonly observer?: PortObserver;
  /** An invariant broke while serving: the process must end. */
  readonly onFatal: (error: Error) => void;
}

const FIRST_BYTES_TIMEOUT_MS = 20_000;
const HTTP2_PREFACE = "PRI";

export class PortServer {
  readonly #options: PortServerOptions;
  readonly #net: NetServer;
  readonly #grpc: GrpcServer;
  readonly #http = createHttpServer({ connectionsCheckingInterval: CHECK_EVERY_MS });
  readonly #observer: PortObserver;
  readonly #sockets = new Set<Socket>();

  private constructor(options: PortServerOptions) {
    this.#options = options;
    this.#observer = options.observer ?? NO_OBSERVER;
    this.#grpc = new GrpcServer(options.methods, {
      log: options.log,
      onFatal: options.onFatal,
      answers: options.answers ?? { add() {} },
      observer: this.#observer,
      bulk: new TurnShare(),
    });
    if (options.http !== undefined) this.#http.on("request", options.http);
    hardened(this.#http, () => this.#observer.refused("malformed HTTP"));
    // It never listens by itself, and only a server that listens looks for requests that take too long to arrive.
    this.#http.emit("listening");
    this.#net = createServer((socket) => this.#accept(socket));
  }

  /** Resolves once the port is bound; rejects with `portInUse` or `invalidConfig` when it cannot be. */
  static listen(options: PortServerOptions): Promise<PortServer> {
    const server = new PortServer(options);
    return new Promise((resolve, reject) => {
      server.#net.once("error", (error) => reject(listenError(error, options)));
      server.#net.listen(options.port, options.host, () => {
        server.#net.removeAllListeners("error");
        server.#net.on("error", (error) => options.log.error("port error", { error: error.message }));
        resolve(server);
      });
    });
  }

  get port(): number {
    return (this.#net.address() as AddressInfo).port;
  }

  /** Stops taking connections and drops those there are. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#net.close(() => resolve());
      this.#http.close();
      this.#http.closeAllConnections();
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  #accept(socket: Socket): void {
    if (this.#sockets.size >= (this.#options.connectionsMax ?? 10_000)) {
      this.#options.log.warn("connection refused: too many are open", { open: this.#sockets.size });
      this.#observer.refused("too many connections");
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => this.#sockets.delete(socket));
    const onEarlyError = (): void => {
      socket.destroy();
    };
    socket.on("error", onEarlyError);
    const onSilence = (): void => {
      this.#observer.refused("silent connection");
      socket.destroy();
    };
    socket.setTimeout(this.#options.silenceMs ?? FIRST_BYTES_TIMEOUT_MS, onSilence);
    // Bytes that do not decide yet are held here: put back, they would be announced again at once, for ever.
    let held: Buffer | undefined;
    const decide = (): void => {
      const bytes: Buffer | null = socket.read();
      if (bytes === null) return;
      held = held === undefined ? bytes : Buffer.concat([held, bytes]);
      if (held.length < HTTP2_PREFACE.length && HTTP2_PREFACE.startsWith(held.toString("latin1"))) return;
      socket.removeListener("readable", decide);
      socket.setTimeout(0);
      socket.removeListener("timeout", onSilence);
      socket.unshift(held);
      this.#hand(socket, held);
    };
    socket.on("readable", decide);
  }

  #hand(socket: Socket, first: Buffer): void {
    const head = first.toString("latin1", 0, 16);
    if (head.startsWith(HTTP2_PREFACE)) return this.#grpc.take(socket);
    if (this.#options.http !== undefined) {
      this.#http.emit("connection", socket);
      return;
    }
    this.#observer.refused("not HTTP/2");
    if (/^[A-Z]{3,10} /.test(head)) socket.end(HTTP1_REFUSAL);
    else socket.destroy();
  }
}

const HTTP1_TEXT = "This port speaks gRPC over HTTP/2. For HTTP ask the status address.\n";
const HTTP1_REFUSAL =
  "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n" +
  `content-length: ${HTTP1_TEXT.length}\r\n\r\n${HTTP1_TEXT}`;

function listenError(error: NodeJS.ErrnoException, options: PortServerOptions): RaftwerkError {
  const address = `${options.host}:${options.port}`;
  if (error.code === "EADDRINUSE") {
    return new RaftwerkError(
      "portInUse",
      `${address} is in use: stop the program that listens there or choose another port`,
      { retry: "never", cause: error },
    );
  }
  return new RaftwerkError("invalidConfig", `cannot listen on ${address}: ${error.message}`, {
    retry: "never",
    cause: error,
  });
}
