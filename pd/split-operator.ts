/** A split by the region's leader: at given keys, or where the store finds its middle. (pd-rules 6.2) */
import { toHex } from "../base/index.js";
import { Operator } from "./operator.js";
import type { SplitPolicy } from "./operator-step.js";
import { containsKey, isInJointState, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";

/** Text is a refusal. */
export function splitOperator(
  view: SchedulingView,
  desc: string,
  region: RegionInfo,
  policy: SplitPolicy,
  keys: readonly Uint8Array[],
): Operator | string {
  const { meta } = region;
  if (isInJointState(meta)) return "cannot split region which is in joint state";
  const outside = keys.find((key) => !containsKey(meta, key));
  if (outside !== undefined) return `split key ${toHex(outside)} is not within region ${meta.id}`;
  const list = keys.map((key) => toHex(key).toUpperCase()).join(" ");
  const isAdmin = desc.startsWith("admin-");
  const { startKey, endKey } = meta;
  return new Operator(
    {
      desc,
      brief: `split: region ${meta.id} use policy ${policy.toUpperCase()} and keys [${list}]`,
      kinds: isAdmin ? ["admin", "split"] : ["split"],
      priority: isAdmin ? "urgent" : "medium",
      steps: [{ kind: "split", policy, keys, startKey, endKey }],
    },
    region,
    view.env.clock.monotonicMs(),
    view.env.clock.wallMs(),
  );
}
