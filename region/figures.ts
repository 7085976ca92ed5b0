/**
 * What the peers of one store have done, for its metrics. Plain numbers that are read when somebody asks; times are
 * told to whoever listens. Without a listener counting costs an addition.
 */
import type { Clock } from "../base/index.js";
import type { Ready } from "../raft/types.js";
import type { AdminCommand } from "./admin.js";

/** `commit`: from a proposal to its commit. `write`: from a request to its answer. `wait`: until it was proposed. */
export type TimedStep = "commit" | "write" | "wait" | "turn" | "tick" | "snapshotSent" | "snapshotLoaded";

export interface FigureListener {
  /** `times`: as if observed so often. */
  time(step: TimedStep, milliseconds: number, times: number): void;
  /** Entries by which the slowest voter or learner of a region is behind. */
  logLag(entries: number): void;
  snapshotBytes(bytes: number): void;
  /** What a region took in and gave out since its last report to PD. */
  regionFlow(flow: RegionFlow): void;
}

export interface RegionFlow {
  readonly bytesWritten: number;
  readonly keysWritten: number;
  readonly bytesRead: number;
  readonly keysRead: number;
}

export class PeerFigures {
  listener: FigureListener | undefined;
  /** Entries of writes proposed; each may hold many requests. */
  writeEntries = 0;
  /** Rounds of asking a quorum, or the leader, for reads; each may serve many. */
  readIndexes = 0;
  transfers = 0;
  /** Administrative commands proposed, and applied here as leader or not. */
  readonly adminProposed: Record<AdminCommand["kind"], number> = { changePeer: 0, split: 0, compactLog: 0 };
  readonly adminApplied: Record<AdminCommand["kind"], number> = { changePeer: 0, split: 0, compactLog: 0 };
  /** Of Raft's Ready states: those with messages, entries to append, committed entries, a snapshot. */
  readonly readies = { message: 0, append: 0, commit: 0, snapshot: 0 };

  /** Time that has passed since `fromMs`. */
  time(step: TimedStep, clock: Clock, fromMs: number, times = 1): void {
    this.listener?.time(step, clock.monotonicMs() - fromMs, times);
  }

  countReady({ messages, append, apply }: Ready): void {
    const { readies } = this;
    if (messages.length > 0) readies.message++;
    if (append !== undefined) readies.append++;
    if (append?.snapshot !== undefined) readies.snapshot++;
    if (apply !== undefined) readies.commit++;
  }
}
