/**
 * Region heartbeats made beforehand: regions side by side, whose load falls with their rank. And a stream of them over
 * HTTP/2 in large pieces, so that making and sending costs little beside taking them in.
 */
import type { ClientHttp2Session } from "node:http2";
import { frameMessage } from "../adapters/grpc-frames.js";
import { type metapb, PdService, pdpb } from "../proto/index.js";

/** Nothing; a flow of its own for each region; other sizes and flows than those; each as hot as the hottest. */
export type Load = "idle" | "busy" | "changed" | "hot";

export interface MadeRegion {
  readonly region: metapb.IRegion;
  readonly leader: metapb.IPeer;
}

const PIECE_BYTES = 64 << 10;
const SHARED_BYTES = 6e9;
const HOT_BYTES = 5_000_000;
/** Few regions have most of the load; their order is not that of their keys. */
const PRIME = 7919;
export const FIRST_REGION = 1_000;
export const FIRST_PEER = 10_000_000;

/** Of 9 bytes, but for the first and the last one. */
export const madeKey = (i: number, regions: number): Uint8Array =>
  i === 0 || i === regions ? new Uint8Array(0) : new TextEncoder().encode(String(i).padStart(9, "0"));

export function madeRegion(i: number, regions: number, stores: number, replicas: number): MadeRegion {
  const peers = Array.from({ length: replicas }, (_, p) => ({
    id: FIRST_PEER + i * replicas + p,
    storeId: 1 + ((i * PRIME + p) % stores),
  }));
  const region = {
    id: FIRST_REGION + i,
    startKey: madeKey(i, regions),
    endKey: madeKey(i + 1, regions),
    regionEpoch: { confVer: 5, version: 5 },
    peers,
  };
  return { region, leader: peers[0] as metapb.IPeer };
}

/** Of region i among so many. */
export function heartbeat(
  clusterId: bigint,
  { region, leader }: MadeRegion,
  i: number,
  regions: number,
  load: Load,
): Uint8Array {
  const rank = 1 + ((i * PRIME) % regions);
  const share = Math.floor((SHARED_BYTES / rank) * (load === "changed" ? 1.1 : 1));
  const written = load === "idle" ? 0 : load === "hot" ? HOT_BYTES : share;
  return pdpb.RegionHeartbeatRequest.encode({
    header: { clusterId },
    region,
    leader,
    term: 6,
    approximateSize: (load === "changed" ? 97 : 96) * 2 ** 20,
    approximateKeys: 960_000 + Math.floor(written / 100),
    bytesWritten: written,
    keysWritten: Math.floor(written / 100),
    interval: { startTimestamp: 0, endTimestamp: 60 },
  }).finish();
}

/** Messages as a stream carries them, in pieces of many. */
export function inPieces(messages: readonly Uint8Array[]): Buffer[] {
  const pieces: Buffer[] = [];
  let open: Buffer[] = [];
  let bytes = 0;
  for (const message of messages) {
    const frame = frameMessage(message);
    open.push(frame);
    bytes += frame.length;
    if (bytes < PIECE_BYTES) continue;
    pieces.push(Buffer.concat(open));
    [open, bytes] = [[], 0];
  }
  return [...pieces, Buffer.concat(open)];
}

/** One stream from its first message to PD's end of it: then all have been taken. */
export function sendAll(session: ClientHttp2Session, pieces: readonly Buffer[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": PdService.RegionHeartbeat.path,
      "content-type": "application/grpc",
      te: "trailers",
    });
    let status = "";
    stream.on("response", (headers) => (status ||= String(headers["grpc-status"] ?? "")));
    stream.on("trailers", (trailers) => (status = String(trailers["grpc-status"])));
    stream.on("error", reject);
    stream.on("close", () => (status === "0" ? resolve() : reject(new Error(`the stream ended: ${status}`))));
    stream.resume();
    void (async () => {
      for (const piece of pieces) {
        if (!stream.write(piece)) await new Promise((drained) => stream.once("drain", drained));
      }
      stream.end();
    })();
  });
}
