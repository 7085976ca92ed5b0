/**
 * Stores of the real class over engines in memory, an in-process network and a PD that only keeps a table; time is
 * manual. For what a store decides: contexts, routing, splits, snapshots, recovery.
 */
import { InProcessNetwork } from "../../adapters/in-process-network.js";
import { clusterId, type Engine, storeId, utf8 } from "../../base/index.js";
import { ManualEnv } from "../../base/test/manual-env.js";
import { MemoryEngine } from "../../engine/memory.js";
import type { kvrpcpb, metapb, pdpb } from "../../proto/index.js";
import { raft_serverpb } from "../../proto/index.js";
import { regionStateKey, STORE_IDENT_KEY } from "../../region/keys.js";
import { encodeRegionState } from "../../region/local-state.js";
import type { Peer } from "../../region/peer.js";
import { type Region, regionToProto } from "../../region/region.js";
import { peerOf, regionOf } from "../../region/test/fixtures.js";
import { Links, Pause } from "./faults.js";
import { SlowEngine } from "./slow-engine.js";
import { DEFAULT_STORE_CONFIG, Store, type StoreConfig } from "../index.js";
import type { PdPort } from "../pd-port.js";
import type { RawCommands } from "../raw-commands.js";

export const CLUSTER = 77n;
export const addressOf = (id: number): string => `store-${id}:20160`;

/** PD as a table. What a test wants to refuse it replaces. */
export class TablePd implements PdPort {
  readonly clusterId = CLUSTER;
  nextId = 1000;
  bootstrapped = true;
  readonly stores = new Map<number, metapb.IStore>();
  firstRegion: metapb.IRegion | null = null;
  readonly heartbeats: pdpb.IRegionHeartbeatRequest[] = [];
  /** Answers of AskBatchSplit wait for this when it is set. */
  holdSplit: ((answer: () => void) => void) | undefined;
  refuseSplit: Error | undefined;
  /** PD does not answer at all. */
  isAway = false;

  allocId: PdPort["allocId"] = (callback) => this.#answer(callback, () => this.nextId++);
  isBootstrapped: PdPort["isBootstrapped"] = (callback) => this.#answer(callback, () => this.bootstrapped);
  bootstrap: PdPort["bootstrap"] = (_store, region, callback) =>
    this.#answer(callback, () => {
      if (this.bootstrapped) return "alreadyBootstrapped";
      this.bootstrapped = true;
      this.firstRegion = region;
      return "bootstrapped";
    });
  putStore: PdPort["putStore"] = (store, callback) =>
    this.#answer(callback, () => void this.stores.set(store.id ?? 0, store));
  getStore: PdPort["getStore"] = (id, callback) =>
    this.#answer(callback, () => this.stores.get(id) ?? { id, address: addressOf(id) });
  getRegion: PdPort["getRegion"] = (_key, callback) => this.#answer(callback, () => this.firstRegion);
  getRegionById: PdPort["getRegionById"] = (_id, callback) => this.#answer(callback, () => null);
  askBatchSplit: PdPort["askBatchSplit"] = (region, count, callback) => {
    const answer = (): void => {
      if (this.refuseSplit !== undefined) return callback(this.refuseSplit, undefined);
      const ids = Array.from({ length: count }, () => ({
        newRegionId: this.nextId++,
        newPeerIds: (region.peers ?? []).map(() => this.nextId++),
      }));
      callback(undefined, ids as pdpb.ISplitID[]);
    };
    if (this.holdSplit !== undefined) this.holdSplit(answer);
    else answer();
  };
  reportBatchSplit: PdPort["reportBatchSplit"] = (_regions, callback) => this.#answer(callback, () => {});
  storeHeartbeat: PdPort["storeHeartbeat"] = (_stats, callback) => this.#answer(callback, () => ({}));
  openRegionHeartbeat: PdPort["openRegionHeartbeat"] = () => ({
    send: (request) => void this.heartbeats.push(request),
    close() {},
  });

  #answer<T>(callback: (error: Error | undefined, result: T | undefined) => void, result: () => T): void {
    if (this.isAway) callback(new Error("PD is away"), undefined);
    else callback(undefined, result());
  }
}

const DISK = { capacity: 1_000, used: 0 };

export interface Member {
  readonly id: number;
  readonly engine: Engine;
  store: Store;
  disconnect: () => void;
  fatal: Error | undefined;
  /** Of a disk of 1,000 bytes; undefined when nobody knows. */
  availableBytes?: number;
  pause: Pause;
}

export class Stores {
  /** How many milliseconds later engines write; 0 = at once. */
  static writeDelayMs = 0;
  readonly env = new ManualEnv();
  readonly network = new InProcessNetwork(this.env);
  readonly links = new Links(this.env);
  readonly pd = new TablePd();
  readonly config: StoreConfig;
  readonly members: Member[] = [];

  constructor(config: Partial<StoreConfig> = {}) {
    this.config = { ...DEFAULT_STORE_CONFIG, ...config };
  }

  /** Starts `count` stores; region 2 has its peers 21, 22, ... on the first `replicas` of them. Store 1 leads it. */
  static led(count = 1, config: Partial<StoreConfig> = {}, replicas = count, region?: Region): Stores {
    const stores = new Stores(config);
    const first = region ?? regionOf(2, replicas);
    for (let id = 1; id <= count; id++) {
      const here = first.peers.some((peer) => peer.storeId === id) ? [first] : [];
      stores.add(id, here);
    }
    // Votes are refused for an election timeout after a start.
    for (let tries = 0; replicas > 1 && tries < 100 && !stores.peer(1).isLeader; tries++) {
      stores.pass(100);
      // Whoever won by chance hands over.
      const other = first.peers.find(({ storeId }) => stores.peer(storeId).isLeader)?.storeId;
      if (other === undefined) stores.peer(1).campaign();
      else stores.peer(other).transferLeader(stores.peer(1).peerId);
    }
    stores.pass(500);
    return stores;
  }

  newEngine(): Engine {
    return Stores.writeDelayMs === 0 ? new MemoryEngine() : new SlowEngine(this.env, Stores.writeDelayMs);
  }

  add(id: number, regions: readonly Region[], engine: Engine = this.newEngine()): Member {
    const batch = engine.batch();
    const ident = { clusterId: clusterId(CLUSTER), storeId: storeId(id) };
    batch.put("raft", STORE_IDENT_KEY, raft_serverpb.StoreIdent.encode(ident).finish());
    for (const region of regions) {
      batch.put("raft", regionStateKey(region.id), encodeRegionState({ state: "normal", region }));
    }
    engine.write(batch, { sync: true }, () => {});
    this.pass(10);
    return this.start(id, engine);
  }

  /** Starts a store on what its engine holds. */
  start(id: number, engine: Engine): Member {
    const member = { id, engine, fatal: undefined } as unknown as Member;
    const pause = new Pause();
    member.pause = pause;
    if (engine instanceof SlowEngine) engine.gate = (run) => pause.run(run);
    member.store = new Store(
      pause.env(this.env),
      {
        advertiseAddress: addressOf(id),
        statusAddress: "",
        version: "8.5.0",
        gitHash: "",
        labels: [],
        config: this.config,
      },
      {
        engine,
        capacity: () =>
          member.availableBytes === undefined ? undefined : { ...DISK, available: member.availableBytes },
        network: this.links.network(this.network, addressOf(id)),
        pd: this.pd,
        onFatal: (error) => {
          member.fatal = error;
        },
      },
    );
    member.disconnect = this.network.listen(addressOf(id), pause.methods(member.store.methods()));
    let failed: Error | undefined;
    member.store.start((error) => {
      failed = error;
    });
    this.pass(50);
    if (failed !== undefined) throw failed;
    const at = this.members.findIndex((other) => other.id === id);
    if (at < 0) this.members.push(member);
    else this.members[at] = member;
    return member;
  }

  /** As `kill -9`: nothing is told to anybody, the engine keeps what was written. */
  crash(id: number): void {
    const member = this.member(id);
    member.disconnect();
    member.store.turn.stop();
    member.store.stop(() => {});
    if (member.engine instanceof SlowEngine) member.engine.crash();
  }
  restart(id: number): Member {
    this.crash(id);
    return this.start(id, this.member(id).engine);
  }

  member(id: number): Member {
    const member = this.members.find((each) => each.id === id);
    if (member === undefined) throw new Error(`no store ${id}`);
    return member;
  }
  store(id = 1): Store {
    return this.member(id).store;
  }
  peer(id = 1, region = 2): Peer {
    const peer = this.store(id).peers.get(region);
    if (peer === undefined) throw new Error(`no peer of region ${region} on store ${id}`);
    return peer;
  }

  /** Lets time pass in steps of a tick. */
  pass(ms: number): void {
    for (let rest = ms; rest > 0; rest -= 10) this.env.advance(Math.min(rest, 10));
  }

  /** A context with which the leader's store serves the region. */
  context(id = 1, region = 2): kvrpcpb.IContext {
    const peer = this.peer(id, region);
    return {
      regionId: region,
      regionEpoch: { confVer: peer.region.epoch.confVer, version: peer.region.epoch.version },
      peer: { id: peer.peerId, storeId: id },
    };
  }

  /** Waits for the answer that `call` gives. */
  wait<R>(call: (reply: (response: R) => void) => void): R {
    let answer: R | undefined;
    call((response) => {
      answer = response;
    });
    for (let waited = 0; answer === undefined && waited < 5000; waited += 10) this.pass(10);
    if (answer === undefined) throw new Error("no answer");
    return answer;
  }

  /** A raw command to the region's peer on store `id`, with the right context unless the request has one. */
  raw<N extends RawName>(name: N, request: RawRequest<N>, id = 1, region = 2): RawResponse<N> {
    const { raw } = this.store(id);
    const full = { ...request, context: request.context ?? this.context(id, region) };
    return this.wait((reply) => raw[name](full as never, reply as never));
  }

  put(key: string, value: string, more: Partial<kvrpcpb.IRawPutRequest> = {}): kvrpcpb.IRawPutResponse {
    return this.raw("put", { key: utf8(key), value: utf8(value), ...more });
  }
  get(key: string, id = 1, region = 2): string | undefined {
    const answer = this.raw("get", { key: utf8(key) }, id, region);
    if (answer.regionError != null) throw new Error(answer.regionError.message ?? "region error");
    return answer.value == null ? undefined : String.fromCharCode(...answer.value);
  }
}

type RawName =
  | "get"
  | "batchGet"
  | "keyTtl"
  | "put"
  | "batchPut"
  | "delete"
  | "batchDelete"
  | "deleteRange"
  | "compareAndSwap"
  | "scan"
  | "batchScan";
type RawRequest<N extends RawName> = Parameters<RawCommands[N]>[0];
type RawResponse<N extends RawName> = Parameters<Parameters<RawCommands[N]>[1]>[0];

export { peerOf, regionOf, regionToProto };
