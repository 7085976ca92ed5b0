/**
 * What must hold after every step of a fuzzed group, whatever the faults. Numbers are those of the Raft paper's
 * figure 3 where they have one: 1 election safety, 3 log matching, 4 leader completeness, 5 state machine safety.
 */
import type { NodeId } from "../types.js";

export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

const fail = (text: string): never => {
  throw new InvariantError(text);
};

interface Committed {
  readonly term: number;
  readonly hash: number;
}

export class Invariants {
  readonly #leaders = new Map<number, NodeId>();
  readonly #votes = new Map<string, NodeId>();
  readonly #committed = new Map<number, Committed>();
  readonly #written = new Map<string, { readonly hash: number; previousTerm: number | undefined }>();
  readonly #durableTerms = new Map<NodeId, number>();
  /** The highest index that anybody knows to be committed. */
  committedIndex = 0;

  /** Election safety: at most one leader a term. */
  leads(id: NodeId, term: number): void {
    const known = this.#leaders.get(term);
    if (known !== undefined && known !== id)
      fail(`election safety: ${known} and ${id} both lead term ${term}`);
    this.#leaders.set(term, id);
  }

  /** Log matching: whoever writes entry `term/index` writes the same one, behind an entry of the same term. */
  writes(id: NodeId, index: number, term: number, hash: number, previousTerm: number | undefined): void {
    const key = `${term}/${index}`;
    const known = this.#written.get(key);
    if (known === undefined) {
      this.#written.set(key, { hash, previousTerm });
      return;
    }
    if (known.hash !== hash) fail(`log matching: ${id} writes another entry ${key} than was written before`);
    if (previousTerm === undefined) return;
    if (known.previousTerm !== undefined && known.previousTerm !== previousTerm) {
      fail(
        `log matching: ${id} writes ${key} behind term ${previousTerm}, others behind ${known.previousTerm}`,
      );
    }
    known.previousTerm = previousTerm;
  }

  /** The commit rule: a leader commits by an entry of its own term that is durable on a quorum. */
  leaderCommits(
    id: NodeId,
    index: number,
    term: number,
    entryTerm: number | undefined,
    isDurable: boolean,
  ): void {
    if (entryTerm !== undefined && entryTerm !== term) {
      fail(`commit rule: ${id} leads term ${term} and commits up to ${entryTerm}/${index}`);
    }
    if (!isDurable) fail(`commit rule: ${id} commits ${term}/${index}, which is not durable on a quorum`);
  }

  /** One configuration change at a time: none is appended by a leader that has another one to apply. */
  appendsConfChange(id: NodeId, index: number, pendingIndex: number | undefined): void {
    if (pendingIndex !== undefined) {
      fail(
        `one change at a time: ${id} appends a change at ${index} with one at ${pendingIndex} not applied`,
      );
    }
  }

  /** One vote a term, over crashes too. Told when the vote leaves. */
  votes(id: NodeId, term: number, candidate: NodeId): void {
    const key = `${id}/${term}`;
    const known = this.#votes.get(key);
    if (known !== undefined && known !== candidate) {
      fail(`one vote a term: ${id} voted for ${known} and ${candidate} in term ${term}`);
    }
    this.#votes.set(key, candidate);
  }

  /** State machine safety and log matching: what one node applies at an index, all apply there. */
  applies(id: NodeId, index: number, term: number, hash: number): void {
    const known = this.#committed.get(index);
    if (known === undefined) this.#committed.set(index, { term, hash });
    else if (known.term !== term || known.hash !== hash) {
      fail(`state machine safety: ${id} applies ${term}/${index}, another applied ${known.term}/${index}`);
    }
    this.committedIndex = Math.max(this.committedIndex, index);
  }

  /** Leader completeness: who leads has everything that was committed. `termAt` undefined: compacted or absent. */
  isComplete(
    id: NodeId,
    term: number,
    firstIndex: number,
    lastIndex: number,
    termAt: (index: number) => number | undefined,
  ): void {
    for (let index = firstIndex; index <= this.committedIndex; index++) {
      const known = this.#committed.get(index);
      if (known === undefined || known.term > term) continue;
      if (index > lastIndex || termAt(index) !== known.term) {
        fail(
          `leader completeness: ${id} leads term ${term} without the committed entry ${known.term}/${index}`,
        );
      }
    }
  }

  /** A term on disk never goes back. */
  persistsTerm(id: NodeId, term: number): void {
    const known = this.#durableTerms.get(id) ?? 0;
    if (term < known) fail(`durable terms: ${id} went from term ${known} back to ${term}`);
    this.#durableTerms.set(id, term);
  }

  /** Durable before told: an acknowledged append is on the disk of the one who acknowledges. */
  acknowledges(id: NodeId, index: number, durableLastIndex: number): void {
    if (index > durableLastIndex) {
      fail(`durable before told: ${id} acknowledges ${index}, its disk ends at ${durableLastIndex}`);
    }
  }

  /** A commit index never goes back within a life, nor beyond the log. */
  commits(id: NodeId, before: number, after: number, lastIndex: number): void {
    if (after < before) fail(`monotonic commit: ${id} went from ${before} back to ${after}`);
    if (after > lastIndex)
      fail(`commit within the log: ${id} commits ${after}, its log ends at ${lastIndex}`);
  }

  /** Linearizable reads: at least what was committed when the read was asked for. */
  reads(id: NodeId, readIndex: number, committedWhenAsked: number): void {
    if (readIndex < committedWhenAsked) {
      fail(
        `linearizable reads: ${id} reads at ${readIndex}, ${committedWhenAsked} was committed before it asked`,
      );
    }
  }
}
