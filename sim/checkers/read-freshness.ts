/**
 * 20 and 23 where they are decided: a read that a peer serves shows all that any peer knew to be committed when the
 * read was asked. It does not wait for a client to notice.
 *
 *   forall region r, read q asked of peer p at time t, served at t':
 *     applied(p, t') >= max {commit(p', s) : p' peer of r, s <= t}
 *   of a read under a lease:  lease(p, t') is valid, and commit(p, t') >= max {commit(p', s) : s <= t'}
 *   of one that would be served at once at t:  applied(p, t) >= max {commit(p', s) : s <= t}
 *
 * What is committed stays so, over crashes too: the maximum is kept for the region's life.
 */
import type { Peer } from "../../region/peer.js";
import type { SimNode } from "../node.js";
import { Violation } from "../world.js";

interface Frontier {
  index: number;
  name: string;
}

export class ReadFreshness {
  readonly #frontiers = new Map<number, Frontier>();
  readonly #fail: (violation: Violation) => void;
  readonly #asked: (peer: Peer) => void;

  /** `asked`: a read reaches a peer that may not answer it at once. */
  constructor(fail: (violation: Violation) => void, asked: (peer: Peer) => void = () => {}) {
    this.#fail = fail;
    this.#asked = asked;
  }

  /** A peer knows of a commit. */
  knows(region: number, commit: number, name: string): void {
    const frontier = this.#frontiers.get(region);
    if (frontier === undefined) this.#frontiers.set(region, { index: commit, name });
    else if (commit > frontier.index) Object.assign(frontier, { index: commit, name });
  }

  /** The peer would serve a read now. */
  wouldServe(peer: Peer, name: string): void {
    this.#check(peer, peer.appliedIndex, this.#frontiers.get(peer.regionId), name, "would serve a read at");
  }

  /** From now on every read that the peer serves is looked at, in the event in which it is. */
  watch(peer: Peer, node: SimNode): void {
    const queueRead = peer.queueRead.bind(peer);
    peer.queueRead = (request, isReplicaRead) => {
      const known = this.#frontiers.get(peer.regionId);
      const asked = known === undefined ? undefined : { ...known };
      this.#asked(peer);
      queueRead(
        {
          run: () => {
            this.#check(peer, peer.appliedIndex, asked, node.name, "serves a read at");
            request.run();
          },
          fail: (error) => request.fail(error),
        },
        isReplicaRead,
      );
    };
    const confirmAfterRead = peer.confirmAfterRead.bind(peer);
    peer.confirmAfterRead = () => {
      const isHeld = confirmAfterRead();
      if (isHeld) this.#leased(peer, node);
      return isHeld;
    };
  }

  #leased(peer: Peer, node: SimNode): void {
    const { name } = node;
    if (!peer.isLeader || peer.lease.inspect(node.monotonicMs()) !== "valid") {
      const text = `${name}, region ${peer.regionId} term ${peer.term}, answers under a lease that is over`;
      this.#fail(new Violation("13 lease", text));
    }
    const frontier = this.#frontiers.get(peer.regionId);
    this.#check(peer, peer.node.commitIndex, frontier, name, "answers under its lease at");
  }

  #check(peer: Peer, index: number, frontier: Frontier | undefined, name: string, does: string): void {
    if (frontier === undefined || index >= frontier.index) return;
    const text =
      `${name}, region ${peer.regionId} term ${peer.term}, ${does} index ${index}; ${frontier.name} knew ` +
      `${frontier.index} to be committed before it was asked`;
    this.#fail(new Violation("20 23 read freshness", text));
  }
}
