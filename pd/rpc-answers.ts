/**
 * Answers that every call of PD shares, and the order of checks before a call is served: serving, cluster id,
 * bootstrapped. An error of the transport means "ask another PD", one in the header "this PD answered": clients
 * treat them so. (pd-rules 0.1 to 0.3)
 */
import {
  type MethodDefinition,
  pdpb,
  RPC_CODE,
  type RpcCode,
  type RpcMetadata,
  RpcStatusError,
} from "../proto/index.js";
import { bindMethod, type BoundMethod, unaryHandler } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import type { PdContext } from "./context.js";

export const ERROR_TYPE = pdpb.ErrorType;

export interface WithHeader {
  readonly header: pdpb.RequestHeader | null;
}

export interface HeaderInit {
  header?: pdpb.IResponseHeader | null | undefined;
}

export const statusError = (code: RpcCode, message: string): RpcStatusError =>
  new RpcStatusError({ code, message });

export const okHeader = (context: PdContext): pdpb.IResponseHeader => ({ clusterId: context.clusterId });

export const errorHeader = (
  context: PdContext,
  type: pdpb.ErrorType,
  message: string,
): pdpb.IResponseHeader => ({ clusterId: context.clusterId, error: { type, message } });

export const notBootstrapped = (context: PdContext): pdpb.IResponseHeader =>
  errorHeader(context, ERROR_TYPE.NOT_BOOTSTRAPPED, "cluster is not bootstrapped");

/** What keeps a call from being served at all; undefined when nothing does. */
export function refusal(context: PdContext, header: pdpb.RequestHeader | null): RpcStatusError | undefined {
  if (!context.leadership.isServing()) return statusError(RPC_CODE.unavailable, "not leader");
  return clusterIdRefusal(context, header);
}

function clusterIdRefusal(context: PdContext, header: pdpb.RequestHeader | null): RpcStatusError | undefined {
  const got = header?.clusterId ?? 0n;
  if (got === context.clusterId) return undefined;
  return statusError(
    RPC_CODE.failedPrecondition,
    `mismatch cluster id, need ${context.clusterId} but got ${got}`,
  );
}

export type Reply<Response> = (response: Response | RpcStatusError) => void;

/** A unary call that needs the leader and the right cluster id. */
export function leaderCall<
  Request extends WithHeader,
  Response,
  RequestInit,
  ResponseInit extends HeaderInit,
>(
  cluster: Cluster,
  definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
  serve: (request: Request, reply: Reply<ResponseInit>) => void,
): BoundMethod {
  const { context } = cluster;
  return bindMethod(
    definition,
    unaryHandler<Request, ResponseInit>((request, reply) => {
      const refused = refusal(context, request.header);
      if (refused !== undefined) return reply(refused);
      context.metrics.increment("raftwerk_pd_requests_total", { method: definition.path });
      serve(request, reply);
    }),
  );
}

/** As `leaderCall`, and the cluster must be bootstrapped. */
export function clusterCall<
  Request extends WithHeader,
  Response,
  RequestInit,
  ResponseInit extends HeaderInit,
>(
  cluster: Cluster,
  definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
  serve: (request: Request, reply: Reply<ResponseInit>) => void,
): BoundMethod {
  return leaderCall(cluster, definition, (request, reply) => {
    if (!cluster.isBootstrapped) {
      return reply({ header: notBootstrapped(cluster.context) } as ResponseInit);
    }
    serve(request, reply);
  });
}

/**
 * What a caller is told when this PD may not say anything about regions; undefined when it may. (0.1, 1.15)
 */
function lookupRefusal(
  context: PdContext,
  header: pdpb.RequestHeader | null,
  metadata: RpcMetadata,
): RpcStatusError | undefined {
  const role = context.leadership.lookupRole();
  const isAllowed = metadata["pd-allow-follower-handle"] === "true";
  if (role === "none") return statusError(RPC_CODE.unavailable, "not leader");
  if (role === "follower" && !isAllowed) {
    return statusError(RPC_CODE.unavailable, "not leader and follower handling not allowed");
  }
  return clusterIdRefusal(context, header);
}

/**
 * A read of regions or stores: by the leader; by a follower for callers that allow it; by any PD that knows regions
 * while nobody is known to lead. An empty answer of one that does not lead is an error: it may just not know. (1.15)
 */
export function lookupCall<
  Request extends WithHeader,
  Response,
  RequestInit,
  ResponseInit extends HeaderInit,
>(
  cluster: Cluster,
  definition: MethodDefinition<Request, Response, RequestInit, ResponseInit>,
  isEmpty: (answer: ResponseInit) => boolean,
  serve: (request: Request, reply: Reply<ResponseInit>) => void,
): BoundMethod {
  const { context } = cluster;
  return bindMethod(
    definition,
    unaryHandler<Request, ResponseInit>((request, reply, call) => {
      const refused = lookupRefusal(context, request.header, call.metadata);
      if (refused !== undefined) return reply(refused);
      context.metrics.increment("raftwerk_pd_requests_total", { method: definition.path });
      if (!cluster.isBootstrapped) return reply({ header: notBootstrapped(context) } as ResponseInit);
      serve(request, (answer) => {
        const mayBeStale = context.leadership.lookupRole() !== "leader";
        if (mayBeStale && !(answer instanceof RpcStatusError) && isEmpty(answer)) {
          return reply(failure(context, "region not found", ERROR_TYPE.REGION_NOT_FOUND) as ResponseInit);
        }
        reply(answer);
      });
    }),
  );
}

/** A domain error: the call succeeded, the header says what is wrong. */
export const failure = (
  context: PdContext,
  message: string,
  type: pdpb.ErrorType = ERROR_TYPE.UNKNOWN,
): { header: pdpb.IResponseHeader } => ({ header: errorHeader(context, type, message) });
