/**
 * Region errors as clients know them (clients.md 3.1). All of these but `staleCommand` mean: this request had no effect
 * and never will; clients repeat on the strength of that.
 */
import type { errorpb } from "../proto/index.js";
import { displayKey } from "./keys.js";
import { epochToProto, type PeerMeta, peerToProto, type Region, regionToProto } from "./region.js";

export type RegionError = errorpb.IError;

export const notLeader = (region: number, leader: PeerMeta | undefined): RegionError => ({
  message: `peer is not leader for region ${region}, leader may be ${leader === undefined ? "unknown" : `peer ${leader.id}`}`,
  notLeader: { regionId: region, leader: leader === undefined ? null : peerToProto(leader) },
});

export const regionNotFound = (region: number): RegionError => ({
  message: `region ${region} is missing`,
  regionNotFound: { regionId: region },
});

export const keyNotInRegion = (key: Uint8Array, region: Region): RegionError => ({
  message:
    `key ${displayKey(key)} is not in region key range ` +
    `[${displayKey(region.startKey)}, ${displayKey(region.endKey)}) for region ${region.id}`,
  keyNotInRegion: { key, regionId: region.id, startKey: region.startKey, endKey: region.endKey },
});

export const epochNotMatch = (current: Region, siblings: readonly Region[]): RegionError => {
  const epoch = epochToProto(current.epoch);
  return {
    message: `EpochNotMatch current epoch of region ${current.id} is conf_ver: ${epoch.confVer} version: ${epoch.version}`,
    epochNotMatch: { currentRegions: siblings.map(regionToProto) },
  };
};

export const storeNotMatch = (requested: number, actual: number): RegionError => ({
  message: `to store id ${requested}, mine ${actual}`,
  storeNotMatch: { requestStoreId: requested, actualStoreId: actual },
});

export const mismatchPeerId = (requested: number, actual: number): RegionError => ({
  message: `mismatch peer id ${requested} != ${actual}`,
  mismatchPeerId: { requestPeerId: requested, storePeerId: actual },
});

/** The term moved between proposal and apply: the write may or may not take effect. */
export const staleCommand = (): RegionError => ({ message: "stale command", staleCommand: {} });

export const serverIsBusy = (reason: string, backoffMs: number): RegionError => ({
  message: `server is busy: ${reason}`,
  serverIsBusy: { reason, backoffMs },
});

export const raftEntryTooLarge = (region: number, bytes: number, bytesMax: number): RegionError => ({
  message: `raft entry of ${bytes} bytes is larger than ${bytesMax}; write less at once`,
  raftEntryTooLarge: { regionId: region, entrySize: bytes },
});

export const regionNotInitialized = (region: number): RegionError => ({
  message: `region ${region} is not initialized yet`,
  regionNotInitialized: { regionId: region },
});

export const readIndexNotReady = (region: number, reason: string): RegionError => ({
  message: `read index not ready: ${reason}`,
  readIndexNotReady: { reason, regionId: region },
});

export const diskFull = (stores: readonly number[]): RegionError => ({
  message: `disk full on store ${stores.join(", ")}: free some space or add a store; reads and deletes go on`,
  diskFull: { storeId: [...stores], reason: "disk full" },
});

/** For faults that fit no variant; clients show the text. */
export const plainError = (message: string): RegionError => ({ message });
