/** What a cluster goes through, and whether PD brings it to rest with few moves. */
import { type HotLoad, ScheduleWorld } from "./world.js";

export interface CaseSize {
  readonly stores: number;
  readonly regions: number;
  readonly regionSizeMib: number;
  readonly seed: number;
  /** How long the cluster is watched after it came to rest; 600 when left out. */
  readonly watchSeconds?: number;
  /**
   * The share of the cluster to which the case happens, where it is not that of the case: stores that come or leave, of
   * a zone that is lost, that lead what is hot, keys whose rule changes. Large clusters in bounded time.
   */
  readonly share?: number;
  /** Peers a minute that each store may take and give. */
  readonly storeLimit?: number;
  /** What a store takes in of snapshots; 100 when left out. */
  readonly snapshotMibPerSecond?: number;
}

export interface CaseResult {
  readonly name: string;
  readonly stores: number;
  readonly regions: number;
  /** Virtual seconds until it came to rest; undefined when it did not. */
  readonly restSeconds: number | undefined;
  readonly movedPeers: number;
  readonly movedLeaders: number;
  /** Peers that had to move at least; 0 where the case is about leaders or load. */
  readonly leastMoves: number;
  /** The most moves of one region. */
  readonly mostOfRegion: number;
  /** Peers and leaders moved while it was watched at rest. */
  readonly movedAfterRest: number;
  /** What the case looks at, as text. */
  readonly figure: string;
}

const QUIET_SECONDS = 30;
const WATCHED_SECONDS = 600;
const LIMIT_SECONDS = 6 * 3600;
const ZONES = 4;
const MIB = 2 ** 20;
const MORE_REPLICAS = 5;
const STORE_LIMIT = 600;
/** Hot regions for each of the stores that lead them at first. */
const HOT_OF_STORE = 32;

interface Case {
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly zoned?: boolean;
  /** Regions stand evenly from the start, so that large clusters need not be settled first. */
  readonly even?: boolean;
  /** How many of the stores hold regions at first. */
  readonly filled: (size: CaseSize) => number;
  /** Starts what happens; the least number of peers that must move for it. */
  begin(world: ScheduleWorld, size: CaseSize): number;
  isAtRest?(world: ScheduleWorld, size: CaseSize): boolean;
  figure(world: ScheduleWorld, size: CaseSize): string;
}

const all = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

/** Peers that stores lack to the average. */
function deficit(world: ScheduleWorld, stores: readonly number[]): number {
  const counts = stores.map((id) => world.peersOn(id));
  const average = counts.reduce((sum, count) => sum + count, 0) / stores.length;
  return Math.floor(counts.reduce((sum, count) => sum + Math.max(0, average - count), 0));
}

function spread(world: ScheduleWorld, stores: readonly number[]): string {
  const peers = stores.map((id) => world.peersOn(id));
  const leaders = stores.map((id) => world.leadersOn(id));
  return `peers ${Math.min(...peers)}..${Math.max(...peers)}, leaders ${Math.min(...leaders)}..${Math.max(...leaders)}`;
}

/** Largest load of a store over the mean. */
export function imbalance(world: ScheduleWorld, stores: readonly number[], leadersOnly: boolean): number {
  const loads = new Map<number, number>(stores.map((id) => [id, 0]));
  for (const load of world.hot) {
    const region = world.cluster.regions.byId(load.regionId);
    for (const peer of region?.meta.peers ?? []) {
      const counts = leadersOnly ? region?.leader?.id === peer.id : true;
      const amount = leadersOnly ? load.readBytesPerSecond : load.writtenBytesPerSecond;
      if (counts) loads.set(peer.storeId, (loads.get(peer.storeId) ?? 0) + amount);
    }
  }
  const values = [...loads.values()];
  return Math.max(...values) / (values.reduce((sum, value) => sum + value, 0) / values.length);
}

/** Regions led by few stores carry all of the load. */
function hotRegions(world: ScheduleWorld, size: CaseSize, kind: "read" | "write"): HotLoad[] {
  const few = all(Math.max(2, countOf(size, QUARTER)));
  const found: HotLoad[] = [];
  for (const region of world.cluster.regions.all()) {
    if (found.length >= few.length * HOT_OF_STORE) break;
    if (!few.includes(region.leader?.storeId ?? 0)) continue;
    const rate = MIB * (1 + (region.meta.id % 3));
    found.push({
      regionId: region.meta.id,
      writtenBytesPerSecond: kind === "write" ? rate : 0,
      readBytesPerSecond: kind === "read" ? 10 * rate : 0,
    });
  }
  return found;
}

const HALF = 0.5;
const QUARTER = 0.25;
const TENTH = 0.1;
const countOf = ({ stores, share }: CaseSize, own: number): number =>
  Math.max(1, Math.floor(stores * (share ?? own)));
/** All but those that join. */
const without =
  (own: number) =>
  (size: CaseSize): number =>
    size.stores - countOf(size, own);
const whole = ({ stores }: CaseSize): number => stores;
const zonesOf = ({ share }: CaseSize): number =>
  share === undefined ? ZONES : Math.max(ZONES, Math.round(1 / share));
const spreadOfAll = (world: ScheduleWorld, { stores }: CaseSize): string => spread(world, all(stores));

export const CASES: Readonly<Record<string, Case>> = {
  balance: {
    filled: without(HALF),
    begin: (world, { stores }) => deficit(world, all(stores)),
    figure: spreadOfAll,
  },
  "scale-out": {
    filled: without(QUARTER),
    begin: (world, { stores }) => deficit(world, all(stores)),
    figure: spreadOfAll,
  },
  "scale-in": {
    filled: whole,
    begin(world, size) {
      const leaving = all(countOf(size, TENTH));
      let least = 0;
      for (const id of leaving) {
        least += world.peersOn(id);
        world.cluster.store(id)?.setNodeState("removing");
        world.config.storeLimits.set(id, { "add-peer": 1e8, "remove-peer": 1e8 });
      }
      return least;
    },
    isAtRest: (world, size) =>
      all(countOf(size, TENTH)).every((id) => world.cluster.store(id)?.isRemoved === true),
    figure: (world, size) => spread(world, all(size.stores).slice(countOf(size, TENTH))),
  },
  "zone-loss": {
    filled: whole,
    zoned: true,
    settings: { "location-labels": "zone,host", "max-store-down-time": "1m" },
    begin(world, size) {
      const lost = all(size.stores).filter((id) => id % zonesOf(size) === 0);
      let least = 0;
      for (const id of lost) {
        world.deadStores.add(id);
        least += world.peersOn(id);
      }
      for (const id of lost) world.reportDown(id);
      return least;
    },
    isAtRest: (world) => [...world.deadStores].every((id) => world.peersOn(id) === 0),
    figure: (world, size) =>
      spread(
        world,
        all(size.stores).filter((id) => id % zonesOf(size) !== 0),
      ),
  },
  "rule-change": {
    filled: whole,
    zoned: true,
    settings: { "location-labels": "zone,host" },
    begin(world, { regions, share }) {
      if (share === undefined) world.config.set("replication", "max-replicas", MORE_REPLICAS);
      else world.setReplicas(MORE_REPLICAS, Math.ceil(regions * share));
      return 2 * Math.ceil(regions * (share ?? 1));
    },
    isAtRest(world, { regions, share }) {
      const wanted = Math.ceil(regions * (share ?? 1));
      for (const { meta } of world.cluster.regions.all())
        if (meta.id <= wanted && meta.peers.length !== MORE_REPLICAS) return false;
      return true;
    },
    figure: spreadOfAll,
  },
  "hot-write": {
    filled: whole,
    even: true,
    settings: { "hot-region-schedule-limit": 16 },
    begin(world, size) {
      world.hot = hotRegions(world, size, "write");
      return 0;
    },
    isAtRest: (world, { stores }) => world.second > 900 && imbalance(world, all(stores), false) < 2,
    figure: (world, { stores }) =>
      `largest load ${imbalance(world, all(stores), false).toFixed(2)} of the mean`,
  },
  "hot-read": {
    filled: whole,
    even: true,
    settings: { "hot-region-schedule-limit": 16 },
    begin(world, size) {
      world.hot = hotRegions(world, size, "read");
      return 0;
    },
    isAtRest: (world, { stores }) => world.second > 600 && imbalance(world, all(stores), true) < 2,
    figure: (world, { stores }) =>
      `largest load ${imbalance(world, all(stores), true).toFixed(2)} of the mean`,
  },
};

/** Runs one case to rest and then watches it. */
export function runCase(name: string, size: CaseSize): CaseResult {
  const chosen = CASES[name];
  if (chosen === undefined) throw new Error(`no case ${name}: use ${Object.keys(CASES).join(", ")}`);
  const world = new ScheduleWorld({
    seed: size.seed,
    regionSizeMib: size.regionSizeMib,
    ...(size.snapshotMibPerSecond === undefined ? {} : { snapshotMibPerSecond: size.snapshotMibPerSecond }),
    settings: { "leader-schedule-limit": 64, "replica-schedule-limit": 1024, ...chosen.settings },
  });
  const limit = size.storeLimit ?? STORE_LIMIT;
  world.config.defaultStoreLimit = { "add-peer": limit, "remove-peer": limit };
  const filled = chosen.filled(size);
  const labels = (id: number): Record<string, string> =>
    chosen.zoned === true ? { zone: `z${id % zonesOf(size)}`, host: `h${id}` } : {};
  for (const id of all(size.stores)) world.addStore(id, labels(id));
  world.addRegions(size.regions, all(filled), world.config.maxReplicas, chosen.even === true);
  world.start();
  // What random placement left uneven is settled before the case begins.
  if (filled === size.stores) settle(world, () => true);
  world.movedPeers = 0;
  world.movedLeaders = 0;
  world.movesOfRegion.clear();
  const beganSecond = world.second;
  const leastMoves = chosen.begin(world, size);
  const rested = settle(world, () => chosen.isAtRest?.(world, size) ?? true);
  const restSeconds = rested ? world.second - beganSecond - QUIET_SECONDS : undefined;
  const before = { peers: world.movedPeers, leaders: world.movedLeaders };
  let mostOfRegion = 0;
  for (const moves of world.movesOfRegion.values()) mostOfRegion = Math.max(mostOfRegion, moves);
  const figure = chosen.figure(world, size);
  for (let i = 0; i < (size.watchSeconds ?? WATCHED_SECONDS); i++) world.tick();
  world.stop();
  return {
    name,
    stores: size.stores,
    regions: size.regions,
    restSeconds,
    movedPeers: before.peers,
    movedLeaders: before.leaders,
    leastMoves,
    mostOfRegion,
    movedAfterRest: world.movedPeers - before.peers + world.movedLeaders - before.leaders,
    figure,
  };
}

/** True once nothing has run for a while and the case is content; false after six hours. */
function settle(world: ScheduleWorld, isContent: () => boolean): boolean {
  let quiet = 0;
  for (let second = 0; second < LIMIT_SECONDS; second++) {
    world.tick();
    quiet = world.isQuiet ? quiet + 1 : 0;
    if (quiet >= QUIET_SECONDS && isContent()) return true;
  }
  return false;
}
