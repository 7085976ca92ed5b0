/** Ends a joint state that an operator left when it died between entering and leaving. (pd-rules 6.18, 8.9) */
import { OperatorBuilder } from "../operator-builder.js";
import type { RegionInfo } from "../region-info.js";
import type { SchedulingView } from "../scheduling-view.js";
import { type CheckResult, planned } from "./check-result.js";

export function leaveJointState(view: SchedulingView, region: RegionInfo): CheckResult {
  const builder = new OperatorBuilder(view, "leave-joint-state", region, {
    allowJointState: true,
    ignoresRules: true,
  });
  return planned(builder.buildLeaveJointState());
}
