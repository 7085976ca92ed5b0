/**
 * Rebuilds a configuration from a ConfState: the way of a node at start, and of a follower that takes a snapshot.
 *
 * A joint configuration is rebuilt as it came to be: first the outgoing voters one by one, then one step into the
 * joint configuration that removes them and adds the incoming voters and the learners.
 */
import { ProgressTracker } from "../tracker/tracker.js";
import type { ConfChangeSingle, ConfChangeType, ConfState, NodeId } from "../types.js";
import type { ChangeResult } from "./changer.js";
import { enterJoint, simpleChange } from "./changer.js";

const changesOf = (type: ConfChangeType, ids: readonly NodeId[]): ConfChangeSingle[] =>
  ids.map((nodeId) => ({ type, nodeId }));

/** Configuration and fresh progress for `confState`, with windows like those of `like`. */
export function restoreConfig(like: ProgressTracker, lastIndex: number, confState: ConfState): ChangeResult {
  const tracker = new ProgressTracker(like.limits);
  const incoming = [
    ...changesOf("ConfChangeRemoveNode", confState.votersOutgoing),
    ...changesOf("ConfChangeAddNode", confState.voters),
    ...changesOf("ConfChangeAddLearnerNode", confState.learners),
    ...changesOf("ConfChangeAddLearnerNode", confState.learnersNext),
  ];
  const joint = confState.votersOutgoing.length > 0;
  const steps = joint ? changesOf("ConfChangeAddNode", confState.votersOutgoing) : incoming;
  let result: ChangeResult = { kind: "changed", config: tracker.config, members: tracker.members };
  for (const step of steps) {
    result = simpleChange(tracker, lastIndex, [step]);
    if (result.kind === "invalid") return result;
    tracker.install(result.config, result.members);
  }
  if (joint) result = enterJoint(tracker, lastIndex, confState.autoLeave, incoming);
  return result;
}
