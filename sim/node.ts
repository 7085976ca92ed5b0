/**
 * A machine with one process on it. Each start is an incarnation with an `Env` of its own; a crash ends it, and
 * with it every event that it had made. An `Env` of a dead incarnation fails the run when it is touched: code
 * that runs after its process died would be code that reached the world by another door.
 */
import type { Env, Logger, TimerHandle } from "../base/index.js";
import { type SeededRandom, SILENT_LOGGER } from "../base/index.js";
import type { Lane, SimEvent } from "./event-queue.js";
import { MS, Violation } from "./violation.js";
import type { World } from "./world.js";

const LOG_LINES_MAX = 200;
/** Microseconds that one turn of a process usually takes. */
export const TURN_US = 30;
/** Of so many messages that wait on a connection one begins another read. */
const PARTS_OF_A_READ = 8;
const READINGS_US = [0, MS, 10 * MS];

/** How a node's clocks stand to the world's time. */
export interface NodeClock {
  /** Speed of the monotonic clock; 1 is exact. */
  rate: number;
  monotonicOffsetMs: number;
  /** Wall clock minus the world's time. Jumps are changes of this. */
  wallOffsetMs: number;
}

export interface LogLine {
  readonly atUs: number;
  readonly node: string;
  readonly text: string;
}

export class SimNode {
  readonly world: World;
  readonly index: number;
  readonly name: string;
  readonly random: SeededRandom;
  readonly clock: NodeClock;
  readonly lines: LogLine[] = [];
  turnUs = TURN_US;
  /** The event that runs now has stood still for so long: its clock is that much ahead of the world's. */
  aheadUs = 0;
  /** Its code awaits promises; the world gives them time. */
  usesPromises = false;
  incarnation = 0;
  isUp = false;
  isPaused = false;
  /** What the process that was started last sees of the world. */
  env: Env | undefined;
  /** How long it has stood still, in all. */
  pausedUs = 0;
  #pausedAtUs = 0;
  #held: SimEvent[] = [];

  constructor(world: World, index: number, name: string, random: SeededRandom) {
    this.world = world;
    this.index = index;
    this.name = name;
    this.random = random;
    this.clock = { rate: 1, monotonicOffsetMs: 1_000 + index, wallOffsetMs: 1_700_000_000_000 };
  }

  monotonicMs(): number {
    return this.clock.monotonicOffsetMs + ((this.world.nowUs + this.aheadUs) / MS) * this.clock.rate;
  }

  /** A new process: returns what it sees of the world. */
  boot(): Env {
    this.incarnation++;
    this.isUp = true;
    this.isPaused = false;
    this.#held = [];
    const { incarnation } = this;
    const alive = (): void => {
      if (this.incarnation === incarnation && this.isUp) return;
      const failure = new Violation("zombie", `${this.name} touches the world after its process ended`);
      this.world.fail(failure);
      throw failure;
    };
    const { world } = this;
    this.env = {
      clock: {
        monotonicMs: () => {
          alive();
          return this.monotonicMs();
        },
        wallMs: () => {
          alive();
          return Math.floor((world.nowUs + this.aheadUs) / MS + this.clock.wallOffsetMs);
        },
      },
      timers: {
        set: (delayMs, callback) => {
          alive();
          const delayUs = Math.max(0, (delayMs * MS) / this.clock.rate);
          const at = world.nowUs + this.aheadUs + Math.ceil(delayUs);
          return world.schedule(at, "timer", this.index, incarnation, callback) as unknown as TimerHandle;
        },
        clear: (handle) => {
          (handle as unknown as SimEvent).run = undefined;
        },
        nextTurn: (callback) => {
          alive();
          world.schedule(world.nowUs + this.turnUs, "turn", this.index, incarnation, callback);
        },
      },
      random: this.random,
      mischief: (site, oneIn) => world.misbehaves(site, oneIn, this),
      log: this.#logger(),
    };
    return this.env;
  }

  /** The process ends without a word. */
  kill(): void {
    this.incarnation++;
    this.isUp = false;
    this.isPaused = false;
    this.#held = [];
  }

  /**
   * The process stands still in the middle of what it does now, as for a collection of garbage. What it does in the
   * rest of the event it does after that time, and nothing else before.
   */
  stall(us: number): void {
    if (this.aheadUs === 0) {
      const { incarnation } = this;
      this.world.afterEvent(() => {
        const aheadUs = this.aheadUs;
        this.aheadUs = 0;
        if (this.incarnation !== incarnation || this.isPaused) return;
        this.pause();
        this.world.at(aheadUs, "goes on in its turn", () => {
          if (this.incarnation === incarnation && this.isPaused) this.goOn();
        });
      });
    }
    this.aheadUs += us;
  }

  /** The process stands still; its clock does not. */
  pause(): void {
    this.isPaused = true;
    this.#pausedAtUs = this.world.nowUs;
  }

  /**
   * What should have happened meanwhile happens now. What came over connections is read one connection after the
   * other, here and there only a part of what waits, with turns between: all of it within `readingUs`.
   */
  resume(readingUs = 0): void {
    const { nowUs } = this.world;
    this.isPaused = false;
    this.pausedUs += nowUs - this.#pausedAtUs;
    const held = this.#held;
    this.#held = [];
    this.world.onResume(this);
    const lanes = new Set<Lane>();
    for (const event of held) {
      if (event.run === undefined) continue;
      const { lane } = event;
      if (lane !== undefined && readingUs > 0) {
        const isCut = !lanes.has(lane) || this.world.random.u32() % PARTS_OF_A_READ === 0;
        lanes.add(lane);
        const atUs = nowUs + (isCut ? this.world.random.u32() % readingUs : 0);
        lane.readAtUs = Math.max(lane.readAtUs, atUs);
      }
      const atUs = Math.max(nowUs, lane?.readAtUs ?? 0);
      this.world.schedule(atUs, event.kind, event.node, event.incarnation, () => event.run?.());
    }
  }

  /** As after a pause that nobody planned: what waits is read at once, or within some milliseconds. */
  goOn(): void {
    this.resume(READINGS_US[this.world.random.u32() % READINGS_US.length]);
  }

  hold(event: SimEvent): void {
    this.#held.push(event);
  }

  /** Something that happens to this process, should it still be the same then. */
  after(delayUs: number, kind: string, run: () => void): SimEvent {
    return this.world.schedule(this.world.nowUs + delayUs, kind, this.index, this.incarnation, run);
  }

  note(text: string): void {
    this.lines.push({ atUs: this.world.nowUs, node: this.name, text });
    if (this.lines.length > LOG_LINES_MAX) this.lines.shift();
  }

  #logger(): Logger {
    const line =
      (level: string): Logger["info"] =>
      (message, fields) =>
        this.note(`${level} ${message}${fields === undefined ? "" : ` ${describe(fields)}`}`);
    return { ...SILENT_LOGGER, info: line("info"), warn: line("warn"), error: line("error") };
  }
}

function describe(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : String(value)}`)
    .join(" ");
}
