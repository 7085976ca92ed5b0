/**
 * Everybody who waits at one peer: writers before and behind their proposal, writers held up by a split, readers, and
 * whoever came while an election was due. Most peers of a store have nobody: the queues are made with the first
 * one, and go when the peer falls quiet.
 */
import { staleCommand, type RegionError } from "./errors.js";
import { AwaitedElection } from "./awaited-election.js";
import type { PeerHost } from "./peer-host.js";
import { ProposalQueue, type WriteDone } from "./proposals.js";
import { ReadQueue } from "./reads.js";
import { WriteGatherer } from "./write-gatherer.js";

/** Ids that the read requests of one life may take, mostly; the next life begins behind all that were taken. */
const READS_OF_A_LIFE = 2 ** 16;

export class Waiting {
  readonly gatherer = new WriteGatherer();
  readonly proposals: ProposalQueue;
  readonly awaitedElection: AwaitedElection;
  readonly reads: ReadQueue;
  /** Writers whose region is being split. */
  #parked: WriteDone[] = [];

  /** `life`: beyond those of all `Waiting` that this peer had, so that no read request has the id of an earlier one. */
  constructor(peerId: number, life: number, host: Pick<PeerHost, "budgets" | "figures" | "env">) {
    const { budgets, figures, env } = host;
    this.proposals = new ProposalQueue(budgets.proposals, figures, env.clock);
    this.awaitedElection = new AwaitedElection(budgets.proposals);
    this.reads = new ReadQueue(peerId, life * READS_OF_A_LIFE + 1);
  }

  /** The least life that may follow this one. */
  get nextLife(): number {
    return Math.floor((this.reads.nextId - 1) / READS_OF_A_LIFE) + 1;
  }

  get isEmpty(): boolean {
    return (
      this.gatherer.isEmpty &&
      this.awaitedElection.isEmpty &&
      this.proposals.length + this.reads.length + this.#parked.length === 0
    );
  }

  park(done: WriteDone): void {
    this.#parked.push(done);
  }

  takeParked(): WriteDone[] {
    const parked = this.#parked;
    this.#parked = [];
    return parked;
  }

  /** The peer is gone. */
  end(gone: RegionError): void {
    this.reads.fail(gone, "all");
    if (!this.gatherer.isEmpty)
      for (const waiter of this.gatherer.take().waiters) waiter.done(gone, undefined);
    // What was proposed may still be committed by others: a peer can lead and be removed by its own log.
    this.proposals.failAll(staleCommand());
    for (const done of this.takeParked()) done(gone, undefined);
    this.awaitedElection.end();
  }
}
