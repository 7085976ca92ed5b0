/**
 * A three-node etcd of the machine's own package, and a bare client for it: unary calls of @grpc/grpc-js with four
 * messages written by hand, which costs less than any general client would.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials } from "@grpc/grpc-js";
import protobuf from "protobufjs/minimal.js";
import { RaftwerkError } from "../base/index.js";
import { Child } from "../deploy/child.js";
import { etcdArgs, etcdClientUrl, type EtcdNodes, requireEtcd } from "../deploy/etcd.js";
import { freePorts } from "./free-ports.js";
import { processUse, until } from "./local.js";
import type { Target } from "./target.js";

const NODES = 3;
const METHOD = "/etcdserverpb.KV/";
const STATUS = "/etcdserverpb.Maintenance/Status";

interface RangeAnswer {
  readonly rows: number;
  readonly value: Uint8Array | undefined;
}

/** PutRequest: key 1, value 2. */
function writePut(writer: protobuf.Writer, key: Uint8Array, value: Uint8Array): protobuf.Writer {
  return writer.uint32(10).bytes(key).uint32(18).bytes(value);
}

/** RangeRequest: key 1, range_end 2, limit 3; linearizable unless told otherwise. */
function writeRange(key: Uint8Array, end?: Uint8Array, rowsMax = 1): Buffer {
  const writer = new protobuf.Writer().uint32(10).bytes(key);
  if (end !== undefined) writer.uint32(18).bytes(end).uint32(24).int64(rowsMax);
  return Buffer.from(writer.finish());
}

/** TxnRequest: success 2; RequestOp: request_put 2. */
function writeTxn(pairs: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]): Buffer {
  const writer = new protobuf.Writer();
  for (const { key, value } of pairs) {
    writer.uint32(18).fork().uint32(18).fork();
    writePut(writer, key, value).ldelim().ldelim();
  }
  return Buffer.from(writer.finish());
}

/** RangeResponse: kvs 2; KeyValue: value 5. Every row is read, as a client must. */
function readRange(bytes: Buffer): RangeAnswer {
  const reader = protobuf.Reader.create(bytes);
  let rows = 0;
  let value: Uint8Array | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag !== 18) {
      reader.skipType(tag & 7);
      continue;
    }
    const end = reader.uint32() + reader.pos;
    rows++;
    while (reader.pos < end) {
      const field = reader.uint32();
      if (field >>> 3 === 5 || field >>> 3 === 1) value = reader.bytes();
      else reader.skipType(field & 7);
    }
  }
  return { rows, value };
}

/** StatusResponse: header 1, leader 4; ResponseHeader: member_id 2. Ids are of 64 bits. */
function readStatus(bytes: Buffer): { readonly member: string; readonly leader: string } {
  const reader = protobuf.Reader.create(bytes);
  let [member, leader] = ["", ""];
  // As they stand there: 64 bits are more than a number holds.
  const id = (): string => {
    const from = reader.pos;
    reader.uint64();
    return bytes.toString("hex", from, reader.pos);
  };
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 10) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) {
        const field = reader.uint32();
        if (field === 16) member = id();
        else reader.skipType(field & 7);
      }
    } else if (tag === 32) leader = id();
    else reader.skipType(tag & 7);
  }
  return { member, leader };
}

const same = (bytes: Buffer): Buffer => bytes;

function ask(client: Client, method: string, request: Buffer): Promise<Buffer> {
  const deadline = Date.now() + 60_000;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(method, same, same, request, { deadline }, (error, answer) =>
      error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error("no answer")),
    );
  });
}

const targetOf = (call: (method: string, request: Buffer) => Promise<Buffer>): Target => ({
  put: async (key, value) => {
    await call("Put", Buffer.from(writePut(new protobuf.Writer(), key, value).finish()));
  },
  get: async (key) => readRange(await call("Range", writeRange(key))).value,
  scan: async (start, end, rowsMax) => readRange(await call("Range", writeRange(start, end, rowsMax))).rows,
  batchPut: async (pairs) => {
    await call("Txn", writeTxn(pairs));
  },
});

export class EtcdCluster {
  readonly version: string;
  readonly #children: Child[] = [];
  readonly #directory: string;
  readonly #clients: Client[] = [];
  /** host:port of each node. */
  readonly addresses: string[] = [];

  private constructor(version: string) {
    this.version = version;
    this.#directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-etcd-"));
  }

  static async start(): Promise<EtcdCluster> {
    let version: string;
    try {
      version = requireEtcd();
    } catch {
      throw new RaftwerkError(
        "invalidConfig",
        "this bench compares with a real etcd, and this machine has no program etcd: install it " +
          "(Debian: apt-get install -y etcd-server)",
        { retry: "never" },
      );
    }
    const cluster = new EtcdCluster(version);
    const nodes: EtcdNodes = {
      host: "127.0.0.1",
      port: await freePorts(2 * NODES),
      count: NODES,
      dataDir: cluster.#directory,
    };
    for (let i = 0; i < NODES; i++) {
      cluster.#children.push(
        new Child({
          title: `etcd ${i + 1}`,
          // A bench may fill the default quota of 2 GiB.
          args: [...etcdArgs(nodes, i), "--log-level", "error", "--quota-backend-bytes", String(8 * 2 ** 30)],
          command: "etcd",
          program: "",
          onExit: () => {},
        }),
      );
      const address = etcdClientUrl(nodes, i).replace("http://", "");
      cluster.addresses.push(address);
      cluster.#clients.push(
        new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }),
      );
    }
    try {
      const target = cluster.target();
      const probe = Buffer.from("probe");
      await until(
        () =>
          target.put(probe, probe).then(
            () => true,
            () => false,
          ),
        "etcd to take a write",
        60_000,
        200,
      );
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get cpuSeconds(): number {
    return this.#children.reduce((sum, { pid }) => sum + (processUse(pid)?.cpuSeconds ?? 0), 0);
  }

  /** Calls go to the three nodes in turn, as with etcd's own client. */
  target(): Target {
    let next = 0;
    return targetOf((method, request) =>
      ask(this.#clients[next++ % NODES] as Client, METHOD + method, request),
    );
  }

  /** Calls go to whoever leads now: no node passes them on. */
  async leaderTarget(): Promise<Target> {
    for (const client of this.#clients) {
      const { member, leader } = readStatus(await ask(client, STATUS, Buffer.alloc(0)));
      if (member === leader) return targetOf((method, request) => ask(client, METHOD + method, request));
    }
    throw new Error("no node of etcd says that it leads");
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#children.map((child) => child.stop()));
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }
}
