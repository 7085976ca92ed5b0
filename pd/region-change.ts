/**
 * What a heartbeat changes about a region: what must be stored, what the map must take over, what followers of PD
 * must hear. Most heartbeats change nothing, and then nothing is touched. (pd-rules 4.4, 4.9)
 */
import { CompactMeta } from "./compact-meta.js";
import type { DownPeer, Peer, RegionFlow, RegionInfo, RegionMeta } from "./region-info.js";

export interface RegionChange {
  /** Range, epoch or peers: what a restart must know. */
  readonly save: boolean;
  readonly update: boolean;
  readonly sync: boolean;
}

const NEW: RegionChange = { save: true, update: true, sync: true };
const UPDATE: RegionChange = { save: false, update: true, sync: false };
const SYNC: RegionChange = { save: false, update: true, sync: true };
export const UNCHANGED: RegionChange = { save: false, update: false, sync: false };

export const sameRange = (left: RegionMeta, right: RegionMeta): boolean =>
  left === right || CompactMeta.of(left).hasRangeOf(CompactMeta.of(right));

const idOf = (item: Peer | DownPeer): number => ("peer" in item ? item.peer.id : item.id);
const sameIds = (left: readonly (Peer | DownPeer)[], right: readonly (Peer | DownPeer)[]): boolean =>
  left === right ||
  (left.length === right.length && left.every((item, i) => idOf(item) === idOf(right[i] as Peer | DownPeer)));

/** `flowDigits`: figures of flow that agree when rounded to so many digits before the point are the same. */
export function regionChange(
  previous: RegionInfo | undefined,
  region: RegionInfo,
  flowDigits = 3,
): RegionChange {
  if (previous === undefined) return NEW;
  const before = previous.meta;
  const now = region.meta;
  if (before !== now && isNewMeta(before, now)) return NEW;
  if (previous.leader?.id !== region.leader?.id || previous.fromStorage !== region.fromStorage) return SYNC;
  if (flowDiffers(previous.flow, region.flow, 10 ** flowDigits)) return SYNC;
  if (!sameIds(previous.downPeers, region.downPeers)) return SYNC;
  if (!sameIds(previous.pendingPeers, region.pendingPeers)) return SYNC;
  if (previous.sizeMib !== region.sizeMib || previous.keys !== region.keys) return UPDATE;
  // A newer term makes reports of the older one stale; roles change with the epoch in a well-kept store.
  if (previous.term !== region.term || !sameRoles(before.peers, now.peers)) return UPDATE;
  return UNCHANGED;
}

function isNewMeta(before: RegionMeta, now: RegionMeta): boolean {
  const [old, epoch] = [before.epoch, now.epoch];
  return (
    epoch.version > old.version ||
    epoch.confVer > old.confVer ||
    now.peers.length !== before.peers.length ||
    !sameRange(before, now)
  );
}

const sameRoles = (left: readonly Peer[], right: readonly Peer[]): boolean =>
  left === right ||
  left.every((peer, i) => {
    const other = right[i] as Peer;
    return peer.id === other.id && peer.role === other.role;
  });

export const roundFlow = (amount: number, unit: number): number => Math.floor(amount / unit + 0.5) * unit;

function flowDiffers(left: RegionFlow, right: RegionFlow, unit: number): boolean {
  if (left === right) return false;
  return (
    roundFlow(left.writtenBytes, unit) !== roundFlow(right.writtenBytes, unit) ||
    roundFlow(left.readBytes, unit) !== roundFlow(right.readBytes, unit)
  );
}
