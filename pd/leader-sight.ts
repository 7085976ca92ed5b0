/**
 * What a PD that follows has seen of the leader: the revisions of its key and of its last renewal, and since when
 * nothing changed. A leader that has not renewed for a whole lease has stopped serving, whatever etcd still says of
 * its lease: after an election etcd gives every lease its full time again and more, which nobody needs to wait for.
 *
 * Why that is safe: the leader serves until `sent + 0.95 * lease` of a renewal that was answered. Who follows sees
 * that renewal at `seen >= sent` and waits until `seen + lease`. It then takes the key by a transaction that demands
 * both revisions still to be those seen, so a renewal that came after all shuts it out, and one that comes later
 * fails. Both clocks are monotonic and may differ in speed by up to 5 %.
 */
import { fromUtf8 } from "../base/index.js";
import type { MetaKeys } from "./keys.js";
import type { MetaCompare, MetaEntry } from "./meta-store.js";

export type SightedKey = "leader" | "renewed";

interface Sighting {
  readonly entry: MetaEntry | undefined;
  /** At which the entry was so. */
  readonly revision: number;
}

const NOTHING: Sighting = { entry: undefined, revision: 0 };

export class LeaderSight {
  readonly #keys: MetaKeys;
  #leader = NOTHING;
  #renewed = NOTHING;
  /** By the monotonic clock of this PD, when the newest change arrived. */
  #changedMs = 0;

  constructor(keys: MetaKeys) {
    this.#keys = keys;
  }

  see(key: SightedKey, entry: MetaEntry | undefined, revision: number, nowMs: number): void {
    const known = key === "leader" ? this.#leader : this.#renewed;
    if (revision < known.revision) return;
    if (key === "leader") this.#leader = { entry, revision };
    else this.#renewed = { entry, revision };
    if (entry?.modRevision !== known.entry?.modRevision) this.#changedMs = nowMs;
  }

  /** From when on the leader cannot be serving; undefined when nobody leads, or nothing is known of its renewals. */
  silentFromMs(): number | undefined {
    const [leader, renewed] = [this.#leader.entry, this.#renewed.entry];
    if (leader === undefined || renewed === undefined || leader.leaseId !== renewed.leaseId) return undefined;
    const leaseSeconds = Number(fromUtf8(renewed.value));
    return leaseSeconds > 0 ? this.#changedMs + leaseSeconds * 1000 : undefined;
  }

  /** What must still hold for the key to be taken from a leader that is silent. */
  unchanged(): MetaCompare[] {
    return [
      { kind: "modRevision", key: this.#keys.leader, equals: this.#leader.entry?.modRevision ?? 0 },
      { kind: "modRevision", key: this.#keys.leaderRenewed, equals: this.#renewed.entry?.modRevision ?? 0 },
    ];
  }
}
