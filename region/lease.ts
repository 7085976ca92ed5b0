/**
 * The leader's lease: until `bound` no other peer can have been elected, so reads need no round trip. Times are
 * monotonic milliseconds. Invariant: bound = t0 + leaseMs, where t0 is when the confirming request was *created*
 * (never when its answer came), and leaseMs + one tick <= election timeout. (raftstore rules 11.1 to 11.5)
 */
export type LeaseState = "expired" | "valid" | "suspect";

export class Lease {
  readonly #leaseMs: number;
  #boundMs = 0;
  #state: LeaseState = "expired";

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** A quorum confirmed a request created at `createdMs`. An older confirmation never shortens or revives. */
  renew(createdMs: number): void {
    const bound = createdMs + this.#leaseMs;
    if (this.#state === "suspect" ? createdMs >= this.#boundMs : bound >= this.#boundMs) {
      this.#boundMs = bound;
      this.#state = "valid";
    }
  }

  /** From `nowMs` on another leader may exist (TimeoutNow sent): only requests created later count again. */
  suspect(nowMs: number): void {
    this.#state = "suspect";
    this.#boundMs = nowMs;
  }

  expire(): void {
    this.#state = "expired";
    this.#boundMs = 0;
  }

  /** Another leader may exist. */
  get isSuspect(): boolean {
    return this.#state === "suspect";
  }

  inspect(nowMs: number): LeaseState {
    if (this.#state === "valid" && nowMs >= this.#boundMs) this.#state = "expired";
    return this.#state;
  }

  /** Milliseconds left; 0 or less when not usable. */
  remainingMs(nowMs: number): number {
    return this.#state === "valid" ? this.#boundMs - nowMs : 0;
  }
}
