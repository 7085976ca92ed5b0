/**
 * Finds regions and stores for keys, and learns from region errors. One lookup at PD runs at a time: those that wait
 * look again when it is done, since one answer often serves them all.
 */
import { compareBytes, type Env, misbehaves, randomBelow } from "../base/index.js";
import type { PdClient } from "../pd-client/index.js";
import type { errorpb, kvrpcpb, RpcNetwork } from "../proto/index.js";
import { type CachedRegion, cachedRegion, RegionCache } from "./region-cache.js";
import { StoreConnection } from "./store-connection.js";

export type Found<T> = (error: Error | undefined, found: T | undefined) => void;

interface Waiter {
  readonly key: Uint8Array;
  readonly before: boolean;
  readonly callback: Found<CachedRegion>;
}

/** What to do after a region error. */
export type Advice =
  | { readonly kind: "retry"; readonly delayMs: number }
  | { readonly kind: "refuse"; readonly message: string };

const NOW: Advice = { kind: "retry", delayMs: 0 };

export class RegionRouter {
  readonly cache = new RegionCache();
  readonly #env: Env;
  readonly #network: RpcNetwork;
  readonly #pd: PdClient;
  readonly #connectionCount: number;
  readonly #addresses = new Map<number, string>();
  readonly #connections = new Map<string, StoreConnection[]>();
  /** Stores whose addresses, and regions whose places, PD is asked for in the background. */
  readonly #storesAsked = new Set<number>();
  readonly #regionsAsked = new Set<number>();
  #waiters: Waiter[] = [];
  #isLookingUp = false;
  #turn = 0;

  constructor(env: Env, network: RpcNetwork, pd: PdClient, connectionCount: number) {
    this.#env = env;
    this.#network = network;
    this.#pd = pd;
    this.#connectionCount = connectionCount;
  }

  close(): void {
    for (const connections of this.#connections.values()) for (const each of connections) each.close();
    this.#connections.clear();
  }

  /** The region of the key, or with `before` the one that holds the largest smaller key. */
  locate(key: Uint8Array, before: boolean, callback: Found<CachedRegion>): void {
    const known = before ? this.cache.findBefore(key) : this.cache.find(key);
    if (known !== undefined) return callback(undefined, known);
    this.#waiters.push({ key, before, callback });
    this.#lookUpNext();
  }

  /** Address of the store that holds the peer to ask. */
  address(region: CachedRegion, callback: Found<string>): void {
    const storeId = region.peers[region.leader]?.storeId ?? 0;
    const known = this.#addresses.get(storeId);
    if (known !== undefined) return callback(undefined, known);
    this.#pd.getStore(storeId, (error, store) => {
      if (store !== undefined) this.#addresses.set(storeId, store.address);
      callback(error, store?.address);
    });
  }

  /** Takes in a region, and learns where all of its stores are: PD may be gone when its leader is. */
  #insert(region: CachedRegion): void {
    this.cache.insert(region);
    for (const { storeId } of region.peers) if (!this.#addresses.has(storeId)) this.#askForStore(storeId);
  }

  #askForStore(storeId: number): void {
    if (this.#storesAsked.has(storeId)) return;
    this.#storesAsked.add(storeId);
    this.#pd.getStore(storeId, (_error, store) => {
      this.#storesAsked.delete(storeId);
      if (store !== undefined) this.#addresses.set(storeId, store.address);
    });
  }

  /** What is known of the region is in doubt, and used until PD knows better: PD may be gone as well. */
  #doubt(region: CachedRegion): void {
    if (this.#regionsAsked.has(region.id)) return;
    this.#regionsAsked.add(region.id);
    this.#pd.lookupRegion(region.startKey, (_error, response) => {
      this.#regionsAsked.delete(region.id);
      if (response?.region != null) this.#insert(cachedRegion(response.region, response.leader));
    });
  }

  /** The region of the key is looked up anew. */
  forget(key: Uint8Array): void {
    const region = this.cache.find(key);
    if (region !== undefined) this.cache.remove(region);
  }

  connection(address: string): StoreConnection {
    let connections = this.#connections.get(address);
    if (connections === undefined) {
      connections = Array.from(
        { length: this.#connectionCount },
        (_, lane) => new StoreConnection(this.#env, this.#network, address, lane),
      );
      this.#connections.set(address, connections);
    }
    this.#turn = (this.#turn + 1) % connections.length;
    return connections[this.#turn] as StoreConnection;
  }

  context(region: CachedRegion): kvrpcpb.IContext {
    if (misbehaves(this.#env, "a client asks another peer first", 4)) {
      region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
    }
    const peer = region.peers[region.leader] ?? null;
    return { regionId: region.id, regionEpoch: region.epoch, peer, clusterId: this.#pd.clusterId };
  }

  /** Corrects the belief by what the store said. */
  learn(region: CachedRegion, error: errorpb.IError, attempt: number): Advice {
    if (error.notLeader != null)
      return this.#learnLeader(region, error.notLeader.leader ?? undefined, attempt);
    if (error.epochNotMatch != null) {
      const regions = error.epochNotMatch.currentRegions ?? [];
      this.cache.remove(region);
      const storeId = region.peers[region.leader]?.storeId;
      for (const current of regions) {
        const full = current as Parameters<typeof cachedRegion>[0];
        // The same store probably leads the parts as it led the whole.
        this.#insert(
          cachedRegion(
            full,
            full.peers.find((peer) => peer.storeId === storeId),
          ),
        );
      }
      return regions.length > 0 && attempt < 10 ? NOW : this.#later(attempt);
    }
    if (error.serverIsBusy != null) {
      const hintMs = error.serverIsBusy.backoffMs ?? 0;
      return { kind: "retry", delayMs: Math.max(hintMs, this.#backoffMs(attempt)) };
    }
    if (error.raftEntryTooLarge != null) {
      return {
        kind: "refuse",
        message: `the request is too large for one Raft entry: ${error.message ?? ""}`,
      };
    }
    if (error.diskFull != null) {
      return { kind: "refuse", message: `a disk is full: ${error.diskFull.reason ?? error.message ?? ""}` };
    }
    if (error.storeNotMatch != null) this.#addresses.delete(region.peers[region.leader]?.storeId ?? 0);
    const isStale =
      error.storeNotMatch != null ||
      error.regionNotFound != null ||
      error.keyNotInRegion != null ||
      error.mismatchPeerId != null;
    if (isStale) this.cache.remove(region);
    return this.#later(attempt);
  }

  /** No answer came from the store: ask the next peer; after a whole round, PD too. */
  learnBroken(region: CachedRegion, attempt: number): Advice {
    this.#askForStore(region.peers[region.leader]?.storeId ?? 0);
    region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
    if (attempt % Math.max(1, region.peers.length) === 0) this.#doubt(region);
    return this.#later(Math.min(attempt, 5));
  }

  #learnLeader(
    region: CachedRegion,
    leader: { readonly id?: number | null | undefined } | undefined,
    attempt: number,
  ): Advice {
    const at = region.peers.findIndex((peer) => peer.id === leader?.id);
    if (at >= 0 && at !== region.leader) {
      region.leader = at;
      return attempt < 5 ? NOW : this.#later(attempt);
    }
    // No leader known there: another peer may know better, and an election takes its time.
    region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
    if (leader !== undefined) this.cache.remove(region);
    else if (attempt % 4 === 3) this.#doubt(region);
    return this.#later(Math.min(attempt, 5));
  }

  #later(attempt: number): Advice {
    return { kind: "retry", delayMs: this.#backoffMs(attempt) };
  }

  /** 2, 4, 8 ... 500 ms, each between half and whole. */
  #backoffMs(attempt: number): number {
    const wholeMs = Math.min(2 ** (Math.min(attempt, 10) + 1), 500);
    return wholeMs / 2 + randomBelow(this.#env.random, Math.ceil(wholeMs / 2) + 1);
  }

  #lookUpNext(): void {
    if (this.#isLookingUp) return;
    for (;;) {
      const first = this.#waiters[0];
      if (first === undefined) return;
      const known = first.before ? this.cache.findBefore(first.key) : this.cache.find(first.key);
      if (known === undefined) break;
      this.#waiters.shift();
      first.callback(undefined, known);
    }
    this.#isLookingUp = true;
    const { key, before } = this.#waiters[0] as Waiter;
    const done = (error: Error | undefined, region: CachedRegion | undefined): void => {
      this.#isLookingUp = false;
      const waiter = this.#waiters.shift();
      if (region !== undefined) this.#insert(region);
      waiter?.callback(error, region);
      this.#lookUpNext();
    };
    this.#askPd(key, before, done);
  }

  #askPd(key: Uint8Array, before: boolean, done: Found<CachedRegion>): void {
    // PD's previous region of a key is the one before the key's own: asked only where a region begins at the key.
    this.#pd.lookupRegion(key, (error, response) => {
      if (error !== undefined || response?.region == null) return done(error, undefined);
      const found = cachedRegion(response.region, response.leader);
      const holdsSmaller = key.length > 0 && compareBytes(found.startKey, key) < 0;
      if (!before || holdsSmaller) return done(undefined, found);
      if (key.length === 0) return this.#askLast(done);
      this.#pd.lookupPreviousRegion(key, (failed, previous) => {
        if (failed !== undefined || previous?.region == null) return done(failed, undefined);
        done(undefined, cachedRegion(previous.region, previous.leader));
      });
    });
  }

  /** The last region: the one of the largest key that anybody may write. */
  #askLast(done: Found<CachedRegion>): void {
    this.#pd.lookupRegion(LAST_KEY, (error, response) => {
      if (error !== undefined || response?.region == null) return done(error, undefined);
      done(undefined, cachedRegion(response.region, response.leader));
    });
  }
}

const LAST_KEY = new Uint8Array(64).fill(0xff);
