/**
 * Raft messages from other stores: which peer they are for, whether the sender still belongs to the region, and whether
 * a message may create a peer here. The order of the checks is TiKV's (raftstore rules 2.2 to 2.6); each stands for a
 * bug that another order had.
 */
import { type Engine, type Env, misbehaves } from "../base/index.js";
import type { raft_serverpb } from "../proto/index.js";
import type { Message } from "../raft/types.js";
import { INIT_LOG_INDEX, INIT_LOG_TERM, readRegionState, regionOfSnapshot } from "../region/local-state.js";
import type { Peer } from "../region/peer.js";
import {
  epochFromProto,
  epochToProto,
  findPeerOnStore,
  isEpochStale,
  type PeerMeta,
  peerFromProto,
  peerToProto,
  type Region,
  rangesOverlap,
  type RegionEpoch,
} from "../region/region.js";
import type { DiskGuard, DiskUsage } from "./disk-guard.js";
import type { PeerRegistry } from "./peers.js";
import type { QuietRegions } from "./quiet-regions.js";
import { messageFromProto } from "./raft-message.js";
import type { RaftTransport } from "./transport.js";

export interface RouterHost {
  readonly env: Env;
  readonly engine: Engine;
  readonly storeId: number;
  readonly peers: PeerRegistry;
  readonly transport: RaftTransport;
  readonly disk: DiskGuard;
  readonly quiet: Pick<QuietRegions, "heardStore" | "onMessage" | "onStoreMessage">;
  /** Votes are refused before this time: a vote could break a lease we acknowledged before a restart. (rule 1.2.14) */
  readonly votesFromMs: number;
  createUninitialized(regionId: number, peerId: number): Peer;
  destroyPeer(peer: Peer, reason: string): void;
  /** Ids of regions that a split being applied is about to create. */
  readonly splitReservations: ReadonlySet<number>;
  /** Ranges of snapshots accepted and not loaded yet. */
  readonly pendingSnapshots: Map<number, Region>;
}

interface Incoming {
  readonly raw: raft_serverpb.RaftMessage;
  /** Absent in messages of the store's own and tombstones. */
  readonly message: Message | undefined;
  readonly from: PeerMeta;
  readonly to: PeerMeta;
  readonly epoch: RegionEpoch;
}

/** First messages of a split's new region, kept until this store has applied the split itself. */
const PENDING_FIRST_MESSAGES_MAX = 100;

type DropReason = keyof RaftRouter["dropped"];

export class RaftRouter {
  readonly #host: RouterHost;
  readonly #pendingFirst = new Map<number, Incoming>();
  /** Messages that were not taken, by reason; names as in TiKV's metrics where it has them. */
  readonly dropped = {
    mismatch_store_id: 0,
    malformed: 0,
    disk_full: 0,
    stale_msg: 0,
    vote_after_start: 0,
    applying_snap: 0,
    region_no_peer: 0,
    region_overlap: 0,
    region_tombstone_peer: 0,
    region_nonexistent: 0,
  };
  /** Messages of other stores, whatever became of them. */
  receivedMessages = 0;

  constructor(host: RouterHost) {
    this.#host = host;
  }

  /** False when the message is for another store: its stream ends, so that the sender asks PD for the address. */
  route(raw: raft_serverpb.RaftMessage): boolean {
    this.receivedMessages++;
    if (raw.toPeer?.storeId !== this.#host.storeId) {
      this.dropped.mismatch_store_id++;
      return false;
    }
    if (raw.regionId === 0 && raw.extraMsg != null) {
      this.#host.disk.note(raw.fromPeer?.storeId ?? 0, raw.diskUsage);
      this.#host.quiet.onStoreMessage(raw);
      return true;
    }
    const message = raw.message == null ? undefined : messageFromProto(raw.message);
    if (misbehaves(this.#host.env, "a Raft message is lost at the door", 4)) return true;
    const isEmpty = message === undefined && raw.extraMsg == null && !raw.isTombstone;
    if (raw.regionEpoch == null || raw.fromPeer == null || isEmpty) {
      this.dropped.malformed++;
      return true;
    }
    if (message !== undefined && !isCredible(message, raw)) {
      this.dropped.malformed++;
      return true;
    }
    const { disk } = this.#host;
    if (!raw.isTombstone) disk.note(raw.fromPeer.storeId, raw.diskUsage);
    this.#host.quiet.heardStore(raw.fromPeer.storeId);
    if (disk.usage !== "normal" && message !== undefined && needsRoom(message, disk.usage)) {
      this.dropped.disk_full++;
      return true;
    }
    const incoming: Incoming = {
      raw,
      message,
      from: peerFromProto(raw.fromPeer),
      to: peerFromProto(raw.toPeer),
      epoch: epochFromProto(raw.regionEpoch),
    };
    const peer = this.#host.peers.get(raw.regionId);
    if (peer === undefined) this.#toUnknown(incoming);
    else this.#toPeer(peer, incoming);
    return true;
  }

  /** After a split created this region: what came too early is delivered now. */
  deliverPending(peer: Peer): void {
    const pending = this.#pendingFirst.get(peer.regionId);
    if (pending === undefined) return;
    this.#pendingFirst.delete(peer.regionId);
    this.#toPeer(peer, pending);
  }

  #toPeer(peer: Peer, incoming: Incoming): void {
    const { raw, message, from, to, epoch } = incoming;
    if (peer.isRemoved) return this.#drop("stale_msg");
    if (raw.isTombstone) return this.#onTombstone(peer, to, epoch);
    if (isEpochStale(epoch, peer.region.epoch) && findPeerOnStore(peer.region, from.storeId) === undefined) {
      // A peer that was removed and does not know it. An old epoch alone, or a stranger alone, is normal.
      if (peer.isInitialized) this.#replyTombstone(raw, peer.region.epoch);
      return this.#drop("stale_msg");
    }
    if (to.id < peer.peerId) return this.#drop("stale_msg");
    if (to.id > peer.peerId) {
      this.#host.destroyPeer(peer, `a newer peer ${to.id} of region ${peer.regionId} has been placed here`);
      if (this.#host.peers.get(peer.regionId) === undefined) this.#toUnknown(incoming);
      return;
    }
    if (message === undefined) return this.#host.quiet.onMessage(peer, from, raw);
    const refusal = message.type === "MsgSnap" ? this.#refusalOfSnapshot(peer, message, raw) : undefined;
    if (refusal !== undefined) return this.#drop(refusal);
    if (isVoteRequest(message) && this.#host.env.clock.monotonicMs() < this.#host.votesFromMs)
      return this.#drop("vote_after_start");
    peer.rememberPeer(from);
    peer.step(message);
    if (message.type !== "MsgSnap") return;
    if (!peer.node.hasPendingSnapshot) this.#host.pendingSnapshots.delete(peer.regionId);
  }

  /** Only a newer epoch and exactly this peer: an answer to an old incarnation must not end the new one. (rule 2.4) */
  #onTombstone(peer: Peer, to: PeerMeta, epoch: RegionEpoch): void {
    if (!isEpochStale(peer.region.epoch, epoch) || to.id !== peer.peerId) return;
    this.#host.destroyPeer(peer, "it was removed from its region while it was away");
  }

  /** Undefined: it is taken, and its range kept for it. */
  #refusalOfSnapshot(peer: Peer, message: Message, raw: raft_serverpb.RaftMessage): DropReason | undefined {
    const snapshot = message.snapshot;
    if (snapshot === undefined) return "malformed";
    const region = regionOfSnapshot(snapshot.data);
    if (region === undefined) return "malformed";
    if (!region.peers.some((meta) => meta.id === raw.toPeer?.id)) return "region_no_peer";
    if (peer.isApplyingSnapshot) return "applying_snap";
    for (const [id, pending] of this.#host.pendingSnapshots) {
      if (id !== region.id && overlaps(pending, region)) return "region_overlap";
    }
    if (this.#host.peers.overlapping(region.startKey, region.endKey, region.id).length > 0)
      return "region_overlap";
    this.#host.pendingSnapshots.set(region.id, region);
    return undefined;
  }

  #drop(reason: DropReason): void {
    this.dropped[reason]++;
  }

  /** raftstore rules 2.5 and 2.6. */
  #toUnknown(incoming: Incoming): void {
    const { raw, message, from, to, epoch } = incoming;
    if (raw.isTombstone || message === undefined) return;
    const state = readRegionState(this.#host.engine, raw.regionId);
    if (state !== undefined && state.state === "tombstone") {
      const { region } = state;
      const senderIsMember = findPeerOnStore(region, from.storeId) !== undefined;
      if (isEpochStale(epoch, region.epoch)) {
        if (!senderIsMember) this.#replyTombstone(raw, region.epoch);
        return this.#drop("region_tombstone_peer");
      }
      // The id proves what the epoch cannot: this peer, or a later one, has been here and was destroyed.
      const own = findPeerOnStore(region, to.storeId);
      if (own !== undefined && own.id >= to.id) return this.#drop("region_tombstone_peer");
    } else if (state !== undefined) {
      return this.#keepFirst(incoming);
    }
    if (this.#host.splitReservations.has(raw.regionId)) return this.#keepFirst(incoming);
    if (!isInitialMessage(message)) return this.#keepFirst(incoming);
    const start = raw.startKey;
    const end = raw.endKey;
    if (this.#host.peers.overlapping(start, end, raw.regionId).length > 0) {
      // A parent here has not been split yet: were the child created now, it could vote over a range still in service.
      return this.#keepFirst(incoming);
    }
    for (const pending of this.#host.pendingSnapshots.values()) {
      if (pending.id !== raw.regionId && overlapsRange(pending, start, end))
        return this.#drop("region_overlap");
    }
    const peer = this.#host.createUninitialized(raw.regionId, to.id);
    this.#toPeer(peer, incoming);
  }

  #keepFirst(incoming: Incoming): void {
    if (incoming.message === undefined || !isFirstMessage(incoming.message)) {
      return this.#drop("region_nonexistent");
    }
    this.#pendingFirst.delete(incoming.raw.regionId);
    this.#pendingFirst.set(incoming.raw.regionId, incoming);
    if (this.#pendingFirst.size > PENDING_FIRST_MESSAGES_MAX) {
      const oldest = this.#pendingFirst.keys().next();
      if (!oldest.done) this.#pendingFirst.delete(oldest.value);
    }
  }

  #replyTombstone(raw: raft_serverpb.RaftMessage, epoch: RegionEpoch): void {
    const from = raw.fromPeer;
    const to = raw.toPeer;
    if (from == null || to == null) return;
    this.#host.transport.send(from.storeId, {
      regionId: raw.regionId,
      fromPeer: peerToProto(peerFromProto(to)),
      toPeer: peerToProto(peerFromProto(from)),
      regionEpoch: epochToProto(epoch),
      isTombstone: true,
    });
  }
}

/**
 * What a peer may say to a peer. Proposals are not forwarded between raftwerk's peers, and what is inside must name the
 * peers on the envelope: those are checked, and answers go to them.
 */
const isCredible = (message: Message, raw: raft_serverpb.RaftMessage): boolean =>
  message.type !== "MsgProp" && message.from === raw.fromPeer?.id && message.to === raw.toPeer?.id;

/** Whoever is to lead must have room, and so must a follower for entries: the leader sends them again later. */
const needsRoom = (message: Message, usage: DiskUsage): boolean =>
  message.type === "MsgTimeoutNow" || (usage === "alreadyFull" && message.entries.length > 0);

const isVoteRequest = (message: Message): boolean =>
  message.type === "MsgVote" || message.type === "MsgPreVote";

/** Only these create a peer: senders attach the region's range to them. (rule 2.6.1) */
export const isInitialMessage = (message: Message): boolean =>
  isVoteRequest(message) || (message.type === "MsgHeartbeat" && message.commit === 0);

/** What a freshly split leader sends: a vote at the first term, or its first, empty entry. (rule 2.5) */
const isFirstMessage = (message: Message): boolean =>
  (isVoteRequest(message) && message.term === INIT_LOG_TERM + 1) ||
  (message.type === "MsgApp" && message.entries[0]?.index === INIT_LOG_INDEX + 1);

const overlaps = (left: Region, right: Region): boolean => overlapsRange(left, right.startKey, right.endKey);

function overlapsRange(region: Region, start: Uint8Array, end: Uint8Array): boolean {
  return rangesOverlap(region.startKey, region.endKey, start, end);
}
