/**
 * Finds peers that were removed while they could not hear of it. One that can campaign is told by those it asks
 * for votes;
 * a learner, or a peer without data, asks nobody. So whoever has missed its leader for long asks PD, and goes
 * when PD knows a newer region without it. (raftstore rule 2.8; PD's older picture proves nothing)
 */
import { isEpochStale } from "../region/region.js";
import type { metapb } from "../proto/index.js";
import type { Peer } from "../region/peer.js";
import type { PdPort } from "./pd-port.js";

export interface StalePeersHost {
  readonly pd: PdPort;
  readonly leaderMissingMs: number;
  destroyPeer(peer: Peer, reason: string): void;
}

export class StalePeers {
  readonly #host: StalePeersHost;
  /** When a peer was first seen without its leader; monotonic milliseconds. */
  readonly #missingSinceMs = new Map<Peer, number>();

  constructor(host: StalePeersHost) {
    this.#host = host;
  }

  forget(peer: Peer): void {
    this.#missingSinceMs.delete(peer);
  }

  tick(peers: Iterable<Peer>, nowMs: number): void {
    for (const peer of peers) {
      if (peer.isLeader || peer.isRemoved || peer.isApplyingSnapshot || this.#hearsLeader(peer, nowMs)) {
        this.#missingSinceMs.delete(peer);
        continue;
      }
      const since = this.#missingSinceMs.get(peer);
      if (since === undefined) this.#missingSinceMs.set(peer, nowMs);
      else if (nowMs - since >= this.#host.leaderMissingMs) {
        this.#missingSinceMs.set(peer, nowMs);
        this.#ask(peer);
      }
    }
  }

  #hearsLeader(peer: Peer, nowMs: number): boolean {
    const silentMs = peer.leaderId === 0 ? undefined : peer.silentMs(peer.leaderId, nowMs);
    return silentMs !== undefined && silentMs < this.#host.leaderMissingMs;
  }

  #ask(peer: Peer): void {
    this.#host.pd.getRegionById(peer.regionId, (error, region) => {
      if (error !== undefined || region == null || peer.isRemoved || peer.isLeader) return;
      if (this.#isOutside(peer, region)) {
        this.#host.destroyPeer(peer, "it has no leader, and PD knows its region without it");
      }
    });
  }

  #isOutside(peer: Peer, region: metapb.IRegion): boolean {
    const epoch = { confVer: region.regionEpoch?.confVer ?? 0, version: region.regionEpoch?.version ?? 0 };
    if (isEpochStale(epoch, peer.region.epoch)) return false;
    return (region.peers ?? []).every((member) => member.id !== peer.peerId);
  }
}
