/**
 * The Placement Driver, put together. Start order: cluster id, leadership, ids, timestamps, cluster, then scheduling;
 * every call before that answers "not leader", which clients take as "ask again". Once a write has failed nobody
 * knows what is stored: PD stops serving and says so (`onFatal`), and the process should end. (pd-rules 1.1, 1.10)
 */
import { assert, type Env, RaftwerkError, utf8 } from "../base/index.js";
import type { BoundMethod } from "../proto/index.js";
import { Cluster } from "./cluster.js";
import { PdConfig } from "./config.js";
import type { PdContext } from "./context.js";
import { GcState } from "./gc-state.js";
import { HeartbeatStreams } from "./heartbeat-streams.js";
import { handleHttp, type HttpReply, type HttpRequest } from "./http.js";
import { IdAllocator } from "./id-allocator.js";
import { CLUSTER_ID_KEY, MetaKeys } from "./keys.js";
import { SoleLeadership } from "./leadership.js";
import { type MemberIdentity, Members } from "./members.js";
import type { MetaStore } from "./meta-store.js";
import { PdMetrics } from "./metrics.js";
import { decodeUint64, encodeUint64 } from "./numbers.js";
import { coreMethods } from "./rpc-core.js";
import { gcMethods } from "./rpc-gc.js";
import { otherMethods } from "./rpc-other.js";
import { regionMethods } from "./rpc-regions.js";
import { schedulingMethods } from "./rpc-scheduling.js";
import { splitMethods } from "./rpc-split.js";
import { storeMethods } from "./rpc-stores.js";
import { Scheduling } from "./scheduling.js";
import { StoreAdmin } from "./store-admin.js";
import { TimestampOracle } from "./timestamp-oracle.js";

const TSO_SAVE_INTERVAL_MS = 5000;
const TSO_UPDATE_INTERVAL_MS = 50;

export interface PlacementDriverOptions {
  readonly name: string;
  /** URLs with scheme under which clients reach this PD: what GetMembers tells them. */
  readonly clientUrls: readonly string[];
  readonly peerUrls?: readonly string[];
  /** Settings by section and item in their JSON form, as a config file gives them; stored changes win over them. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly tsoSaveIntervalMs?: number;
  readonly tsoUpdateIntervalMs?: number;
  /** PD can no longer write its metadata and has stopped serving: end the process. */
  readonly onFatal?: (error: Error) => void;
}

export class PlacementDriver {
  readonly metrics: PdMetrics = new PdMetrics();
  readonly #env: Env;
  readonly #options: PlacementDriverOptions;
  readonly #metaStore: MetaStore;
  readonly #config = new PdConfig();
  #parts: Parts | undefined;
  #stopped = false;

  constructor(env: Env, options: PlacementDriverOptions, metaStore: MetaStore) {
    this.#env = env;
    this.#options = options;
    this.#metaStore = metaStore;
    for (const [section, items] of Object.entries(options.config ?? {})) {
      for (const [item, value] of Object.entries(items)) this.#setInitial(section, item, value);
    }
  }

  /** Calls back once PD serves. `methods()` may be called after that. */
  start(callback: (error: Error | undefined) => void): void {
    const startedWallMs = this.#env.clock.wallMs();
    this.#initClusterId((error, clusterId) => {
      if (error !== undefined) return callback(error);
      const parts = this.#build(clusterId, startedWallMs);
      const steps: readonly ((next: (failed: Error | undefined) => void) => void)[] = [
        (next) => parts.leadership.campaign(next),
        (next) => parts.context.ids.rebase(next),
        (next) => parts.timestamps.start(next),
        (next) => this.#loadConfig(parts, next),
        (next) => parts.gc.load(next),
        (next) => parts.cluster.load(next),
        (next) => parts.scheduling.load(next),
      ];
      const run = (index: number): void => {
        const step = steps[index];
        if (step === undefined) {
          this.#parts = parts;
          parts.streams.start();
          parts.scheduling.start();
          return callback(undefined);
        }
        step((failed) => (failed === undefined ? run(index + 1) : callback(failed)));
      };
      run(0);
    });
  }

  /** Stops serving, writes what is still in memory; the meta store stays open and belongs to the caller. */
  stop(callback: () => void = () => {}): void {
    const parts = this.#parts;
    if (parts === undefined || this.#stopped) return callback();
    this.#stopped = true;
    parts.scheduling.stop();
    parts.streams.stop();
    parts.timestamps.stop();
    parts.cluster.stop(() => {
      parts.leadership.stop();
      callback();
    });
  }

  get clusterId(): bigint {
    return this.#running().context.clusterId;
  }

  get cluster(): Cluster {
    return this.#running().cluster;
  }

  get scheduling(): Scheduling {
    return this.#running().scheduling;
  }

  get isServing(): boolean {
    return this.#parts?.leadership.isServing() === true;
  }

  /** Everything a gRPC server needs to serve PD's port. */
  methods(): BoundMethod[] {
    const { cluster, members, timestamps, streams, scheduling, gc } = this.#running();
    const saveConfig = (): void => this.saveConfig(() => {});
    return [
      ...coreMethods(cluster, members, timestamps),
      ...storeMethods(cluster, saveConfig, scheduling),
      ...regionMethods(cluster, streams, scheduling),
      ...splitMethods(cluster, scheduling),
      ...schedulingMethods(cluster, scheduling),
      ...gcMethods(cluster, gc),
      ...otherMethods(cluster, members),
    ];
  }

  /** PD's HTTP API. `reply` is called once, perhaps later. */
  handleHttp(request: HttpRequest, reply: HttpReply): void {
    const parts = this.#running();
    handleHttp(
      {
        ...parts,
        config: this.#config,
        startedWallMs: parts.startedWallMs,
        saveConfig: (callback: (error: Error | undefined) => void) => this.saveConfig(callback),
      },
      request,
      reply,
    );
  }

  saveConfig(callback: (error: Error | undefined) => void): void {
    const { context } = this.#running();
    const value = utf8(JSON.stringify(this.#config.toStored()));
    const transaction = {
      compares: context.leadership.guard(),
      onSuccess: [{ kind: "put", key: context.keys.config, value } as const],
    };
    this.#metaStore.transact(transaction, (error) => callback(error));
  }

  #running(): Parts {
    assert(this.#parts !== undefined, "PD is used before its start has called back");
    return this.#parts;
  }

  #setInitial(section: string, item: string, value: unknown): void {
    const known = section === "schedule" || section === "replication" || section === "pd-server";
    const result = known
      ? this.#config.set(section, item, value)
      : ({ kind: "refused", reason: `config prefix ${section} not found` } as const);
    if (result.kind === "refused") {
      throw new RaftwerkError("invalidConfig", `${section}.${item}: ${result.reason}`, { retry: "never" });
    }
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

  #build(clusterId: bigint, startedWallMs: number): Parts {
    const env = this.#env;
    const keys = new MetaKeys(clusterId);
    const self = identity(clusterId, this.#options);
    const token = utf8(`${self.name} ${self.memberId} ${env.random.u32()}-${env.random.u32()}`);
    const leadership = new SoleLeadership(env, this.#metaStore, keys, token, (reason) =>
      this.#options.onFatal?.(new RaftwerkError("pdUnavailable", reason, { retry: "never" })),
    );
    const context: PdContext = {
      env,
      clusterId,
      keys,
      metaStore: this.#metaStore,
      leadership,
      ids: new IdAllocator(env, this.#metaStore, keys, leadership),
      config: this.#config,
      metrics: this.metrics,
    };
    const timestamps = new TimestampOracle(env, this.#metaStore, keys, leadership, {
      saveIntervalMs: this.#options.tsoSaveIntervalMs ?? TSO_SAVE_INTERVAL_MS,
      updateIntervalMs: this.#options.tsoUpdateIntervalMs ?? TSO_UPDATE_INTERVAL_MS,
    });
    const cluster = new Cluster(context);
    const streams = new HeartbeatStreams(context);
    return {
      context,
      leadership,
      timestamps,
      cluster,
      streams,
      members: new Members(self, leadership),
      gc: new GcState(context, timestamps),
      scheduling: new Scheduling(cluster, streams, () => this.saveConfig(() => {})),
      stores: new StoreAdmin(cluster),
      startedWallMs,
    };
  }

  #loadConfig(parts: Parts, callback: (error: Error | undefined) => void): void {
    this.#metaStore.get(parts.context.keys.config, (error, stored) => {
      if (error !== undefined || stored === undefined) return callback(error);
      const ignored = this.#config.loadStored(JSON.parse(new TextDecoder().decode(stored.value)));
      if (ignored.length > 0) this.#env.log.warn("stored settings are ignored", { ignored });
      callback(undefined);
    });
  }
}

interface Parts {
  readonly context: PdContext;
  readonly leadership: SoleLeadership;
  readonly timestamps: TimestampOracle;
  readonly cluster: Cluster;
  readonly streams: HeartbeatStreams;
  readonly members: Members;
  readonly gc: GcState;
  readonly scheduling: Scheduling;
  readonly stores: StoreAdmin;
  readonly startedWallMs: number;
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
