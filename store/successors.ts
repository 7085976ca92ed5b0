/**
 * Followers here whose leaders' stores died: they stand for election one after the other instead of at random times. Of
 * a thousand regions some would draw long waits on all replicas. Who is first differs from region to region.
 */
import type { Peer } from "../region/peer.js";
import { isVoter, type PeerMeta } from "../region/region.js";

export interface SuccessorsHost {
  readonly electionTicks: number;
  isAlive(storeId: number): boolean;
  /** The leader whose store was dead is alive, and may not know that this peer woke. */
  foundLeader(peer: Peer, leader: PeerMeta): void;
}

interface Succession {
  readonly rank: number;
  readonly leaderId: number;
  readonly term: number;
  /** The leader of that term cannot return: its process has ended. */
  isGone: boolean;
}

/** Place of a peer among those that may succeed its leader; undefined: it may not vote. */
export function rankOf({ region, peerId }: Peer, isAlive: (storeId: number) => boolean): number | undefined {
  const voters = region.peers.filter(
    (meta) => isVoter(meta) && (meta.id === peerId || isAlive(meta.storeId)),
  );
  const at = voters.findIndex(({ id }) => id === peerId);
  return at < 0 ? undefined : (at + region.id) % voters.length;
}

export class Successors {
  readonly #host: SuccessorsHost;
  readonly #peers = new Map<Peer, Succession>();

  constructor(host: SuccessorsHost) {
    this.#host = host;
  }

  has(peer: Peer): boolean {
    return this.#peers.has(peer);
  }

  /** The peer is awake. */
  add(peer: Peer, isGone: boolean): void {
    const rank = rankOf(peer, (storeId) => this.#host.isAlive(storeId));
    if (rank === undefined) return;
    this.#peers.set(peer, { rank, leaderId: peer.leaderId, term: peer.term, isGone });
    peer.awaitSuccessor();
  }

  forget(peer: Peer): void {
    this.#peers.delete(peer);
  }

  /** What led on that store does not lead any more, though the store is alive. */
  storeRestarted(storeId: number): void {
    for (const [peer, succession] of this.#peers)
      if (peer.leader?.storeId === storeId) succession.isGone = true;
  }

  tick(): void {
    for (const [peer, succession] of this.#peers) this.#succeed(peer, succession);
  }

  /** Two ticks more than an election timeout: who is asked has to have missed the leader for a whole one as well. */
  #succeed(peer: Peer, { rank, leaderId, term, isGone }: Succession): void {
    const { leader, node } = peer;
    const isSame = leader?.id === leaderId && peer.term === term;
    const isLed = leader !== undefined && this.#host.isAlive(leader.storeId) && !(isSame && isGone);
    if (peer.isRemoved || peer.isLeader || isLed) {
      this.#peers.delete(peer);
      peer.awaitNobody();
      if (isLed && isSame && !peer.isRemoved) this.#host.foundLeader(peer, leader);
      return;
    }
    node.electAfter(this.#host.electionTicks + 2 + 4 * rank);
    node.askAgainAfter(2 + 2 * rank);
    // Long enough for the answers of a store that is slow.
    node.standAgainAfter(5 + 4 * rank);
  }
}
