/**
 * Thousands of quiet regions on three stores, one of which stands still or dies: what is awake and what is sent must be
 * bounded by what a loop can do and not by the number of regions. Peers are stand-ins here that only count.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { ManualEnv } from "../base/test/manual-env.js";
import type { raft_serverpb } from "../proto/index.js";
import type { Peer } from "../region/peer.js";
import type { PeerMeta, Region } from "../region/region.js";
import { DEFAULT_STORE_CONFIG } from "./config.js";
import { QuietRegions } from "./quiet-regions.js";

const REGIONS = 20_000;
/** Still more than may be begun in a tick. */
const FEWER = 3_000;
const STORES = [1, 2, 3];
const TICK_MS = 100;
const HEARTBEAT = -1;

class StubPeer {
  isQuiet = false;
  isRemoved = false;
  isAtRest = true;
  idleTicks = 100;
  term = 6;
  appliedIndex = 10;
  ticks = 0;
  lacksFor = new Set<number>();
  readonly node = { electAfter() {}, askAgainAfter() {}, standAgainAfter() {} };

  readonly regionId: number;
  readonly peerId: number;
  readonly region: Region;
  leaderId: number;
  readonly #onPing: (peer: StubPeer) => void;

  constructor(region: Region, peerId: number, leaderId: number, onPing: (peer: StubPeer) => void) {
    this.regionId = region.id;
    this.peerId = peerId;
    this.region = region;
    this.leaderId = leaderId;
    this.#onPing = onPing;
  }

  get isLeader(): boolean {
    return this.leaderId === this.peerId;
  }
  get leader(): PeerMeta | undefined {
    return this.region.peers.find(({ id }) => id === this.leaderId);
  }
  get meta(): PeerMeta | undefined {
    return this.region.peers.find(({ id }) => id === this.peerId);
  }
  tick(): void {
    this.ticks++;
    this.idleTicks++;
    if (this.isLeader && this.ticks % 2 === 0) this.ping();
  }
  ping(): void {
    this.#onPing(this);
  }
  holdsAll(id: number): boolean {
    return !this.lacksFor.has(id);
  }
  fallQuiet(): void {
    this.isQuiet = true;
  }
  silentMs(): undefined {}
  resumeLeading(): void {}
  missTicks(): void {}
  missLeader(): void {}
  awaitSuccessor(): void {}
  awaitNobody(): void {}
}

interface Host {
  quiet: QuietRegions;
  readonly peers: Map<number, StubPeer>;
  inbox: raft_serverpb.IRaftMessage[];
  isPaused: boolean;
  isDead: boolean;
  reports: number;
}

/** Three stores, each of which leads a third of the regions. */
class World {
  readonly env = new ManualEnv();
  readonly hosts = new Map<number, Host>();
  messages = 0;
  awakeMost = 0;
  #ticks = 0;

  constructor(regions: number) {
    for (const id of STORES) {
      const peers = new Map<number, StubPeer>();
      const host = { peers, inbox: [], isPaused: false, isDead: false, reports: 0 } as unknown as Host;
      host.quiet = this.#makeQuiet(id, host);
      this.hosts.set(id, host);
    }
    for (let regionId = 1; regionId <= regions; regionId++) {
      const metas = STORES.map((storeId) => ({ id: regionId * 10 + storeId, storeId, role: "voter" }));
      const region = { id: regionId, epoch: { confVer: 1, version: 1 }, peers: metas } as unknown as Region;
      for (const meta of metas) {
        const host = this.host(meta.storeId);
        const leaderId = metas[regionId % 3]?.id as number;
        const peer = new StubPeer(region, meta.id, leaderId, (each) => this.#heartbeat(each));
        host.peers.set(regionId, peer);
        host.quiet.add(peer as unknown as Peer);
      }
    }
  }

  #makeQuiet(id: number, host: Host): QuietRegions {
    return new QuietRegions({
      env: this.env,
      config: DEFAULT_STORE_CONFIG,
      storeId: () => id,
      flush() {},
      report: () => void host.reports++,
      send: (to, message) => {
        if (host.isDead || this.host(to).isDead) return;
        this.messages++;
        this.host(to).inbox.push(message);
      },
    });
  }

  /** And the answers to it, which are only counted. */
  #heartbeat(leader: StubPeer): void {
    const { meta } = leader;
    for (const toPeer of leader.region.peers) {
      if (toPeer.id === leader.peerId) continue;
      const target = this.host(toPeer.storeId);
      if (target.isDead) continue;
      this.messages += 2;
      target.inbox.push({
        regionId: leader.regionId,
        fromPeer: { id: leader.peerId, storeId: meta?.storeId ?? 0 },
        toPeer: { id: toPeer.id, storeId: toPeer.storeId },
        extraMsg: { type: HEARTBEAT as raft_serverpb.ExtraMessageType },
      });
    }
  }

  host(id: number): Host {
    return this.hosts.get(id) as Host;
  }
  stub(id: number, regionId: number): StubPeer {
    return this.host(id).peers.get(regionId) as StubPeer;
  }
  get awake(): number {
    let sum = 0;
    for (const { isDead, quiet, peers } of this.hosts.values())
      if (!isDead) sum += peers.size - quiet.quietCount;
    return sum;
  }

  /** All ticks of all stores in that time; messages come between them. */
  pass(ms: number): void {
    for (let rest = ms; rest > 0; rest -= TICK_MS / 2) {
      this.env.advance(TICK_MS / 2);
      for (const host of this.hosts.values()) this.#deliver(host);
      if (this.#ticks++ % 2 === 0) {
        for (const { isPaused, isDead, quiet } of this.hosts.values())
          if (!isPaused && !isDead) quiet.tick(this.env.nowMs);
      }
      this.awakeMost = Math.max(this.awakeMost, this.awake);
    }
  }

  #deliver(host: Host): void {
    if (host.isPaused || host.isDead) return;
    const { inbox } = host;
    host.inbox = [];
    for (const message of inbox) {
      const raw = { extraCtx: new Uint8Array(0), ...message } as raft_serverpb.RaftMessage;
      const from = {
        id: raw.fromPeer?.id,
        storeId: raw.fromPeer?.storeId,
        role: "voter",
      } as unknown as PeerMeta;
      host.quiet.heardStore(from.storeId);
      const peer = host.peers.get(raw.regionId) as unknown as Peer | undefined;
      if (peer === undefined) host.quiet.onStoreMessage(raw);
      else if ((raw.extraMsg?.type as number) === HEARTBEAT) host.quiet.heardLeader(peer);
      else host.quiet.onMessage(peer, from, raw);
    }
  }

  /** From now on. */
  count(): void {
    this.messages = 0;
    this.awakeMost = 0;
  }
}

let world: World;

function begin(regions: number): void {
  world = new World(regions);
  world.pass(2_000);
  expect(world.awake).toBe(0);
  world.count();
}

beforeEach(() => begin(FEWER));

describe("of thousands of quiet regions on three stores", () => {
  test("none costs a message but for the signs of life of the stores", () => {
    world.pass(10_000);
    expect([world.awakeMost, world.messages]).toEqual([0, 6 * 50]);
  });

  test("few of 20,000 are awake at once when one store stands still for 1.2 s, and all come to rest again", () => {
    begin(REGIONS);
    world.host(1).isPaused = true;
    world.pass(1_200);
    world.host(1).isPaused = false;
    world.pass(3_000);
    expect(world.awakeMost).toBeGreaterThan(0);
    expect(world.awakeMost).toBeLessThan(4_096);
    world.pass(30_000);
    expect(world.awake).toBe(0);
    const wakeUps = STORES.map((id) => world.host(id).quiet.wakeUps);
    expect(wakeUps.reduce((sum, each) => sum + each)).toBeLessThan(REGIONS / 4);
    // Each pair of stores took one another for dead, so that every peer has asked once whether all is as it was: two
    // messages, or two heartbeats with their answers.
    expect(world.messages).toBeLessThan(9 * REGIONS);
    expect(STORES.map((id) => world.host(id).quiet.waitingCount)).toEqual([0, 0, 0]);
  });

  test("none is woken when a store stands still for less than an election timeout", () => {
    world.host(1).isPaused = true;
    world.pass(700);
    world.host(1).isPaused = false;
    world.pass(3_000);
    expect(world.awakeMost).toBe(0);
  });

  test("the line moves on one after the other, again and again, when stores stand still in turn", () => {
    for (const id of [1, 2, 3, 1]) {
      world.host(id).isPaused = true;
      world.pass(1_200);
      world.host(id).isPaused = false;
      world.pass(1_000);
    }
    expect(world.awakeMost).toBeLessThan(8_192);
    world.pass(60_000);
    expect(world.awake).toBe(0);
  });

  test("those whose leader died wake in portions, and the one that is asked for at once", () => {
    world.host(1).isDead = true;
    world.pass(1_100);
    while (world.host(2).quiet.waitingCount === 0) world.pass(50);
    const { quiet, peers } = world.host(2);
    expect(quiet.waitingCount).toBeGreaterThan(200);
    const last = [...peers.values()].findLast((peer) => peer.isQuiet && peer.leader?.storeId === 1);
    quiet.needed(last as unknown as Peer);
    expect(last?.isQuiet).toBe(false);
    const elsewhere = [...peers.values()].findLast((peer) => peer.isQuiet && peer.leader?.storeId === 3);
    quiet.needed(elsewhere as unknown as Peer);
    expect(elsewhere?.isQuiet).toBe(true);
  });

  test("a replica that had not agreed to sleep has its leader woken on its return, the others nobody", () => {
    world.host(3).isPaused = true;
    world.pass(2_000);
    // The leader of region 3 is on store 1; it is used while store 3 is away.
    const used = world.stub(1, 3);
    world.host(1).quiet.wake(used as unknown as Peer);
    used.idleTicks = 0;
    world.host(2).quiet.wake(world.stub(2, 3) as unknown as Peer);
    world.pass(15_000);
    expect(used.isQuiet).toBe(true);
    const wokenBefore = world.host(1).quiet.wakeUps;
    used.lacksFor.add(world.stub(3, 3).peerId);
    world.host(3).isPaused = false;
    world.pass(500);
    expect(used.isQuiet).toBe(false);
    // The others were woken by their replicas on store 3, whose leaders it took for dead when it was not heard.
    expect(world.host(1).quiet.wakeUps - wokenBefore).toBeLessThan(FEWER / 6);
  });

  test("PD is told in portions of all whose replica was down for long, and none of them wakes", () => {
    world.host(3).isPaused = true;
    world.pass(DEFAULT_STORE_CONFIG.peerDownMs + 2_000);
    const { quiet } = world.host(1);
    const reportsBefore = world.host(1).reports;
    world.host(3).isPaused = false;
    world.pass(300);
    expect(world.host(1).reports - reportsBefore).toBeLessThan(3 * 512);
    world.pass(10_000);
    expect(world.host(1).reports - reportsBefore).toBeGreaterThanOrEqual(FEWER / 3 - 1);
    expect(quiet.waitingCount).toBe(0);
  });

  test("a peer that nobody answers wakes, and asks as one that ticks does", () => {
    world.host(1).isPaused = true;
    world.pass(1_200);
    world.host(1).isPaused = false;
    const removed = [...world.host(1).peers.values()].find((peer) => peer.leader?.storeId === 2) as StubPeer;
    const leader = world.stub(2, removed.regionId);
    leader.leaderId = 0;
    for (let waited = 0; removed.isQuiet && waited < 30_000; waited += 100) world.pass(100);
    expect(removed.isQuiet).toBe(false);
  });
});
