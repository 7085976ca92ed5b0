/**
 * ScatterRegion, SplitRegions, SplitAndScatterRegions, GetOperator: how bulk loaders prepare their ranges.
 * (pd-rules 5.2, 5.3)
 */
import { utf8 } from "../base/index.js";
import { type BoundMethod, PdService, pdpb, RPC_CODE } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { clusterCall, ERROR_TYPE, failure, okHeader, type Reply, statusError } from "./rpc-answers.js";
import type { RegionInfo } from "./region-info.js";
import { scatterMany } from "./scatter-many.js";
import type { Scheduling } from "./scheduling.js";

export function schedulingMethods(cluster: Cluster, scheduling: Scheduling): BoundMethod[] {
  const { context } = cluster;
  const header = okHeader(context);
  return [
    clusterCall(cluster, PdService.ScatterRegion, (request, reply) => {
      scatterRegion(scheduling, request, reply);
    }),
    clusterCall(cluster, PdService.SplitRegions, (request, reply) => {
      scheduling.splitter.split(request.splitKeys, request.retryLimit, ({ percentage, regionIds }) =>
        reply({ header, finishedPercentage: percentage, regionsId: [...regionIds] }),
      );
    }),
    clusterCall(cluster, PdService.SplitAndScatterRegions, (request, reply) => {
      const { splitKeys, retryLimit, group } = request;
      scheduling.splitter.split(splitKeys, retryLimit, (split) => {
        const wanted = { regionIds: split.regionIds, group, retryLimit };
        scatterMany(scheduling.view, scheduling.scatterer, wanted, (outcome) => {
          if (outcome.kind === "refused") return reply(statusError(RPC_CODE.unknown, outcome.reason));
          reply({
            header,
            splitFinishedPercentage: split.percentage,
            scatterFinishedPercentage: outcome.percentage,
            regionsId: [...split.regionIds],
          });
        });
      });
    }),
    clusterCall(cluster, PdService.GetOperator, (request, reply) => {
      const { controller } = scheduling;
      const operator = controller.operator(request.regionId) ?? controller.record(request.regionId);
      if (operator === undefined) {
        return reply(failure(context, "Not Found", ERROR_TYPE.REGION_NOT_FOUND));
      }
      reply({
        header,
        regionId: request.regionId,
        desc: utf8(operator.desc),
        kind: utf8(operator.kinds.join(",")),
        status: pdpb.OperatorStatus[operator.statusText],
      });
    }),
  ];
}

function scatterRegion(
  scheduling: Scheduling,
  request: pdpb.ScatterRegionRequest,
  reply: Reply<pdpb.IScatterRegionResponse>,
): void {
  const { cluster, view, scatterer } = scheduling;
  const { context } = cluster;
  const header = okHeader(context);
  const { regionsId, group, retryLimit, skipStoreLimit } = request;
  if (regionsId.length > 0) {
    const wanted = { regionIds: regionsId, group, retryLimit, skipStoreLimit };
    return scatterMany(view, scatterer, wanted, (outcome) => {
      if (outcome.kind === "refused") return reply(failure(context, outcome.reason));
      reply({
        header,
        finishedPercentage: outcome.percentage,
        failedRegionsId: [...outcome.failures.keys()],
      });
    });
  }
  const region: RegionInfo | undefined = cluster.regions.byId(request.regionId);
  if (region === undefined) {
    return reply(failure(context, `region ${request.regionId} not found`, ERROR_TYPE.REGION_NOT_FOUND));
  }
  const result = scatterer.scatter(region, group, skipStoreLimit);
  if (result.kind === "refused") return reply(statusError(RPC_CODE.unknown, result.reason));
  reply({ header, finishedPercentage: 100 });
}
