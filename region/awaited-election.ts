/**
 * What reaches a peer while its region is about to elect a leader: after the split that made it, or when the store of
 * its leader is dead. Clients ask there at once; told that there is no leader they would back off for longer than the
 * election lasts, and a thousand regions' clients asking again and again would take the time that electing needs. So
 * they wait here, for as long as an election may take and within the bounds of what the store takes on.
 */
import type { ByteBudget } from "../base/index.js";

const REQUESTS_MAX = 4_096;

export class AwaitedElection {
  readonly #budget: ByteBudget;
  #waiting: (() => void)[] = [];
  #bytes = 0;
  /** 0: over, or there never was one. */
  #ticksLeft = 0;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  get isUnderWay(): boolean {
    return this.#ticksLeft > 0;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  begin(ticksMax: number): void {
    this.#ticksLeft = ticksMax;
  }

  /** `retry` when the election is over, whoever won. False: nothing waits here now, the caller must refuse. */
  wait(bytes: number, retry: () => void): boolean {
    if (!this.isUnderWay || this.#waiting.length >= REQUESTS_MAX || this.#budget.isSpent) return false;
    this.#waiting.push(retry);
    this.#bytes += bytes;
    this.#budget.add(bytes);
    return true;
  }

  tick(): void {
    if (this.#ticksLeft > 0 && --this.#ticksLeft === 0) this.end();
  }

  /** Everybody who waits is let through, to be served or refused as at any other time. */
  end(): void {
    this.#ticksLeft = 0;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#budget.add(-this.#bytes);
    this.#bytes = 0;
    for (const retry of waiting) retry();
  }
}
