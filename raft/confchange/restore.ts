/**
 * Rebuilds a configuration from a ConfState: the way of a node at start, and of a follower that takes a snapshot.
 *
 * A joint configuration is rebuilt as it came to be: first the outgoing voters one by one, then one step into the
 * joint configuration that removes them and adds the incoming voters and the learners.
 */
import { Progress } from "../tracker/progress.js";
import { ProgressTracker } from "../tracker/tracker.js";
import type { ConfChangeSingle, ConfChangeType, ConfState, NodeId } from "../types.js";
import type { ChangeResult } from "./changer.js";
import { enterJoint, simpleChange } from "./changer.js";

const changesOf = (type: ConfChangeType, ids: readonly NodeId[]): ConfChangeSingle[] =>
  ids.map((nodeId) => ({ type, nodeId }));

const NO_IDS: readonly NodeId[] = Object.freeze([]);
const ascending = (ids: readonly NodeId[]): readonly NodeId[] =>
  ids.length === 0 ? NO_IDS : [...ids].sort((left, right) => left - right);

/** Nearly every configuration: not joint, and nobody named twice. It is what it says, whatever its history. */
function plainConfig(
  like: ProgressTracker,
  lastIndex: number,
  confState: ConfState,
): ChangeResult | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = confState;
  if (votersOutgoing.length + learnersNext.length > 0 || autoLeave || voters.length === 0) return undefined;
  const ids = ascending(learners.length === 0 ? voters : [...voters, ...learners]);
  if (!ids.every((id, i) => id > (i === 0 ? 0 : (ids[i - 1] as NodeId)))) return undefined;
  const next = Math.max(lastIndex, 1);
  const members = ids.map(
    (id) => new Progress(id, 0, next, like.newInflights(), learners.includes(id), true),
  );
  const config = {
    voters: learners.length === 0 ? ids : ascending(voters),
    votersOutgoing: NO_IDS,
    learners: ascending(learners),
    learnersNext: NO_IDS,
    autoLeave: false,
  };
  return { kind: "changed", config, members };
}

/** Configuration and fresh progress for `confState`, with windows like those of `like`. */
export function restoreConfig(like: ProgressTracker, lastIndex: number, confState: ConfState): ChangeResult {
  return plainConfig(like, lastIndex, confState) ?? stepByStep(like, lastIndex, confState);
}

/** The same for any configuration. */
export function stepByStep(like: ProgressTracker, lastIndex: number, confState: ConfState): ChangeResult {
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
