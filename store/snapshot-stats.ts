/**
 * What PD is told of the snapshots that were sent: how long their data took to read and to send, and how long the
 * follower waited for it in all. PD's store limit of version 2 widens while nobody waits. (pd-rules 3.13, 6.32)
 */
import type { Env } from "../base/index.js";
import type { pdpb } from "../proto/index.js";

/** A wish that was not repeated for so long is another one when it comes back. */
const WISH_KEPT_MS = 60_000;
/** Quicker ones are not worth their bytes, as in TiKV. */
const TOTAL_SECONDS_MIN = 1;
const WISHES_MAX = 1_024;
const STATS_MAX = 1_024;

interface Wish {
  readonly firstMs: number;
  lastMs: number;
}

export interface SentSnapshot {
  readonly regionId: number;
  readonly toPeerId: number;
  readonly bytes: number;
  /** From the stream's beginning to the receiver's word that it has all. */
  readonly streamMs: number;
  /** Part of `streamMs` that went by until the engine gave rows. */
  readonly readMs: number;
}

export class SnapshotStats {
  readonly #env: Env;
  /** By the peer that needs it: since when Raft wants to send it one. */
  readonly #wishes = new Map<number, Wish>();
  #stats: pdpb.ISnapshotStat[] = [];

  constructor(env: Env) {
    this.#env = env;
  }

  /** Raft wants to send; it asks again if this store has no room. */
  wanted(toPeerId: number): void {
    const nowMs = this.#env.clock.monotonicMs();
    const wish = this.#wishes.get(toPeerId);
    if (wish !== undefined && nowMs - wish.lastMs < WISH_KEPT_MS) {
      wish.lastMs = nowMs;
      return;
    }
    this.#wishes.delete(toPeerId);
    for (const [peerId, { lastMs }] of this.#wishes) {
      if (nowMs - lastMs < WISH_KEPT_MS && this.#wishes.size < WISHES_MAX) break;
      this.#wishes.delete(peerId);
    }
    this.#wishes.set(toPeerId, { firstMs: nowMs, lastMs: nowMs });
  }

  sent(snapshot: SentSnapshot): void {
    const { regionId, toPeerId, bytes, streamMs, readMs } = snapshot;
    const wishMs = this.#wishes.get(toPeerId)?.firstMs;
    this.#wishes.delete(toPeerId);
    const waitedMs = wishMs === undefined ? streamMs : this.#env.clock.monotonicMs() - wishMs;
    const totalDurationSec = Math.floor(waitedMs / 1000);
    if (totalDurationSec < TOTAL_SECONDS_MIN || this.#stats.length >= STATS_MAX) return;
    this.#stats.push({
      regionId,
      transportSize: bytes,
      generateDurationSec: Math.floor(readMs / 1000),
      sendDurationSec: Math.floor((streamMs - readMs) / 1000),
      totalDurationSec,
    });
  }

  /** Those since the last time. */
  take(): pdpb.ISnapshotStat[] {
    const stats = this.#stats;
    this.#stats = [];
    return stats;
  }
}
