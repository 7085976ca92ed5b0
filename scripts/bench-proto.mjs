#!/usr/bin/env node
/**
 * Microseconds per sub-request of the hand-tuned codecs against the generated ones, on the messages of a busy store:
 * batches of 64 raw commands as client-go sends them, and a batch of Raft appends. `node scripts/bench-proto.mjs`.
 */
import protobuf from "protobufjs/minimal.js";
import * as fast from "../proto/gen/fast.js";
import { raft_serverpb, tikvpb } from "../proto/gen/kvproto.js";

const SUB_REQUESTS = 64;
const bytesOf = (length, seed) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed) & 255);

function context(i) {
  return {
    regionId: 2 + (i % 16),
    regionEpoch: { confVer: 5, version: 40 + (i % 16) },
    peer: { id: 100 + (i % 16), storeId: 4 },
    maxExecutionDurationMs: 20000,
  };
}

function requests(make) {
  const list = Array.from({ length: SUB_REQUESTS }, (_, i) => make(i));
  return { requests: list, requestIds: list.map((_, i) => 1_000_000 + i) };
}
const key = (i) => bytesOf(24, i);
const entry = (i) => ({ term: 7, index: 100_000 + i, data: bytesOf(1500, i), context: bytesOf(1, i) });

const cases = [
  [
    "BatchCommandsRequest, RawGet",
    fast.tikvpb_BatchCommandsRequest,
    tikvpb.BatchCommandsRequest,
    requests((i) => ({ RawGet: { context: context(i), key: key(i), cf: "default" } })),
  ],
  [
    "BatchCommandsRequest, RawPut of 100 B",
    fast.tikvpb_BatchCommandsRequest,
    tikvpb.BatchCommandsRequest,
    requests((i) => ({ RawPut: { context: context(i), key: key(i), value: bytesOf(100, i) } })),
  ],
  [
    "BatchCommandsRequest, RawPut of 1 KiB",
    fast.tikvpb_BatchCommandsRequest,
    tikvpb.BatchCommandsRequest,
    requests((i) => ({ RawPut: { context: context(i), key: key(i), value: bytesOf(1024, i) } })),
  ],
  [
    "BatchCommandsRequest, half RawGet half RawPut",
    fast.tikvpb_BatchCommandsRequest,
    tikvpb.BatchCommandsRequest,
    requests((i) =>
      i % 2 === 0
        ? { RawGet: { context: context(i), key: key(i) } }
        : { RawPut: { context: context(i), key: key(i), value: bytesOf(100, i) } },
    ),
  ],
  [
    "BatchCommandsResponse, RawGet of 100 B",
    fast.tikvpb_BatchCommandsResponse,
    tikvpb.BatchCommandsResponse,
    {
      responses: Array.from({ length: SUB_REQUESTS }, (_, i) => ({ RawGet: { value: bytesOf(100, i) } })),
      requestIds: Array.from({ length: SUB_REQUESTS }, (_, i) => 1_000_000 + i),
      transportLayerLoad: 50,
    },
  ],
  [
    "BatchCommandsResponse, RawPut",
    fast.tikvpb_BatchCommandsResponse,
    tikvpb.BatchCommandsResponse,
    {
      responses: Array.from({ length: SUB_REQUESTS }, () => ({ RawPut: {} })),
      requestIds: Array.from({ length: SUB_REQUESTS }, (_, i) => 1_000_000 + i),
    },
  ],
  [
    "BatchRaftMessage, appends of one entry of 1.5 KB",
    fast.tikvpb_BatchRaftMessage,
    tikvpb.BatchRaftMessage,
    {
      msgs: Array.from({ length: SUB_REQUESTS }, (_, i) => ({
        regionId: 2 + i,
        fromPeer: { id: 10 + i, storeId: 1 },
        toPeer: { id: 100 + i, storeId: 4 },
        regionEpoch: { confVer: 5, version: 40 },
        message: {
          msgType: 3,
          to: 100 + i,
          from: 10 + i,
          term: 7,
          logTerm: 7,
          index: 99_999,
          commit: 99_990,
          entries: [entry(i)],
        },
      })),
    },
  ],
  [
    "RaftMessage, append of 64 small entries",
    fast.raft_serverpb_RaftMessage,
    raft_serverpb.RaftMessage,
    {
      regionId: 2,
      fromPeer: { id: 10, storeId: 1 },
      toPeer: { id: 100, storeId: 4 },
      regionEpoch: { confVer: 5, version: 40 },
      message: {
        msgType: 3,
        to: 100,
        from: 10,
        term: 7,
        logTerm: 7,
        index: 99_999,
        commit: 99_990,
        entries: Array.from({ length: SUB_REQUESTS }, (_, i) => ({ ...entry(i), data: bytesOf(120, i) })),
      },
    },
  ],
];

const scratch = new protobuf.Writer();
const slow = (type) => ({
  encode: (message) => type.encode(message, scratch.reset()).finish(true).slice(),
  decode: (bytes) => type.decode(bytes),
});

let sink;
function measure(run) {
  const rounds = 400;
  const warm = 2000;
  for (let i = 0; i < warm; i++) sink = run();
  let best = Number.POSITIVE_INFINITY;
  for (let trial = 0; trial < 12; trial++) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < rounds; i++) sink = run();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / rounds / SUB_REQUESTS / 1000);
  }
  return best;
}

console.log("us per sub-request".padEnd(52), "encode fast/slow".padEnd(20), "decode fast/slow");
for (const [name, codec, type, message] of cases) {
  const other = slow(type);
  const bytes = codec.encode(message);
  const figures = [
    measure(() => codec.encode(message)),
    measure(() => other.encode(message)),
    measure(() => codec.decode(bytes)),
    measure(() => other.decode(bytes)),
  ].map((value) => value.toFixed(3));
  const same = Buffer.compare(Buffer.from(bytes), Buffer.from(other.encode(message))) === 0;
  console.log(
    name.padEnd(52),
    `${figures[0]} / ${figures[1]}`.padEnd(20),
    `${figures[2]} / ${figures[3]}`,
    same ? "" : "DIFFERENT BYTES",
  );
}
if (sink === undefined) process.exitCode = 1;
