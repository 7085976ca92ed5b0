/**
 * The stage of a script: a small cluster under the invariants' eyes, its time, its network, its processes and disks. It
 * begins with one region whose peers are on the first stores; store 1 leads it. PD arranges nothing of its own accord,
 * unless asked to.
 */
import { type Engine, RaftwerkError } from "../../base/index.js";
import { metapb, raft_serverpb, tikvpb } from "../../proto/index.js";
import type { RpcStatus, ServerCallListener } from "../../proto/rpc.js";
import { readU64 } from "../../region/keys.js";
import { readIdent } from "../../store/bootstrap.js";
import type { StoreConfig } from "../../store/index.js";
import { clusterMetadata } from "../../store/raft-streams.js";
import { Logs } from "../checkers/logs.js";
import { Peers } from "../checkers/peers.js";
import { type ClusterShape, QUIET_SHAPE, SimCluster, type SimStore } from "../cluster.js";
import { type DiskKnobs, type DiskOperation, QUIET_DISK } from "../engine.js";
import { type Frame, type FrameVerdict, type NetworkKnobs, QUIET_NETWORK } from "../network.js";
import type { SimNode } from "../node.js";
import { type Drain, MS, World } from "../world.js";
import { type Filter, FilterBoard, messages } from "./filter.js";

export interface ScriptOptions {
  readonly stores?: number;
  /** Voters of the first region, on stores 1, 2... */
  readonly replicas?: number;
  readonly config?: Partial<StoreConfig>;
  readonly pdConfig?: ClusterShape["pdConfig"];
  /** PD repairs and balances as in production. */
  readonly schedules?: boolean;
  readonly clients?: number;
  readonly disk?: Partial<DiskKnobs>;
  readonly network?: Partial<NetworkKnobs>;
  readonly seed?: number;
}

export interface CrashOptions {
  /** The machine lost power: what was not synced may go. */
  readonly power?: boolean;
  /** What survives of writes that are not sure. */
  readonly keeps?: "any" | "none" | "all";
}

/** Times are short, so that a script need not wait long for them. */
const SCRIPT_CONFIG: Partial<StoreConfig> = {
  pdHeartbeatTickMs: 1_000,
  pdStoreHeartbeatTickMs: 1_000,
  peerDownMs: 4_000,
  leaderMissingMs: 4_000,
};

/** PD does what it is asked and nothing else, but that it ends joint configurations. */
const PASSIVE: Readonly<Record<string, unknown>> = {
  "leader-schedule-limit": 0,
  "region-schedule-limit": 0,
  "replica-schedule-limit": 0,
  "hot-region-schedule-limit": 0,
  "enable-remove-down-replica": false,
  "enable-replace-offline-replica": false,
  "enable-make-up-replica": false,
  "enable-remove-extra-replica": false,
  "enable-location-replacement": false,
};

/** Whether a write changes what a region is on its store: splits, changes of peers, snapshots, tombstones. */
export const regionStates =
  (region?: number) =>
  (operations: readonly DiskOperation[]): boolean =>
    operations.some(
      ({ space, key }) =>
        space === "raft" &&
        key[0] === 1 &&
        key[1] === 3 &&
        (region === undefined || readU64(key, 2) === region),
    );

export class Stage {
  readonly world: World;
  readonly cluster: SimCluster;
  readonly filters: FilterBoard;
  readonly options: ScriptOptions;
  /** Frames of any path, asked before the filters. */
  frames: ((frame: Frame) => FrameVerdict) | undefined;
  readonly #mischief = new Map<string, number>();

  constructor(options: ScriptOptions, drain: Drain) {
    this.options = options;
    this.world = new World(options.seed ?? 1, drain);
    this.cluster = new SimCluster(this.world, shapeOf(options));
    Peers.watch(this.cluster, Logs.watch(this.cluster));
    this.filters = new FilterBoard({
      world: this.world,
      numberOf: (node) => this.numberOf(node),
      inject: (to, raw) => this.inject(to, raw),
      letGo: () => this.cluster.network.letGo(),
    });
    this.cluster.network.filter = (frame) => {
      const verdict = this.frames?.(frame) ?? "pass";
      return verdict === "pass" ? this.filters.judge(frame) : verdict;
    };
    this.world.mischiefScript = (site) => this.#misbehaves(site);
  }

  /** All processes serve; the first region is on store 1 alone. */
  async open(): Promise<void> {
    await this.cluster.start();
    const count = this.options.stores ?? 3;
    for (let number = 2; number <= count; number++) this.cluster.addStore().start();
    await this.until("all stores serve", () => this.cluster.stores.every(({ store }) => store?.isServing));
  }

  // ---- time

  async pass(ms: number): Promise<void> {
    await this.world.run(this.world.nowUs + ms * MS);
  }

  /** Runs until it is so; fails when it is not within the time. */
  async until(what: string, isSo: () => boolean | undefined, withinMs = 10_000): Promise<void> {
    await this.world.run(this.world.nowUs + withinMs * MS, () => isSo() === true);
    if (isSo() !== true) throw new Error(`not within ${withinMs} virtual ms: ${what}\n${this.lastLines()}`);
  }

  /** It is so all the time. */
  async always(what: string, isSo: () => boolean, forMs: number): Promise<void> {
    let isBroken = false;
    await this.world.run(this.world.nowUs + forMs * MS, () => {
      isBroken ||= !isSo();
      return isBroken;
    });
    if (isBroken) throw new Error(`not so any more: ${what}\n${this.lastLines()}`);
  }

  async settled<T>(promise: Promise<T>, withinMs = 15_000): Promise<T> {
    let isSettled = false;
    const watched = promise.finally(() => {
      isSettled = true;
    });
    watched.catch(() => {});
    await this.until("an operation of the client ends", () => isSettled, withinMs);
    return watched;
  }

  lastLines(): string {
    const lines = this.world.nodes
      .flatMap((node) => node.lines)
      .sort((left, right) => left.atUs - right.atUs);
    return lines
      .slice(-15)
      .map(({ atUs, node, text }) => `  ${(atUs / 1e6).toFixed(4)} ${node} ${text}`)
      .join("\n");
  }

  // ---- stores

  at(number: number): SimStore {
    const store = this.cluster.stores[number - 1];
    if (store === undefined) throw new Error(`there is no store ${number}`);
    return store;
  }

  numberOf(node: SimNode): number {
    return this.cluster.stores.findIndex((store) => store.node === node) + 1;
  }

  /** PD's id of the store. */
  storeId(number: number): number {
    return readIdent(this.at(number).disk.memory as Engine)?.storeId ?? 0;
  }

  running(number: number): NonNullable<SimStore["store"]> {
    const { store } = this.at(number);
    if (store === undefined) throw new Error(`store ${number} does not run`);
    return store;
  }

  crash(number: number, { power = false, keeps = "any" }: CrashOptions = {}): void {
    const victim = this.at(number);
    victim.isHeldDown = true;
    victim.disk.crashKeeps = keeps;
    this.cluster.crash(victim, power);
    victim.disk.crashKeeps = "any";
    victim.disk.holdsFrom = undefined;
  }

  async restart(number: number): Promise<void> {
    const victim = this.at(number);
    victim.isHeldDown = false;
    this.cluster.restart(victim);
    await this.until(`store ${number} serves again`, () => victim.store?.isServing);
  }

  /** Settings of stores that start from now on. */
  reconfigure(config: Partial<StoreConfig>): void {
    Object.assign(this.cluster.shape.storeConfig, config);
  }

  /** The process stands still; its clock does not. */
  pause(number: number): void {
    this.at(number).node.pause();
  }
  resume(number: number): void {
    this.at(number).node.resume();
  }

  // ---- disks

  /** No write that this is true of, and none behind it, is done before `release`. */
  holdWrites(number: number, from: (operations: readonly DiskOperation[]) => boolean = () => true): void {
    this.at(number).disk.holdsFrom = from;
  }
  releaseWrites(number: number): void {
    this.at(number).disk.release();
  }
  /** The next write fails; the process ends by it. */
  failDisk(number: number): void {
    this.at(number).disk.failure = new RaftwerkError("engineClosed", "the script's disk fails", {
      retry: "never",
    });
  }

  // ---- network

  filter(filter: Filter): Filter {
    return this.filters.add(filter);
  }
  unfilter(filter: Filter): void {
    this.filters.remove(filter);
  }
  release(filter: Filter): void {
    this.filters.release(filter);
  }
  /** Everything passes again. */
  heal(): void {
    this.frames = undefined;
    this.filters.clear();
    this.cluster.network.healAll();
  }

  /** All Raft messages between the two sides are lost. Clients and PD reach both. */
  partition(left: readonly number[], right: readonly number[]): Filter {
    return this.filter(messages().between(left, right).drop());
  }
  /** All Raft messages from and to the store are lost. */
  isolate(number: number): Filter {
    const others = this.cluster.stores.map((_, i) => i + 1).filter((other) => other !== number);
    return this.partition([number], others);
  }
  /** Nothing passes between the store and anybody, PD and clients included. */
  cutOff(number: number): void {
    const { node } = this.at(number);
    for (const other of this.world.nodes) {
      this.cluster.network.block(node, other);
      this.cluster.network.block(other, node);
    }
  }

  /** A Raft message arrives at the store's door. */
  inject(to: number, raw: raft_serverpb.RaftMessage): void {
    if (!this.at(to).node.isUp) return;
    const bytes = tikvpb.BatchRaftMessage.encode({ msgs: [raw] }).finish();
    this.#knock(to, "/BatchRaft", (listener) => listener.onMessage(tikvpb.BatchRaftMessage.decode(bytes)));
  }

  /** Frames of snapshots that are sent from now on. */
  recordSnapshots(): Uint8Array[] {
    const recorded: Uint8Array[] = [];
    const { network } = this.cluster;
    const next = network.observer;
    network.observer = (frame) => {
      next?.(frame);
      if (frame.path.endsWith("/Snapshot")) recorded.push(frame.bytes.slice());
    };
    return recorded;
  }

  /** A recorded snapshot arrives at a store, meant for one peer there. */
  async replaySnapshot(
    to: number,
    frames: readonly Uint8Array[],
    peer: number,
  ): Promise<RpcStatus | undefined> {
    let ended: RpcStatus | undefined;
    const storeId = this.at(to).store?.id ?? 0;
    const chunks = frames.map((bytes) => raft_serverpb.SnapshotChunk.decode(bytes));
    // Of several snapshots the first.
    const next = chunks.findIndex(({ message }, i) => i > 0 && message != null);
    this.#knock(
      to,
      "/Snapshot",
      (listener) => {
        for (const { message, data } of next < 0 ? chunks : chunks.slice(0, next)) {
          if (message == null) listener.onMessage(raft_serverpb.SnapshotChunk.create({ data }));
          else {
            const turned = raft_serverpb.RaftMessage.create(message);
            turned.toPeer = metapb.Peer.create({ id: peer, storeId });
            if (turned.message != null) turned.message.to = peer;
            const bytes = raft_serverpb.SnapshotChunk.encode({ message: turned }).finish();
            listener.onMessage(raft_serverpb.SnapshotChunk.decode(bytes));
          }
        }
        listener.onHalfClose();
      },
      (status) => {
        ended = status;
      },
    );
    await this.pass(50);
    return ended;
  }

  #knock(
    to: number,
    path: string,
    speak: (listener: ServerCallListener<unknown>) => void,
    onEnd: (status: RpcStatus | undefined) => void = () => {},
  ): void {
    const { node, store, disk } = this.at(to);
    const clusterId = readIdent(disk.memory as Engine)?.clusterId ?? 0n;
    node.after(0, "inject", () => {
      const door = store?.methods().find(({ definition }) => definition.path.endsWith(path));
      const listener = door?.handler({
        metadata: clusterMetadata(clusterId),
        peer: "script",
        pendingBytes: 0,
        send() {},
        end: (status?: RpcStatus) => onEnd(status),
      });
      if (listener !== undefined) speak(listener);
    });
  }

  /** A site of mischief in the code misbehaves, so many times. */
  misbehave(site: string, times = 1): void {
    this.#mischief.set(site, times);
  }
  behave(): void {
    this.#mischief.clear();
  }

  #misbehaves(site: string): boolean {
    const left = this.#mischief.get(site) ?? 0;
    if (left <= 0) return false;
    this.#mischief.set(site, left - 1);
    return true;
  }
}

function shapeOf(options: ScriptOptions): ClusterShape {
  const replicas = options.replicas ?? Math.min(3, options.stores ?? 3);
  return {
    ...QUIET_SHAPE,
    stores: 1,
    replicas: 1,
    clients: options.clients ?? 1,
    storeConfig: { ...SCRIPT_CONFIG, ...options.config },
    pdConfig: {
      schedule: {
        ...(options.schedules === true ? {} : PASSIVE),
        "patrol-region-interval": "100ms",
        ...options.pdConfig?.schedule,
      },
      replication: { "max-replicas": replicas, ...options.pdConfig?.replication },
    },
    network: { ...QUIET_NETWORK, ...options.network },
    disk: { ...QUIET_DISK, ...options.disk },
  };
}
