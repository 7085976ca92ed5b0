/**
 * A whole cluster inside one process: PD and stores of the same classes as in production, over an in-process
 * network that still carries bytes. For programs that want the engine inside and for tests.
 *
 *   await using cluster = await Cluster.start({ stores: 3 });
 *   await cluster.client.put(utf8("key"), utf8("value"));
 */
import { InProcessNetwork } from "../adapters/in-process-network.js";
import { nodeEnv } from "../adapters/node-env.js";
import {
  compareBytes,
  type Engine,
  type Env,
  equalBytes,
  type Logger,
  must,
  RaftwerkError,
  SILENT_LOGGER,
} from "../base/index.js";
import { keyModeOf, RawClient } from "../client/index.js";
import { MemoryEngine, openEngine } from "../engine/index.js";
import { PdClient } from "../pd-client/index.js";
import { EmbeddedMetaStore, PlacementDriver } from "../pd/index.js";
import { DEFAULT_STORE_CONFIG, Store, type StoreConfig } from "../store/index.js";

export interface ClusterOptions {
  /** Store count, 1 to 64. Default 3. */
  readonly stores?: number;
  /** Where the cluster lives on disk; the same directory started again continues with its data. Default: memory. */
  readonly dataDir?: string;
  /** The engine on disk. Default `auto`. */
  readonly engine?: "auto" | "rocksdb" | "leveldb";
  readonly log?: Logger;
  readonly storeConfig?: Partial<StoreConfig>;
  /** PD settings by section and item, e.g. `{ replication: { "max-replicas": 1 } }`. */
  readonly pdConfig?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** How long to wait until the first region has all its replicas. Default 30 s. */
  readonly readyTimeoutMs?: number;
}

/** One store of the cluster, which may be stopped and started again on its engine. */
export interface ClusterStore {
  readonly address: string;
  readonly engine: Engine;
  store: Store;
  /** Undefined while stopped. */
  close: (() => void) | undefined;
  pd: PdClient;
}

const PD_ADDRESS = "pd:2379";

export class Cluster {
  readonly env: Env;
  readonly network: InProcessNetwork;
  readonly stores: ClusterStore[] = [];
  #pdEngine: Engine | undefined;
  readonly #options: ClusterOptions;
  #pd: PlacementDriver | undefined;
  #closePd: (() => void) | undefined;
  #fatal: Error | undefined;
  #client: RawClient | undefined;
  #storesMade = 0;

  private constructor(options: ClusterOptions) {
    this.#options = options;
    this.env = nodeEnv(options.log ?? SILENT_LOGGER);
    this.network = new InProcessNetwork(this.env);
  }

  /** Resolves once the first region has all its replicas and a leader. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const count = options.stores ?? 3;
    if (!Number.isInteger(count) || count < 1 || count > 64) {
      throw new RaftwerkError("invalidArgument", `stores must be 1 to 64, not ${count}`, { retry: "never" });
    }
    const cluster = new Cluster(options);
    try {
      await cluster.startPd();
      cluster.#client = new RawClient(cluster.env, cluster.network, {
        pdEndpoints: [PD_ADDRESS],
        apiVersion: options.storeConfig?.apiVersion ?? 1,
      });
      await cluster.#client.connect();
      // All at once: on a directory with data a region has no leader before most of its stores are up.
      await Promise.all(Array.from({ length: count }, () => cluster.addStore()));
      await cluster.waitUntil(
        () => cluster.#isReplicated(Math.min(count, 3)),
        options.readyTimeoutMs ?? 30_000,
        "the first region was not replicated",
      );
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  async #open(name: string, role: "store" | "pd"): Promise<Engine> {
    const { dataDir, engine: kind = "auto" } = this.#options;
    if (dataDir === undefined) return new MemoryEngine();
    return (await openEngine({ directory: `${dataDir}/${name}`, kind, role, log: this.env.log })).engine;
  }

  get pd(): PlacementDriver {
    return must(this.#pd, "PD is stopped");
  }

  /** Connected and ready for use. */
  get client(): RawClient {
    return must(this.#client, "the cluster was never started");
  }

  get pdAddress(): string {
    return PD_ADDRESS;
  }

  /** The error that stopped a store or PD, if one did. */
  get fatal(): Error | undefined {
    return this.#fatal;
  }

  async startPd(): Promise<void> {
    const engine = this.#pdEngine ?? (await this.#open("pd", "pd"));
    this.#pdEngine = engine;
    const metaStore = must(
      await promised<EmbeddedMetaStore | undefined>((callback) =>
        EmbeddedMetaStore.open(this.env, engine, callback),
      ),
      "the meta store did not open",
    );
    const pd = new PlacementDriver(
      this.env,
      {
        name: "pd",
        clientUrls: [`http://${PD_ADDRESS}`],
        regionEngine: engine,
        ...(this.#options.pdConfig === undefined ? {} : { config: this.#options.pdConfig }),
      },
      metaStore,
    );
    await promised<void>((callback) => pd.start(callback));
    this.#pd = pd;
    this.#closePd = this.network.listen(PD_ADDRESS, pd.methods());
  }

  stopPd(): void {
    this.#closePd?.();
    this.#pd?.stop();
    this.#pd = undefined;
  }

  /** Starts one more store. */
  async addStore(): Promise<ClusterStore> {
    this.#storesMade++;
    const name = `store-${this.#storesMade}`;
    const engine = await this.#open(name, "store");
    const slot = { address: `${name}:20160`, engine, close: undefined } as unknown as ClusterStore;
    this.stores.push(slot);
    await this.restartStore(slot);
    return slot;
  }

  async restartStore(slot: ClusterStore): Promise<void> {
    slot.pd = new PdClient(this.env, this.network, { endpoints: [PD_ADDRESS] });
    await promised<void>((callback) => slot.pd.connect(callback));
    const store = new Store(
      this.env,
      {
        advertiseAddress: slot.address,
        statusAddress: "",
        version: "8.5.0",
        gitHash: "",
        labels: [],
        config: { ...DEFAULT_STORE_CONFIG, ...this.#options.storeConfig },
      },
      {
        engine: slot.engine,
        network: this.network,
        pd: slot.pd,
        onFatal: (error) => {
          this.#fatal = error;
          this.stopStore(slot);
        },
      },
    );
    slot.store = store;
    const stopListening = this.network.listen(slot.address, store.methods());
    slot.close = () => {
      stopListening();
      slot.pd.close();
      store.stop(() => {});
    };
    await promised<void>((callback) => store.start(callback));
  }

  /** Stops a store as a crash would: what its engine holds stays. */
  stopStore(slot: ClusterStore): void {
    slot.close?.();
    (slot as { close: (() => void) | undefined }).close = undefined;
  }

  /** Splits the region of each key at that key; resolves when both parts have a leader here. */
  async split(...keys: readonly Uint8Array[]): Promise<void> {
    const mode = keyModeOf(this.#options.storeConfig?.apiVersion ?? 1);
    for (const key of keys.map((each) => mode.toBorder(mode.enter(each)))) {
      const deadlineMs = this.env.clock.monotonicMs() + 10_000;
      while (!this.#beginsAt(key)) {
        await this.#trySplit(key);
        if (this.env.clock.monotonicMs() > deadlineMs) {
          throw new RaftwerkError("deadlineExceeded", "the split did not succeed within 10 s", {
            retry: "safe",
          });
        }
        await new Promise<void>((resolve) => this.env.timers.set(10, resolve));
      }
    }
  }

  #beginsAt(key: Uint8Array): boolean {
    return this.stores.some(({ store }) =>
      [...store.peers.all()].some((peer) => peer.isLeader && equalBytes(peer.region.startKey, key)),
    );
  }

  #trySplit(key: Uint8Array): Promise<void> {
    for (const { store } of this.stores) {
      for (const peer of store.peers.all()) {
        const { startKey, endKey, epoch } = peer.region;
        const inside =
          compareBytes(startKey, key) < 0 && (endKey.length === 0 || compareBytes(key, endKey) < 0);
        if (!peer.isLeader || !inside) continue;
        return new Promise((resolve) => store.splits.splitAt(peer, epoch, [key], () => resolve()));
      }
    }
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.#client?.close();
    for (const slot of this.stores) this.stopStore(slot);
    this.stopPd();
    const engines = this.stores.map(({ engine }) => engine);
    if (this.#pdEngine !== undefined) engines.push(this.#pdEngine);
    await Promise.all(engines.map((engine) => promised<void>((callback) => engine.close(callback))));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Polls until `condition` holds. */
  async waitUntil(condition: () => boolean, timeoutMs: number, otherwise: string): Promise<void> {
    const deadlineMs = this.env.clock.monotonicMs() + timeoutMs;
    while (!condition()) {
      if (this.#fatal !== undefined) throw this.#fatal;
      if (this.env.clock.monotonicMs() > deadlineMs) {
        throw new RaftwerkError("deadlineExceeded", `${otherwise} within ${timeoutMs} ms`, { retry: "safe" });
      }
      await new Promise<void>((resolve) => this.env.timers.set(10, resolve));
    }
  }

  #isReplicated(replicas: number): boolean {
    for (const { store } of this.stores) {
      for (const peer of store.peers.all()) {
        const voters = peer.region.peers.filter((meta) => meta.role === "voter");
        if (peer.isLeader && voters.length >= replicas) return true;
      }
    }
    return false;
  }
}

function promised<T>(run: (callback: (error: Error | undefined, result?: T) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    run((error, result) => {
      if (error === undefined) resolve(result as T);
      else reject(error);
    });
  });
}
