/**
 * The steps of operators: when each is finished, what it changes in `conf_ver`, when it can no longer succeed, how long
 * it may take, what is sent to the leader's store, and its text. "Not pending" is essential: promoting a learner
 * that still receives its snapshot would stall the group. (pd-rules 6.2)
 */
import { equalBytes, toHex } from "../base/index.js";
import { eraftpb, pdpb } from "../proto/index.js";
import { isPending, type Peer, peerOnStore, peerWithId, type RegionInfo } from "./region-info.js";
import type { StoreInfo } from "./store-info.js";
import { peerToWire } from "./wire.js";

export interface PeerPlace {
  readonly storeId: number;
  readonly peerId: number;
}

export type SplitPolicy = "scan" | "approximate" | "usekey";

export type Step =
  | {
      readonly kind: "transferLeader";
      readonly fromStore: number;
      readonly toStore: number;
      /** Others that would do as well; the store may choose. */
      readonly toStores: readonly number[];
    }
  | ({ readonly kind: "addPeer" } & PeerPlace)
  | ({ readonly kind: "addLearner" } & PeerPlace)
  | ({ readonly kind: "promoteLearner" } & PeerPlace)
  | ({ readonly kind: "removePeer" } & PeerPlace)
  | {
      readonly kind: "enterJoint" | "leaveJoint";
      readonly promote: readonly PeerPlace[];
      readonly demote: readonly PeerPlace[];
    }
  | {
      readonly kind: "split";
      readonly policy: SplitPolicy;
      readonly keys: readonly Uint8Array[];
      readonly startKey: Uint8Array;
      readonly endKey: Uint8Array;
    };

const { ConfChangeType } = eraftpb;
const POLICIES: readonly SplitPolicy[] = ["scan", "approximate", "usekey"];
const FAST_MIN_MS = 60_000;
const FAST_MS_PER_MIB = 600;
const SLOW_MIN_MS = 600_000;
const SLOW_MS_PER_MIB = 6_000;

/** The peer with this id, if it stands on the store of the plan. */
function planned(region: RegionInfo, place: PeerPlace): Peer | undefined {
  const peer = peerWithId(region, place.peerId);
  return peer?.storeId === place.storeId ? peer : undefined;
}

export function isStepFinished(step: Step, region: RegionInfo): boolean {
  switch (step.kind) {
    case "transferLeader": {
      const on = region.leader?.storeId ?? 0;
      return on === step.toStore || step.toStores.includes(on);
    }
    case "addPeer": {
      const peer = planned(region, step);
      return peer !== undefined && peer.role === "voter" && !isPending(region, peer.id);
    }
    case "addLearner": {
      const peer = planned(region, step);
      return peer !== undefined && peer.role === "learner" && !isPending(region, peer.id);
    }
    case "promoteLearner":
      return planned(region, step)?.role === "voter";
    case "removePeer":
      return peerOnStore(region, step.storeId) === undefined;
    case "enterJoint":
      return (
        step.promote.every((place) => isOneOf(planned(region, place), "voter", "incomingVoter")) &&
        step.demote.every((place) => isOneOf(planned(region, place), "learner", "demotingVoter"))
      );
    case "leaveJoint":
      return (
        step.promote.every((place) => isOneOf(planned(region, place), "voter")) &&
        step.demote.every((place) => isOneOf(planned(region, place), "learner")) &&
        !region.meta.peers.some((peer) => isOneOf(peer, "incomingVoter", "demotingVoter"))
      );
    case "split":
      return !equalBytes(region.meta.startKey, step.startKey) || !equalBytes(region.meta.endKey, step.endKey);
  }
}

const isOneOf = (peer: Peer | undefined, ...roles: readonly Peer["role"][]): boolean =>
  peer !== undefined && roles.includes(peer.role);

/** How much of the growth of `conf_ver` this step explains. */
export function confVerUsed(step: Step, region: RegionInfo): number {
  switch (step.kind) {
    case "transferLeader":
    case "split":
      return 0;
    case "addPeer":
    case "promoteLearner":
      return planned(region, step)?.role === "voter" ? 1 : 0;
    case "addLearner":
      return planned(region, step) === undefined ? 0 : 1;
    case "removePeer": {
      const peer = peerOnStore(region, step.storeId);
      return peer === undefined || (step.peerId !== 0 && peer.id !== step.peerId) ? 1 : 0;
    }
    case "enterJoint":
    case "leaveJoint": {
      const entering = step.kind === "enterJoint";
      const promoted = step.promote.every((place) => {
        const peer = planned(region, place);
        return isOneOf(peer, "voter") || (entering && isOneOf(peer, "incomingVoter"));
      });
      // A demoted peer may be gone already: a later step removes it.
      const demoted = step.demote.every((place) => {
        const peer = planned(region, place);
        return peer === undefined || isOneOf(peer, "learner") || (entering && isOneOf(peer, "demotingVoter"));
      });
      return promoted && demoted ? step.promote.length + step.demote.length : 0;
    }
  }
}

export interface StoreView {
  store(id: number): StoreInfo | undefined;
  isDown(store: StoreInfo): boolean;
}

/** Why the step can no longer succeed; undefined while it can. */
export function stepProblem(step: Step, region: RegionInfo, stores: StoreView): string | undefined {
  switch (step.kind) {
    case "transferLeader": {
      const problems = [step.toStore, ...step.toStores].map((id) => leaderTargetProblem(id, region, stores));
      return problems.includes(undefined) ? undefined : problems[0];
    }
    case "addPeer":
    case "addLearner": {
      const problem = storeProblem(step.storeId, stores);
      if (problem !== undefined) return problem;
      const peer = peerOnStore(region, step.storeId);
      if (peer !== undefined && peer.id !== step.peerId) {
        return `peer ${step.peerId} has already existed in store ${step.storeId}, the peer is ${peer.id}`;
      }
      return step.kind === "addLearner" && peer?.role === "voter" ? "peer already is a voter" : undefined;
    }
    case "promoteLearner":
      return planned(region, step) === undefined ? "peer does not exist" : undefined;
    case "removePeer":
      return region.leader?.storeId === step.storeId ? "cannot remove leader peer" : undefined;
    case "enterJoint":
    case "leaveJoint":
      return jointProblem(step, region);
    case "split":
      return undefined;
  }
}

function storeProblem(storeId: number, stores: StoreView): string | undefined {
  const store = stores.store(storeId);
  if (store === undefined) return `target store ${storeId} does not exist`;
  return stores.isDown(store) ? `target store ${storeId} is down` : undefined;
}

function leaderTargetProblem(storeId: number, region: RegionInfo, stores: StoreView): string | undefined {
  const peer = peerOnStore(region, storeId);
  if (peer === undefined) return "peer does not existed";
  if (peer.role === "learner") return "peer already is a learner";
  return storeProblem(storeId, stores);
}

function jointProblem(
  step: Step & { readonly kind: "enterJoint" | "leaveJoint" },
  region: RegionInfo,
): string | undefined {
  const changing = [...step.promote, ...step.demote];
  if (changing.some((place) => planned(region, place) === undefined)) return "peer does not exist";
  const inJoint = region.meta.peers.filter((peer) => isOneOf(peer, "incomingVoter", "demotingVoter"));
  if (inJoint.some((peer) => !changing.some((place) => place.peerId === peer.id))) {
    return "other peer is in joint state";
  }
  if (step.kind === "enterJoint") return undefined;
  const leads = step.demote.some(
    (place) => planned(region, place)?.role === "demotingVoter" && region.leader?.id === place.peerId,
  );
  return leads ? "demoting peer is the leader" : undefined;
}

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
      if (planned(region, step) !== undefined) return undefined;
      return single(change(step, ConfChangeType.AddNode, "voter"));
    case "addLearner":
      if (planned(region, step) !== undefined) return undefined;
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

export function stepText(step: Step): string {
  switch (step.kind) {
    case "transferLeader":
      return `transfer leader from store ${step.fromStore} to store ${step.toStore}`;
    case "addPeer":
      return `add peer ${step.peerId} on store ${step.storeId}`;
    case "addLearner":
      return `add learner peer ${step.peerId} on store ${step.storeId}`;
    case "promoteLearner":
      return `promote learner peer ${step.peerId} on store ${step.storeId} to voter`;
    case "removePeer":
      return `remove peer on store ${step.storeId}`;
    case "enterJoint":
      return `use joint consensus${jointText(step)}`;
    case "leaveJoint":
      return `leave joint state${jointText(step)}`;
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
      ({ peerId, storeId }) => `, promote learner peer ${peerId} on store ${storeId} to voter`,
    ),
    ...step.demote.map(
      ({ peerId, storeId }) => `, demote voter peer ${peerId} on store ${storeId} to learner`,
    ),
  ].join("");
