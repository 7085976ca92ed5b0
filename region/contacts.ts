/**
 * Whom a peer knows beside the region's list: peers that others named, or that were of the region once; and when each
 * peer was heard last. Most peers sleep, and those keep nothing here.
 */
import type { PeerId } from "../base/index.js";
import { findPeer, type PeerMeta, type Region } from "./region.js";

export class Contacts {
  #others: Map<number, PeerMeta> | undefined;
  #heardMs: Map<number, number> | undefined;
  /** When an answer to a heartbeat was last listened to. */
  #answeredMs: Map<number, number> | undefined;

  find(region: Region, id: number): PeerMeta | undefined {
    return findPeer(region, id as PeerId) ?? this.#others?.get(id);
  }

  /** Nothing to do for a peer of the region. */
  remember(region: Region, meta: PeerMeta): void {
    if (findPeer(region, meta.id) !== undefined) return;
    this.#others ??= new Map();
    this.#others.set(meta.id, meta);
  }

  /** Of the peers before a change, those that are gone. */
  rememberGone(before: Region, after: Region): void {
    if (before !== after) for (const meta of before.peers) this.remember(after, meta);
  }

  heard(id: number, atMs: number): void {
    this.#heardMs ??= new Map();
    this.#heardMs.set(id, atMs);
  }

  /**
   * Whether an answer to a heartbeat is worth listening to. A store that stood still answers all heartbeats that waited
   * for it at once, and each answer of a peer that is behind would have the leader read and send what it lacks again.
   */
  takesAnswer(id: number, nowMs: number, distanceMs: number): boolean {
    const lastMs = this.#answeredMs?.get(id);
    if (lastMs !== undefined && nowMs - lastMs < distanceMs) return false;
    this.#answeredMs ??= new Map();
    this.#answeredMs.set(id, nowMs);
    return true;
  }

  wasHeard(id: number): boolean {
    return this.#heardMs?.has(id) === true;
  }

  /** Undefined when that peer was never heard. */
  silentMs(id: number, nowMs: number): number | undefined {
    const heardMs = this.#heardMs?.get(id);
    return heardMs === undefined ? undefined : nowMs - heardMs;
  }

  get isEmpty(): boolean {
    return this.#others === undefined && this.#heardMs === undefined && this.#answeredMs === undefined;
  }

  /** The peer falls quiet: who was silent for how long is known of stores then. */
  forgetTimes(): void {
    this.#heardMs = undefined;
    this.#answeredMs = undefined;
  }
}
