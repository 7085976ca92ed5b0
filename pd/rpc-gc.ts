/**
 * The calls about garbage collection points, new and old form. Old ones fail as transport errors. (pd-rules 12.9,
 * 12.10)
 */
import { fromUtf8, utf8 } from "../base/index.js";
import { type BoundMethod, PdService, type pdpb, RPC_CODE } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { FOREVER, type GcBarrier, GC_WORKER, type GcState } from "./gc-state.js";
import { clusterCall, failure, okHeader, statusError } from "./rpc-answers.js";

const NULL_KEYSPACE = 0xffffffff;

export function gcMethods(cluster: Cluster, gc: GcState): BoundMethod[] {
  return [...oldMethods(cluster, gc), ...newMethods(cluster, gc)];
}

function oldMethods(cluster: Cluster, gc: GcState): BoundMethod[] {
  const header = okHeader(cluster.context);
  return [
    clusterCall(cluster, PdService.GetGCSafePoint, (_request, reply) => {
      reply({ header, safePoint: gc.gcSafePoint });
    }),
    clusterCall(cluster, PdService.UpdateGCSafePoint, (request, reply) => {
      // A smaller value is how clients read the current one.
      if (request.safePoint < gc.gcSafePoint) return reply({ header, newSafePoint: gc.gcSafePoint });
      gc.advanceGcSafePoint(request.safePoint, (result) => {
        if (result.kind === "refused") return reply(statusError(RPC_CODE.unknown, result.reason));
        reply({ header, newSafePoint: result.value.current });
      });
    }),
    clusterCall(cluster, PdService.UpdateServiceGCSafePoint, (request, reply) => {
      updateServiceSafePoint(cluster, gc, request, reply);
    }),
  ];
}

type ServiceReply = (answer: pdpb.IUpdateServiceGCSafePointResponse | ReturnType<typeof statusError>) => void;

function updateServiceSafePoint(
  cluster: Cluster,
  gc: GcState,
  request: pdpb.UpdateServiceGCSafePointRequest,
  reply: ServiceReply,
): void {
  const header = okHeader(cluster.context);
  const service = fromUtf8(request.serviceId);
  if (service === GC_WORKER) {
    if (request.TTL !== FOREVER) {
      const text = "TTL of gc_worker's service safe point must be infinity";
      return reply(statusError(RPC_CODE.unknown, text));
    }
    return gc.advanceTxnSafePoint(request.safePoint, (result) => {
      if (result.kind === "refused") return reply(statusError(RPC_CODE.unknown, result.reason));
      const { current, blocker } = result.value;
      const reached = current === request.safePoint || blocker === "";
      const serviceId = utf8(reached ? GC_WORKER : blocker);
      reply({ header, serviceId, TTL: FOREVER - gc.nowSeconds(), minSafePoint: current });
    });
  }
  // The client sees its failure by `min_safe_point > sp`: a point behind t is not an error.
  const done = (): void =>
    reply({
      header,
      serviceId: utf8(GC_WORKER),
      TTL: FOREVER - gc.nowSeconds(),
      minSafePoint: gc.txnSafePoint,
    });
  if (request.TTL > 0n) gc.setBarrier(service, request.safePoint, request.TTL, done);
  else gc.deleteBarrier(service, done);
}

function newMethods(cluster: Cluster, gc: GcState): BoundMethod[] {
  const { context } = cluster;
  const header = okHeader(context);
  const barrierToWire = (barrier: GcBarrier): pdpb.IGCBarrierInfo => ({
    barrierId: barrier.id,
    barrierTs: barrier.timestamp,
    ttlSeconds: gc.secondsLeft(barrier.expiresAt),
  });
  return [
    clusterCall(cluster, PdService.AdvanceTxnSafePoint, (request, reply) => {
      gc.advanceTxnSafePoint(request.target, (result) => {
        if (result.kind === "refused") return reply(failure(context, result.reason));
        const { previous, current, blocker } = result.value;
        const blockerDescription = blocker === "" ? "" : `BarrierID: ${JSON.stringify(blocker)}`;
        reply({ header, oldTxnSafePoint: previous, newTxnSafePoint: current, blockerDescription });
      });
    }),
    clusterCall(cluster, PdService.AdvanceGCSafePoint, (request, reply) => {
      gc.advanceGcSafePoint(request.target, (result) => {
        if (result.kind === "refused") return reply(failure(context, result.reason));
        reply({ header, oldGcSafePoint: result.value.previous, newGcSafePoint: result.value.current });
      });
    }),
    clusterCall(cluster, PdService.SetGCBarrier, (request, reply) => {
      gc.setBarrier(request.barrierId, request.barrierTs, request.ttlSeconds, (result) => {
        if (result.kind === "refused") return reply(failure(context, result.reason));
        reply({ header, newBarrierInfo: barrierToWire(result.value) });
      });
    }),
    clusterCall(cluster, PdService.DeleteGCBarrier, (request, reply) => {
      gc.deleteBarrier(request.barrierId, (result) => {
        if (result.kind === "refused") return reply(failure(context, result.reason));
        reply(
          result.value === undefined
            ? { header }
            : { header, deletedBarrierInfo: barrierToWire(result.value) },
        );
      });
    }),
    clusterCall(cluster, PdService.GetGCState, (request, reply) => {
      const barriers = request.excludeGcBarriers ? [] : gc.barriers();
      reply({
        header,
        gcState: {
          keyspaceScope: { keyspaceId: NULL_KEYSPACE },
          isKeyspaceLevelGc: false,
          txnSafePoint: gc.txnSafePoint,
          gcSafePoint: gc.gcSafePoint,
          gcBarriers: barriers.map(barrierToWire),
        },
      });
    }),
  ];
}
