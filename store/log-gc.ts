/**
 * How far a leader cuts its region's log: up to what every peer has, once that is worth an entry; beyond that, at the
 * expense of lagging peers (they will get a snapshot), when the log has outgrown its limits. (raftstore rules 10.1)
 */
import { logIndex, term } from "../base/index.js";
import type { RegionConfig } from "../region/config.js";
import type { PeerFigures } from "../region/figures.js";
import type { Peer } from "../region/peer.js";

const SKIPS_MAX = 6;
/** A peer that is silent for longer holds no entries in memory. */
const SILENT_MS_MAX = 10_000;

export interface LogGcInput {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly appliedIndex: number;
  /** What every peer has: min match. */
  readonly replicatedIndex: number;
  readonly logBytes: number;
  readonly skips: number;
}

/** The last index to cut, or why not now. */
export function logGcTarget(input: LogGcInput, config: RegionConfig): number | "skip" | "none" {
  const { firstIndex, lastIndex, appliedIndex, replicatedIndex } = input;
  let target: number;
  const isOverLimit =
    appliedIndex > firstIndex &&
    (appliedIndex - firstIndex >= config.logGcCountLimit || input.logBytes >= config.logGcBytesLimit);
  if (isOverLimit) target = Math.max(firstIndex + Math.floor((lastIndex - firstIndex) / 2), replicatedIndex);
  else if (replicatedIndex < firstIndex || lastIndex - firstIndex < 3) return "none";
  else if (replicatedIndex - firstIndex < config.logGcThreshold && input.skips < SKIPS_MAX) return "skip";
  else target = replicatedIndex;
  target = Math.min(target, appliedIndex) - 1;
  return target < firstIndex ? "none" : target;
}

export class LogGc {
  readonly #config: RegionConfig;
  readonly #skips = new Map<number, number>();

  readonly #figures: PeerFigures | undefined;

  constructor(config: RegionConfig, figures?: PeerFigures) {
    this.#config = config;
    this.#figures = figures;
  }

  tick(peers: Iterable<Peer>, nowMs: number): void {
    for (const peer of peers) {
      if (peer.isLeader) this.#visit(peer, nowMs);
      // A follower needs no entry in memory that it has applied.
      else peer.storage.trimCache(logIndex(peer.storage.applyState.appliedIndex + 1));
    }
  }

  forget(peer: Peer): void {
    this.#skips.delete(peer.regionId);
  }

  #visit(peer: Peer, nowMs: number): void {
    const { storage } = peer;
    let replicatedIndex = storage.lastIndex() as number;
    let heardIndex = replicatedIndex;
    peer.node.withProgress((id, progress) => {
      if (id === peer.peerId) return;
      replicatedIndex = Math.min(replicatedIndex, progress.match);
      // Entries stay in memory for those who take them; whoever is away for long reads them from the disk later.
      if ((peer.silentMs(id, nowMs) ?? SILENT_MS_MAX) < SILENT_MS_MAX)
        heardIndex = Math.min(heardIndex, progress.match);
    });
    this.#figures?.listener?.logLag(storage.lastIndex() - replicatedIndex);
    storage.trimCache(logIndex(Math.min(heardIndex, storage.applyState.appliedIndex) + 1));
    const firstIndex = storage.firstIndex();
    const skips = this.#skips.get(peer.regionId) ?? 0;
    const target = logGcTarget(
      {
        firstIndex,
        lastIndex: storage.lastIndex(),
        appliedIndex: storage.applyState.appliedIndex,
        replicatedIndex,
        logBytes: peer.logBytesSinceGc,
        skips,
      },
      this.#config,
    );
    if (target === "none") return;
    if (target === "skip") {
      if (storage.lastIndex() > firstIndex + 3) this.#skips.set(peer.regionId, skips + 1);
      return;
    }
    this.#skips.delete(peer.regionId);
    const targetTerm = storage.term(logIndex(target));
    if (typeof targetTerm !== "number") return;
    const command = { kind: "compactLog", index: logIndex(target), term: term(targetTerm) } as const;
    peer.admin(peer.region.epoch, command, () => {});
  }
}
