/** Operators as PD's HTTP API shows them: texts of running and ended ones, and their end by hand. (pd-rules 11.6 to 11.8) */
import type { Operator } from "./operator.js";
import type { Scheduling } from "./scheduling.js";

export const OPERATOR_NOT_FOUND = "[PD:operator:ErrOperatorNotFound]operator not found";

/** Running operators that have any of the kinds; without kinds all. Nothing ever waits here. */
export function listOperators(scheduling: Scheduling, kinds: readonly string[] = []): Operator[] {
  const all = scheduling.controller.operators();
  if (kinds.length === 0) return all;
  return all.filter((operator) => operator.kinds.some((kind) => kinds.includes(kind)));
}

/** The running operator of the region, else the one that ended within the last ten minutes. */
export function operatorOf(scheduling: Scheduling, regionId: number): Operator | undefined {
  return scheduling.controller.operator(regionId) ?? scheduling.controller.record(regionId);
}

export const operatorStatusText = (operator: Operator): string =>
  `status: ${operator.statusText}, operator: ${operator.toText()}`;

/** `?object=1`. */
export const operatorObject = (operator: Operator): Record<string, unknown> => ({
  desc: operator.desc,
  brief: operator.brief,
  region_id: operator.regionId,
  region_epoch: { conf_ver: operator.epoch.confVer, version: operator.epoch.version },
  kind: operator.kinds.join(","),
  timeout: `${Math.round(operator.timeoutMs / 1000)}s`,
  status: operator.statusText,
});

/** False when the region has none. */
export const cancelOperator = (scheduling: Scheduling, regionId: number): boolean =>
  scheduling.controller.cancel(regionId, "admin stop");

export function cancelAllOperators(scheduling: Scheduling): void {
  for (const operator of scheduling.controller.operators()) {
    scheduling.controller.cancel(operator.regionId, "admin stop");
  }
}

/** Texts of operators that ended at or after `fromSeconds` (Unix time), at most ten minutes ago. */
export const operatorRecords = (scheduling: Scheduling, fromSeconds = 0): string[] =>
  scheduling.controller.records(fromSeconds * 1000).map((operator) => operator.toRecordText());
