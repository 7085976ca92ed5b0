/**
 * Scans of raw keys: page by page until the limit is met or the range is done. Clients take an answer with fewer rows
 * than they asked for as the end of the region, so a page that is cut by its bytes, or thinned out by expired
 * rows, must never become an answer by itself. Each page is linearizable; a scan of several pages is not one snapshot.
 */
import { compareBytes, nextKey, type Row } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import { plainError, type RegionError } from "../region/errors.js";
import { dataEndKey, dataKey, userKey } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { liveValue } from "../region/raw-value.js";
import type { Admission } from "./admission.js";
import type { ApiMode } from "./api-mode.js";
import type { StoreConfig } from "./config.js";
import type { ReadBatcher } from "./reads.js";

export interface RawScan {
  readonly peer: Peer;
  readonly isReplicaRead: boolean;
  /** A reverse scan runs from `start` (exclusive) down to `end` (inclusive). Both are clipped to the region. */
  readonly start: Uint8Array;
  readonly end: Uint8Array;
  readonly reverse: boolean;
  readonly keysOnly: boolean;
  /** At most this many live rows. */
  readonly limit: number;
}

type Pairs = readonly kvrpcpb.IKvPair[];
type Done = (error: RegionError | undefined) => void;

export class RawScanner {
  readonly #reads: ReadBatcher;
  readonly #config: StoreConfig;
  readonly #admission: Admission;
  readonly #mode: ApiMode;
  /** Scans that gather rows. */
  #gathering = 0;
  readonly #nowSeconds: () => number;
  readonly #nextTurn: (run: () => void) => void;

  constructor(
    reads: ReadBatcher,
    config: StoreConfig,
    admission: Admission,
    mode: ApiMode,
    nowSeconds: () => number,
    nextTurn: (run: () => void) => void,
  ) {
    this.#reads = reads;
    this.#config = config;
    this.#admission = admission;
    this.#mode = mode;
    this.#nowSeconds = nowSeconds;
    this.#nextTurn = nextTurn;
  }

  /** Gathers all rows; refuses what would not fit into `scanAnswerBytesMax`, counted on from `bytesBefore`. */
  collect(
    scan: RawScan,
    bytesBefore: number,
    done: (error: RegionError | undefined, pairs: Pairs, bytes: number) => void,
  ): void {
    const busy = this.#admission.scan();
    if (busy !== undefined) return done(busy, [], bytesBefore);
    const { scans } = this.#admission;
    const all: kvrpcpb.IKvPair[] = [];
    const bytesMax = this.#config.scanAnswerBytesMax;
    let bytes = bytesBefore;
    scans.add(bytes);
    const onPairs = (pairs: Pairs): RegionError | undefined => {
      const before = bytes;
      for (const pair of pairs) {
        bytes += (pair.key?.length ?? 0) + (pair.value?.length ?? 0);
        all.push(pair);
      }
      scans.add(bytes - before);
      if (bytes > bytesMax) {
        this.#admission.refused("scan answer too large");
        return plainError(
          `the scan would answer more than ${bytesMax} bytes: ask for a smaller limit or range`,
        );
      }
      // One scan alone may go on: its own bound holds it.
      return this.#gathering > 1 ? this.#admission.scan() : undefined;
    };
    this.#gathering++;
    this.walk(scan, onPairs, (error) => {
      this.#gathering--;
      scans.add(-bytes);
      done(error, error === undefined ? all : [], bytes);
    });
  }

  /** Hands out the rows page by page; `onPairs` may end the scan with an error. */
  walk(scan: RawScan, onPairs: (pairs: Pairs) => RegionError | undefined, done: Done): void {
    const { region } = scan.peer;
    const low = scan.reverse ? scan.end : scan.start;
    const high = scan.reverse ? scan.start : scan.end;
    const from = compareBytes(low, region.startKey) < 0 ? region.startKey : low;
    const to = lowerEnd(high, region.endKey);
    if (scan.limit <= 0 || (to.length > 0 && compareBytes(from, to) >= 0)) return done(undefined);
    this.#page(scan, region.epoch.version, dataKey(from), dataEndKey(to), scan.limit, onPairs, done);
  }

  #page(
    scan: RawScan,
    version: number,
    start: Uint8Array,
    end: Uint8Array,
    limit: number,
    onPairs: (pairs: Pairs) => RegionError | undefined,
    done: Done,
  ): void {
    const { peer, reverse } = scan;
    if (peer.region.epoch.version !== version) return done(peer.epochError({ version, confVer: 0 }));
    this.#reads.add({
      kind: "range",
      peer,
      isReplicaRead: scan.isReplicaRead,
      version,
      start,
      end,
      reverse,
      // Whether a row has expired stands in its value, so that keys-only scans read values too.
      keysOnly: false,
      limit: Math.min(limit, this.#config.scanRowsMax),
      bytesMax: this.#config.scanBytesMax,
      onError: done,
      onRows: (rows, finished) => {
        const pairs = this.#livePairs(rows, scan.keysOnly);
        const refusal = onPairs(pairs);
        if (refusal !== undefined) return done(refusal);
        const last = rows[rows.length - 1];
        if (finished || last === undefined || pairs.length >= limit) return done(undefined);
        const rest = limit - pairs.length;
        const [from, to] = reverse ? [start, last.key] : [nextKey(last.key), end];
        // Other work of the store goes first between pages.
        this.#nextTurn(() => this.#page(scan, version, from, to, rest, onPairs, done));
      },
    });
  }

  #livePairs(rows: readonly Row[], keysOnly: boolean): kvrpcpb.IKvPair[] {
    const nowSeconds = this.#nowSeconds();
    const pairs: kvrpcpb.IKvPair[] = [];
    for (const row of rows) {
      const value = liveValue(row.value, nowSeconds);
      if (value === undefined) continue;
      const key = this.#mode.decode(userKey(row.key));
      pairs.push(keysOnly ? { key } : { key, value });
    }
    return pairs;
  }
}

/** The lower of two range ends, empty meaning infinity. */
function lowerEnd(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length === 0) return right;
  if (right.length === 0) return left;
  return compareBytes(left, right) < 0 ? left : right;
}
