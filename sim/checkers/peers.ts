/**
 * The walk over peers as their processes show them: after each event those that changed, now and then all. 3 is
 * judged here (terms and commits of a process never fall); the others have files of their own: 1, 5, 6, 7, 9, 10,
 * 12, 13, 14, 16, 20, 23, 27, 28.
 *
 *   forall peer p of one incarnation: term(p) and commit(p) never fall
 */
import type { Peer } from "../../region/peer.js";
import type { Region } from "../../region/region.js";
import { DEFAULT_STORE_CONFIG, type Store } from "../../store/index.js";
import type { SimCluster, SimStore } from "../cluster.js";
import type { SimEvent } from "../event-queue.js";
import type { SimNode } from "../node.js";
import { MS, Violation, type World } from "../world.js";
import { checkConfChange } from "./conf-change.js";
import { ElectionSafety } from "./election-safety.js";
import { Epochs } from "./epoch.js";
import { EqualData } from "./equal-data.js";
import { checkLeases, type LeaseHolder } from "./lease-exclusion.js";
import type { Logs } from "./logs.js";
import { checkOperators } from "./operators.js";
import { checkOwnTerm } from "./own-term.js";
import { PdPicture } from "./pd-picture.js";
import { checkProgress } from "./progress.js";
import { ReadFreshness } from "./read-freshness.js";

/** What a peer showed last. Of one incarnation. */
interface Seen {
  readonly incarnation: number;
  term: number;
  commit: number;
  region: Region;
  /** The term it led; 0 when it did not lead. */
  leads: number;
}

/** The costly looks are at every so many sweeps. */
const SWEEPS_PER_LOOK = 10;
/** So often the data of a region is compared. */
const COMPARISON_US = 300 * MS;

export class Peers {
  readonly #world: World;
  readonly #cluster: SimCluster;
  readonly #elections = new ElectionSafety();
  readonly #epochs = new Epochs();
  readonly #picture = new PdPicture();
  readonly #freshness: ReadFreshness;
  readonly #data = new EqualData();
  readonly #logs: Logs | undefined;
  readonly #inflightMax: number;
  readonly #seen = new Map<Peer, Seen>();
  readonly #byNode = new Map<number, SimStore>();
  /** Of the store whose process runs on a node: peers that may have changed since they were looked at. */
  readonly #woken = new Map<number, { readonly store: Store; readonly peers: Set<Peer> }>();
  #nextSweepUs = 0;
  #nextComparisonUs = 0;
  #sweeps = 0;

  /** Looks after each event from now on. */
  static watch(cluster: SimCluster, logs?: Logs): Peers {
    return new Peers(cluster, logs);
  }

  private constructor(cluster: SimCluster, logs: Logs | undefined) {
    this.#logs = logs;
    const { raftInflightMessagesMax } = { ...DEFAULT_STORE_CONFIG, ...cluster.shape.storeConfig };
    this.#inflightMax = raftInflightMessagesMax;
    this.#world = cluster.world;
    this.#cluster = cluster;
    this.#freshness = new ReadFreshness(
      (violation) => cluster.world.fail(violation),
      (peer) => {
        const isDeposed = peer.isLeader && peer.term < this.#elections.newest(peer.regionId);
        if (isDeposed) cluster.world.probe("a deposed leader was asked for a read");
      },
    );
    cluster.world.observers.push((event) => this.#look(event));
    // The first thing that it does may be a read, whatever else has arrived meanwhile.
    cluster.world.onResume = () => this.#sweep();
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
    if (this.#world.nowUs < this.#nextSweepUs) return;
    this.#nextSweepUs = this.#world.nowUs + 4 * MS;
    this.#sweep();
  }

  /**
   * A peer that changed asked for a turn, or was told that its batch is written. So only these are looked at after
   * each event, and all of them now and then.
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
    const leads = peer.node.isLeading ? peer.node.term : 0;
    const seen = this.#seen.get(peer);
    if (seen === undefined) this.#begins(node, peer);
    if (commit !== seen?.commit) this.#freshness.knows(peer.regionId, commit, node.name);
    if (seen === undefined || seen.incarnation !== node.incarnation) {
      this.#seen.set(peer, { incarnation: node.incarnation, term, commit, region, leads });
      if (peer.isInitialized) this.#epochs.shows(region, node.name);
    } else if (
      seen.term !== term ||
      seen.commit !== commit ||
      seen.region !== region ||
      seen.leads !== leads
    ) {
      if (term < seen.term || commit < seen.commit) {
        throw new Violation(
          "3 monotonic",
          `${node.name} region ${region.id}: term ${seen.term} to ${term}, commit ${seen.commit} to ${commit}`,
        );
      }
      if (commit > seen.commit && leads > 0 && leads === seen.leads) checkOwnTerm(peer, node.name);
      if (seen.region !== region) {
        if (peer.isInitialized) this.#epochs.shows(region, node.name);
        this.#epochs.grows(seen.region, region, node.name);
        checkConfChange(seen.region, region, node.name);
        this.#probeChange(seen.region, region);
      }
      Object.assign(seen, { term, commit, region, leads });
    }
    // The peer's own word lags behind its Raft node's by up to a turn.
    if (!peer.isLeader || !peer.node.isLeading) return;
    if (this.#elections.leads(peer.regionId, term, peer.peerId, node.name))
      this.#logs?.completeness.leads(peer, node.name);
  }

  #begins(node: SimNode, peer: Peer): void {
    if (!peer.isRemoved)
      this.#logs?.ledger(node.name)?.destroyed.begins(peer.regionId, peer.peerId, node.name);
    const written = peer.written.bind(peer);
    peer.written = (work) => {
      written(work);
      this.#woken.get(node.index)?.peers.add(peer);
    };
    this.#freshness.watch(peer, node);
    const store = this.#storeOf(node);
    if (store !== undefined) this.#data.see(peer, store);
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

  #sweep(): void {
    const isLook = this.#sweeps++ % SWEEPS_PER_LOOK === 0;
    const holders: LeaseHolder[] = [];
    const led = new Map<number, number>();
    for (const { node, store } of this.#cluster.stores) {
      if (!node.isUp || store === undefined) continue;
      for (const peer of store.peers.all()) {
        // Of a store that stands still too: what it did last it may have told others before it stopped.
        if (isLook) this.#peer(node, peer);
        if (node.isPaused || !peer.isLeader) continue;
        const other = led.get(peer.regionId);
        if (other !== undefined) this.#world.probe("two leaders of one region at one time");
        if (other !== undefined && other !== peer.term)
          this.#world.probe("two leaders alive in different terms");
        led.set(peer.regionId, peer.term);
        if (peer.mayReadLocally(node.monotonicMs())) {
          holders.push({ peer, name: node.name });
          this.#freshness.wouldServe(peer, node.name);
        } else if (peer.node.isLeading) this.#world.probe("a leader without a lease");
        // Its word lags behind its Raft node, which may follow by now and have cut its log.
        if (isLook && peer.node.isLeading) checkProgress(peer, this.#inflightMax, node.name);
      }
    }
    checkLeases(holders);
    if (this.#world.nowUs >= this.#nextComparisonUs) {
      this.#nextComparisonUs = this.#world.nowUs + COMPARISON_US;
      this.#data.look(this.#cluster);
    }
    if (!isLook) return;
    checkOperators(this.#cluster);
    this.#picture.look(this.#cluster, this.#epochs);
  }
}
