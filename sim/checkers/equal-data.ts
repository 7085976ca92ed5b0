/**
 * 6 State machine safety, of data, and 16 of a split: what a region holds is a function of how far its log is applied.
 * (That the entries are the same is judged in `logs.ts`.) Looked at for one region after the other, on all stores whose
 * peer has nothing under way, and for every peer when it is seen first: so the parts of a split are compared as they
 * begin. A split moves no data, it only names ranges, so that what was there before it is there after it.
 *
 * After a crash the engine may be ahead of the applied index by range deletes, which are done again: a peer is compared
 * when it has applied the log that it started with.
 *
 *   forall region r, peers p, p': applied(p) = applied(p')  =>  data(p) = data(p')
 */
import { DATA_KEY_SPACES } from "../../base/engine.js";
import { dataEndKey, dataKey } from "../../region/keys.js";
import type { Peer } from "../../region/peer.js";
import type { SimCluster, SimStore } from "../cluster.js";
import { fingerprint, FINGERPRINT_START } from "../fingerprint.js";
import { Violation } from "../world.js";

interface Known {
  readonly print: number;
  readonly name: string;
}

export class EqualData {
  /** By region and applied index. */
  readonly #known = new Map<string, Known>();
  /** Of a peer that has just started: how far its log went. A range delete is done ahead of the applied index. */
  readonly #from = new WeakMap<Peer, number>();
  #turn = 0;

  /** The next region. */
  look({ stores }: SimCluster): void {
    const ids = new Set<number>();
    for (const { store } of stores) for (const { regionId } of store?.peers.all() ?? []) ids.add(regionId);
    const region = [...ids][this.#turn++ % Math.max(1, ids.size)];
    for (const store of stores) {
      const peer = region === undefined ? undefined : store.store?.peers.get(region);
      if (peer !== undefined) this.see(peer, store);
    }
  }

  see(peer: Peer, store: SimStore): void {
    const from = this.#from.get(peer) ?? peer.node.lastIndex;
    this.#from.set(peer, from);
    if (peer.appliedIndex < from) return;
    if (!peer.isInitialized || peer.isRemoved || peer.isApplyingSnapshot || peer.workUnderWay) return;
    const key = `${peer.regionId}/${peer.appliedIndex}`;
    const print = printOf(peer, store);
    const known = this.#known.get(key);
    if (known === undefined) this.#known.set(key, { print, name: store.node.name });
    else if (known.print !== print) {
      const stores = `${store.node.name} and ${known.name}`;
      throw new Violation("6 16 equal data", `${stores} have applied ${key} and hold different data`);
    }
  }
}

function printOf({ region }: Peer, { disk }: SimStore): number {
  let print = FINGERPRINT_START;
  const [start, end] = [dataKey(region.startKey), dataEndKey(region.endKey)];
  for (const space of DATA_KEY_SPACES) {
    disk.memory.scan(space, { start, end, limit: 1 << 30 }, (_error, { rows }) => {
      for (const { key, value } of rows) print = fingerprint(value, fingerprint(key, print));
    });
  }
  return print;
}
