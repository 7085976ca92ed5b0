/**
 * Branded ids. Inside raftwerk region, store, peer ids, terms and log indexes are safe integers: PD allocates ids
 * from 1 and indexes count up from 5, so 2^53 is never reached. The codec border rejects anything else. What is
 * random in 64 bits (cluster id, timestamps, member ids) is `bigint`.
 */
import { assert } from "./assert.js";

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** Random 64-bit identity of a cluster; never 0. */
export type ClusterId = Branded<bigint, "ClusterId">;
/** From PD's id allocator, >= 1. */
export type StoreId = Branded<number, "StoreId">;
/** From PD's id allocator, >= 1. */
export type RegionId = Branded<number, "RegionId">;
/** From PD's id allocator, >= 1; a Raft node id within its region's group. Never reused. */
export type PeerId = Branded<number, "PeerId">;
/** Raft term, >= 0. */
export type Term = Branded<number, "Term">;
/** Raft log index, >= 0. */
export type LogIndex = Branded<number, "LogIndex">;

function checked(value: number, what: string): number {
  assert(Number.isSafeInteger(value) && value >= 0, () => `${what} is not a safe integer: ${value}`);
  return value;
}

export const storeId = (value: number): StoreId => checked(value, "store id") as StoreId;
export const regionId = (value: number): RegionId => checked(value, "region id") as RegionId;
export const peerId = (value: number): PeerId => checked(value, "peer id") as PeerId;
export const term = (value: number): Term => checked(value, "term") as Term;
export const logIndex = (value: number): LogIndex => checked(value, "log index") as LogIndex;
export const clusterId = (value: bigint): ClusterId => {
  assert(value > 0n && value < 1n << 64n, () => `cluster id out of range: ${value}`);
  return value as ClusterId;
};
