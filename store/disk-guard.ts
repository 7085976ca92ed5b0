/**
 * What a store does when its disk fills up, so that it never comes to a failed write: from `almostFull` on only
 * deletes are proposed here, from `alreadyFull` on nothing, and a follower takes no entries. Reads go on. Each Raft
 * message tells the usage of its sender, so that a leader also refuses what no quorum has room for. (raftstore rules
 * 3.12)
 *
 *   reserve = min(reserveSpaceBytes, capacity / 20)
 *   almostFull: available < reserve; alreadyFull: available < reserve / 5
 */
import type { Logger } from "../base/index.js";
import { disk_usage } from "../proto/index.js";
import { diskFull, type RegionError } from "../region/errors.js";
import type { Peer } from "../region/peer.js";
import { isVoter } from "../region/region.js";

export type DiskUsage = "normal" | "almostFull" | "alreadyFull";
/** `delete` frees space in the end and goes on longer than a `write`. */
export type WriteKind = "write" | "delete";

const { Normal, AlmostFull, AlreadyFull } = disk_usage.DiskUsage;
const TO_WIRE = { normal: Normal, almostFull: AlmostFull, alreadyFull: AlreadyFull };
const FROM_WIRE: Readonly<Record<number, DiskUsage>> = {
  [AlmostFull]: "almostFull",
  [AlreadyFull]: "alreadyFull",
};

export interface DiskGuardOptions {
  readonly storeId: () => number;
  readonly log: Logger;
  /** 0 turns the rule off. */
  readonly reserveSpaceBytes: number;
  readonly figures: () => { readonly capacity: number; readonly available: number } | undefined;
}

export class DiskGuard {
  readonly #options: DiskGuardOptions;
  #own: DiskUsage = "normal";
  /** Other stores that are not `normal`. */
  readonly #others = new Map<number, DiskUsage>();

  constructor(options: DiskGuardOptions) {
    this.#options = options;
  }

  get usage(): DiskUsage {
    return this.#own;
  }
  get onWire(): disk_usage.DiskUsage {
    return TO_WIRE[this.#own];
  }

  /** Looks at the disk; call it every second. */
  look(): void {
    const { figures, reserveSpaceBytes, log } = this.#options;
    const disk = reserveSpaceBytes === 0 ? undefined : figures();
    if (disk === undefined) return;
    const reserve = Math.min(reserveSpaceBytes, disk.capacity / 20);
    const now =
      disk.available < reserve / 5 ? "alreadyFull" : disk.available < reserve ? "almostFull" : "normal";
    if (now === this.#own) return;
    this.#own = now;
    const text =
      now === "normal" ? "the disk has room again: writes go on" : "the disk is full: writes are refused";
    log.warn(text, { usage: now, availableBytes: disk.available, reserveBytes: Math.floor(reserve) });
  }

  /** What another store said of its disk. */
  note(storeId: number, usage: number): void {
    const known = FROM_WIRE[usage];
    if (known !== undefined) this.#others.set(storeId, known);
    else if (this.#others.size > 0) this.#others.delete(storeId);
  }

  /** Why this leader must not propose now, or undefined. Hands leadership on where that helps. */
  refusal(peer: Peer, kind: WriteKind): RegionError | undefined {
    if (this.#own === "normal" && this.#others.size === 0) return undefined;
    const voters = peer.region.peers.filter(isVoter);
    const full = voters.filter(({ storeId }) => isFull(this.#usageOf(storeId), kind));
    const hasQuorum = voters.length - full.length > Math.floor(voters.length / 2);
    if (hasQuorum && !isFull(this.#own, kind)) return undefined;
    if (hasQuorum && peer.isLeader) {
      const heir = voters.find(({ storeId }) => this.#usageOf(storeId) === "normal");
      if (heir !== undefined) peer.transferLeader(heir.id);
    }
    return diskFull(full.map(({ storeId }) => storeId));
  }

  #usageOf(storeId: number): DiskUsage {
    return storeId === this.#options.storeId() ? this.#own : (this.#others.get(storeId) ?? "normal");
  }
}

const isFull = (usage: DiskUsage, kind: WriteKind): boolean =>
  kind === "delete" ? usage === "alreadyFull" : usage !== "normal";
