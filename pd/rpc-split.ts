/**
 * AskSplit, AskBatchSplit, ReportSplit, ReportBatchSplit: ids for new regions and a look at what came out.
 * (pd-rules 5.1)
 */
import { compareBytes, equalBytes } from "../base/index.js";
import { type BoundMethod, type metapb, PdService, type pdpb } from "../proto/index.js";
import type { Cluster } from "./cluster.js";
import { clusterCall, ERROR_TYPE, failure, okHeader } from "./rpc-answers.js";
import { compareVersions, parseVersion, type Version } from "./version.js";
import { metaFromWire } from "./wire.js";

const SPLIT_COUNT_MAX = 4096;
const BATCH_SPLIT_SINCE: Version = { major: 2, minor: 1, patch: 0, pre: "rc.1" };

export interface SplitEvents {
  /** Ids given out for a split of `sourceId`: they should be looked at soon. */
  onSplitAsked(sourceId: number, newIds: readonly number[]): void;
}

export function splitMethods(cluster: Cluster, events: SplitEvents): BoundMethod[] {
  const { context } = cluster;
  const header = okHeader(context);
  return [
    clusterCall(cluster, PdService.AskSplit, (request, reply) => {
      const refused = splitRefusal(cluster, request.region);
      if (refused !== undefined) return reply(refused);
      askIds(cluster, request.region as metapb.Region, 1, events, (error, ids) => {
        if (error !== undefined) return reply(failure(context, error.message));
        reply({ header, newRegionId: ids[0]?.newRegionId ?? 0, newPeerIds: ids[0]?.newPeerIds ?? [] });
      });
    }),
    clusterCall(cluster, PdService.AskBatchSplit, (request, reply) => {
      const refused = versionRefusal(context) ?? splitRefusal(cluster, request.region);
      if (refused !== undefined) return reply(refused);
      if (request.splitCount > SPLIT_COUNT_MAX) {
        return reply(failure(context, `split count ${request.splitCount} is above ${SPLIT_COUNT_MAX}`));
      }
      askIds(cluster, request.region as metapb.Region, request.splitCount, events, (error, ids) => {
        reply(error === undefined ? { header, ids } : failure(context, error.message));
      });
    }),
    clusterCall(cluster, PdService.ReportSplit, (request, reply) => {
      const { left, right } = request;
      const valid = left !== null && right !== null && consecutive([left, right]);
      reply(valid ? { header } : failure(context, "invalid split region"));
    }),
    clusterCall(cluster, PdService.ReportBatchSplit, (request, reply) => {
      const valid = request.regions.length >= 2 && consecutive(request.regions);
      if (valid) {
        context.env.log.info("region split", { regions: request.regions.map((region) => region.id) });
      }
      reply(valid ? { header } : failure(context, "invalid split region"));
    }),
  ];
}

/** Older stores do not know this call: one of them may get the region. (5.1) */
function versionRefusal(context: Cluster["context"]): { header: pdpb.IResponseHeader } | undefined {
  const { clusterVersion } = context.config;
  const version = parseVersion(clusterVersion);
  if (version === undefined || compareVersions(version, BATCH_SPLIT_SINCE) >= 0) return undefined;
  const text = `batch split is not supported by version ${clusterVersion} of the cluster: upgrade all stores`;
  return failure(context, text, ERROR_TYPE.INCOMPATIBLE_VERSION);
}

/** Checked by key, not by id: ids given to a stale leader would be wasted. (5.1) */
function splitRefusal(
  cluster: Cluster,
  region: metapb.Region | null,
): { header: pdpb.IResponseHeader } | undefined {
  const { context } = cluster;
  if (region === null) {
    return failure(context, "missing region for split", ERROR_TYPE.REGION_NOT_FOUND);
  }
  if (context.config.flag("schedule.halt-scheduling")) return failure(context, "scheduling is halted");
  if (!context.config.flag("schedule.enable-tikv-split-region")) {
    return failure(context, "tikv split region disabled");
  }
  const known = cluster.regions.find(region.startKey);
  if (known === undefined) return failure(context, `region not found, request: id:${region.id}`);
  const { epoch } = metaFromWire(region);
  const current = known.meta.epoch;
  if (epoch.version >= current.version && epoch.confVer >= current.confVer) return undefined;
  const text = (value: { confVer: number; version: number }): string =>
    `conf_ver:${value.confVer} version:${value.version} `;
  return failure(context, `invalid region epoch, request: ${text(epoch)}, current: ${text(current)}`);
}

/** One region id and one id per peer, in the order of the request's peers. (5.2) */
function askIds(
  cluster: Cluster,
  region: metapb.Region,
  splits: number,
  events: SplitEvents,
  callback: (error: Error | undefined, ids: { newRegionId: number; newPeerIds: number[] }[]) => void,
): void {
  if (splits === 0) return callback(undefined, []);
  const each = 1 + region.peers.length;
  cluster.context.ids.allocate(splits * each, (error, last) => {
    if (error !== undefined) return callback(error, []);
    const first = last - splits * each + 1;
    const ids = Array.from({ length: splits }, (_, i) => {
      const newRegionId = first + i * each;
      return { newRegionId, newPeerIds: region.peers.map((_peer, j) => newRegionId + 1 + j) };
    });
    events.onSplitAsked(
      region.id,
      ids.map((entry) => entry.newRegionId),
    );
    callback(undefined, ids);
  });
}

function consecutive(regions: readonly metapb.Region[]): boolean {
  return regions.every((region, i) => {
    const next = regions[i + 1];
    const touches = next === undefined || equalBytes(region.endKey, next.startKey);
    const filled =
      region.endKey.length === 0 ? next === undefined : compareBytes(region.startKey, region.endKey) < 0;
    return touches && filled;
  });
}
