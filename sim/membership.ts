/**
 * Stores come and go while the cluster runs: one joins, one is drained and buried, one loses its disk for ever and
 * comes back empty, under a new id. The last is done only where docs/guarantees.md promises that it is survived:
 * once in a run, and when every region has a majority of its voters elsewhere, with no change of peers that could
 * be under way.
 */
import { EMPTY_BYTES, utf8 } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import type { Region } from "../region/region.js";
import type { SimCluster, SimStore } from "./cluster.js";
import { MS } from "./world.js";

const STORES_MAX = 7;
const REPLICAS = 3;
/** How long a moment is waited for in which a disk may be lost. */
const LOSS_TRIES = 400;

type Answered = (status: number, text: string) => void;

/** False when PD cannot be asked now. */
function askPd(
  cluster: SimCluster,
  method: "POST" | "DELETE",
  path: string,
  options: { readonly query?: Readonly<Record<string, string>>; readonly body?: object },
  done: Answered,
): boolean {
  const { pd } = cluster.pd;
  if (pd === undefined || !cluster.pd.node.isUp || cluster.pd.node.isPaused) return false;
  const query = Object.fromEntries(Object.entries(options.query ?? {}));
  const body = options.body === undefined ? EMPTY_BYTES : utf8(JSON.stringify(options.body));
  const request = { method, path: `/pd/api/v1${path}`, query, headers: {}, body };
  pd.handleHttp(request as never, (status: number, text: unknown) => done(status, String(text)));
  return true;
}

/** How long an answer of PD is waited for: it may have died with the question. */
const PATIENCE_MS = 2_000;

type Ask = (done: Answered) => boolean;

/** Asks again until there is an answer that settles it: what was not answered may have had its effect. */
function untilSettled(
  cluster: SimCluster,
  ask: Ask,
  settles: (status: number) => boolean,
  then: (status: number) => void,
): void {
  const attempt = (): void => {
    let isOver = false;
    const over = (next: () => void): void => {
      if (isOver) return;
      isOver = true;
      next();
    };
    const again = (): void => void cluster.world.at(300 * MS, "asks PD again", attempt);
    const answered: Answered = (status) => over(settles(status) ? () => then(status) : again);
    if (!ask(answered)) return over(again);
    cluster.world.at(PATIENCE_MS * MS, "no answer of PD", () => over(again));
  };
  attempt();
}

/** Tries again until PD has said yes. */
const insist = (cluster: SimCluster, ask: Ask, then: () => void): void =>
  untilSettled(cluster, ask, (status) => status === 200, then);

/** Repairs are paced in production; a run has seconds. */
const hurry = (cluster: SimCluster): void =>
  insist(
    cluster,
    (done) => askPd(cluster, "POST", "/stores/limit", { body: { rate: 3_000 } }, done),
    () => {},
  );

export function join(cluster: SimCluster): undefined {
  if (cluster.stores.length >= STORES_MAX) return;
  hurry(cluster);
  cluster.addStore().start();
  cluster.world.probe("a store joined");
  return undefined;
}

/** Told to leave: PD moves its peers, and buries it when nothing is left on it; then its process is ended. */
export function drain(cluster: SimCluster, number: number): undefined {
  const store = cluster.stores[number % cluster.stores.length] as SimStore;
  const id = store.store?.id ?? 0;
  const staying = cluster.stores.filter((each) => !each.isLeaving);
  if (id === 0 || store.isLeaving || staying.length <= REPLICAS) return undefined;
  hurry(cluster);
  const pdSays = () => cluster.pd.pd?.cluster.store(id);
  const look = (): void => {
    if (pdSays()?.isRemoved !== true) {
      cluster.world.at(500 * MS, "is it buried", look);
      return;
    }
    cluster.world.probe("a store left and was buried");
    cluster.retire(store);
  };
  const ask: Ask = (done) => askPd(cluster, "DELETE", `/store/${id}`, {}, done);
  if (cluster.pd.pd === undefined) {
    cluster.world.probe("a store could not be told to leave");
    return undefined;
  }
  const isFinal = (status: number): boolean => status < 500;
  untilSettled(cluster, ask, isFinal, (status) => {
    if (store.isLeaving || (status !== 200 && pdSays()?.isRemoved !== true)) return;
    store.isLeaving = true;
    cluster.world.probe("a store was told to leave");
    look();
  });
  return undefined;
}

/** Its disk is gone for ever; the machine comes back with an empty one when PD knows. */
export function loseDisk(cluster: SimCluster, number: number): undefined {
  let tries = 0;
  const attempt = (): void => {
    const store = cluster.stores[number % cluster.stores.length] as SimStore;
    if (cluster.disksLost > 0 || tries++ > LOSS_TRIES) return;
    if (!mayLose(cluster, store)) {
      cluster.world.at(10 * MS, "may a disk be lost", attempt);
      return;
    }
    cluster.disksLost++;
    const id = store.store?.id ?? 0;
    cluster.world.probe("a store lost its disk for ever");
    store.isHeldDown = true;
    store.isReplaced = true;
    cluster.crash(store, true);
    store.disk.wipe();
    cluster.onStore(store);
    hurry(cluster);
    insist(
      cluster,
      (done) => {
        // The answer to an earlier question may be lost, and not its effect.
        if (cluster.pd.pd?.cluster.store(id)?.isRemoved === true) {
          done(200, "");
          return true;
        }
        return askPd(cluster, "DELETE", `/store/${id}`, { query: { force: "true" } }, done);
      },
      () => {
        store.isHeldDown = false;
        store.isReplaced = false;
        cluster.restart(store);
      },
    );
  };
  attempt();
  return undefined;
}

/** Whether all that is acknowledged stays on a majority, whatever is under way. */
function mayLose(cluster: SimCluster, victim: SimStore): boolean {
  const { pd } = cluster.pd;
  const id = victim.store?.id ?? 0;
  if (pd === undefined || id === 0 || victim.isLeaving || pd.scheduling.controller.operators().length > 0)
    return false;
  const views = new Map<number, Peer[]>();
  for (const { node, store } of cluster.stores) {
    if (!node.isUp || node.isPaused || store?.isServing !== true) return false;
    for (const peer of store.peers.all()) {
      const known = views.get(peer.regionId);
      if (known === undefined) views.set(peer.regionId, [peer]);
      else known.push(peer);
    }
  }
  return [...views.values()].every((peers) => isSafeWithout(peers, id));
}

function isSafeWithout(peers: readonly Peer[], storeId: number): boolean {
  const leader = peers.find((peer) => peer.isLeader && peers.every(({ term }) => term <= peer.term));
  // Nothing proposed that is not applied, so no change of peers either.
  if (leader === undefined || leader.node.lastIndex !== leader.appliedIndex) return false;
  return peers.every(
    ({ region }) => region.epoch.confVer === leader.region.epoch.confVer && survives(region, storeId),
  );
}

function survives({ peers }: Region, storeId: number): boolean {
  if (peers.some(({ role }) => role !== "voter")) return false;
  const left = peers.filter((peer) => peer.storeId !== storeId).length;
  return left * 2 > peers.length;
}
