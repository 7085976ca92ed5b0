/**
 * The leader's side of keeping followers warm: every changed region goes to each follower that opened
 * `SyncRegions`, with its leader and what the leader reports of peers. A follower that asks from an index still in
 * the ring gets the rest, any other gets all regions first. (pd-rules 1.17)
 */
import { randomBelow, type TimerHandle } from "../base/index.js";
import {
  bindMethod,
  type BoundMethod,
  PdService,
  type pdpb,
  RPC_CODE,
  type ServerCall,
} from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { RegionInfo } from "./region-info.js";
import { refusal } from "./rpc-answers.js";
import { downPeerToWire, metaToWire, peerToWire } from "./wire.js";

const BATCH_REGIONS = 1_000;
/** While all of them are sent others must be served too. */
const FULL_BATCH_REGIONS = 250;
const RING_ENTRIES = 10_000;
const LIVE_INTERVAL_MS = 20;
const KEEP_ALIVE_MS = 10_000;
const PENDING_BYTES_SLOW = 4 << 20;
/** A follower that reads nothing loses its stream; it will ask again. */
const PENDING_BYTES_MAX = 64 << 20;
const SLOW_WAIT_MS = 10;

type SyncCall = ServerCall<pdpb.ISyncRegionResponse>;

interface Follower {
  readonly call: SyncCall;
  readonly memberId: bigint;
  /** Index of the next change to send; undefined while the full sync is under way. */
  next: number | undefined;
  lastSentMs: number;
}

export class RegionSyncServer {
  readonly #cluster: Cluster;
  readonly #ring: RegionInfo[] = [];
  /**
   * Index of the ring's first entry. Starts anywhere, so that an index of another leader is not taken for one of
   * ours.
   */
  #first: number;
  readonly #followers = new Set<Follower>();
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#first = 1 + randomBelow(cluster.context.env.random, 2 ** 31) * 2 ** 16;
  }

  /** Followers that have all regions. */
  warmMembers(): bigint[] {
    return [...this.#followers].filter(({ next }) => next !== undefined).map(({ memberId }) => memberId);
  }

  changed(region: RegionInfo): void {
    if (this.#stopped) return;
    this.#ring.push(region);
    if (this.#ring.length > RING_ENTRIES * 2) {
      this.#first += this.#ring.length - RING_ENTRIES;
      this.#ring.splice(0, this.#ring.length - RING_ENTRIES);
    }
    if (this.#followers.size > 0) this.#tickSoon();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#cluster.context.env.timers.clear(this.#timer);
    for (const { call } of this.#followers) call.end({ code: RPC_CODE.unavailable, message: "not leader" });
    this.#followers.clear();
  }

  methods(): BoundMethod[] {
    return [
      bindMethod(PdService.SyncRegions, (call) => {
        let follower: Follower | undefined;
        const leave = (): void => {
          if (follower !== undefined) this.#followers.delete(follower);
        };
        return {
          onMessage: (request) => {
            const refused = refusal(this.#cluster.context, request.header);
            if (refused !== undefined) return call.end(refused.status);
            leave();
            follower = this.#admit(call, request);
          },
          onHalfClose: () => {
            leave();
            call.end();
          },
          onCancel: leave,
        };
      }),
    ];
  }

  /** Of the oldest change that is kept. */
  get firstIndex(): number {
    return this.#first;
  }

  get lastIndex(): number {
    return this.#end;
  }

  get #end(): number {
    return this.#first + this.#ring.length;
  }

  #admit(call: SyncCall, request: pdpb.SyncRegionRequest): Follower {
    const { env } = this.#cluster.context;
    const known = request.startIndex >= this.#first && request.startIndex <= this.#end;
    const follower: Follower = {
      call,
      memberId: request.member?.memberId ?? 0n,
      next: known ? request.startIndex : undefined,
      lastSentMs: env.clock.monotonicMs(),
    };
    env.log.info("a follower syncs regions", { member: request.member?.name, from: known ? "index" : "all" });
    this.#followers.add(follower);
    if (known) this.#send(follower, [], this.#end);
    else
      this.#sendAll(
        follower,
        this.#end,
        this.#cluster.regions.scan(new Uint8Array(0), new Uint8Array(0), 0),
        0,
      );
    this.#tickSoon();
    return follower;
  }

  /** All regions as they were at the beginning, a batch a turn; what changed meanwhile follows from the ring. */
  #sendAll(follower: Follower, startedAt: number, all: readonly RegionInfo[], from: number): void {
    if (this.#stopped || !this.#followers.has(follower)) return;
    const { timers } = this.#cluster.context.env;
    if (from < all.length) {
      const isSlow = follower.call.pendingBytes >= PENDING_BYTES_SLOW;
      const part = isSlow ? [] : all.slice(from, from + FULL_BATCH_REGIONS);
      if (!isSlow) this.#send(follower, part, from);
      const goOn = (): void => this.#sendAll(follower, startedAt, all, from + part.length);
      return isSlow ? void timers.set(SLOW_WAIT_MS, goOn) : timers.nextTurn(goOn);
    }
    follower.next = startedAt;
    // Empty, with an index: the end of the full sync.
    this.#send(follower, [], startedAt);
  }

  #tickSoon(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = this.#cluster.context.env.timers.set(LIVE_INTERVAL_MS, () => {
      this.#timer = undefined;
      this.#tick();
      if (this.#followers.size > 0) this.#tickLater();
    });
  }

  #tickLater(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    const behind = [...this.#followers].some(({ next }) => next !== undefined && next < this.#end);
    if (behind) return this.#tickSoon();
    this.#timer = this.#cluster.context.env.timers.set(KEEP_ALIVE_MS / 10, () => {
      this.#timer = undefined;
      this.#tick();
      if (this.#followers.size > 0) this.#tickLater();
    });
  }

  #tick(): void {
    const nowMs = this.#cluster.nowMs();
    for (const follower of [...this.#followers]) {
      if (follower.call.pendingBytes > PENDING_BYTES_MAX || (follower.next ?? this.#first) < this.#first) {
        this.#followers.delete(follower);
        follower.call.end({
          code: RPC_CODE.deadlineExceeded,
          message: "the follower is too slow: sync again",
        });
      } else if (follower.next !== undefined && follower.next < this.#end) {
        if (follower.call.pendingBytes > PENDING_BYTES_SLOW) continue;
        const at = follower.next - this.#first;
        const part = this.#ring.slice(at, at + BATCH_REGIONS);
        this.#send(follower, part, follower.next);
        follower.next += part.length;
      } else if (nowMs - follower.lastSentMs >= KEEP_ALIVE_MS) this.#send(follower, [], follower.next ?? 0);
    }
  }

  #send(follower: Follower, regions: readonly RegionInfo[], startIndex: number): void {
    follower.lastSentMs = this.#cluster.nowMs();
    follower.call.send({
      header: { clusterId: this.#cluster.context.clusterId },
      startIndex,
      regions: regions.map((region) => metaToWire(region.meta)),
      regionLeaders: regions.map((region) => (region.leader === undefined ? {} : peerToWire(region.leader))),
      regionStats: regions.map(({ flow }) => ({
        bytesWritten: flow.writtenBytes,
        keysWritten: flow.writtenKeys,
        bytesRead: flow.readBytes,
        keysRead: flow.readKeys,
      })),
      buckets: regions.map(() => ({})),
      downPeers: regions.map(({ downPeers }) => ({ peers: downPeers.map(downPeerToWire) })),
      pendingPeers: regions.map(({ pendingPeers }) => ({ peers: pendingPeers.map(peerToWire) })),
    });
  }
}
