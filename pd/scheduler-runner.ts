/**
 * Runs the schedulers that the settings list: each on its own timer, often while there is work and ever more seldom
 * while there is none; paused, halted and bounded from outside. Nothing runs before enough regions have reported:
 * with half of them unknown every store looks empty. (pd-rules 9.1 to 9.9, 11.35 to 11.38)
 */
import { formatInstant } from "./duration.js";
import type { TimerHandle } from "../base/index.js";
import type { SchedulerStatus } from "./diagnosis.js";
import type { Scheduler, SchedulerHost } from "./scheduler.js";

const UNPREPARED_MAX_MS = 500;
const INTERVAL_GROWTH = 1.3;

export type { SchedulerStatus } from "./diagnosis.js";

interface Running {
  readonly scheduler: Scheduler;
  intervalMs: number;
  timer: TimerHandle | undefined;
  status: SchedulerStatus;
  heldBy: string;
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

  add(scheduler: Scheduler): void {
    const { name } = scheduler;
    const entry: Running = {
      scheduler,
      intervalMs: scheduler.intervalMinMs,
      timer: undefined,
      status: "normal",
      heldBy: "it has not run yet",
      pausedWallMs: 0,
      resumeMs: 0,
      resumeWallMs: 0,
    };
    this.#running.set(name, entry);
    if (this.#started) this.#arm(entry);
  }

  /** What holds the scheduler back, or that nothing does. */
  heldBy(name: string): string {
    return this.#running.get(name)?.heldBy ?? "it does not run";
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
    entry.intervalMs = entry.scheduler.intervalMinMs;
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
      entry.intervalMs = entry.scheduler.intervalMinMs;
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
    if (!cluster.isPrepared) {
      entry.status = "pending";
      entry.heldBy = "not enough regions have reported since PD's start";
      entry.intervalMs = Math.min(entry.intervalMs * INTERVAL_GROWTH, UNPREPARED_MAX_MS);
      return;
    }
    const limit = scheduler.limitReached();
    if (limit !== undefined) this.#skip(entry, "pending", limit);
    else if (config.flag("schedule.halt-scheduling")) this.#skip(entry, "halted", "halt-scheduling is on");
    else if (entry.resumeMs > controller.view.nowMs())
      this.#skip(
        entry,
        "paused",
        `it is paused by hand until ${formatInstant(Math.floor(entry.resumeWallMs))}`,
      );
    else this.#run(entry);
  }

  /** A skipped turn does not change the interval. */
  #skip(entry: Running, status: SchedulerStatus, reason: string): void {
    entry.status = status;
    entry.heldBy = reason;
    entry.scheduler.diagnosis?.skipped(status);
  }

  #run(entry: Running): void {
    const { scheduler } = entry;
    scheduler.diagnosis?.begin();
    const started = scheduler.run();
    entry.status = scheduler.diagnosis?.end(started) ?? (started > 0 ? "scheduling" : "normal");
    entry.heldBy =
      started > 0 ? "nothing: it started operators in its last round" : "it found nothing worth moving";
    const grown = entry.intervalMs * INTERVAL_GROWTH;
    entry.intervalMs = started > 0 ? scheduler.intervalMinMs : Math.min(grown, scheduler.intervalMaxMs);
    const { metrics } = this.#host.controller.view.cluster.context;
    metrics.increment("pd_scheduler_event_count", { type: scheduler.name, name: "schedule" });
  }
}
