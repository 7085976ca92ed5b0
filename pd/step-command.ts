/**
 * Steps as others see them: the command to the leader's store, how often it may be repeated, how long the step may
 * take, and its text. (pd-rules 6.2, 6.5 to 6.7)
 */
import { toHex } from "../base/index.js";
import { eraftpb, type pdpb } from "../proto/index.js";
import { type PeerPlace, plannedPeer, type SplitPolicy, type Step } from "./operator-step.js";
import { type Peer, peerOnStore, type RegionInfo } from "./region-info.js";
import { metaToWire, peerToWire } from "./wire.js";

const { ConfChangeType } = eraftpb;
const POLICIES: readonly SplitPolicy[] = ["scan", "approximate", "usekey"];
const FAST_MIN_MS = 60_000;
const FAST_MS_PER_MIB = 600;
const SLOW_MIN_MS = 600_000;
const SLOW_MS_PER_MIB = 6_000;
const MERGE_FACTOR = 10;

const fastMs = (sizeMib: number): number => Math.max(FAST_MIN_MS, FAST_MS_PER_MIB * sizeMib);
const slowMs = (sizeMib: number): number => Math.max(SLOW_MIN_MS, SLOW_MS_PER_MIB * sizeMib);

/** By size: a snapshot of 10 GiB cannot be sent in 10 minutes. */
export function stepTimeoutMs(step: Step, sizeMib: number): number {
  switch (step.kind) {
    case "addPeer":
    case "addLearner":
      return slowMs(sizeMib);
    case "enterJoint":
    case "leaveJoint":
      return fastMs(sizeMib) * (step.promote.length + step.demote.length + 1);
    case "merge":
      return fastMs(sizeMib) * MERGE_FACTOR;
    default:
      return fastMs(sizeMib);
  }
}

type Command = pdpb.IRegionHeartbeatResponse;

/** What the leader's store is told; undefined when there is nothing to say (the peer is there and catches up). */
export function stepCommand(step: Step, region: RegionInfo, useV2: boolean): Command | undefined {
  const change = (
    place: PeerPlace,
    changeType: eraftpb.ConfChangeType,
    role: Peer["role"],
  ): pdpb.IChangePeer => ({
    peer: peerToWire({ id: place.peerId, storeId: place.storeId, role, isWitness: false }),
    changeType,
  });
  const single = (changePeer: pdpb.IChangePeer): Command =>
    useV2 ? { changePeerV2: { changes: [changePeer] } } : { changePeer };
  switch (step.kind) {
    case "transferLeader": {
      const peers = [step.toStore, ...step.toStores.filter((id) => id !== step.toStore)]
        .map((id) => peerOnStore(region, id))
        .filter((peer) => peer !== undefined);
      const first = peers[0];
      if (first === undefined) return undefined;
      return { transferLeader: { peer: peerToWire(first), peers: peers.map(peerToWire) } };
    }
    case "addPeer":
      if (plannedPeer(region, step) !== undefined) return undefined;
      return single(change(step, ConfChangeType.AddNode, "voter"));
    case "addLearner":
      if (plannedPeer(region, step) !== undefined) return undefined;
      return single(change(step, ConfChangeType.AddLearnerNode, "learner"));
    case "promoteLearner":
      return single(change(step, ConfChangeType.AddNode, "voter"));
    case "removePeer": {
      const peer = peerOnStore(region, step.storeId);
      if (peer === undefined) return undefined;
      return single({ peer: peerToWire(peer), changeType: ConfChangeType.RemoveNode });
    }
    case "enterJoint":
      return {
        changePeerV2: {
          changes: [
            ...step.promote.map((place) => change(place, ConfChangeType.AddNode, "voter")),
            ...step.demote.map((place) => change(place, ConfChangeType.AddLearnerNode, "learner")),
          ],
        },
      };
    case "leaveJoint":
      return { changePeerV2: { changes: [] } };
    case "merge":
      return step.isPassive ? undefined : { merge: { target: metaToWire(step.target) } };
    case "split":
      return { splitRegion: { policy: POLICIES.indexOf(step.policy), keys: step.keys } };
  }
}

/** Commands that may be repeated soon; others wait for a snapshot. (6.24) */
export const isQuickStep = (step: Step): boolean =>
  step.kind === "transferLeader" ||
  step.kind === "promoteLearner" ||
  step.kind === "enterJoint" ||
  step.kind === "leaveJoint";

/** 0 until the plan starts. */
const idText = ({ peerId }: PeerPlace): string => String(Math.max(0, peerId));

export function stepText(step: Step): string {
  switch (step.kind) {
    case "transferLeader":
      return `transfer leader from store ${step.fromStore} to store ${step.toStore}`;
    case "addPeer":
      return `add peer ${idText(step)} on store ${step.storeId}`;
    case "addLearner":
      return `add learner peer ${idText(step)} on store ${step.storeId}`;
    case "promoteLearner":
      return `promote learner peer ${idText(step)} on store ${step.storeId} to voter`;
    case "removePeer":
      return `remove peer on store ${step.storeId}`;
    case "enterJoint":
      return `use joint consensus${jointText(step)}`;
    case "leaveJoint":
      return `leave joint state${jointText(step)}`;
    case "merge":
      return `merge region ${step.source.id} into region ${step.target.id}`;
    case "split": {
      const policy = step.policy.toUpperCase();
      const keys = step.keys.map((key) => toHex(key).toUpperCase()).join(" ");
      return step.keys.length === 0
        ? `split region with policy ${policy}`
        : `split region with policy ${policy} and keys [${keys}]`;
    }
  }
}

const jointText = (step: {
  readonly promote: readonly PeerPlace[];
  readonly demote: readonly PeerPlace[];
}): string =>
  [
    ...step.promote.map(
      (place) => `, promote learner peer ${idText(place)} on store ${place.storeId} to voter`,
    ),
    ...step.demote.map(
      (place) => `, demote voter peer ${idText(place)} on store ${place.storeId} to learner`,
    ),
  ].join("");
