/**
 * What PD is told and what it asks for. Leaders report their region when something changed and otherwise every
 * `pdHeartbeatTickMs`; PD's answer to such a report may carry one operator step, which becomes a command with the
 * epoch that PD saw. Nothing is answered to PD: the next report shows the result. (raftstore rules 13)
 */
import { type Env, misbehaves } from "../base/index.js";
import type { pdpb } from "../proto/index.js";
import type { PeerChange } from "../region/admin.js";
import type { PeerFigures } from "../region/figures.js";
import type { Peer } from "../region/peer.js";
import {
  epochFromProto,
  type PeerMeta,
  peerFromProto,
  peerToProto,
  regionToProto,
} from "../region/region.js";
import { CatchUpWatch, pendingPeersOf } from "./catch-up-watch.js";
import type { StoreConfig } from "./config.js";
import type { StoreLiveness } from "./liveness.js";
import type { PdPort, RegionHeartbeatStream } from "./pd-port.js";
import type { PeerRegistry } from "./peers.js";
import type { SplitCoordinator } from "./split-coordinator.js";

export interface PdReporterHost {
  readonly env: Env;
  readonly config: StoreConfig;
  readonly peers: PeerRegistry;
  /** Peers that tick. */
  awake(): Iterable<Peer>;
  readonly figures: PeerFigures;
  readonly pd: PdPort;
  readonly splits: SplitCoordinator;
  readonly storeId: number;
  readonly startSeconds: number;
  /** Bytes free and in all on the data directory's disk; undefined where nobody knows. */
  capacity(): { readonly capacity: number; readonly available: number; readonly used: number } | undefined;
  readonly liveness: StoreLiveness;
  slowScore(): number;
  /** Of snapshots sent since it was last asked. */
  takeSnapshotStats(): pdpb.ISnapshotStat[];
  snapshotCounts(): { readonly sending: number; readonly receiving: number };
}

/** Quiet leaders that report in one second because it is long ago: those that began together need not go on so. */
const QUIET_REPORTS_MAX = 512;
/** So often in `pdHeartbeatTickMs` quiet leaders are looked through for replicas that are down, if a store is. */
const DOWN_LOOKS = 5;

/** eraftpb.ConfChangeType on the wire. */
const CHANGE_KINDS = ["addVoter", "remove", "addLearner"] as const;

export class PdReporter {
  readonly #host: PdReporterHost;
  #stream: RegionHeartbeatStream | undefined;
  readonly #changed = new Set<Peer>();
  /**
   * When a peer last reported, those of the longest ago first. Whole milliseconds: a fraction would be an object for
   * each region. Those that lead no longer go when their time comes.
   */
  readonly #reportedMs = new Map<Peer, number>();
  #downLookMs = Number.NEGATIVE_INFINITY;
  readonly #catchUp: CatchUpWatch;
  #flushScheduled = false;
  #stopped = false;
  #storeIntervalStartSeconds: number;
  readonly #startedMs: number;
  /** Of the leaders here, since the last heartbeat of the store. */
  #isStopping = false;
  #flow = { bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0 };
  heartbeatsSent = 0;
  operatorsReceived = 0;

  constructor(host: PdReporterHost) {
    this.#host = host;
    this.#storeIntervalStartSeconds = host.startSeconds;
    this.#catchUp = new CatchUpWatch(host.env, (peer) => this.report(peer));
    this.#startedMs = host.env.clock.monotonicMs();
  }

  start(): void {
    this.#stream = this.#host.pd.openRegionHeartbeat(
      (response) => this.#onResponse(response),
      () => this.reportAll(),
    );
    this.#storeHeartbeat();
  }

  /** PD brings no leader any more, and takes those that are left. */
  sayStopping(): void {
    this.#isStopping = true;
    this.#sendStoreHeartbeat();
  }

  stop(): void {
    this.#stopped = true;
    this.#catchUp.stop();
    this.#stream?.close();
  }

  /** This region has something new to tell; sent once at the end of the turn however often it is called. */
  report(peer: Peer): void {
    this.#changed.add(peer);
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    this.#host.env.timers.nextTurn(() => {
      this.#flushScheduled = false;
      const peers = [...this.#changed];
      this.#changed.clear();
      for (const changed of peers) this.#send(changed);
    });
  }

  reportAll(): void {
    for (const peer of this.#host.peers.all()) if (peer.isLeader) this.report(peer);
  }

  /** Reports of leaders that have had nothing to say for a while. Costs what is due, not what there is. */
  tick(nowMs: number): void {
    const { pdHeartbeatTickMs } = this.#host.config;
    for (const peer of this.#host.awake())
      if (peer.isLeader && this.#sinceMs(peer, nowMs) >= pdHeartbeatTickMs) this.report(peer);
    this.#tickQuiet(nowMs);
  }

  #sinceMs(peer: Peer, nowMs: number): number {
    return nowMs - (this.#reportedMs.get(peer) ?? Number.NEGATIVE_INFINITY);
  }

  /** Of quiet leaders, the oldest reports first; those with a replica that is down report as often as if awake. */
  #tickQuiet(nowMs: number): void {
    const { pdHeartbeatTickMs, pdQuietHeartbeatTickMs, peerDownMs } = this.#host.config;
    const down = this.#host.liveness.deadFor(peerDownMs);
    const looksForDown = down.length > 0 && nowMs - this.#downLookMs >= pdHeartbeatTickMs / DOWN_LOOKS;
    if (looksForDown) this.#downLookMs = nowMs;
    const leastMs = looksForDown ? pdHeartbeatTickMs : pdQuietHeartbeatTickMs;
    let quietReports = 0;
    for (const [peer, reportedMs] of this.#reportedMs) {
      const sinceMs = nowMs - reportedMs;
      if (sinceMs < leastMs) return;
      const isDue = sinceMs >= pdQuietHeartbeatTickMs;
      if (!peer.isLeader) {
        if (isDue) this.#reportedMs.delete(peer);
      } else if (looksForDown && peer.region.peers.some(({ storeId }) => down.includes(storeId))) {
        this.report(peer);
      } else if (isDue && quietReports < QUIET_REPORTS_MAX) {
        quietReports++;
        this.report(peer);
      } else if (!looksForDown) {
        return;
      }
    }
  }

  /** Of a quiet region's peers nobody hears: they are as silent as their stores. */
  #silentMs(peer: Peer, other: PeerMeta, nowMs: number): number {
    if (other.id === peer.peerId) return 0;
    return peer.isQuiet ? this.#host.liveness.deadMs(other.storeId) : (peer.silentMs(other.id, nowMs) ?? 0);
  }

  forget(peer: Peer): void {
    this.#changed.delete(peer);
    this.#catchUp.forget(peer);
    this.#reportedMs.delete(peer);
  }

  #send(peer: Peer): void {
    if (this.#stopped || this.#stream === undefined || !peer.isLeader || peer.isRemoved) return;
    const { pd, env, config } = this.#host;
    const nowMs = env.clock.monotonicMs();
    const meta = peer.meta;
    if (meta === undefined) return;
    const sinceMs = nowMs - (this.#reportedMs.get(peer) ?? this.#startedMs);
    this.#reportedMs.delete(peer);
    this.#reportedMs.set(peer, Math.floor(nowMs));
    const nowSeconds = Math.floor(env.clock.wallMs() / 1000);
    const downPeers: pdpb.IPeerStats[] = [];
    const pendingPeers: ReturnType<typeof peerToProto>[] = [];
    for (const other of pendingPeersOf(peer)) pendingPeers.push(peerToProto(other));
    peer.node.withProgress((id) => {
      const other = peer.peerById(id);
      if (other === undefined || id === peer.peerId) return;
      const silentMs = this.#silentMs(peer, other, nowMs);
      if (silentMs >= config.peerDownMs) {
        downPeers.push({ peer: peerToProto(other), downSeconds: Math.floor(silentMs / 1000) });
      }
    });
    this.#catchUp.watch(peer, pendingPeers.length);
    if (misbehaves(env, "a region's heartbeat is left out")) return;
    this.heartbeatsSent++;
    const flow = peer.takeFlow();
    this.#stream.send({
      header: { clusterId: pd.clusterId },
      region: regionToProto(peer.region),
      leader: peerToProto(meta),
      term: peer.term,
      downPeers,
      pendingPeers,
      ...flow,
      // 0 is "not counted yet": PD then keeps the figure it has.
      approximateSize: peer.approximateBytes,
      approximateKeys: peer.approximateKeys,
      interval: { startTimestamp: nowSeconds - Math.round(sinceMs / 1000), endTimestamp: nowSeconds },
    });
    this.#host.figures.listener?.regionFlow(flow);
    this.#flow.bytesWritten += flow.bytesWritten;
    this.#flow.keysWritten += flow.keysWritten;
    this.#flow.bytesRead += flow.bytesRead;
    this.#flow.keysRead += flow.keysRead;
  }

  #onResponse(response: pdpb.RegionHeartbeatResponse): void {
    if (misbehaves(this.#host.env, "an order of PD is not heard", 2)) return;
    const peer = this.#host.peers.get(response.regionId);
    if (peer === undefined || !peer.isLeader) return;
    if (response.targetPeer != null && response.targetPeer.id !== peer.peerId) return;
    const epoch = epochFromProto(response.regionEpoch);
    const log = this.#host.env.log;
    const ignored = (what: string, reason: string | undefined): void => {
      if (reason !== undefined) log.info("operator step not done", { what, regionId: peer.regionId, reason });
    };
    const change = (changes: PeerChange[]): void => {
      this.operatorsReceived++;
      peer.admin(epoch, { kind: "changePeer", changes }, (error) =>
        ignored("change peer", error?.message ?? undefined),
      );
    };
    if (response.changePeer != null) {
      const { peer: target, changeType } = response.changePeer;
      if (target != null)
        change([{ kind: CHANGE_KINDS[changeType] ?? "addVoter", peer: peerFromProto(target) }]);
    } else if (response.changePeerV2 != null) {
      change(
        response.changePeerV2.changes.map((one) => ({
          kind: CHANGE_KINDS[one.changeType] ?? "addVoter",
          peer: peerFromProto(one.peer ?? {}),
        })),
      );
    } else if (response.transferLeader != null) {
      const target = response.transferLeader.peer ?? response.transferLeader.peers[0];
      this.operatorsReceived++;
      if (target != null) ignored("transfer leader", peer.transferLeader(peerFromProto(target).id));
    } else if (response.splitRegion != null) {
      this.operatorsReceived++;
      const keys = response.splitRegion.keys.map((key) => new Uint8Array(key));
      if (keys.length > 0)
        this.#host.splits.splitAt(peer, epoch, keys, (error) =>
          ignored("split", error?.message ?? undefined),
        );
      else this.#host.splits.splitInHalf(peer, epoch);
    } else if (response.merge != null) {
      ignored("merge", "this version does not merge regions");
    }
  }

  #storeHeartbeat(): void {
    if (this.#stopped) return;
    this.#sendStoreHeartbeat();
    const { env, config } = this.#host;
    env.timers.set(config.pdStoreHeartbeatTickMs, () => this.#storeHeartbeat());
  }

  #sendStoreHeartbeat(): void {
    const { pd, env, peers, storeId, startSeconds } = this.#host;
    const disk = this.#host.capacity();
    const snapshots = this.#host.snapshotCounts();
    const nowSeconds = Math.floor(env.clock.wallMs() / 1000);
    pd.storeHeartbeat(
      {
        storeId,
        capacity: disk?.capacity ?? 0,
        available: disk?.available ?? 0,
        usedSize: disk?.used ?? 0,
        regionCount: peers.size,
        isStopping: this.#isStopping,
        sendingSnapCount: snapshots.sending,
        receivingSnapCount: snapshots.receiving,
        snapshotStats: this.#host.takeSnapshotStats(),
        startTime: startSeconds,
        slowScore: this.#host.slowScore(),
        ...this.#flow,
        interval: { startTimestamp: this.#storeIntervalStartSeconds, endTimestamp: nowSeconds },
      },
      (error) => {
        if (error !== undefined) env.log.debug("store heartbeat failed", { reason: error.message });
      },
    );
    this.#storeIntervalStartSeconds = nowSeconds;
    this.#flow = { bytesWritten: 0, keysWritten: 0, bytesRead: 0, keysRead: 0 };
  }
}
