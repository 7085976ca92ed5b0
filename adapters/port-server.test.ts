import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import { ByteBudget, RaftwerkError, SILENT_LOGGER, utf8 } from "../base/index.js";
import {
  type BoundMethod,
  bindMethod,
  callUnary,
  type Codec,
  type MethodDefinition,
  type MethodKind,
  RPC_CODE,
  type RpcStatus,
  unaryHandler,
} from "../proto/rpc.js";
import { frameMessage } from "./grpc-frames.js";
import { GrpcNetwork } from "./grpc-network.js";
import { PortServer } from "./port-server.js";

/** Text on the wire; a text that starts with `!` does not decode. */
const textCodec: Codec<string> = {
  encode: (text) => utf8(text),
  decode(bytes) {
    const text = new TextDecoder().decode(bytes);
    if (text.startsWith("!")) throw new Error("bad text");
    return text;
  },
};
const method = (name: string, kind: MethodKind): MethodDefinition<string, string> => ({
  path: `/test.Test/${name}`,
  kind,
  request: textCodec,
  response: textCodec,
});
const UPPER = method("Upper", "unary");
const FAIL = method("Fail", "unary");
const THROW = method("Throw", "unary");
const ECHO = method("Echo", "bidi");
const GREET = method("Greet", "bidi");

const servers: PortServer[] = [];
const fatal: Error[] = [];
let network = new GrpcNetwork();
let cancels = 0;

const METHODS: BoundMethod[] = [
  bindMethod(
    UPPER,
    unaryHandler((request, reply) => reply(request.toUpperCase())),
  ),
  bindMethod(FAIL, (call) => ({
    onMessage: () => call.end({ code: RPC_CODE.failedPrecondition, message: "not today" }),
    onHalfClose() {},
    onCancel() {},
  })),
  bindMethod(
    THROW,
    unaryHandler(() => {
      throw new TypeError("a bug");
    }),
  ),
  bindMethod(GREET, (call) => {
    call.send("welcome");
    return { onMessage() {}, onHalfClose: () => call.end(), onCancel() {} };
  }),
  bindMethod(ECHO, (call) => ({
    onMessage: (text) => call.send(`${call.metadata["who"] ?? ""}${text}`),
    onHalfClose: () => call.end(),
    onCancel() {
      cancels++;
    },
  })),
];

async function listen(port = 0, methods: readonly BoundMethod[] = METHODS): Promise<PortServer> {
  const server = await PortServer.listen({
    host: "127.0.0.1",
    port,
    log: SILENT_LOGGER,
    methods,
    http: (request, response) => response.end(`you asked for ${request.url}`),
    onFatal: (error) => fatal.push(error),
  });
  servers.push(server);
  return server;
}

afterEach(async () => {
  network.close();
  network = new GrpcNetwork();
  for (const server of servers.splice(0)) await server.close();
  fatal.length = 0;
  cancels = 0;
});

const ask = (port: number, definition: MethodDefinition<string, string>, request: string) =>
  new Promise<string | RpcStatus>((resolve) => {
    const channel = network.channel(`127.0.0.1:${port}`);
    callUnary(channel, definition, request, { timeoutMs: 5_000 }, (error, response) => {
      resolve(error === undefined ? (response as string) : error.status);
    });
  });

test("a unary call and an HTTP request are answered on one port", async () => {
  const { port } = await listen();
  expect(await ask(port, UPPER, "hello")).toBe("HELLO");
  const response = await fetch(`http://127.0.0.1:${port}/pd/api/v1/stores`);
  expect(await response.text()).toBe("you asked for /pd/api/v1/stores");
});

test("a stream carries messages in order, the metadata, and its end", async () => {
  const { port } = await listen();
  const channel = network.channel(`127.0.0.1:${port}`);
  const received: string[] = [];
  const status = await new Promise<RpcStatus>((resolve) => {
    const call = channel.open(
      ECHO,
      { onMessage: (text) => received.push(text), onEnd: resolve },
      { metadata: { who: "me" } },
    );
    for (let i = 0; i < 200; i++) call.send(String(i));
    call.halfClose();
  });
  expect(status.code).toBe(RPC_CODE.ok);
  expect(received).toEqual(Array.from({ length: 200 }, (_, i) => `me${i}`));
});

test("a caller that streams is answered by headers at once, so that it need not keep what it sent", async () => {
  const { port } = await listen();
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const stream = session.request({
    ":method": "POST",
    ":path": ECHO.path,
    "content-type": "application/grpc",
    te: "trailers",
  });
  const status = await new Promise((resolve) => {
    stream.on("response", (headers) => resolve(headers[":status"]));
    stream.on("close", () => resolve("closed"));
    setTimeout(() => resolve("nothing"), 5_000).unref();
  });
  expect(status).toBe(200);
  session.destroy();
});

test("a handler may speak first", async () => {
  const { port } = await listen();
  const received: string[] = [];
  const status = await new Promise<RpcStatus>((resolve) => {
    const call = network
      .channel(`127.0.0.1:${port}`)
      .open(GREET, { onMessage: (text) => received.push(text), onEnd: resolve });
    call.halfClose();
  });
  expect([status.code, received]).toEqual([RPC_CODE.ok, ["welcome"]]);
});

test("a status other than OK reaches the caller with its message", async () => {
  const { port } = await listen();
  expect(await ask(port, FAIL, "x")).toEqual({ code: RPC_CODE.failedPrecondition, message: "not today" });
});

test("a malformed request and an exception in a handler are statuses, and the server goes on", async () => {
  const { port } = await listen();
  expect(await ask(port, UPPER, "!")).toMatchObject({ code: RPC_CODE.internal });
  expect(await ask(port, THROW, "x")).toEqual({ code: RPC_CODE.internal, message: "a bug" });
  expect(await ask(port, UPPER, "still here")).toBe("STILL HERE");
  expect(fatal).toEqual([]);
});

test("an unknown method is UNIMPLEMENTED", async () => {
  const { port } = await listen();
  expect(await ask(port, method("Nothing", "unary"), "x")).toMatchObject({ code: RPC_CODE.unimplemented });
});

test("a call to a dead address ends UNAVAILABLE, and a new call finds the server once it is back", async () => {
  const first = await listen();
  const { port } = first;
  const channel = network.channel(`127.0.0.1:${port}`);
  const once = () =>
    new Promise<string>((resolve) => {
      callUnary(channel, UPPER, "a", { timeoutMs: 1_000 }, (error, response) => {
        resolve(error === undefined ? (response as string) : String(error.status.code));
      });
    });
  expect(await once()).toBe("A");
  await first.close();
  expect(await once()).toBe(String(RPC_CODE.unavailable));
  await listen(port);
  for (let i = 0; i < 100 && (await once()) !== "A"; i++) await new Promise((done) => setTimeout(done, 50));
  expect(await once()).toBe("A");
});

test("a deadline ends a call that nobody answers", async () => {
  const { port } = await listen();
  const channel = network.channel(`127.0.0.1:${port}`);
  const status = await new Promise<RpcStatus>((resolve) => {
    channel.open(ECHO, { onMessage() {}, onEnd: resolve }, { timeoutMs: 100 });
  });
  expect(status.code).toBe(RPC_CODE.deadlineExceeded);
});

test("a caller that goes away is told to the handler", async () => {
  const { port } = await listen();
  const channel = network.channel(`127.0.0.1:${port}`);
  await new Promise<void>((resolve) => {
    const call = channel.open(ECHO, {
      onMessage: () => call.cancel(),
      onEnd: () => resolve(),
    });
    call.send("x");
  });
  for (let i = 0; i < 100 && cancels === 0; i++) await new Promise((done) => setTimeout(done, 10));
  expect(cancels).toBe(1);
});

test("bytes that are neither HTTP nor gRPC do no harm", async () => {
  const { port } = await listen();
  const socket = connect(port, "127.0.0.1");
  socket.write(new Uint8Array([0, 255, 13, 10, 13, 10, 1, 2, 3]));
  await new Promise<void>((resolve) => {
    socket.on("close", () => resolve());
    socket.on("error", () => {});
    socket.resume();
  });
  const half = connect(port, "127.0.0.1");
  half.end("PRI * HTTP/2.0\r\n\r\nnonsense");
  await new Promise<void>((resolve) => {
    half.on("close", () => resolve());
    half.on("error", () => {});
    half.resume();
  });
  expect(await ask(port, UPPER, "alive")).toBe("ALIVE");
});

test("a port in use is refused with the address", async () => {
  const { port } = await listen();
  const refused = await listen(port).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(RaftwerkError);
  expect((refused as RaftwerkError).code).toBe("portInUse");
  expect((refused as RaftwerkError).message).toContain(`127.0.0.1:${port}`);
});

test("a caller who asks on and reads nothing is stopped, and what waits for it is counted until it is gone", async () => {
  const answers = new ByteBudget(1);
  let asked = 0;
  const methods = [
    bindMethod(ECHO, (call) => ({
      onMessage: (text) => {
        asked++;
        call.send(text);
      },
      onHalfClose: () => call.end(),
      onCancel() {},
    })),
  ];
  const onFatal = (error: Error): void => void fatal.push(error);
  const server = await PortServer.listen({
    host: "127.0.0.1",
    port: 0,
    log: SILENT_LOGGER,
    methods,
    answers,
    onFatal,
  });
  servers.push(server);
  const session = connectHttp2(`http://127.0.0.1:${server.port}`, { maxSessionMemory: 1_000 });
  session.on("error", () => {});
  const headers = {
    ":method": "POST",
    ":path": ECHO.path,
    "content-type": "application/grpc",
    te: "trailers",
  };
  const request = session.request(headers);
  request.on("error", () => {});
  const frame = Buffer.alloc(5 + (1 << 20), 97);
  frame.writeUInt8(0, 0);
  frame.writeUInt32BE(1 << 20, 1);
  for (let i = 0; i < 100; i++) request.write(frame);
  // Until nothing more is asked for a while.
  for (let last = 0, quiet = 0; quiet < 4; last = asked) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    quiet = asked > 0 && asked === last ? quiet + 1 : 0;
  }
  expect(asked).toBeLessThan(50);
  expect(answers.bytes).toBeGreaterThan(16 << 20);
  expect(answers.bytes).toBeLessThan(48 << 20);
  session.destroy();
  for (let tries = 0; tries < 100 && answers.bytes !== 0; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  expect([answers.bytes, fatal]).toEqual([0, []]);
});

/** A bare HTTP/2 request: its answer's headers and trailers. */
async function bare(
  port: number,
  headers: Record<string, string>,
  body: readonly Buffer[],
): Promise<Record<string, unknown>> {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => {});
  const request = session.request({ ":method": "POST", "content-type": "application/grpc", ...headers });
  const seen: Record<string, unknown> = {};
  request.on("response", (got) => Object.assign(seen, got));
  request.on("trailers", (got) => Object.assign(seen, got));
  request.on("data", (chunk: Buffer) => {
    seen["body"] = (seen["body"] ?? "") + chunk.subarray(5).toString();
  });
  request.on("error", () => {});
  for (const part of body) {
    request.write(part);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (headers["x-leave-open"] === undefined) request.end();
  await new Promise<void>((resolve) => request.on("close", () => resolve()));
  session.destroy();
  return seen;
}

const frameOf = (text: string): Buffer => frameMessage(utf8(text));

test("a flood of bulk messages is taken in parts of turns, whole and in order", async () => {
  const received: string[] = [];
  const perTurn: number[] = [];
  const bulk = {
    ...bindMethod(ECHO, (call) => ({
      onMessage: (text) => {
        received.push(text.trim());
        const endMs = performance.now() + 0.5;
        while (performance.now() < endMs);
      },
      onHalfClose: () => call.end(),
      onCancel() {},
    })),
    isBulk: true,
  };
  const { port } = await listen(0, [bulk]);
  let isOver = false;
  let before = 0;
  const turn = (): void => {
    perTurn.push(received.length - before);
    before = received.length;
    if (!isOver) setImmediate(turn);
  };
  turn();
  const flood = Buffer.concat(Array.from({ length: 200 }, (_, i) => frameOf(String(i).padEnd(4_096))));
  const answer = await bare(port, { ":path": ECHO.path }, [flood]);
  isOver = true;
  expect(answer).toMatchObject({ "grpc-status": "0" });
  expect(received).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
  // 8 in the time of a turn, and what a DATA frame brings more.
  expect(Math.max(...perTurn)).toBeLessThan(24);
});

test("a request cut into pieces, and one that is compressed, are answered", async () => {
  const { port } = await listen();
  const whole = frameOf("pieces");
  const pieces = [whole.subarray(0, 3), whole.subarray(3, 7), whole.subarray(7)];
  expect(await bare(port, { ":path": UPPER.path }, pieces)).toMatchObject({
    body: "PIECES",
    "grpc-status": "0",
    ":status": 200,
  });
  const squeezed = frameMessage(gzipSync("squeezed"));
  squeezed[0] = 1;
  const headers = { ":path": UPPER.path, "grpc-encoding": "gzip" };
  expect(await bare(port, headers, [squeezed])).toMatchObject({ body: "SQUEEZED", "grpc-status": "0" });
});

test("requests that are no gRPC, are compressed strangely, or break off are refused by name", async () => {
  const { port } = await listen();
  const body = [frameOf("x")];
  expect(await bare(port, { ":path": UPPER.path, "content-type": "text/plain" }, body)).toMatchObject({
    ":status": 415,
  });
  expect(await bare(port, { ":path": UPPER.path, ":method": "PUT" }, body)).toMatchObject({ ":status": 405 });
  expect(await bare(port, { ":path": UPPER.path, "grpc-encoding": "snappy" }, body)).toMatchObject({
    "grpc-status": String(RPC_CODE.unimplemented),
  });
  const half = await bare(port, { ":path": UPPER.path }, [frameOf("half").subarray(0, 6)]);
  expect(half).toMatchObject({ "grpc-status": String(RPC_CODE.internal) });
  const none = await bare(port, { ":path": UPPER.path }, []);
  expect(none).toMatchObject({ "grpc-status": String(RPC_CODE.internal) });
});

test("a deadline that the caller names ends the call on the server, too", async () => {
  const { port } = await listen();
  const answer = await bare(port, { ":path": ECHO.path, "grpc-timeout": "50m", "x-leave-open": "1" }, []);
  expect(answer).toMatchObject({ "grpc-status": String(RPC_CODE.deadlineExceeded) });
  expect(cancels).toBe(1);
});
