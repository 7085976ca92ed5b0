/**
 * The founding of a group by a fixed set of members, and the guard against members that lost their disk.
 *
 * A founder with an empty disk takes part only after every other founder has heard its storage id and kept it
 * ("pinned"). So a founder that comes back without its disk finds its id pinned to another storage wherever it asks:
 * it might have voted, or acknowledged entries that it does not have any more, and is refused. It may join again
 * under a new id.
 *
 * A founder that lost its disk before all were through is not waited for, as long as no more than a minority did:
 *   took part before, with the acknowledgement of all others but lost ones, and lost its disk
 *   => one of the others with its disk knows it, and refuses it now.
 */
import { assert } from "../base/index.js";
import type { GroupIdentity, GroupStorage } from "./storage.js";

export interface Founder {
  readonly id: number;
  readonly address: string;
}

/** Disks that a group of so many founders can lose without harm. */
export const lostDisksMax = (founders: number): number => Math.floor((founders - 1) / 2);

export const memberLostItsDisk = (id: number): string =>
  `member ${id} is known with another disk: it lost its data, and must not come back under its old id, because it may ` +
  `have promised what it does not know any more. Remove it (raftwerk group remove --id ${id}), give it an empty ` +
  "directory, and let it join again (join instead of members): it gets a new id. If the group was never founded, " +
  "empty the directories of all its founders and start them again";

/** A name for a set of founders: sets that differ get groups that do not talk to each other. */
export function groupIdOf(founders: readonly Founder[]): string {
  const text = [...founders]
    .sort((left, right) => left.id - right.id)
    .map(({ id, address }) => `${id}=${address}`)
    .join(",");
  let [low, high] = [0x811c9dc5, 0x1000193];
  for (let i = 0; i < text.length; i++) {
    low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
    high = Math.imul(high ^ low ^ text.charCodeAt(i), 0x85ebca6b);
  }
  const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
  return `${hex(high)}${hex(low)}`;
}

/** Storage ids of the others, kept durably before anything they say is believed. */
export class Pins {
  readonly #storage: GroupStorage;
  readonly #onError: (error: Error) => void;
  identity: GroupIdentity;
  /** By node id. Only what is durable. */
  readonly #pins: Map<number, string>;
  readonly #pending = new Set<number>();

  constructor(storage: GroupStorage, identity: GroupIdentity, onError: (error: Error) => void) {
    this.#storage = storage;
    this.identity = identity;
    this.#onError = onError;
    this.#pins = new Map(identity.pins);
  }

  /** True when the member is known with this storage; false with another one; undefined until it is pinned. */
  check(nodeId: number, storageId: string): boolean | undefined {
    const pinned = this.#pins.get(nodeId);
    return pinned === undefined ? undefined : pinned === storageId;
  }

  /** Pins a member at its first sight. */
  pin(nodeId: number, storageId: string, then: () => void): void {
    if (this.#pending.has(nodeId)) return;
    assert(!this.#pins.has(nodeId), "a member is pinned once");
    this.#pending.add(nodeId);
    const pins = [...this.identity.pins, [nodeId, storageId] as const];
    this.save({ ...this.identity, pins }, () => {
      this.#pending.delete(nodeId);
      this.#pins.set(nodeId, storageId);
      then();
    });
  }

  /** A member that left needs no pin: its id is never used again. */
  forget(nodeId: number): void {
    if (!this.#pins.delete(nodeId)) return;
    this.save({ ...this.identity, pins: this.identity.pins.filter(([id]) => id !== nodeId) }, () => {});
  }

  save(identity: GroupIdentity, then: () => void): void {
    this.identity = identity;
    this.#storage.saveIdentity(identity, (error) => {
      if (error !== undefined) return this.#onError(error);
      then();
    });
  }
}
