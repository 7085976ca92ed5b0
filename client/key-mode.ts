/**
 * What a program calls a key, what a store calls it, and how region borders show it.
 *
 * API V1: the same. API V2: the store's key has the mode (`r` for raw) and the number of the keyspace, three bytes,
 * before it; borders are the memcomparable form of that. Everything inside the client works with the store's keys.
 */
import { decodeMemcomparable, encodeMemcomparable } from "../base/index.js";

export interface KeyMode {
  /** Of `kvrpcpb.APIVersion`. */
  readonly apiVersion: number;
  enter(key: Uint8Array): Uint8Array;
  /** Of a range's end, where empty means behind all keys. */
  enterEnd(key: Uint8Array): Uint8Array;
  leave(key: Uint8Array): Uint8Array;
  /** Of a key as PD is asked for it; empty stays empty. */
  toBorder(key: Uint8Array): Uint8Array;
  fromBorder(border: Uint8Array): Uint8Array;
}

const same = (key: Uint8Array): Uint8Array => key;

const API_V1: KeyMode = {
  apiVersion: 0,
  enter: same,
  enterEnd: same,
  leave: same,
  toBorder: same,
  fromBorder: same,
};

const RAW = 0x72; // 'r'
/** Keyspace DEFAULT has number 0. */
const PREFIX = Uint8Array.of(RAW, 0, 0, 0);
const PREFIX_END = Uint8Array.of(RAW, 0, 0, 1);

const withPrefix = (key: Uint8Array): Uint8Array => {
  const entered = new Uint8Array(PREFIX.length + key.length);
  entered.set(PREFIX);
  entered.set(key, PREFIX.length);
  return entered;
};

const API_V2: KeyMode = {
  apiVersion: 2,
  enter: withPrefix,
  enterEnd: (key) => (key.length === 0 ? PREFIX_END : withPrefix(key)),
  leave: (key) => key.subarray(PREFIX.length),
  toBorder: (key) => (key.length === 0 ? key : encodeMemcomparable(key)),
  fromBorder: decodeMemcomparable,
};

export const keyModeOf = (apiVersion: 1 | 2): KeyMode => (apiVersion === 2 ? API_V2 : API_V1);
