/**
 * What masses of messages may take of a turn of the event loop. Everything that has arrived is handed out within one
 * turn, from each connection up to 2 MiB: for so long no timer and no other call is served. Calls whose messages can
 * wait (`BoundMethod.isBulk`) share a few milliseconds of each turn instead; those that find them used stand in a
 * line, of which one goes on in each turn. Their callers are held back by HTTP/2's windows.
 */
export const BULK_TURN_MS = 4;

export interface TurnClock {
  nowMs(): number;
  /** At the end of this turn. */
  later(run: () => void): void;
}

const NODE: TurnClock = { nowMs: () => performance.now(), later: (run) => void setImmediate(run) };

export class TurnShare {
  readonly #clock: TurnClock;
  /** Nobody stands in line while no turn is open. */
  readonly #line: (() => void)[] = [];
  /** When this turn's first piece of work began; undefined before it. */
  #startedMs: number | undefined;

  constructor(clock: TurnClock = NODE) {
    this.#clock = clock;
  }

  /** Asked before each piece of work. True: wait in line. */
  isUsed(): boolean {
    if (this.#startedMs === undefined) {
      this.#open();
      return false;
    }
    return this.#clock.nowMs() - this.#startedMs >= BULK_TURN_MS;
  }

  /** Called in a later turn, which then begins with this one's work. */
  wait(goOn: () => void): void {
    if (this.#startedMs === undefined) this.#open();
    this.#line.push(goOn);
  }

  #open(): void {
    this.#startedMs = this.#clock.nowMs();
    this.#clock.later(() => {
      this.#startedMs = undefined;
      const next = this.#line.shift();
      if (next === undefined) return;
      this.#open();
      next();
    });
  }
}
