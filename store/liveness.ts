/**
 * Which stores are alive, judged per pair of stores and not per region: each store says so to every store it shares
 * regions with, a few times within an election timeout, from the same tick that drives its regions, so that a process
 * that hangs falls silent. Alive means both ways: A is alive for B if B hears A and A says that it hears B; a link that
 * works one way is as good as none. (raftstore rules 12.5)
 *
 * Time is counted in our own ticks: a store that stood still itself must not take the others for dead.
 */
import type { Random } from "../base/index.js";

export interface LivenessHost {
  readonly random: Random;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly tickMs: number;
  say(storeId: number, sign: LifeSign): void;
  died(storeId: number): void;
  /** Also of a store that was restarted so quickly that nobody noticed: then `died` comes before. */
  revived(storeId: number): void;
  /** That store took this one for dead, and lives with it again: its regions may have gone on without this one. */
  wasDead(storeId: number): void;
}

/** What a store says to another. */
export interface LifeSign {
  /** Of the process that speaks. */
  readonly incarnation: number;
  /** Whether it hears the other. */
  readonly hears: boolean;
  /** How often it has taken the other for dead. */
  readonly deaths: number;
}

interface KnownStore {
  /** Of the process that was heard last; 0 when none was. */
  incarnation: number;
  /** Our ticks since it was heard. */
  silentTicks: number;
  isAlive: boolean;
  /** Our ticks since it was alive; 0 while it is. */
  deadTicks: number;
  deaths: number;
  /** How often it has taken us for dead; -1 before it said so. */
  ourDeaths: number;
}

/** A store that is silent for longer is spoken to more seldom. */
const SELDOM_AFTER_TICKS = 6_000;
const SELDOM_TICKS = 100;

export class StoreLiveness {
  readonly #host: LivenessHost;
  readonly #incarnation: number;
  readonly #known = new Map<number, KnownStore>();
  #ticks = 0;

  constructor(host: LivenessHost) {
    this.#host = host;
    this.#incarnation = 1 + host.random.u32() * 2 ** 16 + (host.random.u32() >>> 16);
  }

  /** There is a store that shares regions with this one. */
  note(storeId: number): void {
    if (this.#known.has(storeId)) return;
    const silentTicks = this.#host.electionTicks;
    this.#known.set(storeId, {
      incarnation: 0,
      silentTicks,
      isAlive: false,
      deadTicks: 0,
      deaths: 0,
      ourDeaths: -1,
    });
  }

  isAlive(storeId: number): boolean {
    return this.#known.get(storeId)?.isAlive ?? false;
  }

  /** Our ticks since a store was heard; 0 of one never heard of. */
  silentTicks(storeId: number): number {
    return this.#known.get(storeId)?.silentTicks ?? 0;
  }

  /** For how long a store has not been alive; 0 of one that is, and of one never heard of. */
  deadMs(storeId: number): number {
    return (this.#known.get(storeId)?.deadTicks ?? 0) * this.#host.tickMs;
  }

  tick(): void {
    const { electionTicks, heartbeatTicks } = this.#host;
    this.#ticks++;
    for (const [storeId, known] of this.#known) {
      known.silentTicks++;
      if (!known.isAlive) known.deadTicks++;
      if (known.isAlive && known.silentTicks >= electionTicks) this.#die(storeId, known);
      const period = known.silentTicks > SELDOM_AFTER_TICKS ? SELDOM_TICKS : heartbeatTicks;
      if (this.#ticks % period !== 0) continue;
      const hears = known.silentTicks < electionTicks;
      this.#host.say(storeId, { incarnation: this.#incarnation, hears, deaths: known.deaths });
    }
  }

  heard(storeId: number, { incarnation, hears, deaths }: LifeSign): void {
    this.note(storeId);
    const known = this.#known.get(storeId) as KnownStore;
    const isRestarted = known.incarnation !== 0 && known.incarnation !== incarnation;
    const tookUsForDead = !isRestarted && known.ourDeaths >= 0 && known.ourDeaths !== deaths;
    known.incarnation = incarnation;
    known.ourDeaths = deaths;
    known.silentTicks = 0;
    if (known.isAlive && (isRestarted || !hears)) this.#die(storeId, known);
    if (!known.isAlive && hears) {
      known.isAlive = true;
      known.deadTicks = 0;
      this.#host.revived(storeId);
    }
    if (tookUsForDead) this.#host.wasDead(storeId);
  }

  #die(storeId: number, known: KnownStore): void {
    known.isAlive = false;
    known.deaths++;
    this.#host.died(storeId);
  }
}
