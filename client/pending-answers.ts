/**
 * Who waits for which answer, by ids that count up. A ring and not a map: at a hundred thousand entries a second a map
 * leaves its old tables behind, each of which holds the next, and what they hold survives collection after collection.
 *
 * Invariant: every id that is waited for lies in [oldest, next), and next - oldest <= the ring's size.
 */
import type { RpcStatus, tikvpb } from "../proto/index.js";

export type Answer = tikvpb.BatchCommandsResponse.Response;

export interface AnswerTaker {
  /** Called once at most. `broken` carries why no answer came. */
  answered(answer: Answer | undefined, broken: RpcStatus | undefined): void;
}

const FIRST_SIZE = 64;

export class PendingAnswers {
  #ring: (AnswerTaker | undefined)[] = new Array<undefined>(FIRST_SIZE).fill(undefined);
  #oldest = 1;
  #next = 1;

  /** Returns the id of the answer that `taker` waits for. */
  add(taker: AnswerTaker): number {
    if (this.#next - this.#oldest === this.#ring.length) this.#grow();
    const id = this.#next++;
    this.#ring[id & (this.#ring.length - 1)] = taker;
    return id;
  }

  has(id: number): boolean {
    return this.#at(id) !== undefined;
  }

  /** Undefined when nobody waits for the answer, any more or at all. */
  take(id: number): AnswerTaker | undefined {
    const taker = this.#at(id);
    if (taker === undefined) return undefined;
    this.#ring[id & (this.#ring.length - 1)] = undefined;
    while (this.#oldest < this.#next && this.#at(this.#oldest) === undefined) this.#oldest++;
    return taker;
  }

  /** In the order of their ids. */
  takeAll(): AnswerTaker[] {
    const all: AnswerTaker[] = [];
    for (let id = this.#oldest; id < this.#next; id++) {
      const taker = this.#at(id);
      if (taker !== undefined) all.push(taker);
    }
    this.#ring.fill(undefined);
    this.#oldest = this.#next;
    return all;
  }

  #at(id: number): AnswerTaker | undefined {
    if (!(id >= this.#oldest && id < this.#next)) return undefined;
    return this.#ring[id & (this.#ring.length - 1)];
  }

  #grow(): void {
    const wider = new Array<AnswerTaker | undefined>(this.#ring.length * 2).fill(undefined);
    for (let id = this.#oldest; id < this.#next; id++) wider[id & (wider.length - 1)] = this.#at(id);
    this.#ring = wider;
  }
}
