/**
 * 5 Leader completeness: a leader has every entry that was committed in a term before its own. The term in
 * which an entry was committed is taken from the first store that applied it, whose term is that one or a later
 * one.
 *
 *   forall region r, leader l of term t, entry e: e committed in a term < t  =>  e in log(l), or cut from it
 */
import type { Peer } from "../../region/peer.js";
import { logIndex } from "../../base/index.js";
import { Violation } from "../world.js";

interface Committed {
  readonly entryTerm: number;
  readonly inTerm: number;
}

/** Older ones have been looked at under earlier leaders. */
const KEPT = 400;

export class LeaderCompleteness {
  readonly #committed = new Map<number, Map<number, Committed>>();

  committed(region: number, index: number, entryTerm: number, inTerm: number): void {
    let entries = this.#committed.get(region);
    if (entries === undefined) {
      entries = new Map();
      this.#committed.set(region, entries);
    }
    entries.set(index, { entryTerm, inTerm });
    entries.delete(index - KEPT);
  }

  /** When a leadership is seen first. */
  leads(peer: Peer, where: string): void {
    const first = peer.storage.firstIndex() as number;
    const lastOnDisk = peer.storage.lastIndex() as number;
    for (const [index, { entryTerm, inTerm }] of this.#committed.get(peer.regionId) ?? []) {
      if (inTerm >= peer.term || index < first) continue;
      const isThere = index <= peer.node.lastIndex;
      const has = index <= lastOnDisk ? peer.storage.term(logIndex(index)) : entryTerm;
      if (isThere && (has === entryTerm || typeof has !== "number")) continue;
      throw new Violation(
        "5 leader completeness",
        `${where} leads region ${peer.regionId} in term ${peer.term} with a log up to ${peer.node.lastIndex}; entry ` +
          `${index} of term ${entryTerm} was committed in term ${inTerm} at the latest, and it has ${String(has)} there`,
      );
    }
  }
}
