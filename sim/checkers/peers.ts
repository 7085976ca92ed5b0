/**
 * Peers as the processes show them, looked at after each event of their store: one leader a term, terms and
 * commits that
 * never fall, epochs that mean one thing, ids used once, and at most one valid lease over any key. (1, 3, 12, 13, 14)
 */
import { compareBytes, toHex } from "../../base/index.js";
import type { Peer } from "../../region/peer.js";
import type { Region } from "../../region/region.js";
import type { SimCluster, SimStore } from "../cluster.js";
import type { SimEvent } from "../event-queue.js";
import type { SimNode } from "../node.js";
import type { Store } from "../../store/index.js";
import { MS, Violation, type World } from "../world.js";

/** What a peer showed last. Of one incarnation. */
interface Seen {
  readonly incarnation: number;
  term: number;
  commit: number;
  region: Region;
}

export class Peers {
  readonly #world: World;
  readonly #cluster: SimCluster;
  readonly #leaders = new Map<number, Map<number, number>>();
  readonly #seen = new Map<Peer, Seen>();
  readonly #epochs = new Map<string, string>();
  readonly #owners = new Map<number, string>();
  readonly #byNode = new Map<number, SimStore>();
  /** Of the store whose process runs on a node: peers that asked for a turn since they were looked at. */
  readonly #woken = new Map<number, { readonly store: Store; readonly peers: Set<Peer> }>();
  #nextLeaseCheckUs = 0;

  /** Looks after each event from now on. */
  static watch(cluster: SimCluster): Peers {
    return new Peers(cluster);
  }

  private constructor(cluster: SimCluster) {
    this.#world = cluster.world;
    this.#cluster = cluster;
    cluster.world.observers.push((event) => this.#look(event));
  }

  #look({ node: index }: SimEvent): void {
    const node = this.#world.nodes[index];
    if (node === undefined || !node.isUp) return;
    const store = this.#storeOf(node)?.store;
    if (store !== undefined) {
      const woken = this.#wokenOf(index, store);
      if (woken.size > 0) {
        for (const peer of woken) this.#peer(node, peer);
        woken.clear();
      }
    }
    if (this.#world.nowUs < this.#nextLeaseCheckUs) return;
    this.#nextLeaseCheckUs = this.#world.nowUs + 4 * MS;
    this.#leases();
  }

  /**
   * A peer that changed asks for a turn, or the change reaches nobody. So only these are looked at after each event,
   * and all of them now and then.
   */
  #wokenOf(index: number, store: Store): Set<Peer> {
    const known = this.#woken.get(index);
    if (known?.store === store) return known.peers;
    const peers = new Set<Peer>();
    const { turn } = store;
    const wake = turn.wake.bind(turn);
    turn.wake = (peer) => {
      peers.add(peer);
      wake(peer);
    };
    this.#woken.set(index, { store, peers });
    for (const peer of store.peers.all()) peers.add(peer);
    return peers;
  }

  #storeOf(node: SimNode): SimStore | undefined {
    const known = this.#byNode.get(node.index);
    if (known !== undefined) return known;
    const found = this.#cluster.stores.find((store) => store.node === node);
    if (found !== undefined) this.#byNode.set(node.index, found);
    return found;
  }

  #peer(node: SimNode, peer: Peer): void {
    const { term, region } = peer;
    const commit = peer.node.commitIndex as number;
    const seen = this.#seen.get(peer);
    if (seen === undefined || seen.incarnation !== node.incarnation) {
      this.#seen.set(peer, { incarnation: node.incarnation, term, commit, region });
      this.#region(node, peer);
    } else if (seen.term !== term || seen.commit !== commit || seen.region !== region) {
      if (term < seen.term || commit < seen.commit) {
        throw new Violation(
          "3 monotonic",
          `${node.name} region ${region.id}: term ${seen.term} to ${term}, commit ${seen.commit} to ${commit}`,
        );
      }
      if (seen.region !== region) {
        this.#region(node, peer);
        this.#probeChange(seen.region, region);
      }
      Object.assign(seen, { term, commit, region });
    }
    // The peer's own word lags behind its Raft node's by up to a turn.
    if (peer.isLeader && peer.node.isLeading) this.#leader(node, peer);
  }

  /** Rare changes of a region, as one of its peers sees them. */
  #probeChange(before: Region, now: Region): void {
    const { world, network, pd } = this.#cluster;
    const roles = (region: Region): string => region.peers.map(({ role }) => role).join();
    const isCut = network.blockedLinks > 0;
    const probe = (name: string): void => {
      world.probe(name);
      if (isCut) world.probe(`${name}, while links were cut`);
    };
    if (before.peers.length === 0) return probe("a peer got its first data");
    if (before.epoch.version < now.epoch.version) probe("a region was split");
    if (before.epoch.version < now.epoch.version && !pd.node.isUp) probe("a split was applied without PD");
    if (roles(now).includes("incomingVoter")) probe("a joint configuration began");
    if (roles(before).includes("incomingVoter") && !roles(now).includes("incomingVoter")) {
      probe("a joint configuration ended");
    }
    const learner = before.peers.find(({ role }) => role === "learner");
    if (now.peers.some(({ id, role }) => id === learner?.id && role === "voter"))
      probe("a learner was promoted");
    if (now.peers.length < before.peers.length) probe("a replica was removed");
    const versionsMissed = now.epoch.version - before.epoch.version;
    if (versionsMissed > 1) probe("a peer missed a split and learned it by a snapshot");
  }

  #leader(node: SimNode, { regionId, peerId, term }: Peer): void {
    let leaders = this.#leaders.get(regionId);
    if (leaders === undefined) this.#leaders.set(regionId, (leaders = new Map<number, number>()));
    const known = leaders.get(term);
    if (known === undefined) leaders.set(term, peerId);
    else if (known !== peerId) {
      throw new Violation(
        "1 election safety",
        `region ${regionId}: ${known} and ${peerId} lead term ${term} (${node.name})`,
      );
    }
  }

  #region(node: SimNode, { region, isInitialized }: Peer): void {
    if (!isInitialized) return;
    const key = `${region.id} ${region.epoch.version} ${region.epoch.confVer}`;
    const members = region.peers.map(({ id, storeId, role }) => `${id}@${storeId} ${role}`).sort();
    const content = `${toHex(region.startKey)} ${toHex(region.endKey)} ${members.join()}`;
    const known = this.#epochs.get(key);
    if (known === undefined) this.#epochs.set(key, content);
    else if (known !== content) {
      throw new Violation(
        "12 epoch",
        `${node.name}: region, version, conf ${key} is ${content} and was ${known}`,
      );
    }
    for (const { id, storeId } of region.peers) {
      const owner = `region ${region.id} on store ${storeId}`;
      const before = this.#owners.get(id);
      if (before !== undefined && before !== owner)
        throw new Violation("14 peer ids", `${id} is of ${before} and ${owner}`);
      this.#owners.set(id, owner);
    }
  }

  /**
   * All peers that would serve a read at this moment, in key order, must not overlap. A process that stands still
   * serves none.
   */
  #leases(): void {
    const holders: { readonly peer: Peer; readonly name: string }[] = [];
    const regions = new Set<number>();
    for (const { node, store } of this.#cluster.stores) {
      if (!node.isUp || node.isPaused || store === undefined) continue;
      for (const peer of store.peers.all()) {
        this.#peer(node, peer);
        if (!peer.isLeader) continue;
        if (regions.has(peer.regionId)) this.#world.probe("two leaders of one region at one time");
        regions.add(peer.regionId);
        if (peer.mayReadLocally(node.monotonicMs())) holders.push({ peer, name: node.name });
        else if (peer.node.isLeading) this.#world.probe("a leader without a lease");
      }
    }
    holders.sort((left, right) => compareBytes(left.peer.region.startKey, right.peer.region.startKey));
    for (let i = 1; i < holders.length; i++) {
      const [left, right] = [holders[i - 1], holders[i]] as [(typeof holders)[0], (typeof holders)[0]];
      const { endKey } = left.peer.region;
      if (endKey.length > 0 && compareBytes(endKey, right.peer.region.startKey) <= 0) continue;
      throw new Violation(
        "13 lease exclusion",
        `${left.name} region ${left.peer.regionId} term ${left.peer.term} and ${right.name} region ${right.peer.regionId} term ${right.peer.term} would both serve a read`,
      );
    }
  }
}
