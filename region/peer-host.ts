/** What a peer and its store are to each other: what the peer asks for, what it hands over, what it is given. */
import type { ByteBudget, Engine, Env } from "../base/index.js";
import type { Message } from "../raft/index.js";
import type { Append, Apply, Snapshot } from "../raft/types.js";
import type { ApplyEffect, ApplyHost, ApplyRun } from "./applier.js";
import { confChangeOf } from "./change-peer.js";
import type { WriteBatchEncoder } from "./command.js";
import type { RegionConfig } from "./config.js";
import type { PeerFigures } from "./figures.js";
import type { ApplyState } from "./local-state.js";
import type { Peer } from "./peer.js";
import type { WriteDone } from "./proposals.js";
import type { Region, RegionEpoch } from "./region.js";

/** What a peer asks of its store. */
export interface PeerHost extends Omit<ApplyHost, "decodeConfChange"> {
  readonly env: Env;
  readonly engine: Engine;
  readonly config: RegionConfig;
  /** What all peers of the store hold together. */
  readonly budgets: PeerBudgets;
  readonly figures: PeerFigures;
  /** Counts something that was not taken on because of a bound. */
  refused(reason: string): void;
  /** How long a writer who is refused for now should stay away. */
  busyForMs(bytes: number): number;
  /** Puts a message into the outbox of this turn. */
  send(peer: Peer, message: Message): void;
  /** A quiet peer was touched; `byLeader`: by its leader. */
  awaken(peer: Peer, byLeader: boolean): void;
  /** A quiet peer heard its leader and sleeps on. */
  heardLeader(peer: Peer): void;
  /** Somebody wants from this quiet follower what its leader serves. */
  needed(peer: Peer): void;
  /** The peer has something to do: visit it in this turn, or the next. */
  wake(peer: Peer): void;
  roleChanged(peer: Peer): void;
  /** Effects of written entries, in order: PD reports, new peers of a split, destruction. */
  applied(peer: Peer, effect: ApplyEffect): void;
  /** An accepted snapshot is staged: its data is to be loaded, then `snapshotApplied` called. */
  loadSnapshot(peer: Peer, snapshot: Snapshot, previous: Region): void;
  /** Other regions known here, for EpochNotMatch: the parts that a split of this one left behind. */
  siblings(peer: Peer, requestedVersion: number): readonly Region[];
}

export interface PeerBudgets {
  /** Proposed and not applied. */
  readonly proposals: ByteBudget;
  readonly entryCache: ByteBudget;
}

/** One peer's part of a batch under way. */
export interface StagedWork {
  readonly peer: Peer;
  readonly append: Append | undefined;
  readonly apply: Apply | undefined;
  readonly run: ApplyRun | undefined;
  readonly snapshot: { readonly state: ApplyState; readonly region: Region } | undefined;
}

export interface WriteRequest {
  readonly epoch: RegionEpoch;
  /** Upper bound of the encoded size. */
  readonly bytes: number;
  readonly isSwap: boolean;
  readonly fill: (encoder: WriteBatchEncoder) => void;
  readonly done: WriteDone;
}

const applyHosts = new WeakMap<PeerHost, ApplyHost>();

/** What the appliers of a store's peers ask of it: one object for all of them. */
export function applyHostOf(host: PeerHost): ApplyHost {
  let applyHost = applyHosts.get(host);
  if (applyHost === undefined) {
    applyHost = {
      ownStoreId: host.ownStoreId,
      mayCreateSplitPeer: (created) => host.mayCreateSplitPeer(created),
      decodeConfChange: confChangeOf,
    };
    applyHosts.set(host, applyHost);
  }
  return applyHost;
}
