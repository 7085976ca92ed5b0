/**
 * A script: what a stage can do to regions and data, in the words of a scenario. Methods that begin with `must` or that
 * await an effect fail when it does not come; those that begin with `try` give the refusal back.
 */
import { fromUtf8, logIndex, peerId, regionId, utf8 } from "../../base/index.js";
import type { Engine, KeySpace } from "../../base/engine.js";
import { type kvrpcpb, pdpb } from "../../proto/index.js";
import type { AdminCommand, PeerChange } from "../../region/admin.js";
import type { RegionError } from "../../region/errors.js";
import { dataKey, readU64 } from "../../region/keys.js";
import { type PeerState, readApplyState, readRegionState } from "../../region/local-state.js";
import type { Peer } from "../../region/peer.js";
import { liveValue } from "../../region/raw-value.js";
import { containsKey, epochToProto, type PeerRole, type Region } from "../../region/region.js";
import type { RawClient } from "../../client/index.js";
import type { RawCommands } from "../../store/raw-commands.js";
import { disksDiffer, unrest } from "../checkers/quiescence.js";
import type { Drain } from "../world.js";
import { type ScriptOptions, Stage } from "./stage.js";

/** An answer that comes later, or never. */
export class Pending<T> {
  answer: T | undefined;

  get isDone(): boolean {
    return this.answer !== undefined;
  }
  settle(answer: T): void {
    this.answer = answer;
  }
}

export type RawName = "get" | "batchGet" | "put" | "batchPut" | "delete" | "compareAndSwap" | "scan";
type RawRequest<N extends RawName> = Parameters<RawCommands[N]>[0];
type RawResponse<N extends RawName> = Parameters<Parameters<RawCommands[N]>[1]>[0];

/** An answer to a read in a word: its value, "(none)", "error", or "no answer" yet. */
export function textOf(answer: kvrpcpb.IRawGetResponse | undefined): string {
  if (answer === undefined) return "no answer";
  if (answer.regionError != null) return "error";
  return answer.notFound === true ? "(none)" : fromUtf8(answer.value ?? new Uint8Array(0));
}

/** What became of a proposal: without an error it was applied by the leader. */
export interface Outcome {
  readonly error: RegionError | undefined;
}
/** Kinds of change and the numbers of the stores they are of. */
export type Changes = readonly (readonly [PeerChange["kind"], number])[];

const VOTELESS_MS = 1_000;
/** Ids that scripts give away themselves; PD's stay far below. */
const FIRST_SCRIPT_ID = 5_001;

export class Script extends Stage {
  /** The region of bootstrap. */
  first = 0;
  #nextId = FIRST_SCRIPT_ID;

  static async start(options: ScriptOptions, drain: Drain): Promise<Script> {
    const script = new Script(options, drain);
    await script.open();
    return script;
  }

  override async open(): Promise<void> {
    await super.open();
    const [peer] = this.running(1).peers.all();
    this.first = peer?.regionId ?? 0;
    const replicas = this.options.replicas ?? Math.min(3, this.options.stores ?? 3);
    for (let number = 2; number <= replicas; number++) await this.addVoter(number);
    // A store that has just started gives no votes for an election timeout.
    await this.pass(VOTELESS_MS);
  }

  newId(): number {
    return this.#nextId++;
  }

  // ---- regions and peers

  /** The store's peer of the region, or undefined. */
  peer(store: number, region = this.first): Peer | undefined {
    return this.at(store).store?.peers.get(region);
  }

  mustPeer(store: number, region = this.first): Peer {
    const peer = this.peer(store, region);
    if (peer === undefined) throw new Error(`store ${store} has no peer of region ${region}`);
    return peer;
  }

  /** The number of the store whose peer leads the region in the highest term; 0 when none. */
  leader(region = this.first): number {
    let found = 0;
    let term = 0;
    for (const [i, { store, node }] of this.cluster.stores.entries()) {
      const peer = node.isUp ? store?.peers.get(region) : undefined;
      if (peer?.isLeader !== true || peer.term < term) continue;
      found = i + 1;
      term = peer.term;
    }
    return found;
  }

  async mustLeader(region = this.first): Promise<number> {
    await this.until(`region ${region} has a leader`, () => this.leader(region) > 0);
    return this.leader(region);
  }

  leaderPeer(region = this.first): Peer {
    return this.mustPeer(this.leader(region), region);
  }

  /** The region as its leader knows it. */
  region(id = this.first): Region {
    return this.leaderPeer(id).region;
  }

  /** The region that a leader holds the key in. */
  regionOf(key: string): number {
    for (const { store } of this.cluster.stores) {
      for (const peer of store?.peers.all() ?? []) {
        if (peer.isLeader && containsKey(peer.region, utf8(key))) return peer.regionId;
      }
    }
    throw new Error(`no leader holds ${key}`);
  }

  /** Ids of the store's regions, in key order. */
  regionsOn(store: number): number[] {
    const peers = [...(this.at(store).store?.peers.all() ?? [])].filter((peer) => peer.isInitialized);
    const start = (peer: Peer): string => fromUtf8(peer.region.startKey);
    return peers.sort((a, b) => (start(a) < start(b) ? -1 : 1)).map((peer) => peer.regionId);
  }

  /** Peers by store: { 1: "voter", ... }, as the leader knows them. */
  roles(region = this.first): Record<number, PeerRole> {
    const roles: Record<number, PeerRole> = {};
    for (const { storeId, role } of this.region(region).peers) {
      roles[this.cluster.stores.findIndex((_, i) => this.storeId(i + 1) === storeId) + 1] = role;
    }
    return roles;
  }

  /** The state of the region on the store's disk. */
  stateOn(store: number, region = this.first): PeerState | undefined {
    return readRegionState(this.at(store).disk.memory as Engine, region)?.state;
  }
  regionStateOn(store: number, region = this.first): Region | undefined {
    return readRegionState(this.at(store).disk.memory as Engine, region)?.region;
  }
  truncatedOn(store: number, region = this.first): number {
    const { memory } = this.at(store).disk;
    return readApplyState(memory as Engine, this.mustPeer(store, region).region).truncatedIndex;
  }

  async transferLeader(to: number, region = this.first): Promise<void> {
    await this.mustLeader(region);
    if (this.leader(region) !== to) {
      const refused = this.tryTransferLeader(to, region);
      if (refused !== undefined) throw new Error(`transfer to store ${to}: ${refused}`);
    }
    await this.mustLead(to, region);
  }

  /** Why the leader refuses; undefined when it has begun. */
  tryTransferLeader(to: number, region = this.first): string | undefined {
    const id = this.peer(to, region)?.peerId ?? peerId(this.newId());
    return this.leaderPeer(region).transferLeader(id);
  }

  /** The store's peer leads and has applied an entry of its term. */
  async mustLead(store: number, region = this.first): Promise<void> {
    await this.until(`store ${store} leads region ${region}`, () => {
      const peer = this.peer(store, region);
      return peer?.isLeader && peer.storage.applyState.appliedTerm === peer.term;
    });
  }

  // ---- changes of peers

  change(kind: PeerChange["kind"], store: number, region = this.first): PeerChange {
    const id = this.storeId(store);
    const here = this.region(region).peers.find(({ storeId }) => storeId === id);
    const role = kind === "addLearner" ? "learner" : "voter";
    return { kind, peer: { id: here?.id ?? peerId(this.newId()), storeId: id as never, role } };
  }

  /** Proposes an administrative command to the leader; answered when it was applied there, or refused. */
  sendAdmin(command: AdminCommand, region = this.first): Pending<Outcome> {
    const peer = this.leaderPeer(region);
    const pending = new Pending<Outcome>();
    peer.admin(peer.region.epoch, command, (error) => {
      pending.settle({ error });
    });
    return pending;
  }
  sendChange(changes: Changes, region = this.first): Pending<Outcome> {
    const all = changes.map(([kind, store]) => this.change(kind, store, region));
    return this.sendAdmin({ kind: "changePeer", changes: all }, region);
  }

  async tryAdmin(command: AdminCommand, region = this.first): Promise<RegionError | undefined> {
    return (await this.answerTo(this.sendAdmin(command, region))).error;
  }
  async tryChange(changes: Changes, region = this.first): Promise<RegionError | undefined> {
    return (await this.answerTo(this.sendChange(changes, region))).error;
  }

  async mustChange(changes: Changes, region = this.first): Promise<void> {
    const error = await this.tryChange(changes, region);
    if (error !== undefined) throw new Error(`change refused: ${error.message}`);
  }

  async leaveJoint(region = this.first): Promise<void> {
    await this.mustChange([], region);
  }

  /** Returns when the new peer has caught up. */
  async addVoter(store: number, region = this.first): Promise<void> {
    await this.mustChange([["addVoter", store]], region);
    await this.caughtUp(store, region);
  }
  async addLearner(store: number, region = this.first): Promise<void> {
    await this.mustChange([["addLearner", store]], region);
    await this.caughtUp(store, region);
  }
  /** Returns when the peer is gone from its store. */
  async removePeer(store: number, region = this.first): Promise<void> {
    await this.mustChange([["remove", store]], region);
    await this.gone(store, region);
  }

  async gone(store: number, region = this.first): Promise<void> {
    await this.until(
      `region ${region} is gone from store ${store}`,
      () => this.peer(store, region) === undefined && this.stateOn(store, region) !== "normal",
    );
  }

  async caughtUp(store: number, region = this.first): Promise<void> {
    await this.until(`store ${store} has caught up with region ${region}`, () => {
      const leader = this.leader(region);
      const peer = this.peer(store, region);
      if (leader === 0 || peer === undefined || !peer.isInitialized || peer.isApplyingSnapshot) return false;
      const { appliedIndex } = this.mustPeer(leader, region);
      return peer.appliedIndex >= appliedIndex && this.match(store, region) >= appliedIndex;
    });
  }

  /** The last index that the leader knows to be on the store; 0 when it knows of no such peer. */
  match(store: number, region = this.first): number {
    const id = this.mustPeer(store, region).peerId;
    if (this.leader(region) === store) return this.mustPeer(store, region).storage.lastIndex();
    let found = 0;
    this.leaderPeer(region).node.withProgress((of, progress) => {
      if (of === id) found = progress.match;
    });
    return found;
  }

  /** The leader's log is cut up to what it has applied: who lags needs a snapshot. */
  async compactLog(region = this.first): Promise<void> {
    const peer = this.leaderPeer(region);
    const index = logIndex(peer.appliedIndex);
    const { appliedTerm } = peer.storage.applyState;
    const error = await this.tryAdmin({ kind: "compactLog", index, term: appliedTerm }, region);
    if (error !== undefined) throw new Error(`log not cut: ${error.message}`);
  }

  // ---- splits

  /** Splits at the keys through the store's coordinator, as a client asks for it. */
  sendSplit(keys: readonly string[], region = this.first): Pending<Outcome> {
    const store = this.running(this.leader(region));
    const peer = this.leaderPeer(region);
    const pending = new Pending<Outcome>();
    store.splits.splitAt(peer, peer.region.epoch, keys.map(utf8), (error) => {
      pending.settle({ error });
    });
    return pending;
  }
  async trySplit(keys: readonly string[], region = this.first): Promise<RegionError | undefined> {
    return (await this.answerTo(this.sendSplit(keys, region))).error;
  }

  /** Splits at the key, and returns the new region's id when it has a leader. */
  async split(key: string, region = this.first): Promise<number> {
    const before = new Set(this.regionsOn(this.leader(region)));
    const error = await this.trySplit([key], region);
    if (error !== undefined) throw new Error(`split refused: ${error.message}`);
    const born = this.regionsOn(this.leader(region)).find((id) => !before.has(id)) ?? 0;
    await this.until(`region ${born} has a leader`, () => this.leader(born) > 0);
    await this.mustLead(this.leader(born), born);
    return born;
  }

  /** A split command with ids that the script chooses; also with `rightDerive: false`. */
  splitCommand(key: string, region = this.first, rightDerive = true): AdminCommand & { kind: "split" } {
    const newPeerIds = this.region(region).peers.map(() => peerId(this.newId()));
    const newRegionId = regionId(this.newId());
    return { kind: "split", splits: [{ splitKey: utf8(key), newRegionId, newPeerIds }], rightDerive };
  }

  // ---- data

  client(number = 1): RawClient {
    const found = this.cluster.clients[number - 1];
    if (found === undefined) throw new Error(`there is no client ${number}`);
    return found.client;
  }

  async put(key: string, value: string): Promise<void> {
    await this.settled(this.client().put(utf8(key), utf8(value)));
  }
  async delete(key: string): Promise<void> {
    await this.settled(this.client().delete(utf8(key)));
  }
  async get(key: string): Promise<string | undefined> {
    const value = await this.settled(this.client().get(utf8(key)));
    return value === undefined ? undefined : fromUtf8(value);
  }
  /** `prefix`0 to `prefix`(n-1), each with its number or the value. */
  async putMany(prefix: string, count: number, value?: string): Promise<void> {
    for (let i = 0; i < count; i++) await this.put(`${prefix}${i}`, value ?? String(i));
  }

  /** A context for which the store's peer would serve the region. */
  context(store: number, region = this.first): kvrpcpb.IContext {
    const peer = this.mustPeer(store, region);
    return {
      regionId: region,
      regionEpoch: epochToProto(peer.region.epoch),
      peer: { id: peer.peerId, storeId: this.storeId(store) },
    };
  }

  /** A raw command to one store, answered later; `context` changes what is said of the region. */
  send<N extends RawName>(
    store: number,
    name: N,
    request: RawRequest<N>,
    context: kvrpcpb.IContext = {},
    region = this.first,
  ): Pending<RawResponse<N>> {
    const pending = new Pending<RawResponse<N>>();
    const full = { ...request, context: { ...this.context(store, region), ...context } };
    const { node, store: running } = this.at(store);
    node.after(0, "command", () => {
      const reply = (response: RawResponse<N>): void => {
        pending.settle(response);
      };
      running?.raw[name](full as never, reply as never);
    });
    return pending;
  }

  sendPut(store: number, key: string, value: string, region?: number): Pending<RawResponse<"put">> {
    return this.send(store, "put", { key: utf8(key), value: utf8(value) }, {}, region);
  }
  sendGet(
    store: number,
    key: string,
    context: kvrpcpb.IContext = {},
    region?: number,
  ): Pending<RawResponse<"get">> {
    return this.send(store, "get", { key: utf8(key) }, context, region);
  }

  async answerTo<T>(pending: Pending<T>, withinMs = 10_000): Promise<T> {
    await this.until("a command is answered", () => pending.isDone, withinMs);
    return pending.answer as T;
  }

  /** What the store answers to a read: the value, "(none)", or the region error's message. */
  async readOn(store: number, key: string, context: kvrpcpb.IContext = {}, region?: number): Promise<string> {
    const answer = await this.answerTo(this.sendGet(store, key, context, region));
    if (answer.regionError != null) return `error: ${answer.regionError.message}`;
    return answer.notFound ? "(none)" : fromUtf8(answer.value ?? new Uint8Array(0));
  }

  /** What the store's disk holds, applied or half applied. */
  valueOn(store: number, key: string): string | undefined {
    const stored = this.at(store).disk.memory.get("default", dataKey(utf8(key)));
    const value = liveValue(stored, 0);
    return value === undefined ? undefined : fromUtf8(value);
  }

  /** Keys of a key space on the store's disk. */
  keysOn(store: number, space: KeySpace): Uint8Array[] {
    let keys: Uint8Array[] = [];
    const all = { start: Uint8Array.of(0), end: undefined, keysOnly: true, limit: 1 << 30 };
    this.at(store).disk.memory.scan(space, all, (_error, { rows }) => {
      keys = rows.map(({ key }) => key);
    });
    return keys;
  }

  /** Chunks of snapshots on the store's disk. */
  chunksOn(store: number): number {
    return this.keysOn(store, "snap").length;
  }

  /** Indexes of the region's log on the store's disk. */
  logOn(store: number, region = this.first): number[] {
    const isLog = (key: Uint8Array): boolean =>
      key.length === 19 && key[1] === 2 && readU64(key, 2) === region && key[10] === 1;
    return this.keysOn(store, "raft")
      .filter(isLog)
      .map((key) => readU64(key, 11));
  }

  async mustHave(store: number, key: string, value: string): Promise<void> {
    await this.until(`store ${store} holds ${key}=${value}`, () => this.valueOn(store, key) === value);
  }
  async mustLack(store: number, key: string): Promise<void> {
    await this.until(`store ${store} holds no ${key}`, () => this.valueOn(store, key) === undefined);
  }

  // ---- PD

  get pd(): NonNullable<Stage["cluster"]["pd"]["pd"]> {
    const { pd } = this.cluster.pd;
    if (pd === undefined) throw new Error("PD does not run");
    return pd;
  }

  /** `POST /pd/api/v1/operators`: the status and the text of the answer. */
  operator(name: string, fields: object, region = this.first): Promise<{ status: number; text: string }> {
    const pending = new Pending<{ status: number; text: string }>();
    const body = utf8(JSON.stringify({ name, region_id: region, ...fields }));
    const request = { method: "POST", path: "/pd/api/v1/operators", query: {}, headers: {}, body };
    this.pd.handleHttp(request, (status, _type, answer) => {
      pending.settle({ status, text: answer });
    });
    return this.answerTo(pending);
  }

  async mustOperator(name: string, fields: object, region = this.first): Promise<void> {
    const { status, text } = await this.operator(name, fields, region);
    if (status !== 200) throw new Error(`operator ${name}: ${status} ${text}`);
  }

  /** Reports of region leaders to PD, from now on. */
  watchHeartbeats(): pdpb.RegionHeartbeatRequest[] {
    return this.#watch("/RegionHeartbeat", (bytes) => pdpb.RegionHeartbeatRequest.decode(bytes));
  }
  /** Statistics of stores to PD, from now on. */
  watchStoreHeartbeats(): pdpb.StoreHeartbeatRequest[] {
    return this.#watch("/StoreHeartbeat", (bytes) => pdpb.StoreHeartbeatRequest.decode(bytes));
  }

  #watch<T>(path: string, decode: (bytes: Uint8Array) => T): T[] {
    const seen: T[] = [];
    const { network } = this.cluster;
    const next = network.observer;
    network.observer = (frame) => {
      next?.(frame);
      if (frame.path.endsWith(path)) seen.push(decode(frame.bytes));
    };
    return seen;
  }

  // ---- the end

  /** Healed, the cluster comes to rest: every region led, with that many equal replicas, and nothing left over. */
  async mustSettle(replicas = this.options.replicas ?? 3, withinMs = 20_000): Promise<void> {
    this.heal();
    this.behave();
    let why: string | undefined = "not looked at yet";
    const look = (): boolean => {
      why = unrest(this.cluster, replicas);
      return why === undefined;
    };
    for (let waited = 0; waited < withinMs && !look(); waited += 100) await this.pass(100);
    if (why !== undefined) throw new Error(`not at rest: ${why}\n${this.lastLines()}`);
    const differ = disksDiffer(this.cluster);
    if (differ !== undefined) throw new Error(differ);
  }
}
