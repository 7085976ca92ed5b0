/**
 * The Placement Driver, put together. Start order: cluster id, leadership, ids, timestamps, cluster, then scheduling;
 * every call before that answers "not leader", which clients take as "ask again". Once a write has failed nobody
 * knows what is stored: PD stops serving and says so (`onFatal`), and the process should end. (pd-rules 1.1, 1.10)
 */
import { assert, type Engine, type Env, RaftwerkError, utf8 } from "../base/index.js";
import type { BoundMethod } from "../proto/index.js";
import { Candidacy, type CandidacyInputs, type ElectionOptions } from "./candidacy.js";
import { type Cluster, mapOn } from "./cluster.js";
import type { PdLogLevel } from "./http-call.js";
import { handleHttp, type HttpReply, type HttpRequest } from "./http.js";
import { isAnsweredLocally, waitForLeader } from "./http-redirect.js";
import { CLUSTER_ID_KEY, MetaKeys } from "./keys.js";
import { SoleLeadership } from "./leadership.js";
import type { MemberIdentity } from "./members.js";
import type { MetaStore } from "./meta-store.js";
import { type MetricSample, PdMetrics } from "./metrics.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";
import type { FetchStoreConfig } from "./region-sizes.js";
import { beginTerm, buildParts, endTerm, type Parts, startConfig } from "./parts.js";
import { Forwarder } from "./rpc-forward.js";
import type { Scheduling } from "./scheduling.js";
import { scrapeFigures } from "./scrape-figures.js";

const ID_RETRY_MS = 500;

export interface PlacementDriverOptions {
  readonly name: string;
  /** URLs with scheme under which clients reach this PD: what GetMembers tells them. */
  readonly clientUrls: readonly string[];
  readonly peerUrls?: readonly string[];
  /**
   * Settings by section and item in their JSON form, as a config file gives them; stored changes win over them.
   */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly tsoSaveIntervalMs?: number;
  readonly tsoUpdateIntervalMs?: number;
  /** A disk for the regions of a PD alone, that of its metadata or another. Without it they are metadata as well. */
  readonly regionEngine?: Engine;
  /** One of several PDs over a shared meta store. Without it this PD is alone and leads from its start on. */
  readonly election?: ElectionOptions;
  /** Changes the level of the log of this process. */
  readonly setLogLevel?: (level: PdLogLevel) => void;
  /** Sends a request to the leader's HTTP API, with these headers added. */
  readonly forwardHttp?: (
    urls: readonly string[],
    request: HttpRequest,
    headers: Readonly<Record<string, string>>,
    reply: HttpReply,
  ) => void;
  /** Asks a store for its settings. Without it PD takes regions to be split at TiKV's sizes. */
  readonly fetchStoreConfig?: FetchStoreConfig;
  /** PD can no longer write its metadata and has stopped serving: end the process. */
  readonly onFatal?: (error: Error) => void;
}

export class PlacementDriver {
  readonly metrics: PdMetrics = new PdMetrics();
  readonly #env: Env;
  readonly #options: PlacementDriverOptions;
  readonly #metaStore: MetaStore;
  #sole: { readonly parts: Parts; readonly leadership: SoleLeadership } | undefined;
  #candidacy: Candidacy | undefined;
  #forwarder: Forwarder | undefined;
  #stopped = false;

  constructor(env: Env, options: PlacementDriverOptions, metaStore: MetaStore) {
    this.#env = env;
    this.#options = options;
    this.#metaStore = metaStore;
    // Refuses wrong settings before anything is started.
    startConfig(options.config);
  }

  /** Calls back once PD serves, or with others once it takes part. `methods()` may be called after that. */
  start(callback: (error: Error | undefined) => void): void {
    const startedWallMs = this.#env.clock.wallMs();
    this.#initClusterId((error, clusterId) => {
      if (error !== undefined) {
        if (this.#options.election === undefined || this.#stopped) return callback(error);
        this.#env.log.warn("waiting for the meta store", { error: error.message });
        this.#env.timers.set(ID_RETRY_MS, () => this.start(callback));
        return;
      }
      const inputs = this.#inputs(clusterId, startedWallMs);
      if (this.#options.election !== undefined)
        return this.#joinElection(inputs, this.#options.election, callback);
      const token = utf8(
        `${inputs.self.name} ${inputs.self.memberId} ${this.#env.random.u32()}-${this.#env.random.u32()}`,
      );
      const leadership = new SoleLeadership(this.#env, this.#metaStore, inputs.keys, token, (reason) =>
        this.#options.onFatal?.(new RaftwerkError("pdUnavailable", reason, { retry: "never" })),
      );
      const { regionEngine } = this.#options;
      const map = regionEngine === undefined ? {} : { map: mapOn(this.#env, regionEngine, inputs.keys) };
      const parts = buildParts({ ...inputs, ...map, leadership });
      leadership.campaign((lost) => {
        if (lost !== undefined) return callback(lost);
        beginTerm(parts, (failed) => {
          if (failed === undefined) this.#sole = { parts, leadership };
          callback(failed);
        });
      });
    });
  }

  /** Stops serving, writes what is still in memory; the meta store stays open and belongs to the caller. */
  stop(callback: () => void = () => {}): void {
    if (this.#stopped) return callback();
    const sole = this.#sole;
    this.#stopped =
      sole !== undefined || this.#candidacy !== undefined || this.#options.election !== undefined;
    if (this.#candidacy !== undefined) return this.#candidacy.stop(callback);
    if (sole === undefined) return callback();
    endTerm(sole.parts, () => {
      sole.leadership.stop();
      callback();
    });
  }

  get clusterId(): bigint {
    return this.#parts.context.clusterId;
  }

  get cluster(): Cluster {
    return this.#parts.cluster;
  }

  get scheduling(): Scheduling {
    return this.#parts.scheduling;
  }

  /** Whether the start has called back: before that PD does not know its cluster. */
  get isReady(): boolean {
    return this.#sole !== undefined || this.#candidacy !== undefined;
  }

  /** For the metrics: what PD's HTTP API does not tell, or tells in lists of a million regions. */
  scrape(): MetricSample[] {
    return scrapeFigures(this.#parts);
  }

  get isServing(): boolean {
    const parts = this.#sole?.parts ?? this.#candidacy?.parts;
    return parts?.leadership.isServing() === true;
  }

  /**
   * Everything a gRPC server needs to serve PD's port. Each call goes to the parts of the time it comes in.
   */
  methods(): BoundMethod[] {
    if (this.#candidacy === undefined) return [...this.#parts.methods.values()];
    const forwarder = this.#forwarder;
    return [...this.#parts.methods.values()].map((method) => ({
      ...method,
      handler: (call) => {
        const forwarded = forwarder?.take(method.definition, call);
        if (forwarded !== undefined) return forwarded;
        return (this.#parts.methods.get(method.definition.path) as BoundMethod).handler(call);
      },
    }));
  }

  /** PD's HTTP API. `reply` is called once, perhaps later. */
  handleHttp(request: HttpRequest, reply: HttpReply): void {
    const candidacy = this.#candidacy;
    if (candidacy === undefined || this.isServing || isAnsweredLocally(request))
      return this.#answer(request, reply);
    if (request.headers["pd-redirector"] !== undefined) {
      return reply(
        500,
        "text/plain; charset=utf-8",
        "[PD:apiutil:ErrRedirect]redirect failed, redirect to not leader\n",
      );
    }
    waitForLeader(
      this.#env,
      () => (this.isServing ? [] : candidacy.leaderUrls()),
      (urls) => {
        if (urls === undefined) {
          const text =
            "[PD:apiutil:ErrRedirectNoLeader]redirect finds no leader: none is known at the moment, try again\n";
          return reply(503, "text/plain; charset=utf-8", text);
        }
        if (urls.length === 0 || this.#options.forwardHttp === undefined) return this.#answer(request, reply);
        this.#options.forwardHttp(urls, request, { "PD-Redirector": this.#options.name }, reply);
      },
    );
  }

  saveConfig(callback: (error: Error | undefined) => void): void {
    this.#parts.settings.save(callback);
  }

  #answer(request: HttpRequest, reply: HttpReply): void {
    const parts = this.#parts;
    const candidacy = this.#candidacy;
    const election = candidacy === undefined ? {} : { transfer: candidacy.transfer.bind(candidacy) };
    const { setLogLevel } = this.#options;
    const log = setLogLevel === undefined ? {} : { setLogLevel };
    handleHttp({ ...parts, ...election, ...log, config: parts.context.config }, request, reply);
  }

  get #parts(): Parts {
    const parts = this.#sole?.parts ?? this.#candidacy?.parts;
    assert(parts !== undefined, "PD is used before its start has called back");
    return parts;
  }

  #joinElection(
    inputs: CandidacyInputs,
    election: ElectionOptions,
    callback: (error: Error | undefined) => void,
  ): void {
    const candidacy = new Candidacy(inputs, election);
    this.#candidacy = candidacy;
    this.#forwarder = new Forwarder({
      network: election.network,
      ownUrls: this.#options.clientUrls,
      leaderUrls: () => candidacy.leaderUrls(),
    });
    candidacy.start();
    callback(undefined);
  }

  /** Read, or proposed and written only if still absent: the loser of a race takes the winner's. (1.2) */
  #initClusterId(callback: (error: Error | undefined, clusterId: bigint) => void): void {
    const seconds = BigInt(Math.floor(this.#env.clock.wallMs() / 1000));
    const proposed = BigInt.asUintN(64, (seconds << 32n) + BigInt(this.#env.random.u32())) || 1n;
    const transaction = {
      compares: [{ kind: "createRevision", key: CLUSTER_ID_KEY, equals: 0 } as const],
      onSuccess: [{ kind: "put", key: CLUSTER_ID_KEY, value: encodeUint64(proposed) } as const],
      reads: [CLUSTER_ID_KEY],
    };
    this.#metaStore.transact(transaction, (error, result) => {
      const stored = result.entries[0];
      if (error !== undefined || stored === undefined) return callback(error, 0n);
      callback(undefined, decodeUint64(stored.value));
    });
  }

  #inputs(clusterId: bigint, startedWallMs: number): CandidacyInputs {
    const { config, tsoSaveIntervalMs, tsoUpdateIntervalMs } = this.#options;
    return {
      env: this.#env,
      metaStore: this.#metaStore,
      clusterId,
      keys: new MetaKeys(clusterId),
      self: identity(clusterId, this.#options),
      metrics: this.metrics,
      config,
      tsoSaveIntervalMs,
      tsoUpdateIntervalMs,
      startedWallMs,
      fetchStoreConfig: this.#options.fetchStoreConfig,
    };
  }
}

/** The member id follows from cluster and name, so that it is stable over restarts. */
function identity(clusterId: bigint, options: PlacementDriverOptions): MemberIdentity {
  let hash = 0xcbf29ce484222325n;
  for (const byte of utf8(`${clusterId}/${options.name}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return {
    name: options.name,
    memberId: hash === 0n ? 1n : hash,
    clientUrls: options.clientUrls,
    peerUrls: options.peerUrls ?? [],
  };
}
