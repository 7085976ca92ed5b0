/**
 * From the wish to split (by size, by PD, by a client) to the proposed command: choose the keys, get ids from PD,
 * propose with the epoch under which the keys were checked. Sizes are kept by counting writes and corrected by
 * scanning, a page a turn, so that a check never holds up the region's writes. (raftstore rules 6.1, 14)
 */
import { compareBytes, type Engine, type Env, misbehaves, peerId, regionId } from "../base/index.js";
import { plainError, type RegionError } from "../region/errors.js";
import { dataEndKey, dataKey, userKey } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { type RegionEpoch, regionToProto, sameEpoch } from "../region/region.js";
import { checkSplitKeys } from "../region/split.js";
import type { StoreConfig } from "./config.js";
import type { PdPort } from "./pd-port.js";

export interface SplitHost {
  readonly env: Env;
  readonly engine: Engine;
  readonly config: StoreConfig;
  readonly pd: PdPort;
}

type SplitDone = (error: RegionError | undefined) => void;

interface DataSize {
  readonly bytes: number;
  readonly keys: number;
}

interface SizeScan extends DataSize {
  /** Engine keys at which each further step begins. */
  readonly borders: readonly Uint8Array[];
  /** From the last border on. */
  readonly rest: DataSize;
}

/** A page holds up the turn that it is read in: some 2 µs a row. */
const SCAN_PAGE_ROWS = 512;
const SCAN_PAGE_BYTES = 256 << 10;
const SPLIT_KEYS_MAX = 10;
/** Looking at a large region costs a scan: after a failure, say because PD is away, not at every tick. */
const RETRY_TICKS = 5;

export class SplitCoordinator {
  readonly #host: SplitHost;
  readonly #checking = new Set<Peer>();
  /** Regions whose split by size failed, and when to look at them again though nothing more is written. */
  readonly #retryAtMs = new WeakMap<Peer, number>();
  splitsProposed = 0;
  /** Looks at a region's size, and those that found nothing to split. */
  checks = 0;
  checksInVain = 0;

  constructor(host: SplitHost) {
    this.#host = host;
  }

  /** Splits at user keys; `done` when the split has been applied here, or why it was not. */
  splitAt(peer: Peer, epoch: RegionEpoch, keys: readonly Uint8Array[], done: SplitDone): void {
    const { region } = peer;
    if (!peer.isLeader) return done(peer.notLeaderError());
    if (epoch.version !== region.epoch.version) return done(peer.epochError(epoch));
    const sorted = [...keys].sort(compareBytes);
    const distinct = sorted.filter(
      (key, i) => i === 0 || compareBytes(key, sorted[i - 1] as Uint8Array) !== 0,
    );
    // A border that is there already is nobody's mistake, unless nothing else was asked for. (rule 6.3)
    const isNew = distinct.filter((key) => compareBytes(key, region.startKey) !== 0);
    const splitKeys = isNew.length > 0 ? isNew : distinct;
    const wrong = checkSplitKeys(region, splitKeys);
    if (wrong !== undefined) return done(plainError(wrong));
    if (misbehaves(this.#host.env, "a split is given up")) return done(plainError("mischief"));
    this.#host.pd.askBatchSplit(regionToProto(region), splitKeys.length, (error, ids) => {
      if (error !== undefined || ids === undefined) {
        return done(plainError(`PD refused the split: ${error?.message ?? "no ids"}`));
      }
      const splits = splitKeys.map((splitKey, i) => ({
        splitKey,
        newRegionId: regionId(ids[i]?.newRegionId ?? 0),
        newPeerIds: (ids[i]?.newPeerIds ?? []).map(peerId),
      }));
      this.splitsProposed++;
      peer.admin(region.epoch, { kind: "split", splits, rightDerive: true }, (failed) => done(failed));
    });
  }

  splitInHalf(peer: Peer, epoch: RegionEpoch): void {
    const step = { bytes: this.#host.config.regionSplitBytes / 64, keys: Number.POSITIVE_INFINITY };
    this.#scan(peer, step, (scan) => {
      if (scan === undefined || !sameEpoch(epoch, peer.region.epoch)) return;
      const middle = scan.borders[Math.floor(scan.borders.length / 2)];
      if (middle === undefined) return this.#splitAtMiddleKey(peer, epoch, scan.keys);
      this.#propose(peer, epoch, [userKey(middle)]);
    });
  }

  /** A region smaller than one step: split it at its middle row. */
  #splitAtMiddleKey(peer: Peer, epoch: RegionEpoch, keys: number): void {
    if (keys < 2) return;
    const start = dataKey(peer.region.startKey);
    const end = dataEndKey(peer.region.endKey);
    const limit = Math.floor(keys / 2) + 1;
    this.#host.engine.scan("default", { start, end, limit, keysOnly: true }, (error, result) => {
      const row = result?.rows[result.rows.length - 1];
      if (error === undefined && row !== undefined) this.#propose(peer, epoch, [userKey(row.key)]);
    });
  }

  /** Looks at every leader's growth; starts a scan where it may matter. */
  tick(peers: Iterable<Peer>): void {
    const { regionSplitBytes, regionMaxBytes, regionSplitKeys, regionMaxKeys } = this.#host.config;
    for (const peer of peers) {
      if (!peer.isLeader || peer.splitInFlight || this.#checking.has(peer)) continue;
      if (misbehaves(this.#host.env, "a split without need", 50)) this.splitInHalf(peer, peer.region.epoch);
      const hasMoreBytes =
        peer.traffic.bytesWrittenSinceCheck >= regionSplitBytes / 16 &&
        peer.approximateBytes >= regionMaxBytes;
      const hasMoreKeys =
        peer.traffic.keysWrittenSinceCheck >= regionSplitKeys / 16 && peer.approximateKeys >= regionMaxKeys;
      const isUnknown = peer.approximateBytes === 0;
      const isDue =
        this.#host.env.clock.monotonicMs() >= (this.#retryAtMs.get(peer) ?? Number.POSITIVE_INFINITY);
      const isTooLarge = peer.approximateBytes >= regionMaxBytes || peer.approximateKeys >= regionMaxKeys;
      if (isUnknown || hasMoreBytes || hasMoreKeys || (isDue && isTooLarge)) this.#check(peer);
    }
  }

  #check(peer: Peer): void {
    const { regionSplitBytes, regionMaxBytes, regionSplitKeys, regionMaxKeys } = this.#host.config;
    const { epoch } = peer.region;
    this.checks++;
    peer.traffic.sizeChecked();
    this.#retryAtMs.delete(peer);
    this.#scan(peer, { bytes: regionSplitBytes, keys: regionSplitKeys }, (scan) => {
      if (scan === undefined || !sameEpoch(epoch, peer.region.epoch)) return;
      peer.approximateBytes = Math.max(1, scan.bytes);
      peer.approximateKeys = scan.keys;
      if (scan.bytes < regionMaxBytes && scan.keys < regionMaxKeys) {
        this.checksInVain++;
        return;
      }
      const borders = scan.borders.slice(0, SPLIT_KEYS_MAX);
      // A small rest at the end is not worth a region of its own.
      const rest = scan.borders.length > SPLIT_KEYS_MAX ? undefined : scan.rest;
      const isSmall =
        rest !== undefined &&
        rest.bytes < regionMaxBytes - regionSplitBytes &&
        rest.keys < regionMaxKeys - regionSplitKeys;
      if (isSmall && borders.length > 1) borders.pop();
      this.#propose(peer, epoch, borders.map(userKey));
    });
  }

  #propose(peer: Peer, epoch: RegionEpoch, keys: readonly Uint8Array[]): void {
    if (keys.length === 0) return;
    this.splitAt(peer, epoch, keys, (error) => {
      if (error === undefined) return;
      const { env, config } = this.#host;
      this.#retryAtMs.set(peer, env.clock.monotonicMs() + RETRY_TICKS * config.splitCheckTickMs);
      env.log.info("split not done", { regionId: peer.regionId, reason: error.message });
    });
  }

  /** Walks the region page by page, a turn each. */
  #scan(peer: Peer, step: DataSize, done: (scan: SizeScan | undefined) => void): void {
    const { engine, env } = this.#host;
    const { region } = peer;
    const end = dataEndKey(region.endKey);
    const borders: Uint8Array[] = [];
    let bytes = 0;
    let keys = 0;
    let rest = { bytes: 0, keys: 0 };
    this.#checking.add(peer);
    const finish = (scan: SizeScan | undefined): void => {
      this.#checking.delete(peer);
      done(scan);
    };
    const page = (start: Uint8Array): void => {
      if (!peer.isLeader || peer.isRemoved) return finish(undefined);
      engine.scan(
        "default",
        { start, end, limit: SCAN_PAGE_ROWS, bytesMax: SCAN_PAGE_BYTES },
        (error, result) => {
          if (error !== undefined) return finish(undefined);
          for (const { key, value } of result.rows) {
            const size = key.length + value.length;
            if (keys > 0 && (rest.bytes + size > step.bytes || rest.keys >= step.keys)) {
              borders.push(key);
              rest = { bytes: 0, keys: 0 };
            }
            rest.bytes += size;
            rest.keys++;
            bytes += size;
            keys++;
          }
          const last = result.rows[result.rows.length - 1];
          if (result.finished || last === undefined) return finish({ bytes, keys, borders, rest });
          const next = new Uint8Array(last.key.length + 1);
          next.set(last.key);
          env.timers.nextTurn(() => page(next));
        },
      );
    };
    page(dataKey(region.startKey));
  }
}
