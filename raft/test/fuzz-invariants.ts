/**
 * What must hold after every step of a fuzzed group, whatever the faults. One observer sees all nodes and asks disks,
 * not claims. Logs are compared by rolling hashes, so that one comparison speaks for all entries before it.
 *
 *  1 election safety, 2 one vote a term, 3 monotonic terms and commits, 4 log matching, 5 leader completeness,
 *  6 state machine safety, 7 commit rule, 8 durable before told, 9 sound progress, 10 one change at a time.
 *
 * Beyond: linearizable reads, leases that hold, leaders that step down, changes that take effect when applied.
 */
import type { ConfState, NodeId } from "../types.js";

export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

const fail = (text: string): never => {
  throw new InvariantError(text);
};

const INDEXES = 2 ** 24;
const keyOf = (term: number, index: number): number => term * INDEXES + index;

export interface Committed {
  readonly term: number;
  readonly index: number;
  readonly prefix: number;
}

export class Invariants {
  readonly #leaders = new Map<number, NodeId>();
  readonly #votes = new Map<number, NodeId>();
  /** Hash of the log up to an entry, by term and index of the entry. */
  readonly #written = new Map<number, number>([[keyOf(1, 1), 0x811c9dc5]]);
  readonly #applied = new Map<number, number>();
  /** The highest commit of each leader, in the order of terms. */
  readonly #commits = new Map<number, Committed>();
  readonly #durableTerms = new Map<NodeId, number>();
  /** The highest index that anybody knows to be committed. */
  committedIndex = 0;

  /** 1. At most one leader a term. Its own vote counts if it is durable; others may have made it leader without. */
  leads(id: NodeId, term: number, votesForItself: boolean): void {
    const known = this.#leaders.get(term);
    if (known !== undefined && known !== id)
      fail(`election safety: ${known} and ${id} both lead term ${term}`);
    this.#leaders.set(term, id);
    if (votesForItself) this.votes(id, term, id);
  }

  /** 1. Whoever leads was voted for by a majority of each half of its configuration. */
  isElected(id: NodeId, term: number, config: ConfState): void {
    const votes = (voter: NodeId): boolean => voter === id || this.#votes.get(keyOf(term, voter)) === id;
    for (const voters of [config.voters, config.votersOutgoing]) {
      if (voters.length > 0 && voters.filter(votes).length * 2 <= voters.length) {
        fail(
          `election safety: ${id} leads term ${term} without the votes of a majority of ${voters.join(", ")}`,
        );
      }
    }
  }

  /** 2. One vote a term, over crashes too. Told when the vote leaves. */
  votes(id: NodeId, term: number, candidate: NodeId): void {
    const key = keyOf(term, id);
    const known = this.#votes.get(key);
    if (known !== undefined && known !== candidate) {
      fail(`one vote a term: ${id} voted for ${known} and ${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
  }

  /** 3. A term on disk never goes back. */
  persistsTerm(id: NodeId, term: number): void {
    const known = this.#durableTerms.get(id) ?? 0;
    if (term < known) fail(`durable terms: ${id} went from term ${known} back to ${term}`);
    this.#durableTerms.set(id, term);
  }

  /** 3. Within a life neither term nor commit go back, and nothing is committed beyond the log. */
  moves(id: NodeId, before: { term: number; commit: number }, after: Moved): void {
    if (after.term < before.term)
      fail(`monotonic term: ${id} went from ${before.term} back to ${after.term}`);
    if (after.commit < before.commit)
      fail(`monotonic commit: ${id} went from ${before.commit} back to ${after.commit}`);
    if (after.commit > after.lastIndex)
      fail(`commit within the log: ${id} commits ${after.commit}, its log ends at ${after.lastIndex}`);
  }

  /** 4. Whoever writes entry `term/index` has written the same log up to there. */
  writes(id: NodeId, index: number, term: number, prefix: number): void {
    const key = keyOf(term, index);
    const known = this.#written.get(key);
    if (known === undefined) this.#written.set(key, prefix);
    else if (known !== prefix)
      fail(`log matching: ${id} writes another log up to ${term}/${index} than was written before`);
  }

  prefixAt(term: number, index: number): number | undefined {
    return this.#written.get(keyOf(term, index));
  }

  /** 7. A leader commits by an entry of its own term that is durable on a quorum. `isDurable` asks the disks. */
  leaderCommits(id: NodeId, index: number, term: number, isDurable: (prefix: number) => boolean): void {
    const prefix = this.#written.get(keyOf(term, index));
    if (prefix === undefined)
      return fail(`commit rule: ${id} leads term ${term} and commits up to ${index}, not of its term`);
    if (!isDurable(prefix))
      fail(`commit rule: ${id} commits ${term}/${index}, which is not durable on a quorum`);
    const known = this.#commits.get(term);
    if (known === undefined || known.index < index) this.#commits.set(term, { term, index, prefix });
    this.committedIndex = Math.max(this.committedIndex, index);
  }

  /**
   * 5. A new leader has everything that was committed in earlier terms. (A leader of an earlier term may come late, and
   * then lacks what was committed in later ones.)
   */
  isComplete(id: NodeId, term: number, owed: Committed, holds: boolean): void {
    if (!holds)
      fail(`leader completeness: ${id} leads term ${term} without ${owed.index}, committed in ${owed.term}`);
  }

  /** The newest that was committed before `term`. */
  committedBefore(term: number): Committed | undefined {
    let newest: Committed | undefined;
    for (const each of this.#commits.values()) {
      if (each.term < term && each.index > (newest?.index ?? 0)) newest = each;
    }
    return newest;
  }

  /** 6. At an index all have applied the same, whether one by one or by a snapshot. */
  applies(id: NodeId, index: number, state: number): void {
    const known = this.#applied.get(index);
    if (known === undefined) this.#applied.set(index, state);
    else if (known !== state)
      fail(`state machine safety: ${id} has another state at ${index} than others had`);
    this.committedIndex = Math.max(this.committedIndex, index);
  }

  /** 8. What a message says is on the disk of the one who says it. */
  acknowledges(id: NodeId, index: number, term: number, disk: { term: number; lastIndex: number }): void {
    if (index > disk.lastIndex)
      fail(`durable before told: ${id} acknowledges ${index}, its disk ends at ${disk.lastIndex}`);
    this.speaks(id, term, disk.term);
  }

  /** 8. No vote and no acknowledgement leaves in a term that is not durable. */
  speaks(id: NodeId, term: number, diskTerm: number): void {
    if (term > diskTerm)
      fail(`durable before told: ${id} answers in term ${term}, its disk is in ${diskTerm}`);
  }

  /** 9. What a leader believes of a peer. `held`: what the peer's disk has at `match`, if it can be compared. */
  believes(id: NodeId, peer: NodeId, progress: Believed, held: boolean): void {
    const { match, next, inflight, inflightMax, bytes, bytesMax, lastIndex } = progress;
    const text = `${id} believes of ${peer} match ${match}, next ${next}`;
    if (!(match >= 0 && match < next)) fail(`sound progress: ${text}`);
    if (match > lastIndex || next > lastIndex + 1)
      fail(`sound progress: ${text}, its log ends at ${lastIndex}`);
    if (inflight > inflightMax) fail(`sound progress: ${inflight} messages to ${peer} are in flight`);
    if (bytes > bytesMax) fail(`sound progress: ${bytes} bytes to ${peer} are in flight`);
    if (!held) fail(`sound progress: ${text}, and the disk there has something else`);
  }

  /** 10. None is appended by a leader that has another one to apply. */
  appendsConfChange(id: NodeId, index: number, pendingIndex: number | undefined): void {
    if (pendingIndex !== undefined) {
      fail(
        `one change at a time: ${id} appends a change at ${index} with one at ${pendingIndex} not applied`,
      );
    }
  }

  /** 10. Nobody campaigns with a change committed that it has not applied. */
  campaigns(id: NodeId, unapplied: number | undefined): void {
    if (unapplied !== undefined)
      fail(`one change at a time: ${id} campaigns with the change at ${unapplied} committed and not applied`);
  }

  /** 10. From one configuration to the next every two majorities meet. */
  changes(id: NodeId, from: ConfState, to: ConfState): void {
    const isJoint = (state: ConfState): boolean => state.votersOutgoing.length > 0;
    const text = `${id} goes from ${JSON.stringify(from)} to ${JSON.stringify(to)}`;
    if (to.voters.length === 0) fail(`one change at a time: no voters are left: ${text}`);
    if (isJoint(to)) {
      if (!isJoint(from) && !sameIds(to.votersOutgoing, from.voters)) fail(`one change at a time: ${text}`);
      return;
    }
    if (isJoint(from)) {
      if (!sameIds(to.voters, from.voters)) fail(`one change at a time: ${text}`);
      return;
    }
    const gone = from.voters.filter((each) => !to.voters.includes(each)).length;
    const come = to.voters.filter((each) => !from.voters.includes(each)).length;
    if (gone + come > 1 && from.voters.length > 0) fail(`one change at a time: ${text}`);
  }

  /** Configurations are those of what was applied. */
  configured(id: NodeId, raft: ConfState, application: ConfState): void {
    const same =
      sameIds(raft.voters, application.voters) &&
      sameIds(raft.votersOutgoing, application.votersOutgoing) &&
      sameIds(raft.learners, application.learners) &&
      sameIds(raft.learnersNext, application.learnersNext) &&
      raft.autoLeave === application.autoLeave;
    if (!same) {
      fail(
        `changes take effect when applied: ${id} is in ${JSON.stringify(raft)}, it applied ${JSON.stringify(application)}`,
      );
    }
  }

  /** A read is answered where it was asked. */
  answers(id: NodeId, askedAt: NodeId): void {
    if (id !== askedAt) fail(`reads: ${id} is answered what ${askedAt} asked`);
  }

  /** Linearizable reads: at least what was committed when the read was asked for. */
  reads(id: NodeId, readIndex: number, committedWhenAsked: number): void {
    if (readIndex < committedWhenAsked) {
      fail(
        `linearizable reads: ${id} reads at ${readIndex}, ${committedWhenAsked} was committed before it asked`,
      );
    }
  }

  /** Leases: a node that hears its leader is not moved by requests of others. */
  keepsLease(id: NodeId, before: number, after: number): void {
    if (after !== before)
      fail(`leases: ${id} went to term ${after} by a vote request though it hears its leader`);
  }

  /** Leases: nothing of one remains once another was told to campaign. */
  endsLease(id: NodeId, inLease: boolean): void {
    if (inLease) fail(`leases: ${id} has told another to campaign and still trusts its lease`);
  }

  /** Check-quorum: who has not heard from a quorum for two election timeouts does not lead. */
  hears(id: NodeId, term: number, isHeard: boolean): void {
    if (!isHeard)
      fail(`check-quorum: ${id} leads term ${term} and no quorum was heard for two election timeouts`);
  }

  /** What the library takes for durable is. `underWay`: index of the first entry whose write it was not told of. */
  trusts(id: NodeId, persisted: number, diskLastIndex: number, underWay: number): void {
    if (persisted > diskLastIndex)
      fail(`durable entries: ${id} takes ${persisted} for durable, its disk ends at ${diskLastIndex}`);
    if (persisted >= underWay)
      fail(`durable entries: ${id} takes ${persisted} for durable, ${underWay} is on its way to the disk`);
  }

  /** 6. Entries are handed out to be applied once each, in order, committed, and durable here but for `ahead`. */
  handsOut(id: NodeId, entries: { first: number; last: number }, bounds: HandOutBounds): void {
    const text = `${id} is to apply ${entries.first} to ${entries.last}`;
    if (entries.first !== bounds.before + 1) fail(`state machine safety: ${text} after ${bounds.before}`);
    if (entries.last > bounds.commit) fail(`state machine safety: ${text}, ${bounds.commit} is committed`);
    if (entries.last > bounds.durable)
      fail(`durable entries: ${text}, only ${bounds.durable} may be applied by what is durable`);
  }

  /** A rule of a single step, by its words. */
  rule(id: NodeId, broken: string | undefined): void {
    if (broken !== undefined) fail(`rules of a step: ${id}: ${broken}`);
  }

  /** A transfer: who is told to campaign has everything. */
  tellsToCampaign(id: NodeId, to: NodeId, match: number, lastIndex: number): void {
    if (match !== 0 && match < lastIndex)
      fail(`transfer: ${id} tells ${to} to campaign, which has ${match} of ${lastIndex}`);
  }
}

export interface HandOutBounds {
  readonly before: number;
  readonly commit: number;
  readonly durable: number;
}

export interface Moved {
  readonly term: number;
  readonly commit: number;
  readonly lastIndex: number;
}

export interface Believed {
  readonly match: number;
  readonly next: number;
  readonly inflight: number;
  readonly inflightMax: number;
  readonly bytes: number;
  readonly bytesMax: number;
  readonly lastIndex: number;
}

function sameIds(left: readonly NodeId[], right: readonly NodeId[]): boolean {
  if (left === right) return true;
  if (left.length !== right.length) return false;
  for (const id of left) if (!right.includes(id)) return false;
  return true;
}
