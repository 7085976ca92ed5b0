/**
 * The steps of operators: when each is finished, what it changes in `conf_ver`, when it can no longer succeed. "Not
 * pending" is essential: promoting a learner that still receives its snapshot would stall the group. (pd-rules 6.2)
 */
import { equalBytes } from "../base/index.js";
import {
  isPending,
  type Peer,
  peerOnStore,
  peerWithId,
  type RegionInfo,
  type RegionMeta,
} from "./region-info.js";
import type { StoreInfo } from "./store-info.js";

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
      /** Active on the source, which disappears; passive on the target, which grows. */
      readonly kind: "merge";
      readonly source: RegionMeta;
      readonly target: RegionMeta;
      readonly isPassive: boolean;
    }
  | {
      readonly kind: "split";
      readonly policy: SplitPolicy;
      readonly keys: readonly Uint8Array[];
      readonly startKey: Uint8Array;
      readonly endKey: Uint8Array;
    };

/**
 * With ids in place of those below zero, which stand for peers that do not exist yet: a plan takes ids when it starts,
 * so that plans that are dropped take none. Undefined when there is no id at hand.
 */
export function withPeerIds(steps: readonly Step[], take: () => number | undefined): Step[] | undefined {
  const ids = new Map<number, number>();
  const idOf = (peerId: number): number => {
    if (peerId >= 0) return peerId;
    const id = ids.get(peerId) ?? take() ?? 0;
    ids.set(peerId, id);
    return id;
  };
  const named = (place: PeerPlace): PeerPlace => ({ ...place, peerId: idOf(place.peerId) });
  const all = steps.map((step): Step => {
    if ("peerId" in step) return { ...step, peerId: idOf(step.peerId) };
    if (step.kind !== "enterJoint" && step.kind !== "leaveJoint") return step;
    return { ...step, promote: step.promote.map(named), demote: step.demote.map(named) };
  });
  return [...ids.values()].includes(0) ? undefined : all;
}

/** The peer with this id, if it stands on the store of the plan. */
export function plannedPeer(region: RegionInfo, place: PeerPlace): Peer | undefined {
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
      const peer = plannedPeer(region, step);
      return peer !== undefined && peer.role === "voter" && !isPending(region, peer.id);
    }
    case "addLearner": {
      const peer = plannedPeer(region, step);
      return peer !== undefined && peer.role === "learner" && !isPending(region, peer.id);
    }
    case "promoteLearner":
      return plannedPeer(region, step)?.role === "voter";
    case "removePeer":
      return peerOnStore(region, step.storeId) === undefined;
    case "enterJoint":
      return (
        step.promote.every((place) => isOneOf(plannedPeer(region, place), "voter", "incomingVoter")) &&
        step.demote.every((place) => isOneOf(plannedPeer(region, place), "learner", "demotingVoter"))
      );
    case "leaveJoint":
      return (
        step.promote.every((place) => isOneOf(plannedPeer(region, place), "voter")) &&
        step.demote.every((place) => isOneOf(plannedPeer(region, place), "learner")) &&
        !region.meta.peers.some((peer) => isOneOf(peer, "incomingVoter", "demotingVoter"))
      );
    case "merge":
      return (
        step.isPassive &&
        (!equalBytes(region.meta.startKey, step.target.startKey) ||
          !equalBytes(region.meta.endKey, step.target.endKey))
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
    case "merge":
    case "split":
      return 0;
    case "addPeer":
    case "promoteLearner":
      return plannedPeer(region, step)?.role === "voter" ? 1 : 0;
    case "addLearner":
      return plannedPeer(region, step) === undefined ? 0 : 1;
    case "removePeer": {
      const peer = peerOnStore(region, step.storeId);
      return peer === undefined || (step.peerId !== 0 && peer.id !== step.peerId) ? 1 : 0;
    }
    case "enterJoint":
    case "leaveJoint": {
      const entering = step.kind === "enterJoint";
      const promoted = step.promote.every((place) => {
        const peer = plannedPeer(region, place);
        return isOneOf(peer, "voter") || (entering && isOneOf(peer, "incomingVoter"));
      });
      // A demoted peer may be gone already: a later step removes it.
      const demoted = step.demote.every((place) => {
        const peer = plannedPeer(region, place);
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
      return plannedPeer(region, step) === undefined ? "peer does not exist" : undefined;
    case "removePeer":
      return region.leader?.storeId === step.storeId ? "cannot remove leader peer" : undefined;
    case "enterJoint":
    case "leaveJoint":
      return jointProblem(step, region);
    case "merge":
    case "split":
      return undefined;
  }
}

function storeProblem(storeId: number, stores: StoreView): string | undefined {
  const store = stores.store(storeId);
  if (store === undefined) return `target store ${storeId} does not exist`;
  // Buried: it is not down either, since nobody waits for its heartbeats.
  if (store.isRemoved) return `target store ${storeId} has been removed`;
  if (store.meta.physicallyDestroyed) return `target store ${storeId} is destroyed`;
  return stores.isDown(store) ? `target store ${storeId} is down` : undefined;
}

function leaderTargetProblem(storeId: number, region: RegionInfo, stores: StoreView): string | undefined {
  const peer = peerOnStore(region, storeId);
  if (peer === undefined) return "peer does not existed";
  if (peer.role === "learner") return "peer already is a learner";
  return storeProblem(storeId, stores);
}

type JointStep = Step & { readonly kind: "enterJoint" | "leaveJoint" };

/** Roles that a peer of the step may have, before, between and after. (6.2) */
function jointProblem(step: JointStep, region: RegionInfo): string | undefined {
  const entering = step.kind === "enterJoint";
  let joint = false;
  let plain = false;
  const look = (
    place: PeerPlace,
    inJoint: Peer["role"],
    ended: readonly Peer["role"][],
  ): string | undefined => {
    const peer = plannedPeer(region, place);
    if (peer === undefined) return "peer does not exist";
    if (peer.role === inJoint) joint = true;
    else if (ended.includes(peer.role)) plain = true;
    else return `peer ${peer.id} has the unexpected role ${peer.role}`;
    return undefined;
  };
  for (const place of step.promote) {
    const problem = look(place, "incomingVoter", entering ? ["learner", "voter"] : ["voter"]);
    if (problem !== undefined) return problem;
  }
  for (const place of step.demote) {
    const problem = look(place, "demotingVoter", entering ? ["voter", "learner"] : ["learner"]);
    if (problem !== undefined) return problem;
    const isLeader = region.leader?.id === place.peerId;
    if (!entering && isLeader && plannedPeer(region, place)?.role === "demotingVoter") {
      return "demoting peer is the leader";
    }
  }
  if (joint && plain) return "some peers are in joint state and some are not";
  const changing = [...step.promote, ...step.demote];
  const other = region.meta.peers.some(
    (peer) =>
      isOneOf(peer, "incomingVoter", "demotingVoter") && !changing.some((place) => place.peerId === peer.id),
  );
  return other ? "other peer is in joint state" : undefined;
}
