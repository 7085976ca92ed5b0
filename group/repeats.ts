/**
 * Tells proposals of other members that a network delivered twice: a plain command must not take effect again, however
 * late its copy comes. Requests are numbered by their sender from a number drawn at its start (`life`); below `settled`
 * the sender waits for none.
 *
 *   seen holds every request of a life that came, >= settled; what is below settled is not new.
 */
interface Life {
  readonly life: number;
  settled: number;
  readonly seen: Set<number>;
}

/** A member may be restarted while packets of its former lives are on their way. */
const LIVES_MAX = 4;

export class Repeats {
  readonly #lives = new Map<number, Life[]>();

  /** True the first time. */
  isNew(from: number, life: number, request: number, settled: number): boolean {
    const known = this.#life(from, life);
    if (settled > known.settled) {
      known.settled = settled;
      // In the order of their coming, which is nearly that of their numbers.
      for (const old of known.seen) {
        if (old >= settled) break;
        known.seen.delete(old);
      }
    }
    if (request < known.settled || known.seen.has(request)) return false;
    known.seen.add(request);
    return true;
  }

  #life(from: number, life: number): Life {
    const lives = this.#lives.get(from) ?? [];
    this.#lives.set(from, lives);
    let known = lives.find((each) => each.life === life);
    if (known === undefined) {
      known = { life, settled: life, seen: new Set() };
      lives.push(known);
      if (lives.length > LIVES_MAX) lives.shift();
    }
    return known;
  }

  /** The member left for good. */
  forget(from: number): void {
    this.#lives.delete(from);
  }
}
