/** What an administrator does, through PD's HTTP API as the tools do it; a refusal is nobody's failure. */
import { utf8 } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import type { SimCluster, SimStore } from "./cluster.js";
import type { Action } from "./nemesis.js";

type Order =
  | "split"
  | "transfer-leader"
  | "evict"
  | "add-peer"
  | "remove-peer"
  | "transfer-peer"
  | "transfer-region"
  | "scatter-region"
  | "campaign";

interface Led {
  readonly store: SimStore;
  readonly peer: Peer;
}

export function leaders(cluster: SimCluster): Led[] {
  return cluster.stores.flatMap((store) =>
    store.store === undefined || !store.node.isUp
      ? []
      : [...store.store.peers.all()].filter((peer) => peer.isLeader).map((peer) => ({ store, peer })),
  );
}

const at = <T>(from: readonly T[], number: number): T | undefined => from[number % Math.max(1, from.length)];

/** Of three the one that was written to most: what is in use meets more that can go wrong. */
function chosen(all: readonly Led[], number: number): Led | undefined {
  const drawn = [number, number >>> 8, number >>> 16].map((each) => at(all, each));
  const writes = (led: Led | undefined): number => (led?.peer.node.commitIndex as number | undefined) ?? -1;
  return drawn.reduce((most, each) => (writes(each) > writes(most) ? each : most));
}

export const administer =
  (order: Order) =>
  (cluster: SimCluster, { target, detail }: Action): undefined => {
    const led = chosen(leaders(cluster), target);
    if (led === undefined) return;
    if (order === "split") split(led, detail);
    else if (order === "campaign") campaign(cluster, led, detail);
    else if (order === "evict") {
      const all = leaders(cluster).filter(({ store }) => store === led.store);
      for (const each of all) operator(cluster, "transfer-leader", each, detail);
    } else operator(cluster, order, led, detail);
    return undefined;
  };

/** At a key that clients use, so that both parts are in use afterwards. */
function split({ store, peer }: Led, detail: number): void {
  if (store.node.isPaused || store.store === undefined) return;
  const letter = String.fromCharCode(97 + (detail % 26));
  const key = (detail >>> 8) % 2 === 0 ? utf8(`${letter}/`) : utf8(`A/${letter}`);
  store.store.splits.splitAt(peer, peer.region.epoch, [key], () => {});
}

/**
 * A follower campaigns before its time; only one that knows no leader. Who has answered a leader owes
 * it the time of its
 * lease, and nothing in production breaks that.
 */
function campaign(cluster: SimCluster, { peer }: Led, detail: number): void {
  const follower = at(
    peer.region.peers.filter((meta) => meta.id !== peer.peerId),
    detail,
  );
  const other = cluster.stores.find(({ store }) => store?.id === follower?.storeId);
  if (other === undefined || !other.node.isUp || other.node.isPaused) return;
  const candidate = other.store?.peers.get(peer.regionId);
  if (candidate?.leaderId === 0) candidate.campaign();
}

function operator(cluster: SimCluster, name: string, { peer }: Led, detail: number): void {
  const { pd } = cluster.pd;
  if (pd === undefined || !cluster.pd.node.isUp || cluster.pd.node.isPaused) return;
  const here = peer.region.peers.map((meta) => meta.storeId as number);
  const free = cluster.stores.map(({ store }) => store?.id ?? 0).filter((id) => id > 0 && !here.includes(id));
  const from = at(here, detail);
  const to = at(free, detail >>> 4);
  const then = [to, ...here.filter((id) => id !== from)].slice(0, 3);
  const orders: Readonly<Record<string, object | undefined>> = {
    "transfer-leader": { to_store_id: from },
    "add-peer": to === undefined ? undefined : { store_id: to },
    "remove-peer": here.length > 2 && cluster.disksLost === 0 ? { store_id: from } : undefined,
    "transfer-peer": to === undefined ? undefined : { from_store_id: from, to_store_id: to },
    // Where rules place replicas PD asks for their roles.
    "transfer-region":
      to === undefined ? undefined : { to_store_ids: then, peer_roles: then.map(() => "voter") },
    "scatter-region": {},
  };
  const order = orders[name];
  if (order === undefined) return;
  const body = utf8(JSON.stringify({ name, region_id: peer.regionId, ...order }));
  const request = { method: "POST", path: "/pd/api/v1/operators", query: {}, headers: {}, body };
  pd.handleHttp(request, (status) => {
    if (status === 200) cluster.world.probe(`operator ${name}`);
  });
}
