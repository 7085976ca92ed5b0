/**
 * The group's transport over gRPC. A member sends its packets to another over one stream of its own, and asks
 * questions (joiners, operators) by unary calls; both carry bytes that `group/` encodes. With TLS both sides show
 * certificates, unless that is switched off. Broken streams are opened anew with back-off; what was on them is lost,
 * which the group bears.
 */
import { readFileSync } from "node:fs";
import {
  type ChannelOptions,
  type ClientDuplexStream,
  Client,
  type ChannelCredentials,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { type Logger, RaftwerkError } from "../base/index.js";
import type { GroupTransport, TransportHandlers } from "../group/index.js";
import { asBuffer, CHANNEL_OPTIONS, MESSAGE_BYTES_MAX } from "./grpc-common.js";

export interface GroupTls {
  /** PEM, or the path of a PEM file: the authority that signed the certificates of all members. */
  readonly ca: string | Uint8Array;
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
  /** Members and operators must show a certificate of that authority. Default true. */
  readonly requireClientCertificate?: boolean;
  /** Name in the certificates, if they do not hold the addresses. */
  readonly serverName?: string;
}

export interface GrpcTransportOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  /** Where the others reach this member, if not at `listen`. */
  readonly advertise?: string | undefined;
  readonly tls?: GroupTls | undefined;
  readonly log: Logger;
}

const PACKETS_PATH = "/raftwerk.group.v1.Group/Packets";
const CALL_PATH = "/raftwerk.group.v1.Group/Call";
const identity = (bytes: Buffer): Buffer => bytes;
const serialize = { requestSerialize: identity, requestDeserialize: identity } as const;
const deserialize = { responseSerialize: identity, responseDeserialize: identity } as const;

const SERVICE: ServiceDefinition = {
  packets: { path: PACKETS_PATH, requestStream: true, responseStream: true, ...serialize, ...deserialize },
  call: { path: CALL_PATH, requestStream: false, responseStream: false, ...serialize, ...deserialize },
};

const STREAMS_MAX = 1_024;
const REOPEN_MS = 100;

const pem = (value: string | Uint8Array): Buffer => {
  if (typeof value !== "string") return asBuffer(value);
  return value.includes("-----BEGIN") ? Buffer.from(value) : readFileSync(value);
};

function readTls(tls: GroupTls): { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer } {
  try {
    return { ca: pem(tls.ca), cert: pem(tls.cert), key: pem(tls.key) };
  } catch (error) {
    const text = `a certificate cannot be read: ${(error as Error).message}`;
    throw new RaftwerkError("invalidConfig", text, { retry: "never", cause: error });
  }
}

export function groupClientCredentials(tls: GroupTls | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const { ca, cert, key } = readTls(tls);
  return credentials.createSsl(ca, key, cert);
}

function serverCredentials(tls: GroupTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { ca, cert, key } = readTls(tls);
  return ServerCredentials.createSsl(
    ca,
    [{ cert_chain: cert, private_key: key }],
    tls.requireClientCertificate !== false,
  );
}

function clientOptions(tls: GroupTls | undefined): ChannelOptions {
  if (tls?.serverName === undefined) return CHANNEL_OPTIONS;
  return { ...CHANNEL_OPTIONS, "grpc.ssl_target_name_override": tls.serverName };
}

/** The stream of packets to one member. */
class Link {
  readonly #client: Client;
  #stream: ClientDuplexStream<Buffer, Buffer> | undefined;
  #isClosed = false;
  #notBeforeMs = 0;
  pendingBytes = 0;
  /** The other side has answered on this stream. */
  isConnected = false;

  constructor(address: string, tls: GroupTls | undefined) {
    this.#client = new Client(address, groupClientCredentials(tls), clientOptions(tls));
  }

  send(packet: Uint8Array): void {
    const stream = this.#stream ?? this.#open();
    if (stream === undefined) return;
    const { length } = packet;
    this.pendingBytes += length;
    stream.write(asBuffer(packet), () => {
      if (this.#stream === stream) this.pendingBytes -= length;
    });
  }

  #open(): ClientDuplexStream<Buffer, Buffer> | undefined {
    if (this.#isClosed || performance.now() < this.#notBeforeMs) return undefined;
    const stream = this.#client.makeBidiStreamRequest(PACKETS_PATH, identity, identity);
    this.#stream = stream;
    this.pendingBytes = 0;
    const lost = (): void => {
      if (this.#stream !== stream) return;
      this.#stream = undefined;
      this.isConnected = false;
      this.pendingBytes = 0;
      this.#notBeforeMs = performance.now() + REOPEN_MS;
    };
    stream.on("metadata", () => {
      if (this.#stream === stream) this.isConnected = true;
    });
    stream.on("error", lost);
    stream.on("end", lost);
    stream.on("data", () => {});
    return stream;
  }

  call(
    request: Uint8Array,
    timeoutMs: number,
    callback: (error: Error | undefined, response?: Uint8Array) => void,
  ): void {
    askAt(this.#client, request, timeoutMs, callback);
  }

  close(): void {
    this.#isClosed = true;
    this.#stream?.cancel();
    this.#client.close();
  }
}

function askAt(
  client: Client,
  request: Uint8Array,
  timeoutMs: number,
  callback: (error: Error | undefined, response?: Uint8Array) => void,
): void {
  const options = { deadline: Date.now() + timeoutMs };
  client.makeUnaryRequest<Buffer, Buffer>(
    CALL_PATH,
    identity,
    identity,
    asBuffer(request),
    options,
    (error, response) => {
      if (error !== null || response === undefined) callback(new Error(error?.details ?? "no answer"));
      else callback(undefined, response);
    },
  );
}

/** For operators: questions without a member of one's own. */
export class GroupCaller {
  readonly #tls: GroupTls | undefined;
  readonly #clients = new Map<string, Client>();

  constructor(tls?: GroupTls) {
    this.#tls = tls;
  }

  call(
    address: string,
    request: Uint8Array,
    timeoutMs: number,
    callback: (error: Error | undefined, response?: Uint8Array) => void,
  ): void {
    let client = this.#clients.get(address);
    if (client === undefined) {
      client = new Client(address, groupClientCredentials(this.#tls), clientOptions(this.#tls));
      this.#clients.set(address, client);
    }
    askAt(client, request, Math.min(timeoutMs, 5_000), callback);
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}

export class GrpcGroupTransport implements GroupTransport {
  readonly address: string;
  readonly #server: Server;
  readonly #tls: GroupTls | undefined;
  readonly #links = new Map<string, Link>();
  #handlers: TransportHandlers | undefined;

  private constructor(server: Server, address: string, options: GrpcTransportOptions) {
    this.#server = server;
    this.address = address;
    this.#tls = options.tls;
  }

  /** Resolves once the port is bound. */
  static async listen(options: GrpcTransportOptions): Promise<GrpcGroupTransport> {
    const server = new Server({
      "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
      "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
      "grpc.max_concurrent_streams": STREAMS_MAX,
      "grpc.enable_channelz": 0,
    });
    const made: { transport?: GrpcGroupTransport } = {};
    server.addService(SERVICE, {
      packets: (stream: ServerDuplexStream<Buffer, Buffer>) => {
        stream.sendMetadata(new Metadata());
        stream.on("data", (packet: Buffer) => made.transport?.deliver(packet));
        stream.on("error", () => {});
        stream.on("end", () => stream.end());
      },
      call: (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>) => {
        const isTaken = made.transport?.answer(call.request, (bytes) => reply(null, asBuffer(bytes)));
        if (isTaken !== true) {
          reply({ code: status.UNAVAILABLE, details: "the member does not take part yet" });
        }
      },
    });
    const port = await bind(server, options);
    const host = options.listen.slice(0, options.listen.lastIndexOf(":"));
    made.transport = new GrpcGroupTransport(server, options.advertise ?? `${host}:${port}`, options);
    return made.transport;
  }

  listen(handlers: TransportHandlers): void {
    this.#handlers = handlers;
  }

  /** For the server. */
  deliver(packet: Uint8Array): void {
    this.#handlers?.onPacket(packet);
  }

  /** For the server. */
  answer(request: Uint8Array, reply: (response: Uint8Array) => void): boolean {
    if (this.#handlers === undefined) return false;
    this.#handlers.onCall(request, reply);
    return true;
  }

  #link(address: string): Link {
    let link = this.#links.get(address);
    if (link === undefined) {
      link = new Link(address, this.#tls);
      this.#links.set(address, link);
    }
    return link;
  }

  send(address: string, packet: Uint8Array): void {
    this.#link(address).send(packet);
  }

  isConnected(address: string): boolean {
    return this.#links.get(address)?.isConnected ?? false;
  }

  pendingBytes(address: string): number {
    return this.#links.get(address)?.pendingBytes ?? 0;
  }

  call(
    address: string,
    request: Uint8Array,
    timeoutMs: number,
    callback: (error: Error | undefined, response?: Uint8Array) => void,
  ): void {
    // One that hangs must not take the time of the others.
    this.#link(address).call(request, Math.min(timeoutMs, 5_000), callback);
  }

  close(done: () => void): void {
    this.#handlers = undefined;
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
    this.#server.forceShutdown();
    done();
  }
}

function bind(server: Server, { listen, tls }: GrpcTransportOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, serverCredentials(tls), (error, port) => {
      if (error === null) return resolve(port);
      const isInUse = error.message.includes("EADDRINUSE");
      const text = isInUse
        ? `${listen} is in use: stop the program that listens there, or choose another port`
        : `cannot listen on ${listen}: ${error.message}`;
      reject(
        new RaftwerkError(isInUse ? "portInUse" : "invalidConfig", text, { retry: "never", cause: error }),
      );
    });
  });
}
