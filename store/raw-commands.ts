/**
 * The raw commands, independent of how they arrive (unary or inside BatchCommands): check the context, then read
 * through the turn's batch or write through the region's log. Limits and odd cases follow TiKV (golden/grpc.jsonl): a
 * limit of 0 gives nothing, an empty key and keys outside of the region are refused.
 */
import { compareBytes, EMPTY_BYTES } from "../base/index.js";
import type { kvrpcpb } from "../proto/index.js";
import { putBytes, type WriteBatchEncoder } from "../region/command.js";
import { keyNotInRegion, plainError, type RegionError } from "../region/errors.js";
import { dataKey } from "../region/keys.js";
import type { Peer } from "../region/peer.js";
import { expiryOf, liveValue, rawTrailer } from "../region/raw-value.js";
import { containsKey, type Region } from "../region/region.js";
import { type ApiMode, pairsOf } from "./api-mode.js";
import type { Admission } from "./admission.js";
import type { StoreConfig } from "./config.js";
import type { CommandContext } from "./context.js";
import type { WriteKind } from "./disk-guard.js";
import { type RawScan, RawScanner } from "./raw-scan.js";
import type { ReadBatcher } from "./reads.js";

type Reply<T> = (response: T) => void;

export class RawCommands {
  readonly #context: CommandContext;
  readonly #reads: ReadBatcher;
  readonly #scanner: RawScanner;
  readonly #config: StoreConfig;
  readonly #admission: Admission;
  readonly mode: ApiMode;
  readonly #wallMs: () => number;

  constructor(
    context: CommandContext,
    reads: ReadBatcher,
    config: StoreConfig,
    admission: Admission,
    mode: ApiMode,
    wallMs: () => number,
    nextTurn: (run: () => void) => void,
  ) {
    this.#context = context;
    this.#reads = reads;
    this.#config = config;
    this.#admission = admission;
    this.mode = mode;
    this.#wallMs = wallMs;
    this.#scanner = new RawScanner(reads, config, admission, mode, () => this.#nowSeconds(), nextTurn);
  }

  get(request: kvrpcpb.IRawGetRequest, reply: Reply<kvrpcpb.IRawGetResponse>): void {
    const refused = this.mode.refuseKey(request.context, "raw_get", request.key);
    if (refused !== undefined) return reply({ error: refused });
    const key = this.mode.encode(request.key ?? EMPTY_BYTES);
    const peer = this.#peerFor(request.context, [key]);
    if (!("peer" in peer)) return reply({ regionError: peer });
    this.#points(request.context, peer.peer, [key], (error, values) => {
      if (error !== undefined) return reply({ regionError: error });
      const value = liveValue(values[0], this.#nowSeconds());
      reply(value === undefined ? { notFound: true } : { value });
    });
  }

  batchGet(request: kvrpcpb.IRawBatchGetRequest, reply: Reply<kvrpcpb.IRawBatchGetResponse>): void {
    const refused = this.mode.refuseKeys(request.context, "raw_batch_get", request.keys ?? []);
    if (refused !== undefined) return reply({ pairs: pairsOf(refused) });
    const asked = request.keys ?? [];
    const keys = this.#encodeAll(asked);
    const found = this.#peerFor(request.context, keys);
    if (!("peer" in found)) return reply({ regionError: found });
    if (keys.length === 0) return reply({});
    this.#points(request.context, found.peer, keys, (error, values) => {
      if (error !== undefined) return reply({ regionError: error });
      const nowSeconds = this.#nowSeconds();
      const pairs: kvrpcpb.IKvPair[] = [];
      for (let i = 0; i < keys.length; i++) {
        const value = liveValue(values[i], nowSeconds);
        if (value !== undefined) pairs.push({ key: asked[i] as Uint8Array, value });
      }
      reply({ pairs });
    });
  }

  keyTtl(request: kvrpcpb.IRawGetKeyTTLRequest, reply: Reply<kvrpcpb.IRawGetKeyTTLResponse>): void {
    const refused =
      this.mode.refuseKey(request.context, "raw_get_key_ttl", request.key) ??
      (this.mode.enableTtl ? undefined : "ttl is not enabled (storage.enable-ttl)");
    if (refused !== undefined) return reply({ error: refused });
    const key = this.mode.encode(request.key ?? EMPTY_BYTES);
    const found = this.#peerFor(request.context, [key]);
    if (!("peer" in found)) return reply({ regionError: found });
    this.#points(request.context, found.peer, [key], (error, values) => {
      if (error !== undefined) return reply({ regionError: error });
      const stored = values[0];
      const nowSeconds = this.#nowSeconds();
      if (stored === undefined || liveValue(stored, nowSeconds) === undefined)
        return reply({ notFound: true });
      const expiry = expiryOf(stored);
      reply(expiry === 0 ? {} : { ttl: expiry - nowSeconds });
    });
  }

  put(request: kvrpcpb.IRawPutRequest, reply: Reply<kvrpcpb.IRawPutResponse>): void {
    const refused = this.mode.refuseKey(request.context, "raw_put", request.key);
    if (refused !== undefined) return reply({ error: refused });
    const key = this.mode.encode(request.key ?? EMPTY_BYTES);
    const value = request.value ?? EMPTY_BYTES;
    const found = this.#peerFor(request.context, [key]);
    if (!("peer" in found)) return reply({ regionError: found });
    const wrong =
      this.#wrongWrite(request.key ?? EMPTY_BYTES, request.cf) ?? this.mode.refuseTtl("put", request.ttl);
    if (wrong !== undefined) return reply({ error: wrong });
    const trailer = this.#trailer(request.ttl);
    this.#write(
      found.peer,
      request.context,
      "write",
      putBytes(key, value),
      (encoder) => encoder.put("default", key, value, trailer),
      (error) => reply(error === undefined ? {} : { regionError: error }),
    );
  }

  batchPut(request: kvrpcpb.IRawBatchPutRequest, reply: Reply<kvrpcpb.IRawBatchPutResponse>): void {
    const pairs = request.pairs ?? [];
    const asked = pairs.map((pair) => pair.key ?? EMPTY_BYTES);
    const refused =
      this.mode.refuseKeys(request.context, "raw_batch_put", asked) ??
      this.mode.refuseTtl("batch put", request.ttl, ...(request.ttls ?? []));
    if (refused !== undefined) return reply({ error: refused });
    const keys = this.#encodeAll(asked);
    const found = this.#peerFor(request.context, keys);
    if (!("peer" in found)) return reply({ regionError: found });
    if (pairs.length === 0) return reply({});
    for (const key of asked) {
      const wrong = this.#wrongWrite(key, request.cf);
      if (wrong !== undefined) return reply({ error: wrong });
    }
    const ttls = request.ttls ?? [];
    if (ttls.length > 1 && ttls.length !== pairs.length) {
      return reply({
        error: `${ttls.length} ttls for ${pairs.length} pairs: give none, one, or one for each pair`,
      });
    }
    const nowSeconds = this.#nowSeconds();
    let bytes = 0;
    const trailers = pairs.map((pair, i) => {
      bytes += putBytes(pair.key ?? EMPTY_BYTES, pair.value ?? EMPTY_BYTES);
      const ttl = ttls.length === 0 ? (request.ttl ?? 0) : ((ttls.length === 1 ? ttls[0] : ttls[i]) ?? 0);
      return rawTrailer(ttl === 0 ? 0 : nowSeconds + ttl);
    });
    this.#write(
      found.peer,
      request.context,
      "write",
      bytes,
      (encoder) => {
        for (let i = 0; i < pairs.length; i++) {
          const value = pairs[i]?.value ?? EMPTY_BYTES;
          encoder.put("default", keys[i] as Uint8Array, value, trailers[i] as Uint8Array);
        }
      },
      (error) => reply(error === undefined ? {} : { regionError: error }),
    );
  }

  delete(request: kvrpcpb.IRawDeleteRequest, reply: Reply<kvrpcpb.IRawDeleteResponse>): void {
    const refused = this.mode.refuseKey(request.context, "raw_delete", request.key);
    if (refused !== undefined) return reply({ error: refused });
    this.#deleteKeys(request.context, [request.key ?? EMPTY_BYTES], request.cf, reply);
  }

  batchDelete(request: kvrpcpb.IRawBatchDeleteRequest, reply: Reply<kvrpcpb.IRawBatchDeleteResponse>): void {
    const refused = this.mode.refuseKeys(request.context, "raw_batch_delete", request.keys ?? []);
    if (refused !== undefined) return reply({ error: refused });
    this.#deleteKeys(request.context, request.keys ?? [], request.cf, reply);
  }

  deleteRange(request: kvrpcpb.IRawDeleteRangeRequest, reply: Reply<kvrpcpb.IRawDeleteRangeResponse>): void {
    const refused = this.mode.refuseRanges(request.context, "raw_delete_range", [request]);
    if (refused !== undefined) return reply({ error: refused });
    const start = this.mode.encodeBound(request.startKey ?? EMPTY_BYTES);
    const end = this.mode.encodeBound(request.endKey ?? EMPTY_BYTES);
    const found = this.#peerFor(request.context, []);
    if (!("peer" in found)) return reply({ regionError: found });
    const { region } = found.peer;
    if (start.length === 0 && end.length === 0 && region.startKey.length > 0) {
      return reply({ regionError: keyNotInRegion(start, region) });
    }
    if (end.length > 0 && compareBytes(start, end) > 0) {
      return reply({
        regionError: plainError("invalid delete range command: the start key is above the end key"),
      });
    }
    if (end.length > 0 && compareBytes(start, end) === 0) return reply({});
    const outside = rangeOutside(region, start, end);
    if (outside !== undefined) return reply({ regionError: keyNotInRegion(outside, region) });
    this.#write(
      found.peer,
      request.context,
      "delete",
      start.length + end.length + 64,
      (encoder) => encoder.deleteRange("default", start, end),
      (error) => reply(error === undefined ? {} : { regionError: error }),
    );
  }

  compareAndSwap(request: kvrpcpb.IRawCASRequest, reply: Reply<kvrpcpb.IRawCASResponse>): void {
    const refused = this.mode.refuseKey(request.context, "raw_compare_and_swap", request.key);
    if (refused !== undefined) return reply({ error: refused });
    const key = this.mode.encode(request.key ?? EMPTY_BYTES);
    const value = request.delete ? undefined : (request.value ?? EMPTY_BYTES);
    const found = this.#peerFor(request.context, [key]);
    if (!("peer" in found)) return reply({ regionError: found });
    const wrong =
      this.#wrongWrite(request.key ?? EMPTY_BYTES, request.cf) ??
      this.mode.refuseTtl("compare and swap", request.ttl);
    if (wrong !== undefined) return reply({ error: wrong });
    const expected = request.previousNotExist ? undefined : (request.previousValue ?? EMPTY_BYTES);
    const trailer = this.#trailer(request.ttl);
    const refusal = this.#admission.write(found.peer, "write");
    if (refusal !== undefined) return reply({ regionError: refusal });
    const nowSeconds = this.#nowSeconds();
    found.peer.write({
      epoch: this.#context.epochOf(request.context),
      bytes: putBytes(key, value ?? EMPTY_BYTES) + (expected?.length ?? 0) + 16,
      isSwap: true,
      fill: (encoder) => encoder.compareAndSwap(key, expected, value, trailer, nowSeconds),
      done: (error, swap) => {
        if (error !== undefined) return reply({ regionError: error });
        if (swap === undefined) return reply({ error: "the comparison was not evaluated" });
        const { succeeded, previous } = swap;
        reply({
          succeed: succeeded,
          previousNotExist: previous === undefined,
          previousValue: previous ?? EMPTY_BYTES,
        });
      },
    });
  }

  scan(request: kvrpcpb.IRawScanRequest, reply: Reply<kvrpcpb.IRawScanResponse>): void {
    const refused = this.mode.refuseRanges(request.context, "raw_scan", [request], request.reverse ?? false);
    if (refused !== undefined) return reply({ kvs: pairsOf(refused) });
    const found = this.#peerFor(request.context, []);
    if (!("peer" in found)) return reply({ regionError: found });
    const scan: RawScan = {
      peer: found.peer,
      isReplicaRead: request.context?.replicaRead ?? false,
      start: this.mode.encodeBound(request.startKey ?? EMPTY_BYTES),
      end: this.mode.encodeBound(request.endKey ?? EMPTY_BYTES),
      reverse: request.reverse ?? false,
      keysOnly: request.keyOnly ?? false,
      limit: Math.min(request.limit ?? 0, this.#config.scanRowsMax),
    };
    this.#scanner.collect(scan, 0, (error, kvs) =>
      reply(error === undefined ? { kvs: [...kvs] } : { regionError: error }),
    );
  }

  batchScan(request: kvrpcpb.IRawBatchScanRequest, reply: Reply<kvrpcpb.IRawBatchScanResponse>): void {
    const refused = this.mode.refuseRanges(
      request.context,
      "raw_batch_scan",
      request.ranges ?? [],
      request.reverse ?? false,
    );
    if (refused !== undefined) return reply({ kvs: pairsOf(refused) });
    const found = this.#peerFor(request.context, []);
    if (!("peer" in found)) return reply({ regionError: found });
    const ranges = request.ranges ?? [];
    const all: kvrpcpb.IKvPair[] = [];
    const next = (at: number, bytesBefore: number): void => {
      const range = ranges[at];
      if (range === undefined) return reply({ kvs: all });
      const scan: RawScan = {
        peer: found.peer,
        isReplicaRead: request.context?.replicaRead ?? false,
        start: this.mode.encodeBound(range.startKey ?? EMPTY_BYTES),
        end: this.mode.encodeBound(range.endKey ?? EMPTY_BYTES),
        reverse: request.reverse ?? false,
        keysOnly: request.keyOnly ?? false,
        limit: Math.min(request.eachLimit ?? 0, this.#config.scanRowsMax),
      };
      this.#scanner.collect(scan, bytesBefore, (error, kvs, bytes) => {
        if (error !== undefined) return reply({ regionError: error });
        for (const pair of kvs) all.push(pair);
        next(at + 1, bytes);
      });
    };
    next(0, 0);
  }

  /** Why this context is refused, or undefined. */
  wrongContext(context: kvrpcpb.IContext | null | undefined): RegionError | undefined {
    const found = this.#peerFor(context, []);
    return "peer" in found ? undefined : found;
  }

  /** All rows of a range that lie in the region, in pages; for checksums. */
  scanAll(
    context: kvrpcpb.IContext | null | undefined,
    start: Uint8Array,
    end: Uint8Array,
    onPairs: (pairs: readonly kvrpcpb.IKvPair[]) => void,
    done: (error: RegionError | undefined) => void,
  ): void {
    const found = this.#peerFor(context, []);
    if (!("peer" in found)) return done(found);
    this.#scanner.walk(
      {
        peer: found.peer,
        isReplicaRead: context?.replicaRead ?? false,
        start: this.mode.encodeBound(start),
        end: this.mode.encodeBound(end),
        reverse: false,
        keysOnly: false,
        limit: Number.MAX_SAFE_INTEGER,
      },
      (pairs) => {
        onPairs(pairs);
        return undefined;
      },
      done,
    );
  }

  #deleteKeys(
    context: kvrpcpb.IContext | null | undefined,
    asked: readonly Uint8Array[],
    cf: string | null | undefined,
    reply: Reply<kvrpcpb.IRawDeleteResponse>,
  ): void {
    const keys = this.#encodeAll(asked);
    const found = this.#peerFor(context, keys);
    if (!("peer" in found)) return reply({ regionError: found });
    if (keys.length === 0) return reply({});
    let bytes = 0;
    for (const key of asked) {
      const wrong = this.#wrongWrite(key, cf);
      if (wrong !== undefined) return reply({ error: wrong });
      bytes += key.length + 16;
    }
    this.#write(
      found.peer,
      context,
      "delete",
      bytes,
      (encoder) => {
        for (const key of keys) encoder.delete("default", key);
      },
      (error) => reply(error === undefined ? {} : { regionError: error }),
    );
  }

  #write(
    peer: Peer,
    context: kvrpcpb.IContext | null | undefined,
    kind: WriteKind,
    bytes: number,
    fill: (encoder: WriteBatchEncoder) => void,
    done: (error: RegionError | undefined) => void,
  ): void {
    const refusal = this.#admission.write(peer, kind);
    if (refusal !== undefined) return done(refusal);
    peer.write({ epoch: this.#context.epochOf(context), bytes, isSwap: false, fill, done });
  }

  #points(
    context: kvrpcpb.IContext | null | undefined,
    peer: Peer,
    keys: readonly Uint8Array[],
    done: (error: RegionError | undefined, values: readonly (Uint8Array | undefined)[]) => void,
  ): void {
    const refusal = this.#admission.read();
    if (refusal !== undefined) return done(refusal, []);
    this.#reads.add({
      kind: "points",
      peer,
      isReplicaRead: context?.replicaRead ?? false,
      version: peer.region.epoch.version,
      keys: keys.map(dataKey),
      onError: (error) => done(error, []),
      onValues: (values) => done(undefined, values),
    });
  }

  /** The peer that may serve this request, with all keys inside its region, or the error to answer. */
  #peerFor(
    context: kvrpcpb.IContext | null | undefined,
    keys: readonly Uint8Array[],
  ): { readonly peer: Peer } | RegionError {
    const found = this.#context.check(context);
    if (!("peer" in found)) return found;
    const { region } = found.peer;
    for (const key of keys) if (!containsKey(region, key)) return keyNotInRegion(key, region);
    return found;
  }

  #encodeAll(keys: readonly Uint8Array[]): readonly Uint8Array[] {
    return this.mode.version === 1 ? keys : keys.map((key) => this.mode.encode(key));
  }

  #wrongWrite(key: Uint8Array, cf: string | null | undefined): string | undefined {
    if (key.length > this.#config.keyBytesMax) {
      this.#admission.refused("key too long");
      return `key of ${key.length} bytes is longer than ${this.#config.keyBytesMax}`;
    }
    if (cf != null && cf !== "" && cf !== "default")
      return `raw keys live in the column family default, not ${cf}`;
    return undefined;
  }

  #trailer(ttlSeconds: number | null | undefined): Uint8Array {
    return rawTrailer(ttlSeconds == null || ttlSeconds === 0 ? 0 : this.#nowSeconds() + ttlSeconds);
  }

  #nowSeconds(): number {
    return Math.floor(this.#wallMs() / 1000);
  }
}

/** The first bound of [start, end) that is not inside the region. */
function rangeOutside(region: Region, start: Uint8Array, end: Uint8Array): Uint8Array | undefined {
  if (!containsKey(region, start)) return start;
  if (region.endKey.length > 0 && (end.length === 0 || compareBytes(end, region.endKey) > 0)) return end;
  return undefined;
}
