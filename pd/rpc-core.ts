/** Members, cluster info, ids, timestamps, cluster config: the calls a client needs before anything else. */
import {
  bindMethod,
  type BoundMethod,
  PdService,
  type pdpb,
  RPC_CODE,
  RPC_OK,
  type RpcStatus,
  type ServerCall,
  type ServerCallListener,
  unaryHandler,
} from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { type PdContext, readMark } from "./context.js";
import { ID_COUNT_MAX } from "./id-allocator.js";
import type { Members } from "./members.js";
import { clusterCall, failure, leaderCall, okHeader, refusal, statusError } from "./rpc-answers.js";
import { composeTimestamp, type Timestamp, type TimestampOracle } from "./timestamp-oracle.js";

const PD_SVC_MODE = 1;

export function coreMethods(cluster: Cluster, members: Members, timestamps: TimestampOracle): BoundMethod[] {
  const { context } = cluster;
  const header = okHeader(context);
  return [
    // Answered by every PD, to any header, before bootstrap. (1.23)
    bindMethod(
      PdService.GetMembers,
      unaryHandler((_request, reply) => {
        const leader = members.leader();
        const answer: pdpb.IGetMembersResponse = { header, members: members.list() };
        if (leader !== undefined) {
          answer.leader = leader;
          answer.etcdLeader = leader;
        }
        reply(answer);
      }),
    ),
    bindMethod(
      PdService.GetClusterInfo,
      unaryHandler((_request, reply) => reply({ header, serviceModes: [PD_SVC_MODE] })),
    ),
    leaderCall(cluster, PdService.AllocID, (request, reply) => {
      const count = request.count === 0 ? 1 : request.count;
      if (count > ID_COUNT_MAX) return reply(failure(context, `count ${count} is above ${ID_COUNT_MAX}`));
      context.ids.allocate(count, (error, id) => {
        if (error !== undefined) return reply(failure(context, error.message));
        // Old clients do not know the count; it is set only when it says something. (2.4)
        reply(count === 1 ? { header, id } : { header, id, count });
      });
    }),
    bindMethod(PdService.Tso, (call) => tsoCall(cluster, timestamps, call)),
    leaderCall(cluster, PdService.GetMinTS, (_request, reply) => {
      timestamps.generate(1, (error, timestamp) => {
        if (error !== undefined) return reply(statusError(RPC_CODE.unknown, error.message));
        reply({ header, timestamp: timestampToWire(timestamp as Timestamp) });
      });
    }),
    clusterCall(cluster, PdService.GetClusterConfig, (_request, reply) => {
      const { maxPeerCount } = cluster.meta;
      reply({ header, cluster: { id: context.clusterId, maxPeerCount } });
    }),
    clusterCall(cluster, PdService.PutClusterConfig, (request, reply) => {
      if (request.cluster === null) return reply(failure(context, "missing cluster config"));
      cluster.putMeta(request.cluster, (error) =>
        reply(error === undefined ? { header } : failure(context, error.message)),
      );
    }),
    bindMethod(
      PdService.IsSnapshotRecovering,
      unaryHandler((_request, reply) =>
        readMark(context, "snapshot-recovering", (error, marked) =>
          reply(error === undefined ? { header, marked } : failure(context, error.message)),
        ),
      ),
    ),
  ];
}

const timestampToWire = (timestamp: Timestamp): pdpb.ITimestamp => ({
  physical: timestamp.physicalMs,
  logical: timestamp.logical,
});

/** A safe point or a read version as one number. */
export const nowAsTimestamp = (timestamps: TimestampOracle): bigint =>
  composeTimestamp({ physicalMs: timestamps.physicalMs, logical: 0 });

/** exp 0.5 ms x2, and exp 1 x2: PD's own. */
const TSO_SECONDS = Array.from({ length: 13 }, (_, i) => 0.0005 * 2 ** i);
const TSO_COUNTS = Array.from({ length: 13 }, (_, i) => 2 ** i);

function observeTso(
  { metrics, env }: PdContext,
  receivedMs: number,
  count: number,
  { physicalMs }: Timestamp,
): void {
  metrics.increment("pd_tso_events", { type: "ok", group: "default" });
  metrics.set("pd_cluster_tso", { type: "tso", group: "default" }, physicalMs);
  const seconds = (env.clock.monotonicMs() - receivedMs) / 1000;
  metrics.observe("pd_server_handle_tso_duration_seconds", {}, seconds, TSO_SECONDS);
  metrics.observe("pd_server_handle_tso_batch_size", {}, count, TSO_COUNTS);
}

/** One answer per request, in order; a half-close ends the stream with OK once all are answered. (2.17) */
function tsoCall(
  cluster: Cluster,
  timestamps: TimestampOracle,
  call: ServerCall<pdpb.ITsoResponse>,
): ServerCallListener<pdpb.TsoRequest> {
  const { context } = cluster;
  let unanswered = 0;
  let halfClosed = false;
  let ended = false;
  const end = (status: RpcStatus): void => {
    ended = true;
    call.end(status);
  };
  return {
    onMessage(request) {
      if (ended) return;
      const refused = refusal(context, request.header);
      if (refused !== undefined) return end(refused.status);
      unanswered += 1;
      const receivedMs = context.env.clock.monotonicMs();
      const { count } = request;
      timestamps.generate(count, (error, timestamp) => {
        unanswered -= 1;
        if (ended) return;
        if (error !== undefined) return end({ code: RPC_CODE.unknown, message: error.message });
        observeTso(context, receivedMs, count, timestamp as Timestamp);
        const answer = {
          header: okHeader(context),
          count,
          timestamp: timestampToWire(timestamp as Timestamp),
        };
        call.send(answer);
        if (halfClosed && unanswered === 0) end(RPC_OK);
      });
    },
    onHalfClose() {
      halfClosed = true;
      if (!ended && unanswered === 0) end(RPC_OK);
    },
    onCancel() {
      ended = true;
    },
  };
}
