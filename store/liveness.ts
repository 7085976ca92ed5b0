/**
 * Which stores are alive, judged per pair of stores and not per region: each store says so to every store it shares
 * regions with, a few times within an election timeout, from the same tick that drives its regions, so that a process
 * that hangs falls silent. Alive means both ways: A is alive for B if B hears A and A says that it hears B; a link that
 * works one way is as good as none. (raftstore rules 12.5)
 *
 * What is said goes by the clock: when ticks are late, each brings a sign. What is heard is any message of that store,
 * since the same loop sends them all; whether we are heard only a sign tells. Silence is counted in our own ticks: a
 * store that stood still itself must not take the others for dead.
 */
import type { Random } from "../base/index.js";

export interface LivenessHost {
  readonly random: Random;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  readonly tickMs: number;
  /** Of a clock that never goes back. */
  nowMs(): number;
  say(storeId: number, sign: LifeSign): void;
  died(storeId: number): void;
  /** Also of a store that was restarted so quickly that nobody noticed: then `died` comes before. */
  revived(storeId: number, how: Revival): void;
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

export interface Revival {
  readonly deadMs: number;
  /** It is another process than the one that was alive before. */
  readonly isRestarted: boolean;
}

interface KnownStore {
  /** Of the process that was heard last; 0 when none was. */
  incarnation: number;
  /** Of the process that was alive last; 0 when none was. */
  aliveIncarnation: number;
  /** When it was spoken to last. */
  saidMs: number;
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
const SELDOM_ROUNDS = 50;

export class StoreLiveness {
  readonly #host: LivenessHost;
  readonly #incarnation: number;
  readonly #known = new Map<number, KnownStore>();
  /** When all were spoken to last. All at once: those that hear of a death together elect sooner. */
  #saidMs = Number.NEGATIVE_INFINITY;
  #rounds = 0;

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
      aliveIncarnation: 0,
      saidMs: Number.NEGATIVE_INFINITY,
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

  /** Stores that have not been alive for so long or longer. */
  deadFor(ms: number): number[] {
    const ids: number[] = [];
    for (const [id, { deadTicks }] of this.#known) if (deadTicks * this.#host.tickMs >= ms) ids.push(id);
    return ids;
  }

  /** Whether every store that shares regions with this one is alive. */
  get isEverybodyAlive(): boolean {
    for (const { isAlive } of this.#known.values()) if (!isAlive) return false;
    return true;
  }

  tick(): void {
    const { electionTicks, heartbeatTicks, tickMs } = this.#host;
    const nowMs = this.#host.nowMs();
    // Half a tick: timers are not exact, and a period may not become a tick longer for it.
    const isDue = nowMs - this.#saidMs >= (heartbeatTicks - 0.5) * tickMs;
    if (isDue) {
      this.#saidMs = nowMs;
      this.#rounds++;
    }
    for (const [storeId, known] of this.#known) {
      known.silentTicks++;
      if (!known.isAlive) known.deadTicks++;
      if (known.isAlive && known.silentTicks >= electionTicks) this.#die(storeId, known);
      const isSeldom = known.silentTicks > SELDOM_AFTER_TICKS && this.#rounds % SELDOM_ROUNDS !== 0;
      if (isDue && !isSeldom) this.#say(storeId, known, nowMs);
    }
  }

  /** Any message came from that store. It lives; whether it hears us its signs say, and whether it is the same. */
  heardAny(storeId: number): void {
    const known = this.#known.get(storeId);
    if (known !== undefined) known.silentTicks = 0;
  }

  heard(storeId: number, { incarnation, hears, deaths }: LifeSign): void {
    this.note(storeId);
    const known = this.#known.get(storeId) as KnownStore;
    const isOther = known.incarnation !== 0 && known.incarnation !== incarnation;
    const tookUsForDead = !isOther && known.ourDeaths >= 0 && known.ourDeaths !== deaths;
    known.incarnation = incarnation;
    known.ourDeaths = deaths;
    known.silentTicks = 0;
    const wasAlive = known.isAlive;
    if (known.isAlive && (isOther || !hears)) this.#die(storeId, known);
    if (!known.isAlive && hears) this.#revive(storeId, known);
    if (tookUsForDead) this.#host.wasDead(storeId);
    // Whoever is dead to one is soon dead to the other: the sooner each knows it is heard, the less is woken.
    if (wasAlive && known.isAlive) return;
    const nowMs = this.#host.nowMs();
    if (nowMs - known.saidMs >= this.#host.tickMs / 2) this.#say(storeId, known, nowMs);
  }

  #say(storeId: number, known: KnownStore, nowMs: number): void {
    known.saidMs = nowMs;
    const hears = known.silentTicks < this.#host.electionTicks;
    this.#host.say(storeId, { incarnation: this.#incarnation, hears, deaths: known.deaths });
  }

  #revive(storeId: number, known: KnownStore): void {
    const { aliveIncarnation, incarnation, deadTicks } = known;
    known.isAlive = true;
    known.deadTicks = 0;
    known.aliveIncarnation = incarnation;
    this.#host.revived(storeId, {
      deadMs: deadTicks * this.#host.tickMs,
      isRestarted: aliveIncarnation !== 0 && aliveIncarnation !== incarnation,
    });
  }

  #die(storeId: number, known: KnownStore): void {
    known.isAlive = false;
    known.deaths++;
    this.#host.died(storeId);
  }
}
