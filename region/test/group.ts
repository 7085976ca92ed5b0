/**
 * A region's peers, each with a host, an engine in memory and a turn of its own, joined by a network that loses nothing
 * unless told. Time is manual: `tick` lets one Raft tick pass for all.
 */
import {
  ByteBudget,
  type Engine,
  type Env,
  peerId,
  regionId,
  type StoreId,
  storeId,
} from "../../base/index.js";
import { ManualEnv } from "../../base/test/manual-env.js";
import { MemoryEngine } from "../../engine/memory.js";
import type { Message, Snapshot } from "../../raft/types.js";
import type { AdminCommand } from "../admin.js";
import type { ApplyEffect, CompareAndSwapOutcome } from "../applier.js";
import { DEFAULT_REGION_CONFIG, type RegionConfig } from "../config.js";
import type { RegionError } from "../errors.js";
import { dataKey, regionStateKey } from "../keys.js";
import { encodeRegionState } from "../local-state.js";
import { PeerFigures } from "../figures.js";
import { Peer, type PeerHost, type StagedWork } from "../peer.js";
import { liveValue, rawTrailer } from "../raw-value.js";
import type { Region } from "../region.js";
import { regionOf } from "./fixtures.js";

export interface Answer {
  error: RegionError | undefined;
  swap: CompareAndSwapOutcome | undefined;
}

export class Node implements PeerHost {
  readonly env: Env;
  readonly engine: Engine = new MemoryEngine();
  readonly config: RegionConfig;
  readonly ownStoreId: StoreId;
  readonly budgets = { proposals: new ByteBudget(1 << 30), entryCache: new ByteBudget(1 << 30) };
  readonly figures = new PeerFigures();
  readonly refusals: string[] = [];
  readonly busyForMs = (): number => 200;
  readonly effects: ApplyEffect[] = [];
  readonly outbox: Message[] = [];
  snapshot: Snapshot | undefined;
  siblingRegions: readonly Region[] | undefined;
  peer: Peer;

  constructor(env: Env, store: number, region: Region, config: RegionConfig) {
    this.env = env;
    this.config = config;
    this.ownStoreId = storeId(store);
    const own = region.peers.find((peer) => peer.storeId === store);
    const id = own?.id ?? peerId(region.id * 10 + store);
    if (own !== undefined) {
      const batch = this.engine.batch();
      batch.put("raft", regionStateKey(region.id), encodeRegionState({ state: "normal", region }));
      this.engine.write(batch, { sync: true }, () => {});
    }
    this.peer = new Peer(this, own === undefined ? { ...region, peers: [] } : region, id);
  }

  send(_peer: Peer, message: Message): void {
    this.outbox.push(message);
  }
  refused(reason: string): void {
    this.refusals.push(reason);
  }
  awaken(): void {}
  heardLeader(): void {}
  needed(): void {}
  wake(): void {}
  roleChanged(): void {}
  applied(_peer: Peer, effect: ApplyEffect): void {
    this.effects.push(effect);
  }
  loadSnapshot(_peer: Peer, snapshot: Snapshot): void {
    this.snapshot = snapshot;
  }
  siblings(peer: Peer): readonly Region[] {
    return this.siblingRegions ?? [peer.region];
  }
  mayCreateSplitPeer(): boolean {
    return true;
  }

  /** Stages one batch without writing it. */
  stage(): { work: StagedWork; write: () => void } | undefined {
    const batch = this.engine.batch();
    const work = this.peer.collect(batch);
    if (work === undefined) return undefined;
    const write = (): void => this.engine.write(batch, { sync: true }, () => this.peer.written(work));
    return { work, write };
  }

  /** Runs turns until the peer wants nothing more. */
  turn(): void {
    for (let rounds = 0; rounds < 100; rounds++) {
      const staged = this.stage();
      if (staged === undefined) return;
      staged.write();
    }
    throw new Error("the peer never comes to rest");
  }
}

export class Group {
  readonly env = new ManualEnv();
  readonly region: Region;
  readonly nodes: Node[];
  readonly config: RegionConfig;
  /** Messages for which it returns false are lost. */
  passes: (message: Message) => boolean = () => true;

  constructor(stores = 3, config: Partial<RegionConfig> = {}, more = 0) {
    this.config = { ...DEFAULT_REGION_CONFIG, ...config };
    this.region = regionOf(2, stores);
    this.nodes = Array.from(
      { length: stores + more },
      (_, i) => new Node(this.env, i + 1, this.region, this.config),
    );
  }

  /** Peers are numbered from 1, as their stores. */
  node(number: number): Node {
    return this.nodes[number - 1] as Node;
  }
  peer(number: number): Peer {
    return this.node(number).peer;
  }

  /** Delivers messages until all is quiet. */
  settle(): void {
    for (let rounds = 0; rounds < 1000; rounds++) {
      for (const node of this.nodes) node.turn();
      const messages = this.nodes.flatMap((node) => node.outbox.splice(0));
      if (messages.length === 0) return;
      for (const message of messages) {
        const to = this.nodes.find((node) => node.peer.peerId === message.to);
        if (to !== undefined && this.passes(message)) to.peer.step(message);
      }
    }
    throw new Error("the group never comes to rest");
  }

  tick(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.env.advance(this.config.raftBaseTickMs);
      for (const node of this.nodes) node.peer.tick(this.env.nowMs);
      this.settle();
    }
  }

  /** Makes that peer the leader and lets it commit its first entry. */
  elect(number: number): Peer {
    this.peer(number).campaign();
    this.settle();
    if (!this.peer(number).isLeader) throw new Error(`peer ${number} was not elected`);
    return this.peer(number);
  }

  /** Loses everything from and to that peer. */
  isolate(number: number): void {
    const { peerId: id } = this.peer(number);
    this.passes = (message) => message.from !== id && message.to !== id;
  }
  heal(): void {
    this.passes = () => true;
  }

  put(
    number: number,
    key: string,
    value: string,
    version = this.peer(number).region.epoch.version,
  ): Answer[] {
    const answers: Answer[] = [];
    const bytes = (text: string): Uint8Array => Uint8Array.from(text, (each) => each.charCodeAt(0));
    this.peer(number).write({
      epoch: { confVer: 0, version },
      bytes: key.length + value.length + 40,
      isSwap: false,
      fill: (encoder) => encoder.put("default", bytes(key), bytes(value), rawTrailer(0)),
      done: (error, swap) => answers.push({ error, swap }),
    });
    return answers;
  }

  admin(number: number, command: AdminCommand, epoch = this.peer(number).region.epoch): Answer[] {
    const answers: Answer[] = [];
    this.peer(number).admin(epoch, command, (error, swap) => answers.push({ error, swap }));
    return answers;
  }

  /** What that peer's engine holds. */
  value(number: number, key: string): string | undefined {
    const bytes = Uint8Array.from(key, (each) => each.charCodeAt(0));
    const live = liveValue(this.node(number).engine.get("default", dataKey(bytes)), 0);
    return live === undefined ? undefined : String.fromCharCode(...live);
  }

  /** Queues a read; the list gets "run" or the error's message. */
  read(number: number, isReplicaRead = false): string[] {
    const log: string[] = [];
    this.peer(number).queueRead(
      { run: () => log.push("run"), fail: (error) => log.push(error.message ?? "") },
      isReplicaRead,
    );
    return log;
  }
}

export const newRegionId = regionId(99);
