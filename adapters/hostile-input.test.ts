/**
 * What strangers send to the ports of a store and of PD: garbage, half a request, too much of it, nothing at all, in
 * great numbers. Each ends with a status or a closed connection and is counted, and the port serves on. Raw sockets
 * against the real classes. (reliability.md 6.2)
 */
import http2 from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SILENT_LOGGER, utf8 } from "../base/index.js";
import { Cluster } from "../embed/cluster.js";
import {
  bindMethod,
  callUnary,
  kvrpcpb,
  pdpb,
  PdService,
  RPC_CODE,
  type RpcStatus,
  TikvService,
} from "../proto/index.js";
import { GrpcNetwork } from "./grpc-network.js";
import { bridge } from "./http-bridge.js";
import { PdMetricsPage } from "./pd-metrics.js";
import { PortServer } from "./port-server.js";
import { StatusServer } from "./status-server.js";
import { StoreMetrics } from "./store-metrics.js";

const HOST = "127.0.0.1";
const fatal: Error[] = [];
let cluster: Cluster;
let storePort: PortServer;
let pdPort: PortServer;
let statusServer: StatusServer;
let storeMetrics: StoreMetrics;
let pdPage: PdMetricsPage;
const network = new GrpcNetwork();

beforeAll(async () => {
  cluster = await Cluster.start({ stores: 1 });
  const [slot] = cluster.stores;
  if (slot === undefined) throw new Error("no store");
  const { store } = slot;
  const onFatal = (error: Error): void => void fatal.push(error);
  const common = { host: HOST, port: 0, log: SILENT_LOGGER, onFatal, silenceMs: 400, connectionsMax: 60 };
  storeMetrics = new StoreMetrics();
  storePort = await PortServer.listen({
    ...common,
    methods: storeMetrics.watched(store.methods()),
    observer: storeMetrics.port,
    answers: store.admission.answers,
  });
  storeMetrics.watch(store, () => storePort.connections);
  pdPage = new PdMetricsPage({ version: "", gitHash: "", connections: () => pdPort.connections });
  pdPort = await PortServer.listen({
    ...common,
    methods: cluster.pd.methods(),
    observer: pdPage.port,
    http: bridge((request, reply) => cluster.pd.handleHttp(request, reply), onFatal),
  });
  statusServer = await StatusServer.listen({
    host: HOST,
    port: 0,
    source: {
      status: () => store.status(),
      region: (id) => store.regionStatus(id),
      config: () => ({}),
      isReady: () => store.isServing,
    },
    registry: storeMetrics.registry,
    headersTimeoutMs: 500,
    onMalformed: () => storeMetrics.port.refused("malformed HTTP"),
    log: Object.assign(Object.create(SILENT_LOGGER), { level: "info" as const }),
  });
});
afterAll(async () => {
  network.close();
  await storePort?.close();
  await pdPort?.close();
  statusServer?.close();
  await cluster?.close();
});
beforeEach(() => {
  fatal.length = 0;
});

/** Sends the chunks, and returns what came back until the connection closed. */
function exchange(port: number, chunks: readonly (string | Uint8Array)[], waitMs = 5_000): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST);
    let answer = "";
    const timer = setTimeout(() => {
      answer += "[still open]";
      socket.destroy();
    }, waitMs);
    socket.on("data", (bytes) => (answer += bytes.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(answer);
    });
    for (const chunk of chunks) socket.write(chunk);
  });
}

const text = async (): Promise<string> =>
  `${await storeMetrics.registry.metrics()}\n${await pdPage.text(cluster.pd)}`;
async function count(reason: string): Promise<number> {
  const lines = (await text()).matchAll(/^raftwerk_port_refused_total\{reason="([^"]+)"\} (\d+)$/gm);
  let total = 0;
  for (const [, found, value] of lines) if (found === reason) total += Number(value);
  return total;
}

function getFrom(port: number): Promise<RpcStatus | "served"> {
  return new Promise((resolve) => {
    callUnary(
      network.channel(`${HOST}:${port}`),
      TikvService.RawGet,
      { key: utf8("k") },
      { timeoutMs: 5_000 },
      (error) => resolve(error === undefined ? "served" : error.status),
    );
  });
}

/** Both ports and the status port do what they are for. */
async function allServe(): Promise<void> {
  expect(await getFrom(storePort.port)).toBe("served");
  expect((await fetch(`http://${HOST}:${pdPort.port}/pd/api/v1/health`)).status).toBe(200);
  expect((await fetch(`http://${HOST}:${statusServer.port}/status`)).status).toBe(200);
  expect(fatal).toEqual([]);
  expect(cluster.fatal).toBeUndefined();
}

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const EMPTY = new Uint8Array(0);
const SETTINGS = frame(4, 0, 0, EMPTY);

describe("connections that are not what the port is for", () => {
  test("HTTP/1 on a store's gRPC port gets a sentence and is counted", async () => {
    const before = await count("not HTTP/2");
    const answer = await exchange(storePort.port, ["GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"]);
    expect(answer).toMatch(/^HTTP\/1\.1 400 [^]*speaks gRPC[^]*status address/);
    expect(await count("not HTTP/2")).toBe(before + 1);
    await allServe();
  });

  test("garbage and TLS on any port are cut off", async () => {
    const garbage = Uint8Array.from({ length: 2_000 }, (_, i) => (i * 131 + 7) % 256);
    const tlsHello = Uint8Array.from([0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03]);
    for (const { port } of [storePort, pdPort, statusServer]) {
      for (const bytes of [garbage, tlsHello])
        expect(await exchange(port, [bytes])).not.toContain("still open");
    }
    expect(await count("malformed HTTP")).toBeGreaterThanOrEqual(4);
    await allServe();
  });

  test("a connection that says nothing, or only the first byte, is closed and counted", async () => {
    const before = await count("silent connection");
    for (const { port } of [storePort, pdPort]) {
      expect(await exchange(port, [])).toBe("");
      expect(await exchange(port, ["P"])).toBe("");
    }
    expect(await count("silent connection")).toBe(before + 4);
    await allServe();
  });

  test("more connections than the port takes are refused, and it serves those that it has", async () => {
    const before = await count("too many connections");
    expect(await getFrom(storePort.port)).toBe("served");
    const sockets: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < 150; i++) {
      const socket = connect(storePort.port, HOST);
      socket.on("error", () => {});
      socket.on("close", () => closed++);
      socket.write(PREFACE);
      sockets.push(socket);
    }
    for (let i = 0; i < 100 && closed < 90; i++) await delay(20);
    expect(closed).toBeGreaterThanOrEqual(90);
    expect(await getFrom(storePort.port)).toBe("served");
    expect(await count("too many connections")).toBeGreaterThanOrEqual(before + 90);
    for (const socket of sockets) socket.destroy();
    for (let i = 0; i < 100 && storePort.connections > 5; i++) await delay(20);
    await allServe();
  });
});

describe("HTTP that is broken or too large", () => {
  const ports = (): number[] => [pdPort.port, statusServer.port];

  test("huge headers are 431, a malformed request line 400", async () => {
    for (const port of ports()) {
      const huge = `GET / HTTP/1.1\r\nhost: x\r\nx: ${"a".repeat(40_000)}\r\n\r\n`;
      expect(await exchange(port, [huge])).toMatch(/^HTTP\/1\.1 431 /);
      expect(await exchange(port, ["GET\r\n\r\n"])).toMatch(/^HTTP\/1\.1 400 /);
      expect(await exchange(port, ["GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n"])).toMatch(
        /^HTTP\/1\.1 400 /,
      );
    }
    await allServe();
  });

  test("a body beyond the limit is 413 and is not kept in memory", async () => {
    for (const port of ports()) {
      const answer = await fetch(`http://${HOST}:${port}/pd/api/v1/config`, {
        method: "POST",
        body: Buffer.alloc(3 << 20, 65),
      });
      expect([405, 413]).toContain(answer.status);
      await answer.text();
    }
    await allServe();
  });

  test("odd paths, methods and queries are answered with a status", async () => {
    for (const port of ports()) {
      for (const [method, path] of [
        ["GET", "/%"],
        ["GET", "/%00"],
        ["GET", "//x//y"],
        ["GET", "/region/-1"],
        ["GET", "/region/1e999"],
        ["GET", "/region/__proto__"],
        ["GET", "/pd/api/v1/region/id/99999999999999999999999"],
        ["GET", "/pd/api/v1/store/__proto__"],
        ["GET", "/pd/api/v1/region/key/%ff%fe"],
        ["GET", "/pd/api/v1/regions/key?key=%zz&limit=-1"],
        ["DELETE", "/pd/api/v1/store/NaN"],
        ["PATCH", "/log-level"],
        ["OPTIONS", "/"],
      ]) {
        const answer = await exchange(port, [
          `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
        ]);
        expect(`${method} ${path}: ${answer.slice(0, 12)}`).toMatch(/: HTTP\/1\.1 [245]\d\d$/);
        expect(answer).not.toMatch(/^HTTP\/1\.1 500[^]*(at |Error:)/);
      }
    }
    await allServe();
  });

  test("bodies that are no JSON, or JSON of the wrong form, are refused with a reason", async () => {
    for (const path of [
      "config",
      "operators",
      "schedulers",
      "regions/split",
      "store/1/label",
      "store/1/weight",
    ]) {
      for (const body of [
        "",
        "{",
        "null",
        "[]",
        '"x"',
        '{"__proto__":{"x":1}}',
        "1e999",
        `[${"[".repeat(5_000)}`,
      ]) {
        const answer = await fetch(`http://${HOST}:${pdPort.port}/pd/api/v1/${path}`, {
          method: "POST",
          body,
        });
        expect(answer.status).toBeGreaterThanOrEqual(200);
        const said = await answer.text();
        expect(`${path} ${body.slice(0, 20)} ${answer.status}: ${said}`).not.toMatch(/TypeError|Cannot read/);
      }
    }
    await allServe();
  });
});

describe("HTTP/2 that is broken", () => {
  test("frames cut short, of unknown types, on wrong streams and too large end the connection, not the port", async () => {
    const headers = Uint8Array.from([0x82, 0x86, 0x84]);
    const broken: readonly Uint8Array[] = [
      Buffer.from(PREFACE),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS.subarray(0, 5)]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, frame(0x77, 0xff, 3, Uint8Array.from([1, 2, 3]))]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, frame(0, 0, 1, Uint8Array.from([1]))]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, frame(1, 4, 0, headers)]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, frame(1, 4, 2, headers)]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
      Buffer.concat([
        Buffer.from(PREFACE),
        SETTINGS,
        frame(1, 4, 1, Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x7f])),
      ]),
      Buffer.concat([Buffer.from(PREFACE), frame(8, 0, 0, Uint8Array.from([0, 0, 0, 0]))]),
      Buffer.concat([Buffer.from(PREFACE), SETTINGS, frame(9, 0, 1, headers)]),
    ];
    for (const { port } of [storePort, pdPort]) {
      await Promise.all(broken.map((bytes) => exchange(port, [bytes], 300)));
    }
    await allServe();
  });

  test("a flood of pings, of settings and of streams reset at once is survived", async () => {
    for (const { port } of [storePort, pdPort]) {
      const floods = [
        Array.from({ length: 20_000 }, () => frame(6, 0, 0, new Uint8Array(8))),
        Array.from({ length: 20_000 }, () => SETTINGS),
        Array.from({ length: 3_000 }, (_, i) => [
          frame(1, 4, 2 * i + 1, Uint8Array.from([0x83, 0x86, 0x84, 0x41, 1, 0x78])),
          frame(3, 0, 2 * i + 1, Uint8Array.from([0, 0, 0, 8])),
        ]).flat(),
      ];
      for (const flood of floods) await exchange(port, [PREFACE, SETTINGS, Buffer.concat(flood)], 500);
    }
    // Each of these streams once ended the process: nothing could be answered on it any more.
    expect(await count("stream reset at once")).toBeGreaterThan(0);
    await allServe();
  });
});

test("a connection has a bound of streams, beyond which they wait on the caller's side", async () => {
  let open = 0;
  const listener = { onMessage() {}, onHalfClose() {}, onCancel: () => void open-- };
  const held = bindMethod(TikvService.BatchCommands, () => {
    open++;
    return listener;
  });
  const onFatal = (error: Error): void => void fatal.push(error);
  const port = await PortServer.listen({ host: HOST, port: 0, log: SILENT_LOGGER, methods: [held], onFatal });
  const session = http2.connect(`http://${HOST}:${port.port}`);
  session.on("error", () => {});
  const head = { ":method": "POST", ":path": TikvService.BatchCommands.path, te: "trailers" };
  const streams = Array.from({ length: 1_100 }, () => {
    const stream = session.request({ ...head, "content-type": "application/grpc" });
    return stream.on("error", () => {});
  });
  await expect.poll(() => open, { timeout: 10_000 }).toBe(1_024);
  await delay(200);
  expect(open).toBe(1_024);
  // As some end, others come in.
  for (const stream of streams.slice(0, 100)) stream.close(http2.constants.NGHTTP2_CANCEL);
  await expect.poll(() => open, { timeout: 10_000 }).toBe(1_000);
  session.destroy();
  await port.close();
});

/** One call by hand over HTTP/2: whatever path, headers and bytes. */
function rawCall(
  port: number,
  path: string,
  body: Uint8Array,
  headers: http2.OutgoingHttpHeaders = {},
): Promise<string> {
  return new Promise((resolve) => {
    const session = http2.connect(`http://${HOST}:${port}`);
    const end = (outcome: string): void => {
      session.destroy();
      resolve(outcome);
    };
    session.on("error", (error) => end(`session: ${error.message}`));
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    let status = "";
    stream.on(
      "response",
      (got) => (status = `${String(got[":status"])} grpc ${String(got["grpc-status"] ?? "")}`),
    );
    stream.on(
      "trailers",
      (got) => (status += ` grpc ${String(got["grpc-status"])} ${String(got["grpc-message"] ?? "")}`),
    );
    stream.on("error", (error: Error) => end(`stream: ${error.message}`));
    stream.on("close", () => end(status));
    stream.resume();
    stream.end(body);
    setTimeout(() => end(`${status} [still open]`), 4_000).unref();
  });
}

const message = (payload: Uint8Array, length = payload.length, compressed = 0): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, payload]);
};

describe("gRPC calls by hand", () => {
  const GET = "/tikvpb.Tikv/RawGet";

  test("wrong paths, types, methods, lengths and compression each end with a status", async () => {
    const valid = kvrpcpb.RawGetRequest.encode({ key: utf8("k") }).finish();
    const outcomes: [string, string][] = [
      ["unknown method", await rawCall(storePort.port, "/tikvpb.Tikv/Nothing", message(valid))],
      ["no service", await rawCall(storePort.port, "/", message(valid))],
      ["odd path", await rawCall(storePort.port, "/tikvpb.Tikv/__proto__", message(valid))],
      ["not gRPC", await rawCall(storePort.port, GET, message(valid), { "content-type": "text/html" })],
      ["no message", await rawCall(storePort.port, GET, EMPTY)],
      ["two messages", await rawCall(storePort.port, GET, Buffer.concat([message(valid), message(valid)]))],
      ["too large by its own word", await rawCall(storePort.port, GET, message(valid, 0xffff_ffff))],
      ["cut short", await rawCall(storePort.port, GET, message(valid, 100))],
      ["said to be compressed", await rawCall(storePort.port, GET, message(valid, valid.length, 1))],
      ["odd encoding", await rawCall(storePort.port, GET, message(valid), { "grpc-encoding": "x" })],
      ["odd timeout", await rawCall(storePort.port, GET, message(valid), { "grpc-timeout": "99999999999S" })],
    ];
    for (const [what, outcome] of outcomes) {
      expect(`${what}: ${outcome}`).toMatch(/grpc|: \d{3}|stream: |session: /);
      expect(`${what}: ${outcome}`).not.toContain("still open");
    }
    await allServe();
  });

  test("bytes that are no such message are a status and a counted metric", async () => {
    const before = await count("malformed request");
    for (const bytes of [
      Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
      Uint8Array.from([0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      Uint8Array.from([0x0b, 0x0b, 0x0b, 0x0b]),
    ]) {
      expect(await rawCall(storePort.port, GET, message(bytes))).toContain(`grpc ${RPC_CODE.internal}`);
      expect(await rawCall(pdPort.port, "/pdpb.PD/GetStore", message(bytes))).toContain("grpc ");
    }
    expect(await count("malformed request")).toBeGreaterThanOrEqual(before + 6);
    expect(await text()).toMatch(/^tikv_grpc_msg_fail_total\{type="raw_get"\} [1-9]/m);
    await allServe();
  });

  test("every method of both services answers a request without any field", async () => {
    const silent: string[] = [];
    for (const [service, port] of [
      [TikvService, storePort.port],
      [PdService, pdPort.port],
    ] as const) {
      for (const definition of Object.values(service)) {
        if (definition.kind !== "unary") continue;
        const outcome = await rawCall(port, definition.path, message(EMPTY));
        if (!/grpc \d/.test(outcome)) silent.push(`${definition.path}: ${outcome}`);
      }
    }
    expect(silent).toEqual([]);
    await allServe();
  });

  test("absent sub-messages, empty lists and the largest numbers are answered on every call", async () => {
    const requests: [string, Uint8Array, number][] = [
      ["RawBatchGet", kvrpcpb.RawBatchGetRequest.encode({ keys: [] }).finish(), storePort.port],
      ["RawBatchPut", kvrpcpb.RawBatchPutRequest.encode({ pairs: [] }).finish(), storePort.port],
      ["RawScan", kvrpcpb.RawScanRequest.encode({ limit: 0xffff_ffff }).finish(), storePort.port],
      [
        "RawBatchScan",
        kvrpcpb.RawBatchScanRequest.encode({ eachLimit: 0xffff_ffff }).finish(),
        storePort.port,
      ],
      ["RawPut", kvrpcpb.RawPutRequest.encode({ ttl: Number.MAX_SAFE_INTEGER }).finish(), storePort.port],
      ["RawChecksum", kvrpcpb.RawChecksumRequest.encode({ ranges: [] }).finish(), storePort.port],
      [
        "SplitRegion",
        kvrpcpb.SplitRegionRequest.encode({ splitKeys: [EMPTY, EMPTY] }).finish(),
        storePort.port,
      ],
    ];
    for (const [name, bytes, port] of requests) {
      expect(`${name} ${await rawCall(port, `/tikvpb.Tikv/${name}`, message(bytes))}`).toMatch(/grpc \d/);
    }
    const scan = pdpb.ScanRegionsRequest.encode({ limit: -1 }).finish();
    expect(await rawCall(pdPort.port, "/pdpb.PD/ScanRegions", message(scan))).toMatch(/grpc \d/);
    const split = pdpb.AskBatchSplitRequest.encode({ splitCount: 0xffff_ffff }).finish();
    expect(await rawCall(pdPort.port, "/pdpb.PD/AskBatchSplit", message(split))).toMatch(/grpc \d/);
    await allServe();
  });
});

test("a request that trickles in is ended by a status and does not hold the port", {
  timeout: 30_000,
}, async () => {
  const { port } = statusServer;
  const socket = connect(port, HOST);
  socket.on("error", () => {});
  let answer = "";
  socket.on("data", (bytes) => (answer += bytes.toString()));
  socket.write("GET /status HTTP/1.1\r\nhost: x\r\n");
  const timer = setInterval(() => socket.write("a: b\r\n"), 200);
  const closed = new Promise<boolean>((resolve) => socket.on("close", () => resolve(true)));
  await allServe();
  expect(await Promise.race([closed, delay(20_000).then(() => false)])).toBe(true);
  clearInterval(timer);
  expect(answer).toMatch(/^HTTP\/1\.1 408 |^$/);
});
