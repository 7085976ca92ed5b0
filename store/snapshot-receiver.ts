/**
 * Takes in snapshots: chunks are checked and parked in the key space `snap`, unsynced; only when all are there and
 * synced does the Raft message enter the store, as if it had come by the ordinary way. So a half-received snapshot
 * touches nothing, and memory holds one chunk however large the region is. (raftstore rules 8.7)
 */
import type { Engine, Env, TimerHandle } from "../base/index.js";
import { raft_serverpb } from "../proto/index.js";
import { RPC_CODE, type RpcHandler, type RpcStatus, type ServerCall } from "../proto/rpc.js";
import { snapshotChunkKey, snapshotRange, snapshotRegionRange } from "../region/keys.js";
import type { StoreConfig } from "./config.js";
import { toldByEngine } from "./guarded-engine.js";
import { isChunkIntact, SYNC_BYTES } from "./snapshot-codec.js";

export interface SnapshotReceiverHost {
  readonly env: Env;
  readonly storeId: number;
  readonly engine: Engine;
  readonly config: StoreConfig;
  /** Why this region takes no snapshot now, or undefined. */
  refuseSnapshot(message: raft_serverpb.RaftMessage): string | undefined;
  /** The complete snapshot's message. */
  deliver(message: raft_serverpb.RaftMessage): void;
}

const status = (code: RpcStatus["code"], message: string): RpcStatus => ({ code, message });

export class SnapshotReceiver {
  readonly #host: SnapshotReceiverHost;
  /** Regions with a stream open. */
  readonly #receiving = new Set<number>();

  constructor(host: SnapshotReceiverHost) {
    this.#host = host;
  }

  get receiving(): number {
    return this.#receiving.size;
  }

  isReceiving(region: number): boolean {
    return this.#receiving.has(region);
  }

  readonly handler: RpcHandler<raft_serverpb.SnapshotChunk, raft_serverpb.IDone> = (call) => {
    let session: ReceiveSession | undefined;
    let ended = false;
    // Few may be received at a time: whoever opens a stream and says nothing must not keep a place.
    let isHeard = true;
    const { env, config } = this.#host;
    const look = (): void => {
      if (ended) return;
      if (!isHeard) return end(status(RPC_CODE.deadlineExceeded, "no chunk came for too long"));
      isHeard = false;
      timer = env.timers.set(config.snapshotIdleMs, look);
    };
    let timer: TimerHandle = env.timers.set(config.snapshotIdleMs, look);
    const end = (result: RpcStatus): void => {
      ended = true;
      env.timers.clear(timer);
      session?.abandon();
      call.end(result);
    };
    return {
      onMessage: (chunk) => {
        if (ended) return;
        isHeard = true;
        if (session !== undefined) {
          const wrong = session.add(chunk.data);
          if (wrong !== undefined) end(status(RPC_CODE.invalidArgument, wrong));
          return;
        }
        const begun = this.#begin(chunk, call);
        if (begun instanceof ReceiveSession) session = begun;
        else end(begun);
      },
      onHalfClose: () => {
        if (ended) return;
        ended = true;
        env.timers.clear(timer);
        if (session === undefined)
          call.end(status(RPC_CODE.invalidArgument, "a snapshot stream without a message"));
        else session.complete();
      },
      onCancel: () => {
        ended = true;
        env.timers.clear(timer);
        session?.abandon();
      },
    };
  };

  #begin(
    chunk: raft_serverpb.SnapshotChunk,
    call: ServerCall<raft_serverpb.IDone>,
  ): ReceiveSession | RpcStatus {
    const { message } = chunk;
    const raft = message?.message;
    if (message == null || raft?.snapshot?.metadata == null) {
      return status(RPC_CODE.invalidArgument, "the first chunk must hold a snapshot message");
    }
    if ((message.toPeer?.storeId ?? 0) !== this.#host.storeId) {
      return status(
        RPC_CODE.invalidArgument,
        `this is store ${this.#host.storeId}, not ${message.toPeer?.storeId}`,
      );
    }
    if (this.#receiving.size >= this.#host.config.snapshotReceivesMax) {
      return status(RPC_CODE.resourceExhausted, "too many snapshots are being received");
    }
    if (this.#receiving.has(message.regionId)) {
      return status(RPC_CODE.resourceExhausted, `region ${message.regionId} is receiving a snapshot already`);
    }
    const refusal = this.#host.refuseSnapshot(message);
    if (refusal !== undefined) return status(RPC_CODE.failedPrecondition, refusal);
    this.#receiving.add(message.regionId);
    return new ReceiveSession(this.#host, message, call, () => this.#receiving.delete(message.regionId));
  }
}

class ReceiveSession {
  readonly #host: SnapshotReceiverHost;
  readonly #message: raft_serverpb.RaftMessage;
  readonly #call: ServerCall<raft_serverpb.IDone>;
  readonly #release: () => void;
  readonly #term: number;
  readonly #index: number;
  #chunks = 0;
  #unsynced = 0;
  #isOpen = true;

  constructor(
    host: SnapshotReceiverHost,
    message: raft_serverpb.RaftMessage,
    call: ServerCall<raft_serverpb.IDone>,
    release: () => void,
  ) {
    this.#host = host;
    // The decoded message may alias its chunk's buffer; it outlives it.
    this.#message = raft_serverpb.RaftMessage.decode(
      raft_serverpb.RaftMessage.encode(message).finish().slice(),
    );
    this.#call = call;
    this.#release = release;
    this.#term = message.message?.snapshot?.metadata?.term ?? 0;
    this.#index = message.message?.snapshot?.metadata?.index ?? 0;
    const [start, end] = snapshotRegionRange(message.regionId);
    host.engine.deleteRange("snap", start, end, toldByEngine);
  }

  /** Parks a chunk; a sentence when it is damaged. */
  add(data: Uint8Array): string | undefined {
    if (!isChunkIntact(data, this.#host.env.crc32)) return "a snapshot chunk arrived damaged";
    const batch = this.#host.engine.batch();
    batch.put(
      "snap",
      snapshotChunkKey(this.#message.regionId, this.#term, this.#index, this.#chunks++),
      data,
    );
    this.#unsynced += data.length;
    const sync = this.#unsynced >= SYNC_BYTES;
    if (sync) this.#unsynced = 0;
    this.#host.engine.write(batch, { sync }, toldByEngine);
    return undefined;
  }

  complete(): void {
    const batch = this.#host.engine.batch();
    // An empty chunk closes the sequence, and its sync makes all before it durable.
    batch.put(
      "snap",
      snapshotChunkKey(this.#message.regionId, this.#term, this.#index, this.#chunks),
      new Uint8Array(0),
    );
    this.#host.engine.write(batch, { sync: true }, (error) => {
      if (!this.#isOpen) return;
      this.#close();
      if (error !== undefined) {
        this.#call.end(status(RPC_CODE.internal, `the snapshot could not be written: ${error.message}`));
        return;
      }
      this.#host.deliver(this.#message);
      this.#call.send({});
      this.#call.end();
    });
  }

  abandon(): void {
    if (!this.#isOpen) return;
    this.#close();
    const [start, end] = snapshotRange(this.#message.regionId, this.#term, this.#index);
    this.#host.engine.deleteRange("snap", start, end, toldByEngine);
  }

  #close(): void {
    this.#isOpen = false;
    this.#release();
  }
}
