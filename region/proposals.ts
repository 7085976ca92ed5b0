/**
 * Writers waiting for their entries. Keyed by (term, index), never by index alone: one peer may propose the same index
 * in two terms. Invariant: (term, index) increases along the queue. (raftstore rules 3.11)
 */
import { ByteBudget, type Clock } from "../base/index.js";
import type { ApplyRun, CompareAndSwapOutcome, EntryOutcome } from "./applier.js";
import { type RegionError, staleCommand } from "./errors.js";
import type { PeerFigures } from "./figures.js";

/** Told exactly once. `swap` is set for a compare-and-swap that was evaluated. */
export type WriteDone = (error: RegionError | undefined, swap: CompareAndSwapOutcome | undefined) => void;

export interface Waiter {
  readonly done: WriteDone;
  /** Position among the entry's compare-and-swaps; -1 for other writes. */
  readonly swapIndex: number;
}

export interface Proposal {
  readonly term: number;
  readonly index: number;
  /** Monotonic milliseconds before the entry was proposed: base of the lease. */
  readonly createdMs: number;
  readonly bytes: number;
  readonly waiters: readonly Waiter[];
}

export class ProposalQueue {
  #queue: Proposal[] = [];
  #head = 0;
  #bytes = 0;
  /** Shared by all peers of a store. */
  readonly #budget: ByteBudget;

  /** Staged and not written runs of entries whose writers are not answered; the first one has effects. */
  readonly #runs: ApplyRun[] = [];
  readonly #figures: PeerFigures | undefined;
  readonly #clock: Clock | undefined;

  constructor(
    budget: ByteBudget = new ByteBudget(Number.POSITIVE_INFINITY),
    figures?: PeerFigures,
    clock?: Clock,
  ) {
    this.#budget = budget;
    this.#figures = figures;
    this.#clock = clock;
  }

  /** Proposed and not yet answered. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Since when the oldest waits; undefined: there is none. */
  get oldestMs(): number | undefined {
    return this.#queue[this.#head]?.createdMs;
  }

  get length(): number {
    return this.#queue.length - this.#head;
  }

  push(proposal: Proposal): void {
    this.#queue.push(proposal);
    this.#bytes += proposal.bytes;
    this.#budget.add(proposal.bytes);
  }

  /** When the newest of our proposals up to (term, index) was created; undefined when there is none in that term. */
  createdMsUpTo(term: number, index: number): number | undefined {
    let created: number | undefined;
    for (let i = this.#head; i < this.#queue.length; i++) {
      const proposal = this.#queue[i] as Proposal;
      if (proposal.term > term || (proposal.term === term && proposal.index > index)) break;
      if (proposal.term === term) created = proposal.createdMs;
    }
    return created;
  }

  /**
   * The effects of these entries are in a batch that is not written yet. Their writers are answered now: a quorum has
   * the entries on disk, and what they do is decided. Reads wait for the batch by themselves (`Peer.mayReadLocally`,
   * read indexes), so nobody can see less than was answered. Only what changes the region, and what comes behind it,
   * is answered when it is written, because others have to follow it first.
   */
  staged(run: ApplyRun): void {
    if (run.effects.length === 0 && this.#runs.length === 0) this.#settleRun(run);
    else this.#runs.push(run);
  }

  /** The batch is written. */
  written(run: ApplyRun): void {
    if (this.#runs[0] !== run) return;
    this.#runs.shift();
    this.#settleRun(run);
  }

  #settleRun(run: ApplyRun): void {
    for (const outcome of run.outcomes) this.settle(outcome);
  }

  /** Answers the writers of an applied entry, and those whose entries it proves overwritten. */
  settle(outcome: EntryOutcome): void {
    for (;;) {
      const proposal = this.#queue[this.#head];
      if (proposal === undefined) return;
      const isThis = proposal.term === outcome.term && proposal.index === outcome.index;
      const isOlder =
        proposal.term < outcome.term || (proposal.term === outcome.term && proposal.index < outcome.index);
      if (!isThis && !isOlder) return;
      this.#pop();
      if (isThis) {
        if (this.#clock !== undefined)
          this.#figures?.time("write", this.#clock, proposal.createdMs, proposal.waiters.length);
        answerApplied(proposal, outcome);
      } else answer(proposal, staleCommand());
    }
  }

  /** Answers everybody the same; the queue is empty afterwards. */
  failAll(error: RegionError): void {
    while (this.length > 0) answer(this.#pop(), error);
  }

  #pop(): Proposal {
    const proposal = this.#queue[this.#head] as Proposal;
    this.#queue[this.#head] = undefined as unknown as Proposal;
    this.#head++;
    this.#bytes -= proposal.bytes;
    this.#budget.add(-proposal.bytes);
    if (this.#head > 512 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return proposal;
  }
}

function answer(proposal: Proposal, error: RegionError): void {
  for (const waiter of proposal.waiters) waiter.done(error, undefined);
}

function answerApplied(proposal: Proposal, outcome: EntryOutcome): void {
  for (const { done, swapIndex } of proposal.waiters) {
    done(outcome.error, swapIndex < 0 ? undefined : outcome.swaps[swapIndex]);
  }
}
