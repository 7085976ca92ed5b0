/**
 * What a split does to a region when its entry is applied: n keys make n + 1 regions, every part gets version + n and
 * keeps conf_ver; with right-derive the last part keeps the id, new regions are made from left to right.
 * (raftstore rules 6.2, 6.4; clients.md 7.8)
 */
import { compareBytes } from "../base/index.js";
import type { SplitRequest } from "./admin.js";
import type { PeerMeta, Region } from "./region.js";

export type SplitResult =
  /** In key order; exactly one has the id of the parent. */
  | { readonly kind: "split"; readonly regions: readonly Region[]; readonly derived: Region }
  | { readonly kind: "refused"; readonly reason: string };

const refused = (reason: string): SplitResult => ({ kind: "refused", reason });

/** Why these keys cannot split this region, or undefined. */
export function checkSplitKeys(region: Region, keys: readonly Uint8Array[]): string | undefined {
  if (keys.length === 0) return "a split needs at least one key";
  let previous = region.startKey;
  for (const key of keys) {
    if (key.length === 0) return "a split key must not be empty";
    if (compareBytes(key, previous) <= 0) return "split keys must increase and lie inside the region";
    previous = key;
  }
  if (region.endKey.length > 0 && compareBytes(previous, region.endKey) >= 0) {
    return "split keys must lie inside the region";
  }
  return undefined;
}

export function applySplit(
  region: Region,
  splits: readonly SplitRequest[],
  rightDerive: boolean,
): SplitResult {
  const wrong = checkSplitKeys(
    region,
    splits.map((split) => split.splitKey),
  );
  if (wrong !== undefined) return refused(wrong);
  for (const split of splits) {
    if (split.newPeerIds.length !== region.peers.length) {
      return refused(`${split.newPeerIds.length} new peer ids for ${region.peers.length} peers`);
    }
  }
  const epoch = { confVer: region.epoch.confVer, version: region.epoch.version + splits.length };
  const borders = [region.startKey, ...splits.map((split) => split.splitKey), region.endKey];
  const derivedAt = rightDerive ? splits.length : 0;
  const regions: Region[] = [];
  let next = 0;
  for (let part = 0; part <= splits.length; part++) {
    const startKey = borders[part] as Uint8Array;
    const endKey = borders[part + 1] as Uint8Array;
    if (part === derivedAt) {
      regions.push({ ...region, startKey, endKey, epoch });
      continue;
    }
    const split = splits[next++] as SplitRequest;
    const peers = region.peers.map(
      (peer, i): PeerMeta => ({ ...peer, id: split.newPeerIds[i] as PeerMeta["id"] }),
    );
    regions.push({ id: split.newRegionId, startKey, endKey, epoch, peers });
  }
  return { kind: "split", regions, derived: regions[derivedAt] as Region };
}
