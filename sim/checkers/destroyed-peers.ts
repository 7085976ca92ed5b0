/**
 * 14 A peer that a store has destroyed never comes back: its votes and its log are gone, and others still count them.
 *
 *   forall store s, region r: id(new peer of r on s) > id(any peer of r whose tombstone was on the disk of s)
 */
import type { StoreId } from "../../base/index.js";
import { findPeerOnStore, type Region } from "../../region/region.js";
import { Violation } from "../world.js";

/** Of one disk. */
export class DestroyedPeers {
  /** By region: the greatest id of a peer that a tombstone ended. */
  readonly #greatest = new Map<number, number>();

  /** A tombstone is durable. `before`, what the disk said of the region until now, names a peer that had data. */
  ended(tombstone: Region, before: Region | undefined, storeId: StoreId): void {
    const own = findPeerOnStore(tombstone, storeId) ?? (before && findPeerOnStore(before, storeId));
    if (own === undefined) return;
    const known = this.#greatest.get(tombstone.id) ?? 0;
    this.#greatest.set(tombstone.id, Math.max(known, own.id));
  }

  /** A peer begins to live on the store of this disk. */
  begins(regionId: number, peerId: number, where: string): void {
    const ended = this.#greatest.get(regionId);
    if (ended === undefined || peerId > ended) return;
    throw new Violation(
      "14 destroyed peers",
      `${where}: peer ${peerId} of region ${regionId} is there again; ${ended} was destroyed`,
    );
  }
}
