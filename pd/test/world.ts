/**
 * A PD under virtual time with stores that report regions and, if told so, obey its commands at once: what scheduling
 * decides becomes visible as the regions' own records.
 */
import { must, utf8 } from "../../base/index.js";
import { type eraftpb, metapb, PdService, type pdpb } from "../../proto/index.js";
import type { RegionInfo } from "../region-info.js";
import type { SchedulerCallback, SchedulerChange } from "../scheduler-admin.js";
import type { Scheduling } from "../scheduling.js";
import type { SchedulingView } from "../scheduling-view.js";
import { Harness, type OpenCall, storeMessage } from "./harness.js";

type Stream = OpenCall<pdpb.IRegionHeartbeatRequest, pdpb.RegionHeartbeatResponse>;

export interface FakePeer {
  readonly id: number;
  readonly storeId: number;
  role: metapb.PeerRole;
}

export interface FakeRegion {
  readonly id: number;
  start: string;
  end: string;
  version: number;
  confVer: number;
  peers: FakePeer[];
  leaderStore: number;
  sizeMib: number;
  pending: number[];
  down: number[];
}

export interface WorldOptions {
  readonly stores: number;
  /** Settings of `schedule` and `replication`. */
  readonly schedule?: Readonly<Record<string, unknown>>;
  readonly replication?: Readonly<Record<string, unknown>>;
  /** Commands change regions. */
  readonly obeys?: boolean;
  readonly labels?: (storeId: number) => Readonly<Record<string, string>>;
}

const ROLE = metapb.PeerRole;

export class World {
  readonly harness: Harness;
  readonly regions = new Map<number, FakeRegion>();
  readonly commands: pdpb.RegionHeartbeatResponse[] = [];
  readonly deadStores = new Set<number>();
  readonly #streams = new Map<number, Stream>();
  readonly #options: WorldOptions;
  #nextPeerId = 1_000_000;

  constructor(options: WorldOptions) {
    this.#options = options;
    const schedule = { "halt-scheduling": options.obeys !== true, ...options.schedule };
    this.harness = Harness.started({ config: { schedule, replication: options.replication ?? {} } });
    this.harness.bootstrap(1, 2, 3);
    for (let id = 1; id <= options.stores; id++) this.addStore(id);
  }

  get scheduling(): Scheduling {
    return this.harness.pd.scheduling;
  }

  get view(): SchedulingView {
    return this.scheduling.view;
  }

  addScheduler(name: string, storeId?: number): SchedulerChange {
    return this.#change((done) => this.scheduling.schedulers.add(name, storeId, {}, done));
  }

  removeScheduler(name: string): SchedulerChange {
    return this.#change((done) => this.scheduling.schedulers.remove(name, done));
  }

  /** It is stored first. */
  #change(ask: (done: SchedulerCallback) => void): SchedulerChange {
    let change: SchedulerChange | undefined;
    ask((outcome) => {
      change = outcome;
    });
    this.harness.env.settle();
    return must(change, "no outcome");
  }

  addStore(id: number): void {
    const labels = Object.entries(this.#options.labels?.(id) ?? {}).map(([key, value]) => ({ key, value }));
    const answer = this.harness.putStore(storeMessage(id, { labels }));
    if (answer.header?.error) throw new Error(answer.header.error.message);
    this.harness.heartbeatStore(id);
    this.#streams.set(
      id,
      this.harness.open(PdService.RegionHeartbeat, (response) => this.#onCommand(id, response)),
    );
    // One look of the monitor: the store serves.
    this.harness.env.settle();
  }

  /** Regions of the whole key space, each on the given stores, the first of them leading. Region 2 comes first. */
  addRegions(placements: readonly (readonly number[])[], sizeMib = 10): FakeRegion[] {
    const made = placements.map((stores, i) => {
      const region: FakeRegion = {
        id: i === 0 ? 2 : 100 + i,
        start: i === 0 ? "" : key(i),
        end: i === placements.length - 1 ? "" : key(i + 1),
        version: 10,
        confVer: 10,
        peers: stores.map((storeId) => ({ id: this.#nextPeerId++, storeId, role: ROLE.Voter })),
        leaderStore: stores[0] as number,
        sizeMib,
        pending: [],
        down: [],
      };
      this.regions.set(region.id, region);
      return region;
    });
    for (const region of made) this.report(region);
    return made;
  }

  /** The leader's heartbeat; PD's record after it. */
  report(region: FakeRegion): RegionInfo {
    const peers = region.peers.map(({ id, storeId, role }) => ({ id, storeId, role }));
    const of = (ids: readonly number[]): metapb.IPeer[] => peers.filter((peer) => ids.includes(peer.id));
    const stream = must(this.#streams.get(region.leaderStore), "the leader's store is unknown");
    stream.send({
      header: this.harness.header,
      region: {
        id: region.id,
        startKey: utf8(region.start),
        endKey: utf8(region.end),
        regionEpoch: { version: region.version, confVer: region.confVer },
        peers,
      },
      leader: must(
        peers.find((peer) => peer.storeId === region.leaderStore),
        "the leader has no peer",
      ),
      term: 6,
      pendingPeers: of(region.pending),
      downPeers: of(region.down).map((peer) => ({ peer, downSeconds: 7200 })),
      approximateSize: region.sizeMib * 2 ** 20,
      approximateKeys: region.sizeMib * 1000,
    });
    return this.record(region.id);
  }

  record(regionId: number): RegionInfo {
    return must(this.harness.pd.cluster.regions.byId(regionId), "PD does not know the region");
  }

  /** Lets time pass in which living stores and leaders report every 5 s. */
  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 5000) {
      this.harness.env.advance(Math.min(left, 5000));
      for (const id of this.#streams.keys()) if (!this.deadStores.has(id)) this.harness.heartbeatStore(id);
      for (const region of this.regions.values()) {
        if (!this.deadStores.has(region.leaderStore)) this.report(region);
      }
    }
  }

  storesOf(regionId: number): number[] {
    const peers = must(this.regions.get(regionId), "no such region").peers;
    return peers.map((peer) => peer.storeId).sort((left, right) => left - right);
  }

  count(storeId: number, what: "peers" | "leaders"): number {
    let found = 0;
    for (const region of this.regions.values()) {
      if (what === "leaders" ? region.leaderStore === storeId : this.storesOf(region.id).includes(storeId)) {
        found += 1;
      }
    }
    return found;
  }

  #onCommand(storeId: number, response: pdpb.RegionHeartbeatResponse): void {
    if (response.regionId === 0) return;
    this.commands.push(response);
    const region = this.regions.get(response.regionId);
    if (this.#options.obeys !== true || region?.leaderStore !== storeId) return;
    if (this.deadStores.has(storeId)) return;
    const { regionEpoch } = response;
    if (regionEpoch?.confVer !== region.confVer || regionEpoch.version !== region.version) return;
    this.harness.env.timers.nextTurn(() => {
      if (this.#obey(region, response)) this.report(region);
    });
  }

  #obey(region: FakeRegion, response: pdpb.RegionHeartbeatResponse): boolean {
    if (response.transferLeader !== null) {
      region.leaderStore = response.transferLeader.peer?.storeId ?? 0;
      return true;
    }
    const changes =
      response.changePeerV2?.changes ?? (response.changePeer === null ? [] : [response.changePeer]);
    if (response.changePeerV2 !== null && changes.length === 0) return leaveJoint(region);
    if (changes.length === 0) return false;
    const joint = changes.length > 1;
    for (const { peer, changeType } of changes) {
      if (peer !== null)
        changePeer(region, { id: peer.id, storeId: peer.storeId, role: peer.role }, changeType, joint);
    }
    region.confVer += changes.length;
    return true;
  }
}

function changePeer(region: FakeRegion, peer: FakePeer, type: eraftpb.ConfChangeType, joint: boolean): void {
  const known = region.peers.find((other) => other.id === peer.id);
  const [addNode, removeNode] = [0, 1];
  if (type === removeNode) {
    region.peers = region.peers.filter((other) => other !== known);
    return;
  }
  const voter = type === addNode;
  if (known === undefined) region.peers.push({ ...peer, role: voter ? ROLE.Voter : ROLE.Learner });
  else if (voter) known.role = joint ? ROLE.IncomingVoter : ROLE.Voter;
  else known.role = joint ? ROLE.DemotingVoter : ROLE.Learner;
}

function leaveJoint(region: FakeRegion): boolean {
  const changing = region.peers.filter((peer) => peer.role > ROLE.Learner);
  for (const peer of changing) peer.role = peer.role === ROLE.IncomingVoter ? ROLE.Voter : ROLE.Learner;
  region.confVer += changing.length;
  return changing.length > 0;
}

const key = (i: number): string => `k${String(i).padStart(5, "0")}`;
