/** A PD under virtual time, called through its method table as a client would, and stores that obey its commands. */
import { must, utf8 } from "../../base/index.js";
import type { BoundMethod, MethodDefinition, RpcStatus, ServerCallListener } from "../../proto/index.js";
import { metapb, PdService, pdpb } from "../../proto/index.js";
import { EmbeddedMetaStore } from "../embedded-meta-store.js";
import type { MetaStore } from "../meta-store.js";
import { PlacementDriver, type PlacementDriverOptions } from "../placement-driver.js";
import { FakeEnv } from "./fake-env.js";
import { MemoryEngine } from "./memory-engine.js";

export interface OpenCall<Request, Response> {
  readonly answers: Response[];
  status: RpcStatus | undefined;
  send(request: Request): void;
  halfClose(): void;
  cancel(): void;
}

export class Harness {
  readonly env: FakeEnv;
  engine: MemoryEngine;
  pd!: PlacementDriver;
  #methods = new Map<string, BoundMethod>();
  fatal: Error | undefined;
  /** As they were asked for while PD ran. */
  readonly logLevels: string[] = [];
  readonly #options: Partial<PlacementDriverOptions>;

  /** For a test that writes into it behind PD's back. */
  metaStore: MetaStore | undefined;

  constructor(options: Partial<PlacementDriverOptions> = {}, seed = 1) {
    this.env = new FakeEnv(seed);
    this.engine = new MemoryEngine(this.env);
    this.#options = options;
  }

  static started(options: Partial<PlacementDriverOptions> = {}, seed = 1): Harness {
    const harness = new Harness(options, seed);
    must(harness.start() ? harness : undefined, "PD did not start");
    return harness;
  }

  /** False when the start failed. */
  start(): boolean {
    let outcome: boolean | undefined;
    EmbeddedMetaStore.open(this.env, this.engine, (error, metaStore) => {
      if (error !== undefined || metaStore === undefined) {
        outcome = false;
        return;
      }
      this.metaStore = metaStore;
      const pd = new PlacementDriver(
        this.env,
        {
          name: "pd",
          clientUrls: ["http://127.0.0.1:2379"],
          peerUrls: ["http://127.0.0.1:2380"],
          regionEngine: this.engine,
          setLogLevel: (level) => void this.logLevels.push(level),
          onFatal: (fatal) => {
            this.fatal = fatal;
          },
          ...this.#options,
        },
        metaStore,
      );
      this.pd = pd;
      pd.start((startError) => {
        outcome = startError === undefined;
      });
    });
    this.env.settle();
    if (outcome === true) {
      this.#methods = new Map(this.pd.methods().map((method) => [method.definition.path, method]));
    }
    return outcome === true;
  }

  /** kill -9 and a new process on what the disk holds. */
  crashAndRestart(): boolean {
    this.env.dropTimers();
    this.engine = new MemoryEngine(this.env, this.engine.rows);
    return this.start();
  }

  get header(): { clusterId: bigint } {
    return { clusterId: this.pd.clusterId };
  }

  open<Request, Response, RequestInit, ResponseInit>(
    definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    onAnswer: (answer: Response) => void = () => {},
  ): OpenCall<RequestInit, Response> {
    const method = must(this.#methods.get(definition.path), () => `no method ${definition.path}`);
    const call: OpenCall<RequestInit, Response> & { listener?: ServerCallListener<unknown> } = {
      answers: [],
      status: undefined,
      send: (request) =>
        call.listener?.onMessage(definition.request.decode(definition.request.encode(request))),
      halfClose: () => call.listener?.onHalfClose(),
      cancel: () => call.listener?.onCancel(),
    };
    call.listener = method.handler({
      metadata: {},
      peer: "test",
      pendingBytes: 0,
      send: (message) => {
        // Through the codec, so that what is sent is what a client would see.
        const answer = definition.response.decode(definition.response.encode(message as ResponseInit));
        call.answers.push(answer);
        onAnswer(answer);
      },
      end: (status) => {
        call.status ??= status ?? { code: 0, message: "" };
      },
    });
    return call;
  }

  /** A unary call that must be answered with status OK. */
  call<Request, Response, RequestInit extends object, ResponseInit>(
    definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    request: RequestInit = {} as RequestInit,
  ): Response {
    const call = this.start1(definition, request);
    if (call.status?.code !== 0) throw new Error(`${definition.path}: ${JSON.stringify(call.status)}`);
    return must(call.answers[0], () => `${definition.path}: no answer`);
  }

  /** A unary call whose status is looked at. */
  start1<Request, Response, RequestInit extends object, ResponseInit>(
    definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
    request: RequestInit,
  ): OpenCall<RequestInit, Response> {
    const call = this.open(definition);
    call.send({ header: this.header, ...request });
    call.halfClose();
    this.env.settle();
    return call;
  }

  bootstrap(storeId = 1, regionId = 2, peerId = 3): void {
    const answer = this.call(PdService.Bootstrap, {
      store: storeMessage(storeId),
      region: {
        id: regionId,
        regionEpoch: { confVer: 1, version: 1 },
        peers: [{ id: peerId, storeId }],
      },
    });
    if (answer.header?.error) throw new Error(answer.header.error.message);
    this.call(PdService.PutStore, { store: storeMessage(storeId) });
  }

  putStore(store: metapb.IStore): pdpb.PutStoreResponse {
    return this.call(PdService.PutStore, { store });
  }

  heartbeatStore(storeId: number, stats: Partial<pdpb.IStoreStats> = {}): pdpb.StoreHeartbeatResponse {
    return this.call(PdService.StoreHeartbeat, {
      stats: { storeId, capacity: 100 * 2 ** 30, available: 80 * 2 ** 30, ...stats },
    });
  }

  /** Through the wire: as PD's HTTP port would. */
  http(method: string, target: string, body: unknown = ""): { status: number; json: unknown; text: string } {
    const [path, search = ""] = target.split("?") as [string, string?];
    const query: Record<string, string[]> = {};
    for (const pair of search.split("&")) {
      if (pair === "") continue;
      const [name, value = ""] = pair.split("=") as [string, string?];
      const key = decodeURIComponent(name);
      query[key] ??= [];
      (query[key] as string[]).push(decodeURIComponent(value.replaceAll("+", " ")));
    }
    let answer: { status: number; json: unknown; text: string } | undefined;
    const text = typeof body === "string" ? body : JSON.stringify(body);
    this.pd.handleHttp({ method, path, query, headers: {}, body: utf8(text) }, (status, type, content) => {
      const json = type.includes("json") || type.includes("octet") ? JSON.parse(content) : undefined;
      answer = { status, json, text: content };
    });
    this.env.settle();
    return must(answer, () => `${method} ${target}: no answer`);
  }
}

export const storeMessage = (id: number, more: metapb.IStore = {}): metapb.IStore => ({
  id,
  address: `127.0.0.1:${20160 + id}`,
  statusAddress: `127.0.0.1:${20180 + id}`,
  version: "8.5.0",
  ...more,
});

export { metapb, pdpb };
