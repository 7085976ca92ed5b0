/**
 * The RPCs of a store: which command serves which method, unary and inside BatchCommands. What is not served answers
 * UNIMPLEMENTED with a sentence, so that a client's user knows what is missing and not merely that something is.
 */
import { EMPTY_BYTES, encodeMemcomparable } from "../base/index.js";
import {
  type BoundMethod,
  bindMethod,
  grpc,
  HealthService,
  type kvrpcpb,
  type MethodDefinition,
  RpcStatusError,
  TikvService,
  unaryHandler,
} from "../proto/index.js";
import type { RegionError } from "../region/errors.js";
import { epochFromProto, regionToProto } from "../region/region.js";
import type { BatchRequest, BatchResponse } from "./batch-commands.js";
import { rawChecksum } from "./checksum.js";
import { debugMethods } from "./debug.js";
import type { Store } from "./store.js";
import { unimplementedMethod } from "./unimplemented.js";

type Reply<T> = (response: T) => void;

/** Splits and answers with the parts, in key order. */
function splitRegion(
  store: Store,
  request: kvrpcpb.ISplitRegionRequest,
  reply: Reply<kvrpcpb.ISplitRegionResponse>,
): void {
  const found = store.context.check(request.context);
  if (!("peer" in found)) return reply({ regionError: found });
  const { peer } = found;
  const single = request.splitKey ?? EMPTY_BYTES;
  const asked = single.length > 0 ? [single] : (request.splitKeys ?? []);
  // Borders of transactional keys are memcomparable in every version. (raftstore rules 6.1)
  const keys = asked.map((key) => (request.isRawKv ? store.raw.mode.encode(key) : encodeMemcomparable(key)));
  const { startKey, endKey } = peer.region;
  store.splits.splitAt(
    peer,
    epochFromProto(request.context?.regionEpoch),
    keys,
    (error: RegionError | undefined) => {
      if (error !== undefined) return reply({ regionError: error });
      const regions = store.regionsWithin(startKey, endKey).map(regionToProto);
      // Clients of before batch splits look at left and right.
      const [left = null, right = null] = regions.length === 2 ? regions : [];
      reply({ regions, left, right });
    },
  );
}

function readIndex(
  store: Store,
  request: kvrpcpb.IReadIndexRequest,
  reply: Reply<kvrpcpb.IReadIndexResponse>,
): void {
  const found = store.context.check(request.context, true);
  if (!("peer" in found)) return reply({ regionError: found });
  const { peer } = found;
  peer.queueRead(
    {
      run: () => reply({ readIndex: peer.storage.applyState.appliedIndex }),
      fail: (error) => reply({ regionError: error }),
    },
    true,
  );
}

/** Serves one request of a batch. Commands that this version does not know get an empty answer, as in TiKV. */
export function dispatchBatch(store: Store, request: BatchRequest, reply: Reply<BatchResponse>): void {
  const raw = store.raw;
  if (request.RawGet != null) raw.get(request.RawGet, (RawGet) => reply({ RawGet }));
  else if (request.RawPut != null) raw.put(request.RawPut, (RawPut) => reply({ RawPut }));
  else if (request.RawBatchGet != null)
    raw.batchGet(request.RawBatchGet, (RawBatchGet) => reply({ RawBatchGet }));
  else if (request.RawBatchPut != null)
    raw.batchPut(request.RawBatchPut, (RawBatchPut) => reply({ RawBatchPut }));
  else if (request.RawDelete != null) raw.delete(request.RawDelete, (RawDelete) => reply({ RawDelete }));
  else if (request.RawScan != null) raw.scan(request.RawScan, (RawScan) => reply({ RawScan }));
  else if (request.RawBatchDelete != null) {
    raw.batchDelete(request.RawBatchDelete, (RawBatchDelete) => reply({ RawBatchDelete }));
  } else if (request.RawDeleteRange != null) {
    raw.deleteRange(request.RawDeleteRange, (RawDeleteRange) => reply({ RawDeleteRange }));
  } else if (request.RawBatchScan != null) {
    raw.batchScan(request.RawBatchScan, (RawBatchScan) => reply({ RawBatchScan }));
  } else if (request.GetHealthFeedback != null) {
    reply({ GetHealthFeedback: { healthFeedback: store.healthFeedback() } });
  } else if (request.Empty != null) {
    reply({ Empty: { testId: request.Empty.testId } });
  } else {
    reply({});
  }
}

/** Which cluster the request is meant for; 0 means that the client does not say. */
export const clusterIdOf = (request: { readonly context?: kvrpcpb.IContext | null | undefined }): bigint =>
  request.context?.clusterId ?? 0n;

/** The same of one request of a batch. */
export function clusterIdOfBatched(request: BatchRequest): bigint {
  const command =
    request.RawGet ??
    request.RawPut ??
    request.RawBatchGet ??
    request.RawBatchPut ??
    request.RawDelete ??
    request.RawScan ??
    request.RawBatchDelete ??
    request.RawDeleteRange ??
    request.RawBatchScan;
  return command == null ? 0n : clusterIdOf(command);
}

type Contextual = { readonly context?: kvrpcpb.IContext | null | undefined };

/** A unary method whose requests carry a context with a cluster id. */
function serve<Q extends Contextual, R, QI, RI>(
  store: Store,
  definition: MethodDefinition<Q, R, QI, RI>,
  run: (request: Q, reply: Reply<RI>) => void,
): BoundMethod {
  return bindMethod(
    definition,
    unaryHandler<Q, RI>((request, reply) => {
      const wrong = store.wrongCluster(clusterIdOf(request));
      if (wrong !== undefined) return reply(new RpcStatusError(wrong));
      store.countRequest(definition.path);
      run(request, reply);
    }),
  );
}

export function storeMethods(store: Store): BoundMethod[] {
  const raw = store.raw;
  const t = TikvService;
  const served = [
    serve(store, t.RawGet, (request, reply) => raw.get(request, reply)),
    serve(store, t.RawBatchGet, (request, reply) => raw.batchGet(request, reply)),
    serve(store, t.RawPut, (request, reply) => raw.put(request, reply)),
    serve(store, t.RawBatchPut, (request, reply) => raw.batchPut(request, reply)),
    serve(store, t.RawDelete, (request, reply) => raw.delete(request, reply)),
    serve(store, t.RawBatchDelete, (request, reply) => raw.batchDelete(request, reply)),
    serve(store, t.RawDeleteRange, (request, reply) => raw.deleteRange(request, reply)),
    serve(store, t.RawScan, (request, reply) => raw.scan(request, reply)),
    serve(store, t.RawBatchScan, (request, reply) => raw.batchScan(request, reply)),
    serve(store, t.RawGetKeyTTL, (request, reply) => raw.keyTtl(request, reply)),
    serve(store, t.RawCompareAndSwap, (request, reply) => raw.compareAndSwap(request, reply)),
    serve(store, t.RawChecksum, (request, reply) => rawChecksum(raw, request, reply)),
    serve(store, t.SplitRegion, (request, reply) => splitRegion(store, request, reply)),
    serve(store, t.ReadIndex, (request, reply) => readIndex(store, request, reply)),
    bindMethod(t.BatchCommands, store.batches.handler),
    bindMethod(t.Raft, store.streams.raft),
    bindMethod(t.BatchRaft, store.streams.batchRaft),
    bindMethod(t.Snapshot, store.streams.snapshot),
    bindMethod(
      t.GetStoreSafeTS,
      unaryHandler((_request, reply) => reply({ safeTs: 0n })),
    ),
    serve(store, t.GetHealthFeedback, (_request, reply) => reply({ healthFeedback: store.healthFeedback() })),
    bindMethod(
      HealthService.Check,
      unaryHandler((_request, reply) =>
        reply({
          status:
            grpc.health.v1.HealthCheckResponse.ServingStatus[store.isServing ? "SERVING" : "NOT_SERVING"],
        }),
      ),
    ),
  ];
  return [...served, ...unimplemented(served), ...debugMethods(store)];
}

/** Everything else of the service, refused with a reason. */
function unimplemented(served: readonly BoundMethod[]): BoundMethod[] {
  const paths = new Set(served.map(({ definition }) => definition.path));
  return Object.entries(TikvService)
    .filter(([, { path }]) => !paths.has(path))
    .map(([name, definition]) =>
      unimplementedMethod(
        definition as MethodDefinition<unknown, unknown>,
        `raftwerk does not serve ${name}: it has raw keys and region calls in this version`,
      ),
    );
}
