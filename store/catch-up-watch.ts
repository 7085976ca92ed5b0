/**
 * Notices when peers that waited for a snapshot have caught up, so that the leader tells PD at once: PD waits for it
 * with the next step of its plan. Looks often at first, and the more seldom the longer somebody is behind: a thousand
 * leaders may each have a replica on a store that is dead.
 */
import type { Env } from "../base/index.js";
import type { Peer } from "../region/peer.js";
import type { PeerMeta } from "../region/region.js";

const LOOK_MS = 20;
const LOOK_MS_MAX = 1_000;

interface Behind {
  /** How many pending peers were last told of, and since when as many or more. */
  readonly count: number;
  readonly sinceMs: number;
  nextLookMs: number;
}

export class CatchUpWatch {
  readonly #env: Env;
  readonly #report: (peer: Peer) => void;
  /** Leaders whose last report named pending peers, and how many. */
  readonly #behind = new Map<Peer, Behind>();
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
    const nowMs = this.#env.clock.monotonicMs();
    const before = this.#behind.get(peer);
    const sinceMs = before !== undefined && before.count <= pending ? before.sinceMs : nowMs;
    const waitMs = Math.min(Math.max(LOOK_MS, (nowMs - sinceMs) / 4), LOOK_MS_MAX);
    this.#behind.set(peer, { count: pending, sinceMs, nextLookMs: nowMs + waitMs });
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#behind.size === 0) return;
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
    const nowMs = this.#env.clock.monotonicMs();
    const due = [...this.#behind].filter(([, { nextLookMs }]) => nextLookMs <= nowMs);
    for (const [peer, { count }] of due) {
      if (!peer.isLeader || peer.isRemoved) {
        this.forget(peer);
        continue;
      }
      const now = pendingPeersOf(peer).length;
      if (now < count) this.#report(peer);
      this.watch(peer, now);
    }
    this.#schedule();
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
