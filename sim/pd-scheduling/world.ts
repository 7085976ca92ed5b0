/**
 * Hundreds of stores and up to a million regions that drive PD's real scheduling: stores obey its commands,
 * snapshots take the time their size needs, and only what changes is reported. PD's own records are the truth, so
 * that memory holds each region once.
 */
import { must, randomBelow, utf8 } from "../../base/index.js";
import { Cluster } from "../../pd/cluster.js";
import { changedMeta } from "../../pd/compact-meta.js";
import { PdConfig } from "../../pd/config.js";
import type { PdContext } from "../../pd/context.js";
import { HeartbeatStreams } from "../../pd/heartbeat-streams.js";
import { IdAllocator } from "../../pd/id-allocator.js";
import { MetaKeys } from "../../pd/keys.js";
import { SoleLeadership } from "../../pd/leadership.js";
import { PdMetrics } from "../../pd/metrics.js";
import type { Operator } from "../../pd/operator.js";
import { NO_FLOW, type Peer, type PeerRole, type RegionFlow, type RegionInfo } from "../../pd/region-info.js";
import { Scheduling } from "../../pd/scheduling.js";
import { Settings } from "../../pd/settings.js";
import { StoreInfo } from "../../pd/store-info.js";
import { eraftpb, metapb, pdpb } from "../../proto/index.js";
import { FORGETFUL_STORE, VirtualEnv } from "./virtual-env.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const SNAPSHOT_MIB_PER_SECOND = 100;
const STORE_HEARTBEAT_SECONDS = 10;
const HOT_HEARTBEAT_SECONDS = 60;
const NONE: readonly never[] = [];
const ROLES: readonly PeerRole[] = ["voter", "learner", "incomingVoter", "demotingVoter"];

export interface HotLoad {
  readonly regionId: number;
  readonly writtenBytesPerSecond: number;
  readonly readBytesPerSecond: number;
}

export interface ScheduleWorldOptions {
  readonly seed: number;
  readonly regionSizeMib: number;
  /** What a store takes in of snapshots; 100 when left out. */
  readonly snapshotMibPerSecond?: number;
  /** Settings of `schedule` and `replication` by name. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

export class ScheduleWorld {
  readonly env: VirtualEnv;
  readonly config = new PdConfig();
  readonly metrics = new PdMetrics();
  readonly cluster: Cluster;
  readonly scheduling: Scheduling;
  readonly deadStores = new Set<number>();
  /** Operators that ended well, by what made them. */
  readonly finished = new Map<string, number>();
  movedPeers = 0;
  movedLeaders = 0;
  /** Most moves that one region made. */
  readonly movesOfRegion = new Map<number, number>();
  hot: HotLoad[] = [];
  readonly #options: ScheduleWorldOptions;
  readonly streams: HeartbeatStreams;
  readonly #inbox: pdpb.IRegionHeartbeatResponse[] = [];
  /** Snapshots under way: the second in which each is there. */
  readonly #snapshots = new Map<number, { regionId: number; peerId: number }[]>();
  readonly #busyUntil = new Map<number, number>();
  #second = 0;
  #nextPeerId = 1_000_000_000;

  constructor(options: ScheduleWorldOptions) {
    this.#options = options;
    this.env = new VirtualEnv(options.seed);
    const { env, config, metrics } = this;
    const keys = new MetaKeys(1n);
    const leadership = new SoleLeadership(env, FORGETFUL_STORE, keys, utf8("sim"), () => {});
    leadership.campaign(() => {});
    const ids = new IdAllocator(env, FORGETFUL_STORE, keys, leadership);
    ids.rebase(() => {});
    config.clusterVersion = "8.5.0";
    for (const [name, value] of Object.entries(options.settings ?? {})) {
      const change = config.set(must(PdConfig.sectionOf(name), `no setting ${name}`), name, value);
      if (change.kind === "refused") throw new Error(change.reason);
    }
    const metaStore = FORGETFUL_STORE;
    const context: PdContext = { env, clusterId: 1n, keys, metaStore, leadership, ids, config, metrics };
    this.cluster = new Cluster(context);
    this.streams = new HeartbeatStreams(context);
    this.scheduling = new Scheduling(this.cluster, this.streams, new Settings(context));
    this.scheduling.controller.onEnded = (operator) => this.#count(operator);
  }

  /** After stores and regions are there. */
  start(): void {
    this.cluster.putMeta(metapb.Cluster.create({ maxPeerCount: this.config.maxReplicas }), () => {});
    this.scheduling.load((error) => {
      if (error !== undefined) throw error;
    });
    for (const store of this.cluster.stores.values()) this.#storeHeartbeat(store);
    this.scheduling.start();
  }

  stop(): void {
    this.scheduling.stop();
  }

  addStore(id: number, labels: Readonly<Record<string, string>> = {}): StoreInfo {
    const list = Object.entries(labels).map(([key, value]) => ({ key, value }));
    const meta = metapb.Store.create({ id, address: `s${id}`, version: "8.5.0", nodeState: 1, labels: list });
    const store = new StoreInfo(meta, this.env.clock.monotonicMs());
    this.cluster.addStore(store);
    this.streams.bind(id, {
      metadata: {},
      peer: "sim",
      pendingBytes: 0,
      send: (message: pdpb.IRegionHeartbeatResponse) => void this.#inbox.push(message),
      end() {},
    } as Parameters<HeartbeatStreams["bind"]>[1]);
    return store;
  }

  /**
   * So many regions side by side, each on `replicas` random ones of the stores, in different zones where there
   * are any; or as evenly as can be.
   */
  addRegions(count: number, stores: readonly number[], replicas: number, isEven = false): void {
    for (let i = 0; i < count; i++) {
      const places = isEven ? evenPlaces(i, stores, replicas) : this.#place(stores, replicas);
      const peers: Peer[] = places.map((storeId) => ({
        id: this.#nextPeerId++,
        storeId,
        role: "voter",
        isWitness: false,
      }));
      this.cluster.putRegion({
        meta: {
          id: i + 1,
          startKey: i === 0 ? new Uint8Array(0) : regionKey(i),
          endKey: i === count - 1 ? new Uint8Array(0) : regionKey(i + 1),
          epoch: { confVer: 1, version: 1 },
          peers,
        },
        leader: peers[0],
        term: 6,
        downPeers: NONE,
        pendingPeers: NONE,
        sizeMib: this.#options.regionSizeMib,
        keys: this.#options.regionSizeMib * 10_000,
        flow: NO_FLOW,
        fromStorage: false,
      });
    }
  }

  /** So many replicas for the first regions, by a rule of their range. */
  setReplicas(count: number, regions: number): void {
    const { rules } = this.cluster;
    const rule = {
      ...rules.defaultRule(),
      groupId: "more",
      id: "more",
      count,
      endKey: regionKey(regions),
    };
    const patch = { setRules: [rule], setGroups: [{ id: "more", index: 1, override: true }] };
    rules.change(patch, (change) => {
      if (change.kind === "refused") throw new Error(change.reason);
    });
  }

  #place(stores: readonly number[], replicas: number): number[] {
    const chosen: number[] = [];
    const zone = (id: number): string => this.cluster.store(id)?.label("zone") ?? "";
    for (let tries = 0; chosen.length < replicas; tries++) {
      const id = stores[randomBelow(this.env.random, stores.length)] as number;
      const isTaken = chosen.includes(id);
      const sharesZone = tries < 50 && zone(id) !== "" && chosen.some((other) => zone(other) === zone(id));
      if (!isTaken && !sharesZone) chosen.push(id);
    }
    return chosen;
  }

  /** One virtual second. */
  tick(): void {
    this.#second += 1;
    this.env.advance(1000);
    this.#obeyAll();
    this.#snapshotsArrive();
    if (this.#second % STORE_HEARTBEAT_SECONDS === 0) {
      for (const store of this.cluster.stores.values()) this.#storeHeartbeat(store);
    }
    if (this.#second % HOT_HEARTBEAT_SECONDS === 0) this.#reportHot();
  }

  get second(): number {
    return this.#second;
  }

  /** The leaders of all regions with a peer on the store say that it is down, as they do after a while. */
  reportDown(storeId: number): void {
    const on = this.cluster.regions.onStore(storeId);
    for (const id of [...on.leaders.values(), ...on.followers.values()]) {
      const region = this.cluster.regions.byId(id);
      if (region === undefined) continue;
      const living = region.meta.peers.filter((peer) => !this.deadStores.has(peer.storeId));
      const leads = region.leader !== undefined && !this.deadStores.has(region.leader.storeId);
      const dead = region.meta.peers.filter((peer) => this.deadStores.has(peer.storeId));
      const downPeers = dead.map((peer) => ({ peer, downSeconds: 60 }));
      const leader = leads ? region.leader : living[0];
      this.#report({ ...region, leader, term: leads ? region.term : region.term + 1, downPeers });
    }
  }

  #report(region: RegionInfo, flow: RegionFlow = region.flow): void {
    const result = this.cluster.putRegion(region);
    if (result.kind === "stale") throw new Error(result.reason);
    this.scheduling.onRegionHeartbeat(result.region, result.previous, flow);
  }

  #obeyAll(): void {
    // Commands that these bring are obeyed in the next second.
    for (const command of this.#inbox.splice(0)) this.#obey(command);
  }

  #obey(command: pdpb.IRegionHeartbeatResponse): void {
    const region = this.cluster.regions.byId(command.regionId ?? 0);
    if (region === undefined || this.deadStores.has(region.leader?.storeId ?? 0)) return;
    const { confVer = 0 } = command.regionEpoch ?? {};
    if (confVer !== region.meta.epoch.confVer) return;
    if (command.transferLeader != null) {
      const target = command.transferLeader.peer?.storeId ?? 0;
      const leader = region.meta.peers.find((peer) => peer.storeId === target);
      if (leader === undefined || this.deadStores.has(target)) return;
      this.movedLeaders += 1;
      return this.#report({ ...region, leader, term: region.term + 1 });
    }
    const changes = command.changePeerV2?.changes;
    if (changes == null) return;
    const changed = changes.length === 0 ? leaveJoint(region) : this.#change(region, changes);
    if (changed !== undefined) this.#report(changed);
  }

  #change(region: RegionInfo, changes: readonly pdpb.IChangePeer[]): RegionInfo | undefined {
    let peers = [...region.meta.peers];
    let pendingPeers = region.pendingPeers;
    const isJoint = changes.length > 1;
    for (const { peer, changeType } of changes) {
      const id = peer?.id ?? 0;
      const storeId = peer?.storeId ?? 0;
      const known = peers.find((other) => other.id === id);
      if (changeType === eraftpb.ConfChangeType.RemoveNode) {
        peers = peers.filter((other) => other !== known);
        pendingPeers = pendingPeers.filter((other) => other.id !== id);
      } else if (known === undefined) {
        if (this.deadStores.has(storeId)) return undefined;
        const added: Peer = { id, storeId, role: "learner", isWitness: false };
        peers.push(added);
        pendingPeers = [...pendingPeers, added];
        this.#sendSnapshot(region, added);
      } else {
        const voter = changeType === eraftpb.ConfChangeType.AddNode;
        const role: PeerRole = voter
          ? isJoint
            ? "incomingVoter"
            : "voter"
          : isJoint
            ? "demotingVoter"
            : "learner";
        peers = peers.map((other) => (other === known ? { ...other, role } : other));
      }
    }
    return withPeers({ ...region, pendingPeers }, peers, changes.length);
  }

  #sendSnapshot(region: RegionInfo, peer: Peer): void {
    const begins = Math.max(this.#second, this.#busyUntil.get(peer.storeId) ?? 0);
    const ends = begins + region.sizeMib / (this.#options.snapshotMibPerSecond ?? SNAPSHOT_MIB_PER_SECOND);
    this.#busyUntil.set(peer.storeId, ends);
    const second = Math.ceil(ends);
    const list = this.#snapshots.get(second) ?? [];
    list.push({ regionId: region.meta.id, peerId: peer.id });
    this.#snapshots.set(second, list);
    this.movedPeers += 1;
    const moves = (this.movesOfRegion.get(region.meta.id) ?? 0) + 1;
    this.movesOfRegion.set(region.meta.id, moves);
  }

  #snapshotsArrive(): void {
    const arrived = this.#snapshots.get(this.#second) ?? [];
    this.#snapshots.delete(this.#second);
    for (const { regionId, peerId } of arrived) {
      const region = this.cluster.regions.byId(regionId);
      if (region === undefined) continue;
      this.#report({ ...region, pendingPeers: region.pendingPeers.filter((peer) => peer.id !== peerId) });
    }
  }

  #storeHeartbeat(store: StoreInfo): void {
    if (this.deadStores.has(store.id) || store.isRemoved) return;
    const used = this.cluster.regions.onStore(store.id).regionSizeMib * MIB;
    const capacity = 4096 * GIB;
    let [written, read] = [0, 0];
    const peerStats: pdpb.IPeerStat[] = [];
    for (const load of this.hot) {
      const region = this.cluster.regions.byId(load.regionId);
      if (region === undefined || !region.meta.peers.some((peer) => peer.storeId === store.id)) continue;
      written += load.writtenBytesPerSecond * STORE_HEARTBEAT_SECONDS;
      if (region.leader?.storeId !== store.id || load.readBytesPerSecond === 0) continue;
      const readBytes = load.readBytesPerSecond * STORE_HEARTBEAT_SECONDS;
      read += readBytes;
      peerStats.push({ regionId: load.regionId, readBytes, readKeys: readBytes / 100 });
    }
    const stats = pdpb.StoreStats.decode(
      pdpb.StoreStats.encode({
        storeId: store.id,
        capacity,
        available: capacity - used,
        usedSize: used,
        bytesWritten: written,
        keysWritten: Math.floor(written / 100),
        bytesRead: read,
        keysRead: Math.floor(read / 100),
        regionCount: this.cluster.regions.onStore(store.id).regionCount,
        interval: { startTimestamp: this.#second, endTimestamp: this.#second + STORE_HEARTBEAT_SECONDS },
        peerStats: peerStats.map((stat) => ({ ...stat, readKeys: Math.floor(stat.readKeys ?? 0) })),
      }).finish(),
    );
    this.cluster.heardFrom(store, stats);
    this.scheduling.onStoreHeartbeat(store, stats);
  }

  #reportHot(): void {
    for (const { regionId, writtenBytesPerSecond: written } of this.hot) {
      const region = this.cluster.regions.byId(regionId);
      if (region === undefined || written === 0) continue;
      const bytes = written * HOT_HEARTBEAT_SECONDS;
      const flow = {
        ...NO_FLOW,
        intervalSeconds: HOT_HEARTBEAT_SECONDS,
        writtenBytes: bytes,
        writtenKeys: Math.floor(bytes / 100),
      };
      this.#report({ ...region, flow }, flow);
    }
  }

  #count(operator: Operator): void {
    if (operator.state !== "success") return;
    this.finished.set(operator.desc, (this.finished.get(operator.desc) ?? 0) + 1);
  }

  peersOn(storeId: number): number {
    return this.cluster.regions.onStore(storeId).regionCount;
  }

  leadersOn(storeId: number): number {
    return this.cluster.regions.onStore(storeId).leaders.size;
  }

  get isQuiet(): boolean {
    return this.scheduling.controller.operators().length === 0;
  }
}

const regionKey = (i: number): Uint8Array => utf8(`r${String(i).padStart(8, "0")}`);

/** Each store leads every n-th region; the other replicas go round by steps that change from lap to lap. */
function evenPlaces(i: number, stores: readonly number[], replicas: number): number[] {
  const count = stores.length;
  const lap = Math.floor(i / count);
  const chosen = [i % count];
  for (let k = 1; chosen.length < replicas; k++) {
    let place = (i + 1 + ((lap * k) % (count - 1))) % count;
    while (chosen.includes(place)) place = (place + 1) % count;
    chosen.push(place);
  }
  return chosen.map((at) => stores[at] as number);
}

function withPeers(region: RegionInfo, peers: readonly Peer[], changes: number): RegionInfo {
  const leader = peers.find((peer) => peer.id === region.leader?.id);
  const epoch = { ...region.meta.epoch, confVer: region.meta.epoch.confVer + changes };
  const downPeers = region.downPeers.filter((down) => peers.some((peer) => peer.id === down.peer.id));
  return { ...region, leader, downPeers, meta: changedMeta(region.meta, { peers, epoch }) };
}

function leaveJoint(region: RegionInfo): RegionInfo | undefined {
  const changing = region.meta.peers.filter((peer) => ROLES.indexOf(peer.role) >= 2);
  if (changing.length === 0) return undefined;
  const peers = region.meta.peers.map((peer): Peer => {
    if (!changing.includes(peer)) return peer;
    return { ...peer, role: peer.role === "incomingVoter" ? "voter" : "learner" };
  });
  return withPeers(region, peers, changing.length);
}
