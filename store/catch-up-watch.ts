/**
 * Notices when peers that waited for a snapshot have caught up, so that the leader tells PD at once: PD waits for it
 * with the next step of its plan. Looks often, but only while somebody is behind.
 */
import type { Env } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import type { PeerMeta } from "../region/region.js";

const LOOK_MS = 20;

export class CatchUpWatch {
  readonly #env: Env;
  readonly #report: (peer: Peer) => void;
  /** Leaders whose last report named pending peers, and how many. */
  readonly #behind = new Map<Peer, number>();
  #scheduled = false;
  #stopped = false;

  constructor(env: Env, report: (peer: Peer) => void) {
    this.#env = env;
    this.#report = report;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** After a report of a leader that named so many pending peers. */
  watch(peer: Peer, pending: number): void {
    if (pending === 0) return this.forget(peer);
    this.#behind.set(peer, pending);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#env.timers.set(LOOK_MS, () => {
      this.#scheduled = false;
      if (!this.#stopped) this.#look();
    });
  }

  forget(peer: Peer): void {
    this.#behind.delete(peer);
  }

  #look(): void {
    for (const [peer, before] of [...this.#behind]) {
      if (!peer.isLeader || peer.isRemoved) {
        this.forget(peer);
        continue;
      }
      const now = pendingPeersOf(peer).length;
      if (now < before) this.#report(peer);
      this.watch(peer, now);
    }
  }
}

/** Peers that still lack what the log no longer holds: they wait for a snapshot. */
export function pendingPeersOf(peer: Peer): PeerMeta[] {
  const firstIndex = peer.storage.firstIndex();
  const pending: PeerMeta[] = [];
  peer.node.withProgress((id, progress) => {
    const other = peer.peerById(id);
    if (other !== undefined && id !== peer.peerId && progress.match + 1 < firstIndex) pending.push(other);
  });
  return pending;
}
