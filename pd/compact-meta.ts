/**
 * The form in which the map keeps a region's metadata. A key is a string with one character for each byte: it takes
 * a sixth of the memory of a `Uint8Array` of the same length, sorts as the bytes do, and neighbours share the one at
 * their border. Bytes are made when somebody asks for them.
 *
 * Its keys and epoch are not own properties, so a copy by spreading lacks them: `changedMeta` makes a changed one.
 */
import { EMPTY_BYTES } from "../base/index.js";
import type { Peer, RegionEpoch, RegionMeta } from "./region-info.js";

const CHUNK = 4_096;

/** One character for each byte. */
export function keyText(key: Uint8Array): string {
  if (key.length <= CHUNK) return String.fromCharCode.apply(null, key as unknown as number[]);
  let text = "";
  for (let at = 0; at < key.length; at += CHUNK) text += keyText(key.subarray(at, at + CHUNK));
  return text;
}

export function keyBytes(text: string): Uint8Array {
  if (text.length === 0) return EMPTY_BYTES;
  const key = new Uint8Array(text.length);
  for (let i = 0; i < key.length; i++) key[i] = text.charCodeAt(i);
  return key;
}

/** Whether the text stands for these bytes. */
export function isKeyText(text: string, key: Uint8Array): boolean {
  if (text.length !== key.length) return false;
  for (let i = 0; i < key.length; i++) if (text.charCodeAt(i) !== key[i]) return false;
  return true;
}

export class CompactMeta implements RegionMeta {
  readonly id: number;
  /** Only exchanged for an equal string that is shared. */
  start: string;
  end: string;
  readonly confVer: number;
  readonly version: number;
  readonly peers: readonly Peer[];

  constructor(
    id: number,
    start: string,
    end: string,
    confVer: number,
    version: number,
    peers: readonly Peer[],
  ) {
    this.id = id;
    this.start = start;
    this.end = end;
    this.confVer = confVer;
    this.version = version;
    this.peers = peers;
  }

  static of(meta: RegionMeta): CompactMeta {
    if (meta instanceof CompactMeta) return meta;
    const { confVer, version } = meta.epoch;
    return new CompactMeta(
      meta.id,
      keyText(meta.startKey),
      keyText(meta.endKey),
      confVer,
      version,
      meta.peers,
    );
  }

  get startKey(): Uint8Array {
    return keyBytes(this.start);
  }

  get endKey(): Uint8Array {
    return keyBytes(this.end);
  }

  get epoch(): RegionEpoch {
    return { confVer: this.confVer, version: this.version };
  }

  hasRangeOf(other: CompactMeta): boolean {
    return this === other || (this.start === other.start && this.end === other.end);
  }
}

/** A record that differs in what is given. */
export function changedMeta(meta: RegionMeta, changes: Partial<RegionMeta>): RegionMeta {
  const { id, startKey, endKey, epoch, peers } = meta;
  return CompactMeta.of({ id, startKey, endKey, epoch, peers, ...changes });
}
