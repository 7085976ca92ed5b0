/**
 * The streams on which other stores speak: Raft messages, one or many at a time, and snapshots. Each names its cluster
 * in its metadata, since the messages themselves do not: region, peer and store ids of two clusters look alike, and a
 * store that took in the messages of another cluster would lose data.
 */
import { eraftpb, type raft_serverpb, type tikvpb } from "../proto/index.js";
import {
  RPC_CODE,
  type RpcHandler,
  type RpcMetadata,
  type RpcStatus,
  type ServerCall,
  type ServerCallListener,
} from "../proto/rpc.js";
import type { RaftRouter } from "./raft-router.js";
import type { SnapshotReceiver } from "./snapshot-receiver.js";

const CLUSTER_ID_KEY = "raftwerk-cluster-id";

export const clusterMetadata = (clusterId: bigint): RpcMetadata => ({ [CLUSTER_ID_KEY]: String(clusterId) });

export interface RaftDoors {
  readonly storeId: number;
  readonly router: RaftRouter;
  readonly receiver: SnapshotReceiver;
}

type RaftHandler<T> = RpcHandler<T, raft_serverpb.IDone>;

const IGNORES: ServerCallListener<unknown> = { onMessage() {}, onHalfClose() {}, onCancel() {} };
const STARTING: RpcStatus = { code: RPC_CODE.unavailable, message: "the store is starting" };

export class RaftStreams {
  readonly #cluster: { readonly clusterId: bigint };
  readonly #doors: () => RaftDoors | undefined;
  /** Streams refused because they were of another cluster. */
  strangers = 0;

  /** `doors` gives undefined until the store serves. */
  constructor(cluster: { readonly clusterId: bigint }, doors: () => RaftDoors | undefined) {
    this.#cluster = cluster;
    this.#doors = doors;
  }

  readonly raft: RaftHandler<raft_serverpb.RaftMessage> = (call) =>
    this.#listen(call, (message) => [message]);

  readonly batchRaft: RaftHandler<tikvpb.BatchRaftMessage> = (call) =>
    this.#listen(call, (message) => message.msgs);

  readonly snapshot: RaftHandler<raft_serverpb.SnapshotChunk> = (call) => {
    const refusal = this.#refusal(call);
    const receiver = this.#doors()?.receiver;
    if (refusal === undefined && receiver !== undefined) return receiver.handler(call);
    call.end(refusal ?? STARTING);
    return IGNORES;
  };

  #refusal(call: ServerCall<raft_serverpb.IDone>): RpcStatus | undefined {
    const { clusterId } = this.#cluster;
    const named = call.metadata[CLUSTER_ID_KEY];
    if (named === String(clusterId)) return undefined;
    this.strangers++;
    const theirs = named === undefined ? "no cluster" : `cluster ${named}`;
    return {
      code: RPC_CODE.failedPrecondition,
      message: `the stream names ${theirs}, and this store is of cluster ${clusterId}: is the address right?`,
    };
  }

  #listen<T>(
    call: ServerCall<raft_serverpb.IDone>,
    messagesOf: (message: T) => readonly raft_serverpb.RaftMessage[],
  ): ServerCallListener<T> {
    const refusal = this.#refusal(call);
    if (refusal !== undefined) {
      call.end(refusal);
      return IGNORES;
    }
    let ended = false;
    const end = (status?: RpcStatus): void => {
      if (!ended) call.end(status);
      ended = true;
    };
    return {
      onMessage: (message) => {
        if (ended) return;
        const doors = this.#doors();
        if (doors === undefined) return end(STARTING);
        const { router, storeId } = doors;
        for (const raft of messagesOf(message)) {
          // A snapshot's message comes at the end of its own stream: by itself it would have no data.
          if (raft.message?.msgType === eraftpb.MessageType.MsgSnapshot) continue;
          if (router.route(raft)) continue;
          const text = `this is store ${storeId}, not store ${raft.toPeer?.storeId}: ask PD for its address`;
          return end({ code: RPC_CODE.invalidArgument, message: text });
        }
      },
      onHalfClose: () => end(),
      onCancel() {},
    };
  }
}
