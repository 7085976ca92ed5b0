/**
 * What a peer keeps only while there is something to do: who waits, what was handed out and not written yet, what is
 * being changed, the lease, the applier. Most peers of a store sleep, and those have none.
 *
 * Invariant: a peer without this has nothing under way, and its region and state are those of its storage. So a new
 * one may begin there, with a lease that nobody may read under.
 */
import type { Entry } from "../raft/index.js";
import type { Append, Apply } from "../raft/types.js";
import { Applier } from "./applier.js";
import { Lease } from "./lease.js";
import { applyHostOf, type PeerHost } from "./peer-host.js";
import type { PeerStorage } from "./peer-storage.js";
import type { Waiting } from "./waiting.js";

export class PeerWork {
  readonly lease: Lease;
  readonly applier: Applier;
  /** Undefined while nobody waits and nobody has. */
  queues: Waiting | undefined;
  /** Staged, and not written yet. */
  appendsUnderWay = 0;
  appliesUnderWay = 0;
  /** Committed entries handed out by Raft whose run was cut short. */
  restApply: { readonly apply: Apply; readonly entries: readonly Entry[] } | undefined;
  /** Of the snapshot that is being loaded. */
  loadingAppend: Append | undefined;
  /** Index of the newest split or conf change proposed in this term and not applied; 0 when none. */
  splitInFlight = 0;
  confChangeInFlight = 0;
  /** A split that is committed and not applied; 0 when none. */
  committedSplit = 0;
  /** Whom this leader hands over to; 0 when nobody. */
  leadTransferee = 0;

  constructor(host: PeerHost, storage: PeerStorage) {
    this.lease = new Lease(host.config.leaseMs);
    this.applier = new Applier(host.engine, applyHostOf(host), storage.region, storage.applyState);
  }

  get isUnderWay(): boolean {
    return this.appendsUnderWay > 0 || this.appliesUnderWay > 0;
  }

  /** Something is being changed that a quiet peer may not have open. */
  get isChanging(): boolean {
    return this.leadTransferee + this.splitInFlight + this.confChangeInFlight > 0;
  }

  /** All that was proposed up to this index has taken effect. */
  changesApplied(appliedIndex: number): void {
    if (appliedIndex >= this.splitInFlight) this.splitInFlight = 0;
    if (appliedIndex >= this.confChangeInFlight) this.confChangeInFlight = 0;
    if (appliedIndex >= this.committedSplit) this.committedSplit = 0;
  }

  leadershipOver(): void {
    this.lease.expire();
    this.leadTransferee = 0;
    this.splitInFlight = 0;
    this.confChangeInFlight = 0;
    this.committedSplit = 0;
  }

  /** Nothing of it would be missed, but a lease that holds for some moments yet: the next read asks a quorum. */
  get isOver(): boolean {
    return (
      !this.isUnderWay &&
      !this.isChanging &&
      this.committedSplit === 0 &&
      this.restApply === undefined &&
      this.loadingAppend === undefined &&
      !this.applier.isRemoved &&
      !this.lease.isSuspect &&
      (this.queues === undefined || this.queues.isEmpty)
    );
  }
}
