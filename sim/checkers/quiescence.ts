/**
 * What must hold when all faults are over and everything has come to rest: regions tile the key space, each on
 * as many stores as it should be, replicas equal byte for byte, nothing left over on any disk, PD's picture
 * true. (11, 15, 16, 27, 32, 33)
 */
import { compareBytes, toHex } from "../../base/index.js";
import { DATA_KEY_SPACES, type Row } from "../../base/engine.js";
import { dataEndKey, dataKey } from "../../region/keys.js";
import type { Peer } from "../../region/peer.js";
import type { SimCluster, SimStore } from "../cluster.js";

interface Placed {
  readonly store: SimStore;
  readonly peer: Peer;
}

const FIRST = Uint8Array.of(0);

function placed(cluster: SimCluster): Map<number, Placed[]> {
  const regions = new Map<number, Placed[]>();
  for (const store of cluster.stores) {
    for (const peer of store.store?.peers.all() ?? []) {
      const list = regions.get(peer.regionId) ?? [];
      list.push({ store, peer });
      regions.set(peer.regionId, list);
    }
  }
  return regions;
}

/** Why the cluster is not at rest yet; undefined when it is. */
export function unrest(cluster: SimCluster, replicas: number): string | undefined {
  const { pd } = cluster.pd;
  if (pd === undefined || !cluster.pd.node.isUp) return "PD does not serve";
  for (const { node, store, disk, isLeaving } of cluster.stores) {
    if (isLeaving) return `${node.name} is still being emptied`;
    if (!node.isUp || store?.isServing !== true) return `${node.name} does not serve`;
    if (disk.writes.some(({ isSync, isDone }) => isSync && !isDone)) return `${node.name} is writing`;
  }
  if (pd.scheduling.controller.operators().length > 0) return "PD has operators under way";
  return regionsUnrest(cluster, replicas) ?? tiling(cluster) ?? picture(cluster);
}

function regionsUnrest(cluster: SimCluster, replicas: number): string | undefined {
  for (const [id, peers] of placed(cluster)) {
    const leader = peers.find(({ peer }) => peer.isLeader)?.peer;
    if (leader === undefined) return `region ${id} has no leader`;
    const { region } = leader;
    if (region.peers.length !== replicas) return `region ${id} has ${region.peers.length} peers`;
    if (region.peers.some(({ role }) => role !== "voter")) return `region ${id} has other peers than voters`;
    if (peers.length !== replicas) return `region ${id} lies on ${peers.length} stores`;
    for (const { store, peer } of peers) {
      if (peer.appliedIndex !== leader.appliedIndex) return `${store.node.name} has not applied region ${id}`;
      if (peer.workUnderWay || peer.isApplyingSnapshot) return `${store.node.name} works on region ${id}`;
      if (peer.region.epoch.version !== region.epoch.version)
        return `${store.node.name} has another region ${id}: ${epochText(peer)} against ${epochText(leader)}`;
    }
  }
  return undefined;
}

const epochText = ({ region, peerId, appliedIndex }: Peer): string =>
  `${JSON.stringify(region.epoch)} of peer ${peerId} at ${appliedIndex}`;

/** Invariant 11. */
function tiling(cluster: SimCluster): string | undefined {
  const regions = [...placed(cluster).values()].map((peers) => (peers[0] as Placed).peer.region);
  regions.sort((left, right) => compareBytes(left.startKey, right.startKey));
  let end = new Uint8Array(0);
  for (const [i, region] of regions.entries()) {
    if (i > 0 && end.length === 0) return `region ${region.id} begins after the end of all keys`;
    if (compareBytes(region.startKey, end) !== 0) {
      return `region ${region.id} begins at ${toHex(region.startKey)} instead of ${toHex(end)}`;
    }
    end = region.endKey as Uint8Array<ArrayBuffer>;
  }
  return end.length === 0 ? undefined : `the last region ends at ${toHex(end)}`;
}

/** Invariant 27 at rest: PD knows every region as it is. */
function picture(cluster: SimCluster): string | undefined {
  for (const [id, peers] of placed(cluster)) {
    const { region } = (peers.find(({ peer }) => peer.isLeader) as Placed).peer;
    const known = cluster.pd.pd?.cluster.regions.byId(id)?.meta.epoch;
    if (known?.version !== region.epoch.version || known.confVer !== region.epoch.confVer) {
      return `PD knows region ${id} in epoch ${JSON.stringify(known)} instead of ${JSON.stringify(region.epoch)}`;
    }
  }
  return undefined;
}

/** Invariants 15, 16, 32: what the disks hold, once all is at rest. Undefined when it is as it should be. */
export function disksDiffer(cluster: SimCluster): string | undefined {
  for (const [id, peers] of placed(cluster)) {
    const contents = peers.map(({ store, peer }) => ({
      name: store.node.name,
      text: contentOf(store, peer),
    }));
    const first = contents[0] as (typeof contents)[0];
    const other = contents.find(({ text }) => text !== first.text);
    if (other !== undefined)
      return `region ${id} differs between ${first.name} and ${other.name}: ${difference(first.text, other.text)}`;
  }
  for (const store of cluster.stores) {
    const orphan = orphanOf(store);
    if (orphan !== undefined) return orphan;
  }
  return undefined;
}

/** The first row that only one of them has. */
function difference(left: string, right: string): string {
  const [here, there] = [left.split("\n"), right.split("\n")];
  const onlyHere = here.find((row) => !there.includes(row));
  const onlyThere = there.find((row) => !here.includes(row));
  return `${onlyHere ?? "nothing"} against ${onlyThere ?? "nothing"}`;
}

function rowsOf(
  store: SimStore,
  space: (typeof DATA_KEY_SPACES)[number] | "snap",
  start: Uint8Array,
  end?: Uint8Array,
): readonly Row[] {
  let found: readonly Row[] = [];
  store.disk.memory.scan(space, { start, end, limit: 1 << 30 }, (_error, { rows }) => {
    found = rows;
  });
  return found;
}

function contentOf(store: SimStore, { region }: Peer): string {
  const parts: string[] = [];
  for (const space of DATA_KEY_SPACES) {
    for (const { key, value } of rowsOf(store, space, dataKey(region.startKey), dataEndKey(region.endKey))) {
      parts.push(`${space} ${toHex(key)} ${toHex(value)}`);
    }
  }
  return parts.join("\n");
}

/** Data outside of the regions that the store holds, or chunks of snapshots that nobody waits for. */
function orphanOf(store: SimStore): string | undefined {
  const regions = [...(store.store?.peers.all() ?? [])].map((peer) => peer.region);
  for (const space of DATA_KEY_SPACES) {
    for (const { key } of rowsOf(store, space, FIRST)) {
      const isOwned = regions.some(
        ({ startKey, endKey }) =>
          compareBytes(dataKey(startKey), key) <= 0 && compareBytes(key, dataEndKey(endKey)) < 0,
      );
      if (!isOwned) return `${store.node.name} keeps ${toHex(key)}, which is of no region there`;
    }
  }
  const chunks = rowsOf(store, "snap", FIRST);
  return chunks.length > 0 ? `${store.node.name} keeps ${chunks.length} chunks of snapshots` : undefined;
}
