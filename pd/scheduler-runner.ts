/**
 * Runs the schedulers that the settings list: each on its own timer, often while there is work and ever more seldom
 * while there is none; paused, halted and bounded from outside. Nothing runs before enough regions have reported: with
 * half of them unknown every store looks empty. (pd-rules 9.1 to 9.9, 11.35 to 11.38)
 */
import type { TimerHandle } from "../base/index.js";
import { BALANCE_LEADER, BalanceLeader } from "./balance-leader.js";
import { BALANCE_REGION, BalanceRegion } from "./balance-region.js";
import { EVICT_LEADER, EvictLeader } from "./evict-leader.js";
import type { Scheduler, SchedulerHost } from "./scheduler.js";

const INTERVAL_MIN_MS = 10;
const INTERVAL_MAX_MS = 5000;
const INTERVAL_GROWTH = 1.3;

export type SchedulerStatus = "pending" | "halted" | "paused" | "scheduling" | "normal" | "disabled";

interface Running {
  readonly scheduler: Scheduler;
  intervalMs: number;
  timer: TimerHandle | undefined;
  status: SchedulerStatus;
  pausedWallMs: number;
  resumeMs: number;
  resumeWallMs: number;
}

export interface PausedScheduler {
  readonly name: string;
  readonly pausedAtWallMs: number;
  readonly resumeAtWallMs: number;
}

export class SchedulerRunner {
  readonly #host: SchedulerHost;
  readonly #running = new Map<string, Running>();
  #started = false;

  constructor(host: SchedulerHost) {
    this.#host = host;
  }

  start(): void {
    this.#started = true;
    for (const entry of this.#running.values()) this.#arm(entry);
  }

  stop(): void {
    this.#started = false;
    for (const entry of this.#running.values()) this.#disarm(entry);
  }

  names(): string[] {
    return [...this.#running.keys()];
  }

  get(name: string): Scheduler | undefined {
    return this.#running.get(name)?.scheduler;
  }

  status(name: string): SchedulerStatus {
    return this.#running.get(name)?.status ?? "disabled";
  }

  /** Undefined when nothing of this name can be made. */
  add(name: string): Scheduler | undefined {
    const known = this.#running.get(name);
    if (known !== undefined) return known.scheduler;
    const scheduler = make(name, this.#host);
    if (scheduler === undefined) return undefined;
    const entry: Running = {
      scheduler,
      intervalMs: INTERVAL_MIN_MS,
      timer: undefined,
      status: "normal",
      pausedWallMs: 0,
      resumeMs: 0,
      resumeWallMs: 0,
    };
    this.#running.set(name, entry);
    if (this.#started) this.#arm(entry);
    return scheduler;
  }

  remove(name: string): boolean {
    const entry = this.#running.get(name);
    if (entry === undefined) return false;
    this.#disarm(entry);
    entry.scheduler.stop();
    return this.#running.delete(name);
  }

  /** For so many seconds from now; 0 and less resumes. False when the name is unknown. */
  pause(name: string, seconds: number): boolean {
    const entry = this.#running.get(name);
    if (entry === undefined) return false;
    const { clock } = this.#host.controller.view.env;
    const delayMs = Math.max(0, seconds * 1000);
    entry.resumeMs = clock.monotonicMs() + delayMs;
    entry.pausedWallMs = clock.wallMs();
    entry.resumeWallMs = entry.pausedWallMs + delayMs;
    entry.intervalMs = INTERVAL_MIN_MS;
    return true;
  }

  paused(): PausedScheduler[] {
    const nowMs = this.#host.controller.view.nowMs();
    const found: PausedScheduler[] = [];
    for (const [name, entry] of this.#running) {
      if (entry.resumeMs <= nowMs) continue;
      found.push({ name, pausedAtWallMs: entry.pausedWallMs, resumeAtWallMs: entry.resumeWallMs });
    }
    return found;
  }

  /** Something changed: look again at once rather than when the interval has run out. */
  kick(): void {
    for (const entry of this.#running.values()) {
      entry.intervalMs = INTERVAL_MIN_MS;
      if (!this.#started) continue;
      this.#disarm(entry);
      this.#arm(entry);
    }
  }

  #arm(entry: Running): void {
    entry.timer = this.#host.controller.view.env.timers.set(entry.intervalMs, () => {
      entry.timer = undefined;
      this.#tick(entry);
      // A scheduler may have been removed by its own run.
      if (this.#started && this.#running.get(entry.scheduler.name) === entry && entry.timer === undefined) {
        this.#arm(entry);
      }
    });
  }

  #disarm(entry: Running): void {
    if (entry.timer !== undefined) this.#host.controller.view.env.timers.clear(entry.timer);
    entry.timer = undefined;
  }

  #tick(entry: Running): void {
    const { controller } = this.#host;
    const { config, cluster } = controller.view;
    const { scheduler } = entry;
    const limit = config.number(
      scheduler.kind === "leader" ? "schedule.leader-schedule-limit" : "schedule.region-schedule-limit",
    );
    if (!cluster.isPrepared) {
      entry.status = "pending";
      entry.intervalMs = Math.min(entry.intervalMs * INTERVAL_GROWTH, INTERVAL_MAX_MS / 10);
      return;
    }
    if (controller.count(scheduler.kind) >= limit) entry.status = "pending";
    else if (config.flag("schedule.halt-scheduling")) entry.status = "halted";
    else if (entry.resumeMs > controller.view.nowMs()) entry.status = "paused";
    else {
      const started = scheduler.run();
      entry.status = started > 0 ? "scheduling" : "normal";
      entry.intervalMs =
        started > 0 ? INTERVAL_MIN_MS : Math.min(entry.intervalMs * INTERVAL_GROWTH, INTERVAL_MAX_MS);
    }
  }
}

function make(name: string, host: SchedulerHost): Scheduler | undefined {
  switch (name) {
    case BALANCE_LEADER:
      return new BalanceLeader(host);
    case BALANCE_REGION:
      return new BalanceRegion(host);
    case EVICT_LEADER:
      return new EvictLeader(host);
    default:
      return undefined;
  }
}
