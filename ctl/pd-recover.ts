/**
 * Makes new metadata for a cluster whose PD lost all of it, from its stores, which must run: they tell their
 * cluster, who they are and the highest id they know. Ids and timestamps start far above what any of them can have
 * seen; regions come back with the stores' heartbeats.
 */
import { RaftwerkError, utf8 } from "../base/index.js";
import type { MetaOperation, MetaStore, MetaTransactionResult } from "../pd/index.js";
import { metapb } from "../proto/index.js";
import { readClusterId } from "./pd-metadata.js";
import { promised } from "./process.js";

/** Ids may have been handed out that no store knows of: to operators and splits that never came about. */
const ID_MARGIN = 1_000_000;
const REPLICAS = 3;
const NS_PER_MS = 1_000_000n;
const TIMEOUT_MS = 5_000;

export interface RecoverOptions {
  /** Status addresses (`host:port`) of all stores. */
  readonly stores: readonly string[];
  /** Timestamps start this far ahead of the clock: more than any clock of the old PDs was. */
  readonly aheadMs: number;
  readonly maxReplicas?: number;
}

export interface Recovered {
  readonly clusterId: bigint;
  readonly stores: readonly number[];
  readonly firstId: number;
  readonly firstTimestampMs: number;
}

interface StoreStatus {
  readonly clusterId?: string;
  readonly storeId?: number;
  readonly address?: string;
  readonly version?: string;
  readonly highestId?: number;
  readonly storeIds?: readonly number[];
}

const refuse = (text: string): never => {
  throw new RaftwerkError("invalidArgument", text, { retry: "never" });
};

export async function recover(store: MetaStore, options: RecoverOptions, nowMs: number): Promise<Recovered> {
  const present = await readClusterId(store);
  if (present !== undefined) refuse(`there is metadata of cluster ${present}: recover into an empty store`);
  const found = await Promise.all(options.stores.map(askStore));
  const ids = new Set(found.map(({ clusterId }) => clusterId));
  if (ids.size !== 1) refuse(`the stores belong to different clusters: ${[...ids].join(", ")}`);
  const told = new Set(found.map(({ storeId }) => storeId));
  if (told.size !== found.length) refuse("a store was named twice");
  const missing = [...new Set(found.flatMap(({ storeIds }) => storeIds))].filter((id) => !told.has(id));
  if (missing.length > 0) {
    refuse(
      `replicas are on stores that were not named: ${missing.join(", ")}; name all stores that are alive`,
    );
  }
  const clusterId = BigInt(found[0]?.clusterId ?? refuse("no store was named"));
  const firstId = Math.max(...found.map(({ highestId }) => highestId)) + ID_MARGIN;
  const firstTimestampMs = nowMs + options.aheadMs;
  const prefix = `/pd/${clusterId}`;
  const put = (key: string, value: Uint8Array): MetaOperation => ({ kind: "put", key: utf8(key), value });
  const operations: MetaOperation[] = [
    put(`${prefix}/alloc_id`, uint64(BigInt(firstId))),
    put(`${prefix}/timestamp`, uint64(BigInt(firstTimestampMs) * NS_PER_MS)),
    put(`${prefix}/raft`, encode(metapb.Cluster, { maxPeerCount: options.maxReplicas ?? REPLICAS })),
    put(`${prefix}/raft/status/raft_bootstrap_time`, uint64(BigInt(nowMs) * NS_PER_MS)),
    ...found.map(({ storeId, address, statusAddress, version }) =>
      put(
        `${prefix}/raft/s/${String(storeId).padStart(20, "0")}`,
        encode(metapb.Store, { id: storeId, address, statusAddress, version, nodeState: 1 }),
      ),
    ),
    put("/pd/cluster_id", uint64(clusterId)),
  ];
  // Somebody may have started a PD there since it was looked at.
  const isEmpty = { kind: "createRevision", key: utf8("/pd/cluster_id"), equals: 0 } as const;
  const { succeeded } = await promised<MetaTransactionResult>((done) =>
    store.transact({ compares: [isEmpty], onSuccess: operations }, done),
  );
  if (!succeeded) refuse("metadata of a cluster has appeared meanwhile: nothing was changed");
  return { clusterId, stores: [...told], firstId, firstTimestampMs };
}

async function askStore(statusAddress: string) {
  let status: StoreStatus;
  try {
    const answer = await fetch(`http://${statusAddress}/status`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    status = (await answer.json()) as StoreStatus;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return refuse(
      `the store at ${statusAddress} does not answer (${reason}): give status addresses of running stores`,
    );
  }
  const { clusterId, storeId, address, highestId, version = "", storeIds = [] } = status;
  if (clusterId === undefined || storeId === undefined || address === undefined || highestId === undefined) {
    return refuse(
      `${statusAddress} is no status address of a store, or of one that is too old to recover from`,
    );
  }
  return { clusterId, storeId, address, statusAddress, version, highestId, storeIds };
}

function uint64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

const encode = <Init>(message: { encode(init: Init): { finish(): Uint8Array } }, init: Init): Uint8Array =>
  message.encode(init).finish();
