/**
 * All reads of a turn together: one multi-get for every point read that may be answered now, whatever its region. A
 * leased read is confirmed after its data was taken; if the lease ran out meanwhile it goes the long way, by read
 * index. After the data was taken it is asked once more whether the keys are still this peer's. (design 5.2;
 * raftstore rule 11.8)
 */
import type { Engine, KeySpace, Row } from "../base/index.js";
import { epochNotMatch, type RegionError } from "../region/errors.js";
import type { Peer } from "../region/peer.js";
import type { ReadRequest } from "../region/reads.js";

interface ReadBase {
  readonly peer: Peer;
  readonly isReplicaRead: boolean;
  /** Epoch version under which the keys were checked. */
  readonly version: number;
  onError(error: RegionError): void;
}

export interface PointRead extends ReadBase {
  readonly kind: "points";
  /** Engine keys. */
  readonly keys: readonly Uint8Array[];
  onValues(values: readonly (Uint8Array | undefined)[]): void;
}

export interface RangeRead extends ReadBase {
  readonly kind: "range";
  /** Engine keys. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  readonly limit: number;
  readonly bytesMax: number;
  /** `finished`: the range held no further row. */
  onRows(rows: readonly Row[], finished: boolean): void;
}

export type DataRead = PointRead | RangeRead;

const SPACE: KeySpace = "default";

export class ReadBatcher {
  readonly #engine: Engine;
  readonly #nowMs: () => number;
  readonly #wake: () => void;
  #leased: DataRead[] = [];
  #confirmed: DataRead[] = [];
  /** Reads under a lease. */
  localReads = 0;

  constructor(engine: Engine, nowMs: () => number, wake: () => void) {
    this.#engine = engine;
    this.#nowMs = nowMs;
    this.#wake = wake;
  }

  get isEmpty(): boolean {
    return this.#leased.length === 0 && this.#confirmed.length === 0;
  }

  add(read: DataRead): void {
    if (read.peer.mayReadLocally(this.#nowMs())) {
      this.localReads++;
      this.#leased.push(read);
      this.#wake();
      return;
    }
    this.#queue(read);
  }

  /** Takes the data of everything that may be read now and answers. */
  flush(): void {
    while (!this.isEmpty) {
      const leased = this.#leased;
      const confirmed = this.#confirmed;
      this.#leased = [];
      this.#confirmed = [];
      this.#readPoints(leased, confirmed);
      for (const read of leased) if (read.kind === "range") this.#readRange(read, true);
      for (const read of confirmed) if (read.kind === "range") this.#readRange(read, false);
    }
  }

  #queue(read: DataRead): void {
    const request: ReadRequest = {
      run: () => {
        if (read.peer.region.epoch.version !== read.version) {
          read.onError(epochNotMatch(read.peer.region, [read.peer.region]));
          return;
        }
        this.#confirmed.push(read);
        this.#wake();
      },
      fail: (error) => read.onError(error),
    };
    read.peer.queueRead(request, read.isReplicaRead);
  }

  #readPoints(leased: readonly DataRead[], confirmed: readonly DataRead[]): void {
    const keys: Uint8Array[] = [];
    for (const read of leased) if (read.kind === "points") for (const key of read.keys) keys.push(key);
    for (const read of confirmed) if (read.kind === "points") for (const key of read.keys) keys.push(key);
    if (keys.length === 0) return;
    const values = this.#engine.multiGet(SPACE, keys);
    let at = 0;
    // One look at the clock per region and turn; the same answer holds for all its reads.
    const held = new Map<Peer, boolean>();
    for (const read of leased) {
      if (read.kind !== "points") continue;
      let isHeld = held.get(read.peer);
      if (isHeld === undefined) {
        isHeld = read.peer.confirmAfterRead();
        held.set(read.peer, isHeld);
        if (isHeld) read.peer.renewLeaseEarly(this.#nowMs());
      }
      at = this.#answerPoints(read, values, at, isHeld);
    }
    for (const read of confirmed) if (read.kind === "points") at = this.#answerPoints(read, values, at, true);
  }

  #answerPoints(
    read: PointRead,
    values: readonly (Uint8Array | undefined)[],
    at: number,
    isHeld: boolean,
  ): number {
    const count = read.keys.length;
    const refusal = read.peer.refusalAfterRead(read.version);
    if (refusal !== undefined) read.onError(refusal);
    else if (!isHeld) this.#queue(read);
    else {
      const found = count === 1 ? [values[at]] : values.slice(at, at + count);
      let [bytes, pairs] = [0, 0];
      for (let i = 0; i < count; i++) {
        const value = found[i];
        if (value === undefined) continue;
        bytes += (read.keys[i] as Uint8Array).length + value.length;
        pairs++;
      }
      if (pairs > 0) read.peer.traffic.read(bytes, pairs);
      read.onValues(found);
    }
    return at + count;
  }

  #readRange(read: RangeRead, isLeased: boolean): void {
    const { start, end, reverse, keysOnly, limit, bytesMax } = read;
    this.#engine.scan(SPACE, { start, end, reverse, keysOnly, limit, bytesMax }, (error, result) => {
      if (error !== undefined) {
        read.onError({ message: `scan failed: ${error.message}` });
        return;
      }
      const refusal = read.peer.refusalAfterRead(read.version);
      if (refusal !== undefined) return read.onError(refusal);
      if (isLeased && !read.peer.confirmAfterRead()) {
        this.#queue(read);
        this.#wake();
        return;
      }
      const { rows } = result;
      const bytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      if (rows.length > 0) read.peer.traffic.read(bytes, rows.length);
      read.onRows(rows, result.finished);
    });
  }
}
