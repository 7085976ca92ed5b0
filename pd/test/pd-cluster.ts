/**
 * Several PDs under virtual time over one simulated etcd: each may be killed, paused, cut off from etcd, started
 * again, and have its wall clock moved. Calls go to a PD's methods as a client's would.
 */
import { InProcessNetwork } from "../../adapters/in-process-network.js";
import { type Env, must, type TimerHandle } from "../../base/index.js";
import {
  type BoundMethod,
  metapb,
  type MethodDefinition,
  PdService,
  pdpb,
  type RpcMetadata,
  type RpcStatus,
} from "../../proto/index.js";
import { type LinkKnobs, SimulatedEtcd, type SimulatedMetaStore } from "../../sim/simulated-etcd.js";
import type { MetaStore } from "../meta-store.js";
import { PlacementDriver, type PlacementDriverOptions } from "../placement-driver.js";
import { FakeEnv } from "./fake-env.js";
import { MemoryEngine } from "./memory-engine.js";

/** One life of a process: its timers die with it and wait while it is paused. */
class ProcessEnv implements Env {
  readonly clock: Env["clock"];
  readonly timers: Env["timers"];
  readonly random: Env["random"];
  readonly log: Env["log"];
  wallOffsetMs = 0;
  #isAlive = true;
  #isPaused = false;
  #waiting: (() => void)[] = [];

  constructor(base: FakeEnv, monotonicMs = (ms: number): number => ms) {
    this.clock = {
      monotonicMs: () => monotonicMs(base.clock.monotonicMs()),
      wallMs: () => base.clock.wallMs() + this.wallOffsetMs,
    };
    this.random = base.random;
    this.log = base.log;
    this.timers = {
      set: (delayMs, callback): TimerHandle => base.timers.set(delayMs, () => this.run(callback)),
      clear: (handle) => base.timers.clear(handle),
      nextTurn: (callback) => base.timers.nextTurn(() => this.run(callback)),
    };
  }

  get isRunning(): boolean {
    return this.#isAlive && !this.#isPaused;
  }

  run(callback: () => void): void {
    if (!this.#isAlive) return;
    if (this.#isPaused) this.#waiting.push(callback);
    else callback();
  }

  kill(): void {
    this.#isAlive = false;
    this.#waiting = [];
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    for (const callback of this.#waiting.splice(0)) this.run(callback);
  }
}

export interface PdProcess {
  readonly name: string;
  readonly address: string;
  env: ProcessEnv;
  store: SimulatedMetaStore;
  readonly rows: Map<string, Uint8Array>;
  pd: PlacementDriver | undefined;
  methods: Map<string, BoundMethod>;
  close: () => void;
}

/** Where a test puts a bug between a PD and the world. */
export interface Seams {
  /** What a PD writes through; `cluster` to know its keys by. */
  readonly metaStore?: (store: MetaStore, cluster: PdCluster) => MetaStore;
  /** The monotonic clock that a PD sees. */
  readonly monotonicMs?: (ms: number) => number;
}

export interface Answer<Response> {
  readonly messages: Response[];
  status: RpcStatus | undefined;
}

export class PdCluster {
  readonly env: FakeEnv;
  readonly etcd: SimulatedEtcd;
  readonly network: InProcessNetwork;
  readonly processes: PdProcess[] = [];
  /** By name, from the next start on; otherwise the default. */
  readonly leaseSeconds = new Map<string, number>();
  readonly #options: Partial<PlacementDriverOptions>;
  readonly #knobs: Partial<LinkKnobs>;
  readonly #seams: Seams;

  constructor(
    size: number,
    seed = 1,
    knobs: Partial<LinkKnobs> = {},
    options: Partial<PlacementDriverOptions> = {},
    seams: Seams = {},
  ) {
    this.#seams = seams;
    this.env = new FakeEnv(seed);
    this.etcd = new SimulatedEtcd(this.env);
    this.network = new InProcessNetwork(this.env);
    this.#options = options;
    this.#knobs = knobs;
    for (let i = 1; i <= size; i++) {
      const env = new ProcessEnv(this.env, seams.monotonicMs);
      this.processes.push({
        name: `pd${i}`,
        address: `pd${i}:2379`,
        env,
        store: this.etcd.connect(env, knobs),
        rows: new Map(),
        pd: undefined,
        methods: new Map(),
        close: () => {},
      });
      this.#start(this.processes[i - 1] as PdProcess);
    }
  }

  process(name: string): PdProcess {
    return must(
      this.processes.find((process) => process.name === name),
      () => `no ${name}`,
    );
  }

  kill(name: string): void {
    const process = this.process(name);
    process.env.kill();
    process.store.close(() => {});
    process.close();
    process.pd = undefined;
    process.methods = new Map();
  }

  restart(name: string): void {
    const process = this.process(name);
    const { wallOffsetMs } = process.env;
    process.env = new ProcessEnv(this.env, this.#seams.monotonicMs);
    process.env.wallOffsetMs = wallOffsetMs;
    process.store = this.etcd.connect(process.env, this.#knobs);
    this.#start(process);
  }

  /** Those that serve as leader now, by their own opinion, and run. */
  leaders(): PdProcess[] {
    return this.processes.filter(({ pd, env }) => env.isRunning && pd !== undefined && pd.isServing);
  }

  leader(): PdProcess {
    return must(this.leaders()[0], "no PD leads");
  }

  /** Until exactly one leads; the virtual time it took. */
  waitForLeader(limitMs = 20_000): number {
    const startedMs = this.env.clock.monotonicMs();
    while (this.leaders().length !== 1) {
      if (this.env.clock.monotonicMs() - startedMs > limitMs) throw new Error("no PD leads in time");
      this.env.advance(10);
    }
    return this.env.clock.monotonicMs() - startedMs;
  }

  get clusterId(): bigint {
    return must(
      this.processes.find(({ pd }) => pd !== undefined && pd.isReady)?.pd,
      "no PD knows the cluster id",
    ).clusterId;
  }

  /** A call that stays open until the PD ends it; a dead or silent PD says nothing. */
  call<Request, Response, RequestInit extends object, ResponseInit>(
    process: PdProcess,
    definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    request: RequestInit,
    metadata: RpcMetadata = {},
  ): Answer<Response> {
    const answer: Answer<Response> = { messages: [], status: undefined };
    const method = process.methods.get(definition.path);
    if (method === undefined) {
      answer.status = { code: 14, message: "connection refused" };
      return answer;
    }
    const { env } = process;
    env.run(() => {
      const listener = method.handler({
        metadata,
        peer: "test",
        pendingBytes: 0,
        send: (message) => void answer.messages.push(message as Response),
        end: (status) => {
          answer.status ??= status ?? { code: 0, message: "" };
        },
      });
      const full = { header: { clusterId: this.clusterId }, ...request };
      listener.onMessage(definition.request.decode(definition.request.encode(full)));
    });
    return answer;
  }

  /** A unary call that must be answered. */
  ask<Request, Response, RequestInit extends object, ResponseInit>(
    process: PdProcess,
    definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    request: RequestInit,
    metadata: RpcMetadata = {},
  ): Response {
    const answer = this.call(process, definition, request, metadata);
    for (let waited = 0; answer.status === undefined && waited < 5_000; waited += 5) this.env.advance(5);
    if (answer.status?.code !== 0) throw new Error(`${definition.path}: ${JSON.stringify(answer.status)}`);
    return must(answer.messages[0], "no answer");
  }

  bootstrap(): void {
    const store = (id: number): metapb.IStore => ({ id, address: `s${id}:1`, version: "8.5.0" });
    const region = { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: [{ id: 3, storeId: 1 }] };
    this.ask(this.leader(), PdService.Bootstrap, { store: store(1), region });
    this.ask(this.leader(), PdService.PutStore, { store: store(1) });
  }

  /** Where answers get lost: until the cluster is there. */
  bootstrapPatiently(): void {
    for (let tries = 0; tries < 100; tries++) {
      const leader = this.leaders()[0];
      if (leader?.pd?.cluster.isBootstrapped === true && leader.pd.cluster.stores.size > 0) return;
      const store = { id: 1, address: "s1:1", version: "8.5.0" };
      const region = { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: [{ id: 3, storeId: 1 }] };
      if (leader !== undefined) this.call(leader, PdService.Bootstrap, { store, region });
      this.env.advance(500);
    }
    throw new Error("the cluster could not be bootstrapped");
  }

  #start(process: PdProcess): void {
    const { name, address, env, store } = process;
    const lease = this.leaseSeconds.get(name);
    const pd = new PlacementDriver(
      env,
      {
        name,
        clientUrls: [`http://${address}`],
        ...this.#options,
        election: {
          network: this.network,
          regionEngine: new MemoryEngine(env, process.rows),
          ...(lease === undefined ? {} : { leaseSeconds: lease }),
        },
      },
      this.#seams.metaStore?.(store, this) ?? store,
    );
    process.pd = pd;
    pd.start((error) => {
      if (error !== undefined) throw error;
      const methods = pd.methods();
      process.methods = new Map(methods.map((method) => [method.definition.path, method]));
      process.close = this.network.listen(address, methods);
    });
  }
}

export { metapb, pdpb };
