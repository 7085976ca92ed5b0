/**
 * A store: many Raft groups over one engine, one thread, one turn. This class wires the parts and answers their
 * questions; what each part decides lives in its own file. Start: identity, first region, PD, regions from disk,
 * ticks.
 */
import {
  assert,
  type Engine,
  type Env,
  peerId as toPeerId,
  regionId as toRegionId,
  type StoreId,
  type TimerHandle,
  misbehaves,
} from "../base/index.js";
import {
  type BoundMethod,
  type kvrpcpb,
  type metapb,
  RPC_CODE,
  type RpcNetwork,
  type RpcStatus,
  type raft_serverpb,
  type tikvpb,
} from "../proto/index.js";
import type { Message, Snapshot } from "../raft/types.js";
import type { ApplyEffect } from "../region/applier.js";
import { PeerFigures } from "../region/figures.js";
import { dataEndKey, dataKey, snapshotRegionRange } from "../region/keys.js";
import { INIT_LOG_TERM, readRegionState } from "../region/local-state.js";
import { Peer, type PeerHost } from "../region/peer.js";
import { epochToProto, type PeerMeta, peerToProto, type Region, regionToProto } from "../region/region.js";
import { StoreAddresses } from "./addresses.js";
import { Admission } from "./admission.js";
import { ApiMode } from "./api-mode.js";
import { BatchCommandsServer } from "./batch-commands.js";
import { ClusterBootstrap, ensureIdent } from "./bootstrap.js";
import { type StoreConfig, validateStoreConfig } from "./config.js";
import { ContextChecker } from "./context.js";
import { deleteLogRange, destroyOnDisk } from "./destroy.js";
import { handOverLeaders } from "./leader-handover.js";
import { guardedEngine, toldByEngine } from "./guarded-engine.js";
import { LogGc } from "./log-gc.js";
import type { PdPort } from "./pd-port.js";
import { PdReporter } from "./pd-reporter.js";
import { PeerRegistry } from "./peers.js";
import { messageToProto } from "./raft-message.js";
import { isInitialMessage, RaftRouter, type RouterHost } from "./raft-router.js";
import { QuietRegions, TICK_LEAST } from "./quiet-regions.js";
import { clusterMetadata, RaftStreams } from "./raft-streams.js";
import { RawCommands } from "./raw-commands.js";
import { ReadBatcher } from "./reads.js";
import { clearChunks, type LoadedRegion, loadPeers, loadRegions } from "./recovery.js";
import { clusterIdOfBatched, dispatchBatch, storeMethods } from "./service.js";
import { loadSnapshot } from "./snapshot-loader.js";
import { SnapshotReceiver } from "./snapshot-receiver.js";
import { SnapshotSender } from "./snapshot-sender.js";
import { sendSnapshot } from "./send-snapshot.js";
import { StalePeers } from "./stale-peers.js";
import { knownIds, regionStatus } from "./status.js";
import { SlowScore } from "./slow-score.js";
import { SplitCoordinator } from "./split-coordinator.js";
import { RaftTransport } from "./transport.js";
import { TtlReclaimer } from "./ttl-reclaimer.js";
import { TurnLoop } from "./turn.js";

export interface StoreOptions {
  /** What clients and other stores dial: `host:port`. */
  readonly advertiseAddress: string;
  readonly statusAddress: string;
  /** TiKV's version that this one behaves like; clients compare it. */
  readonly version: string;
  readonly gitHash: string;
  readonly labels: readonly { readonly key: string; readonly value: string }[];
  readonly config: StoreConfig;
}

export interface StoreDependencies {
  readonly engine: Engine;
  readonly network: RpcNetwork;
  readonly pd: PdPort;
  /** Disk figures for PD; undefined where there is no disk. */
  readonly capacity?: () =>
    | { readonly capacity: number; readonly available: number; readonly used: number }
    | undefined;
  /** The figures of the process in Prometheus' text form; without it there are none. */
  readonly metricsText?: (callback: (text: string) => void) => void;
  /** The store cannot go on (the engine refused a write): the process must end. */
  readonly onFatal: (error: Error) => void;
}

export class Store {
  readonly options: StoreOptions;
  readonly env: Env;
  readonly engine: Engine;
  readonly peers = new PeerRegistry();
  readonly turn: TurnLoop;
  readonly reads: ReadBatcher;
  readonly raw: RawCommands;
  readonly context: ContextChecker;
  readonly batches: BatchCommandsServer;
  readonly splits: SplitCoordinator;
  readonly transport: RaftTransport;
  readonly snapshots: SnapshotSender;
  readonly streams: RaftStreams;
  readonly quiet: QuietRegions;
  readonly admission: Admission;
  readonly figures = new PeerFigures();
  readonly slowScore: SlowScore;
  readonly requestCounts = new Map<string, number>();
  readonly #pd: PdPort;
  readonly #dependencies: StoreDependencies;
  readonly #logGc: LogGc;
  readonly #stalePeers: StalePeers;
  readonly #peerHost: PeerHost;
  readonly #splitReservations = new Set<number>();
  readonly #pendingSnapshots = new Map<number, Region>();
  /** Peers made by a split under another leader, not heard of since, and the region that was split. */
  readonly #uncampaigned = new Map<Peer, number>();
  /** Peers that are gone but for a batch under way, which must not come after their tombstone. (rule 9.2.2) */
  readonly #destroysWaiting = new Set<Peer>();
  readonly #addresses: StoreAddresses;
  readonly #startSeconds: number;
  #id = 0;
  #router: RaftRouter | undefined;
  #receiver: SnapshotReceiver | undefined;
  #reporter: PdReporter | undefined;
  #timers: TimerHandle[] = [];
  #lastTickMs = 0;
  #isServing = false;
  #stopped = false;
  #feedbackSequence: number;

  constructor(env: Env, options: StoreOptions, dependencies: StoreDependencies) {
    validateStoreConfig(options.config);
    this.env = env;
    this.options = options;
    const nowMs = (): number => env.clock.monotonicMs();
    this.slowScore = new SlowScore(nowMs());
    this.engine = this.#guarded(dependencies.engine, nowMs);
    this.#dependencies = dependencies;
    this.#pd = dependencies.pd;
    this.#addresses = new StoreAddresses(env, this.#pd);
    this.#startSeconds = Math.floor(env.clock.wallMs() / 1000);
    this.#feedbackSequence = Math.floor(env.clock.wallMs());
    this.admission = this.#makeAdmission();
    const schedule = (): void => this.turn.schedule();
    this.turn = new TurnLoop(env, this.engine, {
      figures: this.figures,
      flushReads: () => this.reads.flush(),
      flushOutput: () => {
        const sent = this.transport.flush();
        return this.batches.flush() || sent;
      },
      batchWritten: () => this.#finishDestroys(),
    });
    this.reads = new ReadBatcher(this.engine, nowMs, schedule);
    this.context = new ContextChecker(
      () => this.#id,
      (id) => this.peers.get(id),
    );
    this.raw = new RawCommands(
      this.context,
      this.reads,
      options.config,
      this.admission,
      new ApiMode(options.config),
      () => env.clock.wallMs(),
      (run) => env.timers.nextTurn(run),
    );
    this.batches = new BatchCommandsServer(
      (request, reply) => this.#dispatch(request, reply),
      options.config.streamPendingBytesMax,
      schedule,
    );
    this.splits = new SplitCoordinator({ env, engine: this.engine, config: options.config, pd: this.#pd });
    this.transport = new RaftTransport(env, dependencies.network, {
      resolve: (id, callback) => this.#addresses.resolve(id, callback),
      unreachable: (id) => this.#unreachable(id),
      metadata: () => clusterMetadata(this.#pd.clusterId),
    });
    this.snapshots = new SnapshotSender(env, dependencies.network, options.config, () =>
      clusterMetadata(this.#pd.clusterId),
    );
    this.streams = new RaftStreams(this.#pd, () =>
      this.#isServing && this.#router !== undefined && this.#receiver !== undefined
        ? { storeId: this.#id, router: this.#router, receiver: this.#receiver }
        : undefined,
    );
    this.quiet = this.#makeQuiet();
    this.#logGc = new LogGc(options.config, this.figures);
    this.#stalePeers = new StalePeers({
      pd: this.#pd,
      leaderMissingMs: options.config.leaderMissingMs,
      destroyPeer: (peer, reason) => {
        if (!this.#stopped) this.#destroyPeer(peer, reason);
      },
    });
    this.#peerHost = this.#makePeerHost();
  }

  get id(): number {
    return this.#id;
  }
  get clusterId(): bigint {
    return this.#pd.clusterId;
  }
  /** Messages of other stores so far. */
  get messagesReceived(): number {
    return this.#router?.receivedMessages ?? 0;
  }
  /** Of those the ones that were not taken, by reason. */
  get messagesDropped(): Readonly<Record<string, number>> {
    return this.#router?.dropped ?? {};
  }
  get isServing(): boolean {
    return this.#isServing;
  }

  #guarded(engine: Engine, nowMs: () => number): Engine {
    return guardedEngine(
      engine,
      nowMs,
      (durationMs) => this.slowScore.observe(durationMs),
      (error) => this.#engineFailed(error),
    );
  }

  #makeAdmission(): Admission {
    return new Admission({
      config: this.options.config,
      log: this.env.log,
      nowMs: () => this.env.clock.monotonicMs(),
      storeId: () => this.#id,
      diskFigures: () => this.capacity(),
    });
  }

  #makeQuiet(): QuietRegions {
    return new QuietRegions({
      env: this.env,
      config: this.options.config,
      storeId: () => this.#id,
      send: (to, message) => this.#sendAside(to, message),
      flush: () => void this.transport.flush(),
      report: (peer) => this.#reporter?.report(peer),
    });
  }

  // ---- life

  start(callback: (error: Error | undefined) => void): void {
    ensureIdent(this.engine, this.#pd, this.raw.mode.wire, (error, ident) => {
      if (error !== undefined || ident === undefined) return callback(error);
      this.#id = ident.storeId;
      new ClusterBootstrap(this.env, this.engine, this.#pd, this.#meta()).run((failed) => {
        if (failed !== undefined) return callback(failed);
        this.#pd.putStore(this.#meta(), (refused) => {
          if (refused !== undefined) return callback(refused);
          loadRegions(this.engine, this.#id, (broken, regions) => {
            if (broken !== undefined || regions === undefined) return callback(broken);
            clearChunks(this.engine, regions, (uncleared) => {
              if (uncleared !== undefined) return callback(uncleared);
              this.#begin(regions);
              callback(undefined);
            });
          });
        });
      });
    });
  }

  /** Before a stop that shall not be noticed: leaders go elsewhere. Calls back with how many could not. */
  handOver(timeoutMs: number, callback: (leadersLeft: number) => void): void {
    this.#reporter?.sayStopping();
    handOverLeaders(this, timeoutMs, callback);
  }

  stop(callback: () => void): void {
    this.#isServing = false;
    this.#stopped = true;
    for (const handle of this.#timers) this.env.timers.clear(handle);
    this.turn.stop();
    this.quiet.stop();
    this.#reporter?.stop();
    this.transport.stop();
    for (const peer of this.peers.all()) peer.destroy();
    this.batches.flush();
    callback();
  }

  methods(): BoundMethod[] {
    return storeMethods(this);
  }

  /** Disk figures; undefined where there is no disk. */
  capacity(): { readonly capacity: number; readonly available: number; readonly used: number } | undefined {
    return this.#dependencies.capacity?.();
  }

  metricsText(callback: (text: string) => void): void {
    if (this.#dependencies.metricsText === undefined) callback("");
    else this.#dependencies.metricsText(callback);
  }

  status(): Record<string, unknown> {
    return {
      storeId: this.#id,
      clusterId: String(this.#pd.clusterId),
      ...knownIds(this.#id, this.peers.all()),
      version: this.options.version,
      gitHash: this.options.gitHash,
      startTimestamp: this.#startSeconds,
      engine: this.engine.kind,
      regions: this.peers.size,
      quietRegions: this.quiet.quietCount,
      leaders: [...this.peers.all()].filter((peer) => peer.isLeader).length,
      turns: this.turn.turns,
      syncedWrites: this.turn.syncedWrites,
      unsyncedWrites: this.turn.unsyncedWrites,
      snapshotsSending: this.snapshots.sending,
      snapshotsReceiving: this.#receiver?.receiving ?? 0,
      batchMessages: this.batches.messages,
      batchRequests: this.batches.requests,
      heartbeatsSent: this.#reporter?.heartbeatsSent ?? 0,
    };
  }

  /** One region as `/region/N` shows it. */
  regionStatus(id: number): Record<string, unknown> | undefined {
    const peer = this.peers.get(id);
    return peer === undefined ? undefined : regionStatus(peer);
  }

  // ---- services

  wrongCluster(clusterId: bigint): RpcStatus | undefined {
    if (clusterId === 0n || clusterId === this.#pd.clusterId) return undefined;
    const message = "the cluster id of the request does not match the TiKV cluster";
    return { code: RPC_CODE.invalidArgument, message };
  }

  countRequest(path: string): void {
    this.requestCounts.set(path, (this.requestCounts.get(path) ?? 0) + 1);
  }

  healthFeedback(): kvrpcpb.IHealthFeedback {
    return { storeId: this.#id, feedbackSeqNo: ++this.#feedbackSequence, slowScore: this.slowScore.value };
  }

  /** Regions here that lie in [start, end), in key order. */
  regionsWithin(start: Uint8Array, end: Uint8Array): Region[] {
    return this.peers.overlapping(start, end, 0).map((peer) => peer.region);
  }

  #dispatch(
    request: tikvpb.BatchCommandsRequest.Request,
    reply: (response: tikvpb.BatchCommandsResponse.IResponse) => void,
  ): RpcStatus | undefined {
    const wrong = this.wrongCluster(clusterIdOfBatched(request));
    if (wrong !== undefined) return wrong;
    dispatchBatch(this, request, reply);
    return undefined;
  }

  // ---- start

  #meta(): metapb.IStore {
    const { advertiseAddress, statusAddress, version, gitHash, labels } = this.options;
    return {
      id: this.#id,
      address: advertiseAddress,
      peerAddress: advertiseAddress,
      statusAddress,
      version,
      gitHash,
      labels: labels.map(({ key, value }) => ({ key, value })),
      startTimestamp: this.#startSeconds,
    };
  }

  #begin(regions: readonly LoadedRegion[]): void {
    const { env, engine, options } = this;
    const nowMs = env.clock.monotonicMs();
    const electionMs = options.config.raftElectionTicks * options.config.raftBaseTickMs;
    this.#router = new RaftRouter(this.#makeRouterHost(regions.length === 0 ? nowMs : nowMs + electionMs));
    this.#receiver = new SnapshotReceiver({
      env,
      storeId: this.#id,
      engine,
      config: options.config,
      refuseSnapshot: (message) => this.#refuseSnapshot(message),
      deliver: (message) => {
        this.#router?.route(message);
        if (!this.#pendingSnapshots.has(message.regionId)) this.#dropChunks(message.regionId);
      },
    });
    const reporterHost = {
      env,
      config: options.config,
      peers: this.peers,
      awake: () => this.quiet.active,
      figures: this.figures,
      pd: this.#pd,
      splits: this.splits,
      storeId: this.#id,
      startSeconds: this.#startSeconds,
      capacity: () => this.capacity(),
      slowScore: () => this.slowScore.value,
      liveness: this.quiet.liveness,
      takeSnapshotStats: () => this.snapshots.stats.take(),
      snapshotCounts: () => ({ sending: this.snapshots.sending, receiving: this.#receiver?.receiving ?? 0 }),
    };
    this.#reporter = new PdReporter(reporterHost);
    const peers = loadPeers(this.#peerHost, regions);
    this.peers.addLoaded(peers);
    for (const [i, peer] of peers.entries()) {
      const { region, applying } = regions[i] as LoadedRegion;
      if (applying || region.peers.length === 1) this.quiet.add(peer);
      else this.quiet.addStarted(peer);
      this.#addresses.learn(region, this.#id);
      if (applying) this.#resumeSnapshot(peer);
      else if (region.peers.length === 1) peer.campaign();
    }
    this.#clearGaps();
    this.admission.disk.look();
    this.#isServing = true;
    this.#reporter.start();
    this.#lastTickMs = nowMs;
    this.batches.health = this.healthFeedback();
    this.#every(options.config.raftBaseTickMs, () => this.#tick());
    this.#every(options.config.logGcTickMs, () =>
      this.#logGc.tick(this.quiet.active, env.clock.monotonicMs()),
    );
    this.#every(options.config.splitCheckTickMs, () => this.splits.tick(this.quiet.active));
    if (options.config.ttlCheckTickMs > 0) {
      const reclaimer = new TtlReclaimer(env, engine, () => this.peers.all());
      this.#every(options.config.ttlCheckTickMs, () => reclaimer.start());
    }
    this.#every(1_000, () => {
      this.admission.disk.look();
      this.slowScore.tick(env.clock.monotonicMs());
      this.batches.health = this.healthFeedback();
      this.#addresses.retry();
      this.#reporter?.tick(env.clock.monotonicMs());
      this.#stalePeers.tick(this.quiet.active, env.clock.monotonicMs());
    });
  }

  #every(periodMs: number, run: () => void): void {
    const slot = this.#timers.length;
    const fire = (): void => {
      if (this.#stopped) return;
      run();
      this.#timers[slot] = this.env.timers.set(periodMs, fire);
    };
    this.#timers.push(this.env.timers.set(periodMs, fire));
  }

  /**
   * One Raft tick for all. Never two in quick succession after a pause: ticks stand for time in which messages could
   * have been handled, and leases of others rest on our counting them. (raft.md, bug 72)
   */
  #tick(): void {
    const nowMs = this.env.clock.monotonicMs();
    if (nowMs - this.#lastTickMs < this.options.config.raftBaseTickMs * TICK_LEAST) return;
    this.#lastTickMs = nowMs;
    if (misbehaves(this.env, "a tick is left out", 2)) return;
    this.quiet.tick(nowMs);
    this.figures.time("tick", this.env.clock, nowMs);
  }

  /** Data that a crash left between a tombstone and the deletion of its range. (raftstore rule 1.2.12) */
  #clearGaps(): void {
    for (const gap of this.peers.gaps()) {
      const start = dataKey(gap.start);
      const end = dataEndKey(gap.end);
      this.engine.scan("default", { start, end, limit: 1, keysOnly: true }, (error, result) => {
        if (error !== undefined || result.rows.length === 0) return;
        this.env.log.warn("deleting data that belongs to no region of this store");
        this.engine.deleteRange("default", start, end, toldByEngine);
      });
    }
  }

  // ---- peers

  #makePeerHost(): PeerHost {
    const store = this;
    return {
      env: this.env,
      engine: this.engine,
      config: this.options.config,
      budgets: this.admission.budgets,
      figures: this.figures,
      refused: (reason) => this.admission.refused(reason),
      busyForMs: (bytes) => this.admission.line.waitMs(bytes),
      get ownStoreId() {
        return store.#id;
      },
      send: (peer, message) => this.#send(peer, message),
      wake: (peer) => this.turn.wake(peer),
      awaken: (peer, byLeader) => this.quiet.wake(peer, byLeader),
      heardLeader: (peer) => this.quiet.heardLeader(peer),
      needed: (peer) => this.quiet.needed(peer),
      roleChanged: (peer) => {
        if (peer.isLeader) this.#reporter?.report(peer);
        this.#campaignForSplit(peer);
      },
      mayCreateSplitPeer: (region) => this.#mayCreateSplitPeer(region),
      applied: (peer, effect) => this.#applied(peer, effect),
      loadSnapshot: (peer, snapshot, previous) => this.#loadSnapshot(peer, snapshot, previous),
      siblings: (peer, requestedVersion) => this.#siblings(peer, requestedVersion),
    };
  }

  #makeRouterHost(votesFromMs: number): RouterHost {
    return {
      env: this.env,
      engine: this.engine,
      storeId: this.#id,
      peers: this.peers,
      transport: this.transport,
      disk: this.admission.disk,
      quiet: this.quiet,
      votesFromMs,
      splitReservations: this.#splitReservations,
      pendingSnapshots: this.#pendingSnapshots,
      createUninitialized: (region, peer) => this.#createUninitialized(region, peer),
      destroyPeer: (peer, reason) => this.#destroyPeer(peer, reason),
    };
  }

  #send(peer: Peer, message: Message): void {
    const to = peer.peerById(message.to);
    if (to === undefined) return;
    const raft = this.#envelope(peer, to, message);
    if (message.type === "MsgSnap") sendSnapshot(this, this.#addresses, peer, to, raft);
    else this.transport.send(to.storeId, raft);
  }

  /** A message that belongs to no peer's Ready. */
  #sendAside(to: number, message: raft_serverpb.IRaftMessage): void {
    this.transport.send(to, { ...message, diskUsage: this.admission.disk.onWire });
    this.turn.schedule();
  }

  #envelope(peer: Peer, to: PeerMeta, message: Message): raft_serverpb.IRaftMessage {
    const { region } = peer;
    const own = peer.meta ?? { id: peer.peerId, storeId: this.#id as StoreId, role: "voter" as const };
    const creates = peer.isInitialized && isInitialMessage(message);
    return {
      regionId: region.id,
      fromPeer: peerToProto(own),
      toPeer: peerToProto(to),
      message: messageToProto(message),
      regionEpoch: epochToProto(region.epoch),
      diskUsage: this.admission.disk.onWire,
      // Only messages that may create a peer tell the range that it would own.
      startKey: creates ? region.startKey : null,
      endKey: creates ? region.endKey : null,
    };
  }

  #createUninitialized(region: number, peer: number): Peer {
    const created = new Peer(
      this.#peerHost,
      {
        id: toRegionId(region),
        startKey: new Uint8Array(0),
        endKey: new Uint8Array(0),
        epoch: { confVer: 0, version: 0 },
        peers: [],
      },
      toPeerId(peer),
    );
    this.#addPeer(created);
    this.env.log.info("peer created by a message", { regionId: region, peerId: peer });
    return created;
  }

  /** raftstore rules 6.4.3: what is on disk remembers earlier lives of the new region here. */
  #mayCreateSplitPeer(region: Region): boolean {
    const own = region.peers.find((peer) => peer.storeId === this.#id);
    const existing = this.peers.get(region.id);
    if (existing !== undefined && (existing.isInitialized || existing.isRemoved)) return false;
    if (existing !== undefined && existing.peerId !== own?.id) return false;
    if (own === undefined || readRegionState(this.engine, region.id) !== undefined) return false;
    this.#splitReservations.add(region.id);
    return true;
  }

  #applied(peer: Peer, effect: ApplyEffect): void {
    if (effect.kind === "compactLog") return this.#deleteLog(peer.regionId, effect.fromIndex, effect.toIndex);
    if (effect.kind === "split") return this.#onSplit(peer, effect);
    if (effect.removedSelf) return this.#destroyPeer(peer, "it was removed from its region");
    this.peers.update(effect.region);
    this.#addresses.learn(peer.region, this.#id);
    if (peer.isLeader) {
      // New peers come into being by the leader's heartbeat.
      peer.node.ping();
      this.#reporter?.report(peer);
    }
  }

  #onSplit(peer: Peer, effect: Extract<ApplyEffect, { kind: "split" }>): void {
    const wasLeader = peer.isLeader;
    this.peers.update(effect.derived);
    const share = effect.regions.length;
    peer.approximateBytes = Math.ceil(peer.approximateBytes / share);
    peer.approximateKeys = Math.ceil(peer.approximateKeys / share);
    for (const region of effect.regions) {
      if (region.id === effect.derived.id) continue;
      if (effect.skipped.has(region.id)) {
        this.#deleteData(region);
        continue;
      }
      this.#splitReservations.delete(region.id);
      const uninitialized = this.peers.get(region.id);
      if (uninitialized !== undefined) this.#dropFromMemory(uninitialized);
      const own = region.peers.find((meta) => meta.storeId === this.#id);
      assert(own !== undefined, "a new region without a peer on this store was not skipped");
      const created = new Peer(this.#peerHost, region, own.id);
      created.approximateBytes = peer.approximateBytes;
      created.approximateKeys = peer.approximateKeys;
      this.#addPeer(created);
      if (wasLeader || region.peers.length === 1) created.campaignAfterSplit();
      else this.#uncampaigned.set(created, peer.regionId);
      this.#router?.deliverPending(created);
    }
    if (!wasLeader) return;
    this.#reporter?.report(peer);
    this.#pd.reportBatchSplit(effect.regions.map(regionToProto), () => {});
  }

  /**
   * The leader of a region that was split campaigns for the parts. Had it gone before it could, its successor does:
   * otherwise they would wait for an election timeout. (raftstore rule 6.9)
   */
  #campaignForSplit(parent: Peer): void {
    if (this.#uncampaigned.size === 0 || parent.leaderId === 0) return;
    for (const [child, of] of this.#uncampaigned) {
      if (of !== parent.regionId) continue;
      this.#uncampaigned.delete(child);
      if (parent.isLeader && !child.isRemoved && child.term === INIT_LOG_TERM) child.campaignAfterSplit();
    }
  }

  /** The parts that a split left of the region, for clients that still know the whole. */
  #siblings(peer: Peer, requestedVersion: number): readonly Region[] {
    const missed = Math.min(Math.max(peer.region.epoch.version - requestedVersion, 0), 10);
    return [peer.region, ...this.peers.leftNeighbours(peer.region, missed).map((other) => other.region)];
  }

  #destroyPeer(peer: Peer, reason: string): void {
    if (peer.isRemoved) return;
    // A split under way has given this region its data already; a tombstone now would come behind that. (rule 9.3.1)
    if (!peer.isInitialized && this.#splitReservations.has(peer.regionId)) return;
    this.env.log.info("peer destroyed", { regionId: peer.regionId, peerId: peer.peerId, reason });
    peer.destroy();
    this.#destroysWaiting.add(peer);
    if (!peer.workUnderWay) this.#finishDestroys();
  }

  #finishDestroys(): void {
    for (const peer of this.#destroysWaiting) {
      if (peer.workUnderWay) continue;
      this.#destroysWaiting.delete(peer);
      const { region } = peer;
      // Its place is kept until the tombstone can be read: a successor made before would find the old states.
      destroyOnDisk(this.engine, region, peer, this.#id, (error) => {
        if (this.#stopped) return;
        if (error === undefined && this.peers.get(peer.regionId) === peer) this.#dropFromMemory(peer);
      });
      // The range is free only behind its deletion: the engine keeps the order.
      if (peer.isInitialized) this.#deleteData(region);
      this.#dropChunks(region.id);
    }
  }

  #dropFromMemory(peer: Peer): void {
    if (!peer.isRemoved) peer.destroy();
    this.turn.forget(peer);
    this.#reporter?.forget(peer);
    this.#logGc.forget(peer);
    this.#stalePeers.forget(peer);
    this.#pendingSnapshots.delete(peer.regionId);
    this.#uncampaigned.delete(peer);
    this.peers.remove(peer);
    this.quiet.forget(peer);
  }

  #addPeer(peer: Peer): void {
    this.peers.add(peer);
    this.quiet.add(peer);
  }

  #deleteData(region: Region): void {
    for (const space of ["default", "lock", "write"] as const) {
      this.engine.deleteRange(space, dataKey(region.startKey), dataEndKey(region.endKey), toldByEngine);
    }
  }

  #deleteLog(region: number, from: number, to: number): void {
    deleteLogRange(this.engine, region, from, to + 1, toldByEngine);
  }

  // ---- snapshots

  #refuseSnapshot(message: raft_serverpb.RaftMessage): string | undefined {
    const peer = this.peers.get(message.regionId);
    if (misbehaves(this.env, "a snapshot is refused")) return "mischief";
    if (this.#pendingSnapshots.has(message.regionId))
      return "another snapshot of this region waits to be applied";
    if (this.admission.disk.usage !== "normal") return "the disk of the receiver is full";
    return peer?.isApplyingSnapshot ? "the region is loading a snapshot" : undefined;
  }

  /** Chunks that nobody will load. Those of a stream that is open are the stream's. */
  #dropChunks(region: number): void {
    const peer = this.peers.get(region);
    if (this.#receiver?.isReceiving(region) === true) return;
    if (peer !== undefined && !peer.isRemoved && peer.isApplyingSnapshot) return;
    const [start, end] = snapshotRegionRange(region);
    this.engine.deleteRange("snap", start, end, toldByEngine);
  }

  #loadSnapshot(peer: Peer, snapshot: Snapshot, previous: Region): void {
    const { region } = peer;
    this.#pendingSnapshots.delete(region.id);
    this.peers.update(region);
    this.#addresses.learn(region, this.#id);
    const { term, index } = snapshot.metadata;
    const startMs = this.env.clock.monotonicMs();
    this.env.log.info("loading a snapshot", { regionId: region.id, index });
    loadSnapshot(this.env, this.engine, {
      region,
      previous,
      term,
      index,
      isCancelled: () => peer.isRemoved || this.#stopped,
      done: (bytes) => {
        peer.approximateBytes = bytes;
        peer.snapshotApplied();
        this.figures.time("snapshotLoaded", this.env.clock, startMs);
        this.figures.listener?.snapshotBytes(bytes);
        this.env.log.info("snapshot loaded", { regionId: region.id, index, bytes });
      },
    });
  }

  #resumeSnapshot(peer: Peer): void {
    const { appliedIndex, appliedTerm } = peer.storage.applyState;
    peer.resumeSnapshotLoad();
    loadSnapshot(this.env, this.engine, {
      region: peer.region,
      previous: peer.region,
      term: appliedTerm,
      index: appliedIndex,
      isCancelled: () => peer.isRemoved || this.#stopped,
      done: () => peer.finishResumedLoad(),
    });
  }

  /** A quiet leader has nothing on its way. When it wakes its first heartbeats find out. */
  #unreachable(id: number): void {
    for (const peer of this.quiet.active) {
      if (!peer.isLeader) continue;
      for (const meta of peer.region.peers) if (meta.storeId === id) peer.reportUnreachable(meta.id);
    }
  }

  #engineFailed(error: Error): void {
    if (this.#stopped) return;
    this.#isServing = false;
    this.turn.stop();
    this.quiet.stop();
    this.env.log.error("the engine failed: the store stops, because what is on disk is not known any more", {
      reason: error.message,
    });
    this.#dependencies.onFatal(error);
  }
}
