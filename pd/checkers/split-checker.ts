/**
 * Cuts regions at the borders of labels and of placement rules: a region across a border has neither labels nor
 * rules. (pd-rules 8.10)
 */
import type { RegionInfo } from "../region-info.js";
import type { SchedulingView } from "../scheduling-view.js";
import { splitOperator } from "../split-operator.js";
import { type CheckResult, HEALTHY, waiting } from "./check-result.js";

export function checkSplit(view: SchedulingView, region: RegionInfo): CheckResult {
  const { labels, rules } = view.cluster;
  if (!labels.hasBorders && !(view.usesRules && rules.hasBorders)) return HEALTHY;
  const { startKey, endKey } = region.meta;
  let keys = labels.splitKeys(startKey, endKey);
  let desc = "labeler-split-region";
  if (keys.length === 0 && view.usesRules) {
    keys = rules.splitKeys(startKey, endKey);
    desc = "rule-split-region";
  }
  if (keys.length === 0) return HEALTHY;
  const operator = splitOperator(view, desc, region, "usekey", keys);
  return typeof operator === "string" ? waiting(operator) : { kind: "operator", operator };
}
