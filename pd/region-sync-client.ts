/**
 * A follower's side of `SyncRegions`: takes in what the leader sends, so that this PD can answer lookups and lead
 * at once. The stream is opened again when it breaks, until this PD stops following that leader. (pd-rules 1.17)
 */
import type { Env, TimerHandle } from "../base/index.js";
import { type ClientCall, PdService, type pdpb, type RpcNetwork } from "../proto/index.js";
import type { MemberIdentity } from "./members.js";
import { EMPTY_REGION_SIZE_MIB, NO_FLOW, type RegionInfo } from "./region-info.js";
import type { Regions } from "./regions.js";
import { metaFromWire, peerFromWire } from "./wire.js";

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2_000;

export interface RegionSyncOptions {
  readonly network: RpcNetwork;
  readonly clusterId: bigint;
  readonly self: MemberIdentity;
  readonly leaderUrl: string;
  readonly regions: Regions;
  readonly onRegion: (region: RegionInfo) => void;
  /** All regions of the leader are here. */
  readonly onSynced: () => void;
}

export class RegionSyncClient {
  readonly #env: Env;
  readonly #options: RegionSyncOptions;
  #call: ClientCall<pdpb.ISyncRegionRequest> | undefined;
  #timer: TimerHandle | undefined;
  #retryMs = RETRY_MS_MIN;
  /** 0 until a full sync has ended. */
  #nextIndex = 0;
  #stopped = false;

  constructor(env: Env, options: RegionSyncOptions) {
    this.#env = env;
    this.#options = options;
    this.#open();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#env.timers.clear(this.#timer);
    this.#call?.cancel();
  }

  #open(): void {
    if (this.#stopped) return;
    const { network, clusterId, self, leaderUrl } = this.#options;
    const call = network.channel(leaderUrl.replace(/^[a-z]+:\/\//, "")).open(PdService.SyncRegions, {
      onMessage: (response) => {
        if (!this.#stopped) this.#take(response);
      },
      onEnd: (status) => {
        if (this.#stopped) return;
        this.#env.log.debug("region sync ended", { reason: status.message });
        this.#timer = this.#env.timers.set(this.#retryMs, () => this.#open());
        this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
      },
    });
    this.#call = call;
    const { name, memberId, clientUrls, peerUrls } = self;
    const member = { name, memberId, clientUrls: [...clientUrls], peerUrls: [...peerUrls] };
    call.send({ header: { clusterId }, member, startIndex: this.#nextIndex });
  }

  #take(response: pdpb.SyncRegionResponse): void {
    this.#retryMs = RETRY_MS_MIN;
    for (let i = 0; i < response.regions.length; i++) {
      const region = this.#record(response, i);
      if (region !== undefined) this.#options.onRegion(region);
    }
    // Frames of a full sync carry positions; the empty one at its end carries the index to go on from.
    if (response.regions.length === 0) {
      if (response.startIndex === 0) return;
      this.#nextIndex = response.startIndex;
      this.#options.onSynced();
    } else if (this.#nextIndex > 0) {
      this.#nextIndex = response.startIndex + response.regions.length;
    }
  }

  #record(response: pdpb.SyncRegionResponse, i: number): RegionInfo | undefined {
    const region = response.regions[i];
    if (region === undefined || region.id === 0 || region.peers.length === 0) return undefined;
    const meta = metaFromWire(region);
    const leader = response.regionLeaders[i];
    const stat = response.regionStats[i];
    const previous = this.#options.regions.byId(meta.id);
    const peersOf = (list: readonly { readonly peers: readonly pdpb.PeerStats[] }[]) => list[i]?.peers ?? [];
    return {
      meta,
      leader: leader === undefined || leader.id === 0 ? undefined : peerFromWire(leader),
      term: 0,
      downPeers: peersOf(response.downPeers).flatMap(({ peer, downSeconds }) =>
        peer === null ? [] : [{ peer: peerFromWire(peer), downSeconds }],
      ),
      pendingPeers: (response.pendingPeers[i]?.peers ?? []).map(peerFromWire),
      // Not among what is sent.
      sizeMib: previous?.sizeMib ?? EMPTY_REGION_SIZE_MIB,
      keys: previous?.keys ?? 0,
      flow:
        stat === undefined
          ? NO_FLOW
          : {
              ...NO_FLOW,
              writtenBytes: stat.bytesWritten,
              writtenKeys: stat.keysWritten,
              readBytes: stat.bytesRead,
              readKeys: stat.keysRead,
            },
      fromStorage: false,
    };
  }
}
