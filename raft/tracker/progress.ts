/**
 * What a leader knows of one peer's log, and how fast it may send.
 *
 * StateProbe: the end of the peer's log is not known; one append a heartbeat. StateReplicate: entries are pipelined and
 * `next` moves when they are sent. StateSnapshot: nothing is sent until the snapshot has arrived or failed.
 *
 * Invariant in every transition: match < next. Between them are the entries in flight.
 */
import { assert } from "../../base/assert.js";
import type { NodeId } from "../types.js";
import { Inflights, type WindowLimits } from "./inflights.js";

export type ProgressState = "StateProbe" | "StateReplicate" | "StateSnapshot";
/** A recorded vote of this node in the election that is under way. */
export type RecordedVote = "none" | "granted" | "rejected";

export class Progress {
  readonly id: NodeId;
  /** The peer is known to hold the log up to here. */
  match: number;
  next: number;
  state: ProgressState = "StateProbe";
  /** Highest commit index sent; the peer may hold it once the message has arrived. */
  sentCommit = 0;
  /** Index of the snapshot under way in StateSnapshot. */
  pendingSnapshot = 0;
  /** Heard of since the last check of the quorum. */
  recentActive: boolean;
  /** StateProbe: an append is out. StateReplicate: the window is full and one empty append is out. */
  paused = false;
  isLearner: boolean;
  /** The shared one while nothing is in flight. */
  inflights: Inflights;
  vote: RecordedVote = "none";
  /** Highest position of read requests this peer has confirmed in the present leadership. */
  readAck = 0;
  /** Commit index the peer last reported; 0 unless `commitInResponses` is on. */
  committed = 0;
  /** raft-rs commit group; 0 = none. */
  commitGroup = 0;
  /** The peer asked for a snapshot of at least this index; 0 = none. */
  requestedSnapshot = 0;

  constructor(
    id: NodeId,
    match: number,
    next: number,
    inflights: Inflights,
    isLearner: boolean,
    active: boolean,
  ) {
    this.id = id;
    this.match = match;
    this.next = next;
    this.inflights = inflights;
    this.isLearner = isLearner;
    this.recentActive = active;
  }

  /** An independent copy, except that the window is shared: a changed configuration keeps what is in flight. */
  clone(): Progress {
    return Object.assign(
      new Progress(this.id, this.match, this.next, this.inflights, this.isLearner, this.recentActive),
      this,
    );
  }

  /** Forgets all that was learnt in an earlier term. */
  reset(match: number, next: number): void {
    this.match = match;
    this.next = next;
    this.state = "StateProbe";
    this.sentCommit = 0;
    this.pendingSnapshot = 0;
    this.recentActive = false;
    this.paused = false;
    this.inflights.reset();
    this.releaseWindow();
    this.vote = "none";
    this.readAck = 0;
    this.committed = 0;
    this.requestedSnapshot = 0;
  }

  /** Of a leader whose whole log is committed and ends at `last`: nothing is owed to this member, and nothing open. */
  isDone(self: NodeId, last: number): boolean {
    if (this.match !== last || this.next !== last + 1 || this.state !== "StateReplicate") return false;
    if (this.paused || this.commitGroup !== 0 || this.requestedSnapshot !== 0 || this.committed !== 0)
      return false;
    return this.id === self || this.sentCommit === last;
  }

  /** A member made anew that was done. */
  resumeDone(): void {
    this.state = "StateReplicate";
    this.sentCommit = this.match;
  }

  /** A window of its own, to put something into. */
  ownWindow(): Inflights {
    if (this.inflights.isShared) this.inflights = new Inflights(this.inflights.limits);
    return this.inflights;
  }

  hasIdleWindow(limits: WindowLimits): boolean {
    return this.inflights === Inflights.idle(limits);
  }

  /** Gives the window back if nothing is in flight. */
  releaseWindow(): void {
    if (this.inflights.count === 0) this.inflights = Inflights.idle(this.inflights.limits);
  }

  #enter(state: ProgressState): void {
    this.paused = false;
    this.pendingSnapshot = 0;
    this.state = state;
    this.inflights.reset();
  }

  becomeProbe(): void {
    const pendingSnapshot = this.state === "StateSnapshot" ? this.pendingSnapshot : 0;
    this.#enter("StateProbe");
    this.next = Math.max(this.match + 1, pendingSnapshot + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }

  becomeReplicate(): void {
    this.#enter("StateReplicate");
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    this.#enter("StateSnapshot");
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
    this.requestedSnapshot = 0;
    assert(
      this.match < this.next,
      () => `peer ${this.id}: snapshot ${index} is older than match ${this.match}`,
    );
  }

  /** An append of `count` entries goes out. */
  sentEntries(count: number, bytes: number): void {
    switch (this.state) {
      case "StateReplicate":
        if (count > 0) {
          this.next += count;
          this.ownWindow().add(this.next - 1, bytes);
        }
        this.paused = this.inflights.full();
        break;
      case "StateProbe":
        if (count > 0) this.paused = true;
        break;
      default:
        assert(false, () => `peer ${this.id}: append sent in ${this.state}`);
    }
  }

  /** Whether an empty append may move the peer's commit index: it has not been sent that much, and holds more. */
  canBumpCommit(commit: number): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  /** Takes an acknowledgement up to `index`; false when it says nothing new. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    if (this.next <= index) this.next = index + 1;
    this.paused = false;
    return true;
  }

  /** Takes a rejection of the append after `rejected`; false when it is stale. `hint`: where the logs may meet. */
  maybeDecrease(rejected: number, hint: number): boolean {
    if (this.state === "StateReplicate") {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
    } else {
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
      this.paused = false;
    }
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    return true;
  }

  isPaused(): boolean {
    return this.state === "StateSnapshot" || this.paused;
  }
}

/** Text of a progress as etcd prints it. */
export function describeProgress(progress: Progress): string {
  let text = `${progress.state} match=${progress.match} next=${progress.next}`;
  if (progress.isLearner) text += " learner";
  if (progress.isPaused()) text += " paused";
  if (progress.pendingSnapshot > 0) text += ` pendingSnap=${progress.pendingSnapshot}`;
  if (!progress.recentActive) text += " inactive";
  if (progress.inflights.count > 0) {
    text += ` inflight=${progress.inflights.count}`;
    if (progress.inflights.full()) text += "[full]";
  }
  return text;
}
