/**
 * The toy limit as a side of `raftwerk bench peers --toy DIR`: a throw-away put pipeline of three replicas over the
 * same libraries, without elections and checks, that lies outside of this project. It says what Node, gRPC and RocksDB
 * allow at most on this machine at this moment. DIR holds its `store.cjs`, `gen/pb8.cjs` and `node_modules`; it is
 * driven by its own client stack: one stream, the commands of a turn in messages of at most 128.
 */
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type * as grpcJs from "@grpc/grpc-js";
import { RaftwerkError } from "../base/index.js";
import { processUse } from "./local.js";
import type { Target } from "./target.js";

/** The port of the toy's leader is fixed in its source. */
const LEADER = "127.0.0.1:48001";
const COMMANDS_MAX = 128;
const READY_MS = 20_000;

interface ToyCommand {
  readonly id: number;
  readonly request: object;
}

interface ToyCall {
  write(message: object): void;
  end(): void;
  on(event: "data", listener: (message: { readonly requestIds: readonly number[] }) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
}

interface Codec {
  encode(message: object): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
}

const refuse = (message: string): RaftwerkError =>
  new RaftwerkError("invalidArgument", message, { retry: "never" });

export class ToyCluster {
  readonly #directory = mkdtempSync(join(tmpdir(), "raftwerk-bench-toy-"));
  readonly #children: ChildProcess[] = [];
  readonly #waiting = new Map<number, { resolve(): void; reject(error: Error): void }>();
  #queue: ToyCommand[] = [];
  #nextId = 1;
  #call: ToyCall | undefined;
  #client: { close(): void } | undefined;

  static async start(directory: string, regions: number): Promise<ToyCluster> {
    const dir = resolve(directory);
    for (const part of ["store.cjs", "gen/pb8.cjs", "node_modules"]) {
      if (!existsSync(join(dir, part))) throw refuse(`--toy: ${dir} holds no ${part}`);
    }
    const toy = new ToyCluster();
    try {
      // Followers first: the leader calls them once and does not try again.
      for (const store of [3, 2, 1]) await toy.#fork(dir, store, regions);
      toy.#open(dir);
    } catch (error) {
      await toy.stop();
      throw error;
    }
    return toy;
  }

  get cpuSeconds(): number {
    return this.#children.reduce((sum, { pid }) => sum + (processUse(pid ?? 0)?.cpuSeconds ?? 0), 0);
  }

  /** It knows puts alone. */
  target(): Target {
    const unknown = (): never => {
      throw refuse("the toy knows puts alone");
    };
    return { put: (key, value) => this.#put(key, value), get: unknown, scan: unknown, batchPut: unknown };
  }

  async stop(): Promise<void> {
    this.#call?.end();
    this.#client?.close();
    const gone = this.#children.map(async (child) => {
      if (child.exitCode === null) await new Promise((ended) => child.once("exit", ended));
    });
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(gone);
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  #fork(dir: string, store: number, regions: number): Promise<void> {
    const child = fork("store.cjs", [String(store), String(regions), "sync"], {
      cwd: dir,
      env: { ...process.env, TOY_DIR: this.#directory },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#children.push(child);
    return new Promise((ready, reject) => {
      const fail = (): void =>
        reject(refuse(`--toy: its store ${store} did not start (its ports are 48001 to 48003)`));
      const timer = setTimeout(fail, READY_MS);
      child.once("exit", fail);
      child.once("message", () => {
        clearTimeout(timer);
        ready();
      });
    });
  }

  #open(dir: string): void {
    const require = createRequire(join(dir, "store.cjs"));
    const minimal = require("protobufjs/minimal") as { util: { Long: unknown }; configure(): void };
    // Numbers instead of Long objects, as its stores have it.
    minimal.util.Long = null;
    minimal.configure();
    const { kv } = require("./gen/pb8.cjs") as { kv: Record<string, Codec> };
    const grpc = require("@grpc/grpc-js") as typeof grpcJs;
    const [request, response] = [kv["BatchCommandsRequest"] as Codec, kv["BatchCommandsResponse"] as Codec];
    const Service = grpc.makeGenericClientConstructor(
      {
        BatchCommands: {
          path: "/kv.Tikv/BatchCommands",
          requestStream: true,
          responseStream: true,
          requestSerialize: (message: object) => Buffer.from(request.encode(message).finish()),
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (bytes: Buffer) => bytes,
          responseDeserialize: (bytes: Buffer) => response.decode(bytes),
        },
      },
      "Toy",
    );
    const client = new Service(LEADER, grpc.credentials.createInsecure());
    this.#client = client;
    const call = (client as unknown as { BatchCommands(): ToyCall }).BatchCommands();
    call.on("data", ({ requestIds }) => {
      for (const id of requestIds) {
        this.#waiting.get(id)?.resolve();
        this.#waiting.delete(id);
      }
    });
    call.on("error", (error) => {
      for (const each of this.#waiting.values()) each.reject(error);
      this.#waiting.clear();
    });
    this.#call = call;
  }

  #put(key: Uint8Array, value: Uint8Array): Promise<void> {
    const id = this.#nextId++;
    const context = {
      regionId: id,
      regionEpoch: { confVer: 5, version: 77 },
      peer: { id: 99, storeId: 1 },
      term: 5,
    };
    return new Promise((done, reject) => {
      this.#waiting.set(id, { resolve: done, reject });
      this.#queue.push({ id, request: { rawPut: { context, key, value } } });
      if (this.#queue.length === 1) setImmediate(() => this.#flush());
    });
  }

  #flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (let from = 0; from < queue.length; from += COMMANDS_MAX) {
      const part = queue.slice(from, from + COMMANDS_MAX);
      this.#call?.write({
        requests: part.map(({ request }) => request),
        requestIds: part.map(({ id }) => id),
      });
    }
  }
}
