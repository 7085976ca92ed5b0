/**
 * The list of schedulers as users change it, kept in the settings: default ones are switched off rather than taken
 * out, because they would come back at the next start; the stores of evict-leader are its arguments.
 * (pd-rules 9.2, 9.8, 11.35 to 11.38)
 */
import { BALANCE_LEADER } from "./balance-leader.js";
import { BALANCE_REGION } from "./balance-region.js";
import { DEFAULT_SCHEDULERS, type PdConfig, type SchedulerEntry } from "./config.js";
import { EVICT_BATCH, EVICT_LEADER, EvictLeader } from "./evict-leader.js";
import type { PausedScheduler, SchedulerRunner, SchedulerStatus } from "./scheduler-runner.js";
import type { SchedulingView } from "./scheduling-view.js";

export type SchedulerChange =
  /** Made, or (`applied`) a store was added to one that runs. */
  | { readonly kind: "ok"; readonly applied: boolean }
  | { readonly kind: "refused"; readonly status: 400 | 404 | 500; readonly reason: string };

const NOT_FOUND = "[PD:scheduler:ErrSchedulerNotFound]scheduler not found";
const SUFFIX = "-scheduler";
const AVAILABLE: readonly string[] = [EVICT_LEADER, BALANCE_REGION, BALANCE_LEADER];
/** Of PD, but not of this version: said so rather than "unknown". */
const UNAVAILABLE: ReadonlySet<string> = new Set(
  (
    "balance-hot-region evict-slow-store evict-stopping-store evict-slow-trend grant-leader grant-hot-region " +
    "label random-merge scatter-range shuffle-leader shuffle-region shuffle-hot-region balance-witness " +
    "transfer-witness-leader balance-range"
  )
    .split(" ")
    .map((type) => type + SUFFIX),
);

const refused = (status: 400 | 404 | 500, reason: string): SchedulerChange => ({
  kind: "refused",
  status,
  reason,
});
const typeOf = (name: string): string => name.slice(0, -SUFFIX.length);
const isDefault = (type: string): boolean => DEFAULT_SCHEDULERS.some((entry) => entry.type === type);

export class SchedulerAdmin {
  readonly #view: SchedulingView;
  readonly #runner: SchedulerRunner;
  readonly #save: () => void;

  constructor(view: SchedulingView, runner: SchedulerRunner, save: () => void) {
    this.#view = view;
    this.#runner = runner;
    this.#save = save;
  }

  get #config(): PdConfig {
    return this.#view.config;
  }

  /** What the settings list; once, when stores and settings are loaded. */
  load(): void {
    for (const { type, args, disable } of this.#config.schedulers) {
      if (disable) continue;
      const scheduler = this.#runner.add(type + SUFFIX);
      if (!(scheduler instanceof EvictLeader)) continue;
      for (const id of args ?? []) {
        const store = this.#view.store(Number(id));
        if (store !== undefined) scheduler.addStore(store);
      }
    }
  }

  names(): string[] {
    const running = this.#runner.names();
    return AVAILABLE.filter((name) => running.includes(name));
  }

  disabledNames(): string[] {
    return this.#config.schedulers.filter((entry) => entry.disable).map((entry) => entry.type + SUFFIX);
  }

  paused(): PausedScheduler[] {
    return this.#runner.paused();
  }

  /** The body of `POST /schedulers`: `store_id` for evict-leader. Names with and without "-scheduler". */
  add(given: string, storeId: unknown): SchedulerChange {
    const name = given.endsWith(SUFFIX) ? given : given + SUFFIX;
    if (!AVAILABLE.includes(name)) {
      const known = UNAVAILABLE.has(name);
      return refused(400, known ? `scheduler ${name} is not available in this version` : "unknown scheduler");
    }
    const known = this.#runner.get(name);
    if (name !== EVICT_LEADER) {
      if (known !== undefined) return refused(400, "[PD:scheduler:ErrSchedulerExisted]scheduler existed");
      this.#runner.add(name);
      this.#record({ type: typeOf(name), args: null, disable: false });
      return { kind: "ok", applied: false };
    }
    if (typeof storeId !== "number") return refused(400, "missing store id");
    const store = this.#view.store(storeId);
    if (store === undefined || store.isRemoved) {
      const reason = `[PD:core:ErrStoreNotFound]store ${storeId} not found`;
      return refused(known === undefined ? 400 : 500, reason);
    }
    const evict = this.#runner.add(name);
    if (evict instanceof EvictLeader) evict.addStore(store);
    this.#recordEvictions();
    this.#runner.kick();
    return { kind: "ok", applied: known !== undefined };
  }

  /** A scheduler, or one store of it: `evict-leader-scheduler-3`. */
  remove(name: string): SchedulerChange {
    const one = new RegExp(`^${EVICT_LEADER}-([0-9]+)$`).exec(name);
    if (one !== null) return this.#removeEviction(Number(one[1]));
    if (!this.#runner.remove(name)) return refused(404, NOT_FOUND);
    const type = typeOf(name);
    if (isDefault(type)) this.#record({ type, args: null, disable: true });
    else {
      this.#config.schedulers = this.#config.schedulers.filter((entry) => entry.type !== type);
      this.#save();
    }
    return { kind: "ok", applied: false };
  }

  /** One scheduler, or `all`; 0 seconds resumes. */
  pause(name: string, seconds: number): SchedulerChange {
    const names = name === "all" ? this.#runner.names() : [name];
    const found = names.map((each) => this.#runner.pause(each, seconds));
    return found.every(Boolean) ? { kind: "ok", applied: false } : refused(500, NOT_FOUND);
  }

  status(name: string): SchedulerStatus {
    return this.disabledNames().includes(name) ? "disabled" : this.#runner.status(name);
  }

  /** As `GET /scheduler-config/evict-leader-scheduler/list` shows it; undefined while it does not run. */
  evictLeaderConfig(): Record<string, unknown> | undefined {
    const evict = this.#runner.get(EVICT_LEADER);
    if (!(evict instanceof EvictLeader)) return undefined;
    const whole = [{ "start-key": "", "end-key": "" }];
    return {
      "store-id-ranges": Object.fromEntries(evict.storeIds.map((id) => [String(id), whole])),
      batch: EVICT_BATCH,
    };
  }

  /** A buried store needs no eviction any more. */
  forgetStore(storeId: number): void {
    this.#removeEviction(storeId);
  }

  #removeEviction(storeId: number): SchedulerChange {
    const evict = this.#runner.get(EVICT_LEADER);
    if (!(evict instanceof EvictLeader)) return refused(404, NOT_FOUND);
    if (!evict.removeStore(storeId)) {
      return refused(404, "[PD:scheduler:ErrScheduleConfigNotExist]the config does not exist");
    }
    if (evict.storeIds.length === 0) this.#runner.remove(EVICT_LEADER);
    this.#recordEvictions();
    return { kind: "ok", applied: false };
  }

  #recordEvictions(): void {
    const evict = this.#runner.get(EVICT_LEADER);
    const args = evict instanceof EvictLeader ? evict.storeIds.map(String) : [];
    if (args.length > 0) return this.#record({ type: typeOf(EVICT_LEADER), args, disable: false });
    this.#config.schedulers = this.#config.schedulers.filter((entry) => entry.type !== typeOf(EVICT_LEADER));
    this.#save();
  }

  #record(entry: SchedulerEntry): void {
    const others = this.#config.schedulers.filter((other) => other.type !== entry.type);
    this.#config.schedulers = [...others, entry];
    this.#save();
  }
}
