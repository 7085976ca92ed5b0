/**
 * Finds regions and stores for keys, and learns from region errors. One lookup at PD runs at a time: those that wait
 * look again when it is done, since one answer often serves them all. Where several wait, PD is asked for the regions
 * behind the key as well: a client that knows none of thousands would otherwise ask for them one after the other.
 */
import { compareBytes, type Env, randomBelow, type TimerHandle } from "../base/index.js";
import type { PdClient } from "../pd-client/index.js";
import type { errorpb, kvrpcpb, metapb, RpcNetwork } from "../proto/index.js";
import { type KeyMode, keyModeOf } from "./key-mode.js";
import { type CachedRegion, cachedRegion, contains, RegionCache } from "./region-cache.js";
import { StoreConnection } from "./store-connection.js";

export type Found<T> = (error: Error | undefined, found: T | undefined) => void;

interface Waiter {
  readonly key: Uint8Array;
  readonly before: boolean;
  readonly callback: Found<CachedRegion>;
  /** Only where an older belief would serve if PD says nothing. */
  patience: TimerHandle | undefined;
}

/** So many waiters, and PD is asked for so many regions at once. */
const CROWD_MIN = 4;
const CROWD_REGIONS = 64;

/** How long PD is waited for where an older belief serves. */
const PATIENCE_MS = 500;

/** A store whose connection broke is asked last for so long. */
const BROKEN_MS = 1_000;

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
  /** Stores that could not be reached of late, and when that was. */
  readonly #brokenAtMs = new Map<number, number>();
  #waiters: Waiter[] = [];
  #isLookingUp = false;
  #turn = 0;

  readonly #mode: KeyMode;

  constructor(
    env: Env,
    network: RpcNetwork,
    pd: PdClient,
    connectionCount: number,
    mode: KeyMode = keyModeOf(1),
  ) {
    this.#mode = mode;
    this.#env = env;
    this.#network = network;
    this.#pd = pd;
    this.#connectionCount = connectionCount;
  }

  close(): void {
    for (const connections of this.#connections.values()) for (const each of connections) each.close();
    this.#connections.clear();
  }

  /** What `locate` would find without asking anybody. */
  fresh(key: Uint8Array, before: boolean): CachedRegion | undefined {
    const known = this.#known(key, before);
    return known?.isStale === false ? known : undefined;
  }

  /** The region of the key, or with `before` the one that holds the largest smaller key. */
  locate(key: Uint8Array, before: boolean, callback: Found<CachedRegion>): void {
    const known = this.#known(key, before);
    if (known?.isStale === false) return callback(undefined, known);
    const waiter: Waiter = { key, before, callback, patience: undefined };
    this.#waiters.push(waiter);
    if (known !== undefined) {
      waiter.patience = this.#env.timers.set(PATIENCE_MS, () => this.#despair(waiter, known));
    }
    this.#lookUpNext();
  }

  #known(key: Uint8Array, before: boolean): CachedRegion | undefined {
    return before ? this.cache.findBefore(key) : this.cache.find(key);
  }

  /** PD says nothing: stores elect and serve without it, so what it said before is better than waiting. */
  #despair(waiter: Waiter, stale: CachedRegion): void {
    waiter.patience = undefined;
    // The first is the one under way: it stays in its place, and its answer is taken in when it comes.
    const at = this.#waiters.indexOf(waiter);
    if (at > 0) this.#waiters.splice(at, 1);
    else this.#waiters[0] = { ...waiter, callback: () => undefined };
    waiter.callback(undefined, stale);
  }

  /** What `address` would find without asking anybody. */
  knownAddress(peer: metapb.Peer | undefined): string | undefined {
    return this.#addresses.get(peer?.storeId ?? 0);
  }

  /** The peer believed to lead; when its store is out of reach, another: it hears first who leads instead. */
  peerToAsk(region: CachedRegion): metapb.Peer | undefined {
    const { peers, leader } = region;
    for (let i = 0; i < peers.length; i++) {
      const at = (leader + i) % peers.length;
      if (this.#isBroken(peers[at])) continue;
      region.leader = at;
      break;
    }
    return peers[region.leader];
  }

  #isBroken(peer: metapb.Peer | undefined): boolean {
    if (this.#brokenAtMs.size === 0 || peer === undefined) return false;
    const atMs = this.#brokenAtMs.get(peer.storeId);
    if (atMs === undefined) return false;
    if (this.#env.clock.monotonicMs() - atMs < BROKEN_MS) return true;
    this.#brokenAtMs.delete(peer.storeId);
    return false;
  }

  /** An answer came from the store of that peer. */
  reached(asked: metapb.Peer): void {
    if (this.#brokenAtMs.size > 0) this.#brokenAtMs.delete(asked.storeId);
  }

  /** Address of the store that holds the peer. */
  address(peer: metapb.Peer | undefined, callback: Found<string>): void {
    const storeId = peer?.storeId ?? 0;
    const known = this.knownAddress(peer);
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
  #askAgain(region: CachedRegion): void {
    if (this.#regionsAsked.has(region.id)) return;
    this.#regionsAsked.add(region.id);
    this.#pd.lookupRegion(this.#mode.toBorder(region.startKey), (_error, response) => {
      this.#regionsAsked.delete(region.id);
      if (response?.region != null) this.#insert(this.#cached(response.region, response.leader));
    });
  }

  /** The region of the key is looked up anew. */
  forget(key: Uint8Array): void {
    const region = this.cache.find(key);
    if (region !== undefined) this.cache.doubt(region);
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

  context(region: CachedRegion, peer: metapb.Peer): kvrpcpb.IContext {
    if (region.context?.peer === peer) return region.context;
    const { clusterId } = this.#pd;
    const { apiVersion } = this.#mode;
    region.context = { regionId: region.id, regionEpoch: region.epoch, peer, clusterId, apiVersion };
    return region.context;
  }

  #cached(region: metapb.Region, leader: metapb.IPeer | null | undefined): CachedRegion {
    return cachedRegion(region, leader, (border) => this.#mode.fromBorder(border));
  }

  /** Corrects the belief by what the store of the asked peer said. */
  learn(region: CachedRegion, asked: metapb.Peer, error: errorpb.IError, attempt: number): Advice {
    if (error.notLeader != null)
      return this.#learnLeader(region, asked, error.notLeader.leader ?? undefined, attempt);
    if (error.epochNotMatch != null) {
      const regions = error.epochNotMatch.currentRegions ?? [];
      this.cache.doubt(region);
      for (const current of regions) {
        const full = current as metapb.Region;
        // The same store probably leads the parts as it led the whole.
        this.#insert(
          this.#cached(
            full,
            full.peers.find((peer) => peer.storeId === asked.storeId),
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
    if (error.storeNotMatch != null) this.#addresses.delete(asked.storeId);
    const isStale =
      error.storeNotMatch != null ||
      error.regionNotFound != null ||
      error.keyNotInRegion != null ||
      error.mismatchPeerId != null;
    if (isStale) this.cache.doubt(region);
    return this.#later(attempt);
  }

  /** No answer came from the store of the asked peer: ask the next one; after a whole round, PD too. */
  learnBroken(region: CachedRegion, asked: metapb.Peer | undefined, attempt: number): Advice {
    if (asked !== undefined) {
      this.#askForStore(asked.storeId);
      this.#brokenAtMs.set(asked.storeId, this.#env.clock.monotonicMs());
    }
    this.#turnFrom(region, asked);
    if (attempt % Math.max(1, region.peers.length) === 0) this.#askAgain(region);
    return this.#later(Math.min(attempt, 5));
  }

  #learnLeader(
    region: CachedRegion,
    asked: metapb.Peer,
    leader: { readonly id?: number | null | undefined } | undefined,
    attempt: number,
  ): Advice {
    const at = region.peers.findIndex((peer) => peer.id === leader?.id);
    // Another operation may have heard the same before: what counts is who was asked, not who is asked next.
    if (at >= 0 && leader?.id !== asked.id) {
      if (this.#isBroken(region.peers[at])) {
        // Who was asked does not know yet that its leader is out of reach; the next may know better.
        this.#turnFrom(region, asked);
        return this.#later(Math.min(attempt, 6));
      }
      region.leader = at;
      // However long it took until somebody knew. Two that name each other are not asked without a pause.
      return attempt < 5 ? NOW : this.#later(2);
    }
    // No leader known there: another peer may know better, and an election takes its time.
    this.#turnFrom(region, asked);
    if (leader !== undefined) this.cache.doubt(region);
    else if (attempt % 4 === 3) this.#askAgain(region);
    // Not more often: with a thousand regions without leaders the asking would take the time that electing needs.
    return this.#later(Math.min(attempt, 6));
  }

  /** The next peer is asked, unless another operation has seen to that. */
  #turnFrom(region: CachedRegion, asked: metapb.Peer | undefined): void {
    if (asked !== undefined && region.peers[region.leader]?.id !== asked.id) return;
    region.leader = (region.leader + 1) % Math.max(1, region.peers.length);
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
      const known = this.#known(first.key, first.before);
      if (known === undefined || known.isStale) break;
      this.#waiters.shift();
      this.#answer(first, undefined, known);
    }
    this.#isLookingUp = true;
    const { key, before } = this.#waiters[0] as Waiter;
    const done = (error: Error | undefined, region: CachedRegion | undefined): void => {
      this.#isLookingUp = false;
      const waiter = this.#waiters.shift();
      if (region !== undefined) this.#insert(region);
      if (waiter !== undefined) this.#answer(waiter, error, region ?? this.#known(key, before));
      this.#lookUpNext();
    };
    if (before || this.#waiters.length < CROWD_MIN) this.#askPd(key, before, done);
    else this.#askForMany(key, done);
  }

  #answer(waiter: Waiter, error: Error | undefined, region: CachedRegion | undefined): void {
    if (waiter.patience !== undefined) this.#env.timers.clear(waiter.patience);
    waiter.callback(error, region);
  }

  /** The region of the key, and those behind it: what is known of them and not in doubt is left as it is. */
  #askForMany(key: Uint8Array, done: Found<CachedRegion>): void {
    const start = this.#mode.toBorder(key);
    const end = this.#mode.toBorder(this.#mode.enterEnd(new Uint8Array(0)));
    this.#pd.scanRegions(start, end, CROWD_REGIONS, (_error, response) => {
      let found: CachedRegion | undefined;
      for (const { region, leader } of response?.regions ?? []) {
        if (region == null) continue;
        const cached = this.#cached(region as metapb.Region, leader);
        if (found === undefined && contains(cached, key)) found = cached;
        else if (this.#known(cached.startKey, false)?.isStale !== false) this.#insert(cached);
      }
      if (found === undefined) this.#askPd(key, false, done);
      else done(undefined, found);
    });
  }

  #askPd(key: Uint8Array, before: boolean, done: Found<CachedRegion>): void {
    // PD's previous region of a key is the one before the key's own: asked only where a region begins at the key.
    this.#pd.lookupRegion(this.#mode.toBorder(key), (error, response) => {
      if (error !== undefined || response?.region == null) return done(error, undefined);
      const found = this.#cached(response.region, response.leader);
      const holdsSmaller = key.length > 0 && compareBytes(found.startKey, key) < 0;
      if (!before || holdsSmaller) return done(undefined, found);
      if (key.length === 0) return this.#askLast(done);
      this.#pd.lookupPreviousRegion(this.#mode.toBorder(key), (failed, previous) => {
        if (failed !== undefined || previous?.region == null) return done(failed, undefined);
        done(undefined, this.#cached(previous.region, previous.leader));
      });
    });
  }

  /** The last region: the one of the largest key that anybody may write. */
  #askLast(done: Found<CachedRegion>): void {
    this.#pd.lookupRegion(LAST_KEY, (error, response) => {
      if (error !== undefined || response?.region == null) return done(error, undefined);
      done(undefined, this.#cached(response.region, response.leader));
    });
  }
}

const LAST_KEY = new Uint8Array(64).fill(0xff);
