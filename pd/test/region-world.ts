/**
 * Three stores as several simulated PDs see them: regions that report to whoever leads, take orders, split when they
 * have been given ids, and whose records the PDs must agree with in the end. Settings are changed all the while.
 */
import { fromUtf8, utf8 } from "../../base/index.js";
import { type eraftpb, type metapb, PdService, type pdpb } from "../../proto/index.js";
import type { Answer, PdCluster, PdProcess } from "./pd-cluster.js";

const STORES = [1, 2, 3];
const REGIONS_MAX = 24;
const LIMIT_ITEM = "hot-region-schedule-limit";
const KEY_CHARS = 3;

interface WorldRegion {
  readonly id: number;
  start: string;
  end: string;
  version: number;
  readonly peers: readonly { readonly id: number; readonly storeId: number }[];
  leaderStore: number;
}

interface Asked<T> {
  readonly region: WorldRegion;
  readonly version: number;
  readonly answer: Answer<T>;
}

export class RegionWorld {
  readonly #cluster: PdCluster;
  readonly #took: (id: number) => void;
  readonly #regions: WorldRegion[] = [
    {
      id: 2,
      start: "",
      end: "",
      version: 1,
      peers: STORES.map((id) => ({ id: id + 2, storeId: id })),
      leaderStore: 1,
    },
  ];
  #orders: Asked<pdpb.RegionHeartbeatResponse>[] = [];
  #splits: Asked<pdpb.AskBatchSplitResponse>[] = [];
  #turn = 0;
  #lastLimit = 4;
  #storedLimit = 0;
  splits = 0;
  operators = 0;
  ordersDone = 0;
  settings = 0;

  constructor(cluster: PdCluster, took: (id: number) => void) {
    this.#cluster = cluster;
    this.#took = took;
  }

  static firstRegion(): metapb.IRegion {
    const peers = STORES.map((id) => ({ id: id + 2, storeId: id }));
    return { id: 2, regionEpoch: { confVer: 1, version: 1 }, peers: peers.slice(0, 1) };
  }

  /** One turn with whoever says that it leads. */
  live(): void {
    this.#collect();
    const [leader] = this.#cluster.leaders();
    if (leader?.pd?.isReady !== true || !leader.pd.cluster.isBootstrapped) return;
    this.#turn += 1;
    this.#report(leader);
    if (this.#turn % 2 === 0) this.#setLimit(leader);
    if (this.#turn % 3 === 0) this.#transfer(leader);
    if (this.#turn % 4 === 0) this.#split(leader);
  }

  /** What the PD that leads must say in the end. */
  check(leader: PdProcess): void {
    const { pd } = leader;
    if (pd === undefined) throw new Error("no PD");
    const limit = pd.cluster.context.config.number(`schedule.${LIMIT_ITEM}`);
    if (limit < this.#storedLimit || limit > this.#lastLimit)
      throw new Error(
        `${LIMIT_ITEM} is ${limit}: ${this.#storedLimit} was stored, ${this.#lastLimit} asked for`,
      );
    for (const region of this.#regions) {
      const known = pd.cluster.regions.byId(region.id);
      const [start, end] = [
        fromUtf8(known?.meta.startKey ?? utf8("?")),
        fromUtf8(known?.meta.endKey ?? utf8("?")),
      ];
      if (start !== region.start || end !== region.end || known?.meta.epoch.version !== region.version)
        throw new Error(
          `region ${region.id} is [${region.start}, ${region.end}), PD says [${start}, ${end})`,
        );
      if (known.leader?.storeId !== region.leaderStore)
        throw new Error(
          `store ${region.leaderStore} leads region ${region.id}, PD says ${known.leader?.storeId}`,
        );
    }
    if (pd.cluster.regions.count !== this.#regions.length)
      throw new Error(`${this.#regions.length} regions, PD knows ${pd.cluster.regions.count}`);
  }

  #report(leader: PdProcess): void {
    for (const id of STORES) {
      const stats = { storeId: id, capacity: 100 * 2 ** 30, available: 80 * 2 ** 30 };
      const store = { id, address: `s${id}:1`, version: "8.5.0" };
      if (leader.pd?.cluster.store(id) === undefined)
        this.#cluster.call(leader, PdService.PutStore, { store });
      else this.#cluster.call(leader, PdService.StoreHeartbeat, { stats });
    }
    for (const region of this.#regions) {
      const peer = region.peers.find(({ storeId }) => storeId === region.leaderStore);
      const answer = this.#cluster.call(leader, PdService.RegionHeartbeat, {
        region: this.#meta(region),
        ...(peer === undefined ? {} : { leader: peer }),
        term: 6,
        approximateSize: 10 << 20,
      });
      this.#orders.push({ region, version: region.version, answer });
    }
  }

  #meta({ id, start, end, version, peers }: WorldRegion): metapb.IRegion {
    return {
      id,
      startKey: utf8(start),
      endKey: utf8(end),
      regionEpoch: { confVer: 3, version },
      peers: [...peers],
    };
  }

  #setLimit(leader: PdProcess): void {
    const limit = ++this.#lastLimit;
    this.#post(leader, "/config", { [LIMIT_ITEM]: limit }, () => {
      this.#storedLimit = Math.max(this.#storedLimit, limit);
      this.settings += 1;
    });
  }

  #transfer(leader: PdProcess): void {
    const region = this.#regions[this.#turn % this.#regions.length] as WorldRegion;
    const body = {
      name: "transfer-leader",
      region_id: region.id,
      to_store_id: STORES[region.leaderStore % STORES.length],
    };
    this.#post(leader, "/operators", body, () => {
      this.operators += 1;
    });
  }

  #post(process: PdProcess, path: string, body: object, onDone: () => void): void {
    const request = {
      method: "POST",
      path: `/pd/api/v1${path}`,
      query: {},
      headers: {},
      body: utf8(JSON.stringify(body)),
    };
    process.env.run(() => process.pd?.handleHttp(request, (status) => void (status === 200 && onDone())));
  }

  #split(leader: PdProcess): void {
    if (this.#regions.length >= REGIONS_MAX) return;
    const region = this.#regions[this.#turn % this.#regions.length] as WorldRegion;
    const answer = this.#cluster.call(leader, PdService.AskBatchSplit, {
      region: this.#meta(region),
      splitCount: 1,
    });
    this.#splits.push({ region, version: region.version, answer });
  }

  #collect(): void {
    for (const { region, version, answer } of this.#orders.splice(0)) {
      for (const order of answer.messages) if (version === region.version) this.#obey(region, order);
    }
    this.#splits = this.#splits.filter(({ region, version, answer }) => {
      const [message] = answer.messages;
      if (message === undefined) return answer.status === undefined;
      // A refusal has a header alone.
      const ids = message.header?.error ? undefined : message.ids[0];
      if (ids === undefined) return false;
      for (const id of [ids.newRegionId, ...ids.newPeerIds]) this.#took(id);
      this.splits += 1;
      if (version === region.version) this.#cut(region, ids);
      return false;
    });
  }

  #obey(region: WorldRegion, order: pdpb.RegionHeartbeatResponse): void {
    const { transferLeader, changePeer, changePeerV2 } = order;
    const change: eraftpb.ConfChangeType | undefined =
      changePeer?.changeType ?? changePeerV2?.changes[0]?.changeType;
    if (change !== undefined)
      throw new Error(`PD moves a peer of region ${region.id}, which is where it belongs`);
    const to = transferLeader?.peer?.storeId ?? 0;
    if (!STORES.includes(to)) return;
    region.leaderStore = to;
    this.ordersDone += 1;
  }

  /** The left part keeps nothing but its end: the new region takes it, as raftstore's do with right-derive. */
  #cut(region: WorldRegion, { newRegionId, newPeerIds }: pdpb.SplitID): void {
    const at = keyBetween(region.start, region.end);
    if (at === undefined || newPeerIds.length !== STORES.length) return;
    region.version += 1;
    this.#regions.push({
      id: newRegionId,
      start: region.start,
      end: at,
      version: region.version,
      peers: STORES.map((storeId, i) => ({ id: newPeerIds[i] as number, storeId })),
      leaderStore: region.leaderStore,
    });
    region.start = at;
  }
}

/** Of texts of lower case letters; undefined when there is none of a few characters. */
function keyBetween(start: string, end: string): string | undefined {
  const number = (text: string, otherwise: number): number =>
    text === ""
      ? otherwise
      : utf8(text.padEnd(KEY_CHARS, "a")).reduce((sum, byte) => sum * 26 + byte - 97, 0);
  const middle = Math.floor((number(start, 0) + number(end, 26 ** KEY_CHARS)) / 2);
  if (middle <= number(start, 0)) return undefined;
  return [2, 1, 0].map((i) => String.fromCharCode(97 + (Math.floor(middle / 26 ** i) % 26))).join("");
}
