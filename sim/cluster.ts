/**
 * PD, stores and clients of the production classes on simulated machines. Processes start as `raftwerk pd` and
 * `raftwerk
 * store` start them, on what their disks hold; a process that ends is started again after a while, as a service
 * manager does, unless the nemesis keeps it down.
 */
import { type Engine, type Env, must, RaftwerkError } from "../base/index.js";
import { RawClient } from "../client/index.js";
import { PdClient } from "../pd-client/index.js";
import { EmbeddedMetaStore, PlacementDriver } from "../pd/index.js";
import type { Region } from "../region/region.js";
import { DEFAULT_STORE_CONFIG, Store, type StoreConfig } from "../store/index.js";
import { DISK_BYTES, type DiskKnobs, QUIET_DISK, SimDisk } from "./engine.js";
import { type NetworkKnobs, QUIET_NETWORK, SimNetwork } from "./network.js";
import type { SimNode } from "./node.js";
import { MS, Violation, type World } from "./world.js";

export const PD_ADDRESS = "pd:2379";
/** A service manager starts a process again after this time. */
const RESPAWN_US = 300 * MS;

export interface ClusterShape {
  readonly stores: number;
  readonly clients: number;
  readonly storeConfig: Partial<StoreConfig>;
  readonly pdConfig: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly network: NetworkKnobs;
  readonly disk: DiskKnobs;
  /** Of the first region, before the cluster counts as started. Default: three, or as many as there are stores. */
  readonly replicas?: number;
  /** How long a client tries an operation. */
  readonly clientTimeoutMs: number;
}

export const QUIET_SHAPE: ClusterShape = {
  stores: 3,
  clients: 2,
  storeConfig: {},
  pdConfig: {},
  network: QUIET_NETWORK,
  disk: QUIET_DISK,
  clientTimeoutMs: 10_000,
};

const isJoint = ({ peers }: Region): boolean =>
  peers.some(({ role }) => role === "incomingVoter" || role === "demotingVoter");

abstract class SimProcess {
  readonly node: SimNode;
  readonly disk: SimDisk;
  /** The nemesis wants it down. */
  isHeldDown = false;

  constructor(node: SimNode, disk: SimDisk) {
    this.node = node;
    this.disk = disk;
  }
  abstract start(): void;
  abstract stop(): void;
}

export class SimStore extends SimProcess {
  readonly address: string;
  readonly #cluster: SimCluster;
  /** Of the process that runs now. */
  store: Store | undefined;
  /** PD was told to empty it. */
  isLeaving = false;
  /** Its disk is lost, and PD does not know yet. */
  isReplaced = false;

  constructor(cluster: SimCluster, node: SimNode, disk: SimDisk) {
    super(node, disk);
    this.#cluster = cluster;
    this.address = `${node.name}:20160`;
  }

  override start(): void {
    const { world, network } = this.#cluster;
    const env = this.node.boot();
    const door = network.door(this.node, env);
    const pd = new PdClient(env, door, { endpoints: [PD_ADDRESS] });
    const fatal = (error: Error): void => this.#cluster.processFailed(this, error);
    const store = new Store(
      env,
      {
        advertiseAddress: this.address,
        statusAddress: "",
        version: "8.5.0",
        gitHash: "",
        labels: [],
        config: { ...DEFAULT_STORE_CONFIG, ...this.#cluster.shape.storeConfig },
      },
      { engine: this.disk.open(), network: door, pd, onFatal: fatal, capacity: () => this.#capacity() },
    );
    this.store = store;
    network.listen(this.node, this.address, store.methods());
    pd.connect((failed) => {
      if (failed !== undefined) return fatal(failed);
      store.start((error) => {
        if (error !== undefined) fatal(error);
        else world.probe("a store process serves");
      });
    });
  }

  #capacity(): { readonly capacity: number; readonly available: number; readonly used: number } {
    const { availableBytes } = this.disk.knobs;
    return { capacity: DISK_BYTES, available: availableBytes, used: DISK_BYTES - availableBytes };
  }

  override stop(): void {
    this.store = undefined;
  }
}

export class SimPd extends SimProcess {
  readonly #cluster: SimCluster;
  /** Of the process that runs now, once it serves. */
  pd: PlacementDriver | undefined;

  constructor(cluster: SimCluster, node: SimNode, disk: SimDisk) {
    super(node, disk);
    this.#cluster = cluster;
  }

  override start(): void {
    const env = this.node.boot();
    const engine: Engine = this.disk.open();
    const fatal = (error: Error): void => this.#cluster.processFailed(this, error);
    EmbeddedMetaStore.open(env, engine, (failed, metaStore) => {
      if (failed !== undefined) return fatal(failed);
      const config = this.#cluster.shape.pdConfig;
      const clientUrls = [`http://${PD_ADDRESS}`];
      const options = { name: "pd", clientUrls, config, regionEngine: engine, onFatal: fatal };
      const pd = new PlacementDriver(env, options, must(metaStore, "the meta store did not open"));
      pd.start((error) => {
        if (error !== undefined) return fatal(error);
        this.pd = pd;
        this.#cluster.network.listen(this.node, PD_ADDRESS, pd.methods());
      });
    });
  }

  override stop(): void {
    this.pd = undefined;
  }
}

export interface SimClient {
  readonly node: SimNode;
  readonly env: Env;
  readonly client: RawClient;
}

export class SimCluster {
  readonly world: World;
  readonly shape: ClusterShape;
  readonly network: SimNetwork;
  readonly pd: SimPd;
  readonly stores: SimStore[] = [];
  readonly clients: SimClient[] = [];
  /** Emptied, buried, ended: no part of the cluster any more. */
  readonly retired: SimStore[] = [];
  /** Disks that were lost for ever. */
  disksLost = 0;
  /** Called before a store's process starts, for observers of its disk. */
  onStore: (store: SimStore) => void = () => {};
  /** For readers who come all at once when something happens to the process on a node. */
  onCrowd: (node: SimNode) => undefined = () => undefined;

  constructor(world: World, shape: ClusterShape) {
    this.world = world;
    this.shape = shape;
    world.onThrow = (at, error) => this.#threw(at, error);
    this.network = new SimNetwork(world, { ...shape.network });
    const node = world.addNode("pd");
    this.pd = new SimPd(this, node, new SimDisk(node, { ...shape.disk }));
  }

  /** Starts all processes and returns when the first region is on as many stores as it should be. */
  async start(onBuilt: () => void = () => {}): Promise<void> {
    for (let i = 0; i < this.shape.stores; i++) this.addStore();
    for (let i = 0; i < this.shape.clients; i++) this.#addClient();
    onBuilt();
    this.pd.start();
    for (const store of this.stores) store.start();
    for (const { client } of this.clients) {
      client.connect().catch((error: Error) => this.world.fail(error));
    }
    const replicas = this.shape.replicas ?? Math.min(3, this.shape.stores);
    await this.world.run(this.world.nowUs + 60_000 * MS, () => this.#isReplicated(replicas));
    if (!this.#isReplicated(replicas)) throw new Violation("liveness", "the cluster did not come up in 60 s");
  }

  /** PD has buried it: its process ends and is not started again. */
  retire(store: SimStore): void {
    const at = this.stores.indexOf(store);
    if (at < 0) return;
    store.isHeldDown = true;
    this.crash(store, false);
    this.stores.splice(at, 1);
    this.retired.push(store);
  }

  addStore(): SimStore {
    const number = this.stores.length + this.retired.length + 1;
    const node = this.world.addNode(`store-${number}`);
    const store = new SimStore(this, node, new SimDisk(node, { ...this.shape.disk }));
    this.stores.push(store);
    this.onStore(store);
    return store;
  }

  #addClient(): void {
    const node = this.world.addNode(`client-${this.clients.length + 1}`);
    node.usesPromises = true;
    const env = node.boot();
    const client = new RawClient(env, this.network.door(node, env), {
      pdEndpoints: [PD_ADDRESS],
      timeoutMs: this.shape.clientTimeoutMs,
    });
    this.clients.push({ node, env, client });
  }

  get processes(): SimProcess[] {
    return [this.pd, ...this.stores];
  }

  /** Ends a process: killed, or its machine lost power. */
  crash(victim: SimProcess, isPowerLoss: boolean): void {
    if (!victim.node.isUp) return;
    victim.node.note(isPowerLoss ? "*** power lost" : "*** killed");
    this.#probeCrash(victim);
    victim.node.kill();
    victim.disk.crash(isPowerLoss);
    this.network.drop(victim.node, isPowerLoss);
    victim.stop();
  }

  #probeCrash(victim: SimProcess): void {
    const probe = (name: string, isSo: boolean): void => {
      if (isSo) this.world.probe(name);
    };
    const others = this.stores.filter((store) => store !== victim);
    probe(
      "the last store that was up went down",
      others.every(({ node }) => !node.isUp),
    );
    probe("a process died while it stood still", victim.node.isPaused);
    if (!(victim instanceof SimStore)) return;
    const peers = [...(victim.store?.peers.all() ?? [])];
    probe(
      "a store died while it loaded a snapshot",
      peers.some((peer) => peer.isApplyingSnapshot),
    );
    probe(
      "a store died while it destroyed a peer",
      peers.some((peer) => peer.isRemoved),
    );
    probe(
      "a store died with a joint configuration",
      peers.some(({ region }) => isJoint(region)),
    );
    probe(
      "a store died as a leader",
      peers.some((peer) => peer.isLeader),
    );
  }

  restart(victim: SimProcess): void {
    const isGone = victim instanceof SimStore && (victim.isReplaced || this.retired.includes(victim));
    if (victim.node.isUp || isGone) return;
    victim.node.note("*** starts");
    victim.start();
  }

  /** As an uncaught exception: the process ends. Unless the disk was at fault it should not have happened. */
  #threw(node: SimNode, error: Error): void {
    const victim = this.processes.find((each) => each.node === node);
    if (victim === undefined || victim.disk.failure === undefined) return this.world.fail(error);
    victim.node.note(`uncaught: ${error.message}`);
    this.processFailed(victim, victim.disk.failure);
  }

  /** The process ends itself: an engine that refuses a write, a start that does not succeed. */
  processFailed(victim: SimProcess, error: Error): void {
    const { incarnation } = victim.node;
    victim.node.note(`*** ends itself: ${error.message}`);
    const isBug = !(error instanceof RaftwerkError);
    if (isBug) return this.world.fail(error);
    this.world.at(0, "exit", () => {
      if (victim.node.incarnation !== incarnation) return;
      this.crash(victim, false);
      this.world.at(RESPAWN_US, "respawn", () => {
        if (!victim.isHeldDown) this.restart(victim);
      });
    });
  }

  #isReplicated(replicas: number): boolean {
    for (const { store, node } of this.stores) {
      if (store === undefined || !node.isUp) continue;
      for (const peer of store.peers.all()) {
        const voters = peer.region.peers.filter((meta) => meta.role === "voter");
        if (peer.isLeader && voters.length >= replicas) return true;
      }
    }
    return false;
  }
}

export type { SimProcess };
