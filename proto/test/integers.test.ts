/** The border for 64-bit integers: which are numbers, which bigints, and what each refuses. */
import protobuf from "protobufjs/minimal.js";
import { describe, expect, test } from "vitest";
import { codec, eraftpb, etcdserverpb, kvrpcpb, metapb, pdpb, raft_serverpb, tikvpb } from "../index.js";

const SAFE_MAX = Number.MAX_SAFE_INTEGER;
const ALL_ONES = (1n << 64n) - 1n;

/** Varint of a 64-bit value, written independently of the codec. */
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
const field = (id: number, value: bigint) => new Uint8Array([id * 8, ...varint(value)]);

const peer = codec<metapb.Peer, metapb.IPeer>(metapb.Peer);
const raftMessage = codec<eraftpb.Message, eraftpb.IMessage>(eraftpb.Message);
const header = codec<pdpb.RequestHeader, pdpb.IRequestHeader>(pdpb.RequestHeader);
const get = codec<kvrpcpb.GetRequest, kvrpcpb.IGetRequest>(kvrpcpb.GetRequest);

describe("ids, terms and indexes", () => {
  test("are numbers up to 2^53 - 1", () => {
    for (const value of [0, 1, 127, 128, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, SAFE_MAX]) {
      expect(peer.decode(peer.encode({ id: value })).id).toBe(value);
      expect(peer.decode(field(1, BigInt(value))).id).toBe(value);
      expect(Array.from(peer.encode({ id: value }))).toEqual(
        value === 0 ? [] : Array.from(field(1, BigInt(value))),
      );
    }
  });

  test("of 2^53 and above are refused when read, with the field's name", () => {
    for (const value of [1n << 53n, (1n << 53n) + 1n, 1n << 63n, ALL_ONES]) {
      expect(() => peer.decode(field(1, value))).toThrow("field metapb.Peer.id is not a safe integer");
    }
  });

  test("that are no safe integers are refused when written", () => {
    for (const value of [2 ** 53, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => peer.encode({ id: value })).toThrow("field metapb.Peer.id is not a safe integer");
    }
  });

  test("in packed lists are checked one by one", () => {
    const state = codec<eraftpb.ConfState, eraftpb.IConfState>(eraftpb.ConfState);
    const voters = [1, 300, SAFE_MAX];
    expect(state.decode(state.encode({ voters })).voters).toEqual(voters);
    const bad = varint(1n << 53n);
    expect(() => state.decode(new Uint8Array([0x0a, bad.length, ...bad]))).toThrow(
      "field eraftpb.ConfState.voters is not a safe integer",
    );
    expect(state.decode(new Uint8Array([0x08, 5, 0x08, 6])).voters).toEqual([5, 6]);
  });

  test("as signed integers go down to -(2^53 - 1)", () => {
    for (const value of [-1, -300, -(2 ** 32), -(2 ** 32) - 1, -SAFE_MAX, 5, SAFE_MAX]) {
      const bytes = raftMessage.encode({ priority: value });
      expect(bytes).toEqual(field(15, BigInt(value)));
      expect(raftMessage.decode(bytes).priority).toBe(value);
    }
    expect(() => raftMessage.decode(field(15, -(1n << 53n)))).toThrow("is not a safe integer");
    expect(() => raftMessage.decode(field(15, -(1n << 63n)))).toThrow("is not a safe integer");
  });

  test("as keys of maps are numbers in decimal", () => {
    const response = codec<pdpb.QueryRegionResponse, pdpb.IQueryRegionResponse>(pdpb.QueryRegionResponse);
    const regionsById = { [SAFE_MAX]: { region: { id: SAFE_MAX } }, 7: { region: { id: 7 } } };
    const decoded = response.decode(response.encode({ regionsById }));
    expect(Object.keys(decoded.regionsById)).toEqual(["7", String(SAFE_MAX)]);
    expect(decoded.regionsById[7]?.region?.id).toBe(7);
    expect(() => response.encode({ regionsById: { "-1": {} } })).toThrow("map key -1");
  });
});

describe("cluster ids and timestamps", () => {
  test("are bigints over all 64 bits", () => {
    for (const value of [0n, 1n, 127n, 128n, 1n << 32n, (1n << 53n) + 1n, 1n << 63n, ALL_ONES]) {
      expect(header.decode(header.encode({ clusterId: value })).clusterId).toBe(value);
      expect(get.decode(get.encode({ version: value })).version).toBe(value);
      expect(Array.from(header.encode({ clusterId: value }))).toEqual(
        value === 0n ? [] : Array.from(field(1, value)),
      );
    }
  });

  test("refuse what does not fit, and numbers", () => {
    expect(() => header.encode({ clusterId: 1n << 64n })).toThrow("pdpb.RequestHeader.cluster_id");
    expect(() => header.encode({ clusterId: -1n })).toThrow("does not fit 64 bits");
    expect(() => header.encode({ clusterId: 5 as never })).toThrow("takes a bigint");
  });

  test("may be negative where the protocol says int64", () => {
    const kv = codec<etcdserverpb.KeyValue, etcdserverpb.IKeyValue>(etcdserverpb.KeyValue);
    for (const lease of [-1n, -(1n << 63n), (1n << 63n) - 1n]) {
      expect(kv.decode(kv.encode({ lease })).lease).toBe(lease);
    }
    expect(() => kv.encode({ lease: 1n << 63n })).toThrow("does not fit 64 bits");
  });
});

describe("the kind of a field", () => {
  /** Defaults show the kind at run time; the annotations make the compiler check the declarations. */
  test("is number for what is counted up from small", () => {
    const region: number[] = [new metapb.Region().id, new metapb.RegionEpoch().version];
    const entry: number[] = [new eraftpb.Entry().term, new eraftpb.Entry().index];
    const context: number[] = [new kvrpcpb.Context().regionId, new kvrpcpb.Context().term];
    const other: number[] = [new pdpb.Timestamp().physical, new kvrpcpb.RawPutRequest().ttl];
    const stats: number[] = [new pdpb.StoreStats().capacity, new raft_serverpb.RaftMessage().regionId];
    for (const value of [...region, ...entry, ...context, ...other, ...stats]) expect(value).toBe(0);
  });

  test("is bigint for what is random, a timestamp, or sent as the largest integer", () => {
    const cluster: bigint[] = [new pdpb.ResponseHeader().clusterId, new pdpb.Member().memberId];
    const txn: bigint[] = [new kvrpcpb.PrewriteRequest().startVersion, new kvrpcpb.PrewriteRequest().txnSize];
    const time: bigint[] = [new metapb.Store().lastHeartbeat, new pdpb.UpdateServiceGCSafePointRequest().TTL];
    const sum: bigint[] = [
      new kvrpcpb.RawChecksumResponse().checksum,
      new tikvpb.BatchRaftMessage().lastObservedTime,
    ];
    for (const value of [...cluster, ...txn, ...time, ...sum]) expect(value).toBe(0n);
  });
});

describe("a codec", () => {
  test("gives fresh memory for each message", () => {
    const first = peer.encode({ id: 300 });
    const copy = first.slice();
    const second = peer.encode({ id: 301 });
    expect(first).toEqual(copy);
    expect(first.buffer).not.toBe(second.buffer);
    expect(first.buffer.byteLength).toBe(first.length);
  });

  test("gives plain byte arrays, whatever class the input has", () => {
    const request = codec<kvrpcpb.RawPutRequest, kvrpcpb.IRawPutRequest>(kvrpcpb.RawPutRequest);
    const bytes = Buffer.from(request.encode({ key: new Uint8Array([1, 2]), value: new Uint8Array(0) }));
    const decoded = request.decode(bytes);
    expect(decoded.key.constructor).toBe(Uint8Array);
    expect(decoded.value.constructor).toBe(Uint8Array);
    expect(decoded.key).toEqual(new Uint8Array([1, 2]));
  });

  test("works again after a message that could not be encoded", () => {
    expect(() => peer.encode({ id: 5, storeId: -1 })).toThrow("metapb.Peer.store_id");
    expect(Array.from(peer.encode({ id: 5 }))).toEqual([0x08, 5]);
    const region = codec<metapb.Region, metapb.IRegion>(metapb.Region);
    expect(() => region.encode({ peers: [{ id: 5, storeId: -1 }] })).toThrow("metapb.Peer.store_id");
    expect(Array.from(peer.encode({ id: 5 }))).toEqual([0x08, 5]);
  });

  test("does not need the Long class", () => {
    const { Long } = protobuf.util;
    protobuf.util.Long = undefined as never;
    try {
      protobuf.configure();
      expect(peer.decode(peer.encode({ id: SAFE_MAX })).id).toBe(SAFE_MAX);
      expect(header.decode(header.encode({ clusterId: ALL_ONES })).clusterId).toBe(ALL_ONES);
    } finally {
      protobuf.util.Long = Long;
      protobuf.configure();
    }
  });
});
