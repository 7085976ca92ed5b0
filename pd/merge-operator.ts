/**
 * The two operators of a merge: the source is brought to the stores of the target and then merged into it; the target
 * waits for its range to grow. They live and die together. (pd-rules 6.17)
 */
import { Operator, type OperatorKind, type OperatorPriority } from "./operator.js";
import { OperatorBuilder } from "./operator-builder.js";
import type { Step } from "./operator-step.js";
import { isInJointState, isVoter, peerOnStore, type RegionInfo } from "./region-info.js";
import type { SchedulingView } from "./scheduling-view.js";

/** Text is a refusal; else the source's operator, then the target's. */
export function mergeOperators(
  view: SchedulingView,
  source: RegionInfo,
  target: RegionInfo,
  desc: string,
  kinds: readonly OperatorKind[],
  priority: OperatorPriority = "medium",
): readonly [Operator, Operator] | string {
  if (isInJointState(source.meta) || isInJointState(target.meta)) {
    return "cannot merge regions which are in joint state";
  }
  const steps = matchPeers(view, source, target, desc);
  if (typeof steps === "string") return steps;
  const brief = `merge: region ${source.meta.id} to ${target.meta.id}`;
  const all = new Set<OperatorKind>([...kinds, "merge"]);
  if (steps.length > 0) all.add("region");
  const make = (region: RegionInfo, own: readonly Step[]): Operator =>
    new Operator(
      { desc, brief, kinds: [...all], priority, steps: own },
      region,
      view.env.clock.monotonicMs(),
      view.env.clock.wallMs(),
    );
  const step = (isPassive: boolean): Step => ({
    kind: "merge",
    source: source.meta,
    target: target.meta,
    isPassive,
  });
  const active = make(source, [...steps, step(false)]);
  const passive = make(target, [step(true)]);
  active.relatedRegionId = target.meta.id;
  passive.relatedRegionId = source.meta.id;
  passive.timeoutMs = active.timeoutMs = Math.max(active.timeoutMs, passive.timeoutMs);
  return [active, passive];
}

/** Steps that bring the source to the target's stores and roles. */
function matchPeers(
  view: SchedulingView,
  source: RegionInfo,
  target: RegionInfo,
  desc: string,
): readonly Step[] | string {
  const builder = new OperatorBuilder(view, desc, source);
  let changed = false;
  for (const peer of source.meta.peers) {
    if (peerOnStore(target, peer.storeId) !== undefined) continue;
    builder.removePeer(peer.storeId);
    changed = true;
  }
  for (const peer of target.meta.peers) {
    const own = peerOnStore(source, peer.storeId);
    if (own !== undefined && isVoter(own) === isVoter(peer)) continue;
    changed = true;
    if (own === undefined) builder.addPeer(peer.storeId, isVoter(peer) ? "voter" : "learner");
    else if (isVoter(peer)) builder.promoteLearner(peer.storeId);
    else builder.demoteVoter(peer.storeId);
  }
  if (!changed) return [];
  const built = builder.build(["merge"]);
  return built.kind === "built" ? built.operator.steps : built.reason;
}
